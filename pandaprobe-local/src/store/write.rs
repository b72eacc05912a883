//! What changes traces and spans. Each function is one change: it is in the file as a whole, or not at all.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, OptionalExtension, params};
use serde::Serialize;
use uuid::Uuid;

use super::{Store, StoreError, words};
use crate::{
    time::Micros,
    wire::{Raw, SpanIn, SpanPatch, TraceIn, TracePatch},
};

impl Store {
    /// Stores a trace, or what is new of one that is stored: what is absent stays, metadata and tags are added, spans that are
    /// not mentioned stay. `false` if the trace is another project's, and stays as it is.
    ///
    /// # Errors
    ///
    /// If the store cannot be written.
    pub async fn post_trace(&self, project: String, trace: TraceIn) -> Result<bool, StoreError> {
        self.change(move |connection| post_trace(connection, &project, &trace)).await
    }

    /// Adds spans to a trace, or what is new of those that are stored; `false` if the project, or without one the store, has no
    /// such trace.
    ///
    /// # Errors
    ///
    /// If the store cannot be written.
    pub async fn post_spans(
        &self,
        project: Option<String>,
        trace_id: Uuid,
        spans: Vec<SpanIn>,
    ) -> Result<bool, StoreError> {
        self.change(move |connection| post_spans(connection, project.as_deref(), trace_id, &spans)).await
    }

    /// Changes a trace; `false` if the project, or without one the store, has none.
    ///
    /// # Errors
    ///
    /// If the store cannot be written.
    pub async fn patch_trace(
        &self,
        project: Option<String>,
        trace_id: Uuid,
        patch: TracePatch,
    ) -> Result<bool, StoreError> {
        self.change(move |connection| patch_trace(connection, project.as_deref(), trace_id, &patch)).await
    }

    /// Changes a span of a trace; `false` if the project, or without one the store, has none.
    ///
    /// # Errors
    ///
    /// If the store cannot be written.
    pub async fn patch_span(
        &self,
        project: Option<String>,
        (trace_id, span_id): (Uuid, Uuid),
        patch: SpanPatch,
    ) -> Result<bool, StoreError> {
        self.change(move |connection| patch_span(connection, project.as_deref(), (trace_id, span_id), &patch))
            .await
    }

    /// Removes traces with their spans and scores, and says how many of them the project, or without one the store, had.
    ///
    /// # Errors
    ///
    /// If the store cannot be written.
    pub async fn delete_traces(
        &self,
        project: Option<String>,
        trace_ids: Vec<Uuid>,
    ) -> Result<usize, StoreError> {
        self.change(move |connection| {
            let mut deleted = 0;
            for trace_id in trace_ids {
                if let Some(id) = find(connection, project.as_deref(), trace_id)? {
                    remove(connection, id)?;
                    deleted += 1;
                }
            }
            Ok(deleted)
        })
        .await
    }

    /// Adds and removes tags of traces, and says how many of them the project, or without one the store, has.
    ///
    /// # Errors
    ///
    /// If the store cannot be written.
    pub async fn change_tags(
        &self,
        project: Option<String>,
        trace_ids: Vec<Uuid>,
        add: Vec<String>,
        remove: Vec<String>,
    ) -> Result<usize, StoreError> {
        self.change(move |connection| {
            let mut changed = 0;
            for trace_id in trace_ids {
                if let Some(id) = find(connection, project.as_deref(), trace_id)? {
                    let mut tags = tags(connection, id)?;
                    tags.retain(|tag| !remove.contains(tag));
                    tags.extend(add.iter().cloned());
                    set_tags(connection, id, &tags)?;
                    touch(connection, id)?;
                    changed += 1;
                }
            }
            Ok(changed)
        })
        .await
    }
}

