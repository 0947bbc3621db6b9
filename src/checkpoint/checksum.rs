//! One check value over all rows.
//!
//! A record's own check value cannot tell that the record is no longer found:
//! with a flipped bit in a customer's key the customer is unknown, and would
//! be created a second time. SQLite's page checksums are an extension that the
//! bundled library has not, and `integrity_check` looks at the shape of the
//! tree, not at what is in it. So the XOR of a hash of every row is kept
//! beside the rows and compared when the file is opened. Triggers of the
//! connection keep it, in the same transaction as the change, so that no
//! statement can forget it; a program that knows nothing of it cannot write
//! without being found out.
//!
//! No table has an index besides itself: every key is there once, and a scan
//! that finds all of them has seen all that a look-up will. Of the blocks of
//! customers the seal has only the check values; whether those hold is looked
//! at too, when the file is opened and whenever a block is read.
//!
//! What it cannot tell: that the end of the write-ahead log is gone. The count
//! of commits can, see `lock`.

use rusqlite::Connection;
use rusqlite::functions::FunctionFlags;
use rusqlite::types::ValueRef;

use super::blocks;
use super::file::FORMAT;

/// A table and what of it is sealed: columns, with `$` for the row they are of.
type ChecksumTable = (&'static str, &'static [&'static str]);

const TABLES: [ChecksumTable; 10] = [
    ("export", &["$fingerprint", "$id"]),
    ("run", &["$id", "$export", "$plan", "$record"]),
    ("worklist", &["$run", "$list"]),
    ("unfinished", &["$run", "$row"]),
    ("commits", &["$only", "$count"]),
    ("named", &["$key", "$name"]),
    ("missing", &["$nth", "$key"]),
    ("missing_run", &["$run", "$record"]),
    ("seen", &["$run", "$record"]),
    ("gone", &["$customer", "$address"]),
];

/// What else a file has since format 3.
const JOURNAL: ChecksumTable = ("journal", &["$nth", "$changes"]);
/// Of a block, its own check value stands for all of it.
const BLOCKS: ChecksumTable = ("customers", &["$first", "substr($block, 1, 8)"]);

/// What files before format 3 had in their place.
const TABLES_UNTIL_2: [ChecksumTable; 4] = [
    ("customer", &["$key", "$told"]),
    ("flight", &["$key", "$record"]),
    ("progress", &["$row", "$record"]),
    ("ahead", &["$row"]),
];

/// How many of [`TABLES`] the first format had.
const TABLES_IN_1: usize = 4;

/// What never changes: no trigger, but under the seal as well.
const FIXED: ChecksumTable = ("meta", &["$name", "$value"]);

fn tables(format: i64) -> impl Iterator<Item = ChecksumTable> {
    let known = if format < 2 { TABLES_IN_1 } else { TABLES.len() };
    let since_3 = [JOURNAL, BLOCKS].into_iter().filter(move |_| format >= 3);
    let until_2 = TABLES_UNTIL_2.into_iter().filter(move |_| format < 3);
    TABLES.into_iter().take(known).chain(until_2).chain(since_3)
}

/// What a connection needs for [`keep`], set outside of a transaction: without
/// the second, a row that is replaced goes without a trigger.
pub(crate) const PRAGMAS: &str = "PRAGMA temp_store = MEMORY; PRAGMA recursive_triggers = ON;";

/// Has the seal follow every change that this connection makes.
pub(crate) fn keep(connection: &Connection) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    connection.create_scalar_function("sealed", -1, flags, |arguments| {
        let mut together = Vec::with_capacity(256);
        (1..arguments.len()).for_each(|at| append(&mut together, arguments.get_raw(at)));
        Ok(arguments.get::<i64>(0)? ^ hash(&together))
    })?;
    for (table, columns) in tables(FORMAT) {
        let row = |which| format!("'{table}', {}", columns.join(", ").replace('$', which));
        let (old, new) = (row("OLD."), row("NEW."));
        for (event, sealed) in [
            ("INSERT", format!("sealed(value, {new})")),
            ("DELETE", format!("sealed(value, {old})")),
            ("UPDATE", format!("sealed(sealed(value, {old}), {new})")),
        ] {
            connection.execute_batch(&format!(
                "CREATE TEMP TRIGGER seal_{table}_{event} AFTER {event} ON {table}
                 BEGIN UPDATE meta SET value = {sealed} WHERE name = 'seal'; END;"
            ))?;
        }
    }
    Ok(())
}

/// Seals a new file, or anew one that has been upgraded.
pub(crate) fn set(connection: &Connection) -> rusqlite::Result<()> {
    // Blocks that were written a moment ago are sound.
    let seal = of_all(connection)?.map_or(0, |(seal, _)| seal);
    connection.execute("INSERT OR REPLACE INTO meta VALUES ('seal', ?)", [seal]).map(drop)
}

/// How many customers there are, if all rows are those that were written:
/// it reads all of them. Customers of a format before 3 are not counted.
pub(crate) fn holds(connection: &Connection) -> rusqlite::Result<Option<u64>> {
    // One snapshot: another process may be writing.
    let snapshot = match connection.is_autocommit() {
        true => Some(connection.unchecked_transaction()?),
        false => None,
    };
    let kept: i64 =
        connection.query_row("SELECT value FROM meta WHERE name = 'seal'", [], |row| row.get(0))?;
    let found = of_all(connection)?;
    snapshot.map_or(Ok(()), rusqlite::Transaction::finish)?;
    Ok(found.filter(|(seal, _)| *seal == kept).map(|(_, customers)| customers))
}

/// The seal, and how many customers there are; `None` if a block is damaged.
fn of_all(connection: &Connection) -> rusqlite::Result<Option<(i64, u64)>> {
    let (mut seal, mut customers, mut together) = (0, 0, Vec::new());
    // As it is in this snapshot: another process may just have upgraded it.
    let format: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    for (table, columns) in tables(format).chain([FIXED]) {
        if table == BLOCKS.0 {
            let found = blocks::each_check(connection, |first, check| {
                together.clear();
                append(&mut together, ValueRef::Text(table.as_bytes()));
                append(&mut together, ValueRef::Integer(first));
                append(&mut together, ValueRef::Blob(check));
                seal ^= hash(&together);
            })?;
            let Some(found) = found else { return Ok(None) };
            customers = found;
            continue;
        }
        let all = if table == FIXED.0 { "WHERE name <> 'seal'" } else { "" };
        let columns_of = columns.join(", ").replace('$', "");
        let mut statement = connection.prepare(&format!("SELECT {columns_of} FROM {table} {all}"))?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            together.clear();
            append(&mut together, ValueRef::Text(table.as_bytes()));
            for at in 0..columns.len() {
                append(&mut together, row.get_ref(at)?);
            }
            seal ^= hash(&together);
        }
    }
    Ok(Some((seal, customers)))
}

/// Types and lengths keep the values apart.
fn append(together: &mut Vec<u8>, value: ValueRef) {
    let (kind, bytes) = match value {
        ValueRef::Null => return together.push(0),
        ValueRef::Integer(number) => {
            together.push(1);
            return together.extend_from_slice(&number.to_le_bytes());
        }
        ValueRef::Real(number) => {
            together.push(2);
            return together.extend_from_slice(&number.to_le_bytes());
        }
        ValueRef::Text(bytes) => (3, bytes),
        ValueRef::Blob(bytes) => (4, bytes),
    };
    together.push(kind);
    together.extend_from_slice(&bytes.len().to_le_bytes());
    together.extend_from_slice(bytes);
}

/// In one piece: setting up a hasher for a row of a hundred bytes is more work
/// than hashing it.
fn hash(together: &[u8]) -> i64 {
    let mut first = [0; 8];
    first.copy_from_slice(&blake3::hash(together).as_bytes()[..8]);
    i64::from_le_bytes(first)
}
