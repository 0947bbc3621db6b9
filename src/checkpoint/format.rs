//! What is on the disk. Every type that is written is in this file, with its
//! layout; a change anywhere else cannot change the file.
//!
//! # The files
//!
//! | file | holds |
//! |---|---|
//! | `PATH` | an SQLite database in WAL mode with `synchronous = FULL`: a commit that has returned is on the disk |
//! | `PATH-wal`, `PATH-shm` | SQLite's own: commits that are not in `PATH` yet |
//! | `PATH.lock` | held, like `PATH`, by the one process that writes; its text is the number of commits so far |
//!
//! # The tables
//!
//! | table | one row | holds |
//! |---|---|---|
//! | `meta` | a name | `hash_key` (32 secret bytes), `tenant`, `checksum` |
//! | `export` | an export | its hash and its ordinal |
//! | `run` | a run | the ordinal of its export, [`RunRecord`] |
//! | `worklist` | an open run | [`Worklist`]: which rows have calls, which are rejected |
//! | `unfinished` | a row | rows of the last run over an export that failed or stayed in doubt |
//! | `profile` | a run | the first pass's findings, for the next run to compare with |
//! | `vanished` | an address | addresses that the export no longer has, 64 bits of each hash |
//! | `stored_id` | a customer | brand and id under a keyed pad, only with `[missing]` |
//! | `missing` | a customer | missing customers whom the open run is to purge |
//! | `customers` | a block | some dozens of customers, sorted by key (see `blocks`) |
//! | `journal` | a commit | [`JournalEntry`]: changes since the customers were last written into blocks |
//! | `commits` | one | how often the file was written |
//!
//! A customer's state is in the last journal entry that names the customer, or
//! else in a block. Entries are small and all of them are in memory; when they
//! grow too many, the customers go into their blocks and the journal begins
//! anew with what else it held: pending calls, progress of rows, settled rows.
//!
//! # What each check finds
//!
//! | check | finds | when |
//! |---|---|---|
//! | of a block (`blocks`) | a block that is damaged or missing: a customer is never forgotten | at open, at each look-up |
//! | over all rows (`checksum`) | a row of any table that was changed, lost or added | at open |
//! | the count of commits (`lock`) | a log whose end is lost, an older copy in the file's place | at open |
//! | the identity of the file (`file`) | a file that was taken away or replaced while a run has it open | at each commit |
//!
//! # How to change it
//!
//! Values are written by postcard: members in their order, integers as varints,
//! no names. So any change of a type here is another format: raise [`FORMAT`],
//! keep the old types for reading, and add a file of the new format to
//! `fixtures/checkpoints/`, which a test reads. A file of a later format is
//! refused and left as it is.

use std::collections::{BTreeSet, HashMap};

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::guards::{NoticeLine, RunProfile, SharedAddresses};
use crate::mapping::{ExportRow, Place, PurgeReason};
use crate::omnidesk::CallKind;
use crate::reconcile::{
    Acked, AckedField, AddressHash, BuildKeyHasher, Counts, CustomerKey, CustomerState, Effect, FieldTag,
    History, MissingAction, MissingCustomers, Occasion, Origin, PendingCall, PurgeRecord, RowFingerprint,
    RowProgress, ValueHash,
};
use crate::source::NoRows;

/// "omd1": tells the file from any other SQLite database.
pub(super) const APPLICATION_ID: i64 = 0x6f6d_6431;
/// Of files from before the first release, which nobody has.
pub(super) const PRE_RELEASE_ID: i64 = 0x6f6d_6473;
pub(super) const FORMAT: i64 = 1;

pub(super) const UNREADABLE: &str = "a record cannot be read";