/// [`Store::post_trace`].
pub(crate) fn post_trace(
    connection: &Connection,
    project: &str,
    trace: &TraceIn,
) -> Result<bool, StoreError> {
    let now = Micros::now();
    let trace_id = trace.trace_id.to_string();
    let id: Option<i64> = connection
        .prepare_cached(
            "INSERT INTO traces (trace_id, project, name, status, started_at, ended_at, session_id, user_id,
                                 environment, release, stored_at, changed_at)
             VALUES (?1, ?2, ?3, coalesce(?4, 'COMPLETED'), ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?11)
             ON CONFLICT (trace_id) DO UPDATE SET
                 name = excluded.name,
                 status = coalesce(?4, status),
                 started_at = excluded.started_at,
                 ended_at = coalesce(excluded.ended_at, ended_at),
                 session_id = coalesce(excluded.session_id, session_id),
                 user_id = coalesce(excluded.user_id, user_id),
                 environment = coalesce(excluded.environment, environment),
                 release = coalesce(excluded.release, release)
             WHERE traces.project = excluded.project
             RETURNING id",
        )?
        .query_row(
            params![
                trace_id,
                project,
                trace.name,
                trace.status,
                trace.started_at.0,
                trace.ended_at.map(|time| time.0),
                trace.session_id,
                trace.user_id,
                trace.environment,
                trace.release,
                now.0,
            ],
            |row| row.get(0),
        )
        .optional()?;
    let Some(id) = id else {
        return Ok(false);
    };
    let metadata = merged(stored_metadata(connection, "trace_content", "id", id)?, &trace.metadata)?;
    connection
        .prepare_cached(
            "INSERT INTO trace_content (id, input, output, metadata) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (id) DO UPDATE SET
                 input = coalesce(excluded.input, input),
                 output = coalesce(excluded.output, output),
                 metadata = excluded.metadata",
        )?
        .execute(params![id, raw(trace.input.as_ref()), raw(trace.output.as_ref()), metadata])?;
    if !trace.tags.is_empty() {
        let mut tags = tags(connection, id)?;
        tags.extend(trace.tags.iter().cloned());
        set_tags(connection, id, &tags)?;
    }
    for span in &trace.spans {
        post_span(connection, id, span)?;
    }
    refresh(connection, id)?;
    Ok(true)
}

/// [`Store::post_spans`].
pub(crate) fn post_spans(
    connection: &Connection,
    project: Option<&str>,
    trace_id: Uuid,
    spans: &[SpanIn],
) -> Result<bool, StoreError> {
    let Some(id) = find(connection, project, trace_id)? else {
        return Ok(false);
    };
    for span in spans {
        post_span(connection, id, span)?;
    }
    refresh(connection, id)?;
    Ok(true)
}

fn post_span(connection: &Connection, id: i64, span: &SpanIn) -> Result<(), StoreError> {
    let (prompt, completion) = tokens(span.token_usage.as_ref());
    let sid: i64 = connection
        .prepare_cached(
            "INSERT INTO spans (span_id, id, parent_span_id, name, kind, status, model, started_at, ended_at,
                                completion_start_time, error, prompt_tokens, completion_tokens, total_cost)
             VALUES (?1, ?2, ?3, ?4, coalesce(?5, 'OTHER'), coalesce(?6, 'UNSET'), ?7, ?8, ?9, ?10, ?11,
                     coalesce(?12, 0), coalesce(?13, 0), coalesce(?14, 0))
             ON CONFLICT (id, span_id) DO UPDATE SET
                 parent_span_id = coalesce(excluded.parent_span_id, parent_span_id),
                 name = excluded.name,
                 kind = coalesce(?5, kind),
                 status = coalesce(?6, status),
                 model = coalesce(excluded.model, model),
                 started_at = excluded.started_at,
                 ended_at = coalesce(excluded.ended_at, ended_at),
                 completion_start_time = coalesce(excluded.completion_start_time, completion_start_time),
                 error = coalesce(excluded.error, error),
                 prompt_tokens = coalesce(?12, prompt_tokens),
                 completion_tokens = coalesce(?13, completion_tokens),
                 total_cost = coalesce(?14, total_cost)
             RETURNING sid",
        )?
        .query_row(
            params![
                span.span_id.to_string(),
                id,
                span.parent_span_id.map(|id| id.to_string()),
                span.name,
                span.kind,
                span.status,
                span.model,
                span.started_at.0,
                span.ended_at.map(|time| time.0),
                span.completion_start_time.map(|time| time.0),
                span.error,
                prompt,
                completion,
                span.cost.as_ref().map(total_cost),
            ],
            |row| row.get(0),
        )?;
    let metadata = merged(stored_metadata(connection, "span_content", "sid", sid)?, &span.metadata)?;
    connection
        .prepare_cached(
            "INSERT INTO span_content (sid, input, output, metadata, token_usage, model_parameters, cost)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT (sid) DO UPDATE SET
                 input = coalesce(excluded.input, input),
                 output = coalesce(excluded.output, output),
                 metadata = excluded.metadata,
                 token_usage = coalesce(excluded.token_usage, token_usage),
                 model_parameters = coalesce(excluded.model_parameters, model_parameters),
                 cost = coalesce(excluded.cost, cost)",
        )?
        .execute(params![
            sid,
            raw(span.input.as_ref()),
            raw(span.output.as_ref()),
            metadata,
            json(span.token_usage.as_ref())?,
            json(span.model_parameters.as_ref())?,
            json(span.cost.as_ref())?,
        ])?;
    weigh_span(connection, sid)
}

