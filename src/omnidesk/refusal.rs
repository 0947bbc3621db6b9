//! The meaning of the API's refusals. No page documents their words, so a text is
//! a pattern for the whole message, and the settings add more of them.

use std::fmt;
use std::sync::LazyLock;

use schemars::JsonSchema;
use serde::Deserialize;

use super::call::{Call, CallKind};
use super::meaning::Meaning;

/// A pattern for a whole message; `*` stands for any words.
///
/// Case, punctuation and small words such as articles do not count. Neither do the
/// customer's id, the brand and the address of the call.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
pub struct MessagePattern(Vec<String>);

/// What refusals and statuses mean, beside the built-in sentences.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RefusalTexts {
    /// The customer, or the address, exists already.
    pub exists: Vec<MessagePattern>,
    /// There is no such customer.
    pub not_found: Vec<MessagePattern>,
    /// The address belongs to another customer.
    pub exists_elsewhere: Vec<MessagePattern>,
    /// Statuses that mean "exists already" without words.
    pub exists_status: Vec<u16>,
    /// Statuses that mean "no such customer" without words.
    pub not_found_status: Vec<u16>,
}

const ANY_WORDS: &str = "*";

/// Words for a customer, in English and Dutch.
const CUSTOMER: [&str; 7] = ["customer", "user", "client", "contact", "klant", "gebruiker", "relatie"];

/// Sentences that mean "not found", with `{}` for the customer. Only sentences about
/// a customer do: a missing brand or field must not look like a missing customer, or
/// it would be created.
const NOT_FOUND: [&str; 16] = [
    "{} not found",
    "{} cannot found",
    "{} not exist",
    "{} does not exist",
    "{} doesn't exist",
    "{} unknown",
    "unknown {}",
    "no {} found",
    "no such {}",
    "no {}",
    "{} niet gevonden",
    "{} bestaat niet",
    "{} onbekend",
    "onbekende {}",
    "geen {} gevonden",
    "geen {}",
];

const EXISTS: [&str; 6] = [
    "* already exists *",
    "* already exist *",
    "* exists already *",
    "* bestaat al *",
    "* bestaat reeds *",
    "* al bekend *",
];

/// Owners of an address that is not this customer's.
const ELSEWHERE: [&str; 6] = [
    "* another {} *",
    "* other {} *",
    "* different {} *",
    "* andere {} *",
    "* ander {} *",
    "* someone else *",
];

/// Words that change nothing of a sentence's meaning, in English and Dutch.
const SMALL_WORDS: [&str; 37] = [
    "a", "an", "the", "this", "that", "these", "there", "is", "was", "are", "were", "be", "been", "has",
    "can", "could", "with", "for", "in", "id", "primary", "external", "de", "het", "een", "deze", "dit",
    "die", "kan", "kon", "werd", "worden", "met", "voor", "er", "wordt", "error",
];

/// Words before a name of the call, which go with it: "brand 2", "of brand 2".
const LABELS: [&str; 13] =
    ["brand", "merk", "id", "number", "nr", "nummer", "email", "mail", "e", "address", "adres", "of", "van"];

/// Parts of sentences that resemble those which have a meaning.
const NEAR_NOT_FOUND: [&str; 6] =
    ["* found *", "* not exist *", "* unknown *", "* gevonden *", "* bestaat niet *", "* onbekend *"];
const NEAR_EXISTS: [&str; 5] = ["* exist *", "* exists *", "* already *", "* bestaat *", "* duplicate *"];

impl TryFrom<String> for MessagePattern {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let words = split_words(&text, true);
        if words.iter().all(|word| word == ANY_WORDS) {
            return Err("a text without a word would match every refusal");
        }
        Ok(Self(words))
    }
}

/// As it is written in the configuration.
impl fmt::Display for MessagePattern {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str(&self.0.join(" "))
    }
}

impl MessagePattern {
    fn built_in(sentences: &[&str]) -> Vec<Self> {
        let with_nouns = sentences.iter().flat_map(|sentence| {
            CUSTOMER.iter().map(|noun| Self(split_words(&sentence.replace("{}", noun), true)))
        });
        with_nouns.collect()
    }

    fn matches(&self, message: &[String]) -> bool {
        matches_words(&self.0, message)
    }
}

/// Whether the whole message fits the pattern.
fn matches_words(pattern: &[String], message: &[String]) -> bool {
    match pattern.split_first() {
        None => message.is_empty(),
        Some((first, rest)) if first == ANY_WORDS => {
            (0..=message.len()).any(|skipped| matches_words(rest, &message[skipped..]))
        }
        Some((first, rest)) => {
            message.split_first().is_some_and(|(word, others)| word == first && matches_words(rest, others))
        }
    }
}

