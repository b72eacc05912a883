//! One span.

use std::collections::BTreeMap;

use axum::{
    extract::{Path, State},
    http::{HeaderValue, header},
    response::{Html, IntoResponse, Response},
};
use maud::{Markup, html};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{
    Miss, Shown,
    address::{Address, to},
    blocking,
    frame::{self, fact},
    html as answer, id, json, message, text, value,
};
use crate::{SpanRow, TraceRow, server::Shared};

pub(super) async fn fragment(
    State(shared): State<Shared>,
    Path((trace_id, span_id)): Path<(String, String)>,
) -> Shown<Html<String>> {
    let (trace, span) = read(shared, id(&trace_id, "trace")?, id(&span_id, "span")?).await?;
    Ok(answer(detail(&trace, &span)))
}

pub(super) async fn read(shared: Shared, trace_id: Uuid, span_id: Uuid) -> Shown<(TraceRow, SpanRow)> {
    let store = shared.store;
    let found = blocking(move || Ok((store.trace_line(trace_id)?, store.span(trace_id, span_id)?))).await?;
    match found {
        (Some(trace), Some(span)) => Ok((trace, span)),
        (None, _) => Err(Miss::Absent("trace")),
        (_, None) => Err(Miss::Absent("span")),
    }
}

/// A field as it was recorded, to be saved.
pub(super) async fn raw(
    State(shared): State<Shared>,
    Path((trace_id, span_id)): Path<(String, String)>,
    address: Address,
) -> Shown<Response> {
    let (_, span) = read(shared, id(&trace_id, "trace")?, id(&span_id, "span")?).await?;
    let field = address.get("field").unwrap_or_default().to_owned();
    let whole = match field.as_str() {
        "input" => span.input.map(|raw| raw.get().to_owned()),
        "output" => span.output.map(|raw| raw.get().to_owned()),
        "metadata" => Some(span.metadata.get().to_owned()),
        "parameters" => span.model_parameters.map(|raw| raw.get().to_owned()),
        "error" => span.error,
        "all" => serde_json::to_string(&span).ok(),
        _ => None,
    };
    Ok(save(whole.ok_or(Miss::Absent("field"))?, &format!("span-{}-{field}.txt", span.span_id)))
}

/// An answer that a browser saves, and never shows.
pub(super) fn save(whole: String, name: &str) -> Response {
    let disposition = HeaderValue::from_str(&format!("attachment; filename=\"{name}\""))
        .unwrap_or(HeaderValue::from_static("attachment"));
    let about = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8")),
        (header::CONTENT_DISPOSITION, disposition),
    ];
    (about, whole).into_response()
}

/// All that is known of a span.
pub(super) fn detail(trace: &TraceRow, span: &SpanRow) -> Markup {
    let path = format!("/ui/traces/{}/spans/{}/raw", span.trace_id, span.span_id);
    let raw = |field: &str| to(&path, "field", field);
    html! {
        article.span aria-labelledby="span-name" data-span=(span.span_id) {
            header {
                span class=(format!("kind k-{}", span.kind)) { (span.kind.to_ascii_lowercase()) }
                h2 #span-name { (text::name(&span.name, 512)) }
                (frame::status(&span.status))
                span.push {
                    button.quiet.copy type="button" data-copy-link=(link(span)) { "Copy link" }
                    a.button.quiet href=(raw("all")) download { "JSON" }
                }
            }
            @if let Some(error) = span.error.as_deref().filter(|error| !error.is_empty()) {
                @let (shown, is_cut) = text::head(error, 16_000);
                (value::failure(shown, !is_cut, &raw("error")))
            }
            (facts(trace, span))
            (reasoning(span))
            @if let Some(input) = value::given(span.input.as_deref()) {
                (message::part("Input", input, &raw("input")))
            }
            @if let Some(output) = value::given(span.output.as_deref()) {
                (message::part("Output", output, &raw("output")))
            }
            @if let Some(parameters) = value::given(span.model_parameters.as_deref()) {
                (message::part("Parameters", parameters, &raw("parameters")))
            }
            @if span.metadata.get() != "{}" {
                (message::part("Metadata", span.metadata.get(), &raw("metadata")))
            }
        }
    }
}

