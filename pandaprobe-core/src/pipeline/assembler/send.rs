//! What leaves: through the choke point, as payloads of a size that the backend takes.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use serde::Serialize;

use super::{Assembler, Phase};
use crate::{
    capture::Gate,
    context::Collector,
    export::{Envelope, Payload},
    identity::Slot,
    model::{ScoreData, SpanData, TraceData, TraceId, TraceStatus, TraceUpdate},
    pipeline::{Settings, budget::Charge, record::TraceRecord, settle::apply_exit_to_trace},
    report::DropReason,
};

/// How many spans the backend takes with a trace, or in one block.
const BLOCK: usize = 500;

/// Texts of this many bytes are not cut to make a payload short enough.
const SHORTEST: usize = 256;

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
        self.queue_up(Payload::Score, score.trace_id, self.json(&score));
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

    /// Posts a trace with as many of its spans as fit, and the others after it.
    fn post_trace(&self, mut data: TraceData) {
        let id = data.trace_id;
        let mut rest = data.spans.split_off(data.spans.len().min(BLOCK));
        let json = loop {
            match self.json(&data) {
                Some(json) if self.settings.gate.is_too_long(json.len()) && !data.spans.is_empty() => {
                    let half = data.spans.split_off(data.spans.len() / 2);
                    rest.splice(0..0, half);
                }
                json => break json,
            }
        };
        self.queue_up(Payload::Trace, id, self.shortened(json, &mut data, Gate::cut));
        self.post_spans(id, rest);
    }

    fn post_spans(&self, id: TraceId, mut spans: Vec<SpanData>) {
        spans.chunks_mut(BLOCK).for_each(|block| self.post_block(id, block));
    }

    fn post_block(&self, id: TraceId, block: &mut [SpanData]) {
        let json = self.json(&&*block);
        let is_too_long = json.as_ref().is_some_and(|json| self.settings.gate.is_too_long(json.len()));
        if is_too_long && block.len() > 1 {
            let (one, other) = block.split_at_mut(block.len() / 2);
            self.post_block(id, one);
            return self.post_block(id, other);
        }
        let cut = |block: &mut &mut [SpanData], bytes| {
            block.iter_mut().for_each(|span| Gate::cut_span(span, bytes))
        };
        self.queue_up(Payload::Spans, id, self.shortened(json, &mut { block }, cut));
    }

    fn post_update(&self, data: TraceData) {
        let mut update = TraceUpdate {
            status: Some(data.status),
            ended_at: data.ended_at,
            input: data.input,
            output: data.output,
            metadata: data.metadata,
            session_id: data.session_id,
            user_id: data.user_id,
            tags: data.tags,
        };
        let json = self.shortened(self.json(&update), &mut update, Gate::cut_update);
        self.queue_up(Payload::Update, data.trace_id, json);
    }

    fn json(&self, item: &impl Serialize) -> Option<Vec<u8>> {
        let json = serde_json::to_vec(item);
        json.map_err(|error| self.reporter.dropped(DropReason::Unserialisable, 1, error.to_string())).ok()
    }

    /// The JSON of `item`, whose texts are cut until it is short enough, or there is nothing left to cut.
    fn shortened<T: Serialize>(
        &self,
        json: Option<Vec<u8>>,
        item: &mut T,
        cut: impl Fn(&mut T, usize),
    ) -> Option<Vec<u8>> {
        let mut json = json?;
        let mut longest = self.settings.gate.longest_text();
        while longest > SHORTEST && self.settings.gate.is_too_long(json.len()) {
            longest = (longest.min(json.len()) / 4).max(SHORTEST);
            cut(item, longest);
            json = self.json(item)?;
        }
        Some(json)
    }

    fn queue_up(&self, payload: Payload, id: TraceId, json: Option<Vec<u8>>) {
        let Some(json) = json else {
            return;
        };
        let mut charge = Charge::empty(&self.budget);
        if !charge.grow(json.len()) {
            let message = "a finished item did not fit into max_buffered_bytes";
            return self.reporter.dropped(DropReason::BufferFull, 1, message);
        }
        self.queue.push(Envelope::new(payload, id, Bytes::from(json)), charge);
    }
}

/// What is remembered of traces that are gone: of the latest 100,000.
pub(super) struct Recent<T> {
    values: HashMap<TraceId, T>,
    order: VecDeque<TraceId>,
}

impl<T: Copy> Recent<T> {
    const MOST: usize = 100_000;

    pub(super) fn get(&self, id: TraceId) -> Option<T> {
        self.values.get(&id).copied()
    }

    pub(super) fn insert(&mut self, id: TraceId, value: T) {
        if self.values.insert(id, value).is_none() {
            self.order.push_back(id);
        }
        if self.order.len() > Self::MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.values.remove(&oldest);
        }
    }
}

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self { values: HashMap::new(), order: VecDeque::new() }
    }
}