pub(super) const SCHEMA: &str = "
    CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE export (hash BLOB PRIMARY KEY, ordinal INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE run (id INTEGER PRIMARY KEY, export INTEGER NOT NULL, record BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE worklist (run INTEGER PRIMARY KEY, list BLOB NOT NULL);
    CREATE TABLE unfinished (run INTEGER NOT NULL, row INTEGER NOT NULL, PRIMARY KEY (run, row)) WITHOUT ROWID;
    CREATE TABLE profile (run INTEGER PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE vanished (customer INTEGER NOT NULL, address INTEGER NOT NULL, PRIMARY KEY (customer, address)) WITHOUT ROWID;
    CREATE TABLE stored_id (key BLOB PRIMARY KEY, id BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE missing (nth INTEGER PRIMARY KEY, key BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE customers (first INTEGER PRIMARY KEY, block BLOB NOT NULL);
    CREATE TABLE journal (nth INTEGER PRIMARY KEY, entry BLOB NOT NULL);
    CREATE TABLE commits (only INTEGER PRIMARY KEY, count INTEGER NOT NULL);
    INSERT INTO commits VALUES (0, 0);
";

/// Each table and the columns that the checksum covers, with `$` for the row.
/// Of a block, its own check value stands for all of it.
pub(super) const CHECKSUM_TABLES: [(&str, &[&str]); 11] = [
    ("export", &["$hash", "$ordinal"]),
    ("run", &["$id", "$export", "$record"]),
    ("worklist", &["$run", "$list"]),
    ("unfinished", &["$run", "$row"]),
    ("profile", &["$run", "$record"]),
    ("vanished", &["$customer", "$address"]),
    ("stored_id", &["$key", "$id"]),
    ("missing", &["$nth", "$key"]),
    ("customers", &["$first", "substr($block, 1, 8)"]),
    ("journal", &["$nth", "$entry"]),
    ("commits", &["$only", "$count"]),
];

/// How far a run is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RunState {
    /// Begun, and to be resumed.
    #[default]
    Open,
    /// Every row has its outcome.
    Finished,
    /// Given up for another export, or by `--fresh`.
    Superseded,
}

impl RunState {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Finished => "finished",
            Self::Superseded => "superseded",
        }
    }
}

/// Hash of settings, to be compared with those of another run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingsHash(pub [u8; 16]);

impl SettingsHash {
    pub(crate) fn new(settings: &serde_json::Value) -> Self {
        let mut hash = [0; 16];
        hash.copy_from_slice(&blake3::hash(settings.to_string().as_bytes()).as_bytes()[..16]);
        Self(hash)
    }
}

/// By what the rows of a run were decided. Another version of the program may
/// map the same row to something else.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanVersion {
    /// The mapping, and which rows it was applied to.
    pub settings: SettingsHash,
    pub program: SettingsHash,
}

/// How much of the customer base a run covers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RunScope {
    /// All of it.
    #[default]
    Whole,
    /// A part on purpose: `--part`, a limit, or a result file.
    Part,
    /// The rows of these customers: a hash of their keys.
    Customers([u8; 16]),
    /// Customers whom a person has named, without an export. It goes beside any run.
    Request,
}

impl RunScope {
    pub(crate) fn is_part(self) -> bool {
        self != Self::Whole
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Part | Self::Customers(_) => "part",
            Self::Request => "request",
        }
    }
}

/// A run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    pub state: RunState,
    /// Start of its first execution, UTC, RFC 3339.
    pub started: String,
    /// End of its last execution, UTC, RFC 3339; empty while it executes.
    pub ended: String,
    pub folder: String,
    /// The command line that resumes it. Empty if it names customers.
    pub command: String,
    /// Where that was typed.
    pub directory: String,
    /// Rows of the export.
    pub rows: u64,
    /// Lines of the export that are no rows.
    #[serde(with = "NoRowsLayout")]
    pub no_rows: NoRows,
    /// Whether every row's operation is `sync` or `skip`.
    pub only_sync: bool,
    /// The first few brands of its rows.
    pub brands: Vec<u64>,
    pub scope: RunScope,
    /// Whether `min_rows` and `min_fill` compare later exports with it.
    pub is_baseline: bool,
    pub plan: PlanVersion,
    /// The mapping with the columns that it found, and the program's version.
    pub mapping: SettingsHash,
    /// The settings that can make every call fail. Where calls have worked,
    /// the next run with the same settings need not doubt them.
    pub wire: SettingsHash,
    /// Whether calls by these settings have worked in an earlier run.
    pub proven_before: bool,
    /// What a control request has shown by these settings.
    pub probing: Probing,
    pub calls_planned: u64,
    pub purges_planned: u64,
    /// Calls acknowledged so far.
    pub calls_done: u64,
    /// Rows settled, by outcome.
    #[serde(with = "CountsLayout")]
    pub counts: Counts,
    /// Up to here every row with calls is settled.
    pub watermark: u64,
    /// Up to here every rejected row is settled.
    pub rejected_watermark: u64,
    /// Its result files, with the bytes that are known to be whole.
    pub files: Vec<(String, u64)>,
    /// Known customers whom the export does not hold, if they were looked for.
    #[serde(with = "missing")]
    pub missing: Option<MissingCustomers>,
    /// Why an execution sends nothing just now.
    pub wait: Option<StoredWait>,
}

