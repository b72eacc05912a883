//! A trace as a tree of text.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    time::Duration,
};

use anstyle::{AnsiColor, Style};

use crate::model::{SpanData, SpanId, SpanKind, SpanStatus, TokenUsage, TraceData, TraceStatus};

/// Shows a trace as a tree of its spans, one line each.
///
/// ```text
/// support-agent COMPLETED 1.20s session=conversation-123 user=user-abc
/// └─ AGENT plan 1.19s OK
///    ├─ LLM openai-chat gpt-4o 800ms 120→30 tokens OK
///    └─ TOOL search 390ms ERROR: no such index
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "a tree is shown by formatting it"]
pub struct Tree<'a> {
    trace: &'a TraceData,
    colour: bool,
    times: bool,
}

impl<'a> Tree<'a> {
    /// The tree of `trace`, without colour.
    pub fn new(trace: &'a TraceData) -> Self {
        Self { trace, colour: false, times: true }
    }

    /// Whether to use the colours of a terminal.
    pub fn colour(mut self, colour: bool) -> Self {
        self.colour = colour;
        self
    }

    /// Whether to show durations. Without them the tree of a trace is the same each time, fit for snapshots.
    pub fn times(mut self, times: bool) -> Self {
        self.times = times;
        self
    }

    fn header(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let trace = self.trace;
        self.paint(f, Style::new().bold(), &trace.name)?;
        let (word, style) = match trace.status {
            TraceStatus::Error => ("ERROR", RED),
            TraceStatus::Completed => ("COMPLETED", GREEN),
            TraceStatus::Running => ("RUNNING", PLAIN),
            TraceStatus::Pending => ("PENDING", PLAIN),
        };
        f.write_str(" ")?;
        self.paint(f, style, word)?;
        self.duration(f, trace.ended_at.map(|end| end.since(trace.started_at)))?;
        for (key, value) in [("session", &trace.session_id), ("user", &trace.user_id)] {
            if let Some(value) = value {
                write!(f, " {key}={}", one_line(value))?;
            }
        }
        if !trace.tags.is_empty() {
            write!(f, " tags={}", one_line(&trace.tags.join(",")))?;
        }
        writeln!(f)
    }

    fn line(&self, f: &mut fmt::Formatter<'_>, span: &SpanData) -> fmt::Result {
        self.paint(f, kind_style(span.kind), span.kind.as_str())?;
        write!(f, " {}", one_line(&span.name))?;
        if let Some(model) = &span.model {
            write!(f, " {}", one_line(model))?;
        }
        self.duration(f, span.ended_at.map(|end| end.since(span.started_at)))?;
        if let Some(usage) = &span.token_usage {
            tokens(f, usage)?;
        }
        match (span.status, &span.error) {
            (SpanStatus::Ok, _) => {
                f.write_str(" ")?;
                self.paint(f, GREEN, "OK")
            }
            (SpanStatus::Unset, _) => f.write_str(" UNSET"),
            (SpanStatus::Error, error) => {
                let text = error.as_deref().map(|e| format!("ERROR: {}", one_line(e)));
                f.write_str(" ")?;
                self.paint(f, RED, text.as_deref().unwrap_or("ERROR"))
            }
        }?;
        if let Some(end) = span.metadata.get("pandaprobe.end").and_then(|end| end.as_str()) {
            write!(f, " ({})", one_line(end))?;
        }
        writeln!(f)
    }

    fn branch(
        &self,
        f: &mut fmt::Formatter<'_>,
        children: &Children<'a>,
        parent: Option<SpanId>,
        indent: &str,
    ) -> fmt::Result {
        let Some(spans) = children.get(&parent) else {
            return Ok(());
        };
        if indent.chars().count() > DEEPEST * 3 {
            return writeln!(f, "{indent}└─ …");
        }
        for (at, span) in spans.iter().enumerate() {
            let last = at + 1 == spans.len();
            write!(f, "{indent}{}", if last { "└─ " } else { "├─ " })?;
            self.line(f, span)?;
            let deeper = format!("{indent}{}", if last { "   " } else { "│  " });
            self.branch(f, children, Some(span.span_id), &deeper)?;
        }
        Ok(())
    }

    fn duration(&self, f: &mut fmt::Formatter<'_>, duration: Option<Duration>) -> fmt::Result {
        match duration.filter(|_| self.times) {
            None => Ok(()),
            Some(d) if d < Duration::from_secs(1) => write!(f, " {}ms", d.as_millis()),
            Some(d) => write!(f, " {:.2}s", d.as_secs_f64()),
        }
    }

    fn paint(&self, f: &mut fmt::Formatter<'_>, style: Style, text: &str) -> fmt::Result {
        let text = one_line(text);
        if self.colour { write!(f, "{style}{text}{style:#}") } else { f.write_str(&text) }
    }
}

/// How many levels are shown. Deeper ones are recorded all the same.
const DEEPEST: usize = 64;

type Children<'a> = HashMap<Option<SpanId>, Vec<&'a SpanData>>;

/// The spans below each span in order of their start. At the root level also those whose parent is not here
/// (it was sent in another block).
fn children(spans: &[SpanData]) -> Children<'_> {
    let known: HashSet<SpanId> = spans.iter().map(|span| span.span_id).collect();
    let mut children = Children::new();
    for span in spans {
        let parent = span.parent_span_id.filter(|id| known.contains(id) && *id != span.span_id);
        children.entry(parent).or_default().push(span);
    }
    for siblings in children.values_mut() {
        siblings.sort_by_key(|span| span.started_at);
    }
    children
}

const PLAIN: Style = Style::new();
const RED: Style = AnsiColor::Red.on_default();
const GREEN: Style = AnsiColor::Green.on_default();

fn kind_style(kind: SpanKind) -> Style {
    match kind {
        SpanKind::Llm => AnsiColor::Magenta.on_default(),
        SpanKind::Tool => AnsiColor::Yellow.on_default(),
        SpanKind::Agent | SpanKind::Chain => AnsiColor::Cyan.on_default(),
        SpanKind::Retriever | SpanKind::Embedding => AnsiColor::Blue.on_default(),
        SpanKind::Other => PLAIN,
    }
}

fn tokens(f: &mut fmt::Formatter<'_>, usage: &TokenUsage) -> fmt::Result {
    match (usage.prompt_tokens, usage.completion_tokens) {
        (Some(prompt), Some(completion)) => write!(f, " {prompt}→{completion} tokens"),
        _ => usage.total().map_or(Ok(()), |total| write!(f, " {total} tokens")),
    }
}

/// What was recorded may hold line ends or terminal codes; neither may reach the console.
fn one_line(text: &str) -> String {
    const MOST: usize = 200;
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MOST).collect();
    if text.chars().nth(MOST).is_some() { clean + "…" } else { clean }
}

impl fmt::Display for Tree<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.header(f)?;
        self.branch(f, &children(&self.trace.spans), None, "")
    }
}
