//! Which traces an address means, and the form that asks.

use std::str::FromStr;

use maud::{Markup, html};

use super::address::Address;
use crate::{Order, SortBy, TraceFilter, time::Micros};

const MINUTE: i64 = 60_000_000;

/// The ranges of time that have a name.
pub(super) const RANGES: [(&str, &str, i64); 4] = [
    ("1h", "Last hour", 60 * MINUTE),
    ("24h", "Last day", 24 * 60 * MINUTE),
    ("7d", "Last week", 7 * 24 * 60 * MINUTE),
    ("30d", "Last 30 days", 30 * 24 * 60 * MINUTE),
];

const STATUSES: [&str; 4] = ["RUNNING", "COMPLETED", "ERROR", "PENDING"];

/// Which traces, in which order, and what of the address means nothing.
#[derive(Default)]
pub(super) struct Wanted {
    pub(super) filter: TraceFilter,
    pub(super) sort: SortBy,
    pub(super) order: Order,
    pub(super) ignored: Vec<&'static str>,
}

impl Wanted {
    pub(super) fn read(address: &Address) -> Self {
        let mut ignored = Vec::new();
        let text = |name| address.get(name).map(str::to_owned);
        let words = |name| text(name).filter(|words| !words.trim().is_empty());
        let (after, before) = span_of_time(address, &mut ignored);
        let filter = TraceFilter {
            project: text("project"),
            session_id: text("session_id"),
            user_id: text("user_id"),
            status: text("status").filter(|status| STATUSES.contains(&status.as_str())),
            tags: tags(address),
            name: words("name"),
            query: words("q"),
            model: text("model"),
            score: text("score"),
            has_error: parsed(address, "has_error", &mut ignored),
            started_after: after,
            started_before: before,
            min_latency_ms: parsed(address, "min_latency_ms", &mut ignored),
            min_tokens: parsed(address, "min_tokens", &mut ignored),
            min_cost: parsed(address, "min_cost", &mut ignored),
            min_spans: parsed(address, "min_spans", &mut ignored),
        };
        let word = |name| address.get(name).map(serde_json::Value::from);
        let sort = word("sort").and_then(|word| serde_json::from_value(word).ok()).unwrap_or_default();
        let order = word("order").and_then(|word| serde_json::from_value(word).ok()).unwrap_or_default();
        Self { filter, sort, order, ignored }
    }

    /// Whether all traces are wanted.
    pub(super) fn is_all(&self) -> bool {
        self.filter == TraceFilter::default()
    }
}

fn parsed<T: FromStr>(address: &Address, name: &'static str, ignored: &mut Vec<&'static str>) -> Option<T> {
    let read = address.get(name)?.trim().parse().ok();
    if read.is_none() {
        ignored.push(name);
    }
    read
}

/// The tags of the field for several, and of links to one that the field cannot hold.
fn tags(address: &Address) -> Vec<String> {
    let words = address.all("tags").flat_map(|tags| tags.split(','));
    let words = words.map(str::trim).filter(|tag| !tag.is_empty());
    words.chain(address.all("tag")).map(str::to_owned).collect()
}

/// The name by which an address asks for that tag.
pub(super) fn of_tag(tag: &str) -> &'static str {
    if tag.contains(',') || tag.trim() != tag { "tag" } else { "tags" }
}

/// From when to when: a range with a name ends now.
pub(super) fn span_of_time(
    address: &Address,
    ignored: &mut Vec<&'static str>,
) -> (Option<Micros>, Option<Micros>) {
    let mut time = |name| {
        let read = Micros::parse(address.get(name)?);
        if read.is_none() {
            ignored.push(name);
        }
        read
    };
    let custom = (time("started_after"), time("started_before"));
    let range = address.get("range").unwrap_or_default();
    match RANGES.iter().find(|(name, ..)| *name == range) {
        Some((_, _, length)) if custom == (None, None) => (Some(Micros(Micros::now().0 - length)), None),
        _ => custom,
    }
}

/// Links to the ranges of time.
pub(super) fn ranges(path: &str, address: &Address) -> Markup {
    let custom = address.get("started_after").is_some() || address.get("started_before").is_some();
    let now = address.get("range").filter(|_| !custom).unwrap_or_default();
    let whole = address.with("page", None).with("started_after", None).with("started_before", None);
    html! {
        nav.ranges aria-label="Range of time" {
            @for (name, title, _) in RANGES {
                a href=(whole.with("range", Some(name)).on(path)) aria-current=[(now == name).then_some("true")] {
                    (title)
                }
            }
            a href=(whole.with("range", None).on(path)) aria-current=[(now.is_empty() && !custom).then_some("true")] {
                "All"
            }
            @if custom { span.chosen { "Custom" } }
        }
    }
}

