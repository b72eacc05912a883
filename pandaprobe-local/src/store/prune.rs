//! What is kept.

use std::time::Duration;

use rusqlite::{Connection, params};

use super::{Store, StoreError, write::remove};
use crate::time::Micros;

/// How long and how much is kept. What is not said does not matter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Traces that began longer ago go.
    pub max_age: Option<Duration>,
    /// The oldest traces go until all that is stored is no more than this, in bytes of content. The file, which holds indexes as
    /// well, is larger.
    pub max_bytes: Option<u64>,
}

/// What went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// How many traces.
    pub traces: usize,
}

/// How many traces one change removes, so that others are not kept waiting.
const AT_ONCE: i64 = 500;

/// How many pages of the file one change gives back.
const PAGES: i64 = 4_000;

impl Store {
    /// Removes what is not to be kept, the oldest first, and gives the space back to the file system.
    ///
    /// # Errors
    ///
    /// If the store cannot be written.
    pub async fn prune(&self, retention: Retention) -> Result<Pruned, StoreError> {
        let mut pruned = Pruned::default();
        loop {
            let removed = self.change(move |connection| prune_some(connection, retention)).await?;
            pruned.traces += removed;
            if removed == 0 {
                break;
            }
        }
        self.vacuum().await?;
        Ok(pruned)
    }

    /// Gives unused space back to the file system.
    ///
    /// # Errors
    ///
    /// If the store cannot be written.
    pub async fn vacuum(&self) -> Result<(), StoreError> {
        let mut free = i64::MAX;
        loop {
            let still_free = self.change(vacuum_some).await?;
            if still_free == 0 || still_free >= free {
                return Ok(());
            }
            free = still_free;
        }
    }

    /// How many bytes the file takes.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    pub fn bytes(&self) -> Result<u64, StoreError> {
        self.read(|connection| {
            let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
            let bytes = pragma("page_count")?.saturating_mul(pragma("page_size")?);
            Ok(bytes.unsigned_abs())
        })
    }
}

/// Gives some unused space back, and says how many pages are still unused.
fn vacuum_some(connection: &Connection) -> Result<i64, StoreError> {
    let mut step = connection.prepare(&format!("PRAGMA incremental_vacuum({PAGES})"))?;
    let mut rows = step.query([])?;
    while rows.next()?.is_some() {}
    Ok(connection.pragma_query_value(None, "freelist_count", |row| row.get(0))?)
}

fn prune_some(connection: &Connection, retention: Retention) -> Result<usize, StoreError> {
    let mut ids: Vec<i64> = Vec::new();
    if let Some(age) = retention.max_age {
        let age = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
        let limit = Micros::now().0.saturating_sub(age);
        let mut old = connection
            .prepare_cached("SELECT id FROM traces WHERE started_at < ?1 ORDER BY started_at LIMIT ?2")?;
        ids = old.query_map(params![limit, AT_ONCE], |row| row.get(0))?.collect::<Result<_, _>>()?;
    }
    if let (Some(max), true) = (retention.max_bytes, ids.is_empty()) {
        let max = i64::try_from(max).unwrap_or(i64::MAX);
        let all: i64 =
            connection.query_row("SELECT coalesce(sum(bytes), 0) FROM traces", [], |row| row.get(0))?;
        let mut over = all - max;
        let mut oldest =
            connection.prepare_cached("SELECT id, bytes FROM traces ORDER BY started_at, id LIMIT ?1")?;
        let mut rows = oldest.query([AT_ONCE])?;
        while over > 0
            && let Some(row) = rows.next()?
        {
            ids.push(row.get(0)?);
            over -= row.get::<_, i64>(1)?;
        }
    }
    for id in &ids {
        remove(connection, *id)?;
    }
    Ok(ids.len())
}
