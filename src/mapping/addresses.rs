//! Addresses by which Omnidesk recognises a customer.

use std::borrow::Cow;
use std::fmt;

use email_address::{EmailAddress, Options};
use rlibphonenumber::enums::Region;

use super::invisible::is_invisible;
use super::phone;
use super::rejection::{Rejection, RejectionCode, RowResult};
use super::separators;

/// The kind of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Channel {
    Email,
    /// E.164.
    Telephone,
    /// An account or an id.
    Facebook,
    /// An account, without `@`.
    Twitter,
}

impl Channel {
    /// As on the API's pages.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Telephone => "telephone",
            Self::Facebook => "facebook",
            Self::Twitter => "twitter",
        }
    }
}

/// A checked address, which may borrow from its row.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct DraftAddress<'a> {
    channel: Channel,
    text: Cow<'a, str>,
}

/// A checked address that owns its text.
pub type Address = DraftAddress<'static>;

impl<'a> DraftAddress<'a> {
    /// Checks and cleans an address.
    pub fn parse(channel: Channel, text: impl Into<Cow<'a, str>>, region: Option<Region>) -> RowResult<Self> {
        let text = to_half_width(text.into());
        let text = match channel {
            Channel::Email => parse_email(text)?,
            Channel::Telephone => phone::to_e164(text, region)?,
            Channel::Facebook => parse_facebook(&text)?.into(),
            Channel::Twitter => parse_twitter(&text)?.into(),
        };
        Ok(Self { channel, text })
    }

    pub fn channel(&self) -> Channel {
        self.channel
    }

    /// As it is sent.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The same for all spellings of one address.
    pub fn identity(&self) -> Cow<'_, str> {
        let is_lower = |text: &str| text.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase());
        if self.channel == Channel::Telephone || is_lower(&self.text) {
            return Cow::Borrowed(&self.text);
        }
        Cow::Owned(self.text.to_lowercase())
    }

    pub(super) fn is_same_as(&self, other: &Self) -> bool {
        self.channel == other.channel && self.identity() == other.identity()
    }

    pub(super) fn into_owned(self) -> Address {
        Address { channel: self.channel, text: Cow::Owned(self.text.into_owned()) }
    }
}

impl fmt::Debug for DraftAddress<'_> {
    /// Masked: personal data.
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        write!(out, "{}(***)", self.channel.as_str())
    }
}

fn parse_email(text: Cow<'_, str>) -> RowResult<Cow<'_, str>> {
    if is_common_email(&text) {
        return Ok(text);
    }
    let text = clean_email(&text);
    let text = text.as_ref();
    let options = Options::default().with_required_tld().without_domain_literal().without_display_text();
    let is_email = |text: &str| EmailAddress::parse_with_options(clean_email(text).as_ref(), options).is_ok();
    let Err(error) = EmailAddress::parse_with_options(text, options) else {
        return Ok(text.to_owned().into());
    };
    let error = error.to_string().to_lowercase();
    let (message, hint): (String, Cow<'static, str>) = if text.matches('@').count() > 1 {
        (
            "the cell has several e-mail addresses".to_owned(),
            separators::hint("email", separators::find(text, is_email).unwrap_or(";")).into(),
        )
    } else if let Some(letter) = text.chars().find(|letter| !is_email_letter(*letter)) {
        (
            format!("not an e-mail address: it has {}", describe_letter(letter)),
            "fix the address, take the address alone with a template, or leave such addresses out with invalid = \"drop\"".into(),
        )
    } else {
        (
            format!("not an e-mail address: {}", error.trim_end_matches('.')),
            "fix the address, empty the cell, add its placeholder to blank in [input], or leave such addresses out with invalid = \"drop\"".into(),
        )
    };
    Err(Rejection::new(RejectionCode::BadEmail, message, hint))
}

/// The address without what mail programs and spreadsheets put around it:
/// `mailto:` and its query, a name and angle brackets, a dot at the end.
fn clean_email(text: &str) -> Cow<'_, str> {
    let mut text = text.trim();
    if let Some((name, rest)) = text.split_once('<')
        && let Some(address) = rest.strip_suffix('>')
        && !name.contains('@')
    {
        text = address.trim();
    }
    if text.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("mailto:")) {
        text = text[7..].split('?').next().unwrap_or_default().trim();
    }
    text = text.trim_end_matches(['.', ',', ';']).trim_end();
    if text.contains(is_invisible) { text.replace(is_invisible, "").into() } else { text.into() }
}

