//! A step of a run: its span, and where it is.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, LazyLock},
    task::{Context, Poll},
};

use pandaprobe_core::{
    Handler, OpenScope, Outcome, Run, Scope, Span, SpanKind, current_span, current_trace_id, watched,
};
use pin_project_lite::pin_project;

use crate::place::{OwnTrace, Place, What};

/// Begins what is inside of a run: that is whose the run is, whatever handler it was wrapped with.
static INSIDE: LazyLock<Handler> = LazyLock::new(Handler::new);

/// The ids that adk has for a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AdkIds<'a> {
    pub(crate) session: &'a str,
    pub(crate) user: &'a str,
}

/// What may be recorded where the program is.
pub(crate) enum Found {
    Step(Arc<Step>),
    /// It is recorded already, or is not to be.
    Nothing,
    /// There is no run.
    Outside,
}

/// A step that has begun.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) span: Span,
    place: Arc<Place>,
    /// `None`: the run is not recorded, and runs as if it were not wrapped.
    scope: Option<OpenScope>,
    _own_trace: Option<OwnTrace>,
}

impl Step {
    /// A run begins, where the program is. `None`: nothing is recorded in this process.
    pub(crate) fn run(
        handler: &Handler,
        name: &str,
        ids: AdkIds<'_>,
        run: impl FnOnce() -> Run,
    ) -> Option<Arc<Self>> {
        if !pandaprobe_core::is_enabled() {
            return None;
        }
        let what = What::new(SpanKind::Chain, name);
        let span = match handler.is_enabled() {
            true => with_ids(handler, Some(ids)).start(run()),
            false => Span::none(),
        };
        Some(Self::new(span, what, None))
    }

    /// A step of the run that is current here; without one, what begins where the program is. `None`: it is not recorded.
    pub(crate) fn begin(
        handler: &Handler,
        what: What,
        ids: Option<AdkIds<'_>>,
        run: impl Fn() -> Run,
    ) -> Option<Arc<Self>> {
        match Self::inside(what, &run) {
            Found::Step(step) => Some(step),
            Found::Nothing => None,
            Found::Outside if handler.is_enabled() => {
                let span = with_ids(handler, ids).start(run());
                span.is_recorded().then(|| Self::new(span, what, None))
            }
            Found::Outside => None,
        }
    }

    /// A step of the run that is current here.
    pub(crate) fn inside(what: What, run: impl Fn() -> Run) -> Found {
        if !pandaprobe_core::is_enabled() {
            return Found::Nothing;
        }
        let here = Place::here();
        if here.as_ref().is_some_and(|place| !place.is_recorded() || place.already_records(&what)) {
            return Found::Nothing;
        }
        let is_in_run = |trace| here.as_ref().is_some_and(|place| place.is_in(trace)) || OwnTrace::is(trace);
        let Some(parent) = current_span().filter(|parent| is_in_run(parent.trace_id())) else {
            return Found::Outside;
        };
        let span = INSIDE.start_below(&parent, run());
        match span.is_recorded() {
            true => Found::Step(Self::new(span, what, here.as_deref())),
            false => Found::Nothing,
        }
    }

    /// A step of this one, which is not current, unless it is somebody else's. `None`: it is not recorded.
    pub(crate) fn below(
        &self,
        handler: &Handler,
        what: What,
        ids: AdkIds<'_>,
        run: impl Fn() -> Run,
    ) -> Option<Arc<Self>> {
        let span = with_ids(handler, Some(ids)).start_below(&self.span, run());
        span.is_recorded().then(|| Self::new(span, what, Some(&self.place)))
    }

    fn new(span: Span, what: What, outer: Option<&Place>) -> Arc<Self> {
        let at = span.trace_id().zip(span.id());
        let scope = span.is_recorded().then(|| span.run(|| Scope::new().open()));
        let own_trace = span.trace_id().filter(|trace| outer.is_none() && current_trace_id() != Some(*trace));
        let _own_trace = own_trace.map(OwnTrace::begun);
        Arc::new(Self { place: Place::new(at, what, outer), scope, _own_trace, span })
    }

    /// Runs something of the application's inside of the step.
    pub(crate) fn enter<T>(&self, f: impl FnOnce() -> T) -> T {
        self.place.enter(|| match &self.scope {
            Some(scope) => scope.run(f),
            None => f(),
        })
    }

    /// Somebody stopped the run from outside.
    pub(crate) fn interrupt(&self) {
        self.place.interrupt();
    }

    pub(crate) fn is_interrupted(&self) -> bool {
        self.place.is_interrupted()
    }

    /// A future inside of the step. What it returns is for the caller to judge; a panic or an early drop ends the step.
    pub(crate) fn watch<F: Future, S: FnOnce() -> F>(
        self: &Arc<Self>,
        start: S,
    ) -> impl Future<Output = F::Output> + use<F, S> {
        let inside = Inside { future: Some(self.enter(start)), step: Arc::clone(self) };
        let span = self.span.clone();
        watched(inside, move |outcome| match outcome {
            Outcome::Panicked(message) => span.panicked(message),
            Outcome::Dropped if std::thread::panicking() => span.panicked(None),
            Outcome::Dropped => span.cancel(),
            _ => {}
        })
    }
}

fn with_ids(handler: &Handler, ids: Option<AdkIds<'_>>) -> Handler {
    match ids {
        Some(ids) => handler.clone().fallback_session_id(ids.session).fallback_user_id(ids.user),
        None => handler.clone(),
    }
}

pin_project! {
    /// A future that is polled and dropped inside of a step.
    struct Inside<F> {
        #[pin]
        future: Option<F>,
        step: Arc<Step>,
    }

    impl<F> PinnedDrop for Inside<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            this.step.enter(|| this.future.set(None));
        }
    }
}

impl<F: Future> Future for Inside<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        match this.future.as_pin_mut() {
            Some(future) => this.step.enter(|| future.poll(cx)),
            None => Poll::Pending,
        }
    }
}
