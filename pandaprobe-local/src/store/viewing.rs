//! What the viewer reads beside lists.

use rusqlite::{OptionalExtension, params, params_from_iter};
use uuid::Uuid;

use super::{
    Store, StoreError, TraceFilter, TraceRow,
    read::{ROW, millis, raw, trace_row},
};
use crate::{UserRow, time::Micros, wire::Raw};

/// A span as a tree shows it: without what is long.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SpanLine {
    pub(crate) span_id: String,
    pub(crate) parent_span_id: Option<String>,
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) status: String,
    pub(crate) model: Option<String>,
    pub(crate) started_at: i64,
    pub(crate) ended_at: Option<i64>,
    pub(crate) first_token_at: Option<i64>,
    pub(crate) tokens: i64,
    pub(crate) cost: f64,
}

/// What began in one step of time.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Step {
    /// Which step, counted from the beginning of 1970.
    pub(crate) number: i64,
    pub(crate) traces: i64,
    pub(crate) errors: i64,
    /// The latencies that half, nine in ten and 99 in 100 stay under, in milliseconds.
    pub(crate) latency: Option<[f64; 3]>,
    pub(crate) prompt_tokens: i64,
    pub(crate) completion_tokens: i64,
    pub(crate) cost: f64,
}

/// What a model did in one step of time.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ModelStep {
    pub(crate) number: i64,
    pub(crate) model: String,
    pub(crate) tokens: i64,
    pub(crate) cost: f64,
}

/// A score as lists show it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Mark {
    pub(crate) trace_id: String,
    pub(crate) name: String,
    pub(crate) value: Option<String>,
}

impl Store {
    /// The trace as lists show it.
    pub(crate) fn trace_line(&self, trace_id: Uuid) -> Result<Option<TraceRow>, StoreError> {
        self.read(|connection| {
            let get = format!("SELECT {ROW} FROM traces WHERE trace_id = ?1");
            Ok(connection.prepare_cached(&get)?.query_row([trace_id.to_string()], trace_row).optional()?)
        })
    }

    /// The trace's own input, output and metadata.
    pub(crate) fn trace_content(&self, trace_id: Uuid) -> Result<Option<[Option<Raw>; 3]>, StoreError> {
        self.read(|connection| {
            let mut get = connection.prepare_cached(
                "SELECT input, output, metadata FROM trace_content JOIN traces USING (id) WHERE trace_id = ?1",
            )?;
            let content =
                get.query_row([trace_id.to_string()], |row| Ok([raw(row, 0)?, raw(row, 1)?, raw(row, 2)?]));
            Ok(content.optional()?)
        })
    }

    /// The spans of a trace as a tree shows them, in order of their start.
    pub(crate) fn span_lines(&self, trace_id: Uuid) -> Result<Vec<SpanLine>, StoreError> {
        self.read(|connection| {
            let mut list = connection.prepare_cached(
                "SELECT span_id, parent_span_id, spans.name, kind, spans.status, model, spans.started_at,
                        spans.ended_at, completion_start_time, spans.prompt_tokens + spans.completion_tokens,
                        spans.total_cost
                 FROM spans JOIN traces USING (id) WHERE trace_id = ?1 ORDER BY spans.started_at, span_id",
            )?;
            let lines = list.query_map([trace_id.to_string()], |row| {
                Ok(SpanLine {
                    span_id: row.get(0)?,
                    parent_span_id: row.get(1)?,
                    name: row.get(2)?,
                    kind: row.get(3)?,
                    status: row.get(4)?,
                    model: row.get(5)?,
                    started_at: row.get(6)?,
                    ended_at: row.get(7)?,
                    first_token_at: row.get(8)?,
                    tokens: row.get(9)?,
                    cost: row.get(10)?,
                })
            })?;
            Ok(lines.collect::<Result<_, _>>()?)
        })
    }

    /// The traces that changed after `after`, at most `limit`, and until when these are all.
    pub(crate) fn changed_since(&self, after: i64, limit: i64) -> Result<(Vec<TraceRow>, i64), StoreError> {
        self.read(|connection| {
            let list = format!(
                "SELECT {ROW}, changed_at FROM traces WHERE changed_at > ?1 ORDER BY changed_at LIMIT ?2"
            );
            let mut list = connection.prepare_cached(&list)?;
            let mut until = after;
            let mut rows = Vec::new();
            let mut found = list.query(params![after, limit])?;
            while let Some(row) = found.next()? {
                rows.push(trace_row(row)?);
                until = row.get("changed_at")?;
            }
            Ok((rows, until))
        })
    }

    /// The time of the last change.
    pub(crate) fn last_change(&self) -> Result<i64, StoreError> {
        self.read(|connection| {
            Ok(connection
                .query_row("SELECT coalesce(max(changed_at), 0) FROM traces", [], |row| row.get(0))?)
        })
    }

