//! JSON Lines, out and in.
//!
//! A trace is a line by itself, as the API takes it, with 500 spans at most; further spans are lines of
//! `{"trace_id": …, "spans": […]}`, and scores are `{"score": {…}}`. Each has the `project` if that is not the usual one.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, BufWriter, Read, Write},
    path::{Path, PathBuf},
};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};
use serde_json::{json, value::RawValue};
use uuid::Uuid;

use super::{Done, Which, plain};
use crate::{
    ScoreFilter, SpanRow, Store, StoredTrace,
    exporter::DEFAULT_PROJECT,
    store::{import_score, patch_trace, post_spans, post_trace},
    time::Micros,
    wire::{self, MAX_SPANS, Raw, ScoreIn, SpanIn, TraceIn, TracePatch},
};

#[derive(Debug, Args)]
pub(super) struct Export {
    #[command(flatten)]
    which: Which,
    /// The file to write. Without one, or with `-`, the terminal.
    file: Option<PathBuf>,
}

impl Export {
    pub(super) fn run(self, store: &Store) -> Done {
        let ids = store.trace_ids(&self.which.filter())?;
        let bar = bar(ids.len() as u64, "{pos} of {len} traces {wide_bar} {eta}");
        let write_all = |out: &mut dyn Write| -> Done {
            let mut out = BufWriter::new(out);
            for id in ids {
                let trace_id: Uuid = id.parse()?;
                if let Some(trace) = store.trace(trace_id)? {
                    write_trace(&mut out, &trace)?;
                    write_scores(&mut out, store, trace_id)?;
                }
                bar.inc(1);
            }
            Ok(out.flush()?)
        };
        match named(self.file.as_deref()) {
            Some(path) if std::fs::metadata(path).is_ok_and(|file| !file.is_file()) => {
                write_all(&mut OpenOptions::new().write(true).open(path)?)?;
            }
            Some(path) => {
                // The name stands for a whole export, or for what it stood for before.
                let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
                let mut part = path.clone().into_os_string();
                part.push(".part");
                let written =
                    File::create(&part).map_err(Into::into).and_then(|mut file| write_all(&mut file));
                if let Err(error) = written {
                    let _ = std::fs::remove_file(&part);
                    return Err(error);
                }
                std::fs::rename(part, path)?;
            }
            None => write_all(&mut io::stdout().lock())?,
        }
        bar.finish_and_clear();
        Ok(())
    }
}

/// A trace as `POST /traces` takes it, in the form that was stored.
#[derive(Serialize)]
struct TraceLine<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    project: Option<&'a str>,
    trace_id: &'a str,
    name: &'a str,
    status: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    input: &'a Option<Raw>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: &'a Option<Raw>,
    metadata: &'a Raw,
    started_at: Micros,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<Micros>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: &'a Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: &'a Option<String>,
    tags: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    environment: &'a Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    release: &'a Option<String>,
    spans: Vec<SpanLine<'a>>,
}

/// The spans for which a trace's own line has no room.
#[derive(Serialize)]
struct MoreSpans<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    project: Option<&'a str>,
    trace_id: &'a str,
    spans: Vec<SpanLine<'a>>,
}

/// A span of it.
#[derive(Serialize)]
struct SpanLine<'a> {
    span_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_span_id: &'a Option<String>,
    name: &'a str,
    kind: &'a str,
    status: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    input: &'a Option<Raw>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: &'a Option<Raw>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: &'a Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_usage: &'a Option<Raw>,
    metadata: &'a Raw,
    started_at: Micros,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<Micros>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: &'a Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    completion_start_time: Option<Micros>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model_parameters: &'a Option<Raw>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cost: &'a Option<Raw>,
}

impl<'a> SpanLine<'a> {
    fn new(span: &'a SpanRow) -> Self {
        Self {
            span_id: &span.span_id,
            parent_span_id: &span.parent_span_id,
            name: &span.name,
            kind: &span.kind,
            status: &span.status,
            input: &span.input,
            output: &span.output,
            model: &span.model,
            token_usage: &span.token_usage,
            metadata: &span.metadata,
            started_at: span.started_at,
            ended_at: span.ended_at,
            error: &span.error,
            completion_start_time: span.completion_start_time,
            model_parameters: &span.model_parameters,
            cost: &span.cost,
        }
    }
}

fn write_trace(out: &mut impl Write, trace: &StoredTrace) -> Result<(), io::Error> {
    let StoredTrace { row, input, output, metadata, spans, .. } = trace;
    let mut parts = spans.chunks(MAX_SPANS).map(|part| part.iter().map(SpanLine::new).collect::<Vec<_>>());
    let project = unusual(&row.project);
    let line = TraceLine {
        project,
        trace_id: &row.trace_id,
        name: &row.name,
        status: &row.status,
        input,
        output,
        metadata,
        started_at: row.started_at,
        ended_at: row.ended_at,
        session_id: &row.session_id,
        user_id: &row.user_id,
        tags: &row.tags,
        environment: &row.environment,
        release: &row.release,
        spans: parts.next().unwrap_or_default(),
    };
    serde_json::to_writer(&mut *out, &line)?;
    writeln!(out)?;
    for spans in parts {
        serde_json::to_writer(&mut *out, &MoreSpans { project, trace_id: &row.trace_id, spans })?;
        writeln!(out)?;
    }
    Ok(())
}

/// A score as `POST /evaluations/trace-scores` takes it, and which one it is.
#[derive(Serialize)]
struct ScoreLine<'a> {
    trace_id: &'a str,
    name: &'a str,
    value: &'a Option<String>,
    data_type: &'a str,
    source: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: &'a Option<String>,
    metadata: &'a Raw,
    score_id: &'a str,
    created_at: Micros,
}

