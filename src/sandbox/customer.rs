//! A customer as the calls describe it, and the addresses that the API page allows.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// The most digits of a telephone number, from ITU-T E.164.
const TELEPHONE_DIGITS_MAX: usize = 15;

/// The key of a customer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CustomerId {
    pub brand_id: u64,
    /// The customer's id in the organisation's own system.
    pub primary_id: String,
}

/// The data that one call sends of a customer, or the result of all its calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Customer {
    #[serde(flatten)]
    pub id: CustomerId,
    pub firstname: Option<String>,
    pub lastname: Option<String>,
    pub custom: BTreeMap<String, String>,
    pub channels: BTreeSet<Channel>,
    pub ticket_ids: BTreeSet<u64>,
    pub no_sync: Option<bool>,
}

impl Customer {
    /// Overwrites the fields that were sent; the others stay.
    pub(super) fn merge(&mut self, sent: Self) {
        self.firstname = sent.firstname.or(self.firstname.take());
        self.lastname = sent.lastname.or(self.lastname.take());
        self.custom.extend(sent.custom);
        self.channels.extend(sent.channels);
        self.ticket_ids.extend(sent.ticket_ids);
        self.no_sync = sent.no_sync.or(self.no_sync);
    }
}

/// The kind of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChannelKind {
    Email,
    Telephone,
    Facebook,
    Twitter,
}

impl ChannelKind {
    pub(super) const ALL: [Self; 4] = [Self::Email, Self::Telephone, Self::Facebook, Self::Twitter];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Telephone => "telephone",
            Self::Facebook => "facebook",
            Self::Twitter => "twitter",
        }
    }

    /// Whether an address can be of this kind; the error describes one that can.
    pub(super) fn check(self, address: &str) -> Result<(), &'static str> {
        let (is_valid, description) = match self {
            Self::Email => (is_email(address), "an e-mail address"),
            Self::Telephone => (is_telephone(address), "a telephone number in E.164, such as +31201234567"),
            Self::Facebook => (!address.trim().is_empty(), "an account"),
            Self::Twitter => (is_twitter(address), "an account of letters, digits, _ and spaces"),
        };
        if is_valid { Ok(()) } else { Err(description) }
    }
}

fn is_email(address: &str) -> bool {
    let Some((local, domain)) = address.split_once('@') else {
        return false;
    };
    let has_dot = domain.contains('.') && domain.split('.').all(|label| !label.is_empty());
    !local.is_empty() && has_dot && !domain.contains('@') && !address.contains(char::is_whitespace)
}

fn is_telephone(address: &str) -> bool {
    address.strip_prefix('+').is_some_and(|digits| {
        (1..=TELEPHONE_DIGITS_MAX).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
    })
}

fn is_twitter(address: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b' ';
    !address.is_empty() && address.bytes().all(is_allowed)
}

/// An address of a customer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Channel {
    pub kind: ChannelKind,
    /// As it was sent.
    pub address: String,
}
