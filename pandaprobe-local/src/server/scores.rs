//! Scores.

use axum::{
    body::Bytes,
    extract::{Path, State},
    http::StatusCode,
    response::IntoResponse,
};

use super::{
    Shared,
    answer::{self, Answer, Failure},
    blocking,
    ingest::body,
    query::{Asked, Project, id},
};
use crate::{
    ScoreFilter,
    wire::{self, ScoreIn},
};

pub(super) async fn post_score(
    State(shared): State<Shared>,
    project: Project,
    bytes: Bytes,
) -> Answer<impl IntoResponse> {
    let score: ScoreIn = body(&bytes)?;
    if let Some(wrong) = score.refused() {
        return Err(Failure::Refused(wrong.to_owned()));
    }
    let posted = shared.store.post_score(project.asked(), score).await?.ok_or(Failure::NotFound("Trace"))?;
    let score = blocking(move || shared.store.score(posted)).await?;
    Ok((StatusCode::CREATED, answer::json(score)))
}

pub(super) async fn patch_score(
    State(shared): State<Shared>,
    project: Project,
    Path(score_id): Path<String>,
    bytes: Bytes,
) -> Answer<impl IntoResponse> {
    let score_id = id(&score_id)?;
    match shared.store.patch_score(project.asked(), score_id, body(&bytes)?).await? {
        None => Err(Failure::NotFound("Score")),
        Some(Err(wrong)) => Err(Failure::Refused(wrong.to_owned())),
        Some(Ok(())) => Ok(answer::json(blocking(move || shared.store.score(score_id)).await?)),
    }
}

pub(super) async fn delete_score(
    State(shared): State<Shared>,
    project: Project,
    Path(score_id): Path<String>,
) -> Answer<impl IntoResponse> {
    match shared.store.delete_score(project.asked(), id(&score_id)?).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(Failure::NotFound("Score")),
    }
}

fn filter(asked: &Asked, project: Option<String>) -> Answer<ScoreFilter> {
    Ok(ScoreFilter {
        project,
        trace_id: asked.parsed("trace_id")?,
        name: asked.text("name"),
        source: asked.one_of("source", wire::SOURCES)?,
        data_type: asked.one_of("data_type", wire::DATA_TYPES)?,
        environment: asked.text("environment"),
        date_from: asked.time("date_from")?,
        date_to: asked.time("date_to")?,
    })
}

pub(super) async fn scores(
    State(shared): State<Shared>,
    project: Project,
    asked: Asked,
) -> Answer<impl IntoResponse> {
    let (filter, part) = (filter(&asked, project.asked())?, asked.part()?);
    Ok(answer::json(blocking(move || shared.store.scores(&filter, part)).await?))
}

pub(super) async fn scores_of(
    State(shared): State<Shared>,
    project: Project,
    Path(trace_id): Path<String>,
) -> Answer<impl IntoResponse> {
    let trace_id = id(&trace_id)?;
    let mut scores = blocking(move || shared.store.scores_of(trace_id)).await?;
    scores.retain(|score| project.has(&score.project));
    Ok(answer::json(scores))
}

pub(super) async fn summary(
    State(shared): State<Shared>,
    project: Project,
    asked: Asked,
) -> Answer<impl IntoResponse> {
    let filter = filter(&asked, project.asked())?;
    Ok(answer::json(blocking(move || shared.store.score_summaries(&filter)).await?))
}
