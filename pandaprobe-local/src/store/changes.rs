//! What changed since somebody looked.

use rusqlite::{Connection, params};

use super::{
    Store, StoreError, TraceRow,
    read::{ROW, trace_row},
};

/// Until when changes were seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// When the last change was.
    changed_at: i64,
    /// How many traces were removed.
    removals: i64,
}

impl Seen {
    /// Whether traces were removed in between.
    pub(crate) fn has_removals_since(self, before: Self) -> bool {
        self.removals != before.removals
    }
}

impl Store {
    /// The traces that changed after `seen`, at most `limit`, and what is seen with them.
    pub(crate) fn changed_since(&self, seen: Seen, limit: i64) -> Result<(Vec<TraceRow>, Seen), StoreError> {
        self.read(|connection| {
            let list = format!(
                "SELECT {ROW}, changed_at FROM traces WHERE changed_at > ?1 ORDER BY changed_at LIMIT ?2"
            );
            let mut list = connection.prepare_cached(&list)?;
            let mut until = Seen { removals: removals(connection)?, ..seen };
            let mut rows = Vec::new();
            let mut found = list.query(params![seen.changed_at, limit])?;
            while let Some(row) = found.next()? {
                rows.push(trace_row(row)?);
                until.changed_at = row.get("changed_at")?;
            }
            Ok((rows, until))
        })
    }

    /// All that there is to be seen.
    pub(crate) fn last_change(&self) -> Result<Seen, StoreError> {
        self.read(|connection| {
            let last = "SELECT coalesce(max(changed_at), 0) FROM traces";
            let changed_at = connection.prepare_cached(last)?.query_row([], |row| row.get(0))?;
            Ok(Seen { changed_at, removals: removals(connection)? })
        })
    }
}

fn removals(connection: &Connection) -> Result<i64, StoreError> {
    Ok(connection.prepare_cached("SELECT count FROM removals")?.query_row([], |row| row.get(0))?)
}