/// [`Store::patch_trace`].
pub(crate) fn patch_trace(
    connection: &Connection,
    project: Option<&str>,
    trace_id: Uuid,
    patch: &TracePatch,
) -> Result<bool, StoreError> {
    let Some(id) = find(connection, project, trace_id)? else {
        return Ok(false);
    };
    let text = |column: &str, value: &Option<Option<String>>| match value {
        Some(value) => set(connection, "traces", column, id, value),
        None => Ok(()),
    };
    text("name", &patch.name.clone().map(Some))?;
    text("status", &patch.status.clone().map(Some))?;
    text("session_id", &patch.session_id)?;
    text("user_id", &patch.user_id)?;
    text("environment", &patch.environment)?;
    text("release", &patch.release)?;
    if let Some(ended_at) = &patch.ended_at {
        set(connection, "traces", "ended_at", id, &ended_at.map(|time| time.0))?;
    }
    for (column, value) in [("input", &patch.input), ("output", &patch.output)] {
        if let Some(value) = value {
            set(connection, "trace_content", column, id, &raw(value.as_ref()))?;
        }
    }
    if let Some(more) = &patch.metadata {
        let metadata = merged(stored_metadata(connection, "trace_content", "id", id)?, more)?;
        set(connection, "trace_content", "metadata", id, &metadata)?;
    }
    if let Some(tags) = &patch.tags {
        set_tags(connection, id, &tags.iter().cloned().collect())?;
    }
    refresh(connection, id)?;
    Ok(true)
}

