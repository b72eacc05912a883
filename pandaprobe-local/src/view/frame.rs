//! What all pages share.

use maud::{DOCTYPE, Markup, html};

use super::{address::Address, assets, text};

/// Which of the places at the top a page belongs to.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Place {
    Traces,
    Sessions,
    Users,
    Overview,
    Nowhere,
}

const PLACES: [(Place, &str, &str); 4] = [
    (Place::Traces, "/ui/traces", "Traces"),
    (Place::Sessions, "/ui/sessions", "Sessions"),
    (Place::Users, "/ui/users", "Users"),
    (Place::Overview, "/ui/overview", "Overview"),
];

/// A page. `script` is the asset that makes it live.
pub(super) fn page(title: &str, place: Place, script: &str, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · PandaProbe" }
                link rel="icon" href=(assets::address("icon.svg"));
                link rel="stylesheet" href=(assets::address("style.css"));
                script type="module" src=(assets::address(script)) {}
            }
            body {
                a.skip href="#main" { "Skip to the page" }
                (top(place))
                main #main tabindex="-1" { (body) }
                (help(place))
            }
        }
    }
}

fn top(place: Place) -> Markup {
    html! {
        header.top {
            a.brand href="/ui/traces" {
                img src=(assets::address("icon.svg")) alt="" width="20" height="20";
                "PandaProbe"
            }
            nav aria-label="Pages" {
                @for (at, href, name) in PLACES {
                    a href=(href) aria-current=[(at == place).then_some("page")] { (name) }
                }
            }
            button.quiet #help-button type="button" title="Keys (?)" aria-label="Show the keys" { "?" }
        }
    }
}

fn help(place: Place) -> Markup {
    let of_lists: &[(&str, &str)] = &[
        ("j k ↓ ↑", "next, previous row"),
        ("Enter", "open it"),
        ("/", "search"),
        ("p", "pause what is live"),
    ];
    let of_trees: &[(&str, &str)] = &[
        ("j k ↓ ↑", "next, previous span"),
        ("← →", "fold, unfold"),
        ("e E", "next, previous error"),
        ("/", "find a span by name"),
        ("z 0", "zoom to the span, and back"),
        ("Esc", "back to the trace as a whole"),
        ("┬", "on a bar: the first token came"),
    ];
    html! {
        dialog #help aria-labelledby="help-title" {
            h2 #help-title { "Keys" }
            h3 { "Lists" }
            (keys(of_lists))
            h3 { "A trace" }
            (keys(of_trees))
            h3 { "Everywhere" }
            (keys(&[("?", "this list"), ("t s u o", "traces, sessions, users, overview")]))
            @if place != Place::Nowhere { p.faint { "Esc closes this." } }
        }
    }
}

fn keys(keys: &[(&str, &str)]) -> Markup {
    html! {
        dl.keys {
            @for (key, what) in keys {
                dt { @for key in key.split(' ') { kbd { (key) } " " } }
                dd { (what) }
            }
        }
    }
}

/// A page that says one thing.
pub(super) fn notice(title: &str, text: &str) -> Markup {
    let body = html! {
        div.notice {
            h1 { (title) }
            p { (text) }
            p { a href="/ui/traces" { "All traces" } }
        }
    };
    page(title, Place::Nowhere, "page.js", &body)
}

/// How to send a first trace.
pub(super) fn welcome(host: &str) -> Markup {
    let endpoint = format!("http://{}", text::cut(host, 100));
    let settings = format!(
        "export PANDAPROBE_ENDPOINT={endpoint}\nexport PANDAPROBE_API_KEY=anything\nexport PANDAPROBE_PROJECT_NAME=mine"
    );
    html! {
        div.notice {
            h1 { "No trace yet" }
            p { "Point a program at this server and run it. Its traces appear here by themselves." }
            div.copyable {
                pre #settings { (settings) }
                (copy("settings"))
            }
            p { "Or post one by hand:" }
            div.copyable {
                pre #by-hand {
                    "curl " (endpoint) "/traces -H 'content-type: application/json' \\\n"
                    "  -d '{\"name\": \"hello\", \"started_at\": \"2026-01-01T00:00:00Z\"}'"
                }
                (copy("by-hand"))
            }
        }
    }
}

/// A button that copies the text of an element.
pub(super) fn copy(id: &str) -> Markup {
    html! { button.quiet.copy type="button" data-copy=(id) { "Copy" } }
}

/// Which part of a list this is, and the way to the others.
pub(super) fn pager(path: &str, address: &Address, total: i64, limit: i64) -> Markup {
    let page = address.page();
    let pages = total.saturating_add(limit - 1) / limit.max(1);
    let to = |page: i64| address.with("page", Some(&page.to_string())).on(path);
    let (first, last) = ((page - 1) * limit + 1, total.min(page * limit));
    html! {
        nav.pager aria-label="Parts of the list" {
            @if total > 0 && first <= last {
                span { (text::count(first)) "–" (text::count(last)) " of " (text::count(total)) }
            } @else {
                span { (text::count(total)) " in all" }
            }
            @if page > 1 { a rel="prev" href=(to((page - 1).min(pages.max(1)))) { "← Before" } }
            @if page < pages { a rel="next" href=(to(page + 1)) { "After →" } }
        }
    }
}

/// A name and a value, if there is one.
pub(super) fn fact(name: &str, value: Option<Markup>) -> Markup {
    html! {
        @if let Some(value) = value {
            div { dt { (name) } dd { (value) } }
        }
    }
}

/// What became of a trace or a span.
pub(super) fn status(status: &str) -> Markup {
    let class = match status {
        "ERROR" => "status bad",
        "RUNNING" | "PENDING" => "status live",
        "UNSET" => "status unset",
        _ => "status good",
    };
    html! { span class=(class) { (status.to_ascii_lowercase()) } }
}
