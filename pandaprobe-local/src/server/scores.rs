//! Scores.

use axum::{
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::IntoResponse,
};

use super::{
    Shared,
    answer::{self, Answer, Failure},
    blocking,
    query::{Asked, id, project},
};
use crate::{ScoreFilter, exporter::DEFAULT_PROJECT, wire, wire::ScoreIn};

pub(super) async fn post_score(
    State(shared): State<Shared>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Answer<impl IntoResponse> {
    let score: ScoreIn = wire::parse(&bytes)?;
    if let Some(wrong) = score.refused() {
        return Err(Failure::Refused(wrong.to_owned()));
    }
    let project = project(&headers).unwrap_or_else(|| DEFAULT_PROJECT.to_owned());
    let posted = shared.store.post_score(project, score).await?.ok_or(Failure::NotFound("Trace"))?;
    let score = blocking(move || shared.store.score(posted)).await?;
    Ok((StatusCode::CREATED, answer::json(score)))
}

pub(super) async fn patch_score(
    State(shared): State<Shared>,
    Path(score_id): Path<String>,
    bytes: Bytes,
) -> Answer<impl IntoResponse> {
    let score_id = id(&score_id)?;
    match shared.store.patch_score(score_id, wire::parse(&bytes)?).await? {
        None => Err(Failure::NotFound("Score")),
        Some(Err(wrong)) => Err(Failure::Refused(wrong.to_owned())),
        Some(Ok(())) => Ok(answer::json(blocking(move || shared.store.score(score_id)).await?)),
    }
}

pub(super) async fn delete_score(
    State(shared): State<Shared>,
    Path(score_id): Path<String>,
) -> Answer<impl IntoResponse> {
    match shared.store.delete_score(id(&score_id)?).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(Failure::NotFound("Score")),
    }
}

fn filter(asked: &Asked, project: Option<String>) -> Answer<ScoreFilter> {
    Ok(ScoreFilter {
        project,
        trace_id: asked.parsed("trace_id")?,
        name: asked.text("name"),
        source: asked.text("source"),
        data_type: asked.text("data_type"),
        environment: asked.text("environment"),
        date_from: asked.time("date_from")?,
        date_to: asked.time("date_to")?,
    })
}

pub(super) async fn scores(
    State(shared): State<Shared>,
    headers: HeaderMap,
    asked: Asked,
) -> Answer<impl IntoResponse> {
    let (filter, part) = (filter(&asked, project(&headers))?, asked.part()?);
    Ok(answer::json(blocking(move || shared.store.scores(&filter, part)).await?))
}

pub(super) async fn scores_of(
    State(shared): State<Shared>,
    Path(trace_id): Path<String>,
) -> Answer<impl IntoResponse> {
    let trace_id = id(&trace_id)?;
    Ok(answer::json(blocking(move || shared.store.scores_of(trace_id)).await?))
}

pub(super) async fn summary(
    State(shared): State<Shared>,
    headers: HeaderMap,
    asked: Asked,
) -> Answer<impl IntoResponse> {
    let filter = filter(&asked, project(&headers))?;
    Ok(answer::json(blocking(move || shared.store.score_summaries(&filter)).await?))
}
