//! What is read from the store.

use axum::{
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use super::{
    Shared,
    answer::{self, Answer, Failure},
    blocking,
    query::{Asked, Project, id},
};
use crate::{Granularity, Order, SessionFilter, SessionRow, SortBy, StoredTrace, TraceFilter, wire};

/// Which traces an address means.
pub(crate) fn filter(asked: &Asked, project: Option<String>) -> Answer<TraceFilter> {
    Ok(TraceFilter {
        project,
        session_id: asked.text("session_id"),
        user_id: asked.text("user_id"),
        status: asked.one_of("status", wire::TRACE_STATUSES)?,
        tags: asked.all("tags"),
        name: asked.text("name"),
        started_after: asked.time("started_after")?,
        started_before: asked.time("started_before")?,
        ..TraceFilter::default()
    })
}

pub(super) async fn traces(
    State(shared): State<Shared>,
    project: Project,
    asked: Asked,
) -> Answer<impl IntoResponse> {
    let filter = filter(&asked, project.asked())?;
    let sort = asked.word("sort_by")?.unwrap_or(SortBy::StartedAt);
    let order = asked.word("sort_order")?.unwrap_or(Order::Desc);
    let part = asked.part()?;
    let page = blocking(move || shared.store.traces(&filter, sort, order, part)).await?;
    Ok(answer::json(page))
}

pub(super) async fn trace(
    State(shared): State<Shared>,
    project: Project,
    Path(trace_id): Path<String>,
) -> Answer<impl IntoResponse> {
    let trace_id = id(&trace_id)?;
    let trace = blocking(move || shared.store.trace(trace_id)).await?;
    let trace = trace.filter(|trace| project.has(&trace.row.project));
    Ok(answer::json(trace.ok_or(Failure::NotFound("Trace"))?))
}

pub(super) async fn users(
    State(shared): State<Shared>,
    project: Project,
    asked: Asked,
) -> Answer<impl IntoResponse> {
    let filter = TraceFilter { project: project.asked(), ..TraceFilter::default() };
    let part = asked.part()?;
    Ok(answer::json(blocking(move || shared.store.users(&filter, part)).await?))
}

/// The time that is asked about, which must be said.
fn between(asked: &Asked, project: Option<String>) -> Answer<(TraceFilter, Granularity)> {
    let filter = filter(asked, project)?;
    if filter.started_after.is_none() || filter.started_before.is_none() {
        return Err(Failure::Refused("started_after and started_before are required".to_owned()));
    }
    Ok((filter, asked.word("granularity")?.unwrap_or_default()))
}

pub(super) async fn analytics(
    State(shared): State<Shared>,
    project: Project,
    asked: Asked,
) -> Answer<Response> {
    let (filter, granularity) = between(&asked, project.asked())?;
    let store = shared.store;
    let metric = asked.text("metric").unwrap_or_else(|| "volume".to_owned());
    Ok(match metric.as_str() {
        "volume" | "errors" | "latency" => {
            answer::json(blocking(move || store.volume(&filter, granularity)).await?).into_response()
        }
        "tokens" | "cost" => {
            answer::json(blocking(move || store.tokens(&filter, granularity)).await?).into_response()
        }
        "models" => answer::json(blocking(move || store.models(&filter, 20)).await?).into_response(),
        other => return Err(Failure::Refused(format!("no metric is called {other:?}"))),
    })
}

pub(super) async fn sessions(
    State(shared): State<Shared>,
    project: Project,
    asked: Asked,
) -> Answer<impl IntoResponse> {
    let filter = SessionFilter {
        traces: TraceFilter {
            project: project.asked(),
            user_id: asked.text("user_id"),
            tags: asked.all("tags"),
            started_after: asked.time("started_after")?,
            started_before: asked.time("started_before")?,
            ..TraceFilter::default()
        },
        query: asked.text("query"),
        has_error: asked.flag("has_error")?,
    };
    let sort = asked.one_of("sort_by", &["recent", "trace_count", "latency", "cost"])?.unwrap_or_default();
    let order = asked.word("sort_order")?.unwrap_or(Order::Desc);
    let part = asked.part()?;
    Ok(answer::json(blocking(move || shared.store.sessions(&filter, &sort, order, part)).await?))
}

#[derive(Serialize)]
struct SessionDetail {
    #[serde(flatten)]
    session: SessionRow,
    traces: Vec<StoredTrace>,
}

pub(super) async fn session(
    State(shared): State<Shared>,
    project: Project,
    Path(session_id): Path<String>,
    asked: Asked,
) -> Answer<impl IntoResponse> {
    let (project, part) = (project.asked(), asked.part_of(200, 1_000)?);
    let found = blocking(move || shared.store.session(project.as_deref(), &session_id, part)).await?;
    let (session, traces) = found.ok_or(Failure::NotFound("Session"))?;
    Ok(answer::json(SessionDetail { session, traces }))
}

pub(super) async fn session_analytics(
    State(shared): State<Shared>,
    project: Project,
    asked: Asked,
) -> Answer<impl IntoResponse> {
    let (filter, granularity) = between(&asked, project.asked())?;
    let buckets = blocking(move || shared.store.session_volume(&filter, granularity)).await?;
    Ok(answer::json(buckets))
}
