//! One run of a graph, as events of any runtime: it starts, its nodes run, edges are taken, it is interrupted or ends.

use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex},
};

use pandaprobe_core::{Handler, Outcome, Run, Span, SpanId, SpanKind, TraceId, watched};
use serde_json::Value;

use crate::{
    LangGraphHandler,
    current::{self, Here, InRun, Within},
    lock, messages,
    step::dropped,
    threads::{Thread, Threads},
    watch::StreamEnd,
};

/// The metadata key that leads from a run that resumes to the first run of its thread.
const RESUMES: &str = "pandaprobe.resumes_trace_id";

/// What is known of a run when it starts.
#[derive(Debug, Default)]
pub(crate) struct RunStart {
    /// The name of the graph, if it has one.
    pub(crate) name: Option<String>,
    pub(crate) input: Option<Value>,
    pub(crate) thread: Option<Thread>,
    /// Whether it goes on with what is on its thread, as far as can be told before it runs.
    pub(crate) resumes: bool,
}

/// A run of a graph that is being recorded.
#[derive(Debug)]
pub(crate) struct GraphRun {
    /// Whose the run is.
    pub(crate) handler: Handler,
    root: Span,
    thread: Option<Thread>,
    threads: Arc<Threads>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The last call of each node, by where it stands: what a conditional edge leads away from.
    last_calls: HashMap<(Option<SpanId>, String), LastCall>,
    interrupts: Vec<Value>,
    checkpoints: u64,
    has_input: bool,
    panicked: Option<Option<String>>,
    /// The trace of the first run of its thread, if this one resumes that.
    first: Option<String>,
}

/// The last call of a node.
#[derive(Debug)]
struct LastCall {
    span: Span,
    /// The conditional edges that were asked after it. Some runtimes ask twice.
    asked: Vec<usize>,
}

/// How a run came to its end.
#[derive(Debug, Default)]
pub(crate) struct RunEnd {
    pub(crate) output: Option<Value>,
    pub(crate) error: Option<String>,
    /// What it waits for, if the runtime says so of the run and not of a node.
    pub(crate) interrupt: Option<Value>,
}

impl GraphRun {
    /// Starts a run, which is a part of what is recorded where the program is.
    pub(crate) fn start(handler: &LangGraphHandler, start: RunStart) -> (Arc<Self>, Within) {
        let outer = Here::current();
        if outer.as_ref().is_some_and(|outer| !outer.parent.is_recorded()) {
            return Self::unrecorded(handler);
        }
        let mut of_thread = Handler::new();
        let mut first = None;
        if let Some(thread) = &start.thread {
            of_thread =
                of_thread.fallback_session_id(thread.id.clone()).metadata("thread_id", thread.id.clone());
            first = handler.threads.first_run(thread).filter(|_| start.resumes);
        }
        if let Some(first) = &first {
            of_thread = of_thread.metadata(RESUMES, first.clone());
        }
        let whose = handler.handler.over(&of_thread);
        let name = handler.run_name.as_deref().map(str::to_owned).or(start.name);
        let kind = if outer.is_some() { SpanKind::Agent } else { SpanKind::Chain };
        let mut run = Run::new(name.unwrap_or_else(|| "LangGraph".to_owned()), kind);
        let has_input = start.input.is_some();
        if let Some(input) = start.input {
            run = run.input(messages::state(input));
        }
        let root = whose.start(run);
        if let Some(first) = &first {
            root.set_metadata(RESUMES, first.clone());
        }
        let run = Arc::new(Self {
            handler: handler.handler.clone(),
            root,
            thread: start.thread,
            threads: Arc::clone(&handler.threads),
            state: Mutex::new(State { first, has_input, ..State::default() }),
        });
        let within = Within { run: Some(Arc::clone(&run)), call: None, place: None };
        (run, within)
    }

    /// A run that is not recorded, so that nothing in it is, whoever wrapped it.
    pub(crate) fn unrecorded(handler: &LangGraphHandler) -> (Arc<Self>, Within) {
        let run = Arc::new(Self {
            handler: handler.handler.clone(),
            root: Span::none(),
            thread: None,
            threads: Arc::clone(&handler.threads),
            state: Mutex::default(),
        });
        let within = Within { run: Some(Arc::clone(&run)), call: None, place: None };
        (run, within)
    }

    /// Starts a run, if it is to be recorded. `None`: nothing is recorded in this process.
    pub(crate) fn begin(handler: &LangGraphHandler, start: Option<RunStart>) -> Option<(Arc<Self>, Within)> {
        match start {
            Some(start) => Some(Self::start(handler, start)),
            None => pandaprobe_core::is_enabled().then(|| Self::unrecorded(handler)),
        }
    }

    /// Records a run that is a future; `None` if it is not to be recorded. `told` says what its value means.
    pub(crate) async fn record<F: Future>(
        handler: &LangGraphHandler,
        start: Option<RunStart>,
        inner: impl FnOnce(Option<&Arc<Self>>) -> F,
        told: impl FnOnce(&F::Output) -> RunEnd,
    ) -> F::Output {
        let Some((run, within)) = Self::begin(handler, start) else {
            return inner(None).await;
        };
        let inner = current::run_in(&within, || run.root.scope(inner(Some(&run))));
        watched(InRun::new(within, inner), |outcome| match outcome {
            Outcome::Returned(value) => run.end(told(value)),
            Outcome::Panicked(message) => run.root.clone().panicked(message),
            _ => dropped(run.root.clone()),
        })
        .await
    }

    pub(crate) fn root(&self) -> &Span {
        &self.root
    }

