//! Tool loops that an application writes by hand, without a trace around them: which calls belong together.
//!
//! A call to a model continues another if it began after that was answered, is of the same handler, server, user and session,
//! and if the last message of the assistant that it sends has exactly the tool calls that the other was answered with: ids,
//! names and arguments. Ids are not unique everywhere, some servers count them: where they are not, what comes before that
//! message must be the same too. Two that it could continue are none, even if one of them can no longer be continued. An
//! answer is continued once.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Map, Value};
use uuid::Uuid;

use super::budget::Charge;
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

/// Whose and where from: nothing is joined across it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Origin {
    pub(super) handler: u64,
    pub(super) ids: Ids,
}

/// A call of a tool, as a model asked for it.
#[derive(Clone, Debug, PartialEq, Hash)]
pub(super) struct Call {
    pub(super) id: Option<String>,
    pub(super) name: String,
    pub(super) arguments: Value,
}

impl Call {
    fn key(&self, origin: &Origin) -> u64 {
        tool_key(origin, &self.name, &self.arguments)
    }

    /// Whether nobody else has this id: it is long, and looks drawn and not counted.
    fn is_unique(&self) -> bool {
        let drawn = self.id.as_deref().unwrap_or_default().rsplit(['_', '-', ':']).next().unwrap_or_default();
        let has = |is: fn(&u8) -> bool| drawn.bytes().any(|byte| is(&byte));
        drawn.len() >= 12 && has(u8::is_ascii_digit) && has(u8::is_ascii_alphabetic)
    }
}

fn tool_key(origin: &Origin, name: &str, arguments: &Value) -> u64 {
    hash(&(origin, name, arguments))
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// A call to a model that has ended.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) origin: Origin,
    began: Instant,
    pub(super) started_at: Timestamp,
    pub(super) ended_at: Timestamp,
    /// From when on its answer was known: its first token, or all of it.
    answered_at: Timestamp,
    pub(super) failed: bool,
    /// The tool calls that the last message of the assistant in its input has, and what to look for with them.
    asked: Option<(Vec<Call>, u64)>,
    /// The tool calls that it was answered with, and by what they are found.
    answered: Option<(Vec<Call>, u64)>,
}

impl Turn {
    /// The turn that `span` is, which took the place of a trace that began then.
    pub(super) fn of(part: &LoopPart, ids: Ids, began: Instant, span: &SpanData) -> Self {
        let origin = Origin { handler: part.handler, ids };
        let messages = messages(span);
        let (before, turn, _) = split(messages);
        let asked: Vec<Call> = turn.iter().flat_map(calls).collect();
        let answer = span.output.as_ref().and_then(|output| output["messages"].get(0));
        let answered = answer.map(calls).unwrap_or_default();
        let found_by = |calls: Vec<Call>, history: &[Value]| {
            let key = || {
                let history = (!calls.iter().all(Call::is_unique)).then_some(history);
                hash(&(&origin, &part.role, &calls, history))
            };
            (!calls.is_empty()).then(key).map(|key| (calls, key))
        };
        Self {
            began,
            started_at: span.started_at,
            ended_at: span.ended_at.unwrap_or(span.started_at),
            answered_at: span.completion_start_time.or(span.ended_at).unwrap_or(span.started_at),
            failed: span.status == SpanStatus::Error,
            asked: found_by(asked, before),
            answered: found_by(answered, messages),
            origin,
        }
    }
}

/// A tool that has ended, as a trace of its own.
#[derive(Debug)]
pub(super) struct Tool {
    trace: TraceId,
    handler: u64,
    key: u64,
    started_at: Timestamp,
    output: Option<Value>,
}

impl Tool {
    pub(super) fn of(trace: TraceId, part: &LoopPart, ids: Ids, span: &SpanData) -> Self {
        let origin = Origin { handler: part.handler, ids };
        let arguments = span.input.as_ref().map(arguments).unwrap_or_default();
        let key = tool_key(&origin, &span.name, &arguments);
        let output = span.output.clone();
        Self { trace, handler: part.handler, key, started_at: span.started_at, output }
    }

    /// Whether it gave what was told of its call.
    fn gave(&self, result: Option<&Value>) -> bool {
        match (&self.output, result) {
            (Some(output), Some(Value::String(text))) => {
                let written = output.to_string();
                output == text.as_str() || written == *text
            }
            (output, result) => output.as_ref() == result,
        }
    }
}