/// The words of a text that count, in lower case.
fn split_words(text: &str, is_pattern: bool) -> Vec<String> {
    let lower = text.to_lowercase();
    let spaced = if is_pattern { lower.replace('*', " * ") } else { lower };
    let words = spaced.split(|letter: char| !letter.is_alphanumeric() && (letter != '*' || !is_pattern));
    words.filter(|word| !word.is_empty() && !SMALL_WORDS.contains(word)).map(str::to_owned).collect()
}

/// The words of a message, without what belongs to the call.
pub(crate) fn message_words(call: &Call, message: &str) -> Vec<String> {
    let all = |text: &str| -> Vec<String> {
        let lower = text.to_lowercase();
        let words = lower.split(|letter: char| !letter.is_alphanumeric());
        words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
    };
    let mut words = all(message);
    let customer = &call.customer;
    let names = [
        Some(customer.primary_id.as_str().to_owned()),
        call.address().map(|address| address.as_str().to_owned()),
        Some(customer.brand_id.to_string()),
    ];
    for name in names.iter().flatten().map(|name| all(name)).filter(|name| !name.is_empty()) {
        while let Some(at) = words.windows(name.len()).position(|window| window == name) {
            let labels = words[..at].iter().rev().take_while(|word| LABELS.contains(&word.as_str())).count();
            words.drain(at - labels..at + name.len());
        }
    }
    words.retain(|word| !SMALL_WORDS.contains(&word.as_str()));
    words
}

struct BuiltIn {
    exists: Vec<MessagePattern>,
    not_found: Vec<MessagePattern>,
    elsewhere: Vec<MessagePattern>,
    near_exists: Vec<MessagePattern>,
    near_not_found: Vec<MessagePattern>,
}

static BUILT_IN: LazyLock<BuiltIn> = LazyLock::new(|| BuiltIn {
    exists: MessagePattern::built_in(&EXISTS),
    not_found: MessagePattern::built_in(&NOT_FOUND),
    elsewhere: MessagePattern::built_in(&ELSEWHERE),
    near_exists: MessagePattern::built_in(&NEAR_EXISTS),
    near_not_found: MessagePattern::built_in(&NEAR_NOT_FOUND),
});

fn is_any(lists: [&[MessagePattern]; 2], words: &[String]) -> bool {
    lists.into_iter().flatten().any(|pattern| pattern.matches(words))
}

impl RefusalTexts {
    /// Whether the API can refuse a call with this status. 408, 425 and 429 ask to try
    /// again.
    pub(crate) fn is_possible_status(status: u16) -> bool {
        (400..500).contains(&status) && !matches!(status, 408 | 425 | 429)
    }

    /// Whether a status has a meaning of its own. Others are common for any invalid call.
    pub(crate) fn is_telling_status(status: u16) -> bool {
        matches!(status, 404 | 409 | 410)
    }

    /// What a refusal means beside "refused": by its words, else by its status.
    pub(super) fn meaning(&self, call: &Call, status: u16, message: Option<&str>) -> Option<Meaning> {
        let words = message.map(|message| message_words(call, message)).unwrap_or_default();
        let is_elsewhere = is_any([&BUILT_IN.elsewhere, &self.exists_elsewhere], &words);
        let not_found =
            is_any([&BUILT_IN.not_found, &self.not_found], &words) || self.not_found_status.contains(&status);
        let exists = !is_elsewhere
            && (is_any([&BUILT_IN.exists, &self.exists], &words) || self.exists_status.contains(&status));
        match call.kind() {
            CallKind::Create if exists && !not_found => Some(Meaning::Exists),
            CallKind::Update | CallKind::AddChannel | CallKind::Purge if not_found && !exists => {
                Some(Meaning::NotFound)
            }
            CallKind::AddChannel if exists && !not_found => Some(Meaning::DoneBefore),
            _ => None,
        }
    }

    /// Whether a refusal says that the address is this customer's own.
    pub(crate) fn names_this_customer(message: &str) -> bool {
        let lower = message.to_lowercase();
        ["this customer", "this user", "this contact", "deze klant", "deze gebruiker"]
            .iter()
            .any(|owner| lower.contains(owner))
    }

