//! What live handles and the assembler share: the records of traces and spans, and the events about them.

use std::{
    fmt,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use serde_json::Value;

use super::{
    budget::{Budget, Charge},
    decode::{Decode, Piece},
    inbox::Inbox,
    queue::Waiter,
};
use crate::{
    identity::Ids,
    model::{Object, ScoreData, SpanData, SpanId, Timestamp, TraceData, TraceId, TraceStatus},
    report::{DropReason, Reporter},
    sync::lock,
};

/// Something that happened, on its way to the assembler.
pub(crate) enum Event {
    TraceStarted(Arc<TraceRecord>),
    TraceEnded(Arc<TraceRecord>),
    SpanStarted(Arc<SpanRecord>),
    SpanEnded(Arc<SpanRecord>),
    Piece { span: Arc<SpanRecord>, piece: Piece, at: Timestamp, charge: Charge },
    Score(Box<ScoreData>),
    Flush(Waiter),
    Stop(Waiter),
}

/// The way in. Its bound is that of bytes: whatever an event holds was charged to the budget.
#[derive(Clone)]
pub(crate) struct Intake {
    inbox: Arc<Inbox>,
    budget: Arc<Budget>,
    pub(crate) reporter: Arc<Reporter>,
}

impl Intake {
    pub(super) fn new(inbox: Arc<Inbox>, budget: Arc<Budget>, reporter: Arc<Reporter>) -> Self {
        Self { inbox, budget, reporter }
    }

    /// `false` after the shutdown.
    pub(crate) fn send(&self, event: Event) -> bool {
        self.inbox.send(event)
    }

    fn charge(&self, bytes: usize) -> Option<Charge> {
        let mut charge = Charge::empty(&self.budget);
        charge.grow(bytes).then_some(charge)
    }
}

/// How something ended, as seen by whoever ended it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Exit {
    /// It returned.
    Done,
    /// It failed.
    Failed(String),
    /// It panicked, with this message if it is known.
    Panicked(Option<String>),
    /// Its future was dropped before it finished.
    Cancelled,
    /// The reader of its answer went away. Whether that is an error depends on what it had read.
    Unread,
    /// The client was shut down.
    Shutdown,
}

/// What the root of a trace is: the thing whose end is the trace's end.
#[derive(Debug)]
pub(crate) enum Root {
    /// A handle of its own.
    Handle,
    /// A span that stands alone, whose input, output, status and end are the trace's too.
    Span(OnceLock<SpanId>),
}

/// A trace that was begun.
pub(crate) struct TraceRecord {
    pub(crate) id: TraceId,
    pub(crate) root: Root,
    pub(crate) intake: Intake,
    wall: Timestamp,
    monotonic: Instant,
    sent: AtomicBool,
    state: Mutex<TraceState>,
}

pub(crate) struct TraceState {
    pub(crate) data: TraceData,
    pub(crate) ids: Ids,
    pub(crate) exit: Option<Exit>,
    /// Something was set after the trace was sent.
    pub(crate) changed: bool,
    /// The application chose the status.
    pub(crate) status: Option<TraceStatus>,
    pub(super) charge: Charge,
}

/// What an empty trace or span takes.
const EMPTY: usize = 512;

impl TraceRecord {
    /// Begins a trace; `None`, counted, if it cannot be held.
    pub(crate) fn start(intake: &Intake, root: Root, ids: Ids, data: TraceData) -> Option<Arc<Self>> {
        let Some(charge) = intake.charge(EMPTY + size_of_data(&data)) else {
            intake.reporter.dropped(DropReason::BufferFull, 1, "a trace did not fit into max_buffered_bytes");
            return None;
        };
        let record = Arc::new(Self {
            id: data.trace_id,
            root,
            intake: intake.clone(),
            wall: data.started_at,
            monotonic: Instant::now(),
            sent: AtomicBool::new(false),
            state: Mutex::new(TraceState { data, ids, exit: None, changed: false, status: None, charge }),
        });
        if intake.send(Event::TraceStarted(Arc::clone(&record))) {
            intake.reporter.traces.fetch_add(1, Ordering::Relaxed);
            Some(record)
        } else {
            intake.reporter.dropped(DropReason::AfterShutdown, 1, "a trace was begun after the shutdown");
            None
        }
    }