/// The scores of a trace, the oldest first.
fn write_scores(out: &mut impl Write, store: &Store, trace_id: Uuid) -> Done {
    #[derive(Serialize)]
    struct Line<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        project: Option<&'a str>,
        score: ScoreLine<'a>,
    }
    let filter = ScoreFilter { trace_id: Some(trace_id), ..ScoreFilter::default() };
    for score in store.scores(&filter, (i64::MAX, 0))?.items.iter().rev() {
        let line = Line {
            project: unusual(&score.project),
            score: ScoreLine {
                trace_id: &score.trace_id,
                name: &score.name,
                value: &score.value,
                data_type: &score.data_type,
                source: &score.source,
                reason: &score.reason,
                metadata: &score.metadata,
                score_id: &score.id,
                created_at: score.created_at,
            },
        };
        serde_json::to_writer(&mut *out, &line)?;
        writeln!(out)?;
    }
    Ok(())
}

/// A project's name, if it has to be said.
fn unusual(project: &str) -> Option<&str> {
    Some(project).filter(|project| *project != DEFAULT_PROJECT)
}

#[derive(Debug, Args)]
pub(super) struct Import {
    /// The file to read. Without one, or with `-`, the terminal.
    file: Option<PathBuf>,
    /// Of which project the traces are. Without it, of the one that their lines name.
    #[arg(long)]
    project: Option<String>,
    /// The result as JSON.
    #[arg(long)]
    json: bool,
}

/// A line, of whichever kind.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow, default)]
    name: Option<&'a RawValue>,
    #[serde(default)]
    project: Option<String>,
    #[serde(default)]
    trace_id: Option<Uuid>,
    #[serde(borrow, default)]
    spans: Option<&'a RawValue>,
    #[serde(borrow, default)]
    update: Option<&'a RawValue>,
    #[serde(borrow, default)]
    score: Option<&'a RawValue>,
}

/// What a line asks for.
enum Change {
    Trace(TraceIn),
    Spans(Uuid, Vec<SpanIn>),
    Update(Uuid, TracePatch),
    Score(Mark, ScoreIn),
}

/// Which score it is, if that is known.
#[derive(Deserialize)]
struct Mark {
    #[serde(default)]
    score_id: Option<Uuid>,
    #[serde(default)]
    created_at: Option<Micros>,
}

impl Import {
    pub(super) fn run(self, path: &Path) -> Done {
        let store = Store::open(path)?;
        let (bar, input): (ProgressBar, Box<dyn Read>) = match named(self.file.as_deref()) {
            Some(path) => {
                let file = File::open(path)?;
                let bar = bar(file.metadata()?.len(), "{bytes} of {total_bytes} {wide_bar} {eta}");
                (bar.clone(), Box::new(bar.wrap_read(file)))
            }
            None => (ProgressBar::hidden(), Box::new(io::stdin().lock())),
        };
        let mut imported = 0_u64;
        let mut refused = 0_u64;
        for (number, line) in BufReader::new(input).split(b'\n').enumerate() {
            let line = line?;
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            match self.take(&store, &line) {
                Ok(()) => imported += 1,
                Err(error) => {
                    refused += 1;
                    bar.suspend(|| eprintln!("line {}: {}", number + 1, plain(&error.to_string())));
                }
            }
        }
        bar.finish_and_clear();
        if self.json {
            writeln!(io::stdout(), "{}", json!({"imported": imported, "refused": refused}))?;
        } else {
            eprintln!("{imported} lines were imported");
        }
        if refused > 0 { Err(format!("{refused} lines were not").into()) } else { Ok(()) }
    }

    fn take(&self, store: &Store, line: &[u8]) -> Done {
        let (named, change) = read(line)?;
        let project = self.project.clone().or(named).unwrap_or_else(|| DEFAULT_PROJECT.to_owned());
        let is_known = store.change_blocking(move |connection| match &change {
            Change::Trace(trace) => post_trace(connection, &project, trace),
            Change::Spans(id, spans) => post_spans(connection, Some(&project), *id, spans),
            Change::Update(id, patch) => patch_trace(connection, Some(&project), *id, patch),
            Change::Score(mark, score) => {
                import_score(connection, &project, score, mark.score_id, mark.created_at)
            }
        });
        match is_known {
            Ok(true) => Ok(()),
            Ok(false) => Err("its trace is not in the store, or another project's".into()),
            Err(error) => Err(error.into()),
        }
    }
}

/// What a line asks for, and the project that it names.
fn read(line: &[u8]) -> Result<(Option<String>, Change), Box<dyn std::error::Error>> {
    let mut parts: Line<'_> = wire::parse(line)?;
    let raw = |part: &RawValue| part.get().as_bytes().to_vec();
    let project = parts.project.take();
    let change = match parts {
        Line { name: Some(_), .. } => Change::Trace(wire::parse(line)?),
        Line { score: Some(mark), .. } => {
            let score: ScoreIn = wire::parse(&raw(mark))?;
            match score.refused() {
                Some(wrong) => return Err(wrong.into()),
                None => Change::Score(wire::parse(&raw(mark))?, score),
            }
        }
        Line { trace_id: Some(id), spans: Some(spans), .. } => Change::Spans(id, wire::parse(&raw(spans))?),
        Line { trace_id: Some(id), update: Some(update), .. } => {
            Change::Update(id, wire::parse(&raw(update))?)
        }
        _ => return Err("it is no trace, no spans, no update and no score".into()),
    };
    Ok((project, change))
}

fn named(file: Option<&Path>) -> Option<&Path> {
    file.filter(|file| *file != Path::new("-"))
}

/// A bar on the terminal, if there is one.
fn bar(length: u64, template: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(length).with_style(style)
}
