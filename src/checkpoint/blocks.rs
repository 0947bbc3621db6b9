//! Customers, some dozens to a block.
//!
//! A row of SQLite for each customer costs more than what is in it: to step
//! over, to check, to write. So customers lie in blocks, sorted by key, each as
//! large as fits on a page.
//!
//! | bytes | hold |
//! |---|---|
//! | 8 | XXH3 of the rest, seeded with the first key of the block's range |
//! | 8 | the end of the range, 0 in the last block |
//! | 16, 4, n | a customer's key, the length of the state, the state; again and again |
//!
//! A block covers all keys from its own first to the next block's. So a look-up
//! that finds no customer in it shows that there is none: a block that is
//! damaged or missing is an error and never an unknown customer.

use std::convert::Infallible;
use std::iter::Peekable;
use std::slice::Iter;

use rusqlite::params;
use twox_hash::XxHash3_64;

use super::database::Database;
use super::error::CheckpointError;
use super::format::damage;
use crate::reconcile::CustomerKey;

/// What SQLite keeps of a blob on a page of 4096 bytes, with room for the head
/// of its row. The rest of a larger block would take a page of its own.
const BLOCK_BYTES_MAX: usize = 4040;

/// In front of a block.
const CHECK_BYTES: usize = 8;
/// That and the end of the range, in front of the records.
const HEAD_BYTES: usize = 16;
/// The key and the length, in front of each record.
const RECORD_HEAD_BYTES: usize = 20;

/// Changes applied at once: it bounds memory if all of them are in one block.
const CHANGES_AT_ONCE: usize = 4096;

/// Neighbouring blocks that are written together if all of them change. So a
/// full block need not become two blocks that are half empty.
const BLOCKS_AT_ONCE: usize = 16;

/// Blocks changed in place at once: what is written for them is bounded.
const PATCHED_AT_ONCE: u32 = 4096;

const UNSOUND: &str = "a block of customers is not the one that was written";

/// A customer's state, as written.
pub(super) type StoredState<'a> = (CustomerKey, &'a [u8]);

/// The new state of a customer, or none.
pub(super) type BlockChange<'a> = (CustomerKey, Option<&'a [u8]>);

/// Writes the one block of a file without customers.
pub(super) fn create(database: &Database) -> Result<(), CheckpointError> {
    write(database, 0, &[], None)
}

/// Applies changes, sorted by key, each key once. Returns how many customers
/// were added, or less than zero.
pub(super) fn apply(database: &Database, changes: &[BlockChange]) -> Result<i64, CheckpointError> {
    let (mut rest, mut added) = (changes, 0);
    while let Some((key, _)) = rest.first() {
        let mut blocks = vec![Block::read(database, *key)?];
        let mut taken = covered(rest, &blocks[0]);
        while let Some((key, _)) = rest.get(taken)
            && taken < CHANGES_AT_ONCE
            && blocks.len() < BLOCKS_AT_ONCE
        {
            let next = Block::read(database, *key)?;
            if blocks.last().and_then(|last| range_end(&last.bytes)) != Some(next.first) {
                break;
            }
            taken += covered(&rest[taken..], &next);
            blocks.push(next);
        }
        let (own, later) = rest.split_at(taken);
        added += replace(database, &blocks, own)?;
        rest = later;
    }
    Ok(added)
}

/// How many of the first changes are to this block, which covers one at least.
fn covered(changes: &[BlockChange], block: &Block) -> usize {
    changes[..changes.len().min(CHANGES_AT_ONCE)].partition_point(|(key, _)| block.covers(*key))
}

/// Visits every customer with changes applied, in the order of the keys.
pub(super) fn each(
    database: &Database,
    changes: &[BlockChange],
    mut visit: impl FnMut(CustomerKey, &[u8]) -> rusqlite::Result<()>,
) -> Result<(), CheckpointError> {
    let mut changes = changes.iter().peekable();
    each_block(database, |_, bytes| {
        records(bytes).try_for_each(|(key, record)| merge(&mut changes, key, record, &mut visit))
    })?;
    let mut rest = changes.filter_map(|(key, change)| Some((*key, (*change)?)));
    rest.try_for_each(|(key, record)| visit(key, record)).map_err(|source| database.error(source))
}

