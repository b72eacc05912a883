//! Sessions and users: what their traces add up to.

use std::collections::BTreeSet;

use rusqlite::params;
use serde::Serialize;

use super::{Order, Page, Store, StoreError, TraceFilter, filter::Where, read::whole, write::remove};
use crate::{StoredTrace, time::Micros};

/// A session, which is of one project.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SessionRow {
    /// The project.
    #[serde(skip)]
    pub project: String,
    /// Its id.
    pub session_id: String,
    /// How many traces it has.
    pub trace_count: i64,
    /// When the first began.
    pub first_trace_at: Micros,
    /// When the last began.
    pub last_trace_at: Option<Micros>,
    /// How long all took together, in milliseconds.
    pub total_latency_ms: Option<f64>,
    /// Whether one of them failed.
    pub has_error: bool,
    /// Whose the first is that says so.
    pub user_id: Option<String>,
    /// The tags of all, in order.
    pub tags: Vec<String>,
    /// How many spans they have.
    pub total_span_count: i64,
    /// Tokens of all.
    pub total_tokens: i64,
    /// What all cost.
    pub total_cost: f64,
}

/// A user, who is of one project: another project's of the same id may be somebody else.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct UserRow {
    /// The project.
    #[serde(skip)]
    pub project: String,
    /// The id.
    pub user_id: String,
    /// How many traces there are of this user.
    pub trace_count: i64,
    /// When the first began.
    pub first_seen: Micros,
    /// When the last began.
    pub last_seen: Micros,
    /// How many of them failed.
    pub error_count: i64,
    /// In how many sessions.
    #[serde(skip)]
    pub session_count: i64,
    /// Tokens of all.
    #[serde(skip)]
    pub total_tokens: i64,
    /// What all cost.
    #[serde(skip)]
    pub total_cost: f64,
}

/// Which sessions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SessionFilter {
    /// Whose traces count.
    pub traces: TraceFilter,
    /// With this in the id.
    pub query: Option<String>,
    /// With a trace that failed; or without.
    pub has_error: Option<bool>,
}

const SESSION: &str =
    // The user of the first: of times and users together the least, whose time has 20 digits. As bytes, because an id may hold
    // a NUL, at which texts end.
    "session_id, count(*), min(started_at), max(started_at), sum(latency / 1000.0), max(status = 'ERROR'),
    CAST(substr(CAST(min(format('%020d', started_at + 100000000000000000) || user_id) AS BLOB), 21) AS TEXT),
    json_group_array(DISTINCT tags),
    sum(span_count), sum(prompt_tokens + completion_tokens), sum(total_cost), project";

fn session_row(row: &rusqlite::Row<'_>) -> Result<SessionRow, rusqlite::Error> {
    let tags: Vec<String> = serde_json::from_str(row.get_ref(7)?.as_str()?).unwrap_or_default();
    let tags: BTreeSet<String> =
        tags.iter().flat_map(|tags| serde_json::from_str::<Vec<String>>(tags).unwrap_or_default()).collect();
    Ok(SessionRow {
        session_id: row.get(0)?,
        trace_count: row.get(1)?,
        first_trace_at: Micros(row.get(2)?),
        last_trace_at: Some(Micros(row.get(3)?)),
        total_latency_ms: row.get(4)?,
        has_error: row.get(5)?,
        user_id: row.get(6)?,
        tags: tags.into_iter().collect(),
        total_span_count: row.get(8)?,
        total_tokens: row.get(9)?,
        total_cost: row.get(10)?,
        project: row.get(11)?,
    })
}

pub(super) const USER: &str = "user_id, count(*), min(started_at), max(started_at), sum(status = 'ERROR'),
    count(DISTINCT session_id), CAST(total(prompt_tokens + completion_tokens) AS INTEGER), total(total_cost), project";

pub(super) fn user_row(row: &rusqlite::Row<'_>) -> Result<UserRow, rusqlite::Error> {
    Ok(UserRow {
        user_id: row.get(0)?,
        trace_count: row.get(1)?,
        first_seen: Micros(row.get(2)?),
        last_seen: Micros(row.get(3)?),
        error_count: row.get(4)?,
        session_count: row.get(5)?,
        total_tokens: row.get(6)?,
        total_cost: row.get::<_, Option<f64>>(7)?.unwrap_or_default(),
        project: row.get(8)?,
    })
}

