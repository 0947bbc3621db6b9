//! From the answers of a trial to settings. An entry is taken only if no other answer
//! of the trial would be misread by it. That is tried with [`judge`] itself.

use std::collections::HashMap;

use super::report::{Check, Verdict};
use super::server::status_text;
use crate::omnidesk::{
    Answer, Call, CallKind, Exchange, Meaning, MessagePattern, Proof, RefusalTexts, judge, message_words,
};

/// Words of the test customers' names.
pub(super) const TEST_NAMES: [&str; 2] = ["Omnidesksync", "Testklant"];

/// What is known of a call of a trial, whatever the API answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Truth {
    /// Nothing is in its way.
    Valid,
    CustomerExists,
    /// The customer has the address already.
    AddressExists,
    /// Another customer has the address.
    AddressElsewhere,
    NotFound,
    /// It is refused for another reason, if it is refused.
    Invalid,
    /// It has the wrong key.
    WrongKey,
    /// The answer teaches nothing.
    Unknown,
}

/// A call of a trial and its answer.
#[derive(Debug)]
pub(super) struct Observation {
    pub(super) truth: Truth,
    pub(super) call: Call,
    pub(super) exchange: Exchange,
}

/// A pattern or a status to be added to the settings.
enum Entry {
    Text(MessagePattern),
    Status(u16),
}

/// What is learned of a trial.
pub(super) struct Lessons<'a> {
    observations: &'a [Observation],
    pub(super) texts: RefusalTexts,
    /// Why an answer is not understood, by its place.
    reasons: HashMap<usize, String>,
}

/// Words that say nothing of a customer. A message of these alone could mean anything.
const EMPTY_WORDS: &str = " bad request invalid error errors failed failure validation input data operation \
    action not no allowed permitted possible unable problem something went wrong unknown unprocessable entity \
    content parameter parameters exception e ongeldig ongeldige invoer fout fouten verzoek mislukt niet geen \
    onbekend onbekende toegestaan mogelijk ";

impl Observation {
    pub(super) fn answer(&self, texts: &RefusalTexts) -> Answer {
        judge(&self.call, &self.exchange, texts)
    }

    /// Whether these settings take the answer for what it is, or for nothing that does
    /// harm. That a customer exists does none for a create: an update follows and shows it.
    fn is_understood(&self, texts: &RefusalTexts) -> bool {
        let answer = self.answer(texts);
        let kind = self.call.kind();
        if answer.proof == Proof::Done {
            return true;
        }
        match self.truth {
            Truth::CustomerExists => answer.meaning == Meaning::Exists,
            Truth::AddressExists => answer.meaning == Meaning::DoneBefore,
            Truth::NotFound => answer.meaning == Meaning::NotFound,
            Truth::AddressElsewhere => kind == CallKind::Create || !has_follow_up(answer.meaning),
            // So could be refused any other call.
            Truth::Invalid | Truth::WrongKey => {
                let calls = CallKind::ALL.map(|kind| self.call.as_other_kind(kind));
                calls.iter().all(|call| !has_follow_up(judge(call, &self.exchange, texts).meaning))
            }
            Truth::Valid | Truth::Unknown => true,
        }
    }

    fn is_refused(&self) -> bool {
        matches!(self.answer(&RefusalTexts::default()).meaning, Meaning::Refused | Meaning::Unclear)
    }

    /// The words of the API's refusal, with `*` for the test customer's names.
    fn words(&self) -> Option<Vec<String>> {
        let answer = self.answer(&RefusalTexts::default());
        if !matches!(
            answer.meaning,
            Meaning::Refused | Meaning::Exists | Meaning::NotFound | Meaning::DoneBefore
        ) {
            return None;
        }
        let mut words = message_words(&self.call, &answer.message);
        for word in &mut words {
            if TEST_NAMES.iter().any(|name| name.eq_ignore_ascii_case(word)) {
                "*".clone_into(word);
            }
        }
        words.dedup_by(|next, before| next == "*" && before == "*");
        Some(words)
    }

