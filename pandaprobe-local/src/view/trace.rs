//! One trace: the shell of the page. The tree is filled in by a script, from columns of numbers.

use axum::{
    extract::{Path, State},
    response::{Html, Response},
};
use maud::{Markup, html};

use super::{
    Miss, Shown,
    address::{Address, to},
    blocking,
    frame::{self, Place, fact},
    html as answer, id, message, session, span, text, traces, user, value,
};
use crate::{Score, TraceRow, server::Shared, wire::Raw};

/// A trace without its spans.
struct Whole {
    version: i64,
    row: TraceRow,
    content: [Option<Raw>; 3],
    scores: Vec<Score>,
}

async fn read(shared: &Shared, trace_id: &str) -> Shown<Whole> {
    let (trace_id, store) = (id(trace_id, "trace")?, shared.store.clone());
    let read = blocking(move || {
        // First, so that it is never newer than the rest.
        let version = store.trace_version(trace_id)?;
        let Some(row) = store.trace_line(trace_id)? else {
            return Ok(None);
        };
        let content = store.trace_content(trace_id)?.unwrap_or_default();
        Ok(Some(Whole { version, row, content, scores: store.scores_of(trace_id)? }))
    });
    read.await?.ok_or(Miss::Absent("trace"))
}

pub(super) async fn page(
    State(shared): State<Shared>,
    Path(trace_id): Path<String>,
    address: Address,
) -> Shown<Html<String>> {
    let whole = read(&shared, &trace_id).await?;
    let asked = address.get("span").and_then(|span| span.parse().ok());
    let chosen = match (asked, trace_id.parse()) {
        (Some(span_id), Ok(trace_id)) => span::read(shared, trace_id, span_id).await.ok(),
        _ => None,
    };
    let row = &whole.row;
    let body = html! {
        div #trace data-trace=(row.trace_id) data-version=(whole.version) {
            (title(row))
            div.panes {
                (pane(row))
                section.detail #detail aria-label="Details" tabindex="-1" {
                    @match &chosen {
                        Some((trace, span)) => (span::detail(trace, span)),
                        None => (own(&whole)),
                    }
                }
            }
        }
    };
    Ok(answer(frame::page(&text::cut(&row.name, 80), Place::Traces, "trace.js", &body)))
}

/// What is known of the trace itself.
pub(super) async fn overview(
    State(shared): State<Shared>,
    Path(trace_id): Path<String>,
) -> Shown<Html<String>> {
    Ok(answer(own(&read(&shared, &trace_id).await?)))
}

/// A field as it was recorded, to be saved.
pub(super) async fn raw(
    State(shared): State<Shared>,
    Path(trace_id): Path<String>,
    address: Address,
) -> Shown<Response> {
    let Whole { row, content: [input, output, metadata], .. } = read(&shared, &trace_id).await?;
    let (field, raw) = match address.get("field") {
        Some("input") => ("input", input),
        Some("output") => ("output", output),
        Some("metadata") => ("metadata", metadata),
        _ => return Err(Miss::Absent("field")),
    };
    let raw = raw.ok_or(Miss::Absent("field"))?;
    Ok(span::save(raw.get().to_owned(), &format!("trace-{}-{field}.txt", row.trace_id)))
}

fn title(row: &TraceRow) -> Markup {
    html! {
        div.title.of-trace {
            h1 { (text::name(&row.name, 512)) }
            span #status { (frame::status(&row.status)) }
            span.figures #figures { (figures(row)) }
            span.push {
                button.quiet.copy type="button" data-copy-link=(format!("/ui/traces/{}", row.trace_id)) { "Copy link" }
                a.button.quiet href=(format!("/traces/{}", row.trace_id)) download { "JSON" }
            }
        }
    }
}

