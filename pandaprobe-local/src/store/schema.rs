//! Tables, and how an older store becomes a newer one.

use rusqlite::{Connection, TransactionBehavior};

use super::StoreError;

/// What is done to a store of each version to make it the next. A step that was released is never changed.
const STEPS: &[&str] = &[include_str!("schema_1.sql")];

/// What SQLite's `application_id` is in a store.
const APPLICATION: i64 = 0x5061_6e64;

/// Brings a store up to date. One that is, is only read.
pub(super) fn bring_up_to_date(connection: &mut Connection) -> Result<(), StoreError> {
    if version(connection)? == STEPS.len() {
        return Ok(());
    }
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Another process may have been first.
    for (done, step) in STEPS.iter().enumerate().skip(version(&transaction)?) {
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "application_id", APPLICATION)?;
        transaction.pragma_update(None, "user_version", i64::try_from(done + 1).unwrap_or(i64::MAX))?;
    }
    transaction.commit()?;
    Ok(())
}

/// The version of a store; 0 if nothing is in the file.
fn version(connection: &Connection) -> Result<usize, StoreError> {
    let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let version = usize::try_from(pragma("user_version")?).unwrap_or(usize::MAX);
    if pragma("application_id")? != APPLICATION {
        let is_empty =
            connection.query_row("SELECT count(*) = 0 FROM sqlite_schema", [], |row| row.get(0))?;
        return if is_empty { Ok(0) } else { Err(StoreError::Foreign) };
    }
    if version > STEPS.len() {
        return Err(StoreError::Newer { version, known: STEPS.len() });
    }
    Ok(version)
}
