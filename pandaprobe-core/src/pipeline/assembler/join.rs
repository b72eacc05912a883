//! Joins the calls of a tool loop that an application writes by hand into one trace.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use serde_json::Value;

use super::{Assembler, Open, Phase};
use crate::{
    identity::Ids,
    model::{SpanData, SpanId, SpanKind, SpanStatus, Timestamp, TraceId},
    pipeline::{
        budget::{Budget, Charge},
        loops::{Before, Call, LoopPart, LoopRole, RanBy, Tool, Turn},
        record::SpanRecord,
        values::value_bytes,
    },
};

/// The name of a loop's trace, and of the span that holds its steps.
const LOOP: &str = "tool-loop";

/// The metadata key of what nobody recorded, but what calls tell of.
const INFERRED: &str = "pandaprobe.inferred";

/// The metadata key of the traces that became a part of a loop's: their ids were told, and may be in logs.
const JOINED: &str = "pandaprobe.joined_trace_ids";

/// What becomes of a trace whose root has ended.
pub(super) enum Next {
    Send(TraceId),
    /// It waits, or is a part of one that does.
    Wait,
}

/// Where the spans of a trace go that became a part of another.
#[derive(Clone, Copy)]
pub(super) struct Joined {
    pub(super) trace: TraceId,
    pub(super) chain: SpanId,
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

    /// Takes over a tool that nobody recorded.
    fn add(&mut self, tool: SpanData, budget: &Arc<Budget>) {
        let mut charge = Charge::empty(budget);
        charge.set(tool.input.iter().chain(&tool.output).map(value_bytes).sum());
        self.charges.push(charge);
        self.tools.push(tool);
    }
}

impl Assembler {
    /// The one place that decides whether a trace whose root has ended goes on its way.
    pub(super) fn next(&mut self, id: TraceId) -> Next {
        let Some(open) = self.open.get_mut(&id).filter(|open| open.phase == Phase::Held) else {
            return Next::Send(id);
        };
        if std::mem::replace(&mut open.offered, true) {
            return if open.waits { Next::Wait } else { Next::Send(id) };
        }
        let (part, root) = (open.trace.part.clone(), open.root());
        let ids = open.trace.with(|state| state.ids.clone());
        // Who is refused is nobody in particular: two of them need not be one.
        let (Some(part), Some(root), false) = (part, root, self.loops.is_off() || ids.is_blocked()) else {
            return Next::Send(id);
        };
        let next = with_content(&root, |span| match part.role {
            LoopRole::Tool => self.tool_ended(Tool::of(id, &part, ids, span), id),
            LoopRole::Turn(_) => self.turn_ended(id, &part, ids, &root, span),
        });
        // Waiting must not cost what is recorded meanwhile.
        if matches!(next, Next::Wait) && self.budget.is_half_full() {
            self.let_go(None);
        }
        next
    }

    /// Sends all that waits for a turn that follows, or one trace if that does.
    pub(super) fn let_go(&mut self, of: Option<TraceId>) {
        let traces = match of.map(|id| self.joined(id)) {
            None => self.loops.let_go(),
            Some(id) if self.open.get(&id).is_some_and(|open| open.waits) => {
                self.loops.let_go_of(id);
                vec![id]
            }
            Some(_) => Vec::new(),
        };
        self.send_those(traces);
    }

    /// Sends what has waited long enough, and loops that have become too old.
    pub(super) fn let_go_of_old(&mut self) {
        let mut traces = self.loops.let_go_of_old(Instant::now());
        let age = self.settings.max_trace_age;
        let too_old = self.open.values().filter(|open| open.waits && open.trace.age() >= age);
        let too_old: Vec<TraceId> = too_old.map(|open| open.trace.id).collect();
        too_old.iter().for_each(|id| self.loops.let_go_of(*id));
        traces.extend(too_old);
        self.send_those(traces);
    }

    /// The trace that this one has become a part of, or itself.
    pub(super) fn joined(&self, id: TraceId) -> TraceId {
        self.parts.get(id).map_or(id, |joined| joined.trace)
    }

    fn send_those(&mut self, traces: Vec<TraceId>) {
        for id in traces {
            self.guarded(|this| this.send_as_it_is(id));
        }
    }

    fn tool_ended(&mut self, tool: Tool, id: TraceId) -> Next {
        match self.loops.wait_for_turn(tool) {
            true => self.waits(id),
            false => Next::Send(id),
        }
    }

    fn turn_ended(
        &mut self,
        id: TraceId,
        part: &LoopPart,
        ids: Ids,
        root: &SpanRecord,
        span: &SpanData,
    ) -> Next {
        let began = root.trace.began();
        self.loops.ended(part, began, id);
        let turn = Turn::of(part, ids, began, span);
        let before = self.loops.before(&turn, span).filter(|before| self.may_join(before, &turn));
        let first = before.as_ref().map_or(id, |before| before.trace);
        if let Some(before) = before {
            self.join(before, id, &turn);
        }
        let failed = turn.failed;
        let mut charge = Charge::empty(&self.budget);
        charge.set(span.output.as_ref().map_or(0, value_bytes));
        // After a failed turn the one before it waits on: it may be tried again.
        let waits = self.loops.wait(turn, first, charge) || (failed && first != id);
        if let Some(open) = self.open.get_mut(&first) {
            open.waits = false;
        }
        if waits { self.waits(first) } else { Next::Send(first) }
    }