/// The time until which nothing is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredWait {
    /// UTC, RFC 3339.
    pub until: String,
    /// For people.
    pub reason: String,
}

/// Whether a probe tells customers who exist from those who do not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Probing {
    #[default]
    Untested,
    Works,
    /// The API answered success to an update of this customer, who did not exist.
    Fails {
        brand_id: u64,
        id: String,
    },
}

pub(super) type ByCustomer<V> = HashMap<CustomerKey, V, BuildKeyHasher>;
/// Numbers of rows need no hashing.
pub(super) type ByRow<V> = HashMap<RowKey, V, BuildKeyHasher>;

pub(super) const WORKLIST_WORDS: usize = 16;

/// The rows with calls to make, and the rejected ones.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Worklist {
    pub(super) blocks: Vec<WorklistBlock>,
}

/// So many rows, a bit each, and where the first of them stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct WorklistBlock {
    pub(super) line: u64,
    pub(super) offset: u64,
    pub(super) calls: [u64; WORKLIST_WORDS],
    pub(super) rejected: [u64; WORKLIST_WORDS],
}

/// The changes of one commit.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct JournalEntry {
    /// `None`: there is no such customer.
    pub(super) states: ByCustomer<Option<StateBytes>>,
    /// `None`: the call is no longer pending.
    pub(super) pending: ByCustomer<Option<StoredCall>>,
    /// `None`: the row is done.
    pub(super) progress: ByRow<Option<StoredProgress>>,
    /// Rows that are settled, each with its run.
    pub(super) settled: Vec<(i64, u64)>,
}

/// A customer's state as written: in one piece, so that it moves from the
/// journal into a block as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StateBytes(pub(super) Box<[u8]>);

impl StateBytes {
    /// `None` of a customer who is unknown.
    pub(super) fn new(state: &CustomerState) -> Option<Self> {
        (!state.is_unknown()).then(|| Self(encode(&StateRef(state)).into()))
    }
}

impl Serialize for StateBytes {
    fn serialize<S: Serializer>(&self, writer: S) -> Result<S::Ok, S::Error> {
        writer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for StateBytes {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        <&[u8]>::deserialize(reader).map(|bytes| Self(bytes.into()))
    }
}

/// A row of a run, or its nth missing customer, whose progress is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct RowKey {
    pub(super) run: i64,
    pub(super) place: StoredPlace,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) enum StoredPlace {
    Row(u64),
    Missing(u64),
}

