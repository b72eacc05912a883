//! What is read of traces and spans.

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::{Serialize, Serializer, ser::SerializeStruct};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{Order, Page, SortBy, Store, StoreError, TraceFilter};
use crate::{time::Micros, wire::Raw};

/// A trace as lists show it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TraceRow {
    /// Its id.
    pub trace_id: String,
    /// Its project.
    #[serde(skip)]
    pub project: String,
    /// Its name.
    pub name: String,
    /// `PENDING`, `RUNNING`, `COMPLETED` or `ERROR`.
    pub status: String,
    /// When it began.
    pub started_at: Micros,
    /// When it ended.
    pub ended_at: Option<Micros>,
    /// Its session.
    pub session_id: Option<String>,
    /// Whose it is.
    pub user_id: Option<String>,
    /// Its tags, in order.
    pub tags: Vec<String>,
    /// Its environment.
    pub environment: Option<String>,
    /// Its release.
    pub release: Option<String>,
    /// How long it took, in milliseconds.
    pub latency_ms: Option<f64>,
    /// How many spans it has.
    pub span_count: i64,
    /// How many of them failed.
    #[serde(skip)]
    pub error_count: i64,
    /// Tokens of prompts and completions.
    pub total_tokens: i64,
    /// What it cost.
    pub total_cost: f64,
}

/// A trace whole.
#[derive(Debug)]
pub struct StoredTrace {
    /// What lists show of it.
    pub row: TraceRow,
    /// Its project's id. There is one for all.
    pub project_id: Uuid,
    /// What went in.
    pub input: Option<Raw>,
    /// What came out.
    pub output: Option<Raw>,
    /// Its metadata.
    pub metadata: Raw,
    /// Its spans, in order of their start.
    pub spans: Vec<SpanRow>,
}

/// As the API gives it, which leaves out what the spans add up to.
impl Serialize for StoredTrace {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let row = &self.row;
        let mut trace = serializer.serialize_struct("TraceResponse", 15)?;
        trace.serialize_field("trace_id", &row.trace_id)?;
        trace.serialize_field("project_id", &self.project_id)?;
        trace.serialize_field("name", &row.name)?;
        trace.serialize_field("status", &row.status)?;
        trace.serialize_field("input", &self.input)?;
        trace.serialize_field("output", &self.output)?;
        trace.serialize_field("metadata", &self.metadata)?;
        trace.serialize_field("started_at", &row.started_at)?;
        trace.serialize_field("ended_at", &row.ended_at)?;
        trace.serialize_field("session_id", &row.session_id)?;
        trace.serialize_field("user_id", &row.user_id)?;
        trace.serialize_field("tags", &row.tags)?;
        trace.serialize_field("environment", &row.environment)?;
        trace.serialize_field("release", &row.release)?;
        trace.serialize_field("spans", &self.spans)?;
        trace.end()
    }
}

/// A span.
#[derive(Debug, Serialize)]
pub struct SpanRow {
    /// Its id.
    pub span_id: String,
    /// The trace that it is of.
    pub trace_id: String,
    /// What it is a part of.
    pub parent_span_id: Option<String>,
    /// Its name.
    pub name: String,
    /// `AGENT`, `TOOL`, `LLM`, `RETRIEVER`, `CHAIN`, `EMBEDDING` or `OTHER`.
    pub kind: String,
    /// `UNSET`, `OK` or `ERROR`.
    pub status: String,
    /// What went in.
    pub input: Option<Raw>,
    /// What came out.
    pub output: Option<Raw>,
    /// The model that was asked.
    pub model: Option<String>,
    /// The tokens, by kind.
    pub token_usage: Option<Raw>,
    /// Its metadata.
    pub metadata: Raw,
    /// When it began.
    pub started_at: Micros,
    /// When it ended.
    pub ended_at: Option<Micros>,
    /// Why it failed.
    pub error: Option<String>,
    /// When the first token came.
    pub completion_start_time: Option<Micros>,
    /// Temperature and the like.
    pub model_parameters: Option<Raw>,
    /// What it cost, by kind.
    pub cost: Option<Raw>,
    /// How long it took, in milliseconds.
    pub latency_ms: Option<f64>,
    /// How long the first token took, in milliseconds.
    pub time_to_first_token_ms: Option<f64>,
}

impl Store {
    /// The traces that `filter` means.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    pub fn traces(
        &self,
        filter: &TraceFilter,
        sort: SortBy,
        order: Order,
        (limit, offset): (i64, i64),
    ) -> Result<Page<TraceRow>, StoreError> {
        let all = filter.to_where();
        self.read(|connection| {
            let count = format!("SELECT count(*) FROM traces WHERE {}", all.sql());
            let total = connection.prepare_cached(&count)?.query_row(&*all.values(), |row| row.get(0))?;
            let list = format!(
                "SELECT {ROW} FROM traces WHERE {} ORDER BY {} LIMIT {limit} OFFSET {offset}",
                all.sql(),
                sort.sql(order),
            );
            let mut list = connection.prepare(&list)?;
            let items = list.query_map(&*all.values(), trace_row)?.collect::<Result<_, _>>()?;
            Ok(Page { items, total, limit, offset })
        })
    }

    /// The trace, with its spans.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    pub fn trace(&self, trace_id: Uuid) -> Result<Option<StoredTrace>, StoreError> {
        self.read(|connection| whole(connection, &trace_id.to_string()))
    }

    /// One span of a trace.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    pub fn span(&self, trace_id: Uuid, span_id: Uuid) -> Result<Option<SpanRow>, StoreError> {
        self.read(|connection| {
            let get = format!("SELECT {SPAN} {SPAN_FROM} WHERE span_id = ?1 AND traces.trace_id = ?2");
            let mut get = connection.prepare_cached(&get)?;
            Ok(get.query_row(params![span_id.to_string(), trace_id.to_string()], span_row).optional()?)
        })
    }

    /// The ids of traces that begin so, two at most.
    #[cfg(feature = "cli")]
    pub(crate) fn trace_ids_like(&self, beginning: &str) -> Result<Vec<String>, StoreError> {
        let like = format!("{}%", super::filter::escaped(&beginning.to_ascii_lowercase()));
        self.read(|connection| {
            let mut list = connection
                .prepare("SELECT trace_id FROM traces WHERE trace_id LIKE ?1 ESCAPE '\\' LIMIT 2")?;
            Ok(list.query_map([like], |row| row.get(0))?.collect::<Result<_, _>>()?)
        })
    }

    /// The ids of all traces, the oldest first.
    #[cfg(feature = "cli")]
    pub(crate) fn trace_ids(&self, filter: &TraceFilter) -> Result<Vec<String>, StoreError> {
        let all = filter.to_where();
        self.read(|connection| {
            let list = format!("SELECT trace_id FROM traces WHERE {} ORDER BY started_at, id", all.sql());
            let mut list = connection.prepare(&list)?;
            Ok(list.query_map(&*all.values(), |row| row.get(0))?.collect::<Result<_, _>>()?)
        })
    }
}

