//! Which request is which, and what the backend answers when nothing is scripted.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    check::{self, Problem},
    store::Store,
};
use crate::Recorded;

/// An answer of the backend's own.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) status: u16,
    pub(super) body: Value,
    /// Why the request was refused as wrong in itself; empty if it was not.
    pub(super) errors: Vec<String>,
}

impl Outcome {
    fn done(status: u16, body: Value) -> Self {
        Self { status, body, errors: Vec::new() }
    }

    fn detail(status: u16, detail: &str) -> Self {
        Self::done(status, json!({"detail": detail}))
    }

    fn refused(status: u16, detail: &str) -> Self {
        Self { errors: vec![detail.to_owned()], ..Self::detail(status, detail) }
    }

    fn invalid(problems: &[Problem]) -> Self {
        let errors =
            problems.iter().map(|problem| json!({"field": problem.field, "message": problem.message}));
        let body = json!({"detail": "Validation error", "errors": errors.collect::<Vec<_>>()});
        let errors = problems.iter().map(|problem| format!("{}: {}", problem.field, problem.message));
        Self { status: 422, body, errors: errors.collect() }
    }

    /// What the real backend sends as plain text.
    fn internal_error() -> Self {
        Self::done(500, json!("Internal Server Error"))
    }
}

/// What a client must send besides its bodies, and when its traces can be seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Settings {
    pub(super) key: Option<String>,
    pub(super) visible_after: Duration,
}

pub(super) fn answer(request: &Recorded, settings: &Settings, store: &mut Store) -> Outcome {
    let path = request.path.strip_prefix('/').unwrap_or_default();
    let segments: Vec<&str> = path.split('/').collect();
    let act: fn(&Recorded, &[&str], &Settings, &mut Store) -> Result<Outcome, Outcome> =
        match (request.method.as_str(), segments.as_slice()) {
            ("GET", ["health"]) => return Outcome::done(200, json!({"status": "ok"})),
            ("POST", ["traces"]) => post_trace,
            ("GET", ["traces", _]) => get_trace,
            ("PATCH", ["traces", _]) => patch_trace,
            ("POST", ["traces", _, "spans"]) => post_spans,
            ("POST", ["evaluations", "trace-scores"]) => post_score,
            ("GET", ["evaluations", "trace-scores"]) => get_scores,
            (
                _,
                ["health" | "traces"]
                | ["traces", _]
                | ["traces", _, "spans"]
                | ["evaluations", "trace-scores"],
            ) => {
                return Outcome::refused(405, "Method Not Allowed");
            }
            _ => return Outcome::refused(404, "Not Found"),
        };
    let answered = authorise(request, settings).and_then(|()| act(request, &segments, settings, store));
    answered.unwrap_or_else(|refusal| refusal)
}

fn post_trace(
    request: &Recorded,
    _: &[&str],
    settings: &Settings,
    store: &mut Store,
) -> Result<Outcome, Outcome> {
    let body = body(request, check::trace_create)?;
    let id = store.post_trace(body, Instant::now() + settings.visible_after);
    Ok(Outcome::done(202, json!({"trace_id": id, "task_id": Uuid::new_v4().to_string()})))
}

fn get_trace(_: &Recorded, segments: &[&str], _: &Settings, store: &mut Store) -> Result<Outcome, Outcome> {
    let id = visible(segments[1], store)?;
    Ok(Outcome::done(200, store.trace(&id).unwrap_or_default()))
}

fn patch_trace(
    request: &Recorded,
    segments: &[&str],
    _: &Settings,
    store: &mut Store,
) -> Result<Outcome, Outcome> {
    let body = body(request, check::trace_update)?;
    let id = visible(segments[1], store)?;
    if body["name"] == "" {
        return Err(Outcome::internal_error());
    }
    Ok(Outcome::done(200, store.patch(&id, body).unwrap_or_default()))
}

fn post_spans(
    request: &Recorded,
    segments: &[&str],
    _: &Settings,
    store: &mut Store,
) -> Result<Outcome, Outcome> {
    let body = body(request, check::spans_create)?;
    let id = visible(segments[1], store)?;
    Ok(Outcome::done(201, json!({"span_ids": store.post_spans(&id, body)})))
}

fn post_score(request: &Recorded, _: &[&str], _: &Settings, store: &mut Store) -> Result<Outcome, Outcome> {
    let body = body(request, check::score_create)?;
    let text = |key: &str| body[key].as_str().unwrap_or_default();
    let too_long = text("name").chars().count() > 255 || text("value").chars().count() > 255;
    if too_long || !store.is_visible(&text("trace_id").to_lowercase()) {
        return Err(Outcome::internal_error());
    }
    Ok(Outcome::done(201, store.post_score(body)))
}

fn get_scores(request: &Recorded, _: &[&str], _: &Settings, store: &mut Store) -> Result<Outcome, Outcome> {
    let of = request.query.as_deref().and_then(|query| query.strip_prefix("trace_id="));
    let items: Vec<&Value> =
        store.scores().iter().filter(|score| of.is_none_or(|of| score["trace_id"] == *of)).collect();
    Ok(Outcome::done(200, json!({"total": items.len(), "limit": 50, "offset": 0, "items": items})))
}

fn authorise(request: &Recorded, settings: &Settings) -> Result<(), Outcome> {
    let key = request.header("x-api-key").unwrap_or_default();
    if key.is_empty() {
        return Err(Outcome::refused(401, "Missing credentials."));
    }
    if settings.key.as_ref().is_some_and(|expected| expected != key) {
        return Err(Outcome::refused(401, "Invalid or revoked API key."));
    }
    let project = request.header("x-project-name").unwrap_or_default().trim();
    if is_project_name(project) {
        Ok(())
    } else {
        Err(Outcome::refused(422, "Project scope required, as a valid X-Project-Name."))
    }
}

fn is_project_name(name: &str) -> bool {
    let known = |c: char| c.is_ascii_alphanumeric() || " _.'-".contains(c);
    let ends = name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.ends_with(|c: char| c.is_ascii_alphanumeric());
    ends && name.len() <= 255 && name.chars().all(known)
}

/// The body, if it is one this route takes.
fn body(request: &Recorded, check: fn(&Value) -> Vec<Problem>) -> Result<&Value, Outcome> {
    if request.header("content-encoding").is_some_and(|encoding| encoding != "identity") {
        return Err(Outcome::refused(400, "There was an error parsing the body"));
    }
    if !is_json(request.header("content-type").unwrap_or_default()) {
        return Err(Outcome::refused(422, "The content type must be application/json"));
    }
    let Some(body) = &request.json else {
        return Err(Outcome::refused(400, "There was an error parsing the body"));
    };
    let problems = check(body);
    if problems.is_empty() { Ok(body) } else { Err(Outcome::invalid(&problems)) }
}

fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// The id of a trace that other requests can see by now.
fn visible(id: &str, store: &Store) -> Result<String, Outcome> {
    let Ok(id) = Uuid::try_parse(id) else {
        return Err(Outcome::refused(422, "The trace id is not a UUID"));
    };
    let id = id.hyphenated().to_string();
    if store.is_visible(&id) { Ok(id) } else { Err(Outcome::detail(404, "Trace not found")) }
}
