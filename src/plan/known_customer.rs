//! What the checkpoint knows of one customer, for a person who asks.

use std::collections::HashMap;
use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use crate::checkpoint::{Checkpoint, CheckpointError, RunRecord};
use crate::config::Config;
use crate::mapping::{Customer, FieldName, MappedKey, PurgeReason, Subject};
use crate::omnidesk::CallKind;
use crate::reconcile::{
    Acked, CustomerKey, CustomerState, FieldTag, HashKey, Occasion, Origin, PendingCall, PurgeRecord,
};
use crate::units::{counted, minutes_after, pluralize};

/// One customer, found by the keyed hash of brand and id.
pub(crate) struct KnownCustomer {
    pub(crate) customer: Customer,
    pub(crate) key: CustomerKey,
    pub(super) state: CustomerState,
    pending: Option<PendingCall>,
    runs: HashMap<u32, RunRecord>,
    /// Keys of the configuration whose field is acknowledged.
    fields: Vec<String>,
    /// Acknowledged fields that no key maps any more.
    removed_fields: u64,
    /// Lines of rows of runs, where the export at hand is theirs.
    pub(super) lines: HashMap<(u32, u64), u64>,
}

impl KnownCustomer {
    pub(crate) fn look_up(
        config: &Config,
        checkpoint: Option<&Checkpoint>,
        customer: Customer,
    ) -> Result<Self, CheckpointError> {
        let hash_key = checkpoint.map_or(HashKey::new([0; 32]), Checkpoint::key);
        let key = hash_key.customer(&customer);
        let mut known = Self {
            customer,
            key,
            state: CustomerState::Unknown,
            pending: None,
            runs: HashMap::new(),
            fields: Vec::new(),
            removed_fields: 0,
            lines: HashMap::new(),
        };
        let Some(checkpoint) = checkpoint else { return Ok(known) };
        known.state = checkpoint.lookups().state(key)?;
        known.pending = checkpoint.lookups().pending(key);
        let runs = checkpoint.runs(u32::MAX)?.into_iter();
        known.runs = runs.filter_map(|(id, run)| Some((u32::try_from(id).ok()?, run))).collect();
        if let Some(acked) = known.state.acked() {
            let keys = mapped_keys(config);
            let mut names: Vec<String> =
                acked.fields.iter().filter_map(|field| key_of(&keys, &hash_key, field.tag)).collect();
            known.removed_fields = (acked.fields.len() - names.len()) as u64;
            names.sort_unstable();
            names.dedup();
            known.fields = names;
        }
        Ok(known)
    }

    /// Whether the checkpoint has anything of the customer.
    pub(crate) fn is_known(&self) -> bool {
        !self.state.is_unknown() || self.pending.is_some()
    }

    /// The runs and rows that are referred to.
    pub(super) fn occasions(&self) -> Vec<Occasion> {
        match &self.state {
            CustomerState::Acknowledged(acked) => {
                acked.history.iter().flat_map(|history| [history.first, history.last]).collect()
            }
            CustomerState::PerhapsPurged(purge) | CustomerState::Purged(purge) => vec![purge.occasion],
            _ => Vec::new(),
        }
    }

