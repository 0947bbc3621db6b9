//! One check value over all rows.
//!
//! SQLite's page checksums are an extension that the bundled library has not,
//! and its own checks look at the shape of the trees, not at what is in them.
//! So the sum of a hash of every row, modulo 2^64, is kept beside the rows and
//! compared when the file is opened. It is no XOR, in which a row that a damaged
//! tree shows twice would cancel itself. Triggers of the connection maintain it in the same
//! transaction as the change, so no statement can forget it. A program that
//! knows nothing of it cannot write unnoticed.
//!
//! No table has an index besides itself: every key is there once, and a scan
//! that finds all rows has seen all that a look-up will. Of the blocks of
//! customers the checksum has only the check values. Whether those hold is
//! checked at open too, and whenever a block is read.

use rusqlite::Connection;
use rusqlite::functions::FunctionFlags;
use rusqlite::types::ValueRef;

use super::blocks;
use super::format::CHECKSUM_TABLES;

/// What never changes: no trigger, but in the checksum as well.
const META: (&str, &[&str]) = ("meta", &["$name", "$value"]);

/// For the triggers, to be set outside of a transaction: without the second, a
/// row that is replaced fires none.
pub(super) const PRAGMAS: &str = "PRAGMA temp_store = MEMORY; PRAGMA recursive_triggers = ON;";

/// Has the checksum follow every change that this connection makes.
pub(super) fn maintain(connection: &Connection) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    connection.create_scalar_function("checksum", -1, flags, |arguments| {
        let mut row = Vec::with_capacity(256);
        (2..arguments.len()).for_each(|at| append(&mut row, arguments.get_raw(at)));
        let (sum, times) = (arguments.get::<i64>(0)?, arguments.get::<i64>(1)?);
        Ok(sum.wrapping_add(times.wrapping_mul(hash(&row))))
    })?;
    for (table, columns) in CHECKSUM_TABLES {
        let row = |which| format!("'{table}', {}", columns.join(", ").replace('$', which));
        let (old, new) = (row("OLD."), row("NEW."));
        for (event, value) in [
            ("INSERT", format!("checksum(value, 1, {new})")),
            ("DELETE", format!("checksum(value, -1, {old})")),
            ("UPDATE", format!("checksum(checksum(value, -1, {old}), 1, {new})")),
        ] {
            connection.execute_batch(&format!(
                "CREATE TEMP TRIGGER checksum_{table}_{event} AFTER {event} ON {table}
                 BEGIN UPDATE meta SET value = {value} WHERE name = 'checksum'; END;"
            ))?;
        }
    }
    Ok(())
}

/// Writes the checksum of a new file.
pub(super) fn write(connection: &Connection) -> rusqlite::Result<()> {
    // Blocks that were written a moment ago are sound.
    let checksum = compute(connection)?.map_or(0, |(checksum, _)| checksum);
    connection.execute("INSERT OR REPLACE INTO meta VALUES ('checksum', ?)", [checksum]).map(drop)
}

/// The number of customers, if all rows are those that were written. It reads
/// all of them.
pub(super) fn verify(connection: &Connection) -> rusqlite::Result<Option<u64>> {
    // One snapshot: another process may be writing.
    let snapshot = connection.is_autocommit().then(|| connection.unchecked_transaction()).transpose()?;
    let written: i64 =
        connection.query_row("SELECT value FROM meta WHERE name = 'checksum'", [], |row| row.get(0))?;
    let found = compute(connection)?;
    snapshot.map_or(Ok(()), rusqlite::Transaction::finish)?;
    Ok(found.filter(|(checksum, _)| *checksum == written).map(|(_, customers)| customers))
}

/// The checksum and the number of customers; `None` if a block is damaged.
fn compute(connection: &Connection) -> rusqlite::Result<Option<(i64, u64)>> {
    let mut checksum: i64 = 0;
    let mut bytes = Vec::new();
    let mut add = |table: &str, row: &[ValueRef]| {
        bytes.clear();
        append(&mut bytes, ValueRef::Text(table.as_bytes()));
        row.iter().for_each(|value| append(&mut bytes, *value));
        checksum = checksum.wrapping_add(hash(&bytes));
    };
    let customers = blocks::each_check(connection, |first, check| {
        add("customers", &[ValueRef::Integer(first), ValueRef::Blob(check)]);
    })?;
    for (table, columns) in
        CHECKSUM_TABLES.into_iter().chain([META]).filter(|(table, _)| *table != "customers")
    {
        let rows = if table == META.0 { "WHERE name <> 'checksum'" } else { "" };
        let names = columns.join(", ").replace('$', "");
        let mut statement = connection.prepare(&format!("SELECT {names} FROM {table} {rows}"))?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let values = (0..columns.len()).map(|at| row.get_ref(at)).collect::<Result<Vec<_>, _>>()?;
            add(table, &values);
        }
    }
    Ok(customers.map(|customers| (checksum, customers)))
}

/// Types and lengths keep the values apart.
fn append(row: &mut Vec<u8>, value: ValueRef) {
    let (kind, bytes) = match value {
        ValueRef::Null => return row.push(0),
        ValueRef::Integer(number) => {
            row.push(1);
            return row.extend_from_slice(&number.to_le_bytes());
        }
        ValueRef::Real(number) => {
            row.push(2);
            return row.extend_from_slice(&number.to_le_bytes());
        }
        ValueRef::Text(bytes) => (3, bytes),
        ValueRef::Blob(bytes) => (4, bytes),
    };
    row.push(kind);
    row.extend_from_slice(&bytes.len().to_le_bytes());
    row.extend_from_slice(bytes);
}

/// In one piece: setting up a hasher for a row of a hundred bytes is more work
/// than hashing it.
fn hash(row: &[u8]) -> i64 {
    let mut first = [0; 8];
    first.copy_from_slice(&blake3::hash(row).as_bytes()[..8]);
    i64::from_le_bytes(first)
}