/// [`Store::patch_span`].
fn patch_span(
    connection: &Connection,
    project: Option<&str>,
    (trace_id, span_id): (Uuid, Uuid),
    patch: &SpanPatch,
) -> Result<bool, StoreError> {
    let Some(id) = find(connection, project, trace_id)? else {
        return Ok(false);
    };
    let sid: Option<i64> = connection
        .prepare_cached("SELECT sid FROM spans WHERE span_id = ?1 AND id = ?2")?
        .query_row(params![span_id.to_string(), id], |row| row.get(0))
        .optional()?;
    let Some(sid) = sid else {
        return Ok(false);
    };
    let text = |column: &str, value: &Option<Option<String>>| match value {
        Some(value) => set(connection, "spans", column, sid, value),
        None => Ok(()),
    };
    text("name", &patch.name.clone().map(Some))?;
    text("kind", &patch.kind.clone().map(Some))?;
    text("status", &patch.status.clone().map(Some))?;
    text("model", &patch.model)?;
    text("error", &patch.error)?;
    for (column, value) in
        [("ended_at", &patch.ended_at), ("completion_start_time", &patch.completion_start_time)]
    {
        if let Some(time) = value {
            set(connection, "spans", column, sid, &time.map(|time| time.0))?;
        }
    }
    for (column, value) in [("input", &patch.input), ("output", &patch.output)] {
        if let Some(value) = value {
            set(connection, "span_content", column, sid, &raw(value.as_ref()))?;
        }
    }
    if let Some(usage) = &patch.token_usage {
        let (prompt, completion) = tokens(usage.as_ref());
        set(connection, "spans", "prompt_tokens", sid, &prompt.unwrap_or(0))?;
        set(connection, "spans", "completion_tokens", sid, &completion.unwrap_or(0))?;
        set(connection, "span_content", "token_usage", sid, &json(usage.as_ref())?)?;
    }
    if let Some(cost) = &patch.cost {
        let total = cost.as_ref().map_or(0.0, total_cost);
        set(connection, "spans", "total_cost", sid, &total)?;
        set(connection, "span_content", "cost", sid, &json(cost.as_ref())?)?;
    }
    if let Some(parameters) = &patch.model_parameters {
        set(connection, "span_content", "model_parameters", sid, &json(parameters.as_ref())?)?;
    }
    if let Some(more) = &patch.metadata {
        let metadata = merged(stored_metadata(connection, "span_content", "sid", sid)?, more)?;
        set(connection, "span_content", "metadata", sid, &metadata)?;
    }
    weigh_span(connection, sid)?;
    refresh(connection, id)?;
    Ok(true)
}

/// Removes a trace with its spans and scores.
pub(super) fn remove(connection: &Connection, id: i64) -> Result<(), StoreError> {
    connection.prepare_cached("DELETE FROM words WHERE rowid = ?1")?.execute([id])?;
    connection
        .prepare_cached("DELETE FROM scores WHERE trace_id = (SELECT trace_id FROM traces WHERE id = ?1)")?
        .execute([id])?;
    connection.prepare_cached("DELETE FROM traces WHERE id = ?1")?.execute([id])?;
    Ok(())
}

/// The store's own number of a trace, if it is the project's. Without a project, of any.
pub(super) fn find(
    connection: &Connection,
    project: Option<&str>,
    trace_id: Uuid,
) -> Result<Option<i64>, StoreError> {
    let mut find = connection
        .prepare_cached("SELECT id FROM traces WHERE trace_id = ?1 AND project = coalesce(?2, project)")?;
    Ok(find.query_row(params![trace_id.to_string(), project], |row| row.get(0)).optional()?)
}

/// Adds up what the spans of a trace say, and what is searched of it.
fn refresh(connection: &Connection, id: i64) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "UPDATE traces SET
                 latency = ended_at - started_at,
                 (span_count, error_count, prompt_tokens, completion_tokens, total_cost) = (
                     SELECT count(*), count(*) FILTER (WHERE status = 'ERROR'), coalesce(sum(prompt_tokens), 0),
                            coalesce(sum(completion_tokens), 0), coalesce(sum(total_cost), 0)
                     FROM spans WHERE spans.id = traces.id)
             WHERE id = ?1",
        )?
        .execute([id])?;
    touch(connection, id)?;
    words::index(connection, id)
}

/// Marks a trace as changed now, and notes how much there is of it, with its spans and scores.
pub(super) fn touch(connection: &Connection, id: i64) -> Result<(), StoreError> {
    // Later than every other change, so that who has seen all until one sees this one.
    connection
        .prepare_cached(
            "UPDATE traces SET
                 changed_at = max(?2, 1 + (SELECT max(changed_at) FROM traces)),
                 bytes = 400 + octet_length(name) + octet_length(tags) + coalesce((
                     SELECT coalesce(octet_length(input), 0) + coalesce(octet_length(output), 0) + octet_length(metadata)
                     FROM trace_content WHERE trace_content.id = traces.id), 0) + coalesce((
                     SELECT sum(bytes) FROM spans WHERE spans.id = traces.id), 0) + coalesce((
                     SELECT sum(300 + octet_length(name) + coalesce(octet_length(value), 0)
                                + coalesce(octet_length(reason), 0) + octet_length(metadata))
                     FROM scores WHERE scores.trace_id = traces.trace_id), 0)
             WHERE id = ?1",
        )?
        .execute(params![id, Micros::now().0])?;
    Ok(())
}

