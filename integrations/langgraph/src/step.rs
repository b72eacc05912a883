//! One step of a run: a call of a node, a model or a tool.

use std::{future::Future, sync::Arc};

use pandaprobe_core::{Handler, Outcome, Run, Span, watched};
use serde_json::Value;

use crate::{
    current::{self, Call, Here, InRun, Within, run_in, within},
    messages,
    recorder::GraphRun,
    watch::StreamEnd,
};

/// How a step came to its end.
#[derive(Debug)]
pub(crate) enum StepEnd {
    Done(Value),
    /// The run waits for somebody, and then calls the node again.
    Interrupted {
        value: Value,
        output: Option<Value>,
    },
    Failed(String),
}

/// A step that is being recorded.
#[derive(Debug)]
pub(crate) struct Step {
    span: Span,
    run: Option<Arc<GraphRun>>,
    /// Whether it stands directly below its run, so that the run waits if it does.
    at_root: bool,
    within: Within,
}

impl Step {
    /// Starts a step, in the run at `here`, else by the handler that it was wrapped with. `at` is where lies what it is called
    /// with. `None` if nothing is recorded, or if this call is already: by another wrapper around this one.
    pub(crate) fn start(
        own: &Handler,
        here: Option<Here>,
        (name, at): (&str, usize),
        run: impl FnOnce() -> Run,
    ) -> Option<Self> {
        Self::start_calling(own, here, (name, at, at), run)
    }

    /// [`start`](Self::start), where what a wrapper sees is `at`, and what one inside of it will see is `inside`.
    pub(crate) fn start_calling(
        own: &Handler,
        here: Option<Here>,
        (name, at, inside): (&str, usize, usize),
        run: impl FnOnce() -> Run,
    ) -> Option<Self> {
        if !current::is_recorded(here.as_ref(), own) {
            return None;
        }
        if within().and_then(|within| within.call).is_some_and(|call| &*call.name == name && call.at == at) {
            return None;
        }
        let call = Call { name: name.into(), at: inside };
        let span = current::start(here.as_ref(), own, run());
        // It may be somebody else's, and then stands elsewhere.
        let here = here.filter(|here| span.trace_id() == here.run.trace_id());
        let at_root = here.as_ref().is_some_and(|here| here.parent.id() == here.run.root().id());
        let (run, place) = here.map_or((None, None), |here| (Some(here.run), here.place));
        let within = Within { run: run.clone(), call: Some(call), place };
        Some(Self { span, run, at_root, within })
    }

    /// Records a step that is a future. `told` says what its value means.
    pub(crate) async fn record<F: Future>(
        step: Option<Self>,
        inner: impl FnOnce(Option<&Self>) -> F,
        told: impl FnOnce(&Span, &F::Output) -> StepEnd,
    ) -> F::Output {
        let Some(step) = step else {
            return inner(None).await;
        };
        let inner = step.inside(|span| span.scope(inner(Some(&step))));
        watched(inner, |outcome| match outcome {
            Outcome::Returned(value) => step.end(told(&step.span, value)),
            Outcome::Panicked(message) => step.panicked(message),
            _ => step.cancelled(),
        })
        .await
    }

    /// Records a step that is a closure.
    pub(crate) fn run<T>(
        step: Option<Self>,
        inner: impl FnOnce() -> T,
        told: impl FnOnce(&Span, &T) -> StepEnd,
    ) -> T {
        let Some(step) = step else {
            return inner();
        };
        let value = pandaprobe_core::catching(
            || run_in(&step.within, || step.span.run(inner)),
            |message| step.panicked(message),
        );
        step.end(told(&step.span, &value));
        value
    }

    /// What the step polls, inside of it.
    pub(crate) fn inside<T>(&self, scoped: impl FnOnce(&Span) -> T) -> InRun<T> {
        InRun::new(self.within.clone(), run_in(&self.within, || scoped(&self.span)))
    }

    pub(crate) fn span(&self) -> &Span {
        &self.span
    }

    /// The run that it is a part of.
    pub(crate) fn graph_run(&self) -> Option<&Arc<GraphRun>> {
        self.run.as_ref()
    }

    /// Ends the step.
    pub(crate) fn end(&self, end: StepEnd) {
        let span = self.over();
        match end {
            StepEnd::Done(output) => {
                span.set_output(messages::state(output));
                span.end();
            }
            StepEnd::Interrupted { value, output } => {
                span.set_metadata("interrupt", value.clone());
                if let Some(output) = output {
                    span.set_output(messages::state(output));
                }
                span.end();
                if let Some(run) = self.run.as_ref().filter(|_| self.at_root) {
                    run.interrupted(value);
                }
            }
            StepEnd::Failed(error) => span.fail(error),
        }
    }

    /// Ends a step that is a stream, whose items said `end` if they said anything.
    pub(crate) fn end_of_stream(&self, end: Option<StepEnd>, how: StreamEnd) {
        match (end, how) {
            (_, StreamEnd::Panicked(message)) => self.panicked(message),
            (Some(end), _) => self.end(end),
            (None, StreamEnd::Finished) => self.over().end(),
            (None, StreamEnd::Left) => self.over().stopped_by_reader(),
        }
    }

    /// Ends a step whose future was dropped.
    pub(crate) fn cancelled(&self) {
        dropped(self.over());
    }

    pub(crate) fn panicked(&self, message: Option<String>) {
        if let Some(run) = self.run.as_ref().filter(|_| self.at_root) {
            run.step_panicked(message.clone());
        }
        self.over().panicked(message);
    }

    fn over(&self) -> Span {
        if let Some(run) = &self.run {
            run.over(self.span.id());
        }
        self.span.clone()
    }
}

/// Ends the span of a future that was dropped.
pub(crate) fn dropped(span: Span) {
    if std::thread::panicking() { span.panicked(None) } else { span.cancel() }
}