    /// The time now, by a clock that never runs backwards within one trace.
    pub(crate) fn now(&self) -> Timestamp {
        self.wall + self.monotonic.elapsed()
    }

    pub(crate) fn age(&self) -> std::time::Duration {
        self.monotonic.elapsed()
    }

    pub(crate) fn with<T>(&self, f: impl FnOnce(&mut TraceState) -> T) -> T {
        f(&mut lock(&self.state))
    }

    /// Changes the trace, which from now on holds `bytes` more.
    pub(crate) fn update(&self, bytes: usize, f: impl FnOnce(&mut TraceData)) {
        self.with(|state| {
            if !state.charge.grow(bytes) {
                self.intake.reporter.dropped(
                    DropReason::BufferFull,
                    1,
                    "a value of a trace did not fit into max_buffered_bytes",
                );
                state.data.metadata.insert("pandaprobe.omitted".to_owned(), "buffer full".into());
                return;
            }
            state.changed = true;
            f(&mut state.data);
        });
    }

    /// Ends the trace, once.
    pub(crate) fn end(self: &Arc<Self>, exit: Exit) {
        let first = self.with(|state| {
            let first = state.exit.is_none();
            if first {
                state.exit = Some(exit);
                state.changed = true;
                state.data.ended_at.get_or_insert(self.now());
            }
            first
        });
        if first {
            self.intake.send(Event::TraceEnded(Arc::clone(self)));
        }
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.with(|state| state.exit.is_some())
    }

    /// Whether the trace went on its way, so that its identity can no longer change.
    pub(crate) fn is_sent(&self) -> bool {
        self.sent.load(Ordering::Acquire)
    }

    pub(super) fn mark_sent(&self) {
        self.sent.store(true, Ordering::Release);
    }

    /// Fills slots that are still unset. `false` and no change if `later` belongs to somebody else.
    pub(crate) fn admit(&self, later: &Ids) -> bool {
        self.with(|state| {
            let same = !state.ids.differ(later);
            if same && !self.is_sent() {
                state.ids = state.ids.or(later);
            }
            same
        })
    }
}

impl fmt::Debug for TraceRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TraceRecord").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A span that was begun.
pub(crate) struct SpanRecord {
    pub(crate) id: SpanId,
    pub(crate) trace: Arc<TraceRecord>,
    state: Mutex<SpanState>,
    /// Touched by the assembler alone, but for its creation.
    pub(super) decoder: Mutex<Option<Box<dyn Decode>>>,
}

pub(crate) struct SpanState {
    pub(crate) data: SpanData,
    pub(crate) exit: Option<Exit>,
    /// It went on its way, or was given up.
    pub(super) sent: bool,
    pub(super) charge: Charge,
}

impl SpanRecord {
    /// Begins a span; `None`, counted, if it cannot be held.
    pub(crate) fn start(
        trace: &Arc<TraceRecord>,
        data: SpanData,
        decoder: Option<Box<dyn Decode>>,
    ) -> Option<Arc<Self>> {
        let bytes = EMPTY
            + data.name.len()
            + data.input.as_ref().map_or(0, value_bytes)
            + object_bytes(&data.metadata);
        let Some(charge) = trace.intake.charge(bytes) else {
            trace.intake.reporter.dropped(
                DropReason::BufferFull,
                1,
                "a span did not fit into max_buffered_bytes",
            );
            trace.with(|state| {
                state.data.metadata.insert("pandaprobe.omitted".to_owned(), "buffer full".into())
            });
            return None;
        };
        let record = Arc::new(Self {
            id: data.span_id,
            trace: Arc::clone(trace),
            state: Mutex::new(SpanState { data, exit: None, sent: false, charge }),
            decoder: Mutex::new(decoder),
        });
        if let Root::Span(root) = &trace.root {
            let _ = root.set(record.id);
        }
        trace.intake.send(Event::SpanStarted(Arc::clone(&record))).then_some(record)
    }