fn figures(row: &TraceRow) -> Markup {
    html! {
        @if let Some(latency) = row.latency_ms { span { b { (text::millis(latency)) } } }
        span { b { (text::count(row.span_count)) } " spans" }
        @if row.error_count > 0 { span.bad { b { (text::count(row.error_count)) } " failed" } }
        @if row.total_tokens > 0 { span { b { (text::count(row.total_tokens)) } " tokens" } }
        @if row.total_cost != 0.0 { span { b { (text::cost(row.total_cost)) } } }
        span.faint { (text::time(row.started_at)) }
    }
}

/// The tree and the waterfall, which are one table.
fn pane(row: &TraceRow) -> Markup {
    html! {
        section.pane aria-label="Spans" {
            div.tools {
                input #find type="search" data-search placeholder="Find a span  ( / )" aria-label="Find a span by name" autocomplete="off";
                button.quiet #next-error type="button" hidden title="Next error (e)" { "Next error" }
                button.quiet #fold-all type="button" { "Fold" }
                button.quiet #unfold-all type="button" { "Unfold" }
                button.quiet #zoom-out type="button" hidden title="Show all of the time (0)" { "Whole time" }
                span.faint #tree-state role="status" {
                    @if row.span_count > 0 { "Loading " (text::count(row.span_count)) " spans…" }
                }
            }
            @if row.span_count == 0 { p.nothing #no-spans { "This trace has no spans." } }
            div.axis #axis aria-hidden="true" {}
            div.tree #tree role="tree" aria-label="Spans" tabindex="0" {
                div.rows #rows role="presentation" {}
            }
            p.faint.left-out #left-out hidden {}
            noscript { p.warning { "The tree of spans needs JavaScript. All spans are in the JSON." } }
        }
    }
}

fn own(whole: &Whole) -> Markup {
    let Whole { row, content: [input, output, metadata], scores, .. } = whole;
    let path = format!("/ui/traces/{}/raw", row.trace_id);
    let raw = |field: &str| to(&path, "field", field);
    let session_id = row.session_id.as_deref().filter(|id| !id.is_empty());
    let word = |word: &Option<String>| word.as_deref().map(|word| text::name(word, 255));
    html! {
        article.own aria-labelledby="own-name" {
            header { h2 #own-name { "The trace" } }
            dl.facts {
                (fact("User", row.user_id.is_some().then(|| user::link(&row.project, row.user_id.as_deref(), 255))))
                (fact("Session", session_id.map(|id| session::link(&row.project, id, 255))))
                (fact("Began", Some(text::time(row.started_at))))
                (fact("Ended", row.ended_at.map(text::time)))
                (fact("Environment", word(&row.environment)))
                (fact("Release", word(&row.release)))
                (fact("Project", Some(text::name(&row.project, 255))))
                (fact("Tags", (!row.tags.is_empty()).then(|| traces::tags(&row.tags))))
                (fact("Id", Some(html! { code { (row.trace_id) } })))
            }
            @if let Some((error, is_all)) = value::error_of(metadata.as_deref()) {
                (value::failure(&error, is_all, &raw("metadata")))
            }
            @if !scores.is_empty() { (score_table(scores)) }
            @for (title, field, value) in [("Input", "input", input), ("Output", "output", output), ("Metadata", "metadata", metadata)] {
                @if let Some(value) = value::given(value.as_deref()) { (message::part(title, value, &raw(field))) }
            }
        }
    }
}

fn score_table(scores: &[Score]) -> Markup {
    html! {
        section.part aria-label="Scores" {
            div.heading { h3 { "Scores" } }
            div.scroll tabindex="0" {
                table.plain {
                    thead { tr { th scope="col" { "Name" } th.number scope="col" { "Value" } th scope="col" { "Source" } th scope="col" { "Reason" } } }
                    tbody {
                        @for score in scores.iter().take(100) {
                            tr {
                                th scope="row" { (text::name(&score.name, 80)) }
                                td.number { (text::name(score.value.as_deref().unwrap_or(text::NONE), 40)) }
                                td { (score.source.to_ascii_lowercase()) }
                                td.reason { (text::name(score.reason.as_deref().unwrap_or_default(), 400)) }
                            }
                        }
                    }
                }
            }
        }
    }
}
