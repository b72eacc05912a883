//! The list of traces.

use axum::{
    extract::State,
    http::{HeaderMap, header},
    response::Html,
};
use maud::{Markup, html};

use super::{
    Shown,
    address::{Address, to},
    blocking,
    filter::{self, Wanted, form, ranges},
    frame::{self, Place},
    html as answer, session, text, user,
};
use crate::{Page, Store, StoreError, TraceRow, server::Shared, store::viewing::Mark};

const LIMIT: i64 = 50;

/// A part of the list, with the scores of its traces.
pub(super) struct Listed {
    pub(super) page: Page<TraceRow>,
    marks: Vec<Mark>,
}

impl Listed {
    pub(super) fn read(store: &Store, wanted: &Wanted, page: i64, limit: i64) -> Result<Self, StoreError> {
        let page = store.traces(&wanted.filter, wanted.sort, wanted.order, (limit, (page - 1) * limit))?;
        let ids: Vec<String> = page.items.iter().map(|row| row.trace_id.clone()).collect();
        Ok(Self { marks: store.marks(&ids)?, page })
    }
}

pub(super) async fn page(
    State(shared): State<Shared>,
    headers: HeaderMap,
    address: Address,
) -> Shown<Html<String>> {
    let wanted = Wanted::read(&address);
    let (is_all, ignored) = (wanted.is_all(), wanted.ignored.join(", "));
    let page = address.page();
    let listed = blocking(move || Listed::read(&shared.store, &wanted, page, LIMIT)).await?;
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("127.0.0.1:4100");
    let body = html! {
        div.title {
            h1 { "Traces" }
            (ranges("/ui/traces", &address))
            label.live {
                input #live type="checkbox" checked role="switch";
                span { "Live" }
                span #live-state.faint role="status" {}
            }
        }
        (form(&address))
        @if !ignored.is_empty() { p.warning role="alert" { "Not understood, so ignored: " (ignored) } }
        div #list data-rows=(address.on("/ui/traces/rows")) {
            (list(&listed, &address, is_all.then_some(host)))
        }
    };
    Ok(answer(frame::page("Traces", Place::Traces, "list.js", &body)))
}

/// The list alone, for a page that is live.
pub(super) async fn rows(
    State(shared): State<Shared>,
    headers: HeaderMap,
    address: Address,
) -> Shown<Html<String>> {
    let wanted = Wanted::read(&address);
    let is_all = wanted.is_all();
    let page = address.page();
    let listed = blocking(move || Listed::read(&shared.store, &wanted, page, LIMIT)).await?;
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("127.0.0.1:4100");
    Ok(answer(list(&listed, &address, is_all.then_some(host))))
}

fn list(listed: &Listed, address: &Address, welcome: Option<&str>) -> Markup {
    match welcome {
        Some(host) if listed.page.total == 0 => frame::welcome(host),
        _ => html! {
            (table(listed, Some(address)))
            @if listed.page.items.is_empty() { p.nothing { "No trace is like that." } }
            (frame::pager("/ui/traces", address, listed.page.total, LIMIT))
        },
    }
}

const COLUMNS: [(&str, &str, &str); 12] = [
    ("Name", "name", ""),
    ("Status", "status", ""),
    ("Started", "started_at", ""),
    ("Latency", "latency", "number"),
    ("Spans", "spans", "number"),
    ("Tokens", "tokens", "number"),
    ("Cost", "cost", "number"),
    ("User", "", ""),
    ("Session", "", ""),
    ("Tags", "", "wide"),
    ("Scores", "", "wide"),
    ("Project", "", "widest"),
];

/// Traces as a table. With an address, its heads sort it.
pub(super) fn table(listed: &Listed, address: Option<&Address>) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Traces" {
            table.list {
                thead {
                    tr {
                        @for (title, sort, class) in COLUMNS { (head(title, sort, class, address)) }
                    }
                }
                tbody {
                    @for row in &listed.page.items { (line(row, &listed.marks)) }
                }
            }
        }
    }
}

fn head(title: &str, sort: &str, class: &str, address: Option<&Address>) -> Markup {
    let Some(address) = address.filter(|_| !sort.is_empty()) else {
        return html! { th scope="col" class=(class) { (title) } };
    };
    let is_sorted = address.get("sort").unwrap_or("started_at") == sort;
    let is_up = address.get("order") == Some("asc");
    let order = if is_sorted && !is_up { "asc" } else { "desc" };
    let href =
        address.with("page", None).with("sort", Some(sort)).with("order", Some(order)).on("/ui/traces");
    let aria = is_sorted.then_some(if is_up { "ascending" } else { "descending" });
    html! {
        th scope="col" class=(class) aria-sort=[aria] {
            a href=(href) { (title) @if is_sorted { span aria-hidden="true" { (if is_up { " ↑" } else { " ↓" }) } } }
        }
    }
}

fn line(row: &TraceRow, marks: &[Mark]) -> Markup {
    let version = format!(
        "{} {} {} {} {}",
        row.status,
        row.span_count,
        row.total_tokens,
        row.ended_at.map_or(0, |time| time.0),
        row.error_count
    );
    html! {
        tr data-id=(row.trace_id) data-version=(version) {
            th scope="row" {
                a href=(format!("/ui/traces/{}", row.trace_id)) { (text::name(&row.name, 120)) }
            }
            td {
                (frame::status(&row.status))
                @if row.error_count > 0 && row.status != "ERROR" {
                    span.count.bad title="spans that failed" { (text::count(row.error_count)) }
                }
            }
            td.when { (text::time(row.started_at)) }
            td.number { (text::maybe_millis(row.latency_ms)) }
            td.number { (text::some(row.span_count)) }
            td.number { (text::some(row.total_tokens)) }
            td.number { (text::cost(row.total_cost)) }
            td.id { (user::link(&row.project, row.user_id.as_deref(), 60)) }
            td.id {
                @match row.session_id.as_deref().filter(|id| !id.is_empty()) {
                    Some(id) => (session::link(&row.project, id, 60)),
                    None => span.faint { (text::NONE) },
                }
            }
            td.wide { (tags(&row.tags)) }
            td.wide { (scores(&row.trace_id, marks)) }
            td.widest { (text::name(&row.project, 40)) }
        }
    }
}

/// The first few tags, each a way to the traces that have it.
pub(super) fn tags(tags: &[String]) -> Markup {
    html! {
        @for tag in tags.iter().take(4) {
            a.tag href=(to("/ui/traces", filter::of_tag(tag), tag)) { (text::name(tag, 30)) }
            " "
        }
        @if tags.len() > 4 { span.faint { "+" (tags.len() - 4) } }
    }
}

fn scores(trace_id: &str, marks: &[Mark]) -> Markup {
    let of_it: Vec<&Mark> = marks.iter().filter(|mark| mark.trace_id == trace_id).collect();
    html! {
        @for mark in of_it.iter().take(3) {
            span.score { (text::name(&mark.name, 24)) " " b { (text::name(mark.value.as_deref().unwrap_or(text::NONE), 12)) } }
            " "
        }
        @if of_it.len() > 3 { span.faint { "+" (of_it.len() - 3) } }
    }
}
