//! What is stored, in the terminal.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    path::Path,
    thread::sleep,
    time::Duration,
};

use clap::Args;
use pandaprobe_core::{TraceData, Tree};
use serde_json::json;
use uuid::Uuid;

use super::{Done, Which, has_colour};
use crate::{Order, SortBy, Store, StoredTrace, TraceRow, time::Micros, wire::Raw};

/// How often `tail` looks.
const PERIOD: Duration = Duration::from_millis(250);

#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    which: Which,
    /// How many.
    #[arg(long, short = 'n', default_value_t = 20, value_parser = clap::value_parser!(i64).range(1..))]
    limit: i64,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

impl List {
    pub(super) fn run(self, store: &Store) -> Done {
        let page = store.traces(&self.which.filter(), SortBy::StartedAt, Order::Desc, (self.limit, 0))?;
        let mut out = io::stdout().lock();
        for row in &page.items {
            write_row(&mut out, row, self.json)?;
        }
        if !self.json && page.total > i64::try_from(page.items.len())? {
            writeln!(out, "{} of {}", page.items.len(), page.total)?;
        }
        Ok(())
    }
}

fn write_row(out: &mut impl Write, row: &TraceRow, json: bool) -> Result<(), io::Error> {
    if json {
        return writeln!(out, "{}", harmless(serde_json::to_string(row)?));
    }
    let started = row.started_at.to_string();
    let latency = row.latency_ms.map_or_else(|| "-".to_owned(), |latency| format!("{latency:.0}ms"));
    write!(out, "{} {} {:<9} {latency:>8}", row.trace_id, &started[..19.min(started.len())], row.status)?;
    write!(out, " {:>4} spans {:>7} tokens {}", row.span_count, row.total_tokens, plain(&row.name))?;
    for (what, value) in [("user", &row.user_id), ("session", &row.session_id)] {
        if let Some(value) = value {
            write!(out, " {what}={}", plain(value))?;
        }
    }
    writeln!(out)
}

/// A recorded text without what a terminal would obey.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || is_direction(c) { '\u{fffd}' } else { c }).collect()
}

/// The same JSON without what a terminal would obey and JSON need not escape. Such a character is always in a string.
fn harmless(json: String) -> String {
    if !json.contains(is_late_control) {
        return json;
    }
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            c if is_late_control(c) => text.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => text.push(c),
        }
    }
    text
}

fn is_late_control(c: char) -> bool {
    ('\u{7f}'..='\u{9f}').contains(&c)
}

fn is_direction(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
}

#[derive(Debug, Args)]
pub(super) struct Show {
    /// Its id, or the beginning of it that no other has.
    trace: String,
    /// All of it, as JSON.
    #[arg(long)]
    json: bool,
}

impl Show {
    pub(super) fn run(self, store: &Store) -> Done {
        let trace_id = find(store, &self.trace)?;
        let trace = store.trace(trace_id)?.ok_or("the trace is gone")?;
        let mut out = io::stdout().lock();
        if self.json {
            writeln!(out, "{}", harmless(serde_json::to_string_pretty(&trace)?))?;
        } else {
            write!(out, "{}", Tree::new(&data(&trace)?).colour(has_colour()))?;
        }
        Ok(())
    }
}

/// The trace whose id begins so.
pub(super) fn find(store: &Store, beginning: &str) -> Result<Uuid, Box<dyn std::error::Error>> {
    if let Ok(id) = beginning.parse() {
        return Ok(id);
    }
    let found = store.trace_ids_like(beginning)?;
    match found.as_slice() {
        [one] => Ok(one.parse()?),
        [] => Err(format!("no trace has an id that begins with {beginning:?}").into()),
        _ => Err(format!("several traces have an id that begins with {beginning:?}").into()),
    }
}

/// The trace as the SDK knows it, as far as a tree shows it: without what is long, and what a terminal would obey.
fn data(StoredTrace { row, spans, .. }: &StoredTrace) -> Result<TraceData, serde_json::Error> {
    let shown = |text: &Option<String>| text.as_deref().map(plain);
    // The SDK knows no time before 1970.
    let at = |time: Micros| Micros(time.0.max(0));
    let spans = spans.iter().map(|span| {
        json!({
            "span_id": span.span_id, "parent_span_id": span.parent_span_id, "name": plain(&span.name),
            "kind": span.kind, "status": span.status, "model": shown(&span.model), "error": shown(&span.error),
            "token_usage": span.token_usage.as_ref().and_then(counts),
            "started_at": at(span.started_at), "ended_at": span.ended_at.map(at),
        })
    });
    serde_json::from_value(json!({
        "trace_id": row.trace_id, "name": plain(&row.name), "status": row.status, "started_at": at(row.started_at),
        "ended_at": row.ended_at.map(at), "session_id": shown(&row.session_id), "user_id": shown(&row.user_id),
        "tags": row.tags.iter().map(|tag| plain(tag)).collect::<Vec<_>>(), "spans": spans.collect::<Vec<_>>(),
    }))
}

/// What of a usage are counts: others may have written anything.
fn counts(usage: &Raw) -> Option<BTreeMap<String, u32>> {
    let usage: BTreeMap<String, Raw> = serde_json::from_str(usage.get()).ok()?;
    Some(usage.into_iter().filter_map(|(name, count)| Some((name, count.get().parse().ok()?))).collect())
}

#[derive(Debug, Args)]
pub(super) struct Tail {
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

impl Tail {
    pub(super) fn run(self, path: &Path) -> Done {
        let store = Store::open(path)?;
        let mut seen = store.last_change()?;
        loop {
            let (rows, until) = store.changed_since(seen, 500)?;
            seen = until;
            let mut out = io::stdout().lock();
            for row in &rows {
                write_row(&mut out, row, self.json)?;
            }
            out.flush()?;
            drop(out);
            sleep(PERIOD);
        }
    }
}
