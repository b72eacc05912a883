//! What changes the store.

use axum::{
    body::Bytes,
    extract::{Path, State},
    http::StatusCode,
    response::IntoResponse,
};
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

use super::{
    Shared,
    answer::{self, Answer, Failure},
    blocking,
    query::{Project, id},
};
use crate::{
    StoredTrace,
    wire::{self, MAX_SPANS, Refused, SpanIn, TraceIn},
};

/// A body, as bodies are refused: what is no JSON is one thing, what is other JSON another.
pub(super) fn body<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Answer<T> {
    wire::parse(bytes).map_err(|error| match serde_json::from_slice::<&serde_json::value::RawValue>(bytes) {
        Ok(_) => error.into(),
        Err(_) => Failure::Unreadable("There was an error parsing the body".to_owned()),
    })
}

pub(super) async fn post_trace(
    State(shared): State<Shared>,
    project: Project,
    bytes: Bytes,
) -> Answer<impl IntoResponse> {
    let trace: TraceIn = body(&bytes)?;
    let trace_id = trace.trace_id;
    if !shared.store.post_trace(project.or_default(), trace).await? {
        return Err(Failure::Conflict("the trace is another project's"));
    }
    let accepted = json!({"trace_id": trace_id, "task_id": Uuid::new_v4()});
    Ok((StatusCode::ACCEPTED, answer::json(accepted)))
}

pub(super) async fn post_spans(
    State(shared): State<Shared>,
    project: Project,
    Path(trace_id): Path<String>,
    bytes: Bytes,
) -> Answer<impl IntoResponse> {
    let trace_id = id(&trace_id)?;
    let spans: Vec<SpanIn> = body(&bytes)?;
    if spans.is_empty() || spans.len() > MAX_SPANS {
        let message = format!("List should have 1 to {MAX_SPANS} items, not {}", spans.len());
        return Err(Refused { field: "body".to_owned(), message }.into());
    }
    let span_ids: Vec<Uuid> = spans.iter().map(|span| span.span_id).collect();
    if !shared.store.post_spans(project.asked(), trace_id, spans).await? {
        return Err(Failure::NotFound("Trace"));
    }
    Ok((StatusCode::CREATED, answer::json(json!({"span_ids": span_ids}))))
}

async fn stored(shared: Shared, trace_id: Uuid) -> Answer<StoredTrace> {
    blocking(move || shared.store.trace(trace_id)).await?.ok_or(Failure::NotFound("Trace"))
}

pub(super) async fn patch_trace(
    State(shared): State<Shared>,
    project: Project,
    Path(trace_id): Path<String>,
    bytes: Bytes,
) -> Answer<impl IntoResponse> {
    let trace_id = id(&trace_id)?;
    if !shared.store.patch_trace(project.asked(), trace_id, body(&bytes)?).await? {
        return Err(Failure::NotFound("Trace"));
    }
    Ok(answer::json(stored(shared, trace_id).await?))
}

pub(super) async fn patch_span(
    State(shared): State<Shared>,
    project: Project,
    Path((trace_id, span_id)): Path<(String, String)>,
    bytes: Bytes,
) -> Answer<impl IntoResponse> {
    let (trace_id, span_id) = (id(&trace_id)?, id(&span_id)?);
    if !shared.store.patch_span(project.asked(), (trace_id, span_id), body(&bytes)?).await? {
        return Err(Failure::NotFound("Span"));
    }
    let span = blocking(move || shared.store.span(trace_id, span_id)).await?;
    Ok(answer::json(span.ok_or(Failure::NotFound("Span"))?))
}

pub(super) async fn delete_trace(
    State(shared): State<Shared>,
    project: Project,
    Path(trace_id): Path<String>,
) -> Answer<impl IntoResponse> {
    match shared.store.delete_traces(project.asked(), vec![id(&trace_id)?]).await? {
        0 => Err(Failure::NotFound("Trace")),
        _ => Ok(StatusCode::NO_CONTENT),
    }
}

pub(super) async fn delete_session(
    State(shared): State<Shared>,
    project: Project,
    Path(session_id): Path<String>,
) -> Answer<impl IntoResponse> {
    match shared.store.delete_session(project.asked(), session_id).await? {
        0 => Err(Failure::NotFound("Session")),
        deleted => Ok(answer::json(json!({"deleted": deleted}))),
    }
}

#[derive(Deserialize)]
struct Batch {
    trace_ids: Vec<Uuid>,
    #[serde(default)]
    add_tags: Vec<String>,
    #[serde(default)]
    remove_tags: Vec<String>,
}

impl Batch {
    fn parse(bytes: &[u8]) -> Answer<Self> {
        let batch: Self = body(bytes)?;
        if batch.trace_ids.is_empty() || batch.trace_ids.len() > MAX_SPANS {
            let message = format!("List should have 1 to {MAX_SPANS} items");
            return Err(Refused { field: "trace_ids".to_owned(), message }.into());
        }
        Ok(batch)
    }
}

pub(super) async fn delete_batch(
    State(shared): State<Shared>,
    project: Project,
    bytes: Bytes,
) -> Answer<impl IntoResponse> {
    let trace_ids = Batch::parse(&bytes)?.trace_ids;
    let deleted = shared.store.delete_traces(project.asked(), trace_ids).await?;
    Ok(answer::json(json!({"deleted": deleted})))
}

pub(super) async fn tag_batch(
    State(shared): State<Shared>,
    project: Project,
    bytes: Bytes,
) -> Answer<impl IntoResponse> {
    let Batch { trace_ids, add_tags, remove_tags } = Batch::parse(&bytes)?;
    let updated = shared.store.change_tags(project.asked(), trace_ids, add_tags, remove_tags).await?;
    Ok(answer::json(json!({"updated": updated})))
}