    /// Whether the trace of the turn before is still there, and still of the same identity.
    fn may_join(&self, before: &Before, turn: &Turn) -> bool {
        let open = self.open.get(&before.trace).filter(|open| open.phase == Phase::Held);
        open.is_some_and(|open| open.trace.with(|state| state.ids == turn.origin.ids))
    }

    /// From now on nobody else's activity can land in it.
    fn waits(&mut self, id: TraceId) -> Next {
        if let Some(open) = self.open.get_mut(&id) {
            open.waits = true;
            open.trace.mark_sent();
        }
        Next::Wait
    }

    /// Makes the turn `last`, and the tools that it tells of, a part of the trace of the turn before it.
    fn join(&mut self, before: Before, last: TraceId, turn: &Turn) {
        let Some(last) = self.open.remove(&last) else {
            return;
        };
        let Some(mut first) = self.open.remove(&before.trace) else {
            return;
        };
        let chain = first.become_loop();
        for (call, by, result) in before.calls {
            match (by, result) {
                (RanBy::Recorded(tools), _) => {
                    let tools: Vec<Open> = tools.iter().filter_map(|tool| self.open.remove(tool)).collect();
                    tools.into_iter().for_each(|tool| self.absorb(&mut first, tool, chain));
                }
                (RanBy::Unseen, Some(result)) => {
                    let tool = inferred(call, result, chain, before.ended_at, turn.started_at);
                    first.inferred.add(tool, &self.budget);
                }
                (RanBy::Unseen, None) | (RanBy::Unclear, _) => {}
            }
        }
        first.ends_as(&last);
        self.absorb(&mut first, last, chain);
        self.open.insert(before.trace, first);
    }

    /// Makes `part` a part of the loop.
    fn absorb(&mut self, first: &mut Open, part: Open, chain: SpanId) {
        self.parts.insert(part.trace.id, Joined { trace: first.trace.id, chain });
        self.reporter.joined.fetch_add(1, Ordering::Relaxed);
        first.absorb(part, chain);
    }
}

/// Calls `f` with a span that has ended, without its lock: there may be much to read.
fn with_content<T>(span: &SpanRecord, f: impl FnOnce(&SpanData) -> T) -> T {
    let content = span.with(|state| {
        let data = &mut state.data;
        let (input, output) = (data.input.take(), data.output.take());
        let (status, ended_at) = (data.status, data.ended_at);
        let completion_start_time = data.completion_start_time;
        let outline = SpanData::new(data.name.clone(), data.started_at);
        SpanData { status, input, output, ended_at, completion_start_time, ..outline }
    });
    let result = f(&content);
    span.with(|state| {
        // What was set meanwhile stays.
        state.data.input = state.data.input.take().or(content.input);
        state.data.output = state.data.output.take().or(content.output);
    });
    result
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
        let (ended_at, output, exit) =
            last.trace.with(|state| (state.data.ended_at, state.data.output.clone(), state.exit.clone()));
        if let (Some(chain), Some(root)) = (&mut self.inferred.chain, last.root()) {
            root.with(|state| {
                (chain.status, chain.ended_at) = (state.data.status, state.data.ended_at);
                chain.error.clone_from(&state.data.error);
            });
            chain.output = output.clone().or_else(|| chain.output.take());
        }
        self.trace.with(|state| {
            state.exit = exit;
            state.data.ended_at = ended_at;
            state.data.output = output.or_else(|| state.data.output.take());
        });
    }

    /// Takes over all that a part has.
    fn absorb(&mut self, part: Self, chain: SpanId) {
        let id = self.trace.id;
        part.trace.mark_sent();
        part.spans.iter().for_each(|span| put_below(span, chain));
        self.spans.extend(part.spans);
        self.open_spans += part.open_spans;
        self.scores.extend(part.scores.into_iter().map(|(mut score, charge)| {
            score.trace_id = id;
            (score, charge)
        }));
        let (tags, metadata) =
            part.trace.with(|state| (state.data.tags.clone(), state.data.metadata.clone()));
        self.trace.with(|state| {
            state.data.add_tags(tags);
            for (key, value) in metadata {
                state.data.metadata.entry(key).or_insert(value);
            }
            let joined = state.data.metadata.entry(JOINED).or_insert_with(|| Value::Array(Vec::new()));
            joined.as_array_mut().into_iter().for_each(|ids| ids.push(part.trace.id.to_string().into()));
        });
    }
}

/// Puts a span at the root level below `chain`.
pub(super) fn put_below(span: &Arc<SpanRecord>, chain: SpanId) {
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