impl Store {
    /// Sessions. `sort` is `recent`, `trace_count`, `latency` or `cost`.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    pub fn sessions(
        &self,
        filter: &SessionFilter,
        sort: &str,
        order: Order,
        (limit, offset): (i64, i64),
    ) -> Result<Page<SessionRow>, StoreError> {
        let all = filter.to_where();
        let having = match filter.has_error {
            Some(true) => "HAVING max(status = 'ERROR')",
            Some(false) => "HAVING NOT max(status = 'ERROR')",
            None => "",
        };
        let by = match sort {
            "trace_count" => "count(*)",
            "latency" => "sum(latency / 1000.0)",
            "cost" => "sum(total_cost)",
            _ => "max(started_at)",
        };
        self.read(|connection| {
            let grouped = format!("FROM traces WHERE {} GROUP BY project, session_id {having}", all.sql());
            let count = format!("SELECT count(*) FROM (SELECT 1 {grouped})");
            let total = connection.prepare(&count)?.query_row(&*all.values(), |row| row.get(0))?;
            let list = format!(
                "SELECT {SESSION} {grouped} ORDER BY {by} {}, session_id LIMIT {limit} OFFSET {offset}",
                order.sql()
            );
            let mut list = connection.prepare(&list)?;
            let items = list.query_map(&*all.values(), session_row)?.collect::<Result<_, _>>()?;
            Ok(Page { items, total, limit, offset })
        })
    }

    /// A session with a part of its traces, the oldest first. Without a project, of the one that had a trace of it last.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    pub fn session(
        &self,
        project: Option<&str>,
        session_id: &str,
        (limit, offset): (i64, i64),
    ) -> Result<Option<(SessionRow, Vec<StoredTrace>)>, StoreError> {
        let of = |project: Option<&str>| {
            let filter = TraceFilter {
                project: project.map(str::to_owned),
                session_id: Some(session_id.to_owned()),
                ..TraceFilter::default()
            };
            filter.to_where()
        };
        self.read(|connection| {
            let all = of(project);
            let one = format!(
                "SELECT {SESSION} FROM traces WHERE {} GROUP BY project ORDER BY max(started_at) DESC LIMIT 1",
                all.sql()
            );
            let mut one = connection.prepare(&one)?;
            let mut rows = one.query(&*all.values())?;
            let Some(session) = rows.next()?.map(session_row).transpose()? else {
                return Ok(None);
            };
            let all = of(Some(&session.project));
            let list = format!(
                "SELECT trace_id FROM traces WHERE {} ORDER BY started_at, id LIMIT {limit} OFFSET {offset}",
                all.sql()
            );
            let mut list = connection.prepare(&list)?;
            let ids: Vec<String> =
                list.query_map(&*all.values(), |row| row.get(0))?.collect::<Result<_, _>>()?;
            let mut traces = Vec::with_capacity(ids.len());
            for id in ids {
                traces.extend(whole(connection, &id)?);
            }
            Ok(Some((session, traces)))
        })
    }

    /// Removes the traces of a session, and says how many there were. Without a project, of the one that had a trace of it last.
    ///
    /// # Errors
    ///
    /// If the store cannot be written.
    pub async fn delete_session(
        &self,
        project: Option<String>,
        session_id: String,
    ) -> Result<usize, StoreError> {
        self.change(move |connection| {
            let mut list = connection.prepare_cached(
                "SELECT id FROM traces WHERE session_id = ?1 AND +project = coalesce(?2, (
                     SELECT project FROM traces WHERE session_id = ?1 ORDER BY started_at DESC LIMIT 1))",
            )?;
            let ids: Vec<i64> =
                list.query_map(params![session_id, project], |row| row.get(0))?.collect::<Result<_, _>>()?;
            for id in &ids {
                remove(connection, *id)?;
            }
            Ok(ids.len())
        })
        .await
    }

    /// Users, those seen last first.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    pub fn users(
        &self,
        filter: &TraceFilter,
        (limit, offset): (i64, i64),
    ) -> Result<Page<UserRow>, StoreError> {
        let mut all = filter.to_where();
        all.and_plain("user_id IS NOT NULL");
        self.read(|connection| {
            let grouped = format!("FROM traces WHERE {} GROUP BY project, user_id", all.sql());
            let count = format!("SELECT count(*) FROM (SELECT 1 {grouped})");
            let total = connection.prepare(&count)?.query_row(&*all.values(), |row| row.get(0))?;
            let list = format!(
                "SELECT {USER} {grouped} ORDER BY max(started_at) DESC, user_id LIMIT {limit} OFFSET {offset}"
            );
            let mut list = connection.prepare(&list)?;
            let items = list.query_map(&*all.values(), user_row)?.collect::<Result<_, _>>()?;
            Ok(Page { items, total, limit, offset })
        })
    }
}

impl SessionFilter {
    fn to_where(&self) -> Where {
        let mut all = self.traces.to_where();
        all.and_plain("session_id IS NOT NULL");
        if let Some(query) = &self.query {
            all.and_like("session_id", query);
        }
        all
    }
}
