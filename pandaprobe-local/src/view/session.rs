//! Sessions, and one session as a thread.

use axum::{extract::State, response::Html};
use maud::{Markup, html};

use super::{
    Miss, Shown,
    address::{Address, to},
    blocking,
    filter::{ranges, span_of_time},
    frame::{self, Place, fact},
    html as answer, message, text, traces, user,
    value::{self, Way},
};
use crate::{
    Order, Page, SessionFilter, SessionRow, SortBy, StoreError, TraceFilter, TraceRow, server::Shared,
    store::viewing::Bounded,
};

const LIMIT: i64 = 50;
/// How many turns one page has.
const TURNS: i64 = 25;
/// How much they show together, in bytes.
const SHOWN: usize = 1_000_000;
/// How long a value is at most that is read for it, in bytes.
const READ: i64 = 256 << 10;

pub(super) async fn list(State(shared): State<Shared>, address: Address) -> Shown<Html<String>> {
    let (after, before) = span_of_time(&address, &mut Vec::new());
    let filter = SessionFilter {
        traces: TraceFilter {
            user_id: address.get("user_id").map(str::to_owned),
            started_after: after,
            started_before: before,
            ..TraceFilter::default()
        },
        query: address.get("q").map(str::to_owned),
        has_error: address.get("has_error").and_then(|word| word.parse().ok()),
    };
    let (sort, offset) = (address.get("sort").unwrap_or("recent").to_owned(), (address.page() - 1) * LIMIT);
    let found = blocking(move || shared.store.sessions(&filter, &sort, Order::Desc, (LIMIT, offset))).await?;
    let body = html! {
        div.title { h1 { "Sessions" } (ranges("/ui/sessions", &address)) }
        form.filter role="search" aria-label="Sessions" method="get" action="/ui/sessions" {
            div.first {
                input type="search" name="q" value=(address.get("q").unwrap_or_default()) data-search autocomplete="off"
                    placeholder="Part of an id  ( / )" aria-label="Part of an id";
                (sorts(&address))
                label.field { span { "Errors" } select name="has_error" {
                    option value="" { "any" }
                    option value="true" selected[address.get("has_error") == Some("true")] { "with an error" }
                    option value="false" selected[address.get("has_error") == Some("false")] { "without" }
                } }
                button type="submit" { "Filter" }
            }
        }
        (table(&found))
        @if found.items.is_empty() { p.nothing { "No session is like that. A trace with a session id makes one." } }
        (frame::pager("/ui/sessions", &address, found.total, LIMIT))
    };
    Ok(answer(frame::page("Sessions", Place::Sessions, "list.js", &body)))
}

fn sorts(address: &Address) -> Markup {
    let sorts = [("recent", "latest"), ("trace_count", "turns"), ("latency", "time taken"), ("cost", "cost")];
    html! {
        label.field { span { "Most" } select name="sort" {
            @for (value, name) in sorts {
                option value=(value) selected[address.get("sort") == Some(value)] { (name) }
            }
        } }
    }
}

/// Sessions as a table.
pub(super) fn table(found: &Page<SessionRow>) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Sessions" {
            table.list {
                thead { tr {
                    th scope="col" { "Session" } th scope="col" { "User" } th scope="col" { "Began" } th scope="col" { "Latest" }
                    th.number scope="col" { "Turns" } th.number scope="col" { "Time taken" } th.number scope="col" { "Spans" }
                    th.number scope="col" { "Tokens" } th.number scope="col" { "Cost" } th.wide scope="col" { "Tags" }
                } }
                tbody { @for row in &found.items { (line(row)) } }
            }
        }
    }
}

fn line(row: &SessionRow) -> Markup {
    html! {
        tr data-id=(path(&row.project, &row.session_id)) {
            th scope="row" {
                (link(&row.project, &row.session_id, 80))
                @if row.has_error { " " span.status.bad { "error" } }
            }
            td.id { (user::link(&row.project, row.user_id.as_deref(), 80)) }
            td.when { (text::time(row.first_trace_at)) }
            td.when { @if let Some(at) = row.last_trace_at { (text::time(at)) } }
            td.number { (text::count(row.trace_count)) }
            td.number { (text::maybe_millis(row.total_latency_ms)) }
            td.number { (text::some(row.total_span_count)) }
            td.number { (text::some(row.total_tokens)) }
            td.number { (text::cost(row.total_cost)) }
            td.wide { (traces::tags(&row.tags)) }
        }
    }
}

/// The page of a session.
fn path(project: &str, session_id: &str) -> String {
    Address::default().with("id", Some(session_id)).with("project", Some(project)).on("/ui/session")
}

/// A way to the page of a session.
pub(super) fn link(project: &str, session_id: &str, most: usize) -> Markup {
    html! { a href=(path(project, session_id)) { (text::name(session_id, most)) } }
}

type Turn = (TraceRow, [Option<Bounded>; 3]);

