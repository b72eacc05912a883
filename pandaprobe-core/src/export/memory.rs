//! Keeps everything in memory, for tests.

use std::sync::Arc;

use super::{Envelope, ExportFuture, Exporter, Payload, done};
use crate::{
    model::{ScoreData, TraceData},
    sync::{Mutex, lock},
};

/// Keeps what it gets. Clones share what they keep, so keep one to look at it.
///
/// ```
/// use std::time::Duration;
/// use pandaprobe_core::{Client, Config, MemoryExporter};
///
/// let kept = MemoryExporter::default();
/// let client = Client::new(Config::new().exporter(kept.clone()))?;
/// client.trace("job").user_id("ada").run(|_| ());
/// client.flush(Duration::from_secs(5)).ok();
/// assert_eq!(kept.traces()[0].user_id.as_deref(), Some("ada"));
/// # Ok::<_, pandaprobe_core::ConfigError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct MemoryExporter {
    kept: Arc<Mutex<Vec<Envelope>>>,
}

impl MemoryExporter {
    /// Everything, in order of arrival, as it would go over the wire.
    pub fn envelopes(&self) -> Vec<Envelope> {
        lock(&self.kept).clone()
    }

    /// The traces as a backend has them after all later spans and updates, in order of arrival.
    pub fn traces(&self) -> Vec<TraceData> {
        let mut traces: Vec<TraceData> = Vec::new();
        for envelope in self.envelopes() {
            match envelope.payload() {
                Payload::Trace => traces.extend(envelope.trace()),
                _ => merge(&mut traces, &envelope),
            }
        }
        traces
    }

    /// The scores, in order of arrival.
    pub fn scores(&self) -> Vec<ScoreData> {
        self.envelopes().iter().filter_map(Envelope::score).collect()
    }
}

fn merge(traces: &mut [TraceData], envelope: &Envelope) {
    let Some(trace) = traces.iter_mut().rev().find(|t| t.trace_id == envelope.trace_id()) else {
        return;
    };
    for span in envelope.spans().unwrap_or_default() {
        match trace.spans.iter_mut().find(|s| s.span_id == span.span_id) {
            Some(stored) => *stored = span,
            None => trace.spans.push(span),
        }
    }
    let Some(update) = envelope.update() else {
        return;
    };
    trace.status = update.status.unwrap_or(trace.status);
    trace.ended_at = update.ended_at.or(trace.ended_at);
    trace.input = update.input.or(trace.input.take());
    trace.output = update.output.or(trace.output.take());
    trace.session_id = update.session_id.or(trace.session_id.take());
    trace.user_id = update.user_id.or(trace.user_id.take());
    trace.metadata.extend(update.metadata);
    if !update.tags.is_empty() {
        trace.tags = update.tags;
    }
}

impl Exporter for MemoryExporter {
    fn export<'a>(&'a self, envelope: &'a Envelope) -> ExportFuture<'a> {
        lock(&self.kept).push(envelope.clone());
        done(Ok(()))
    }
}
