//! Joins the calls of a tool loop that an application writes by hand into one trace.

use std::sync::{Arc, atomic::Ordering};

use serde_json::Value;

use super::{Assembler, Open, Phase};
use crate::{
    model::{SpanData, SpanId, SpanKind, SpanStatus, Timestamp, TraceId},
    pipeline::{
        budget::Charge,
        loops::{Before, Call, LoopPart, LoopRole, RanBy, Tool, Turn},
        record::{SpanRecord, value_bytes},
        settle::outline,
    },
};

/// The name of a loop's trace, and of the span that holds its steps.
const LOOP: &str = "tool-loop";

/// The metadata key of what nobody recorded, but what calls tell of.
const INFERRED: &str = "pandaprobe.inferred";

/// What becomes of a trace that has ended.
pub(super) enum Next {
    Send(TraceId),
    /// It waits, or is a part of one that does.
    Wait,
}

/// What a trace has beside what was recorded of it.
#[derive(Default)]
pub(super) struct Inferred {
    /// The span that holds the loop's steps.
    chain: Option<SpanData>,
    tools: Vec<SpanData>,
    charges: Vec<Charge>,
}

impl Inferred {
    pub(super) fn take(&mut self) -> Vec<SpanData> {
        self.charges.clear();
        self.chain.take().into_iter().chain(self.tools.drain(..)).collect()
    }
}

impl Assembler {
    /// The one place that decides whether a trace that has ended goes on its way.
    pub(super) fn next(&mut self, id: TraceId) -> Next {
        let Some(open) = self.open.get(&id).filter(|open| open.phase == Phase::Held) else {
            return Next::Send(id);
        };
        if open.waits {
            return Next::Wait;
        }
        let part = open.trace.part.clone().filter(|_| !self.loops.is_off());
        let next = match (part, open.root()) {
            (Some(part), Some(root)) if part.role == LoopRole::Tool => self.tool_ended(id, &part, &root),
            (Some(part), Some(root)) => self.turn_ended(id, &part, &root),
            _ => Next::Send(id),
        };
        // Waiting must not cost what is recorded meanwhile.
        if matches!(next, Next::Wait) && self.budget.is_half_full() {
            self.let_go();
        }
        next
    }

    /// Sends all that waits for a turn that follows.
    pub(super) fn let_go(&mut self) {
        let traces = self.loops.let_go();
        self.send_those(traces);
    }

    pub(super) fn let_go_of_old(&mut self) {
        let traces = self.loops.let_go_of_old(Timestamp::now());
        self.send_those(traces);
    }

    /// The trace that this one has become a part of, or itself.
    pub(super) fn joined(&self, id: TraceId) -> TraceId {
        self.parts.get(id).unwrap_or(id)
    }

    fn send_those(&mut self, traces: Vec<TraceId>) {
        for id in traces {
            self.guarded(|this| {
                this.send_whole(id, &[]);
                this.open.remove(&id);
            });
        }
    }

    fn tool_ended(&mut self, id: TraceId, part: &LoopPart, root: &SpanRecord) -> Next {
        let ids = root.trace.with(|state| state.ids.clone());
        let tool = root.with(|state| Tool::of(id, part, ids, &state.data));
        match self.loops.wait_for_turn(tool) {
            true => self.waits(id),
            false => Next::Send(id),
        }
    }

    fn turn_ended(&mut self, id: TraceId, part: &LoopPart, root: &SpanRecord) -> Next {
        let ids = root.trace.with(|state| state.ids.clone());
        let turn = root.with(|state| Turn::of(id, part, ids, &state.data));
        let before = self.loops.before(&turn).filter(|before| self.open.contains_key(&before.trace));
        let first = before.as_ref().map_or(id, |before| before.trace);
        let failed = turn.failed;
        self.loops.ended(part, root.trace.started_at(), id);
        if let Some(before) = before {
            self.join(before, &turn);
        }
        // After a failed turn the one before it waits on: it may be tried again.
        match self.loops.wait(turn, first) || (failed && first != id) {
            true => self.waits(first),
            false => Next::Send(first),
        }
    }

    fn waits(&mut self, id: TraceId) -> Next {
        if let Some(open) = self.open.get_mut(&id) {
            open.waits = true;
        }
        Next::Wait
    }