impl RowKey {
    pub(super) fn new(run: i64, place: Place) -> Self {
        let place = match place {
            Place::Row(at) => StoredPlace::Row(at.number),
            Place::Missing(nth) => StoredPlace::Missing(nth),
        };
        Self { run, place }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StoredCall(#[serde(with = "PendingCallLayout")] pub(super) PendingCall);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StoredProgress(#[serde(with = "RowProgressLayout")] pub(super) RowProgress);

#[derive(Serialize, Deserialize)]
pub(super) struct StoredProfile(#[serde(with = "RunProfileLayout")] pub(super) RunProfile);

#[derive(Serialize)]
struct StateRef<'a>(#[serde(with = "CustomerStateLayout")] &'a CustomerState);

// The layouts of types that other rooms own. A member that is added there does
// not compile until it is added here, which is another format.

#[derive(Serialize, Deserialize)]
#[serde(remote = "CustomerState")]
enum CustomerStateLayout {
    Unknown,
    Acknowledged(#[serde(with = "AckedLayout")] Acked),
    PerhapsPurged(#[serde(with = "PurgeLayout")] PurgeRecord),
    Purged(#[serde(with = "PurgeLayout")] PurgeRecord),
    Existing,
    Absent,
    Vanished,
}

/// [`glance`] reads the first two members without the others.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Acked")]
struct AckedLayout {
    fingerprint: RowFingerprint,
    addresses: BTreeSet<AddressHash>,
    #[serde(with = "ExportRowLayout")]
    by: ExportRow,
    #[serde(with = "fields")]
    fields: Vec<AckedField>,
    #[serde(with = "export_row")]
    purge: Option<ExportRow>,
    #[serde(getter = "StoredHistory::of_acked")]
    history: StoredHistory,
}

impl From<AckedLayout> for Acked {
    fn from(layout: AckedLayout) -> Self {
        let AckedLayout { fingerprint, addresses, by, fields, purge, history } = layout;
        Self { fingerprint, addresses, by, fields, purge, history: history.history(by) }
    }
}

/// Four bytes of most customers: one run has made all of their calls within two
/// hours, for the row that is in `by` already.
#[derive(Serialize, Deserialize)]
enum StoredHistory {
    None,
    Created(StoredOccasion),
    Found(StoredOccasion),
    /// The first and the last.
    CreatedEarlier(StoredOccasion, StoredOccasion),
    FoundEarlier(StoredOccasion, StoredOccasion),
}

impl StoredHistory {
    fn of_acked(acked: &Acked) -> Self {
        let Some(History { origin, first, last }) = acked.history else { return Self::None };
        let [only, later] = [first, last].map(|occasion| StoredOccasion::new(occasion, acked.by));
        match (origin, first == last) {
            (Origin::Created, true) => Self::Created(only),
            (Origin::Found, true) => Self::Found(only),
            (Origin::Created, false) => Self::CreatedEarlier(only, later),
            (Origin::Found, false) => Self::FoundEarlier(only, later),
        }
    }

    fn history(self, by: ExportRow) -> Option<History> {
        let (origin, first, last) = match self {
            Self::None => return None,
            Self::Created(only) => (Origin::Created, only, only),
            Self::Found(only) => (Origin::Found, only, only),
            Self::CreatedEarlier(first, last) => (Origin::Created, first, last),
            Self::FoundEarlier(first, last) => (Origin::Found, first, last),
        };
        Some(History { origin, first: first.occasion(by), last: last.occasion(by) })
    }
}

#[derive(Clone, Copy, Serialize, Deserialize)]
struct StoredOccasion {
    run: u32,
    minute: u32,
    /// How many rows before that of an [`ExportRow`].
    rows_before: i64,
}

impl StoredOccasion {
    fn new(Occasion { run, minute, row }: Occasion, by: ExportRow) -> Self {
        Self { run, minute, rows_before: by.row.wrapping_sub(row).cast_signed() }
    }

    fn occasion(self, by: ExportRow) -> Occasion {
        let Self { run, minute, rows_before } = self;
        Occasion { run, minute, row: by.row.wrapping_sub(rows_before.cast_unsigned()) }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "PurgeRecord")]
struct PurgeLayout {
    #[serde(with = "ExportRowLayout")]
    by: ExportRow,
    #[serde(getter = "stored_occasion")]
    occasion: StoredOccasion,
    #[serde(with = "PurgeReasonLayout")]
    reason: PurgeReason,
}

fn stored_occasion(purge: &PurgeRecord) -> StoredOccasion {
    StoredOccasion::new(purge.occasion, purge.by)
}

impl From<PurgeLayout> for PurgeRecord {
    fn from(PurgeLayout { by, occasion, reason }: PurgeLayout) -> Self {
        Self { by, occasion: occasion.occasion(by), reason }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "PurgeReason")]
enum PurgeReasonLayout {
    Export,
    Request,
    Undo { run: u32 },
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "ExportRow")]
struct ExportRowLayout {
    export: u32,
    row: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "AckedField")]
struct AckedFieldLayout {
    tag: FieldTag,
    value: ValueHash,
    rows_before: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "PendingCall")]
struct PendingCallLayout {
    #[serde(with = "ExportRowLayout")]
    by: ExportRow,
    #[serde(with = "CallKindLayout")]
    kind: CallKind,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "CallKind")]
enum CallKindLayout {
    Create,
    Update,
    AddChannel,
    Purge,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "RowProgress")]
struct RowProgressLayout {
    #[serde(with = "EffectLayout")]
    effect: Effect,
    addresses: Vec<AddressHash>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Effect")]
enum EffectLayout {
    None,
    Updated,
    Found,
    Created,
    Purged,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Counts")]
struct CountsLayout([u64; 10]);

#[derive(Serialize, Deserialize)]
#[serde(remote = "NoRows")]
struct NoRowsLayout {
    blank: u64,
    headers: u64,
    footers: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "MissingCustomers")]
struct MissingCustomersLayout {
    #[serde(with = "MissingActionLayout")]
    action: MissingAction,
    found: u64,
    without_id: u64,
    other_brands: u64,
    unreadable_rows: u64,
    #[serde(with = "CountsLayout")]
    counts: Counts,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "MissingAction")]
enum MissingActionLayout {
    Ignore,
    Report,
    Purge,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "RunProfile")]