pub(super) const ROW: &str = "traces.trace_id, traces.project, traces.name, traces.status, traces.started_at, traces.ended_at,
    traces.session_id, traces.user_id, traces.tags, traces.environment, traces.release, traces.latency,
    traces.span_count, traces.error_count, traces.prompt_tokens + traces.completion_tokens, traces.total_cost";

pub(super) fn trace_row(row: &Row<'_>) -> Result<TraceRow, rusqlite::Error> {
    let tags: String = row.get(8)?;
    Ok(TraceRow {
        trace_id: row.get(0)?,
        project: row.get(1)?,
        name: row.get(2)?,
        status: row.get(3)?,
        started_at: Micros(row.get(4)?),
        ended_at: row.get::<_, Option<i64>>(5)?.map(Micros),
        session_id: row.get(6)?,
        user_id: row.get(7)?,
        tags: serde_json::from_str(&tags).unwrap_or_default(),
        environment: row.get(9)?,
        release: row.get(10)?,
        latency_ms: row.get::<_, Option<i64>>(11)?.map(millis),
        span_count: row.get(12)?,
        error_count: row.get(13)?,
        total_tokens: row.get(14)?,
        total_cost: row.get(15)?,
    })
}

const SPAN: &str =
    "span_id, traces.trace_id, parent_span_id, spans.name, kind, spans.status, span_content.input,
    span_content.output, model, token_usage, span_content.metadata, spans.started_at, spans.ended_at, error,
    completion_start_time, model_parameters, cost";
const SPAN_FROM: &str = "FROM spans JOIN traces USING (id) LEFT JOIN span_content USING (sid)";

fn span_row(row: &Row<'_>) -> Result<SpanRow, rusqlite::Error> {
    let started_at: i64 = row.get(11)?;
    let ended_at: Option<i64> = row.get(12)?;
    let first_token: Option<i64> = row.get(14)?;
    Ok(SpanRow {
        span_id: row.get(0)?,
        trace_id: row.get(1)?,
        parent_span_id: row.get(2)?,
        name: row.get(3)?,
        kind: row.get(4)?,
        status: row.get(5)?,
        input: raw(row, 6)?,
        output: raw(row, 7)?,
        model: row.get(8)?,
        token_usage: raw(row, 9)?,
        metadata: raw(row, 10)?.unwrap_or_else(empty),
        started_at: Micros(started_at),
        ended_at: ended_at.map(Micros),
        error: row.get(13)?,
        completion_start_time: first_token.map(Micros),
        model_parameters: raw(row, 15)?,
        cost: raw(row, 16)?,
        latency_ms: ended_at.map(|ended_at| millis(ended_at - started_at)),
        time_to_first_token_ms: first_token.map(|time| millis(time - started_at)),
    })
}

/// The trace with its spans.
pub(super) fn whole(connection: &Connection, trace_id: &str) -> Result<Option<StoredTrace>, StoreError> {
    let get = format!(
        "SELECT {ROW}, input, output, metadata FROM traces LEFT JOIN trace_content USING (id) WHERE trace_id = ?1"
    );
    let mut get = connection.prepare_cached(&get)?;
    let found = get
        .query_row([trace_id], |row| {
            Ok(StoredTrace {
                row: trace_row(row)?,
                project_id: Uuid::nil(),
                input: raw(row, 16)?,
                output: raw(row, 17)?,
                metadata: raw(row, 18)?.unwrap_or_else(empty),
                spans: Vec::new(),
            })
        })
        .optional()?;
    let Some(mut trace) = found else {
        return Ok(None);
    };
    let list =
        format!("SELECT {SPAN} {SPAN_FROM} WHERE traces.trace_id = ?1 ORDER BY spans.started_at, span_id");
    let mut list = connection.prepare_cached(&list)?;
    trace.spans = list.query_map([trace_id], span_row)?.collect::<Result<_, _>>()?;
    Ok(Some(trace))
}

/// JSON as it was stored.
pub(super) fn raw(row: &Row<'_>, at: usize) -> Result<Option<Raw>, rusqlite::Error> {
    let text: Option<String> = row.get(at)?;
    Ok(text.and_then(|text| RawValue::from_string(text).ok()))
}

fn empty() -> Raw {
    RawValue::from_string("{}".to_owned()).unwrap_or_default()
}

#[expect(clippy::cast_precision_loss, reason = "what is lost is less than a microsecond for three centuries")]
pub(super) fn millis(micros: i64) -> f64 {
    micros as f64 / 1e3
}