/// Visits the first key of every block, as SQLite has it, and its check value,
/// which is right. Returns the number of customers.
pub(super) fn each_check(
    database: &Database,
    mut visit: impl FnMut(i64, &[u8]),
) -> Result<u64, CheckpointError> {
    let mut customers = 0;
    each_block(database, |first, bytes| {
        customers += records(bytes).count() as u64;
        visit(signed(first), &bytes[..CHECK_BYTES]);
        Ok(())
    })?;
    Ok(customers)
}

/// Changes states in place, in some blocks from the one that begins with `first` on.
/// Returns where the next ones begin.
pub(super) fn patch(
    database: &Database,
    first: u64,
    mut change: impl FnMut(&mut [u8]),
) -> Result<Option<u64>, CheckpointError> {
    let sql = "SELECT first, block FROM customers WHERE first >= ? ORDER BY first LIMIT ?";
    let blocks: Vec<Block> = database.list(sql, params![signed(first), PATCHED_AT_ONCE], |row| {
        Ok(Block { first: unsigned(row.get(0)?), bytes: row.get(1)? })
    })?;
    // The first one is there: at the beginning, or where another one ends.
    if blocks.is_empty() {
        return Err(database.damaged(UNSOUND));
    }
    let mut next = Some(first);
    for Block { first, mut bytes } in blocks {
        if next != Some(first) || !is_sound(first, &bytes) {
            return Err(database.damaged(UNSOUND));
        }
        next = range_end(&bytes);
        each_state_mut(&mut bytes, &mut change);
        let check = check(first, &bytes);
        if bytes[..CHECK_BYTES] != check {
            bytes[..CHECK_BYTES].copy_from_slice(&check);
            let sql = "UPDATE customers SET block = ? WHERE first = ?";
            database.execute(sql, params![bytes, signed(first)])?;
        }
    }
    Ok(next)
}

/// Visits every block. One that is damaged or missing is an error.
fn each_block(
    database: &Database,
    mut visit: impl FnMut(u64, &[u8]) -> rusqlite::Result<()>,
) -> Result<(), CheckpointError> {
    let mut next = Some(0);
    database.each("SELECT first, block FROM customers ORDER BY first", |row| {
        let (first, bytes) = (unsigned(row.get(0)?), row.get_ref(1)?.as_blob()?);
        if next != Some(first) || !is_sound(first, bytes) {
            return Err(damage(UNSOUND).into());
        }
        next = range_end(bytes);
        visit(first, bytes)
    })?;
    if next.is_some() { Err(database.damaged(UNSOUND)) } else { Ok(()) }
}

/// A block as it is in the file, checked.
#[derive(Debug)]
struct Block {
    first: u64,
    bytes: Vec<u8>,
}

impl Block {
    /// The block that covers `key`.
    fn read(database: &Database, key: CustomerKey) -> Result<Self, CheckpointError> {
        let sql = "SELECT first, block FROM customers WHERE first <= ? ORDER BY first DESC LIMIT 1";
        let found = database.find(sql, [signed(key.short())], |row| {
            Ok(Self { first: unsigned(row.get(0)?), bytes: row.get(1)? })
        })?;
        found
            .filter(|block| is_sound(block.first, &block.bytes) && block.covers(key))
            .ok_or_else(|| database.damaged(UNSOUND))
    }

    fn covers(&self, key: CustomerKey) -> bool {
        self.first <= key.short() && range_end(&self.bytes).is_none_or(|end| key.short() < end)
    }

    fn find(&self, key: CustomerKey) -> Option<&[u8]> {
        records(&self.bytes).find(|(own, _)| *own == key).map(|(_, record)| record)
    }
}