struct RunProfileLayout {
    described_rows: u64,
    fill: Vec<(String, u64)>,
    key_hashes: Vec<(String, [u8; 8])>,
    #[serde(with = "SharedAddressesLayout")]
    shared_addresses: SharedAddresses,
    #[serde(with = "notices")]
    notices: Vec<NoticeLine>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "SharedAddresses")]
struct SharedAddressesLayout {
    tag: u64,
    shared: u64,
    held: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "NoticeLine")]
struct NoticeLineLayout {
    code: String,
    count: u64,
    before: u64,
    message: String,
}

/// A layout in a container. An `Option` is written like a list of at most one.
macro_rules! layout_in_container {
    ($module:ident, $container:ident<$inner:ty>, $layout:literal, $collect:ident) => {
        mod $module {
            use super::*;

            #[derive(Serialize)]
            struct Borrowed<'a>(#[serde(with = $layout)] &'a $inner);

            #[derive(Deserialize)]
            struct Owned(#[serde(with = $layout)] $inner);

            pub(super) fn serialize<'a, S: Serializer>(
                values: impl IntoIterator<Item = &'a $inner>,
                writer: S,
            ) -> Result<S::Ok, S::Error> {
                writer.collect_seq(values.into_iter().map(Borrowed))
            }

            pub(super) fn deserialize<'de, D: Deserializer<'de>>(
                reader: D,
            ) -> Result<$container<$inner>, D::Error> {
                Ok(Vec::<Owned>::deserialize(reader)?.into_iter().map(|owned| owned.0).$collect())
            }
        }
    };
}
layout_in_container!(fields, Vec<AckedField>, "AckedFieldLayout", collect);
layout_in_container!(notices, Vec<NoticeLine>, "NoticeLineLayout", collect);
layout_in_container!(export_row, Option<ExportRow>, "ExportRowLayout", next);
layout_in_container!(missing, Option<MissingCustomers>, "MissingCustomersLayout", next);

/// Damage that is found while a row is read.
pub(super) fn damage(problem: &'static str) -> FromSqlError {
    FromSqlError::Other(problem.into())
}

pub(super) fn encode(value: &impl Serialize) -> Vec<u8> {
    // Into memory, and of types that can always be written.
    postcard::to_stdvec(value).unwrap_or_default()
}

pub(super) fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> FromSqlResult<T> {
    postcard::from_bytes(bytes).map_err(|_| damage(UNREADABLE))
}

pub(super) fn decode_state(bytes: &[u8]) -> FromSqlResult<CustomerState> {
    let mut reader = postcard::Deserializer::from_bytes(bytes);
    CustomerStateLayout::deserialize(&mut reader).map_err(|_| damage(UNREADABLE))
}

/// A column that holds a value of this file.
pub(super) struct Encoded<T>(pub(super) T);

impl<T: Serialize> ToSql for Encoded<&T> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(encode(self.0).into())
    }
}

impl<T: DeserializeOwned> FromSql for Encoded<T> {
    fn column_result(column: ValueRef) -> FromSqlResult<Self> {
        decode(column.as_blob()?).map(Self)
    }
}

/// The number of the variant, in front of a customer's state.
const ACKNOWLEDGED: u8 = 1;