/// The form above the list.
pub(super) fn form(address: &Address) -> Markup {
    let value = |name: &str| address.get(name).unwrap_or_default().to_owned();
    let hidden_ones = MORE.iter().map(|(name, ..)| *name).chain([
        "has_error",
        "tags",
        "tag",
        "started_after",
        "started_before",
    ]);
    let is_open = hidden_ones.into_iter().any(|name| address.get(name).is_some());
    html! {
        form.filter role="search" aria-label="Traces" method="get" action="/ui/traces" {
            @for name in ["range", "sort", "order", "tag"] {
                @for value in address.all(name) { input type="hidden" name=(name) value=(value); }
            }
            div.first {
                input #search type="search" name="q" value=(value("q")) data-search autocomplete="off"
                    placeholder="Search names, inputs, outputs  ( / )" aria-label="Search names, inputs and outputs";
                (field("name", "Name", "text", &value("name")))
                (choice("status", "Status", &STATUSES.map(|word| (word, word)), &value("status")))
                (field("user_id", "User", "text", &value("user_id")))
                (field("session_id", "Session", "text", &value("session_id")))
                button type="submit" { "Filter" }
                a.button.quiet href="/ui/traces" { "Clear" }
            }
            details.more open[is_open] {
                summary { "More filters" }
                div.grid {
                    (field("tags", "Tags, with commas", "text", &address.all("tags").collect::<Vec<_>>().join(",")))
                    (choice("has_error", "Errors", &[("true", "with an error"), ("false", "without")], &value("has_error")))
                    @for (name, label, kind) in MORE { (field(name, label, kind, &value(name))) }
                    (field("started_after", "Started after (UTC)", "datetime-local", &civil(&value("started_after"))))
                    (field("started_before", "Started before (UTC)", "datetime-local", &civil(&value("started_before"))))
                }
            }
        }
    }
}

const MORE: [(&str, &str, &str); 7] = [
    ("model", "Model", "text"),
    ("score", "Score", "text"),
    ("min_latency_ms", "Latency from (ms)", "number"),
    ("min_tokens", "Tokens from", "number"),
    ("min_cost", "Cost from ($)", "number"),
    ("min_spans", "Spans from", "number"),
    ("project", "Project", "text"),
];

fn field(name: &str, label: &str, kind: &str, value: &str) -> Markup {
    let is_number = kind == "number";
    // A field for a number takes nothing else.
    let value = if is_number && value.parse::<f64>().is_err() { "" } else { value };
    html! {
        label.field {
            span { (label) }
            input type=(kind) name=(name) value=(value) step=[is_number.then_some("any")] autocomplete="off";
        }
    }
}

fn choice(name: &str, label: &str, choices: &[(&str, &str)], chosen: &str) -> Markup {
    html! {
        label.field {
            span { (label) }
            select name=(name) {
                option value="" { "any" }
                @for (value, text) in choices {
                    option value=(value) selected[*value == chosen] { (text.to_ascii_lowercase()) }
                }
            }
        }
    }
}

/// What a field for a time takes.
fn civil(text: &str) -> String {
    Micros::parse(text).and_then(|time| Some(time.to_string().get(..16)?.to_owned())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::Wanted;
    use crate::{SortBy, view::address::Address};

    #[test]
    fn an_address_is_read() {
        let address = Address::parse(
            "tags=a,+b&tags=c&tag=d,+e&user_id=+&name=+&min_tokens=12&min_cost=x&sort=cost&range=1h&status=NONE",
        );
        let wanted = Wanted::read(&address);
        assert_eq!(wanted.filter.tags, ["a", "b", "c", "d, e"]);
        assert_eq!((wanted.filter.user_id.as_deref(), wanted.filter.name), (Some(" "), None));
        assert_eq!(wanted.filter.min_tokens, Some(12));
        assert_eq!(wanted.filter.status, None);
        assert!(wanted.filter.started_after.is_some() && wanted.sort == SortBy::Cost);
        assert_eq!(wanted.ignored, ["min_cost"]);
        let custom = Wanted::read(&Address::parse("started_after=2026-01-02T03:04"));
        assert!(custom.filter.started_after.is_some() && custom.ignored.is_empty());
    }
}