/// An answer with tool calls that waits to be continued.
struct Tail {
    trace: TraceId,
    origin: Origin,
    began: Instant,
    since: Instant,
    started_at: Timestamp,
    ended_at: Timestamp,
    answered_at: Timestamp,
    calls: Vec<Call>,
    /// A turn that failed has continued it: who ran its calls was told.
    tried: bool,
    _charge: Charge,
}

/// All that a turn could continue.
#[derive(Default)]
struct Bucket {
    tails: Vec<Tail>,
    /// One was sent before it was continued. Until then it could have been meant.
    sent_until: Option<Instant>,
}

/// Who runs a call of a tool.
#[derive(Debug, PartialEq)]
pub(super) enum RanBy {
    /// These, which were recorded: more than one if it was tried again.
    Recorded(Vec<TraceId>),
    /// Nobody who was recorded.
    Unseen,
    /// Somebody who was recorded, but nothing says who.
    Unclear,
}

/// The turn before one.
pub(super) struct Before {
    pub(super) trace: TraceId,
    pub(super) ended_at: Timestamp,
    /// The calls that it was answered with, who ran them, and what came of them; empty if that was told before.
    pub(super) calls: Vec<(Call, RanBy, Option<Value>)>,
}

/// What waits, by when to look after it.
#[derive(Clone, Copy)]
enum Waiting {
    Tail { key: u64, trace: TraceId },
    Tool { key: u64, trace: TraceId },
}

/// Turns and tools that wait for the turn that follows.
pub(super) struct Loops {
    patience: Duration,
    buckets: HashMap<u64, Bucket>,
    tools: HashMap<u64, Vec<Tool>>,
    /// How many tails have a call with that key of a tool.
    wanted: HashMap<u64, usize>,
    /// Turns that have not ended, by handler.
    under_way: HashMap<u64, BTreeSet<(Instant, TraceId)>>,
    due: BTreeMap<(Instant, TraceId), Waiting>,
    /// Buckets that hold nothing but the memory of what was sent.
    remembered: VecDeque<(Instant, u64)>,
}

/// How many times the patience a turn that is under way is waited for, and one that was sent is remembered.
const AT_MOST: u32 = 10;

/// How many are remembered that were sent.
const REMEMBERED: usize = 50_000;

impl Loops {
    pub(super) fn new(patience: Duration) -> Self {
        Self {
            patience,
            buckets: HashMap::new(),
            tools: HashMap::new(),
            wanted: HashMap::new(),
            under_way: HashMap::new(),
            due: BTreeMap::new(),
            remembered: VecDeque::new(),
        }
    }

    pub(super) fn is_off(&self) -> bool {
        self.patience.is_zero()
    }

    /// Whether there is nothing to look after.
    pub(super) fn is_idle(&self) -> bool {
        self.due.is_empty() && self.remembered.is_empty()
    }

    pub(super) fn began(&mut self, part: &LoopPart, at: Instant, trace: TraceId) {
        if part.role != LoopRole::Tool && !self.is_off() {
            self.under_way.entry(part.handler).or_default().insert((at, trace));
        }
    }

    pub(super) fn ended(&mut self, part: &LoopPart, at: Instant, trace: TraceId) {
        if let Some(turns) = self.under_way.get_mut(&part.handler) {
            turns.remove(&(at, trace));
            if turns.is_empty() {
                self.under_way.remove(&part.handler);
            }
        }
    }

    /// The one turn that `turn` continues, whose span is `span`. It is continued by no other, unless `turn` failed: then
    /// it may be tried again.
    pub(super) fn before(&mut self, turn: &Turn, span: &SpanData) -> Option<Before> {
        let (asked, key) = turn.asked.as_ref()?;
        let bucket = self.buckets.get_mut(key)?;
        let [tail] = bucket.tails.as_mut_slice() else {
            return None;
        };
        let patience = self.patience;
        let in_time = turn.began <= tail.since + patience && tail.answered_at <= turn.started_at;
        let fits = in_time && tail.calls == *asked && tail.origin == turn.origin;
        if bucket.sent_until.is_some() || !fits {
            return None;
        }
        let (trace, ended_at) = (tail.trace, tail.ended_at);
        let window = (tail.started_at, turn.started_at);
        let is_told = std::mem::replace(&mut tail.tried, true);
        if !turn.failed {
            self.forget(*key, trace);
        }
        let calls = match is_told {
            true => Vec::new(),
            false => self.ran(turn, asked, window, &results(asked, split(messages(span)).2), !turn.failed),
        };
        Some(Before { trace, ended_at, calls })
    }

