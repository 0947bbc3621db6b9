//! The records as they are on the disk: types of their own, with a check
//! value, so that the rest of the program may change without them.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::journal::StateBytes;
use crate::reconcile::{Acked, Counts, RowFingerprint};

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RunState {
    /// Begun, and to be resumed.
    Open,
    /// Every row has its outcome.
    Finished,
    /// Given up for another export, or by `--fresh`.
    Superseded,
}

/// Result files of a run, with the bytes that are known to be whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileLengths(pub Vec<(String, u64)>);

/// A run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Where it stands.
    pub state: RunState,
    /// Start of its first execution, UTC, RFC 3339.
    pub started: String,
    /// End of its last execution, UTC, RFC 3339; empty while it runs.
    pub ended: String,
    /// Its folder.
    pub folder: String,
    /// Rows of the export.
    pub rows: u64,
    /// Whether every row's operation was `sync` or `skip`.
    pub only_sync: bool,
    /// Brands that the rows are for, the first few.
    pub brands: Vec<u64>,
    /// Whether it read only a part on purpose: a limit, or a repaired result file.
    pub partial: bool,
    /// Purges the plan came to.
    pub purges_planned: u64,
    /// Whether calls of an earlier run over this export have worked.
    pub proven_before: bool,
    /// Calls the plan came to.
    pub calls_planned: u64,
    /// Calls acknowledged so far.
    pub calls_done: u64,
    /// Rows settled, by outcome.
    pub counts: Counts,
    /// Up to here every row with calls is settled.
    pub watermark: u64,
    /// Up to here every rejected row is settled.
    pub rejects_done: u64,
    /// Result files.
    pub files: FileLengths,
    /// By which settings its calls went out: where calls have worked, the next
    /// run that has them need not doubt them.
    pub proof: Mark,
    /// By which mapping its rows became calls.
    pub mapped: Mark,
}

/// A mark of some settings, to be compared with those of another run. Records
/// of before there were marks have the default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Mark(pub [u8; 16]);

impl Mark {
    /// Of settings as JSON.
    #[must_use]
    pub fn of(settings: &serde_json::Value) -> Self {
        let mut mark = [0; 16];
        mark.copy_from_slice(&blake3::hash(settings.to_string().as_bytes()).as_bytes()[..16]);
        Self(mark)
    }
}

impl<'de> Deserialize<'de> for Mark {
    /// Older records end before it.
    fn deserialize<D: serde::Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        Ok(<[u8; 16]>::deserialize(reader).map(Self).unwrap_or_default())
    }
}

impl RunRecord {
    /// A run that sent nothing: its export was adopted.
    #[must_use]
    pub fn adopted(started: &str) -> Self {
        Self {
            state: RunState::Open,
            started: started.to_owned(),
            ended: String::new(),
            folder: String::new(),
            rows: 0,
            only_sync: true,
            brands: Vec::new(),
            partial: false,
            purges_planned: 0,
            proven_before: false,
            calls_planned: 0,
            calls_done: 0,
            counts: Counts::default(),
            watermark: 0,
            rejects_done: 0,
            files: FileLengths::default(),
            proof: Mark::default(),
            mapped: Mark::default(),
        }
    }
}

/// What a customer was told, without a check value: its block or its entry in
/// the journal has one.
pub(crate) fn told(told: &Acked) -> StateBytes {
    StateBytes(postcard::to_stdvec(told).unwrap_or_default().into())
}

/// The same, read.
pub(crate) fn told_of(record: &[u8]) -> Option<Acked> {
    postcard::from_bytes(record).ok()
}

/// The print and the addresses of what a customer was told, which stand in
/// front, without the rest.
pub(crate) fn glance(record: &[u8]) -> Option<(RowFingerprint, &[[u8; 8]])> {
    let (print, behind) = record.split_first_chunk()?;
    let (count, behind): (usize, _) = postcard::take_from_bytes(behind).ok()?;
    let addresses = behind.as_chunks().0.get(..count)?;
    Some((RowFingerprint(*print), addresses))
}

/// Enough to notice every damage that is not meant: one in four thousand million.
const CHECK_BYTES: usize = 4;

/// A record with its check value, which covers the place it belongs to too.
pub(crate) fn encode<T: Serialize>(place: &[u8], record: &T) -> Vec<u8> {
    let mut bytes = postcard::to_stdvec(record).unwrap_or_default();
    let check = check(place, &bytes);
    bytes.extend_from_slice(&check);
    bytes
}

/// A record, if its check value holds.
pub(crate) fn decode<T: DeserializeOwned>(place: &[u8], bytes: &[u8]) -> Option<T> {
    let (record, sum) = bytes.split_at_checked(bytes.len().checked_sub(CHECK_BYTES)?)?;
    (check(place, record) == sum).then(|| postcard::from_bytes(record).ok()).flatten()
}

fn check(place: &[u8], record: &[u8]) -> [u8; CHECK_BYTES] {
    let mut together = [0; 256];
    let len = place.len() + record.len();
    let hash = match together.get_mut(..len) {
        // In one piece, as nearly all are: less work than to set up a hasher.
        Some(short) => {
            short[..place.len()].copy_from_slice(place);
            short[place.len()..].copy_from_slice(record);
            blake3::hash(short)
        }
        None => blake3::Hasher::new().update(place).update(record).finalize(),
    };
    let mut sum = [0; CHECK_BYTES];
    sum.copy_from_slice(&hash.as_bytes()[..CHECK_BYTES]);
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::AddressHash;

    #[test]
    fn a_record_with_any_bit_flipped_or_cut_is_not_read() {
        let record = encode(b"here", &FileLengths(vec![("failed.csv".into(), 7)]));
        assert!(decode::<FileLengths>(b"here", &record).is_some());
        assert!(decode::<FileLengths>(b"there", &record).is_none());
        for bit in 0..record.len() * 8 {
            let mut damaged = record.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(decode::<FileLengths>(b"here", &damaged).is_none(), "bit {bit}");
        }
        for len in 0..record.len() {
            assert!(decode::<FileLengths>(b"here", &record[..len]).is_none(), "cut at {len}");
        }
    }

    #[test]
    fn a_run_that_was_written_before_there_were_marks_is_read_without_them() {
        let run =
            RunRecord { rows: 7, proof: Mark([9; 16]), mapped: Mark([8; 16]), ..RunRecord::adopted("now") };
        let bytes = postcard::to_stdvec(&run).expect("written");
        assert_eq!(postcard::from_bytes(&bytes).ok(), Some(run.clone()));
        let before = |cut| postcard::from_bytes(&bytes[..bytes.len() - cut]).ok();
        let without = RunRecord { mapped: Mark::default(), ..run };
        assert_eq!(before(16), Some(without.clone()));
        assert_eq!(before(32), Some(RunRecord { proof: Mark::default(), ..without }));
    }

    #[test]
    fn the_print_and_the_addresses_can_be_read_alone() {
        let addresses = vec![AddressHash([3; 8]), AddressHash([4; 8])];
        let told = Acked { print: RowFingerprint([5; 8]), addresses, ..Acked::tombstone(7, 70_000) };
        let record = super::told(&told);
        assert_eq!(glance(&record.0), Some((RowFingerprint([5; 8]), [[3; 8], [4; 8]].as_slice())));
        assert_eq!(told_of(&record.0), Some(told));
    }
}