fn link(span: &SpanRow) -> String {
    to(&format!("/ui/traces/{}", span.trace_id), "span", &span.span_id)
}

fn facts(trace: &TraceRow, span: &SpanRow) -> Markup {
    let after = super::text::millis(to_millis(span.started_at.0.saturating_sub(trace.started_at.0)));
    let first = span.time_to_first_token_ms;
    html! {
        dl.facts {
            (fact("Took", Some(html! { @match span.latency_ms { Some(ms) => (text::millis(ms)), None => "still open" } })))
            (fact("First token", first.map(|ms| html! { (text::millis(ms)) })))
            (fact("Began", Some(html! { "+" (after) " " span.faint { (text::time(span.started_at)) } })))
            (fact("Model", span.model.as_deref().map(|model| html! {
                a href=(to("/ui/traces", "model", model)) { (text::name(model, 255)) }
            })))
            @for (name, value) in numbers(span.token_usage.as_deref()) { (fact(&name, Some(html! { (value) }))) }
            @for (name, value) in costs(span.cost.as_deref()) { (fact(&name, Some(html! { (value) }))) }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "it is rounded anyway")]
fn to_millis(micros: i64) -> f64 {
    micros as f64 / 1e3
}

const TOKENS: [(&str, &str); 6] = [
    ("prompt_tokens", "Prompt tokens"),
    ("completion_tokens", "Completion tokens"),
    ("total_tokens", "Total tokens"),
    ("reasoning_tokens", "of it reasoning"),
    ("cache_read_tokens", "of it from cache"),
    ("cache_creation_tokens", "of it into cache"),
];

/// The token counts: those that are known in their order, then the others by name.
fn numbers(usage: Option<&RawValue>) -> Vec<(String, String)> {
    let Some(mut usage) = entries(usage) else {
        return Vec::new();
    };
    let mut out = Vec::new();
    for (key, name) in TOKENS {
        if let Some(value) = usage.remove(key) {
            out.push((name.to_owned(), number(value)));
        }
    }
    out.extend(
        usage.into_iter().take(20).map(|(key, value)| (text::cut(&key, 40).into_owned(), number(value))),
    );
    out
}

fn entries(map: Option<&RawValue>) -> Option<BTreeMap<String, &RawValue>> {
    serde_json::from_str(map?.get()).ok()
}

fn number(raw: &RawValue) -> String {
    match raw.get().parse() {
        Ok(number) => text::count(number),
        Err(_) => text::cut(raw.get(), 20).into_owned(),
    }
}

fn costs(costs: Option<&RawValue>) -> Vec<(String, String)> {
    let Some(costs) = entries(costs) else {
        return Vec::new();
    };
    let shown = costs.into_iter().take(12).map(|(key, raw)| {
        let name = if key == "total" { "Cost".to_owned() } else { format!("Cost, {}", text::cut(&key, 30)) };
        (name, raw.get().parse().map_or_else(|_| text::cut(raw.get(), 20).into_owned(), text::cost))
    });
    shown.collect()
}

/// What the model thought, folded.
fn reasoning(span: &SpanRow) -> Markup {
    let found = entries(Some(&span.metadata)).and_then(|mut all| all.remove("reasoning_summary"));
    let thought = found.and_then(|raw| json::string(raw.get(), 32_000));
    let path = format!("/ui/traces/{}/spans/{}/raw?field=metadata", span.trace_id, span.span_id);
    html! {
        @if let Some((thought, is_all)) = thought {
            details.reasoning {
                summary { "Reasoning" }
                (value::prose(&thought, is_all, &path))
            }
        }
    }
}
