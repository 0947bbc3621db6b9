//! draft
pub mod checkpoint;
pub mod mapping;
pub mod omnidesk;
pub mod planning;
pub mod sandbox;
pub mod source;
pub mod units;