/// Notes how much there is of a span.
fn weigh_span(connection: &Connection, sid: i64) -> Result<(), StoreError> {
    let columns = ["input", "output", "metadata", "token_usage", "model_parameters", "cost", "error"];
    let lengths = columns.map(|column| format!("coalesce(octet_length({column}), 0)")).join(" + ");
    let weigh = format!(
        "UPDATE spans SET bytes = 600 + octet_length(name) + (
             SELECT {lengths} FROM span_content WHERE span_content.sid = spans.sid)
         WHERE sid = ?1"
    );
    connection.prepare_cached(&weigh)?.execute([sid])?;
    Ok(())
}

fn tags(connection: &Connection, id: i64) -> Result<BTreeSet<String>, StoreError> {
    let mut tags = connection.prepare_cached("SELECT tag FROM trace_tags WHERE id = ?1")?;
    Ok(tags.query_map([id], |row| row.get(0))?.collect::<Result<_, _>>()?)
}

fn set_tags(connection: &Connection, id: i64, tags: &BTreeSet<String>) -> Result<(), StoreError> {
    connection.prepare_cached("DELETE FROM trace_tags WHERE id = ?1")?.execute([id])?;
    let mut add = connection.prepare_cached("INSERT INTO trace_tags (tag, id) VALUES (?1, ?2)")?;
    for tag in tags {
        add.execute(params![tag, id])?;
    }
    set(connection, "traces", "tags", id, &serde_json::to_string(tags)?)
}

/// Sets a column, whose name is one of this module's own.
fn set(
    connection: &Connection,
    table: &str,
    column: &str,
    key: i64,
    value: &dyn rusqlite::ToSql,
) -> Result<(), StoreError> {
    let id = if table.starts_with("span") { "sid" } else { "id" };
    let set = format!("UPDATE {table} SET {column} = ?1 WHERE {id} = ?2");
    connection.prepare_cached(&set)?.execute(params![value, key])?;
    Ok(())
}

fn stored_metadata(
    connection: &Connection,
    table: &str,
    id: &str,
    key: i64,
) -> Result<Option<String>, StoreError> {
    let get = format!("SELECT metadata FROM {table} WHERE {id} = ?1");
    Ok(connection.prepare_cached(&get)?.query_row([key], |row| row.get(0)).optional()?)
}

/// What is stored, with `more` in the place of what has the same key.
fn merged(stored: Option<String>, more: &BTreeMap<String, Raw>) -> Result<String, StoreError> {
    let stored = stored.filter(|stored| stored != "{}");
    match stored {
        None => Ok(serde_json::to_string(more)?),
        Some(stored) if more.is_empty() => Ok(stored),
        Some(stored) => {
            let mut all: BTreeMap<String, Raw> = serde_json::from_str(&stored)?;
            all.extend(more.iter().map(|(key, value)| (key.clone(), value.clone())));
            Ok(serde_json::to_string(&all)?)
        }
    }
}

fn raw(value: Option<&Raw>) -> Option<&str> {
    value.map(|value| value.get())
}

fn json(value: Option<&impl Serialize>) -> Result<Option<String>, StoreError> {
    Ok(value.map(serde_json::to_string).transpose()?)
}

/// The tokens of prompt and completion. What is no whole number is not counted.
fn tokens(usage: Option<&BTreeMap<String, Raw>>) -> (Option<u32>, Option<u32>) {
    let count = |name: &str| usage?.get(name)?.get().parse().ok();
    let counted = |name: &str| usage.map(|_| count(name).unwrap_or(0));
    (counted("prompt_tokens"), counted("completion_tokens"))
}

/// The total of a cost. None, and one that no sum of which could be counted on, is not counted.
fn total_cost(cost: &BTreeMap<String, f64>) -> f64 {
    cost.get("total").copied().filter(|total| total.abs() <= 1e12).unwrap_or(0.0)
}