/// Sets the fingerprint of a customer's state in place.
pub(super) fn set_fingerprint(state: &mut [u8], fingerprint: RowFingerprint) {
    if let [ACKNOWLEDGED, rest @ ..] = state
        && let Some(place) = rest.first_chunk_mut()
    {
        *place = fingerprint.0;
    }
}

/// Reads only the head of a customer's state: the fingerprint and the addresses.
pub(super) fn decode_head(bytes: &[u8]) -> FromSqlResult<(RowFingerprint, &[[u8; 8]])> {
    let head = || {
        let (variant, bytes) = bytes.split_first()?;
        if *variant != ACKNOWLEDGED {
            return Some((RowFingerprint::NONE, [].as_slice()));
        }
        let (fingerprint, bytes) = bytes.split_first_chunk()?;
        let (count, bytes): (usize, _) = postcard::take_from_bytes(bytes).ok()?;
        Some((RowFingerprint(*fingerprint), bytes.as_chunks().0.get(..count)?))
    };
    head().ok_or_else(|| damage(UNREADABLE))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::{Checkpoint, ExportId, FirstPassResult, OpenRun, RejectionKind, Work};
    use super::*;
    use crate::guards::VanishedChanges;
    use crate::mapping::{Customer, PrimaryId};
    use crate::reconcile::Outcome;
    use crate::source::{ExportHash, RowRef};

    const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/checkpoints/1.checkpoint");
    const ROWS: u64 = 9;

    fn row_ref(number: u64) -> RowRef {
        RowRef { number, line: number + 1, offset: number * 40, len: 39, file: None }
    }

    fn customer(number: u64) -> Customer {
        Customer { brand_id: 2, primary_id: PrimaryId::new(&format!("C{number}")).expect("an id") }
    }

    fn occasion(run: u32) -> Occasion {
        Occasion { run, minute: 9, row: 7 }
    }

    /// The state of each customer, in every form that is written.
    fn states() -> [CustomerState; 10] {
        let by = ExportRow { export: 2, row: 7 };
        let field = AckedField { tag: FieldTag([1; 4]), value: ValueHash([2; 8]), rows_before: 5 };
        let addresses = BTreeSet::from([AddressHash([3; 8]), AddressHash([4; 8])]);
        let acked = Acked {
            fingerprint: RowFingerprint([5; 8]),
            addresses,
            by,
            fields: vec![field],
            purge: Some(by),
            history: Some(History { origin: Origin::Created, first: occasion(1), last: occasion(2) }),
        };
        let with = |origin, last| {
            let history = Some(History { origin, first: occasion(1), last: occasion(last) });
            CustomerState::Acknowledged(Acked { history, ..acked.clone() })
        };
        let purge = |reason| PurgeRecord { by, occasion: occasion(3), reason };
        [
            with(Origin::Created, 2),
            CustomerState::PerhapsPurged(purge(PurgeReason::Undo { run: 1 })),
            CustomerState::Purged(purge(PurgeReason::Export)),
            CustomerState::Existing,
            with(Origin::Created, 1),
            with(Origin::Found, 1),
            with(Origin::Found, 2),
            CustomerState::Purged(purge(PurgeReason::Request)),
            CustomerState::Absent,
            CustomerState::Vanished,
        ]
    }

    fn pending_calls() -> [PendingCall; 4] {
        let by = ExportRow { export: 2, row: 4 };
        [CallKind::Create, CallKind::Update, CallKind::AddChannel, CallKind::Purge]
            .map(|kind| PendingCall { by, kind })
    }

    fn progress() -> [RowProgress; 5] {
        [Effect::None, Effect::Updated, Effect::Found, Effect::Created, Effect::Purged]
            .map(|effect| RowProgress { effect, addresses: vec![AddressHash([7; 8])] })
    }

    fn record() -> RunRecord {
        let counts = Counts([1, 0, 0, 0, 0, 1, 0, 0, 0, 0]);
        RunRecord {
            started: "2026-11-23T17:00:00.000Z".to_owned(),
            folder: "runs/one".to_owned(),
            command: "omnidesk-sync run customers.csv".to_owned(),
            directory: "/srv".to_owned(),
            rows: ROWS,
            only_sync: true,
            brands: vec![2, 3],
            is_baseline: true,
            plan: PlanVersion { settings: SettingsHash([1; 16]), program: SettingsHash([2; 16]) },
            mapping: SettingsHash([3; 16]),
            wire: SettingsHash([4; 16]),
            proven_before: true,
            probing: Probing::Fails { brand_id: 2, id: "control".to_owned() },
            calls_planned: 11,
            purges_planned: 12,
            calls_done: 13,
            counts,
            files: vec![("failed.csv".to_owned(), 70)],
            missing: Some(MissingCustomers {
                action: MissingAction::Purge,
                found: 2,
                without_id: 3,
                other_brands: 4,
                unreadable_rows: 5,
                counts,
            }),
            wait: Some(StoredWait {
                until: "2026-11-23T17:01:00Z".to_owned(),
                reason: "the server fails".to_owned(),
            }),
            ..RunRecord::default()
        }
    }

    fn first_pass(checkpoint: &Checkpoint) -> FirstPassResult {
        let mut worklist = Worklist::default();
        for number in 1..=ROWS {
            worklist.add_row(row_ref(number));
            worklist.set(number, if number == 5 { Work::Rejected } else { Work::Calls });
        }
        let notice =
            NoticeLine { code: "shared".to_owned(), count: 1, before: 2, message: "text".to_owned() };
        FirstPassResult {
            worklist,
            profile: RunProfile {
                described_rows: 8,
                fill: vec![("first".to_owned(), 7)],
                key_hashes: vec![("firstname".to_owned(), [8; 8])],
                shared_addresses: SharedAddresses { tag: 9, shared: 10, held: 11 },
                notices: vec![notice],
            },
            vanished: VanishedChanges { added: vec![(11, -12)], returned: Vec::new() },
            purge_list: vec![checkpoint.key().customer(&customer(0))],
        }
    }

    fn export() -> ExportId {
        ExportId { hash: ExportHash([9; 32]), ordinal: 2 }
    }

    fn write_changes(checkpoint: &mut Checkpoint, run: &mut OpenRun, customers: usize) {
        let key = |number| run_key(checkpoint, number);
        let keys: Vec<CustomerKey> = (0..states().len() as u64).map(key).collect();
        let mut batch = checkpoint.batch().expect("a batch");
        for (at, state) in states().iter().enumerate() {
            if at < customers {
                batch.set_state(keys[at], state).expect("a state");
            }
            batch.set_pending(keys[at], pending_calls().get(at).copied());
        }
        for (row, progress) in (6..).zip(&progress()[..4]) {
            batch.set_progress(run, Place::Row(row_ref(row)), progress);
        }
        batch.set_progress(run, Place::Missing(1), &progress()[4]);
        batch.store_id(keys[0], &customer(0)).expect("stored");
        batch.settle_rejected(run, 5, RejectionKind::Temporary).expect("settled");
        batch.settle(run, 1, Outcome::Created).expect("settled");
        batch.settle(run, 3, Outcome::Failed).expect("settled");
        batch.commit(run, record().files).expect("durable");
    }

    fn run_key(checkpoint: &Checkpoint, number: u64) -> CustomerKey {
        checkpoint.key().customer(&customer(number))
    }

    /// Every type and every variant that is written is in it. All customers are
    /// in blocks, and two of them in the journal too.
    fn write_fixture(path: &Path) {
        let mut checkpoint = Checkpoint::open(path, "tenant").expect("new");
        let first_pass = first_pass(&checkpoint);
        let part = RunRecord { scope: RunScope::Customers([6; 16]), ..record() };
        let mut run = checkpoint.begin(export(), part, first_pass.clone()).expect("a run");
        write_changes(&mut checkpoint, &mut run, states().len());
        checkpoint.close_run(&mut run, RunState::Finished, "2026-11-23T18:00:00.000Z").expect("closed");
        let mut run = checkpoint.begin(export(), record(), first_pass).expect("a run");
        write_changes(&mut checkpoint, &mut run, 2);
    }

    #[test]
    #[ignore = "writes the file that the next test reads, once for each format"]
    fn the_fixture_of_this_format_is_written() {
        write_fixture(Path::new(FIXTURE));
        std::fs::remove_file(format!("{FIXTURE}.lock")).expect("the lock");
    }

    #[test]
    fn a_file_of_the_first_release_is_read() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let path = folder.path().join("checkpoint");
        std::fs::copy(FIXTURE, &path).expect("a copy");
        let checkpoint = Checkpoint::open(&path, "tenant").expect("whole");
        let run = checkpoint.open_runs().expect("a list").pop().expect("open");
        let mut expected = record();
        expected.counts = Counts([2, 0, 0, 0, 0, 1, 1, 1, 0, 0]);
        (expected.watermark, expected.rejected_watermark) = (1, 5);
        assert_eq!(run.record, expected);
        assert_eq!(run.export, export());
        let first_pass = first_pass(&checkpoint);
        assert_eq!(run.worklist, first_pass.worklist);
        assert_eq!(run.settled_ahead().iter().copied().collect::<Vec<u64>>(), [3]);
        let runs = checkpoint.runs(9).expect("runs");
        assert_eq!((runs.len(), runs[1].1.state), (2, RunState::Finished));
        assert_eq!(runs[1].1.scope, RunScope::Customers([6; 16]));
        let lookups = checkpoint.lookups();
        for (number, state) in (0..).zip(states()) {
            let key = run_key(&checkpoint, number);
            assert_eq!(lookups.state(key).expect("sound"), state);
            assert_eq!(lookups.pending(key), pending_calls().get(number as usize).copied());
        }
        for (row, progress) in (6..).zip(&progress()[..4]) {
            assert_eq!(lookups.progress(run.id, Place::Row(row_ref(row))), *progress);
        }
        assert_eq!(lookups.progress(run.id, Place::Missing(1)), progress()[4]);
        let id = checkpoint.stored_id(run_key(&checkpoint, 0)).expect("sound");
        assert_eq!(id.map(|id| id.primary_id), Some(customer(0).primary_id));
        assert_eq!(checkpoint.profile(run.id).expect("sound"), Some(first_pass.profile));
        assert_eq!(checkpoint.baseline().expect("sound").vanished, [(11, -12)]);
        let purges = checkpoint.purge_list().expect("a list").after(0, 9).expect("sound");
        assert_eq!(purges.iter().map(|missing| missing.key).collect::<Vec<_>>(), first_pass.purge_list);
    }

    #[test]
    fn a_state_and_its_head_are_read_as_they_were_written() {
        let addresses = BTreeSet::from([AddressHash([3; 8]), AddressHash([4; 8])]);
        let by = ExportRow { export: 7, row: 70_000 };
        let acked = Acked { fingerprint: RowFingerprint([5; 8]), addresses, by, ..Acked::default() };
        let purge = PurgeRecord { by, occasion: occasion(8), reason: PurgeReason::Export };
        let none: (_, &[[u8; 8]]) = (RowFingerprint::NONE, &[]);
        for (state, expected) in [
            (CustomerState::Acknowledged(acked), (RowFingerprint([5; 8]), [[3; 8], [4; 8]].as_slice())),
            (CustomerState::PerhapsPurged(purge), none),
            (CustomerState::Purged(purge), none),
            (CustomerState::Existing, none),
        ] {
            let bytes = StateBytes::new(&state).expect("known").0;
            assert_eq!(decode_head(&bytes).expect("a head"), expected);
            assert_eq!(decode_state(&bytes).expect("a state"), state);
        }
        assert_eq!(StateBytes::new(&CustomerState::Unknown), None);
    }

    #[test]
    fn a_history_takes_few_bytes_of_a_customer() {
        let by = ExportRow { export: 1, row: 2_000_000 };
        let on = |run, minute, row| Occasion { run, minute, row };
        let len = |first, last| {
            let history = Some(History { origin: Origin::Created, first, last });
            let acked = |history| Acked { by, history, ..Acked::default() };
            let bytes = |acked| StateBytes::new(&CustomerState::Acknowledged(acked)).expect("known").0.len();
            // Without a history there is a byte that says so.
            bytes(acked(history)) - (bytes(acked(None)) - 1)
        };
        let first_load = on(1, 100, by.row);
        assert_eq!(len(first_load, first_load), 4);
        let fourth_night = on(1, 5000, by.row);
        assert_eq!(len(fourth_night, fourth_night), 5);
        assert_eq!(len(on(1, 5000, 7), on(90, 3, by.row)), 11);
    }
}