    /// What was answered, for people.
    pub(super) fn label(&self) -> &'static str {
        match (self.truth, self.call.kind()) {
            (Truth::CustomerExists, _) => "a create of a customer who exists",
            (Truth::AddressExists, _) => "an address that the customer has",
            (Truth::AddressElsewhere, CallKind::Create) => "a create with an address of another customer",
            (Truth::AddressElsewhere, _) => "an address of another customer",
            (Truth::NotFound, CallKind::Update) => "an update of an unknown customer",
            (Truth::NotFound, CallKind::AddChannel) => "an address for an unknown customer",
            (Truth::NotFound, _) => "a purge of an unknown customer",
            (Truth::Invalid, CallKind::Create) => "an invalid create",
            (Truth::Invalid, CallKind::AddChannel) => "an invalid address",
            (Truth::Invalid, _) => "an invalid update",
            (Truth::WrongKey, _) => "a wrong key",
            (Truth::Valid | Truth::Unknown, _) => "a valid call",
        }
    }
}

/// Whether another call follows, or the call counts as done.
fn has_follow_up(meaning: Meaning) -> bool {
    matches!(meaning, Meaning::Exists | Meaning::DoneBefore | Meaning::NotFound)
}

/// Learns from the observations, on top of the settings.
pub(super) fn learn(texts: RefusalTexts, observations: &[Observation]) -> Lessons<'_> {
    let mut lessons = Lessons { observations, texts, reasons: HashMap::new() };
    // Addresses of others first: these patterns outweigh those for "exists already".
    for truth in [Truth::AddressElsewhere, Truth::NotFound, Truth::CustomerExists, Truth::AddressExists] {
        for (at, observation) in observations.iter().enumerate() {
            if observation.truth == truth && !observation.is_understood(&lessons.texts) {
                lessons.learn_one(at);
            }
        }
    }
    lessons
}

impl Lessons<'_> {
    fn learn_one(&mut self, at: usize) {
        let observation = &self.observations[at];
        let adopted = self.propose(observation).and_then(|entry| {
            let texts = with(&self.texts, observation.truth, entry);
            let misread = self
                .observations
                .iter()
                .find(|other| other.is_understood(&self.texts) && !other.is_understood(&texts));
            match misread {
                Some(other) => Err(format!("{} gets the same answer", other.label())),
                None if observation.is_understood(&texts) => Ok(texts),
                None => Err("an answer to another call means the same".to_owned()),
            }
        });
        match adopted {
            Ok(texts) => self.texts = texts,
            Err(reason) => drop(self.reasons.insert(at, reason)),
        }
    }

    /// The entry by which an answer would be understood, or why there is none.
    fn propose(&self, observation: &Observation) -> Result<Entry, String> {
        let Some(words) = observation.words() else { return self.propose_status(observation) };
        let peers = self.observations.iter().filter(|other| other.truth == observation.truth);
        let pattern = peers.filter_map(Observation::words).fold(words, |words, other| merge(words, &other));
        let says = |word: &String| word != "*" && !EMPTY_WORDS.contains(&format!(" {word} "));
        if !pattern.iter().any(says) {
            return Err("these words could be any refusal's".to_owned());
        }
        MessagePattern::try_from(pattern.join(" ")).map(Entry::Text).map_err(str::to_owned)
    }

    fn propose_status(&self, observation: &Observation) -> Result<Entry, String> {
        let answer = observation.answer(&RefusalTexts::default());
        let status = answer.status.unwrap_or_default();
        if answer.meaning != Meaning::Unclear || !RefusalTexts::is_possible_status(status) {
            return Err("neither words nor status tell it from a fault".to_owned());
        }
        let is_compared =
            || self.observations.iter().any(|other| other.truth == Truth::Invalid && other.is_refused());
        if !RefusalTexts::is_telling_status(status) && !is_compared() {
            return Err(
                "any invalid call may get this status, and the API refused none to compare".to_owned()
            );
        }
        Ok(Entry::Status(status))
    }

    /// One line for each kind of refusal.
    pub(super) fn checks(&self, show: impl Fn(&str) -> String) -> Vec<Check> {
        let groups = [
            (Truth::CustomerExists, CallKind::Create),
            (Truth::AddressExists, CallKind::AddChannel),
            (Truth::AddressElsewhere, CallKind::Create),
            (Truth::AddressElsewhere, CallKind::AddChannel),
            (Truth::NotFound, CallKind::Update),
            (Truth::NotFound, CallKind::AddChannel),
            (Truth::NotFound, CallKind::Purge),
        ];
        let check = |(truth, kind)| {
            let is_meant = |at: &usize| {
                self.observations[*at].truth == truth && self.observations[*at].call.kind() == kind
            };
            let mut all = (0..self.observations.len()).filter(is_meant);
            let first = all.clone().next()?;
            let worst = all.find(|at| !self.observations[*at].is_understood(&self.texts)).unwrap_or(first);
            Some(self.check(worst, &show))
        };
        groups.into_iter().filter_map(check).collect()
    }

    fn check(&self, at: usize, show: impl Fn(&str) -> String) -> Check {
        let observation = &self.observations[at];
        let name = match observation.truth {
            Truth::CustomerExists | Truth::AddressExists => "exists",
            Truth::AddressElsewhere => "elsewhere",
            _ => "not found",
        };
        let answer = observation.answer(&self.texts);
        let label = observation.label();
        if answer.proof == Proof::Done {
            return accepted(name, observation);
        }
        let message = format!("{label} gets {}: {}", status_text(&answer), show(&answer.message));
        if observation.is_understood(&self.texts) {
            return Check::new(name, Verdict::Good, message);
        }
        let reason = self.reasons.get(&at).map_or("it is not understood", String::as_str);
        let hint = "such a row fails with the API's message; no setting can tell it apart";
        Check::new(name, Verdict::Attention, format!("{message}; not learned, since {reason}"))
            .with_hint(hint)
    }
}

