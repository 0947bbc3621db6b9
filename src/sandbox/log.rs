//! The last requests in the order in which they were received, for judging order and pacing.

use std::collections::VecDeque;

use serde::Serialize;

use super::calls::CustomerKey;

/// Some hundred bytes each, so this bounds the log at some 30 MB.
const ENTRIES_MAX: usize = 200_000;

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum End {
    /// Nothing yet.
    Pending,
    /// It got the answer with this entry's status.
    Answered,
    /// The sandbox closed the connection.
    Closed,
    /// The client went away before the answer.
    Abandoned,
}

/// One request. Neither names nor addresses are kept here.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Entry {
    /// From 1, without gaps.
    seq: u64,
    /// Microseconds from the start of the sandbox until the request had been read.
    at_us: u64,
    /// Absent if the path or method is not that of a call.
    call: Option<&'static str>,
    brand_id: Option<u64>,
    primary_id: Option<String>,
    fault: Option<&'static str>,
    end: End,
    status: Option<u16>,
}

/// A ring of entries.
#[derive(Debug, Default)]
pub(super) struct Log {
    entries: VecDeque<Entry>,
    /// How many entries have been dropped at the old end.
    dropped: u64,
}

impl Log {
    /// Adds a request and gives its number.
    pub(super) fn receive(
        &mut self,
        at_us: u64,
        call: Option<&'static str>,
        customer: Option<&CustomerKey>,
        fault: Option<&'static str>,
    ) -> u64 {
        if self.entries.len() == ENTRIES_MAX {
            self.entries.pop_front();
            self.dropped += 1;
        }
        let seq = self.dropped + self.entries.len() as u64 + 1;
        let brand_id = customer.map(|customer| customer.brand_id);
        let primary_id = customer.map(|customer| customer.primary_id.clone());
        let (end, status) = (End::Pending, None);
        self.entries.push_back(Entry { seq, at_us, call, brand_id, primary_id, fault, end, status });
        seq
    }

    /// Notes what became of a request, if the ring still holds it.
    pub(super) fn settle(&mut self, seq: u64, end: End, status: Option<u16>) {
        let index = seq.checked_sub(self.dropped + 1).and_then(|index| usize::try_from(index).ok());
        if let Some(entry) = index.and_then(|index| self.entries.get_mut(index)) {
            (entry.end, entry.status) = (end, status);
        }
    }

    /// One JSON object a line.
    pub(super) fn to_json_lines(&self) -> Result<String, serde_json::Error> {
        let mut lines = Vec::new();
        for entry in &self.entries {
            serde_json::to_writer(&mut lines, entry)?;
            lines.push(b'\n');
        }
        Ok(String::from_utf8_lossy(&lines).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ring_keeps_the_last_and_finds_them_by_number() {
        let mut log = Log::default();
        for at_us in 0..ENTRIES_MAX as u64 + 5 {
            log.receive(at_us, Some("create"), None, None);
        }
        log.settle(5, End::Answered, Some(200));
        log.settle(6, End::Answered, Some(200));
        assert_eq!(log.entries.len(), ENTRIES_MAX);
        let first = &log.entries[0];
        assert_eq!((first.seq, first.at_us, first.end), (6, 5, End::Answered));
        assert_eq!(log.entries[1].end, End::Pending);
    }
}