    pub(crate) fn trace_id(&self) -> Option<TraceId> {
        self.root.trace_id()
    }

    /// The run waits for somebody. It is resumed by another run.
    pub(crate) fn interrupted(&self, value: Value) {
        lock(&self.state).interrupts.push(value);
    }

    /// What goes in, where only what `thread` holds, or its first node, shows it.
    pub(crate) fn takes(&self, thread: Option<&str>, input: impl FnOnce() -> Value) {
        let is_of_another = thread.is_some_and(|thread| !self.is_on(thread));
        if !is_of_another && !std::mem::replace(&mut lock(&self.state).has_input, true) {
            self.root.set_input(messages::state(input()));
        }
    }

    /// A step directly below the run panicked, which the runtime may not tell.
    pub(crate) fn step_panicked(&self, message: Option<String>) {
        lock(&self.state).panicked = Some(message);
    }

    /// What a step said that panicked.
    pub(crate) fn panic(&self) -> Option<Option<String>> {
        lock(&self.state).panicked.clone()
    }

    /// The state of `thread` was saved as `id`.
    pub(crate) fn checkpoint(&self, thread: &str, id: &str) {
        if !self.is_on(thread) {
            return;
        }
        let saved = {
            let state = &mut *lock(&self.state);
            state.checkpoints += 1;
            state.checkpoints
        };
        self.root.set_metadata("checkpoint_id", id);
        self.root.set_metadata("checkpoints", saved);
    }

    /// Graphs inside of a graph may have threads of their own.
    fn is_on(&self, thread: &str) -> bool {
        self.thread.as_ref().is_some_and(|own| own.id == thread)
    }

    /// The trace that a run which resumes this one names: its own, or that of the first run of the thread.
    pub(crate) fn first_run(&self) -> Option<String> {
        lock(&self.state).first.clone().or_else(|| Some(self.trace_id()?.to_string()))
    }

    /// The run goes on with what another one left, perhaps in another process.
    pub(crate) fn resumes(&self, thread: &str, first: &str) {
        if self.is_on(thread) && Some(first) != self.first_run().as_deref() {
            self.root.set_metadata(RESUMES, first);
            // On the trace too, if that was begun for this run.
            Handler::new().metadata(RESUMES, first).take_over(&self.root);
            lock(&self.state).first = Some(first.to_owned());
        }
    }

    /// Ends the run.
    pub(crate) fn end(&self, end: RunEnd) {
        self.settle(end.interrupt, end.error.is_some());
        if let Some(output) = end.output {
            self.root.set_output(messages::state(output));
        }
        match end.error {
            Some(error) => self.root.clone().fail(error),
            None => self.root.clone().end(),
        }
    }

    /// Writes what the run waits for, and remembers whether its thread does.
    fn settle(&self, interrupt: Option<Value>, failed: bool) {
        let first = self.first_run();
        let State { mut interrupts, .. } = std::mem::take(&mut *lock(&self.state));
        if interrupts.is_empty() {
            interrupts.extend(interrupt);
        }
        let waits = !interrupts.is_empty();
        if waits {
            self.root.set_metadata("interrupts", Value::Array(interrupts));
        }
        self.remember(waits, failed, first);
    }

    /// Ends a run that is a stream, whose items said `end` if they said how the run ended.
    pub(crate) fn end_of_stream(&self, end: Option<RunEnd>, how: StreamEnd) {
        match (end, how) {
            (_, StreamEnd::Panicked(message)) => self.root.clone().panicked(message),
            (Some(end), _) => self.end(end),
            (None, StreamEnd::Finished) => self.end(RunEnd::default()),
            (None, StreamEnd::Left) => {
                // It is not known how it would have ended.
                self.settle(None, true);
                self.root.clone().stopped_by_reader();
            }
        }
    }

    fn remember(&self, waits: bool, failed: bool, first: Option<String>) {
        match (&self.thread, first) {
            (Some(thread), Some(first)) if waits => self.threads.interrupted(thread.clone(), first),
            // What failed can be run again from where it was.
            (Some(thread), _) if !failed => self.threads.finished(thread),
            _ => {}
        }
    }

    /// The node `name` is called at `at`.
    pub(crate) fn called(&self, at: Option<SpanId>, name: &str, call: &Span) {
        if call.trace_id() != self.trace_id() {
            return;
        }
        lock(&self.state)
            .last_calls
            .insert((at, name.to_owned()), LastCall { span: call.clone(), asked: Vec::new() });
    }

    /// The call `at` of a node is over, and so are the calls inside of it.
    pub(crate) fn over(&self, at: Option<SpanId>) {
        lock(&self.state).last_calls.retain(|(above, _), _| *above != at);
    }

    /// Whether a conditional edge away from `source` is asked for the first time since that was called.
    pub(crate) fn is_asked_first(&self, at: Option<SpanId>, source: &str, edge: usize) -> bool {
        let calls = &mut lock(&self.state).last_calls;
        let Some(last) = calls.get_mut(&(at, source.to_owned())) else {
            return true;
        };
        let first = !last.asked.contains(&edge);
        if first {
            last.asked.push(edge);
        }
        first
    }

    /// Starts the span of a conditional edge away from `source`: below the call that it leads away from.
    pub(crate) fn edge(&self, at: &Span, source: &str, input: Value) -> Span {
        let last =
            lock(&self.state).last_calls.get(&(at.id(), source.to_owned())).map(|last| last.span.clone());
        let run = Run::new("route", SpanKind::Agent).metadata("source", source).input(messages::state(input));
        self.handler.start_below(last.as_ref().unwrap_or(at), run)
    }
}
