//! The choke point: the one place that may change what was recorded, on its way out.
//!
//! In this order: sampling decides whether a trace leaves at all, `before_send` sees it whole, content is left out if it
//! is not wanted, what must not leave is redacted, and limits are kept.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use crate::{
    config::Config,
    model::{ScoreData, SpanData, SpanStatus, TraceData, TraceId, TraceStatus, TraceUpdate},
    pipeline::make_safe,
    report::{DropReason, ReportKind, Reporter},
};

mod content;
mod keys;
mod limits;
mod redact;
#[cfg(feature = "redact")]
mod rules;
mod sampling;

pub use redact::Redact;
#[cfg(feature = "redact")]
pub use rules::{InvalidRule, Redactor};
pub use sampling::Sampling;

use limits::Limits;

/// May change or withhold a trace before it is sent.
pub(crate) type BeforeSend = Arc<dyn Fn(TraceData) -> Option<TraceData> + Send + Sync>;

/// What of a configuration decides what leaves.
#[derive(Clone)]
pub(crate) struct Gate {
    sampling: Sampling,
    before_send: Option<BeforeSend>,
    content: bool,
    redact: Option<Arc<dyn Redact>>,
    limits: Limits,
    max_payload_bytes: usize,
}

impl Gate {
    pub(crate) fn of(config: &Config) -> Self {
        Self {
            sampling: config.sampling,
            before_send: config.before_send.clone(),
            content: config.capture_content,
            redact: config.redact.clone(),
            limits: Limits { max_text_bytes: config.max_text_bytes },
            max_payload_bytes: config.max_payload_bytes,
        }
    }

    /// Whether anything wants to see a trace with all that it has.
    pub(crate) fn is_watched(&self) -> bool {
        self.before_send.is_some()
    }

    /// Whether sampling lets a trace leave.
    pub(crate) fn samples(&self, trace: &TraceData) -> bool {
        let failed = |span: &SpanData| span.status == SpanStatus::Error;
        self.sampling.chooses(trace.trace_id, trace.session_id.as_deref())
            || (self.sampling.keeps_errors()
                && (trace.status == TraceStatus::Error || trace.spans.iter().any(failed)))
    }

    /// Whether sampling lets a trace leave however it goes on.
    pub(crate) fn samples_early(&self, id: TraceId, session: Option<&str>) -> bool {
        (session.is_some() || !self.sampling.needs_session()) && self.sampling.chooses(id, session)
    }

    /// What may leave of a trace; `Err` says why nothing may.
    pub(crate) fn pass(&self, trace: TraceData, reporter: &Reporter) -> Result<TraceData, DropReason> {
        let mut trace = self.watched(trace, reporter)?;
        if !self.content {
            content::strip(&mut trace);
        }
        if let Some(redact) = &self.redact {
            redact::trace(redact.as_ref(), &mut trace, reporter);
        }
        limits::seal_trace(&mut trace, &self.limits);
        Ok(trace)
    }

    /// Makes of a score what may leave of it.
    pub(crate) fn pass_score(&self, score: &mut ScoreData, reporter: &Reporter) {
        if !self.content {
            score.reason = None;
        }
        if let Some(redact) = &self.redact {
            redact::score(redact.as_ref(), score, reporter);
        }
        limits::seal_score(score, &self.limits);
    }

    /// Bytes of the longest payload.
    pub(crate) fn max_payload_bytes(&self) -> usize {
        self.max_payload_bytes
    }

    /// Bytes of the longest text that leaves.
    pub(crate) fn longest_text(&self) -> usize {
        self.limits.max_text_bytes
    }

    /// Cuts texts of more than `bytes`.
    pub(crate) fn cut(trace: &mut TraceData, bytes: usize) {
        limits::seal_trace(trace, &Limits { max_text_bytes: bytes });
    }

    /// Cuts texts of more than `bytes`.
    pub(crate) fn cut_span(span: &mut SpanData, bytes: usize) {
        limits::seal_span(span, &Limits { max_text_bytes: bytes });
    }

    /// Cuts texts of more than `bytes`.
    pub(crate) fn cut_update(update: &mut TraceUpdate, bytes: usize) {
        let values = update.input.iter_mut().chain(&mut update.output);
        limits::seal_content(values, &mut update.metadata, &Limits { max_text_bytes: bytes });
    }

    fn watched(&self, trace: TraceData, reporter: &Reporter) -> Result<TraceData, DropReason> {
        let Some(before_send) = &self.before_send else {
            return Ok(trace);
        };
        let id = trace.trace_id;
        let passed = catch_unwind(AssertUnwindSafe(|| before_send(trace))).unwrap_or_else(|_| {
            reporter.report(ReportKind::Panicked, "before_send panicked: what it saw is withheld");
            None
        });
        let mut passed = passed.ok_or(DropReason::BeforeSend)?;
        // What it made is as foreign as what an application logs, but stays the same trace: scores and later spans refer to it.
        make_safe(&mut passed, reporter);
        Ok(TraceData { trace_id: id, ..passed })
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("sampling", &self.sampling).finish_non_exhaustive()
    }
}
