//! The Omnidesk customer API: one [`Call`], one HTTP exchange, one [`Answer`].
//!
//! The only room that knows wire names, status codes and the key. Facts are
//! from the vendor's page of the customer API (docs.omnidesk.io); where that
//! page is silent, what was seen on its other pages is a setting.
//!
//! A call is built of values that the mapping has checked, so that nothing
//! else can reach the wire. Nothing here repeats a request: whether to is
//! decided in `dispatch`.

mod answer;
mod call;
mod client;
mod key;
mod quota;
mod settings;
mod wire;

pub use answer::{Answer, Exchange, Meaning, RetryAfter, judge};
pub use call::{Action, Call, CallKind};
pub use client::{Client, ClientError};
pub use key::{ApiKey, KeyError, KeySource};
pub use settings::{ApiSettings, Auth, BaseUrl, BodyEncoding, RefusalTexts};
pub(crate) use settings::{check_custom_names, is_loopback, parse_url};
pub use wire::Request;
