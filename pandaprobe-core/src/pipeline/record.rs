//! What live handles and the assembler share: the records of traces and spans, and the events about them.

use std::{
    fmt,
    sync::{Arc, OnceLock, atomic::Ordering},
    time::{Duration, Instant},
};

use super::{
    Settings,
    budget::{Budget, Charge},
    decode::{Decode, Piece},
    inbox::Inbox,
    loops::LoopPart,
    queue::Waiter,
    stamps::Stamps,
    values::{EMPTY, flatten, shallow, shallow_object, span_bytes, trace_bytes},
};
use crate::{
    context::Collector,
    identity::{Ids, Slot},
    model::{Object, ScoreData, SpanData, SpanId, Timestamp, TraceData, TraceId, TraceStatus},
    report::{DropReason, ReportKind, Reporter},
    sync::{Mutex, atomic::AtomicBool, lock},
};

/// Something that happened, on its way to the assembler.
pub(crate) enum Event {
    TraceStarted(Arc<TraceRecord>),
    TraceEnded(Arc<TraceRecord>),
    SpanStarted(Arc<SpanRecord>),
    SpanEnded(Arc<SpanRecord>),
    Piece {
        span: Arc<SpanRecord>,
        piece: Piece,
        at: Timestamp,
        charge: Charge,
    },
    Score {
        score: Box<ScoreData>,
        charge: Charge,
    },
    /// A trace that was assembled elsewhere.
    Logged {
        trace: Box<TraceData>,
        charge: Charge,
    },
    /// Of one trace, or of all.
    Flush(Option<TraceId>, Waiter),
    Stop(Waiter),
}

/// The way in. Its bound is that of bytes: whatever an event holds was charged to the budget.
#[derive(Clone)]
pub(crate) struct Intake {
    inbox: Arc<Inbox>,
    budget: Arc<Budget>,
    pub(crate) reporter: Arc<Reporter>,
    stamps: Stamps,
    pub(crate) linger: Duration,
    pub(crate) max_trace_age: Duration,
}

impl Intake {
    pub(super) fn new(
        inbox: Arc<Inbox>,
        budget: Arc<Budget>,
        reporter: Arc<Reporter>,
        settings: &Settings,
    ) -> Self {
        let (linger, max_trace_age) = (settings.linger, settings.max_trace_age);
        Self { inbox, budget, reporter, stamps: settings.stamps.clone(), linger, max_trace_age }
    }

    /// `false` after the shutdown.
    pub(crate) fn send(&self, event: Event) -> bool {
        self.inbox.send(event)
    }

    /// Whether the client was shut down.
    fn is_closed(&self) -> bool {
        self.inbox.is_closed()
    }

    /// Sends what begins something; counts it if it came too late.
    fn begin(&self, what: &str, event: Event) -> bool {
        let sent = self.send(event);
        if !sent {
            self.reporter.dropped(
                DropReason::AfterShutdown,
                1,
                format!("{what} was begun after the shutdown"),
            );
        }
        sent
    }

    pub(super) fn charge(&self, bytes: usize) -> Option<Charge> {
        let mut charge = Charge::empty(&self.budget);
        charge.grow(bytes).then_some(charge)
    }

    fn did_not_fit(&self, what: &str) {
        self.reporter.dropped(
            DropReason::BufferFull,
            1,
            format!("{what} did not fit into max_buffered_bytes"),
        );
    }
}

/// What a record says of itself when a part of it did not fit.
fn mark_omitted(metadata: &mut Object) {
    metadata.insert("pandaprobe.omitted".to_owned(), "buffer full".into());
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
    /// The reader of its stream went away before the end.
    Left,
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
    /// What scopes said of identity when it was begun. Only what they say later can be somebody else's.
    pub(crate) begun_under: Ids,
    /// What collects it.
    pub(crate) capture: Option<Arc<Collector>>,
    /// It ended while that collected.
    captured: AtomicBool,
    /// What it may be in a tool loop that an application writes by hand.
    pub(crate) part: Option<LoopPart>,
    wall: Timestamp,
    monotonic: Instant,
    sent: AtomicBool,
    state: Mutex<TraceState>,
}

pub(crate) struct TraceState {
    pub(crate) data: TraceData,
    pub(crate) ids: Ids,
    /// Which of them a framework supplied, because nobody else did.
    of_framework: Ids,
    pub(crate) exit: Option<Exit>,
    /// Something was set since the trace was sent.
    pub(crate) changed: bool,
    /// The application chose the status.
    pub(crate) status: Option<TraceStatus>,
    pub(super) charge: Charge,
}

/// What a trace begins with beside its data.
pub(crate) struct Begun {
    pub(crate) root: Root,
    pub(crate) ids: Ids,
    /// Which ids to take where `ids` say nothing.
    pub(crate) fallback: Ids,
    pub(crate) begun_under: Ids,
    pub(crate) capture: Option<Arc<Collector>>,
    pub(crate) part: Option<LoopPart>,
}

