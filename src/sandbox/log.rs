//! The last requests in the order in which they were received, for judging order and pacing.

use std::collections::VecDeque;

use serde::Serialize;

use super::customer::CustomerId;

/// Some hundred bytes each, so this bounds the log at some 30 MB.
const ENTRIES_MAX: usize = 200_000;

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "end", content = "status", rename_all = "snake_case")]
pub(super) enum End {
    Pending,
    /// With this status.
    Answered(u16),
    /// The sandbox closed the connection.
    Closed,
    /// The client closed the connection before the answer.
    Abandoned,
}

/// One request. Neither names nor addresses are kept here.
#[derive(Debug, Serialize)]
pub(super) struct Entry {
    /// From 1, without gaps.
    pub(super) seq: u64,
    /// Microseconds from the start of the sandbox until the request had been read.
    pub(super) at_us: u64,
    /// Absent if the path is not that of a call.
    pub(super) call: Option<&'static str>,
    #[serde(flatten)]
    pub(super) customer: Option<CustomerId>,
    pub(super) fault: Option<&'static str>,
    #[serde(flatten)]
    pub(super) end: End,
}

/// A ring of entries.
#[derive(Debug, Default)]
pub(super) struct Log(VecDeque<Entry>);

impl Log {
    pub(super) fn add(&mut self, entry: Entry) {
        if self.0.len() == ENTRIES_MAX {
            self.0.pop_front();
        }
        self.0.push_back(entry);
    }

    /// Records how a request ended, if the ring still holds it.
    pub(super) fn set_end(&mut self, seq: u64, end: End) {
        if let Ok(index) = self.0.binary_search_by_key(&seq, |entry| entry.seq) {
            self.0[index].end = end;
        }
    }

    /// One JSON object a line.
    pub(super) fn to_json_lines(&self) -> serde_json::Result<String> {
        self.0.iter().map(|entry| Ok(serde_json::to_string(entry)? + "\n")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ring_keeps_the_last_and_finds_them_by_number() {
        let mut log = Log::default();
        for seq in 1..=ENTRIES_MAX as u64 + 5 {
            log.add(Entry { seq, at_us: 0, call: None, customer: None, fault: None, end: End::Pending });
        }
        log.set_end(5, End::Answered(200));
        log.set_end(6, End::Answered(200));
        assert_eq!(log.0.len(), ENTRIES_MAX);
        assert_eq!((log.0[0].seq, log.0[0].end), (6, End::Answered(200)));
        assert_eq!(log.0[1].end, End::Pending);
    }
}