    /// When the first and the last of the traces began.
    pub(crate) fn reach(&self, filter: &TraceFilter) -> Result<Option<(i64, i64)>, StoreError> {
        let all = filter.to_where();
        self.read(|connection| {
            let ends = format!("SELECT min(started_at), max(started_at) FROM traces WHERE {}", all.sql());
            let ends = connection.prepare(&ends)?.query_row(&*all.values(), |row| {
                Ok(row.get::<_, Option<i64>>(0)?.zip(row.get::<_, Option<i64>>(1)?))
            })?;
            Ok(ends)
        })
    }

    /// What the traces add up to in each step of that many microseconds. Steps without a trace are not there.
    pub(crate) fn activity(&self, filter: &TraceFilter, length: i64) -> Result<Vec<Step>, StoreError> {
        let all = filter.to_where();
        let length = length.max(1);
        self.read(|connection| {
            let list = format!(
                "SELECT traces.started_at / {length} AS number, status = 'ERROR', latency, prompt_tokens,
                        completion_tokens, total_cost
                 FROM traces WHERE {} ORDER BY number, latency",
                all.sql()
            );
            let mut list = connection.prepare(&list)?;
            let mut rows = list.query(&*all.values())?;
            let (mut steps, mut latencies): (Vec<Step>, _) = (Vec::new(), Vec::new());
            while let Some(row) = rows.next()? {
                let number = row.get(0)?;
                if steps.last().is_none_or(|last| last.number != number) {
                    spread(steps.last_mut(), &mut latencies);
                    steps.push(Step { number, ..Step::default() });
                }
                if let Some(last) = steps.last_mut() {
                    last.traces += 1;
                    last.errors += row.get::<_, i64>(1)?;
                    last.prompt_tokens += row.get::<_, i64>(3)?;
                    last.completion_tokens += row.get::<_, i64>(4)?;
                    last.cost += row.get::<_, f64>(5)?;
                }
                latencies.extend(row.get::<_, Option<i64>>(2)?.map(millis));
            }
            spread(steps.last_mut(), &mut latencies);
            Ok(steps)
        })
    }

    /// What each model took in each step of that many microseconds.
    pub(crate) fn model_activity(
        &self,
        filter: &TraceFilter,
        length: i64,
    ) -> Result<Vec<ModelStep>, StoreError> {
        let all = filter.to_where();
        let length = length.max(1);
        self.read(|connection| {
            let list = format!(
                "SELECT traces.started_at / {length} AS number, model,
                        sum(spans.prompt_tokens + spans.completion_tokens), sum(spans.total_cost)
                 FROM spans JOIN traces USING (id) WHERE model IS NOT NULL AND {} GROUP BY number, model",
                all.sql()
            );
            let mut list = connection.prepare(&list)?;
            let rows = list.query_map(&*all.values(), |row| {
                Ok(ModelStep {
                    number: row.get(0)?,
                    model: row.get(1)?,
                    tokens: row.get(2)?,
                    cost: row.get(3)?,
                })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// The users with most traces.
    pub(crate) fn busiest_users(&self, filter: &TraceFilter, limit: i64) -> Result<Vec<UserRow>, StoreError> {
        let mut all = filter.to_where();
        all.and_plain("user_id IS NOT NULL");
        self.read(|connection| {
            let list = format!(
                "SELECT user_id, count(*), min(started_at), max(started_at), sum(status = 'ERROR'),
                        count(DISTINCT session_id), sum(prompt_tokens + completion_tokens), sum(total_cost)
                 FROM traces WHERE {} GROUP BY user_id ORDER BY count(*) DESC, user_id LIMIT {limit}",
                all.sql()
            );
            let mut list = connection.prepare(&list)?;
            let rows = list.query_map(&*all.values(), |row| {
                Ok(UserRow {
                    user_id: row.get(0)?,
                    trace_count: row.get(1)?,
                    first_seen: Micros(row.get(2)?),
                    last_seen: Micros(row.get(3)?),
                    error_count: row.get(4)?,
                    session_count: row.get(5)?,
                    total_tokens: row.get(6)?,
                    total_cost: row.get(7)?,
                })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// The last score of each name of each of these traces.
    pub(crate) fn marks(&self, trace_ids: &[String]) -> Result<Vec<Mark>, StoreError> {
        if trace_ids.is_empty() {
            return Ok(Vec::new());
        }
        self.read(|connection| {
            let places = vec!["?"; trace_ids.len()].join(", ");
            let list = format!(
                "SELECT trace_id, name, value FROM scores WHERE id IN (
                     SELECT max(id) FROM scores WHERE trace_id IN ({places}) GROUP BY trace_id, name)
                 ORDER BY name"
            );
            let mut list = connection.prepare_cached(&list)?;
            let rows = list.query_map(params_from_iter(trace_ids), |row| {
                Ok(Mark { trace_id: row.get(0)?, name: row.get(1)?, value: row.get(2)? })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }
}

/// Fills in the latencies of a step, which are in order.
fn spread(step: Option<&mut Step>, latencies: &mut Vec<f64>) {
    if let (Some(step), Some(last)) = (step, latencies.len().checked_sub(1)) {
        let at =
            |hundredths: usize| latencies.get((last * hundredths + 50) / 100).copied().unwrap_or_default();
        step.latency = Some([at(50), at(90), at(99)]);
    }
    latencies.clear();
}
