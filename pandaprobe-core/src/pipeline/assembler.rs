//! The thread that makes traces out of events.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

mod join;
mod send;

use join::{Inferred, Joined, Next, put_below};

use super::{
    Settings,
    budget::{Budget, Charge},
    decode::Piece,
    inbox::Inbox,
    loops::Loops,
    own_thread,
    pack::Packer,
    queue::{Queue, Waiter},
    recent::Recent,
    record::{Event, Exit, Root, SpanRecord, TraceRecord},
    settle::{adopt_io, adopt_root, is_settled, outline, settle, snapshot, take},
};
use crate::{
    model::{ScoreData, Timestamp, TraceId},
    report::{DropReason, ReportKind, Reporter},
    sync::lock,
};

pub(super) struct Assembler {
    settings: Settings,
    packer: Packer,
    queue: Arc<Queue>,
    budget: Arc<Budget>,
    reporter: Arc<Reporter>,
    open: HashMap<TraceId, Open>,
    loops: Loops,
    /// Traces that became a part of another, and of which.
    parts: Recent<Joined>,
    /// Traces that were withheld, and why.
    withheld: Recent<DropReason>,
    next_sweep: Option<Instant>,
}

/// A trace of which something is still open.
struct Open {
    trace: Arc<TraceRecord>,
    phase: Phase,
    /// Spans that were not sent, or are open, in order of their start.
    spans: Vec<Arc<SpanRecord>>,
    open_spans: usize,
    root_ended: bool,
    last_event: Instant,
    scores: Vec<(ScoreData, Charge)>,
    /// It is complete, and held for what may follow in a tool loop.
    waits: bool,
    /// It was decided whether it waits.
    offered: bool,
    inferred: Inferred,
}

#[derive(Clone, Copy, PartialEq)]
enum Phase {
    /// Nothing was sent yet.
    Held,
    /// It was sent as `RUNNING`; its spans follow as they end.
    Live,
    /// It was sent; spans that end later follow one by one.
    Sent,
}

impl Open {
    fn new(trace: Arc<TraceRecord>) -> Self {
        let phase = if trace.is_sent() { Phase::Sent } else { Phase::Held };
        Self {
            trace,
            phase,
            spans: Vec::new(),
            open_spans: 0,
            root_ended: false,
            last_event: Instant::now(),
            scores: Vec::new(),
            waits: false,
            offered: false,
            inferred: Inferred::default(),
        }
    }
}

impl Assembler {
    pub(super) fn new(
        settings: Settings,
        queue: Arc<Queue>,
        budget: Arc<Budget>,
        reporter: Arc<Reporter>,
    ) -> Self {
        let loops = Loops::new(settings.tool_loop_patience);
        let packer = Packer::new(&settings.gate, &reporter);
        Self {
            settings,
            packer,
            queue,
            budget,
            reporter,
            open: HashMap::new(),
            loops,
            parts: Recent::default(),
            withheld: Recent::default(),
            next_sweep: None,
        }
    }

    pub(super) fn run(mut self, inbox: &Inbox) {
        own_thread();
        let waiter = loop {
            let events = inbox.receive(self.next_sweep);
            if let Some(waiter) = self.handle_all(events) {
                break waiter;
            }
            self.guarded(Self::sweep_if_due);
            self.reporter.open.store(self.open.len() as u64, Ordering::Relaxed);
        };
        // What was recorded before the way in closed is delivered like all else.
        self.handle_all(inbox.close());
        for id in self.open.keys().copied().collect::<Vec<_>>() {
            self.guarded(|this| this.end_as_it_is(id));
        }
        self.open.clear();
        self.reporter.open.store(0, Ordering::Relaxed);
        self.queue.when_settled(waiter);
    }

    /// Who waits for the end, if that was asked for.
    fn handle_all(&mut self, events: Vec<Event>) -> Option<Waiter> {
        let mut stop = None;
        for event in events {
            match event {
                Event::Stop(waiter) => stop = Some(waiter),
                event => self.guarded(|this| this.handle(event)),
            }
        }
        stop
    }

