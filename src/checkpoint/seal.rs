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
//! that finds all of them has seen all that a look-up will.
//!
//! What it cannot tell: that the end of the write-ahead log is gone. The count
//! of commits can, see `lock`.

use rusqlite::Connection;
use rusqlite::functions::FunctionFlags;
use rusqlite::types::ValueRef;

/// Tables and their columns.
const TABLES: [(&str, &[&str]); 8] = [
    ("export", &["fingerprint", "id"]),
    ("run", &["id", "export", "plan", "record"]),
    ("worklist", &["run", "list"]),
    ("customer", &["key", "told"]),
    ("flight", &["key", "record"]),
    ("progress", &["row", "record"]),
    ("ahead", &["row"]),
    ("unfinished", &["run", "row"]),
];

/// Those that a file has from format 2 on.
const TABLES_2: [(&str, &[&str]); 6] = [
    ("commits", &["only", "count"]),
    ("named", &["key", "name"]),
    ("missing", &["nth", "key"]),
    ("missing_run", &["run", "record"]),
    ("seen", &["run", "record"]),
    ("gone", &["customer", "address"]),
];

/// What never changes: no trigger, but under the seal as well.
const FIXED: (&str, &[&str]) = ("meta", &["name", "value"]);

/// What a connection needs for [`keep`], set outside of a transaction: without
/// the second, a row that is replaced goes without a trigger.
pub(super) const PRAGMAS: &str = "PRAGMA temp_store = MEMORY; PRAGMA recursive_triggers = ON;";

/// Has the seal follow every change that this connection makes.
pub(super) fn keep(connection: &Connection) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    connection.create_scalar_function("sealed", -1, flags, |arguments| {
        let mut together = Vec::with_capacity(256);
        (1..arguments.len()).for_each(|at| append(&mut together, arguments.get_raw(at)));
        Ok(arguments.get::<i64>(0)? ^ hash(&together))
    })?;
    for (table, columns) in TABLES.into_iter().chain(TABLES_2) {
        let row = |which: &str| {
            let columns: Vec<String> = columns.iter().map(|column| format!("{which}.{column}")).collect();
            format!("'{table}', {}", columns.join(", "))
        };
        let (old, new) = (row("OLD"), row("NEW"));
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

/// Seals a new file.
pub(super) fn set(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute("INSERT INTO meta VALUES ('seal', ?)", [of_all(connection)?]).map(drop)
}

/// Seals a file anew that has been upgraded.
pub(super) fn renew(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute("UPDATE meta SET value = ? WHERE name = 'seal'", [of_all(connection)?]).map(drop)
}

/// Whether the rows are those that were written. It reads all of them.
pub(super) fn holds(connection: &Connection) -> rusqlite::Result<bool> {
    // One snapshot: another process may be writing.
    let snapshot = connection.unchecked_transaction()?;
    let kept: i64 = snapshot.query_row("SELECT value FROM meta WHERE name = 'seal'", [], |row| row.get(0))?;
    Ok(of_all(&snapshot)? == kept)
}

fn of_all(connection: &Connection) -> rusqlite::Result<i64> {
    let (mut seal, mut together) = (0, Vec::new());
    // As it is in this snapshot: another process may just have upgraded it.
    let format: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let later = TABLES_2.into_iter().filter(|_| format >= 2);
    for (table, columns) in TABLES.into_iter().chain(later).chain([FIXED]) {
        let all = if table == FIXED.0 { "WHERE name <> 'seal'" } else { "" };
        let mut statement =
            connection.prepare(&format!("SELECT {} FROM {table} {all}", columns.join(", ")))?;
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
    Ok(seal)
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