    pub(crate) fn with<T>(&self, f: impl FnOnce(&mut SpanState) -> T) -> T {
        f(&mut lock(&self.state))
    }

    /// Changes the span, which from now on holds `bytes` more.
    pub(crate) fn update(&self, bytes: usize, f: impl FnOnce(&mut SpanData)) {
        let reporter = &self.trace.intake.reporter;
        self.with(|state| {
            if state.sent {
                return reporter.report(
                    crate::report::ReportKind::LateValue,
                    "a value was set on a span that had been sent",
                );
            }
            if !state.charge.grow(bytes) {
                reporter.dropped(
                    DropReason::BufferFull,
                    1,
                    "a value of a span did not fit into max_buffered_bytes",
                );
                state.data.metadata.insert("pandaprobe.omitted".to_owned(), "buffer full".into());
                return;
            }
            f(&mut state.data);
        });
    }

    /// Ends the span, once.
    pub(crate) fn end(self: &Arc<Self>, exit: Exit) {
        let now = self.trace.now();
        let first = self.with(|state| {
            let first = state.exit.is_none();
            if first {
                state.exit = Some(exit);
                state.data.ended_at.get_or_insert(now);
            }
            first
        });
        if first {
            self.trace.intake.send(Event::SpanEnded(Arc::clone(self)));
        }
    }

    /// Hands a piece of an exchange to the span's decoder.
    pub(crate) fn feed(self: &Arc<Self>, piece: Piece) {
        let intake = &self.trace.intake;
        let Some(charge) = intake.charge(piece.bytes() + 128) else {
            intake.reporter.dropped(
                DropReason::BufferFull,
                1,
                "a piece of an answer did not fit into max_buffered_bytes",
            );
            self.with(|state| {
                state.data.metadata.insert("pandaprobe.omitted".to_owned(), "buffer full".into())
            });
            return;
        };
        let at = self.trace.now();
        intake.send(Event::Piece { span: Arc::clone(self), piece: piece.unpinned(), at, charge });
    }

    pub(crate) fn is_root_of_its_trace(&self) -> bool {
        matches!(&self.trace.root, Root::Span(root) if root.get() == Some(&self.id))
    }
}

impl fmt::Debug for SpanRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpanRecord").field("id", &self.id).finish_non_exhaustive()
    }
}

fn size_of_data(data: &TraceData) -> usize {
    data.name.len() + data.input.as_ref().map_or(0, value_bytes) + object_bytes(&data.metadata)
}

/// Roughly how many bytes a value holds.
pub(crate) fn value_bytes(value: &Value) -> usize {
    walk(value).0
}

pub(crate) fn object_bytes(object: &Object) -> usize {
    object.iter().map(|(key, value)| key.len() + 32 + value_bytes(value)).sum()
}

/// The value, or a text in its place if it nests so deeply that copying or dropping it would overflow a stack.
pub(crate) fn shallow(value: Value) -> Value {
    const DEEPEST: usize = 1_000;
    let (_, depth) = walk(&value);
    if depth <= DEEPEST {
        return value;
    }
    dismantle(value);
    Value::String(format!("[left out by pandaprobe: nested {depth} levels deep]"))
}

/// Bytes and depth, without recursion: an application can nest deeper than a stack is high.
fn walk(value: &Value) -> (usize, usize) {
    let (mut bytes, mut deepest) = (0, 0);
    let mut rest = vec![(value, 1)];
    while let Some((value, depth)) = rest.pop() {
        bytes += size_of::<Value>();
        deepest = deepest.max(depth);
        match value {
            Value::String(text) => bytes += text.len(),
            Value::Array(items) => rest.extend(items.iter().map(|item| (item, depth + 1))),
            Value::Object(fields) => {
                bytes += fields.keys().map(|key| key.len() + 32).sum::<usize>();
                rest.extend(fields.values().map(|field| (field, depth + 1)));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    (bytes, deepest)
}

fn dismantle(value: Value) {
    let mut rest = vec![value];
    while let Some(value) = rest.pop() {
        match value {
            Value::Array(items) => rest.extend(items),
            Value::Object(fields) => rest.extend(fields.into_iter().map(|(_, field)| field)),
            _ => {}
        }
    }
}