    /// A panic costs the event that caused it, not the thread.
    fn guarded(&mut self, f: impl FnOnce(&mut Self)) {
        if catch_unwind(AssertUnwindSafe(|| f(self))).is_err() {
            self.reporter.report(ReportKind::Panicked, "assembling a trace panicked");
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::TraceStarted(trace) => {
                if let Some(part) = &trace.part {
                    self.loops.began(part, trace.began(), trace.id);
                }
                self.open.insert(trace.id, Open::new(trace));
            }
            Event::SpanStarted(span) => self.span_started(span),
            Event::Piece { span, piece, at, charge } => self.piece(&span, piece, at, charge),
            Event::SpanEnded(span) => self.span_ended(&span),
            Event::TraceEnded(trace) => self.trace_ended(&trace),
            Event::Score { score, charge } => self.score(*score, charge),
            Event::Logged { trace, charge } => {
                drop(charge);
                self.send_logged(*trace);
            }
            Event::Flush(of, waiter) => {
                self.let_go(of);
                self.reporter.open.store(self.open.len() as u64, Ordering::Relaxed);
                match of {
                    Some(id) => self.queue.when_trace_settled(self.joined(id), waiter),
                    None => self.queue.when_settled(waiter),
                }
            }
            Event::Stop(_) => {}
        }
    }

    // ---- events

    fn entry(&mut self, trace: &Arc<TraceRecord>) -> &mut Open {
        let id = self.joined(trace.id);
        let open = self.open.entry(id).or_insert_with(|| Open::new(Arc::clone(trace)));
        open.last_event = Instant::now();
        open
    }

    fn span_started(&mut self, span: Arc<SpanRecord>) {
        let live = self.settings.live;
        if let Some(joined) = self.parts.get(span.trace.id) {
            put_below(&span, joined.chain);
        }
        let open = self.entry(&span.trace);
        open.open_spans += 1;
        open.spans.push(Arc::clone(&span));
        if live && open.phase == Phase::Held && !open.root_ended {
            self.go_live(&span.trace);
        }
    }

    fn piece(&mut self, span: &Arc<SpanRecord>, piece: Piece, at: Timestamp, charge: Charge) {
        let mut decoder = lock(&span.decoder);
        let Some(inner) = decoder.as_mut() else {
            return;
        };
        let id = self.joined(span.trace.id);
        if let Some(open) = self.open.get_mut(&id) {
            open.last_event = Instant::now();
        }
        let pushed = catch_unwind(AssertUnwindSafe(|| {
            inner.push(piece, at);
            inner.held_bytes()
        }));
        drop(charge);
        match pushed {
            Ok(held) => span.with(|state| state.decoder_charge.set(held)),
            Err(_) => {
                *decoder = None;
                drop(decoder);
                self.reporter.report(ReportKind::Panicked, "a decoder panicked");
                span.with(|state| {
                    state.data.metadata.insert("pandaprobe.omitted".to_owned(), "the decoder panicked".into())
                });
            }
        }
    }

    fn span_ended(&mut self, span: &Arc<SpanRecord>) {
        settle(span, &self.reporter);
        adopt_root(span);
        let open = self.entry(&span.trace);
        open.open_spans = open.open_spans.saturating_sub(1);
        open.root_ended |= span.is_root_of_its_trace();
        if open.phase != Phase::Held {
            open.spans.retain(|other| other.id != span.id);
            self.send_spans(&span.trace, take(std::slice::from_ref(span)));
        }
        self.advance(self.joined(span.trace.id));
    }

    fn trace_ended(&mut self, trace: &Arc<TraceRecord>) {
        if self.parts.get(trace.id).is_some() {
            return self
                .reporter
                .report(ReportKind::LateValue, "a value was set on a turn of a tool loop that had ended");
        }
        self.entry(trace).root_ended = true;
        self.advance(trace.id);
    }

    fn score(&mut self, mut score: ScoreData, charge: Charge) {
        score.trace_id = self.joined(score.trace_id);
        match self.open.get_mut(&score.trace_id) {
            Some(open) if open.phase == Phase::Held => open.scores.push((score, charge)),
            _ => self.send_score(score),
        }
    }

    // ---- the end of a trace

    /// Sends a trace on its way if its root and all of its spans have ended.
    fn advance(&mut self, id: TraceId) {
        let Some(open) = self.open.get_mut(&id) else {
            return;
        };
        match open.phase {
            Phase::Held | Phase::Live if !open.root_ended => {}
            Phase::Held | Phase::Live => {
                if let Next::Send(id) = self.next(id)
                    && self.open.get(&id).is_some_and(|open| open.open_spans == 0)
                {
                    self.send_whole(id, &[]);
                    self.open.remove(&id);
                }
            }
            Phase::Sent => {
                let trace = Arc::clone(&open.trace);
                if open.open_spans == 0 {
                    self.open.remove(&id);
                }
                self.send_change(&trace);
            }
        }
    }

