//! Payloads of a size that the backend takes.

use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;

use crate::{
    capture::Gate,
    export::{Envelope, Payload},
    model::{SpanData, TraceData, TraceId, TraceUpdate},
    report::{DropReason, Reporter},
};

/// How many spans the backend takes with a trace, or in one block.
const BLOCK: usize = 500;

/// Texts of this many bytes are not cut to make a payload short enough.
const SHORTEST: usize = 256;

/// Makes payloads of traces and their parts.
#[derive(Clone)]
pub(super) struct Packer {
    gate: Gate,
    most: usize,
    reporter: Arc<Reporter>,
}

impl Packer {
    pub(super) fn new(gate: &Gate, reporter: &Arc<Reporter>) -> Self {
        Self { gate: gate.clone(), most: gate.max_payload_bytes(), reporter: Arc::clone(reporter) }
    }

    /// A trace with as many of its spans as fit, and the others after it.
    pub(super) fn trace(&self, mut data: TraceData) -> Vec<Envelope> {
        let id = data.trace_id;
        let mut rest = data.spans.split_off(data.spans.len().min(BLOCK));
        let json = loop {
            match self.json(&data) {
                Some(json) if json.len() > self.most && !data.spans.is_empty() => {
                    let half = data.spans.split_off(data.spans.len() / 2);
                    rest.splice(0..0, half);
                }
                json => break json,
            }
        };
        let first = self.shortened(json, &mut data, Gate::cut);
        let first = first.map(|json| envelope(Payload::Trace, id, json));
        first.into_iter().chain(self.spans(id, rest)).collect()
    }

    /// Spans of a trace that was sent before.
    pub(super) fn spans(&self, id: TraceId, mut spans: Vec<SpanData>) -> Vec<Envelope> {
        spans.chunks_mut(BLOCK).flat_map(|block| self.block(id, block)).collect()
    }

    fn block(&self, id: TraceId, block: &mut [SpanData]) -> Vec<Envelope> {
        let json = self.json(&&*block);
        if json.as_ref().is_some_and(|json| json.len() > self.most) && block.len() > 1 {
            let (one, other) = block.split_at_mut(block.len() / 2);
            return [self.block(id, one), self.block(id, other)].concat();
        }
        let cut = |block: &mut &mut [SpanData], bytes| {
            block.iter_mut().for_each(|span| Gate::cut_span(span, bytes))
        };
        let json = self.shortened(json, &mut { block }, cut);
        json.map(|json| envelope(Payload::Spans, id, json)).into_iter().collect()
    }

    /// A change to a trace that was sent before.
    pub(super) fn update(&self, id: TraceId, mut update: TraceUpdate) -> Option<Envelope> {
        let json = self.shortened(self.json(&update), &mut update, Gate::cut_update)?;
        Some(envelope(Payload::Update, id, json))
    }

    /// What is as short as it can be from the start.
    pub(super) fn whole(&self, payload: Payload, id: TraceId, item: &impl Serialize) -> Option<Envelope> {
        Some(envelope(payload, id, self.json(item)?))
    }

    /// The same in parts of at most half the size; nothing if it cannot be split.
    pub(super) fn halves(&self, whole: &Envelope) -> Vec<Envelope> {
        let half = Self { most: whole.body().len() / 2, ..self.clone() };
        let id = whole.trace_id();
        let parts = match whole.payload() {
            Payload::Trace => whole.trace().map(|trace| half.trace(trace)),
            Payload::Spans => whole.spans().map(|spans| half.spans(id, spans)),
            Payload::Update => whole.update().map(|update| half.update(id, update).into_iter().collect()),
            Payload::Score => None,
        };
        let parts = parts.unwrap_or_default();
        let shorter = parts.iter().all(|part| part.body().len() < whole.body().len());
        if shorter { parts } else { Vec::new() }
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
        let mut longest = self.gate.longest_text();
        while longest > SHORTEST && json.len() > self.most {
            longest = (longest.min(json.len()) / 4).max(SHORTEST);
            cut(item, longest);
            json = self.json(item)?;
        }
        Some(json)
    }
}

fn envelope(payload: Payload, id: TraceId, mut json: Vec<u8>) -> Envelope {
    // It may be held for long, and half of what it was written into may be empty.
    json.shrink_to_fit();
    Envelope::new(payload, id, Bytes::from(json))
}