/// What it means that a call worked.
fn accepted(name: &'static str, observation: &Observation) -> Check {
    let message = format!("{} is accepted", observation.label());
    let hint = match (observation.truth, observation.call.kind()) {
        (Truth::CustomerExists, _) => {
            "a customer whom Omnidesk has already may become two; record those with `adopt` before the first run"
        }
        (Truth::NotFound, CallKind::Update) => {
            "a probe cannot tell whether a lost create was carried out; set in_doubt = \"hold\""
        }
        (Truth::NotFound, CallKind::AddChannel) => "addresses of a customer deleted in Omnidesk are lost",
        _ => return Check::new(name, Verdict::Good, message),
    };
    Check::new(name, Verdict::Attention, message).with_hint(hint)
}

fn with(texts: &RefusalTexts, truth: Truth, entry: Entry) -> RefusalTexts {
    let mut texts = texts.clone();
    let (patterns, statuses) = match truth {
        Truth::NotFound => (&mut texts.not_found, Some(&mut texts.not_found_status)),
        Truth::AddressElsewhere => (&mut texts.exists_elsewhere, None),
        _ => (&mut texts.exists, Some(&mut texts.exists_status)),
    };
    match entry {
        Entry::Text(pattern) => patterns.push(pattern),
        Entry::Status(status) => statuses.into_iter().for_each(|statuses| statuses.push(status)),
    }
    texts
}

/// The words of two messages, with `*` for those that differ. Messages with nothing
/// in common stay two.
fn merge(words: Vec<String>, other: &[String]) -> Vec<String> {
    const COMMON_MIN: usize = 2;
    let common = |pairs: &mut dyn Iterator<Item = (&String, &String)>| {
        pairs.take_while(|(one, other)| one == other).count()
    };
    let start = common(&mut words.iter().zip(other));
    let rest = words.len().min(other.len()) - start;
    let end = common(&mut words.iter().rev().zip(other.iter().rev())).min(rest);
    let is_same = start == words.len() && start == other.len();
    if is_same || start + end < COMMON_MIN.max(words.len() / 2) {
        return words;
    }
    let mut merged = words[..start].to_vec();
    merged.push("*".to_owned());
    merged.extend_from_slice(&words[words.len() - end..]);
    merged.dedup_by(|next, before| next == "*" && before == "*");
    merged
}
