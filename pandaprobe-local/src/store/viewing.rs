//! What the viewer reads beside lists.

use rusqlite::{OptionalExtension, params, params_from_iter};
use uuid::Uuid;

use super::{
    Store, StoreError, TraceFilter, TraceRow,
    analytics::cost,
    read::{ROW, raw, trace_row},
    scores::IS_LATEST,
    sessions::{USER, user_row},
};
use crate::{UserRow, wire::Raw};

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

/// A recorded value, if it is not too long to be read.
#[derive(Debug)]
pub(crate) enum Bounded {
    Whole(Raw),
    /// So many bytes.
    Long(usize),
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

    /// The trace's own input, output and metadata, each if it has no more than `most` bytes.
    pub(crate) fn bounded_content(
        &self,
        trace_id: Uuid,
        most: i64,
    ) -> Result<Option<[Option<Bounded>; 3]>, StoreError> {
        self.read(|connection| {
            // The length is in the head of the row: what is too long is not even touched.
            let column =
                |name| format!("CASE WHEN octet_length({name}) <= ?2 THEN {name} END, octet_length({name})");
            let get = format!(
                "SELECT {} FROM trace_content JOIN traces USING (id) WHERE trace_id = ?1",
                ["input", "output", "metadata"].map(column).join(", ")
            );
            let mut get = connection.prepare_cached(&get)?;
            let content = get.query_row(params![trace_id.to_string(), most], |row| {
                let value = |at: usize| -> Result<_, rusqlite::Error> {
                    let size = row.get::<_, Option<i64>>(at + 1)?.filter(|size| *size > most);
                    let long = size.map(|size| Bounded::Long(usize::try_from(size).unwrap_or(usize::MAX)));
                    Ok(raw(row, at)?.map(Bounded::Whole).or(long))
                };
                Ok([value(0)?, value(2)?, value(4)?])
            });
            Ok(content.optional()?)
        })
    }

    /// The number of the trace's last change, which only grows; 0 if there is no such trace.
    pub(crate) fn trace_version(&self, trace_id: Uuid) -> Result<i64, StoreError> {
        self.read(|connection| {
            let mut get = connection.prepare_cached("SELECT changed_at FROM traces WHERE trace_id = ?1")?;
            Ok(get.query_row([trace_id.to_string()], |row| row.get(0)).optional()?.unwrap_or_default())
        })
    }

    /// The spans of a trace as a tree shows them, in order of their start.
    pub(crate) fn span_lines(&self, trace_id: Uuid) -> Result<Vec<SpanLine>, StoreError> {
        self.read(|connection| {
            let mut list = connection.prepare_cached(
                "SELECT span_id, parent_span_id, spans.name, kind, spans.status, model, spans.started_at,
                        spans.ended_at, completion_start_time,
                        CAST(spans.prompt_tokens + spans.completion_tokens AS INTEGER), spans.total_cost
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
                    cost: cost(row, 10)?,
                })
            })?;
            Ok(lines.collect::<Result<_, _>>()?)
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
                        CAST(total(spans.prompt_tokens + spans.completion_tokens) AS INTEGER),
                        total(spans.total_cost)
                 FROM spans JOIN traces USING (id) WHERE model IS NOT NULL AND {} GROUP BY number, model",
                all.sql()
            );
            let mut list = connection.prepare(&list)?;
            let rows = list.query_map(&*all.values(), |row| {
                Ok(ModelStep {
                    number: row.get(0)?,
                    model: row.get(1)?,
                    tokens: row.get(2)?,
                    cost: cost(row, 3)?,
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
                "SELECT {USER} FROM traces WHERE {} GROUP BY project, user_id ORDER BY count(*) DESC, user_id LIMIT {limit}",
                all.sql()
            );
            let mut list = connection.prepare(&list)?;
            Ok(list.query_map(&*all.values(), user_row)?.collect::<Result<_, _>>()?)
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
                "SELECT trace_id, name, value FROM scores WHERE trace_id IN ({places}) AND {IS_LATEST} ORDER BY name"
            );
            let mut list = connection.prepare_cached(&list)?;
            let rows = list.query_map(params_from_iter(trace_ids), |row| {
                Ok(Mark { trace_id: row.get(0)?, name: row.get(1)?, value: row.get(2)? })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use crate::{Store, TraceFilter};

    #[test]
    fn sums_that_are_too_large_are_read() {
        let folder = std::env::temp_dir().join(format!("pandaprobe-viewing-{}", Uuid::new_v4()));
        let store = Store::open(folder.join("traces.db")).unwrap();
        let [one, other] = [Uuid::new_v4(), Uuid::new_v4()];
        let (most, endless) = (i64::MAX, "9e999");
        rusqlite::Connection::open(store.path())
            .unwrap()
            .execute_batch(&format!(
                "INSERT INTO traces (id, trace_id, project, name, status, started_at, user_id, latency, prompt_tokens,
                                     completion_tokens, total_cost, stored_at, changed_at)
                 VALUES (1, '{one}', '', '', 'OK', 0, 'u', {most}, {most}, {most}, {endless}, 0, 1),
                        (2, '{other}', '', '', 'OK', 0, 'u', {most}, {most}, {most}, -{endless}, 0, 2);
                 INSERT INTO spans (span_id, id, name, kind, status, model, started_at, prompt_tokens,
                                    completion_tokens, total_cost)
                 VALUES ('a', 1, '', 'LLM', 'OK', 'm', 0, {most}, {most}, {endless}),
                        ('b', 2, '', 'LLM', 'OK', 'm', 0, {most}, {most}, -{endless});"
            ))
            .unwrap();
        let all = TraceFilter::default();
        let lines = store.span_lines(one).unwrap();
        assert_eq!((lines[0].tokens, lines[0].cost), (most, 0.0));
        let steps = store.activity(&all, 1, 0).unwrap();
        assert_eq!((steps[0].traces, steps[0].prompt_tokens, steps[0].cost), (2, most, 0.0));
        let models = store.model_activity(&all, 1).unwrap();
        assert_eq!((models[0].tokens, models[0].cost), (most, 0.0));
        let users = store.busiest_users(&all, 1).unwrap();
        assert_eq!((users[0].total_tokens, users[0].total_cost), (most, 0.0));
        std::fs::remove_dir_all(folder).unwrap();
    }
}