fn is_email_letter(letter: char) -> bool {
    letter.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.@\"".contains(letter)
}

/// Also a letter that cannot be seen, or that looks like another.
fn describe_letter(letter: char) -> String {
    let code = format!("U+{:04X}", u32::from(letter));
    match letter {
        ' ' => "a space".to_owned(),
        _ if letter.is_whitespace() || letter.is_control() => format!("the character {code}"),
        _ => format!("the character {letter:?} ({code})"),
    }
}

/// Full-width letters, digits and signs, as an Asian keyboard writes them, become
/// those of addresses.
fn to_half_width(text: Cow<'_, str>) -> Cow<'_, str> {
    let is_full_width = |letter: char| matches!(letter, '\u{FF01}'..='\u{FF5E}' | '\u{3000}' | '\u{3002}');
    if text.is_ascii() || !text.contains(is_full_width) {
        return text;
    }
    let to_half = |letter: char| match letter {
        '\u{3000}' => ' ',
        '\u{3002}' => '.',
        letter if is_full_width(letter) => char::from_u32(u32::from(letter) - 0xFEE0).unwrap_or(letter),
        letter => letter,
    };
    text.chars().map(to_half).collect::<String>().into()
}

/// Whether the address has the common shape: letters, digits and a few signs.
/// Only saves time: a test checks that the library accepts all of these.
fn is_common_email(text: &str) -> bool {
    let Some(at) = memchr::memchr(b'@', text.as_bytes()) else { return false };
    let (local, domain) = (&text[..at], &text[at + 1..]);
    let is_common = |text: &str, signs: &[u8]| {
        let mut before = b'.';
        let are_common = text.bytes().all(|byte| {
            let is_common = match byte {
                b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => true,
                b'.' => !matches!(before, b'.' | b'-'),
                b'-' => before != b'.',
                _ => signs.contains(&byte),
            };
            before = byte;
            is_common
        });
        are_common && before.is_ascii_alphanumeric()
    };
    local.len() <= 64
        && domain.len() <= 63
        && memchr::memchr(b'.', domain.as_bytes()).is_some()
        && is_common(local, b"_+")
        && is_common(domain, b"")
}

const ACCOUNT_HINT: &str =
    "fix the account, empty the cell, or leave such accounts out with invalid = \"drop\"";

/// The part of a profile's URL after the host, if that is one of `hosts`.
fn profile_path<'a>(text: &'a str, hosts: &[&str]) -> Option<&'a str> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or(text);
    let (host, path) = rest.split_once('/')?;
    let host = host.to_ascii_lowercase();
    let bare = ["www.", "m.", "mobile.", "nl-nl."]
        .iter()
        .find_map(|prefix| host.strip_prefix(prefix))
        .unwrap_or(&host);
    hosts.contains(&bare).then_some(path)
}

fn parse_twitter(text: &str) -> RowResult<String> {
    let account = match profile_path(text, &["twitter.com", "x.com"]) {
        Some(path) => path.split(['/', '?', '#']).next().unwrap_or_default(),
        None => text,
    };
    let account = account.trim_start_matches('@').trim();
    let is_allowed = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == ' ';
    if account.is_empty() || !account.chars().all(is_allowed) {
        let message = "not a Twitter account: only letters A to Z, digits, _ and spaces are allowed";
        return Err(Rejection::new(RejectionCode::BadHandle, message, ACCOUNT_HINT));
    }
    Ok(account.to_owned())
}

fn parse_facebook(text: &str) -> RowResult<String> {
    let account = match profile_path(text, &["facebook.com", "fb.com", "fb.me"]) {
        Some(rest) => facebook_account(rest),
        None => Some(text.trim_start_matches('@')).filter(|account| !account.contains("://")),
    };
    // The vendor shows no pattern, so nearly everything is allowed.
    account
        .map(str::trim)
        .filter(|account| !account.is_empty() && !account.contains(char::is_control))
        .map(str::to_owned)
        .ok_or_else(|| Rejection::new(RejectionCode::BadHandle, "not a Facebook account or id", ACCOUNT_HINT))
}

