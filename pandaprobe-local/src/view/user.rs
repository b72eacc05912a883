//! Users, and one user.

use axum::{extract::State, response::Html};
use maud::{Markup, html};

use super::{
    Miss, Shown,
    address::Address,
    blocking,
    filter::{Wanted, ranges, span_of_time},
    frame::{self, Place, fact},
    html as answer, overview, session, text, traces,
};
use crate::{Order, SessionFilter, TraceFilter, server::Shared};

const LIMIT: i64 = 50;

/// The page of a user.
fn path(project: &str, id: &str) -> String {
    Address::default().with("id", Some(id)).with("project", Some(project)).on("/ui/user")
}

/// A way to the page of a user.
pub(super) fn link(project: &str, id: Option<&str>, most: usize) -> Markup {
    html! {
        @match id {
            Some(id) if !id.is_empty() => a href=(path(project, id)) { (text::name(id, most)) },
            _ => span.faint { (text::NONE) },
        }
    }
}

pub(super) async fn list(State(shared): State<Shared>, address: Address) -> Shown<Html<String>> {
    let (after, before) = span_of_time(&address, &mut Vec::new());
    let filter = TraceFilter { started_after: after, started_before: before, ..TraceFilter::default() };
    let offset = (address.page() - 1) * LIMIT;
    let found = blocking(move || shared.store.users(&filter, (LIMIT, offset))).await?;
    let body = html! {
        div.title { h1 { "Users" } (ranges("/ui/users", &address)) }
        div.scroll tabindex="0" role="region" aria-label="Users" {
            table.list {
                thead { tr {
                    th scope="col" { "User" } th scope="col" { "First seen" } th scope="col" { "Last seen" }
                    th.number scope="col" { "Sessions" } th.number scope="col" { "Traces" } th.number scope="col" { "Errors" }
                    th.number scope="col" { "Error rate" } th.number scope="col" { "Tokens" } th.number scope="col" { "Cost" } th scope="col" { "Project" }
                } }
                tbody {
                    @for row in &found.items {
                        tr data-id=(path(&row.project, &row.user_id)) {
                            th scope="row" { (link(&row.project, Some(&row.user_id), 120)) }
                            td.when { (text::time(row.first_seen)) }
                            td.when { (text::time(row.last_seen)) }
                            td.number { (text::some(row.session_count)) }
                            td.number { (text::count(row.trace_count)) }
                            td.number { (text::some(row.error_count)) }
                            td.number { (text::share(row.error_count, row.trace_count)) }
                            td.number { (text::some(row.total_tokens)) }
                            td.number { (text::cost(row.total_cost)) }
                            td { (text::name(&row.project, 40)) }
                        }
                    }
                }
            }
        }
        @if found.items.is_empty() { p.nothing { "No user yet. A trace with a user id makes one." } }
        (frame::pager("/ui/users", &address, found.total, LIMIT))
    };
    Ok(answer(frame::page("Users", Place::Users, "list.js", &body)))
}

pub(super) async fn page(State(shared): State<Shared>, address: Address) -> Shown<Html<String>> {
    let user_id = address.get("id").ok_or(Miss::Absent("user"))?.to_owned();
    let (after, before) = span_of_time(&address, &mut Vec::new());
    let project = address.get("project").map(str::to_owned);
    let mut filter = TraceFilter { project, user_id: Some(user_id), ..TraceFilter::default() };
    let read = blocking(move || {
        let Some(user) = shared.store.users(&filter, (1, 0))?.items.pop() else {
            return Ok(None);
        };
        // Without a project, of the one where the user was seen last.
        filter.project = Some(user.project.clone());
        (filter.started_after, filter.started_before) = (after, before);
        let wanted = Wanted { filter, ..Wanted::default() };
        let of_user = SessionFilter { traces: wanted.filter.clone(), query: None, has_error: None };
        let sessions = shared.store.sessions(&of_user, "recent", Order::Desc, (20, 0))?;
        let listed = traces::Listed::read(&shared.store, &wanted, 1, 20)?;
        Ok(Some((user, sessions, listed, overview::Series::read(&shared.store, wanted.filter)?)))
    });
    let (user, sessions, listed, series) = read.await?.ok_or(Miss::Absent("user"))?;
    let list = Address::default().with("user_id", Some(&user.user_id)).with("project", Some(&user.project));
    let list = list.on("/ui/traces");
    let body = html! {
        div.title.of-trace {
            h1 { (text::name(&user.user_id, 255)) }
            (ranges("/ui/user", &address))
            a.button.quiet.push href=(list) { "All traces" }
        }
        dl.facts {
            (fact("Project", Some(text::name(&user.project, 255))))
            (fact("First seen", Some(text::time(user.first_seen))))
            (fact("Last seen", Some(text::time(user.last_seen))))
            (fact("Traces", Some(html! { (text::count(user.trace_count)) })))
            (fact("Sessions", Some(html! { (text::some(user.session_count)) })))
            (fact("Errors", Some(html! { (text::some(user.error_count)) " " span.faint { (text::share(user.error_count, user.trace_count)) } })))
            (fact("Tokens", Some(html! { (text::some(user.total_tokens)) })))
            (fact("Cost", Some(html! { (text::cost(user.total_cost)) })))
        }
        (series.plots())
        h2 { "Sessions" }
        @if sessions.items.is_empty() { p.nothing { "None in this time." } } @else { (session::table(&sessions)) }
        h2 { "Traces" }
        @if listed.page.items.is_empty() { p.nothing { "None in this time." } } @else { (traces::table(&listed, None)) }
    };
    Ok(answer(frame::page("User", Place::Users, "list.js", &body)))
}
