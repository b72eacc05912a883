//! Tables, and how an older store becomes a newer one.

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::StoreError;

/// What is done to a store of each version to make it the next. A step that was released is never changed.
const STEPS: &[&str] = &[include_str!("schema_1.sql")];

/// Brings a store up to date.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version = version(&transaction)?;
    if version > STEPS.len() {
        return Err(StoreError::Newer { version, known: STEPS.len() });
    }
    for (done, step) in STEPS.iter().enumerate().skip(version) {
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "user_version", i64::try_from(done + 1).unwrap_or(i64::MAX))?;
    }
    transaction.commit()?;
    Ok(())
}

fn version(transaction: &Transaction<'_>) -> Result<usize, StoreError> {
    let version: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    Ok(usize::try_from(version).unwrap_or(usize::MAX))
}
