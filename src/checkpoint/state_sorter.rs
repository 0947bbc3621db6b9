//! The states of very many customers on their way into the blocks.
//!
//! An adoption gives every customer a state. In the order of the export, each of them
//! would be in another block. So they are first spread over files without a name, by
//! the beginning of the key, and then written file by file, block by block.

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, Write};
use std::path::{Path, PathBuf};

use super::blocks::{self, BlockChange};
use super::checkpoint::Checkpoint;
use super::error::CheckpointError;
use super::format::StateBytes;
use crate::reconcile::{CustomerKey, CustomerState};

/// One of them is in memory at a time.
const FILES: usize = 16;

/// States by customer; of several of one customer, the last one counts.
pub(crate) struct StateSorter {
    files: Vec<BufWriter<File>>,
    count: u64,
    /// The checkpoint, for messages.
    path: PathBuf,
}

impl StateSorter {
    pub(crate) fn add(&mut self, key: CustomerKey, state: &CustomerState) -> Result<(), CheckpointError> {
        let Some(StateBytes(state)) = StateBytes::new(state) else { return Ok(()) };
        self.count += 1;
        let file = &mut self.files[usize::from(key.0[0]) * FILES / 256];
        file.write_all(&key.0)
            .and_then(|()| file.write_all(&(state.len() as u32).to_le_bytes()))
            .and_then(|()| file.write_all(&state))
            .map_err(|source| CheckpointError::io(&self.path, source))
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }
}

impl Checkpoint {
    /// Begins to sort states. The files are beside the checkpoint.
    pub(crate) fn sort_states(&self) -> Result<StateSorter, CheckpointError> {
        let path = self.database.path.clone();
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let file = |_| tempfile::tempfile_in(folder.unwrap_or(Path::new("."))).map(BufWriter::new);
        let files = (0..FILES).map(file).collect::<io::Result<_>>();
        Ok(StateSorter { files: files.map_err(|source| CheckpointError::io(&path, source))?, count: 0, path })
    }

    /// Writes the states. A call without an answer to one of these customers has its
    /// answer by that.
    pub(crate) fn write_states(&mut self, states: StateSorter) -> Result<(), CheckpointError> {
        for file in states.files {
            let bytes = read_back(file).map_err(|source| CheckpointError::io(&states.path, source))?;
            let mut changes: Vec<BlockChange> =
                blocks::states(&bytes).map(|(key, state)| (key, Some(state))).collect();
            // The last of a customer comes first.
            changes.reverse();
            changes.sort_by_key(|(key, _)| *key);
            changes.dedup_by_key(|(key, _)| *key);
            let mut batch = self.batch()?;
            let answered: Vec<CustomerKey> = changes.iter().map(|(key, _)| *key).collect();
            let Checkpoint { database, journal, .. } = &mut *batch.checkpoint;
            // What the journal has of a customer goes before the blocks.
            journal.fold(database)?;
            journal.in_blocks = journal.in_blocks.saturating_add_signed(blocks::apply(database, &changes)?);
            for key in answered {
                if batch.lookups().pending(key).is_some() {
                    batch.set_pending(key, None);
                }
            }
            batch.commit_states()?;
        }
        Ok(())
    }
}

fn read_back(file: BufWriter<File>) -> io::Result<Vec<u8>> {
    let mut file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::ExportRow;
    use crate::omnidesk::CallKind;
    use crate::reconcile::{Acked, PendingCall};

    fn key(number: u64) -> CustomerKey {
        CustomerKey(*blake3::hash(&number.to_le_bytes()).as_bytes().first_chunk().expect("bytes"))
    }

    fn by(row: u64) -> CustomerState {
        CustomerState::Acknowledged(Acked { by: ExportRow { export: 1, row }, ..Acked::default() })
    }

    /// Also of customers whom the journal or a block has, and of one with two states.
    #[test]
    fn the_last_state_of_each_customer_is_found() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let path = folder.path().join("checkpoint");
        let mut checkpoint = Checkpoint::open(&path, "tenant").expect("new");
        let call = PendingCall { by: ExportRow { export: 1, row: 1 }, kind: CallKind::Create };
        let mut batch = checkpoint.batch().expect("a batch");
        for number in [3, 7_000] {
            batch.set_state(key(number), &by(9)).expect("a state");
            batch.set_pending(key(number), Some(call));
        }
        batch.commit_states().expect("durable");
        for shift in [0, 10_000] {
            let mut states = checkpoint.sort_states().expect("files");
            (0..5_000).for_each(|number| states.add(key(number), &by(number)).expect("added"));
            states.add(key(4), &by(shift)).expect("added");
            assert_eq!(states.count(), 5_001);
            checkpoint.write_states(states).expect("durable");
        }
        drop(checkpoint);
        let checkpoint = Checkpoint::open_to_read(&path).expect("whole").expect("there");
        let state = |number| checkpoint.lookups().state(key(number)).expect("sound");
        assert!((0..5_000).all(|number| state(number) == by(if number == 4 { 10_000 } else { number })));
        assert_eq!((state(7_000), state(5_000)), (by(9), CustomerState::Unknown));
        assert_eq!(checkpoint.totals().expect("totals").known, 5_001);
        let pending = |number| checkpoint.lookups().pending(key(number)).is_some();
        assert!(!pending(3) && pending(7_000));
    }
}