impl TraceState {
    /// Says whose the trace is, whatever was said before.
    pub(crate) fn take_over(&mut self, ids: &Ids) {
        self.of_framework = ids.unset_of(&self.of_framework);
        self.ids = ids.or(&self.ids);
    }
}

impl TraceRecord {
    /// Begins a trace; `None`, counted, if it cannot be held.
    pub(crate) fn start(intake: &Intake, begun: Begun, data: TraceData) -> Option<Arc<Self>> {
        let Begun { root, ids, fallback, begun_under, capture, part } = begun;
        let Some(charge) = intake.charge(EMPTY + trace_bytes(&data)) else {
            intake.did_not_fit("a trace");
            return None;
        };
        // Both clocks are read together, or one would lag behind the other.
        let (wall, monotonic) = (Timestamp::now(), Instant::now());
        let wall = intake.stamps.fixed_now().unwrap_or(wall);
        let data = TraceData { trace_id: intake.stamps.trace_id(), started_at: wall, ..data };
        let of_framework = ids.unset_of(&fallback);
        let ids = ids.or(&of_framework);
        let state = TraceState { data, ids, of_framework, exit: None, changed: false, status: None, charge };
        let record = Arc::new(Self {
            id: state.data.trace_id,
            root,
            intake: intake.clone(),
            begun_under,
            capture,
            captured: AtomicBool::new(false),
            part,
            wall,
            monotonic,
            sent: AtomicBool::new(false),
            state: Mutex::new(state),
        });
        if !intake.begin("a trace", Event::TraceStarted(Arc::clone(&record))) {
            return None;
        }
        intake.reporter.traces.fetch_add(1, Ordering::Relaxed);
        Some(record)
    }

    /// The time now, by a clock that never runs backwards within one trace.
    pub(crate) fn now(&self) -> Timestamp {
        self.intake.stamps.fixed_now().unwrap_or_else(|| self.wall + self.monotonic.elapsed())
    }

    pub(super) fn began(&self) -> Instant {
        self.monotonic
    }

    pub(crate) fn age(&self) -> Duration {
        self.monotonic.elapsed()
    }

    /// Nothing that `f` calls may report: whoever hears of it may come back here.
    pub(crate) fn with<T>(&self, f: impl FnOnce(&mut TraceState) -> T) -> T {
        f(&mut lock(&self.state))
    }

    /// Changes the trace, which from now on holds `bytes` more and those that `f` returns less.
    pub(crate) fn update(self: &Arc<Self>, bytes: usize, f: impl FnOnce(&mut TraceState) -> usize) {
        let charge = self.intake.charge(bytes);
        let fits = charge.is_some();
        self.with(|state| {
            match charge {
                Some(charge) => {
                    let freed = f(state);
                    state.charge.absorb(charge);
                    state.charge.shrink(freed);
                }
                None => mark_omitted(&mut state.data.metadata),
            }
            state.changed = true;
        });
        if !fits {
            self.intake.did_not_fit("a value of a trace");
        }
        if self.is_sent() {
            // Also if another change is not sent yet: whoever made that may come too late to tell.
            let told = self.has_ended() && self.intake.send(Event::TraceEnded(Arc::clone(self)));
            if !told && self.intake.is_closed() {
                self.intake
                    .reporter
                    .report(ReportKind::LateValue, "a value was set on a trace after the shutdown");
            }
        }
    }

    /// Ends the trace, once.
    pub(crate) fn end(self: &Arc<Self>, exit: Exit) {
        let now = self.now();
        let first = self.with(|state| {
            let first = state.exit.is_none();
            if first {
                state.exit = Some(exit);
                state.changed = true;
                state.data.ended_at.get_or_insert(now);
            }
            first
        });
        if first {
            self.collect();
            self.intake.send(Event::TraceEnded(Arc::clone(self)));
        }
    }

    fn collect(&self) {
        if let Some(capture) = &self.capture {
            self.captured.store(capture.ended(self.id), Ordering::Release);
        }
    }