    fn state_text(&self) -> &'static str {
        match &self.state {
            CustomerState::Unknown => "unknown",
            CustomerState::Acknowledged(_) => "acknowledged",
            CustomerState::Existing => "existing",
            CustomerState::Absent => "absent",
            CustomerState::Vanished => "vanished",
            CustomerState::PerhapsPurged(_) => "perhaps_purged",
            CustomerState::Purged(_) => "purged",
        }
    }

    pub(crate) fn json(&self) -> Value {
        let acked = self.state.acked();
        let history = acked.and_then(|acked| acked.history);
        let purge = match &self.state {
            CustomerState::PerhapsPurged(purge) | CustomerState::Purged(purge) => Some(purge),
            _ => None,
        };
        json!({
            "schema": 1,
            "customer": self.key.to_string(),
            "brand_id": self.customer.brand_id,
            "known": self.is_known(),
            "state": self.state_text(),
            "origin": history.map(|history| origin_text(history.origin)),
            "first_acknowledged": history.map(|history| self.occasion_json(history.first)),
            "last_acknowledged": history.map(|history| self.occasion_json(history.last)),
            "fields": self.fields,
            "removed_fields": self.removed_fields,
            "addresses": acked.map_or(0, |acked| acked.addresses.len()),
            "purged_before": acked.is_some_and(|acked| acked.purge.is_some()),
            "purge": purge.map(|purge| self.purge_json(purge)),
            "pending": self.pending.map(|pending| json!({
                "call": pending.kind.as_str(),
                "in_doubt": pending.kind == CallKind::Create,
            })),
        })
    }

    fn purge_json(&self, purge: &PurgeRecord) -> Value {
        let mut value = self.occasion_json(purge.occasion);
        value["reason"] = reason_text(purge.reason).into();
        value
    }

    fn occasion_json(&self, occasion: Occasion) -> Value {
        let run = self.runs.get(&occasion.run);
        json!({
            "time": self.time(occasion).map(|time| time.to_string()),
            "run": run.map(|_| occasion.run),
            "folder": run.map(|run| &run.folder).filter(|folder| !folder.is_empty()),
            "row": (occasion.row < u64::MAX).then_some(occasion.row),
            "line": self.line(occasion),
        })
    }

    fn time(&self, occasion: Occasion) -> Option<Timestamp> {
        minutes_after(&self.runs.get(&occasion.run)?.started, occasion.minute)
    }

    fn line(&self, occasion: Occasion) -> Option<u64> {
        self.lines.get(&(occasion.run, occasion.row)).copied()
    }

    /// `2026-11-23 17:05 by run 3, row 17 on line 18`
    fn occasion_text(&self, occasion: Occasion) -> String {
        let time = self.time(occasion).map(|time| {
            format!("{} ", time.to_zoned_datetime(TimeZone::system()).strftime("%Y-%m-%d %H:%M"))
        });
        let mut text = format!("{}by run {}", time.unwrap_or_default(), occasion.run);
        let _ = match (occasion.row, self.line(occasion)) {
            (u64::MAX, _) => write!(text, ", as a missing customer"),
            (row, Some(line)) => write!(text, ", row {row} on line {line}"),
            (row, None) => write!(text, ", row {row}"),
        };
        let folder = self.runs.get(&occasion.run).map_or("", |run| &run.folder);
        if !folder.is_empty() {
            let _ = write!(text, " ({folder})");
        }
        text
    }

    /// In one line, without the customer.
    pub(crate) fn line_text(&self) -> String {
        let pending = match self.pending.map(|pending| pending.kind) {
            Some(CallKind::Create) => "; a create has no answer: in doubt".to_owned(),
            Some(kind) => format!("; {} has no answer yet", kind.as_str()),
            None => String::new(),
        };
        let state = match &self.state {
            CustomerState::Unknown => "the checkpoint does not know this customer".to_owned(),
            CustomerState::Existing | CustomerState::Acknowledged(Acked { history: None, .. }) => {
                "exists in Omnidesk by other means; nothing is acknowledged".to_owned()
            }
            CustomerState::Absent => "Omnidesk does not know this customer: an update was refused".to_owned(),
            CustomerState::Vanished => "Omnidesk does not know this customer any more".to_owned(),
            CustomerState::Acknowledged(Acked { history: Some(history), .. }) => {
                format!("{} {}", origin_text(history.origin), self.occasion_text(history.first))
            }
            CustomerState::PerhapsPurged(purge) => format!(
                "perhaps purged {}: no answer proves that the purge was not carried out",
                self.purge_text(purge)
            ),
            CustomerState::Purged(purge) => format!("purged {}", self.purge_text(purge)),
        };
        format!("{state}{pending}")
    }

    fn purge_text(&self, purge: &PurgeRecord) -> String {
        let reason = match purge.reason {
            PurgeReason::Export => "",
            PurgeReason::Request => ", by the command purge",
            PurgeReason::Undo { .. } => ", by an undo",
        };
        format!("{}{reason}", self.occasion_text(purge.occasion))
    }

    pub(crate) fn text(&self) -> String {
        let Customer { brand_id, primary_id } = &self.customer;
        let mut text = format!("customer {} of brand {brand_id}, {}\n", primary_id.as_str(), self.key);
        let _ = writeln!(text, "{}", self.line_text());
        let Some(acked) = self.state.acked() else { return text };
        if let Some(history) = acked.history.filter(|history| history.last != history.first) {
            let _ = writeln!(text, "last acknowledged {}", self.occasion_text(history.last));
        }
        let fields = if self.fields.is_empty() { "none".to_owned() } else { self.fields.join(", ") };
        let addresses = pluralize(acked.addresses.len() as u64, "address", "addresses");
        let _ = writeln!(text, "acknowledged fields: {fields}; {addresses}");
        if self.removed_fields > 0 {
            let fields = counted(self.removed_fields, "acknowledged field");
            let _ = writeln!(text, "{fields} not mapped any more");
        }
        if acked.purge.is_some() {
            text.push_str("the customer was purged before, and came back\n");
        }
        text
    }
}

fn origin_text(origin: Origin) -> &'static str {
    match origin {
        Origin::Created => "created",
        Origin::Found => "found",
    }
}

fn reason_text(reason: PurgeReason) -> &'static str {
    match reason {
        PurgeReason::Export => "export",
        PurgeReason::Request => "request",
        PurgeReason::Undo { .. } => "undo",
    }
}

pub(super) fn mapped_keys(config: &Config) -> Vec<MappedKey> {
    let omnidesk = &config.omnidesk;
    MappedKey::all(&config.customer, omnidesk.names, &omnidesk.custom_field_prefix, &config.input)
}

/// The fields that a key fills.
pub(super) fn fields_of(key: &MappedKey) -> Vec<FieldName> {
    match &key.subject {
        Subject::Field(name) => vec![name.clone()],
        Subject::WholeName => vec![FieldName::First, FieldName::Last],
        Subject::Customer | Subject::Channel(_) | Subject::Rest => Vec::new(),
    }
}

fn key_of(keys: &[MappedKey], hash_key: &HashKey, tag: FieldTag) -> Option<String> {
    let fills = |key: &&MappedKey| fields_of(key).iter().any(|name| hash_key.field(name) == tag);
    keys.iter().find(fills).map(|key| key.key.clone())
}
