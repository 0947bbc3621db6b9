//! The Omnidesk customer API: one [`Call`], one HTTP exchange, one [`Answer`].
//!
//! The only room that knows wire names, status codes and the key. Facts are
//! from the vendor's page of the customer API (docs.omnidesk.io). Where that
//! page is silent, a fact of the vendor's other pages is a setting.
//!
//! A call is built of values that the mapping has checked, so nothing else can
//! reach the wire. Nothing here repeats a request: `dispatch` decides that.

mod answer;
mod call;
mod client;
mod customer_list;
mod key;
mod key_mask;
mod meaning;
mod quota;
mod refusal;
mod secret;
mod settings;
mod wire;

pub(crate) use answer::judge_page;
pub use answer::{Answer, Exchange, judge, parse_retry_after};
pub use call::{Action, Call, CallKind};
pub use client::{Client, ClientError};
pub(crate) use client::{ServerFacts, proxy_variable};
pub(crate) use customer_list::{ListPage, ListedCustomer, PAGE_CUSTOMERS_MAX};
pub use key::ApiKey;
pub use key_mask::KeyMask;
pub use meaning::{Meaning, Proof};
pub(crate) use refusal::message_words;
pub use refusal::{MessagePattern, RefusalTexts};
pub use secret::SecretSource;
pub(crate) use secret::{SecretError, SecretName};
pub use settings::{ApiSettings, Auth, BaseUrl};
pub(crate) use settings::{custom_name_problems, is_loopback, parse_url};
pub use wire::BodyEncoding;
pub(crate) use wire::Request;
