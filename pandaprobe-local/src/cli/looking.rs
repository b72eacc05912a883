//! What is stored, in the terminal.

use std::{
    io::{self, Write},
    path::Path,
    thread::sleep,
    time::Duration,
};

use clap::Args;
use pandaprobe_core::{TraceData, Tree};
use serde_json::Value;
use uuid::Uuid;

use super::{Done, Which, has_colour};
use crate::{Order, SortBy, Store, StoredTrace, TraceRow};

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
        serde_json::to_writer(&mut *out, row)?;
        return writeln!(out);
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
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || is_direction(c) { '\u{fffd}' } else { c }).collect()
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
        let trace_id = self.find(store)?;
        let trace = store.trace(trace_id)?.ok_or("the trace is gone")?;
        let mut out = io::stdout().lock();
        if self.json {
            serde_json::to_writer_pretty(&mut out, &trace)?;
            writeln!(out)?;
        } else {
            write!(out, "{}", Tree::new(&data(&trace)?).colour(has_colour()))?;
        }
        Ok(())
    }

    fn find(&self, store: &Store) -> Result<Uuid, Box<dyn std::error::Error>> {
        if let Ok(id) = self.trace.parse() {
            return Ok(id);
        }
        let found = store.trace_ids_like(&self.trace)?;
        match found.as_slice() {
            [one] => Ok(one.parse()?),
            [] => Err(format!("no trace has an id that begins with {:?}", self.trace).into()),
            _ => Err(format!("several traces have an id that begins with {:?}", self.trace).into()),
        }
    }
}

/// The trace as the SDK knows it, as far as a tree shows it.
fn data(trace: &StoredTrace) -> Result<TraceData, serde_json::Error> {
    let mut value = serde_json::to_value(trace)?;
    tidy(&mut value, &["name", "user_id", "session_id"]);
    for span in value["spans"].as_array_mut().into_iter().flatten() {
        tidy(span, &["name", "model", "error"]);
    }
    serde_json::from_value(value)
}

/// Removes what is long, and what a terminal would obey.
fn tidy(value: &mut Value, shown: &[&str]) {
    let Value::Object(fields) = value else {
        return;
    };
    fields.retain(|name, _| !["input", "output"].contains(&name.as_str()));
    for name in shown {
        if let Some(Value::String(text)) = fields.get_mut(*name) {
            *text = plain(text);
        }
    }
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
