//! What leaves: through the choke point, as payloads of a size that the backend takes.

use std::sync::Arc;

use super::{Assembler, Phase};
use crate::{
    context::Collector,
    export::{Envelope, Payload},
    identity::Slot,
    model::{ScoreData, SpanData, TraceData, TraceId, TraceStatus, TraceUpdate},
    pipeline::{Settings, budget::Charge, record::TraceRecord, settle::apply_exit_to_trace},
    report::DropReason,
};

/// Whether the input and output of a trace leave it for good.
#[derive(Clone, Copy, PartialEq)]
enum Io {
    Copied,
    Moved,
}

impl Assembler {
    /// Sends a trace whole, for the first time.
    pub(super) fn send_trace(&mut self, trace: &Arc<TraceRecord>, spans: Vec<SpanData>) {
        self.send_first(TraceData { spans, ..self.all_of(trace, Io::Moved) }, trace.captured_by());
    }

    /// Sends a trace that was assembled elsewhere.
    pub(super) fn send_logged(&mut self, mut data: TraceData) {
        let Settings { environment, release, .. } = &self.settings;
        data.environment = data.environment.or_else(|| environment.clone());
        data.release = data.release.or_else(|| release.clone());
        self.send_first(data, None);
    }

    fn send_first(&mut self, data: TraceData, capture: Option<&Arc<Collector>>) {
        if !self.settings.gate.samples(&data) {
            return self.withhold(data.trace_id, DropReason::Sampled);
        }
        if let Some(data) = self.admitted(data) {
            if let Some(capture) = capture {
                capture.submitted(&data, &self.reporter);
            }
            self.post_trace(data);
        }
    }

    /// Sends a trace as `RUNNING`, if it is one that is sent.
    pub(super) fn go_live(&mut self, trace: &Arc<TraceRecord>) {
        let session = trace.with(|state| state.ids.session.value());
        // What sampling leaves out may still fail, and be kept for that.
        if !self.settings.gate.samples_early(trace.id, session.as_deref()) {
            return;
        }
        let mut data = self.all_of(trace, Io::Copied);
        (data.status, data.ended_at) = (TraceStatus::Running, None);
        if let Some(open) = self.open.get_mut(&trace.id) {
            open.phase = Phase::Live;
            if let Some(data) = self.admitted(data) {
                self.post_trace(data);
            }
        }
    }

    /// Completes a trace that was sent as `RUNNING`.
    pub(super) fn complete(&mut self, trace: &Arc<TraceRecord>, spans: Vec<SpanData>) {
        let data = TraceData { spans, ..self.all_of(trace, Io::Moved) };
        if let Some(mut data) = self.admitted(data) {
            if let Some(capture) = trace.captured_by() {
                capture.submitted(&data, &self.reporter);
            }
            self.post_spans(trace.id, std::mem::take(&mut data.spans));
            self.post_update(data);
        }
    }

    /// Patches a trace that was sent and has changed since.
    pub(super) fn send_change(&mut self, trace: &Arc<TraceRecord>) {
        let is_part = self.parts.get(trace.id).is_some();
        if !is_part && trace.with(|state| state.changed) {
            let data = self.all_of(trace, Io::Moved);
            if let Some(data) = self.admitted(data) {
                self.post_update(data);
            }
        }
    }

    /// Sends spans of a trace that was sent before.
    pub(super) fn send_spans(&mut self, trace: &Arc<TraceRecord>, spans: Vec<SpanData>) {
        let data = match self.settings.gate.is_watched() {
            true => self.trace_data(trace, Io::Copied),
            false => TraceData::new("", trace.now()),
        };
        let id = self.joined(trace.id);
        if let Some(data) = self.admitted(TraceData { trace_id: id, spans, ..data }) {
            self.post_spans(id, data.spans);
        }
    }

    pub(super) fn send_score(&mut self, mut score: ScoreData) {
        if let Some(reason) = self.withheld.get(score.trace_id) {
            return self.reporter.withheld(reason, 1);
        }
        self.settings.gate.pass_score(&mut score, &self.reporter);
        let envelope = self.packer.whole(Payload::Score, score.trace_id, &score);
        envelope.into_iter().for_each(|envelope| self.queue_up(envelope));
    }

    /// What may leave of a trace or a part of one. What is withheld once stays so.
    fn admitted(&mut self, data: TraceData) -> Option<TraceData> {
        let (id, items) = (data.trace_id, data.spans.len().max(1) as u64);
        if let Some(reason) = self.withheld.get(id) {
            self.reporter.withheld(reason, items);
            return None;
        }
        let passed = self.settings.gate.pass(data, &self.reporter);
        passed.map_err(|reason| self.withhold(id, reason)).ok()
    }

    fn withhold(&mut self, id: TraceId, reason: DropReason) {
        self.withheld.insert(id, reason);
        self.reporter.withheld(reason, 1);
    }

    /// What is known of a trace but for its spans, all of which is about to be sent.
    fn all_of(&self, trace: &Arc<TraceRecord>, io: Io) -> TraceData {
        trace.with(|state| state.changed = false);
        self.trace_data(trace, io)
    }

    /// What is known of a trace but for its spans.
    fn trace_data(&self, trace: &Arc<TraceRecord>, io: Io) -> TraceData {
        trace.with(|state| {
            let kept = match io {
                Io::Copied => (state.data.input.clone(), state.data.output.clone()),
                Io::Moved => (None, None),
            };
            let (input, output) = (state.data.input.take(), state.data.output.take());
            let mut data = TraceData { input, output, ..state.data.clone() };
            (state.data.input, state.data.output) = kept;
            data.environment.clone_from(&self.settings.environment);
            data.release.clone_from(&self.settings.release);
            data.session_id = state.ids.session.value();
            data.user_id = state.ids.user.value();
            for (slot, key) in
                [(&state.ids.session, "pandaprobe.session_id"), (&state.ids.user, "pandaprobe.user_id")]
            {
                if let Slot::Blocked(why) = slot {
                    data.metadata.insert(key.to_owned(), format!("refused: {why}").into());
                }
            }
            if let Some(capture) = &trace.capture {
                data.metadata.extend(capture.metadata());
            }
            apply_exit_to_trace(&mut data, state.exit.as_ref(), state.status);
            if io == Io::Moved {
                state.charge.set(0);
            }
            data
        })
    }

    // ---- payloads

    fn post_trace(&self, data: TraceData) {
        self.packer.trace(data).into_iter().for_each(|envelope| self.queue_up(envelope));
    }

    fn post_spans(&self, id: TraceId, spans: Vec<SpanData>) {
        self.packer.spans(id, spans).into_iter().for_each(|envelope| self.queue_up(envelope));
    }

    fn post_update(&self, data: TraceData) {
        let update = TraceUpdate {
            status: Some(data.status),
            ended_at: data.ended_at,
            input: data.input,
            output: data.output,
            metadata: data.metadata,
            session_id: data.session_id,
            user_id: data.user_id,
            tags: data.tags,
        };
        self.packer.update(data.trace_id, update).into_iter().for_each(|envelope| self.queue_up(envelope));
    }

    fn queue_up(&self, envelope: Envelope) {
        self.queue.push(envelope, Charge::empty(&self.budget));
    }
}