    /// What collects it, if that did when it ended.
    pub(super) fn captured_by(&self) -> Option<&Arc<Collector>> {
        self.capture.as_ref().filter(|_| self.captured.load(Ordering::Acquire))
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

    /// Fills slots that are still unset. `false` and no change if `later` belongs to somebody else, or can no
    /// longer be filled in.
    ///
    /// `fallback` is what a framework says where `later` says nothing. Of users, it differs from what a framework said before,
    /// and from nothing else. A session that a framework said differs from none, and gives way to one that somebody names.
    pub(crate) fn admit(&self, later: &Ids, fallback: &Ids) -> bool {
        if later.is_unset() && fallback.is_unset() {
            return true;
        }
        self.with(|state| {
            // Under the lock: what is delivered is read under it once the trace is sent.
            let is_sent = self.is_sent();
            let (mut ids, mut of_framework) = (state.ids.clone(), state.of_framework.clone());
            if !is_sent && !later.session.is_unset() && !of_framework.session.is_unset() {
                (ids.session, of_framework.session) = (Slot::Unset, Slot::Unset);
            }
            let mut fallback = later.unset_of(fallback);
            if is_sent {
                fallback.session = Slot::Unset;
            }
            let is_other = ids.differ(later) || of_framework.user.differs(&fallback.user);
            let of_framework = of_framework.or(&ids.unset_of(&fallback));
            let filled = ids.or(later).or(&fallback);
            let same = !is_other && (filled == state.ids || !is_sent);
            if same {
                (state.ids, state.of_framework) = (filled, of_framework);
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
    /// What its decoder made of the answer beside the span itself.
    pub(super) steps: Vec<SpanData>,
    /// The assembler has decided how it ended.
    pub(super) settled: bool,
    /// It went on its way whole.
    pub(super) sent: bool,
    pub(super) charge: Charge,
    pub(super) decoder_charge: Charge,
}

impl SpanRecord {
    /// Begins a span; `None`, counted, if it cannot be held.
    pub(crate) fn start(
        trace: &Arc<TraceRecord>,
        data: SpanData,
        decoder: Option<Box<dyn Decode>>,
    ) -> Option<Arc<Self>> {
        let intake = &trace.intake;
        let Some(charge) = intake.charge(EMPTY + span_bytes(&data)) else {
            trace.with(|state| mark_omitted(&mut state.data.metadata));
            intake.did_not_fit("a span");
            return None;
        };
        let decoder_charge = intake.charge(0).unwrap_or_default();
        let data = SpanData { span_id: intake.stamps.span_id(), ..data };
        let record = Arc::new(Self {
            id: data.span_id,
            trace: Arc::clone(trace),
            state: Mutex::new(SpanState {
                data,
                exit: None,
                steps: Vec::new(),
                settled: false,
                sent: false,
                charge,
                decoder_charge,
            }),
            decoder: Mutex::new(decoder),
        });
        if let Root::Span(root) = &trace.root {
            let _ = root.set(record.id);
        }
        intake.begin("a span", Event::SpanStarted(Arc::clone(&record))).then_some(record)
    }

    /// Nothing that `f` calls may report: whoever hears of it may come back here.
    pub(crate) fn with<T>(&self, f: impl FnOnce(&mut SpanState) -> T) -> T {
        f(&mut lock(&self.state))
    }

    /// Changes the span, which from now on holds `bytes` more and those that `f` returns less.
    pub(crate) fn update(&self, bytes: usize, f: impl FnOnce(&mut SpanData) -> usize) {
        let intake = &self.trace.intake;
        let charge = intake.charge(bytes);
        let fits = charge.is_some();
        let late = self.with(|state| {
            if state.sent {
                return true;
            }
            match charge {
                Some(charge) => {
                    let freed = f(&mut state.data);
                    state.charge.absorb(charge);
                    state.charge.shrink(freed);
                }
                None => mark_omitted(&mut state.data.metadata),
            }
            false
        });
        if !fits {
            intake.did_not_fit("a value of a span");
        } else if late {
            intake.reporter.report(ReportKind::LateValue, "a value was set on a span that had been sent");
        }
    }

    /// Gives the span a decoder, unless it has one.
    pub(crate) fn set_decoder(&self, decoder: Box<dyn Decode>) {
        lock(&self.decoder).get_or_insert(decoder);
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
            if self.is_root_of_its_trace() {
                self.trace.collect();
            }
            self.trace.intake.send(Event::SpanEnded(Arc::clone(self)));
        }
    }

    /// Hands a piece of an exchange to the span's decoder.
    pub(crate) fn feed(self: &Arc<Self>, piece: Piece) {
        let intake = &self.trace.intake;
        let Some(charge) = intake.charge(piece.bytes() + 128) else {
            self.with(|state| mark_omitted(&mut state.data.metadata));
            return intake.did_not_fit("a piece of an answer");
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

/// Makes a trace that was made elsewhere one that can be handled like all others. Gives the bytes that it holds.
pub(crate) fn make_safe(trace: &mut TraceData, reporter: &Reporter) -> usize {
    let ids = Ids {
        session: trace.session_id.take().map_or(Slot::Unset, Slot::session),
        user: trace.user_id.take().map_or(Slot::Unset, Slot::user),
    };
    for (what, slot) in [("session_id", &ids.session), ("user_id", &ids.user)] {
        if let Slot::Blocked(why) = slot {
            trace.metadata.insert(format!("pandaprobe.{what}"), format!("refused: {why}").into());
            reporter
                .report(ReportKind::InvalidId, format!("{what} of a trace that the application made: {why}"));
        }
    }
    (trace.session_id, trace.user_id) = (ids.session.value(), ids.user.value());
    for value in trace.input.iter_mut().chain(&mut trace.output) {
        *value = shallow(value.take());
    }
    trace.metadata = shallow_object(std::mem::take(&mut trace.metadata));
    trace.spans.iter_mut().for_each(flatten);
    EMPTY + trace_bytes(trace) + trace.spans.iter().map(|span| EMPTY + span_bytes(span)).sum::<usize>()
}