    /// Sends a trace with all its spans, those that are open as `UNSET`; what is open stays known.
    fn send_as_it_is(&mut self, id: TraceId) {
        let Some(open) = self.open.get(&id) else {
            return;
        };
        let unended: Vec<Arc<SpanRecord>> =
            open.spans.iter().filter(|span| !is_settled(span)).cloned().collect();
        self.send_whole(id, &unended);
        if let Some(open) = self.open.get_mut(&id) {
            open.phase = Phase::Sent;
            open.waits = false;
            open.spans = unended;
            open.last_event = Instant::now();
            if open.spans.is_empty() {
                self.open.remove(&id);
            }
        }
    }

    fn send_whole(&mut self, id: TraceId, unended: &[Arc<SpanRecord>]) {
        let Some(open) = self.open.get_mut(&id) else {
            return;
        };
        let (trace, phase) = (Arc::clone(&open.trace), open.phase);
        let scores = std::mem::take(&mut open.scores);
        let ended: Vec<Arc<SpanRecord>> = open.spans.drain(..).filter(is_settled).collect();
        let mut spans = open.inferred.take();
        trace.mark_sent();
        if let Some(part) = &trace.part {
            self.loops.ended(part, trace.began(), id);
        }
        spans.extend(take(&ended));
        spans.extend(unended.iter().map(|span| snapshot(span, &self.reporter)));
        match phase {
            Phase::Live => self.complete(&trace, spans),
            Phase::Held | Phase::Sent => self.send_trace(&trace, spans),
        }
        for (score, _charge) in scores {
            self.send_score(score);
        }
    }

    // ---- time

    fn sweep_if_due(&mut self) {
        let now = Instant::now();
        if self.next_sweep.is_some_and(|at| at <= now) {
            self.next_sweep = None;
            self.sweep();
        }
        if self.next_sweep.is_none() && !(self.open.is_empty() && self.loops.is_idle()) {
            let shortest = self.settings.linger.min(self.settings.max_trace_age) / 4;
            self.next_sweep = Some(now + shortest.clamp(Duration::from_millis(5), Duration::from_secs(1)));
        }
    }

    /// Sends what has waited long enough.
    fn sweep(&mut self) {
        let (linger, age) = (self.settings.linger, self.settings.max_trace_age);
        self.let_go_of_old();
        let due = |open: &&Open| match open.phase {
            _ if open.waits => false,
            Phase::Held | Phase::Live if open.root_ended => open.last_event.elapsed() >= linger,
            Phase::Held | Phase::Live => open.trace.age() >= age,
            Phase::Sent => open.last_event.elapsed() >= age,
        };
        let due: Vec<(TraceId, Phase, bool)> =
            self.open.values().filter(due).map(|open| (open.trace.id, open.phase, open.root_ended)).collect();
        for (id, phase, root_ended) in due {
            if phase == Phase::Sent {
                self.open.remove(&id);
                continue;
            }
            self.guarded(|this| {
                if !root_ended {
                    this.forget(id);
                }
                this.send_as_it_is(id);
            });
        }
    }

    fn forget(&mut self, id: TraceId) {
        if let Some(open) = self.open.get_mut(&id) {
            open.root_ended = true;
            let root = open
                .spans
                .iter()
                .find(|span| span.is_root_of_its_trace())
                .map(|span| outline(&snapshot(span, &self.reporter)));
            open.trace.with(|state| {
                if let Some(root) = &root {
                    adopt_io(&mut state.data, root);
                }
                state.data.metadata.insert("pandaprobe.end".to_owned(), "max_trace_age".into());
                state.data.ended_at.get_or_insert(open.trace.now());
            });
            self.reporter.report(ReportKind::TraceForgotten, format!("trace {id} never ended"));
        }
    }

    /// Ends what is open of a trace with what it has.
    fn end_as_it_is(&mut self, id: TraceId) {
        let Some(open) = self.open.get(&id) else {
            return;
        };
        let (trace, spans, sent) = (Arc::clone(&open.trace), open.spans.clone(), open.phase == Phase::Sent);
        for span in spans.iter().filter(|span| !is_settled(span)) {
            span.with(|state| {
                state.exit.get_or_insert(Exit::Shutdown);
                state.data.ended_at.get_or_insert(trace.now());
            });
            settle(span, &self.reporter);
            adopt_root(span);
        }
        if matches!(trace.root, Root::Handle) && !sent {
            trace.with(|state| {
                state.exit.get_or_insert(Exit::Shutdown);
                state.data.ended_at.get_or_insert(trace.now());
            });
        }
        if sent {
            self.send_spans(&trace, take(&spans));
            self.send_change(&trace);
        } else {
            self.send_whole(id, &[]);
        }
    }
}