    /// Whether `turn` may be continued: it then waits, as a part of the trace `first`.
    pub(super) fn wait(&mut self, turn: Turn, first: TraceId, charge: Charge) -> bool {
        let Some((calls, key)) = turn.answered.filter(|_| !turn.failed) else {
            return false;
        };
        for wanted in keys(&calls, &turn.origin) {
            *self.wanted.entry(wanted).or_default() += 1;
        }
        let since = Instant::now();
        self.buckets.entry(key).or_default().tails.push(Tail {
            trace: first,
            origin: turn.origin,
            began: turn.began,
            since,
            started_at: turn.started_at,
            ended_at: turn.ended_at,
            answered_at: turn.answered_at,
            calls,
            tried: false,
            _charge: charge,
        });
        self.due.insert((since + self.patience, first), Waiting::Tail { key, trace: first });
        true
    }

    /// Whether a turn may say that it called `tool`: it then waits.
    pub(super) fn wait_for_turn(&mut self, tool: Tool) -> bool {
        let waits = self.wanted.contains_key(&tool.key) || self.under_way.contains_key(&tool.handler);
        if waits {
            let waiting = Waiting::Tool { key: tool.key, trace: tool.trace };
            self.due.insert((Instant::now() + self.patience, tool.trace), waiting);
            self.tools.entry(tool.key).or_default().push(tool);
        }
        waits
    }

    /// Lets go of all that waits. The traces are to be sent.
    pub(super) fn let_go(&mut self) -> Vec<TraceId> {
        let due = std::mem::take(&mut self.due);
        due.into_values().filter_map(|waiting| self.release(waiting)).collect()
    }

    /// Lets go of one trace that waits, if it does.
    pub(super) fn let_go_of(&mut self, trace: TraceId) {
        let found: Vec<Waiting> =
            self.due.iter().filter(|((_, other), _)| *other == trace).map(|(_, waiting)| *waiting).collect();
        found.into_iter().for_each(|waiting| _ = self.release(waiting));
    }

    /// Lets go of what has waited long enough. The traces are to be sent.
    pub(super) fn let_go_of_old(&mut self, now: Instant) -> Vec<TraceId> {
        let mut traces = Vec::new();
        while let Some((at, waiting)) = self.due.pop_first() {
            if at.0 > now {
                self.due.insert(at, waiting);
                break;
            }
            // A turn that began in time may still end.
            match self.may_be_continued(waiting, now) {
                true => drop(self.due.insert((now + self.patience / 4, at.1), waiting)),
                false => traces.extend(self.release(waiting)),
            }
        }
        while self.remembered.front().is_some_and(|(until, _)| *until <= now)
            && let Some((_, key)) = self.remembered.pop_front()
        {
            self.forget_what_was_sent(key, now);
        }
        traces
    }

    fn may_be_continued(&self, waiting: Waiting, now: Instant) -> bool {
        let Waiting::Tail { key, trace } = waiting else {
            return false;
        };
        let tail =
            self.buckets.get(&key).and_then(|bucket| bucket.tails.iter().find(|tail| tail.trace == trace));
        tail.is_some_and(|tail| {
            let turns = self.under_way.get(&tail.origin.handler);
            // Any id is between these two.
            let (none, any) = (TraceId::from(Uuid::nil()), TraceId::from(Uuid::max()));
            let in_time = |turns: &BTreeSet<(Instant, TraceId)>| {
                turns.range((tail.began, any)..(tail.since + self.patience, none)).next().is_some()
            };
            now < tail.since + self.patience * AT_MOST && turns.is_some_and(in_time)
        })
    }

    /// What waits no longer, if it still did.
    fn release(&mut self, waiting: Waiting) -> Option<TraceId> {
        match waiting {
            Waiting::Tail { key, trace } => {
                self.forget(key, trace)?;
                let until = Instant::now() + self.patience * AT_MOST;
                self.buckets.entry(key).or_default().sent_until = Some(until);
                self.remembered.push_back((until, key));
                if self.remembered.len() > REMEMBERED
                    && let Some((until, key)) = self.remembered.pop_front()
                {
                    self.forget_what_was_sent(key, until);
                }
                Some(trace)
            }
            Waiting::Tool { key, trace } => {
                let tools = self.tools.get_mut(&key)?;
                let at = tools.iter().position(|tool| tool.trace == trace)?;
                tools.swap_remove(at);
                if tools.is_empty() {
                    self.tools.remove(&key);
                }
                Some(trace)
            }
        }
    }