    /// The line of the configuration by which a refusal would mean more, if it
    /// resembles one that does.
    pub(crate) fn suggestion(call: &Call, message: &str) -> Option<String> {
        let words = message_words(call, message);
        let (near, key, meaning) = match call.kind() {
            CallKind::Create => (&BUILT_IN.near_exists, "exists_texts", "the customer exists already"),
            _ if is_any([&BUILT_IN.near_not_found, &[]], &words) => {
                (&BUILT_IN.near_not_found, "not_found_texts", "there is no such customer")
            }
            CallKind::AddChannel => {
                (&BUILT_IN.near_exists, "exists_texts", "this customer has the address already")
            }
            CallKind::Update | CallKind::Purge => return None,
        };
        let is_near = is_any([near, &[]], &words) && !is_any([&BUILT_IN.elsewhere, &[]], &words);
        is_near.then(|| {
            format!("if it means that {meaning}, add this to [omnidesk]: {key} = [\"{}\"]", words.join(" "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Meaning::{DoneBefore, Exists, NotFound};
    use super::*;
    use crate::mapping::{Address, Channel, Customer, PrimaryId};
    use crate::omnidesk::Action;

    fn call(kind: CallKind) -> Call {
        let address = Address::parse(Channel::Email, "ann@example.org", None).expect("an address");
        let action = match kind {
            CallKind::Create => {
                Action::Create { fields: Vec::new(), first: Some(address), ticket_id: None, no_sync: false }
            }
            CallKind::Update => Action::Update { fields: Vec::new() },
            CallKind::AddChannel => Action::AddChannel { address, no_sync: false },
            CallKind::Purge => Action::Purge,
        };
        let primary_id = PrimaryId::new("C-12").expect("an id");
        Call { customer: Customer { brand_id: 2, primary_id }, action }
    }

    fn meaning(kind: CallKind, message: &str) -> Option<Meaning> {
        RefusalTexts::default().meaning(&call(kind), 400, Some(message))
    }

    #[test]
    fn common_sentences_mean_that_there_is_no_such_customer() {
        for message in [
            "Customer not found.",
            "CUSTOMER NOT FOUND",
            "The customer with id C-12 was not found in brand 2.",
            "Customer 'C-12' (brand 2) does not exist",
            "No such user: c-12",
            "No customer found with primary id C-12 for brand 2!",
            "There is no customer with this id.",
            "Klant niet gevonden.",
            "De klant met id C-12 bestaat niet.",
            "Onbekende klant",
            "Er is geen klant gevonden met nummer C-12",
        ] {
            for kind in [CallKind::Update, CallKind::AddChannel, CallKind::Purge] {
                assert_eq!(meaning(kind, message), Some(NotFound), "{message}");
            }
            assert_eq!(meaning(CallKind::Create, message), None, "{message}");
        }
    }

    #[test]
    fn sentences_about_something_else_do_not() {
        for message in [
            "Unknown customer field: tier.",
            "No such user group",
            "Brand of this customer not found",
            "Brand 2 not found.",
            "Customer field not found",
            "The form does not exist.",
            "Customer group 2 not found",
            "Merk van klant C-12 niet gevonden",
            "Onbekend klantveld: tier",
        ] {
            assert_eq!(meaning(CallKind::Update, message), None, "{message}");
        }
    }

    #[test]
    fn what_exists_already() {
        for (kind, message, expected) in [
            (CallKind::Create, "Customer already exists.", Some(Exists)),
            (CallKind::Create, "Klant C-12 bestaat al.", Some(Exists)),
            (CallKind::Create, "ann@example.org already exists for another customer", None),
            (CallKind::AddChannel, "Channel already exists.", Some(DoneBefore)),
            (CallKind::AddChannel, "This address already exists for another customer.", None),
            (CallKind::Update, "Customer already exists.", None),
        ] {
            assert_eq!(meaning(kind, message), expected, "{message}");
        }
    }

    #[test]
    fn a_suggested_line_makes_the_message_match() {
        for message in ["Kunde C-12 nicht found", "Record not found: C-12", "No person found for \"C-12\""] {
            let update = call(CallKind::Update);
            let line = RefusalTexts::suggestion(&update, message).expect(message);
            let pattern = line.split('"').nth(1).expect("a text").to_owned();
            let not_found = vec![MessagePattern::try_from(pattern).expect("a pattern")];
            let texts = RefusalTexts { not_found, ..RefusalTexts::default() };
            assert_eq!(texts.meaning(&update, 400, Some(message)), Some(NotFound), "{line}");
        }
        assert_eq!(RefusalTexts::suggestion(&call(CallKind::Update), "The brand is closed."), None);
    }

    #[test]
    fn statuses_have_a_meaning_without_words() {
        let texts =
            RefusalTexts { exists_status: vec![409], not_found_status: vec![404], ..Default::default() };
        let meaning = |kind, status| texts.meaning(&call(kind), status, None);
        assert_eq!(meaning(CallKind::Create, 409), Some(Exists));
        assert_eq!(meaning(CallKind::Purge, 404), Some(NotFound));
        assert_eq!(meaning(CallKind::Create, 404), None);
        assert_eq!(meaning(CallKind::Update, 409), None);
    }

    #[test]
    fn a_pattern_is_for_the_whole_message() {
        let pattern = |text: &str| MessagePattern::try_from(text.to_owned());
        let matches = |text: &str, message: &str| {
            pattern(text).expect("a pattern").matches(&message_words(&call(CallKind::Update), message))
        };
        assert!(matches("E-404: * missing", "e 404 the record C-12 is missing"));
        assert!(!matches("missing", "The field is missing"));
        assert!(matches("* missing*", "The field is missing, sorry"));
        assert!(pattern(" * ").is_err() && pattern("").is_err() && pattern("the").is_err());
    }
}
