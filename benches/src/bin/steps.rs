//! What the pieces cost on the caller's thread: a scope, the current context, a span, a span with a large input; recorded, and
//! switched off.
//!
//! `cargo run --release -p pandaprobe-bench --bin steps`
//!
//! It fails if anything is allocated while nothing is recorded; but a scope holds its ids in any case: recording may begin
//! inside of it.

#![expect(clippy::print_stdout, clippy::expect_used, reason = "a measuring program talks, and stops at once")]

use std::{
    hint::black_box,
    process::ExitCode,
    time::{Duration, Instant},
};

use pandaprobe::{Client, Config, ExportFuture, Exporter, Scope, span};

/// Takes everything and does nothing with it.
struct Nowhere;

impl Exporter for Nowhere {
    fn export<'a>(&'a self, _: &'a pandaprobe::Envelope) -> ExportFuture<'a> {
        Box::pin(std::future::ready(Ok(())))
    }
}

const OPERATIONS: u32 = 200;
const ROUNDS: usize = 401;

type Operation = (&'static str, fn(&str));

const ALL: [Operation; 5] = [
    ("enter a scope", |_| pandaprobe::user("user-abc").run(|| ())),
    ("read the current context", |_| _ = black_box(pandaprobe::current_trace_id())),
    ("an empty span", |_| span("step").run(|_| ())),
    ("a span with a 10 kB input", |text| span("step").input(text).run(|_| ())),
    ("a decorated function", |text| _ = black_box(decorated(text, 7))),
];

#[pandaprobe::span(kind = "TOOL", skip(text))]
fn decorated(text: &str, n: usize) -> usize {
    text.len() + n
}

fn main() -> ExitCode {
    let text = "x".repeat(10_000);
    // The first call looks at the environment, which has no key.
    pandaprobe::trace("first").run(|_| ());
    let off: Vec<(f64, f64)> = ALL.map(|(_, operation)| measure(operation, &text)).to_vec();
    let client = Client::new(Config::new().exporter(Nowhere)).expect("a client");
    println!(
        "median of {ROUNDS} rounds           {:>12}{:>12}{:>12}{:>12}",
        "recorded, ns", "bytes", "off, ns", "bytes"
    );
    for ((name, operation), (off_time, off_bytes)) in ALL.into_iter().zip(&off) {
        let rounds = (0..ROUNDS).map(|_| {
            // A trace of its own for each round, so that none grows without bound.
            let inside = Scope::new().client(client.clone());
            let cost = inside.run(|| pandaprobe::trace("round").run(|_| once(operation, &text)));
            // What is full drops what comes, which costs less.
            client.flush(Duration::from_secs(60)).expect("it is taken at once");
            cost
        });
        let (time, bytes) = medians(rounds.collect());
        println!("{name:30}{time:>12.0}{bytes:>12.0}{off_time:>12.1}{off_bytes:>12.0}");
    }
    match off.iter().skip(1).all(|(_, bytes)| *bytes == 0.0) && client.stats().dropped_total() == 0 {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn measure(operation: fn(&str), text: &str) -> (f64, f64) {
    medians((0..ROUNDS).map(|_| once(operation, text)).collect())
}

/// Nanoseconds and bytes of one operation.
fn once(operation: fn(&str), text: &str) -> (f64, f64) {
    let begun = Instant::now();
    let used = allocation_counter::measure(|| (0..OPERATIONS).for_each(|_| operation(text)));
    let nanoseconds = begun.elapsed().as_nanos() as f64;
    (nanoseconds / f64::from(OPERATIONS), used.bytes_total as f64 / f64::from(OPERATIONS))
}

fn medians(mut rounds: Vec<(f64, f64)>) -> (f64, f64) {
    rounds.sort_by(|one, other| one.0.total_cmp(&other.0));
    let time = rounds[rounds.len() / 2].0;
    rounds.sort_by(|one, other| one.1.total_cmp(&other.1));
    (time, rounds[rounds.len() / 2].1)
}