/// Finds customers. It keeps the last block: of sorted keys, the next one is
/// most often in the same block.
#[derive(Debug)]
pub(super) struct Finder<'a> {
    database: &'a Database,
    last: Option<Block>,
}

impl<'a> Finder<'a> {
    pub(super) fn new(database: &'a Database) -> Self {
        Self { database, last: None }
    }

    pub(super) fn find(&mut self, key: CustomerKey) -> Result<Option<&[u8]>, CheckpointError> {
        if self.last.as_ref().is_none_or(|block| !block.covers(key)) {
            self.last = Some(Block::read(self.database, key)?);
        }
        Ok(self.last.as_ref().and_then(|block| block.find(key)))
    }
}

/// Replaces neighbouring blocks by as many as are needed. Returns how many
/// customers were added.
fn replace(database: &Database, blocks: &[Block], changes: &[BlockChange]) -> Result<i64, CheckpointError> {
    let (merged, added) = merged(blocks, changes);
    let pieces = cut(&merged);
    let mut starts = vec![blocks[0].first];
    starts.extend(pieces[1..].iter().map(|piece| piece[0].0.short()));
    let end = blocks.last().and_then(|last| range_end(&last.bytes));
    for (at, piece) in pieces.iter().enumerate() {
        write(database, starts[at], piece, starts.get(at + 1).copied().or(end))?;
    }
    for old in blocks.iter().filter(|block| !starts.contains(&block.first)) {
        database.execute("DELETE FROM customers WHERE first = ?", [signed(old.first)])?;
    }
    Ok(added)
}

/// Cuts records into pieces for a block each. Equal pieces leave room for later
/// changes. Keys with the same beginning stay together, if need be in too large a
/// block.
fn cut<'a, 'r>(records: &'r [StoredState<'a>]) -> Vec<&'r [StoredState<'a>]> {
    let size = |(_, record): &StoredState| RECORD_HEAD_BYTES + record.len();
    let (mut left, most) = (records.iter().map(size).sum(), BLOCK_BYTES_MAX - HEAD_BYTES);
    let piece = usize::div_ceil(left, left.div_ceil(most).max(1));
    let (mut pieces, mut start, mut bytes) = (Vec::new(), 0, 0);
    for (at, record) in records.iter().enumerate() {
        let can_cut = at > start && record.0.short() != records[at - 1].0.short();
        if can_cut && left > most && bytes + size(record) > piece {
            pieces.push(&records[start..at]);
            (start, left, bytes) = (at, left - bytes, 0);
        }
        bytes += size(record);
    }
    pieces.push(&records[start..]);
    pieces
}

/// The records of blocks with changes applied, and how many were added.
fn merged<'a>(blocks: &'a [Block], changes: &[BlockChange<'a>]) -> (Vec<StoredState<'a>>, i64) {
    let mut merged = Vec::with_capacity(64 * blocks.len() + changes.len());
    let (mut before, mut changes) = (0_i64, changes.iter().peekable());
    for (key, record) in blocks.iter().flat_map(|block| records(&block.bytes)) {
        before += 1;
        let Ok(()) = merge(&mut changes, key, record, |key, record| {
            merged.push((key, record));
            Ok::<_, Infallible>(())
        });
    }
    merged.extend(changes.filter_map(|(new, change)| Some((*new, (*change)?))));
    let added = merged.len() as i64 - before;
    (merged, added)
}

/// Visits the changes in front of a record, and then the record, if it is not
/// changed, or what it is changed to.
fn merge<'a, 'c: 'a, E>(
    changes: &mut Peekable<Iter<'_, BlockChange<'c>>>,
    key: CustomerKey,
    record: &'a [u8],
    mut visit: impl FnMut(CustomerKey, &'a [u8]) -> Result<(), E>,
) -> Result<(), E> {
    while let Some((new, change)) = changes.next_if(|(new, _)| *new < key) {
        change.map_or(Ok(()), |change| visit(*new, change))?;
    }
    let own = changes.next_if(|(new, _)| *new == key);
    own.map_or(Some(record), |(_, change)| *change).map_or(Ok(()), |record| visit(key, record))
}

