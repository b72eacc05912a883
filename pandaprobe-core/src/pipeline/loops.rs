//! Tool loops that an application writes by hand, without a trace around them: which calls belong together.
//!
//! A call to a model continues another if it came later, from the same handler, to the same server, for the same user and
//! session, and if the last message of the assistant that it sends has exactly the tool calls that the other was answered
//! with: ids, names and arguments. Two that it could continue are none, because ids are not unique: some servers count
//! them. An answer is continued once; who continues it again must not be taken for somebody else's turn that looks alike.

use std::{
    collections::{BTreeSet, HashMap},
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use serde_json::{Map, Value};

use crate::{
    identity::Ids,
    model::{SpanData, SpanStatus, Timestamp, TraceId},
};

/// What a trace of its own may be in a loop.
#[derive(Clone, Debug)]
pub(crate) struct LoopPart {
    /// The handler, the same for all clones of it.
    pub(crate) handler: u64,
    pub(crate) role: LoopRole,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum LoopRole {
    /// A call to a model of this server.
    Turn(Arc<str>),
    /// A tool.
    Tool,
}

/// A call of a tool, as a model asked for it.
#[derive(Clone, Debug, PartialEq, Hash)]
pub(super) struct Call {
    pub(super) id: Option<String>,
    pub(super) name: String,
    pub(super) arguments: Value,
}

/// A call to a model that has ended.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) trace: TraceId,
    handler: u64,
    server: LoopRole,
    ids: Ids,
    pub(super) started_at: Timestamp,
    pub(super) ended_at: Timestamp,
    pub(super) failed: bool,
    /// All of its input, and that without the last turn of the assistant and what follows, as hashes.
    history: u64,
    history_before: u64,
    /// The tool calls that the last message of the assistant in its input has.
    asked: Vec<Call>,
    /// What the tools gave, in order of `asked`.
    pub(super) results: Vec<Option<Value>>,
    /// The tool calls that it was answered with.
    answered: Vec<Call>,
}

impl Turn {
    /// The turn that `span` is.
    pub(super) fn of(trace: TraceId, part: &LoopPart, ids: Ids, span: &SpanData) -> Self {
        let messages = span.input.as_ref().and_then(|input| input["messages"].as_array());
        let messages = messages.map(Vec::as_slice).unwrap_or_default();
        let (before, turn, rest) = split(messages);
        let asked: Vec<Call> = turn.iter().flat_map(calls).collect();
        let answer = span.output.as_ref().and_then(|output| output["messages"].get(0));
        Self {
            trace,
            handler: part.handler,
            server: part.role.clone(),
            ids,
            started_at: span.started_at,
            ended_at: span.ended_at.unwrap_or(span.started_at),
            failed: span.status == SpanStatus::Error,
            history: hash(&messages),
            history_before: hash(&before),
            results: results(&asked, rest),
            asked,
            answered: answer.map(calls).unwrap_or_default(),
        }
    }

    fn key(&self, calls: &[Call]) -> u64 {
        hash(&(self.handler, &self.server, &self.ids, calls))
    }
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// A tool that has ended, as a trace of its own.
#[derive(Debug)]
pub(super) struct Tool {
    pub(super) trace: TraceId,
    handler: u64,
    ids: Ids,
    name: String,
    arguments: Value,
    started_at: Timestamp,
    ended_at: Timestamp,
}

impl Tool {
    pub(super) fn of(trace: TraceId, part: &LoopPart, ids: Ids, span: &SpanData) -> Self {
        Self {
            trace,
            handler: part.handler,
            ids,
            name: span.name.clone(),
            arguments: span.input.as_ref().map(arguments).unwrap_or_default(),
            started_at: span.started_at,
            ended_at: span.ended_at.unwrap_or(span.started_at),
        }
    }

    fn ran(&self, call: &Call) -> bool {
        self.name == call.name && self.arguments == call.arguments
    }
}

/// How many times the patience a turn that is under way is waited for.
const AT_MOST: u32 = 10;

/// An answer with tool calls, until its time is over.
#[derive(Debug)]
struct Tail {
    turn: Turn,
    state: State,
}

#[derive(Debug, PartialEq)]
enum State {
    Waits,
    /// It still waits, after a turn that failed. Who ran its calls was told.
    Tried,
    /// It was continued.
    Continued,
    /// Its trace was sent meanwhile. It cannot be continued, but still could have been meant.
    Sent,
}

/// Who runs a call of a tool.
#[derive(Debug, PartialEq)]
pub(super) enum RanBy {
    /// This tool, which was recorded.
    Recorded(TraceId),
    /// Nobody who was recorded.
    Unseen,
    /// One of several that were recorded, and nothing says which.
    Unclear,
}

/// The turn before one.
#[derive(Debug)]
pub(super) struct Before {
    pub(super) trace: TraceId,
    pub(super) ended_at: Timestamp,
    /// The calls that it was answered with, and who ran them; empty if that was told before.
    pub(super) calls: Vec<(Call, RanBy)>,
}

/// Turns and tools that wait for the turn that follows.
#[derive(Debug)]
pub(super) struct Loops {
    patience: Duration,
    tails: HashMap<u64, Vec<Tail>>,
    tools: Vec<Tool>,
    /// Turns that have not ended, by handler.
    under_way: HashMap<u64, BTreeSet<(Timestamp, TraceId)>>,
}

impl Loops {
    pub(super) fn new(patience: Duration) -> Self {
        Self { patience, tails: HashMap::new(), tools: Vec::new(), under_way: HashMap::new() }
    }

    pub(super) fn is_off(&self) -> bool {
        self.patience.is_zero()
    }

    pub(super) fn began(&mut self, part: &LoopPart, at: Timestamp, trace: TraceId) {
        if part.role != LoopRole::Tool {
            self.under_way.entry(part.handler).or_default().insert((at, trace));
        }
    }

    pub(super) fn ended(&mut self, part: &LoopPart, at: Timestamp, trace: TraceId) {
        if let Some(turns) = self.under_way.get_mut(&part.handler) {
            turns.remove(&(at, trace));
            if turns.is_empty() {
                self.under_way.remove(&part.handler);
            }
        }
    }

    /// The one turn that `turn` continues. It is continued by no other, unless `turn` failed: then it may be tried
    /// again.
    pub(super) fn before(&mut self, turn: &Turn) -> Option<Before> {
        if turn.asked.is_empty() {
            return None;
        }
        let patience = self.patience;
        let tails = self.tails.get_mut(&turn.key(&turn.asked))?;
        let mut candidates = tails.iter_mut().filter(|tail| tail.may_precede(turn, patience));
        let (mut open, mut again) = (None, false);
        for tail in &mut candidates {
            match tail.state {
                State::Continued => again |= tail.turn.history == turn.history_before,
                State::Sent => return None,
                State::Waits | State::Tried if open.is_some() => return None,
                State::Waits | State::Tried => open = Some(tail),
            }
        }
        let tail = open.filter(|tail| !again || tail.turn.history == turn.history_before)?;
        let before = Before {
            trace: tail.turn.trace,
            ended_at: tail.turn.ended_at,
            calls: match tail.state {
                State::Waits => ran(&self.tools, &tail.turn, turn.started_at),
                _ => Vec::new(),
            },
        };
        tail.state = if turn.failed { State::Tried } else { State::Continued };
        for (_, by) in &before.calls {
            self.tools.retain(|tool| *by != RanBy::Recorded(tool.trace));
        }
        Some(before)
    }

    /// Whether `turn` may be continued: it then waits, as what `first` is the trace of.
    pub(super) fn wait(&mut self, turn: Turn, first: TraceId) -> bool {
        let waits = !turn.answered.is_empty() && !turn.failed;
        if waits {
            let key = turn.key(&turn.answered);
            let turn = Turn { trace: first, asked: Vec::new(), results: Vec::new(), ..turn };
            self.tails.entry(key).or_default().push(Tail { turn, state: State::Waits });
        }
        waits
    }

    /// Whether a turn may say that it called `tool`: it then waits.
    pub(super) fn wait_for_turn(&mut self, tool: Tool) -> bool {
        let mut tails = self.tails.values().flatten().filter(|tail| tail.is_held());
        let called = |tail: &Tail| {
            tail.turn.handler == tool.handler && tail.turn.answered.iter().any(|call| tool.ran(call))
        };
        let waits = self.under_way.contains_key(&tool.handler) || tails.any(called);
        if waits {
            self.tools.push(tool);
        }
        waits
    }

    /// Lets go of all that waits. The traces are to be sent.
    pub(super) fn let_go(&mut self) -> Vec<TraceId> {
        let mut traces: Vec<TraceId> = self.tools.drain(..).map(|tool| tool.trace).collect();
        for tail in self.tails.values_mut().flatten().filter(|tail| tail.is_held()) {
            tail.state = State::Sent;
            traces.push(tail.turn.trace);
        }
        traces
    }

    /// Lets go of what has waited long enough. The traces are to be sent.
    pub(super) fn let_go_of_old(&mut self, now: Timestamp) -> Vec<TraceId> {
        let (patience, under_way) = (self.patience, &self.under_way);
        // A turn that began in time may still end.
        let is_due = |handler: u64, began: Timestamp, ended: Timestamp| {
            let in_time = |(at, _): &(Timestamp, TraceId)| began < *at && *at <= ended + patience;
            let turns = under_way.get(&handler);
            let may_come = turns.is_some_and(|turns| turns.iter().any(in_time));
            now >= ended + patience && (!may_come || now >= ended + patience * AT_MOST)
        };
        let tools = self.tools.extract_if(.., |tool| is_due(tool.handler, tool.started_at, tool.ended_at));
        let mut traces: Vec<TraceId> = tools.map(|tool| tool.trace).collect();
        self.tails.retain(|_, tails| {
            let due = |tail: &mut Tail| is_due(tail.turn.handler, tail.turn.started_at, tail.turn.ended_at);
            let old = tails.extract_if(.., due).filter(Tail::is_held);
            traces.extend(old.map(|tail| tail.turn.trace));
            !tails.is_empty()
        });
        traces
    }
}

impl Tail {
    fn is_held(&self) -> bool {
        matches!(self.state, State::Waits | State::Tried)
    }

    fn may_precede(&self, turn: &Turn, patience: Duration) -> bool {
        let last = &self.turn;
        let same = last.handler == turn.handler && last.server == turn.server && last.ids == turn.ids;
        let in_time = last.started_at < turn.started_at && turn.started_at <= last.ended_at + patience;
        same && in_time && last.answered == turn.asked
    }
}

/// Who ran the calls of `turn` before the next turn began.
fn ran(tools: &[Tool], turn: &Turn, next: Timestamp) -> Vec<(Call, RanBy)> {
    let mut taken: Vec<TraceId> = Vec::new();
    let run_by = |call: &Call| {
        let ran = |tool: &&Tool| {
            tool.handler == turn.handler
                && tool.ids == turn.ids
                && tool.ran(call)
                && (turn.started_at..=next).contains(&tool.started_at)
        };
        let alike = turn
            .answered
            .iter()
            .filter(|other| (&other.name, &other.arguments) == (&call.name, &call.arguments));
        let candidates: Vec<&Tool> = tools.iter().filter(ran).collect();
        if candidates.len() > alike.count() {
            return RanBy::Unclear;
        }
        let free = candidates.into_iter().find(|tool| !taken.contains(&tool.trace));
        free.map_or(RanBy::Unseen, |tool| {
            taken.push(tool.trace);
            RanBy::Recorded(tool.trace)
        })
    };
    let by: Vec<RanBy> = turn.answered.iter().map(run_by).collect();
    turn.answered.iter().cloned().zip(by).collect()
}

/// What comes before the last turn of the assistant, that turn, and what follows.
fn split(messages: &[Value]) -> (&[Value], &[Value], &[Value]) {
    let is_assistant = |message: &Value| message["role"] == "assistant";
    let end = messages.iter().rposition(is_assistant).map_or(0, |last| last + 1);
    let (turn, rest) = messages.split_at(end);
    let begin = turn.iter().rposition(|message| !is_assistant(message)).map_or(0, |last| last + 1);
    let (before, turn) = turn.split_at(begin);
    (before, turn, rest)
}

/// What the messages that follow say came of the calls.
fn results(asked: &[Call], rest: &[Value]) -> Vec<Option<Value>> {
    let results: Vec<&Value> = rest.iter().filter(|message| message["role"] == "tool").collect();
    let result = |(place, call): (usize, &Call)| {
        let found = match &call.id {
            Some(id) => results.iter().find(|message| message["tool_call_id"] == **id),
            // Where nothing has ids, the order says it.
            None => results.get(place).filter(|message| message["tool_call_id"].is_null()),
        };
        found.map(|message| message["content"].clone())
    };
    asked.iter().enumerate().map(result).collect()
}

/// The tool calls of a message.
fn calls(message: &Value) -> Vec<Call> {
    let calls = message["tool_calls"].as_array().into_iter().flatten();
    let call = |call: &Value| {
        let function = &call["function"];
        Call {
            id: call["id"].as_str().map(str::to_owned),
            name: function["name"].as_str().unwrap_or_default().to_owned(),
            arguments: arguments(&function["arguments"]),
        }
    };
    calls.map(call).collect()
}

/// Arguments as JSON, where they are; nothing is an empty object.
fn arguments(given: &Value) -> Value {
    match given {
        Value::String(text) if text.trim().is_empty() => Value::Object(Map::new()),
        Value::String(text) => serde_json::from_str(text).unwrap_or_else(|_| given.clone()),
        Value::Null => Value::Object(Map::new()),
        other => other.clone(),
    }
}