pub(super) async fn page(State(shared): State<Shared>, address: Address) -> Shown<Html<String>> {
    let session_id = address.get("id").ok_or(Miss::Absent("session"))?.to_owned();
    let offset = (address.page() - 1) * TURNS;
    let project = address.get("project").map(str::to_owned);
    let read = blocking(move || read(&shared, project.as_deref(), session_id, offset));
    let (session, turns) = read.await?.ok_or(Miss::Absent("session"))?;
    let list = Address::default()
        .with("session_id", Some(&session.session_id))
        .with("project", Some(&session.project));
    let list = list.on("/ui/traces");
    let mut budget = Budget { left: SHOWN, sides: 2 * turns.len() };
    let body = html! {
        div.title.of-trace {
            h1 { (text::name(&session.session_id, 255)) }
            @if session.has_error { span.status.bad { "error" } }
            a.button.quiet.push href=(list) { "As a list of traces" }
        }
        dl.facts {
            (fact("User", Some(user::link(&session.project, session.user_id.as_deref(), 255))))
            (fact("Project", Some(text::name(&session.project, 255))))
            (fact("Turns", Some(html! { (text::count(session.trace_count)) })))
            (fact("Began", Some(text::time(session.first_trace_at))))
            (fact("Latest", session.last_trace_at.map(text::time)))
            (fact("Time taken", Some(html! { (text::maybe_millis(session.total_latency_ms)) })))
            (fact("Tokens", Some(html! { (text::some(session.total_tokens)) })))
            (fact("Cost", Some(html! { (text::cost(session.total_cost)) })))
        }
        ol.thread { @for (at, turn) in (offset + 1..).zip(&turns) { (self::turn(at, turn, &session, &mut budget)) } }
        (frame::pager("/ui/session", &address, session.trace_count, TURNS))
    };
    Ok(answer(frame::page("Session", Place::Sessions, "list.js", &body)))
}

fn read(
    shared: &Shared,
    project: Option<&str>,
    session_id: String,
    offset: i64,
) -> Result<Option<(SessionRow, Vec<Turn>)>, StoreError> {
    let Some((session, _)) = shared.store.session(project, &session_id, (0, 0))? else {
        return Ok(None);
    };
    let project = Some(session.project.clone());
    let filter = TraceFilter { project, session_id: Some(session_id), ..TraceFilter::default() };
    let page = shared.store.traces(&filter, SortBy::StartedAt, Order::Asc, (TURNS, offset))?;
    let mut turns = Vec::with_capacity(page.items.len());
    for row in page.items {
        let content = match row.trace_id.parse() {
            Ok(trace_id) => shared.store.bounded_content(trace_id, READ)?,
            Err(_) => None,
        };
        turns.push((row, content.unwrap_or_default()));
    }
    Ok(Some((session, turns)))
}

/// What the turns of a page may still show, each side of them an even part.
struct Budget {
    left: usize,
    sides: usize,
}

impl Budget {
    /// Shows the next side; what it leaves is for those after it.
    fn show(&mut self, raw: &str, download: &str) -> Markup {
        let way = Way::within(download, self.left / self.sides.max(1));
        let before = way.left();
        let shown = message::body(raw, &way);
        self.left = self.left.saturating_sub(before - way.left());
        shown
    }
}

fn turn(
    at: i64,
    (row, [input, output, metadata]): &Turn,
    session: &SessionRow,
    budget: &mut Budget,
) -> Markup {
    let path = format!("/ui/traces/{}", row.trace_id);
    let metadata = match metadata {
        Some(Bounded::Whole(metadata)) => Some(&**metadata),
        _ => None,
    };
    let sides = [side("input", input, &path, budget), side("output", output, &path, budget)];
    html! {
        li.turn {
            div.turn-head {
                span.faint { (text::count(at)) }
                a href=(path) { (text::name(&row.name, 120)) }
                (frame::status(&row.status))
                @if row.user_id != session.user_id { "of " (user::link(&session.project, row.user_id.as_deref(), 80)) }
                span.push.faint { (text::maybe_millis(row.latency_ms)) " · " (text::time(row.started_at)) }
            }
            @for side in sides.iter().flatten() { (side) }
            @if let Some((error, is_all)) = value::error_of(metadata) {
                (value::failure(&error, is_all, &download(&path, "metadata")))
            }
            @if sides.iter().all(Option::is_none) { p.faint { "Neither input nor output." } }
        }
    }
}

fn download(path: &str, field: &str) -> String {
    to(&format!("{path}/raw"), "field", field)
}

fn side(field: &str, value: &Option<Bounded>, path: &str, budget: &mut Budget) -> Option<Markup> {
    let download = download(path, field);
    let shown = match value {
        Some(Bounded::Whole(raw)) => value::given(Some(raw)).map(|raw| budget.show(raw, &download)),
        Some(Bounded::Long(size)) => Some(html! {
            p.faint.rest {
                "The " (field) " is too long for this page (" (text::bytes(*size)) "). "
                a href=(path) { "The trace" } " shows the beginning. " a href=(download) download { "Download all of it" } "."
            }
        }),
        None => None,
    };
    budget.sides = budget.sides.saturating_sub(1);
    shown.map(|shown| html! { div class=(format!("side {}", if field == "input" { "in" } else { "out" })) { (shown) } })
}
