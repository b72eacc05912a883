//! Prints traces as trees.

use std::{
    fmt,
    io::{self, IsTerminal, Write},
};

use super::{Envelope, ExportFuture, Exporter, Payload, Tree, done};
use crate::sync::{Mutex, lock};

/// Prints each trace as a tree of its spans: kind, name, duration, tokens, status.
///
/// In colour if it prints to a terminal and `NO_COLOR` is not set.
pub struct ConsoleExporter {
    out: Mutex<Box<dyn Write + Send>>,
    colour: bool,
}

impl ConsoleExporter {
    /// Prints to standard output.
    pub fn stdout() -> Self {
        Self::writing(io::stdout(), wants_colour(io::stdout().is_terminal()))
    }

    /// Prints to standard error.
    pub fn stderr() -> Self {
        Self::writing(io::stderr(), wants_colour(io::stderr().is_terminal()))
    }

    /// Prints to `out`, without colour.
    pub fn to(out: impl Write + Send + 'static) -> Self {
        Self::writing(out, false)
    }

    fn writing(out: impl Write + Send + 'static, colour: bool) -> Self {
        Self { out: Mutex::new(Box::new(out)), colour }
    }

    fn print(&self, text: impl fmt::Display) {
        // Nobody can be told that a console is gone.
        let mut out = lock(&self.out);
        let _ = write!(out, "{text}").and_then(|()| out.flush());
    }
}

fn wants_colour(is_terminal: bool) -> bool {
    is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

impl Default for ConsoleExporter {
    fn default() -> Self {
        Self::stdout()
    }
}

impl fmt::Debug for ConsoleExporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConsoleExporter").field("colour", &self.colour).finish_non_exhaustive()
    }
}

impl Exporter for ConsoleExporter {
    fn export<'a>(&'a self, envelope: &'a Envelope) -> ExportFuture<'a> {
        let id = envelope.trace_id();
        match envelope.payload() {
            Payload::Trace => {
                if let Some(trace) = envelope.trace() {
                    self.print(Tree::new(&trace).colour(self.colour));
                }
            }
            Payload::Spans => {
                let names: Vec<String> =
                    envelope.spans().unwrap_or_default().into_iter().map(|span| span.name).collect();
                self.print(format_args!("trace {id}: later spans: {}\n", names.join(", ")));
            }
            Payload::Update => self.print(format_args!("trace {id}: updated\n")),
            Payload::Score => {
                if let Some(score) = envelope.score() {
                    self.print(format_args!("trace {id}: score {} = {}\n", score.name, score.value));
                }
            }
        }
        done(Ok(()))
    }
}