/// Writes a block, in the place of the one that begins with the same key, if
/// there is one.
fn write(
    database: &Database,
    first: u64,
    records: &[StoredState],
    end: Option<u64>,
) -> Result<(), CheckpointError> {
    let mut bytes = Vec::with_capacity(BLOCK_BYTES_MAX);
    bytes.extend_from_slice(&[0; CHECK_BYTES]);
    // Nothing ends at the very beginning, so that 0 can stand for "no end".
    bytes.extend_from_slice(&end.unwrap_or(0).to_le_bytes());
    for (key, record) in records {
        bytes.extend_from_slice(&key.0);
        bytes.extend_from_slice(&(record.len() as u32).to_le_bytes());
        bytes.extend_from_slice(record);
    }
    let check = check(first, &bytes);
    bytes[..CHECK_BYTES].copy_from_slice(&check);
    let sql = "INSERT INTO customers VALUES (?1, ?2) ON CONFLICT DO UPDATE SET block = ?2";
    database.execute(sql, params![signed(first), bytes])
}

fn is_sound(first: u64, bytes: &[u8]) -> bool {
    bytes.len() >= HEAD_BYTES && bytes[..CHECK_BYTES] == check(first, bytes)
}

/// Of a block, but for the check value in front.
fn check(first: u64, bytes: &[u8]) -> [u8; CHECK_BYTES] {
    XxHash3_64::oneshot_with_seed(first, &bytes[CHECK_BYTES..]).to_le_bytes()
}

fn range_end(bytes: &[u8]) -> Option<u64> {
    let mut end = [0; 8];
    end.copy_from_slice(&bytes[CHECK_BYTES..HEAD_BYTES]);
    Some(u64::from_le_bytes(end)).filter(|end| *end > 0)
}

/// The records of a sound block.
fn records(block: &[u8]) -> impl Iterator<Item = StoredState<'_>> {
    states(&block[HEAD_BYTES..])
}

/// Keys, each with its state.
pub(super) fn states(bytes: &[u8]) -> impl Iterator<Item = StoredState<'_>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (key, behind) = rest.split_first_chunk::<16>()?;
        let (len, behind) = behind.split_first_chunk::<4>()?;
        let (record, behind) = behind.split_at_checked(u32::from_le_bytes(*len) as usize)?;
        rest = behind;
        Some((CustomerKey(*key), record))
    })
}

/// Visits the states of a sound block, each to be changed in place.
fn each_state_mut(block: &mut [u8], mut change: impl FnMut(&mut [u8])) {
    let mut rest = &mut block[HEAD_BYTES..];
    while let Some((head, behind)) = rest.split_first_chunk_mut::<RECORD_HEAD_BYTES>() {
        let [.., a, b, c, d] = *head;
        let Some((state, behind)) = behind.split_at_mut_checked(u32::from_le_bytes([a, b, c, d]) as usize)
        else {
            return;
        };
        change(state);
        rest = behind;
    }
}

/// SQLite's integers have a sign; flipping it keeps the order.
fn signed(position: u64) -> i64 {
    (position ^ 1 << 63).cast_signed()
}

