//! The program's commands.
#![expect(clippy::print_stderr, reason = "a program of the terminal speaks there")]

mod doctor;
mod lines;
mod looking;
mod prune;
mod serve;

use std::{error::Error, io::IsTerminal, path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};

use crate::{Store, TraceFilter, time::Micros};
use looking::plain;

/// Where the store is unless told otherwise: below the current folder.
pub const DEFAULT_STORE: &str = ".pandaprobe/traces.db";

/// Traces of LLM agents on this machine: stored, served and shown.
#[derive(Debug, Parser)]
#[command(name = "pandaprobe-local", version)]
struct Program {
    /// The file of the store.
    #[arg(long, global = true, value_name = "FILE", default_value = DEFAULT_STORE)]
    store: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Takes traces from any PandaProbe SDK, and shows them.
    Serve(serve::Serve),
    /// Opens the viewer in the browser.
    Open(serve::Open),
    /// Lists traces, the newest first.
    Ls(looking::List),
    /// Shows a trace as a tree.
    Show(looking::Show),
    /// Shows traces as they come, until it is stopped.
    Tail(looking::Tail),
    /// Writes traces as JSON Lines.
    Export(lines::Export),
    /// Reads traces from JSON Lines, as `export` and `FileExporter` write them.
    Import(lines::Import),
    /// Removes old traces, and gives their space back.
    Prune(prune::Prune),
    /// Checks the configuration, sends a trace, reads it back, and says what is wrong.
    Doctor(doctor::Doctor),
}

/// Which traces a command is about.
#[derive(Debug, Default, Args)]
struct Which {
    /// Of this user.
    #[arg(long)]
    user: Option<String>,
    /// Of this session.
    #[arg(long)]
    session: Option<String>,
    /// With this status: PENDING, RUNNING, COMPLETED or ERROR.
    #[arg(long, value_parser = ["PENDING", "RUNNING", "COMPLETED", "ERROR"], ignore_case = true)]
    status: Option<String>,
    /// With this tag, or one of several.
    #[arg(long)]
    tag: Vec<String>,
    /// With this in the name.
    #[arg(long)]
    name: Option<String>,
    /// With these words in names, inputs and outputs.
    #[arg(long, value_name = "WORDS")]
    search: Option<String>,
    /// Begun then or later: 2026-01-31, or 2026-01-31T12:00:00Z.
    #[arg(long, value_parser = time, value_name = "TIME")]
    after: Option<Micros>,
    /// Begun then or earlier.
    #[arg(long, value_parser = time, value_name = "TIME")]
    before: Option<Micros>,
}

impl Which {
    fn filter(&self) -> TraceFilter {
        TraceFilter {
            user_id: self.user.clone(),
            session_id: self.session.clone(),
            status: self.status.as_ref().map(|status| status.to_ascii_uppercase()),
            tags: self.tag.clone(),
            name: self.name.clone(),
            query: self.search.clone(),
            started_after: self.after,
            started_before: self.before,
            ..TraceFilter::default()
        }
    }
}

fn time(text: &str) -> Result<Micros, &'static str> {
    Micros::parse(text).ok_or("not a time, as 2026-01-31 or 2026-01-31T12:00:00Z")
}

/// What a command ends with.
type Done = Result<(), Box<dyn Error>>;

/// Runs the program with the arguments of the process.
#[must_use]
pub fn main() -> ExitCode {
    let Program { store, command } = Program::parse();
    let done = match command {
        Command::Serve(serve) => serve.run(store),
        Command::Open(open) => open.run(store),
        Command::Ls(list) => existing(&store).and_then(|store| list.run(&store)),
        Command::Show(show) => existing(&store).and_then(|store| show.run(&store)),
        Command::Tail(tail) => tail.run(&store),
        Command::Export(export) => existing(&store).and_then(|store| export.run(&store)),
        Command::Import(import) => import.run(&store),
        Command::Prune(prune) => existing(&store).and_then(|store| prune.run(&store)),
        Command::Doctor(doctor) => doctor.run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads has seen enough, as `head` has.
        Err(error) if is_broken_pipe(error.as_ref()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pandaprobe-local: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The store, if it is there: to look at one is not to make one.
fn existing(path: &PathBuf) -> Result<Store, Box<dyn Error>> {
    if !path.exists() {
        let path = path.display();
        return Err(format!(
            "there is no store at {path}: run a program that records into it, or name it with --store"
        )
        .into());
    }
    Ok(Store::open(path)?)
}

fn is_broken_pipe(error: &(dyn Error + 'static)) -> bool {
    let io = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
    let json = error.downcast_ref::<serde_json::Error>().and_then(serde_json::Error::io_error_kind);
    io.or(json) == Some(std::io::ErrorKind::BrokenPipe)
}

/// Runs what changes the store.
fn wait<T>(change: impl Future<Output = Result<T, crate::StoreError>>) -> Result<T, Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(change)?)
}

/// Whether the terminal shows colours.
fn has_colour() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty())
}