    fn forget_what_was_sent(&mut self, key: u64, now: Instant) {
        if let Some(bucket) = self.buckets.get_mut(&key) {
            bucket.sent_until.take_if(|until| *until <= now);
            if bucket.tails.is_empty() && bucket.sent_until.is_none() {
                self.buckets.remove(&key);
            }
        }
    }

    /// Takes a tail out.
    fn forget(&mut self, key: u64, trace: TraceId) -> Option<Tail> {
        let bucket = self.buckets.get_mut(&key)?;
        let at = bucket.tails.iter().position(|tail| tail.trace == trace)?;
        let tail = bucket.tails.swap_remove(at);
        if bucket.tails.is_empty() && bucket.sent_until.is_none() {
            self.buckets.remove(&key);
        }
        for wanted in keys(&tail.calls, &tail.origin) {
            if let Some(count) = self.wanted.get_mut(&wanted) {
                *count -= 1;
                if *count == 0 {
                    self.wanted.remove(&wanted);
                }
            }
        }
        Some(tail)
    }

    /// Who ran the calls of a turn, between its begin and that of the next one, which says what came of them.
    fn ran(
        &mut self,
        turn: &Turn,
        calls: &[Call],
        (from, to): (Timestamp, Timestamp),
        results: &[Option<Value>],
        is_forgotten: bool,
    ) -> Vec<(Call, RanBy, Option<Value>)> {
        let mut told = Vec::new();
        for (place, (call, result)) in calls.iter().zip(results).enumerate() {
            let key = call.key(&turn.origin);
            let alike = calls[place..].iter().filter(|other| other.key(&turn.origin) == key).count();
            // Others wait for the same tool with the same arguments.
            let others = self.wanted.get(&key).copied().unwrap_or_default() > usize::from(!is_forgotten);
            let by = self.taken(key, (from, to), result.as_ref(), alike, others);
            told.push((call.clone(), by, result.clone()));
        }
        told
    }

    /// Takes the tools that ran one call, of `alike` ones that are left.
    fn taken(
        &mut self,
        key: u64,
        (from, to): (Timestamp, Timestamp),
        result: Option<&Value>,
        alike: usize,
        others: bool,
    ) -> RanBy {
        let Some(tools) = self.tools.get_mut(&key) else {
            return RanBy::Unseen;
        };
        let in_time = |tool: &Tool| (from..=to).contains(&tool.started_at);
        let candidates: Vec<TraceId> =
            tools.iter().filter(|tool| in_time(tool)).map(|tool| tool.trace).collect();
        let gave = tools.iter().find(|tool| in_time(tool) && tool.gave(result)).map(|tool| tool.trace);
        let ran = match (candidates.as_slice(), gave) {
            ([], _) => return RanBy::Unseen,
            // One that was tried again.
            (all, _) if alike == 1 && !others => all.to_vec(),
            (_, Some(one)) => vec![one],
            ([one, ..], None) if !others && candidates.len() <= alike => vec![*one],
            _ => return RanBy::Unclear,
        };
        tools.retain(|tool| !ran.contains(&tool.trace));
        if tools.is_empty() {
            self.tools.remove(&key);
        }
        RanBy::Recorded(ran)
    }
}

/// The keys of the tools that calls are for, each once.
fn keys(calls: &[Call], origin: &Origin) -> BTreeSet<u64> {
    calls.iter().map(|call| call.key(origin)).collect()
}

fn messages(span: &SpanData) -> &[Value] {
    let messages = span.input.as_ref().and_then(|input| input["messages"].as_array());
    messages.map(Vec::as_slice).unwrap_or_default()
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

/// What the messages that follow say came of the calls. Where ids are the same, or there are none, the order says it.
fn results(asked: &[Call], rest: &[Value]) -> Vec<Option<Value>> {
    let mut results: Vec<&Value> = rest.iter().filter(|message| message["role"] == "tool").collect();
    let result = |call: &Call| {
        let at = results.iter().position(|message| id(&message["tool_call_id"]) == call.id)?;
        Some(results.remove(at)["content"].clone())
    };
    asked.iter().map(result).collect()
}

fn id(value: &Value) -> Option<String> {
    value.as_str().filter(|id| !id.is_empty()).map(str::to_owned)
}

/// The tool calls of a message.
fn calls(message: &Value) -> Vec<Call> {
    let calls = message["tool_calls"].as_array().into_iter().flatten();
    let call = |call: &Value| {
        let function = &call["function"];
        Call {
            id: id(&call["id"]),
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