/// The account in the part of a profile's URL after the host.
fn facebook_account(rest: &str) -> Option<&str> {
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    match parts.next() {
        Some("profile.php") => query.split('&').find_map(|pair| pair.strip_prefix("id=")),
        Some("people") => parts.nth(1),
        Some("pg" | "pages") => parts.next_back(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_common_address_is_one_to_the_library(
            text in "[a-cA-C0-2._+@-]{0,4}[a-c.-]{1,66}@[a-z0-9.@-]{0,70}\\.?[a-z-]{1,3}"
        ) {
            let options =
                Options::default().with_required_tld().without_domain_literal().without_display_text();
            let library = EmailAddress::parse_with_options(&text, options);
            prop_assert!(!is_common_email(&text) || library.is_ok(), "{}: {:?}", text, library);
        }
    }

    #[test]
    fn the_common_shape_is_recognised() {
        for common in ["ann@example.org", "Ann-B.c_d+e@mail.example-1.co.uk"] {
            assert!(is_common_email(common), "{common}");
        }
        for other in
            ["ann@example", ".a@b.nl", "a..b@c.nl", "a@-b.nl", "a@b-.nl", "a@b..nl", "a@b@c.nl", "é@b.nl"]
        {
            assert!(!is_common_email(other), "{other}");
        }
    }

    #[test]
    fn addresses_are_cleaned_or_refused() {
        use Channel::{Email, Facebook, Twitter};
        let cases = [
            (Email, "Ann@Example.org", Some("Ann@Example.org")),
            (Email, "mailto:ann@example.org", Some("ann@example.org")),
            (Email, "ann@example", None),
            (Email, "ann", None),
            (Email, "Ann <ann@example.org>", Some("ann@example.org")),
            (Email, "<ann@example.org>", Some("ann@example.org")),
            (Email, "\"Smit, Ann\" <MAILTO:ann@example.org?subject=Hi%20there>", Some("ann@example.org")),
            (Email, "mailto:ann@example.org?cc=b@example.org", Some("ann@example.org")),
            (Email, "ann@work.nl <ann@example.org>", None),
            (Email, "<ann@example.org", None),
            (Email, "ann@example.org.", Some("ann@example.org")),
            (Email, "ann@example.org;", Some("ann@example.org")),
            (Email, "ａｎｎ＠ｅｘａｍｐｌｅ．ｏｒｇ", Some("ann@example.org")),
            (Email, "ann\u{200B}@example.org", Some("ann@example.org")),
            (Twitter, "＠ａｎｎ", Some("ann")),
            (Email, "ann@[127.0.0.1]", None),
            (Email, "a b@example.org", None),
            (Email, "ann@example.org; bob@example.org", None),
            (Twitter, "@ann_1", Some("ann_1")),
            (Twitter, "https://twitter.com/ann?lang=nl", Some("ann")),
            (Twitter, "https://x.com/ann/status/1", Some("ann")),
            (Twitter, "ann.b", None),
            (Twitter, "@", None),
            (Facebook, "https://www.facebook.com/ann.b/", Some("ann.b")),
            (Facebook, "https://facebook.com/profile.php?id=100001234&x=1", Some("100001234")),
            (Facebook, "https://m.facebook.com/people/Ann-B/100001234", Some("100001234")),
            (Facebook, "100001234", Some("100001234")),
            (Facebook, "https://www.facebook.com/", None),
            (Facebook, "https://example.org/ann", None),
            (Facebook, "https://www.facebook.com/ /", None),
            (Facebook, "ann\0b", None),
            (Facebook, "ann\nb", None),
        ];
        for (channel, text, expected) in cases {
            let found = Address::parse(channel, text, None);
            assert_eq!(found.as_ref().map(Address::as_str).ok(), expected, "{text:?}: {found:?}");
        }
    }

    #[test]
    fn the_character_that_spoils_an_address_is_named() {
        for (text, name) in [
            ("ann smit@example.org", "it has a space"),
            ("ann\u{A0}smit@example.org", "U+00A0"),
            ("ann@example.org>", "'>' (U+003E)"),
            ("ann@exam\u{2013}ple.org", "'–' (U+2013)"),
            ("ann(home)@example.org", "'(' (U+0028)"),
        ] {
            let error = Address::parse(Channel::Email, text, None).expect_err(text);
            assert!(error.message.ends_with(name), "{text}: {}", error.message);
        }
    }

    #[test]
    fn spellings_of_one_address_are_the_same() {
        let identity =
            |text| Address::parse(Channel::Email, text, None).expect("an address").identity().into_owned();
        assert_eq!(identity("Ann@example.org"), identity("ann@EXAMPLE.org"));
    }
}