fn unsigned(position: i64) -> u64 {
    position.cast_unsigned() ^ 1 << 63
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use proptest::prelude::*;

    fn empty() -> Database {
        let database = Database::in_memory();
        let sql = "CREATE TABLE customers (first INTEGER PRIMARY KEY, block BLOB NOT NULL)";
        database.execute_all(sql).and_then(|()| create(&database)).expect("a table");
        database
    }

    /// Keys with few different beginnings, so that some have the same.
    fn key(number: u16) -> CustomerKey {
        let mut key = [0; 16];
        key[..2].copy_from_slice(&(number / 4).wrapping_mul(0x9e37).to_be_bytes());
        key[15] = (number % 4) as u8;
        CustomerKey(key)
    }

    fn all(database: &Database) -> BTreeMap<CustomerKey, Vec<u8>> {
        let mut all = BTreeMap::new();
        let mut last = None;
        each(database, &[], |key, record| {
            assert!(last.is_none_or(|last| last < key), "in order");
            last = Some(key);
            all.insert(key, record.to_vec());
            Ok(())
        })
        .expect("sound");
        all
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn blocks_hold_what_a_map_would(
            rounds in proptest::collection::vec(
                proptest::collection::btree_map(0..2000_u16, proptest::option::of(0..300_usize), 0..200), 1..8)
        ) {
            let database = empty();
            let mut map = BTreeMap::new();
            for round in rounds {
                let records: BTreeMap<CustomerKey, Option<Vec<u8>>> = round
                    .into_iter()
                    .map(|(number, len)| (key(number), len.map(|len| vec![number as u8; len])))
                    .collect();
                let changes: Vec<BlockChange> =
                    records.iter().map(|(key, record)| (*key, record.as_deref())).collect();
                let before = map.len() as i64;
                let more = apply(&database, &changes).expect("applied");
                for (key, record) in records {
                    match record {
                        Some(record) => drop(map.insert(key, record)),
                        None => drop(map.remove(&key)),
                    }
                }
                prop_assert_eq!(more, map.len() as i64 - before);
                prop_assert_eq!(&all(&database), &map);
            }
            let mut finder = Finder::new(&database);
            for number in 0..2000 {
                let found = finder.find(key(number)).expect("sound").map(<[u8]>::to_vec);
                prop_assert_eq!(found.as_ref(), map.get(&key(number)));
            }
        }
    }

    fn thousand(database: &Database) {
        let record = [7; 100];
        let changes: BTreeMap<CustomerKey, _> =
            (0..1000).map(|number| (key(4 * number), Some(&record[..]))).collect();
        let changes: Vec<BlockChange> = changes.into_iter().collect();
        assert_eq!(apply(database, &changes).expect("applied"), 1000);
    }

    #[test]
    fn many_at_once_fill_their_blocks() {
        let database = empty();
        thousand(&database);
        let (blocks, largest): (i64, i64) = database
            .connection
            .query_row("SELECT count(*), max(length(block)) FROM customers", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .expect("a count");
        assert!(largest <= BLOCK_BYTES_MAX as i64, "{largest}");
        assert!(blocks <= 31, "{blocks} blocks of at least 33 customers");
    }

    #[test]
    fn a_damaged_or_missing_block_is_no_unknown_customer() {
        for damage in [
            "DELETE FROM customers WHERE first = (SELECT max(first) FROM customers)",
            "DELETE FROM customers WHERE first = (SELECT min(first) FROM customers)",
            "UPDATE customers SET block = (SELECT block FROM customers ORDER BY first LIMIT 1 OFFSET 3)
             WHERE first = (SELECT first FROM customers ORDER BY first LIMIT 1 OFFSET 4)",
            "UPDATE customers SET block = substr(block, 1, length(block) - 1)",
            "UPDATE customers SET block = x''",
        ] {
            let database = empty();
            thousand(&database);
            database.execute_all(damage).expect("damaged");
            let mut finder = Finder::new(&database);
            let lost = (0..1000).filter(|number| match finder.find(key(4 * number)) {
                Ok(found) => {
                    assert!(found.is_some(), "{damage}: customer {number} is forgotten");
                    false
                }
                Err(_) => true,
            });
            assert!(lost.count() > 0, "{damage}");
            assert!(each(&database, &[], |_, _| Ok(())).is_err(), "{damage}");
            assert!(each_check(&database, |_, _| {}).is_err(), "{damage}");
        }
    }
}
