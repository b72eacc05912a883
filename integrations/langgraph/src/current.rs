//! Which run of a graph is polled here.
//!
//! A node, a model or a tool is wrapped when a graph is built, long before anybody runs it. It is recorded into the run that
//! is current where it is called, whoever's that is.

use std::{
    cell::RefCell,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_core::Stream;
use pandaprobe_core::{Handler, OpenScope, Run, Span, current_span};
use pin_project_lite::pin_project;

use crate::recorder::GraphRun;

thread_local! {
    static CURRENT: RefCell<Option<Within>> = const { RefCell::new(None) };
}

/// What is polled here: a run, or a step of one.
#[derive(Clone, Debug)]
pub(crate) struct Within {
    /// The run; `None` in a step that was called outside of any.
    pub(crate) run: Option<Arc<GraphRun>>,
    /// The call of a step, if this is inside of one.
    pub(crate) call: Option<Call>,
    /// What is current for the run, if the runtime polls it in a task of its own.
    pub(crate) place: Option<Arc<OpenScope>>,
}

/// A call of a wrapped step: what tells that a wrapper inside of this one is called for the same call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) name: Arc<str>,
    /// What a wrapper inside of this one sees: where that lies what it is called with, or it itself.
    pub(crate) at: usize,
}

/// Where a step of a run belongs.
#[derive(Clone, Debug)]
pub(crate) struct Here {
    pub(crate) run: Arc<GraphRun>,
    pub(crate) parent: Span,
    /// What is current there, for work that is polled elsewhere.
    pub(crate) place: Option<Arc<OpenScope>>,
}

impl Here {
    /// Where the program is, if a run of a graph is polled here and what is current is of its trace. In a run that is not
    /// recorded, everywhere: nothing in it is.
    pub(crate) fn current() -> Option<Self> {
        let run = within()?.run?;
        if !run.root().is_recorded() {
            return Some(Self { parent: Span::none(), place: None, run });
        }
        let parent = current_span()?;
        (parent.trace_id() == run.trace_id()).then_some(Self { run, parent, place: None })
    }

    /// Starts a step there.
    pub(crate) fn start(&self, run: Run) -> Span {
        self.run.handler.start_below(&self.parent, run)
    }
}

/// Starts a step where the program is: in the run that is current, else by the handler it was wrapped with.
pub(crate) fn start(here: Option<&Here>, own: &Handler, run: Run) -> Span {
    match here {
        Some(here) => here.start(run),
        None => own.start(run),
    }
}

/// Whether a step would be recorded.
pub(crate) fn is_recorded(here: Option<&Here>, own: &Handler) -> bool {
    here.map_or_else(|| own.is_enabled(), |here| here.parent.is_recorded())
}

/// What is polled here of a run.
pub(crate) fn within() -> Option<Within> {
    CURRENT.try_with(|current| current.borrow().clone()).ok().flatten()
}

/// Makes a run current until it is dropped.
struct Entered(Option<Within>);

impl Entered {
    fn into(within: &Within) -> Self {
        Self(CURRENT.try_with(|current| current.replace(Some(within.clone()))).ok().flatten())
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let _ = CURRENT.try_with(|current| current.replace(self.0.take()));
    }
}

/// Runs a closure there.
pub(crate) fn run_in<T>(within: &Within, f: impl FnOnce() -> T) -> T {
    let _entered = Entered::into(within);
    match &within.place {
        Some(place) => place.run(f),
        None => f(),
    }
}

pin_project! {
    /// A future or stream with a run current whenever it is polled.
    #[derive(Debug)]
    #[must_use = "futures and streams do nothing unless polled"]
    pub(crate) struct InRun<T> {
        within: Within,
        #[pin]
        inner: T,
    }
}

impl<T> InRun<T> {
    pub(crate) fn new(within: Within, inner: T) -> Self {
        Self { within, inner }
    }
}

impl<F: Future> Future for InRun<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let inner = this.inner;
        run_in(this.within, || inner.poll(context))
    }
}

impl<S: Stream> Stream for InRun<S> {
    type Item = S::Item;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let this = self.project();
        let inner = this.inner;
        run_in(this.within, || inner.poll_next(context))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.inner.size_hint()
    }
}
