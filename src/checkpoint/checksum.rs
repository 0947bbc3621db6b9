//! One check value over all rows.
//!
//! SQLite's page checksums are an extension that the bundled library lacks. Its
//! own checks look at the shape of the trees, not at their content. So the sum
//! of a hash of every row, modulo 2^64, is kept beside the rows and compared
//! when the file is opened. An XOR would not do: a row that a damaged tree shows
//! twice would cancel itself.
//!
//! Triggers of the connection update the sum in the same transaction as the
//! change, so no statement can forget it. A program that does not know the sum
//! cannot write unnoticed.
//!
//! No table has a second index, so a scan finds the same rows as a look-up. For
//! blocks of customers the sum covers only their check values. Each check value
//! is compared with its block at open, and whenever the block is read.

use rusqlite::functions::FunctionFlags;
use rusqlite::types::ValueRef;

use super::blocks;
use super::database::Database;
use super::error::CheckpointError;
use super::format::CHECKSUM_TABLES;

/// Never changes, so it needs no trigger.
const META: (&str, &[&str]) = ("meta", &["$name", "$value"]);

/// Makes the checksum follow every change of this connection. Must be called
/// outside of a transaction.
pub(super) fn maintain(database: &Database) -> Result<(), CheckpointError> {
    // Without the second, a row that is replaced fires no trigger.
    database.execute_all("PRAGMA temp_store = MEMORY; PRAGMA recursive_triggers = ON;")?;
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    let created = database.connection.create_scalar_function("checksum", -1, flags, |arguments| {
        let mut row = Vec::with_capacity(256);
        (2..arguments.len()).for_each(|at| append(&mut row, arguments.get_raw(at)));
        let (sum, times) = (arguments.get::<i64>(0)?, arguments.get::<i64>(1)?);
        Ok(sum.wrapping_add(times.wrapping_mul(hash(&row))))
    });
    created.map_err(|source| database.error(source))?;
    for (table, columns) in CHECKSUM_TABLES {
        let row = |which| format!("'{table}', {}", columns.join(", ").replace('$', which));
        let (old, new) = (row("OLD."), row("NEW."));
        for (event, value) in [
            ("INSERT", format!("checksum(value, 1, {new})")),
            ("DELETE", format!("checksum(value, -1, {old})")),
            ("UPDATE", format!("checksum(checksum(value, -1, {old}), 1, {new})")),
        ] {
            database.execute_all(&format!(
                "CREATE TEMP TRIGGER checksum_{table}_{event} AFTER {event} ON {table}
                 BEGIN UPDATE meta SET value = {value} WHERE name = 'checksum'; END;"
            ))?;
        }
    }
    Ok(())
}

/// Writes the checksum of a new file.
pub(super) fn write(database: &Database) -> Result<(), CheckpointError> {
    let (checksum, _) = compute(database)?;
    database.execute("INSERT OR REPLACE INTO meta VALUES ('checksum', ?)", [checksum])
}

/// Reads all rows and checks that they are the written ones. Returns the number
/// of customers.
pub(super) fn verify(database: &Database) -> Result<u64, CheckpointError> {
    database.read_snapshot(|| {
        let written: i64 = database.value("SELECT value FROM meta WHERE name = 'checksum'", [])?;
        let (found, customers) = compute(database)?;
        if found != written {
            return Err(database.damaged("its rows are not those that were written"));
        }
        Ok(customers)
    })
}

/// The checksum and the number of customers.
fn compute(database: &Database) -> Result<(i64, u64), CheckpointError> {
    let mut checksum: i64 = 0;
    let mut bytes = Vec::new();
    let mut add = |table: &str, row: &[ValueRef]| {
        bytes.clear();
        append(&mut bytes, ValueRef::Text(table.as_bytes()));
        row.iter().for_each(|value| append(&mut bytes, *value));
        checksum = checksum.wrapping_add(hash(&bytes));
    };
    let customers = blocks::each_check(database, |first, check| {
        add("customers", &[ValueRef::Integer(first), ValueRef::Blob(check)]);
    })?;
    for (table, columns) in
        CHECKSUM_TABLES.into_iter().chain([META]).filter(|(table, _)| *table != "customers")
    {
        let rows = if table == META.0 { "WHERE name <> 'checksum'" } else { "" };
        let names = columns.join(", ").replace('$', "");
        database.each(&format!("SELECT {names} FROM {table} {rows}"), |row| {
            let values = (0..columns.len()).map(|at| row.get_ref(at)).collect::<Result<Vec<_>, _>>()?;
            add(table, &values);
            Ok(())
        })?;
    }
    Ok((checksum, customers))
}

/// Types and lengths keep the values apart.
fn append(row: &mut Vec<u8>, value: ValueRef) {
    let (kind, bytes): (u8, &[u8]) = match value {
        ValueRef::Null => (0, &[]),
        ValueRef::Integer(number) => (1, &number.to_le_bytes()),
        ValueRef::Real(number) => (2, &number.to_le_bytes()),
        ValueRef::Text(bytes) => (3, bytes),
        ValueRef::Blob(bytes) => (4, bytes),
    };
    row.push(kind);
    if matches!(value, ValueRef::Text(_) | ValueRef::Blob(_)) {
        row.extend_from_slice(&bytes.len().to_le_bytes());
    }
    row.extend_from_slice(bytes);
}

/// In one piece: setting up a hasher for a row of a hundred bytes is more work
/// than hashing it.
fn hash(row: &[u8]) -> i64 {
    let mut first = [0; 8];
    first.copy_from_slice(&blake3::hash(row).as_bytes()[..8]);
    i64::from_le_bytes(first)
}