    /// Makes `turn`, and the tools that it tells of, a part of the trace of the turn before it.
    fn join(&mut self, before: Before, turn: &Turn) {
        let Some(last) = self.open.remove(&turn.trace) else {
            return;
        };
        let recorded = before.calls.iter().filter_map(|(_, by)| match by {
            RanBy::Recorded(tool) => self.open.remove(tool),
            RanBy::Unseen | RanBy::Unclear => None,
        });
        let mut parts: Vec<Open> = recorded.collect();
        let Some(first) = self.open.get_mut(&before.trace) else {
            return;
        };
        let chain = first.become_loop();
        let results = turn.results.iter().cloned();
        for ((call, by), result) in before.calls.into_iter().zip(results) {
            if let (RanBy::Unseen, Some(result)) = (by, result) {
                let tool = inferred(call, result, chain, before.ended_at, turn.started_at);
                let mut charge = Charge::empty(&self.budget);
                charge.set(
                    tool.input.as_ref().map_or(0, value_bytes) + tool.output.as_ref().map_or(0, value_bytes),
                );
                first.inferred.charges.push(charge);
                first.inferred.tools.push(tool);
            }
        }
        first.ends_as(&last);
        parts.push(last);
        for part in parts {
            self.parts.insert(part.trace.id, first.trace.id);
            first.absorb(part, chain);
            self.reporter.joined.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Open {
    fn root(&self) -> Option<Arc<SpanRecord>> {
        self.spans.iter().find(|span| span.is_root_of_its_trace()).cloned()
    }

    /// Puts what is at the root level below a span that stands for the whole loop, and gives its id.
    fn become_loop(&mut self) -> SpanId {
        if let Some(chain) = &self.inferred.chain {
            return chain.span_id;
        }
        let mut chain = self.trace.with(|state| {
            state.data.name = LOOP.to_owned();
            let mut chain = SpanData::new(LOOP, state.data.started_at);
            chain.input.clone_from(&state.data.input);
            chain
        });
        chain.kind = SpanKind::Chain;
        chain.metadata.insert(INFERRED.to_owned(), true.into());
        let id = chain.span_id;
        self.spans.iter().for_each(|span| put_below(span, id));
        self.inferred.chain = Some(chain);
        id
    }

    /// Ends as `last`, the last turn of the loop, did.
    fn ends_as(&mut self, last: &Self) {
        let (data, exit) = last.trace.with(|state| (state.data.clone(), state.exit.clone()));
        let root = last.root().map(|root| root.with(|state| outline(&state.data)));
        if let (Some(chain), Some(root)) = (&mut self.inferred.chain, root) {
            (chain.status, chain.error, chain.ended_at) = (root.status, root.error, root.ended_at);
            chain.output = root.output.or_else(|| chain.output.take());
        }
        self.trace.with(|state| {
            state.exit = exit;
            state.data.ended_at = data.ended_at;
            state.data.output = data.output.or_else(|| state.data.output.take());
            for tag in data.tags {
                if !state.data.tags.contains(&tag) {
                    state.data.tags.push(tag);
                }
            }
            for (key, value) in data.metadata {
                state.data.metadata.entry(key).or_insert(value);
            }
        });
    }

    /// Takes over the spans and scores of a part.
    fn absorb(&mut self, part: Self, chain: SpanId) {
        let id = self.trace.id;
        part.trace.mark_sent();
        part.spans.iter().for_each(|span| put_below(span, chain));
        self.spans.extend(part.spans);
        self.scores.extend(part.scores.into_iter().map(|(mut score, charge)| {
            score.trace_id = id;
            (score, charge)
        }));
    }
}

fn put_below(span: &Arc<SpanRecord>, chain: SpanId) {
    span.with(|state| {
        state.data.parent_span_id.get_or_insert(chain);
    });
}

/// A tool that nobody recorded: it ran between the answer that asks for it and the call that brings its result.
fn inferred(call: Call, result: Value, chain: SpanId, after: Timestamp, before: Timestamp) -> SpanData {
    let mut tool = SpanData::new(call.name, after.min(before));
    tool.kind = SpanKind::Tool;
    tool.status = SpanStatus::Ok;
    tool.parent_span_id = Some(chain);
    tool.input = Some(call.arguments);
    tool.output = Some(result);
    tool.ended_at = Some(before);
    tool.metadata.insert(INFERRED.to_owned(), true.into());
    tool.metadata.extend(call.id.map(|id| ("tool_call_id".to_owned(), id.into())));
    tool
}
