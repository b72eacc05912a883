//! Where a run was started, which is where its steps belong.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
};

use futures_core::Stream;
use pandaprobe_core::{OpenScope, Scope, Scoped};
use pin_project_lite::pin_project;

/// Where a run was started. What is current while it runs need not be its own.
#[derive(Debug)]
pub(crate) struct Place {
    scope: OpenScope,
    for_callbacks: OpenScope,
}

impl Place {
    pub(crate) fn here() -> Arc<Self> {
        let scope = Scope::current().open();
        Arc::new(Self { for_callbacks: scope.for_callbacks(), scope })
    }

    /// Runs something of this crate's own there.
    pub(crate) fn record<T>(&self, f: impl FnOnce() -> T) -> T {
        self.for_callbacks.run(f)
    }

    /// Runs something of the application's there.
    pub(crate) fn run<T>(&self, f: impl FnOnce() -> T) -> T {
        self.scope.run(f)
    }
}

/// The place of a request, once it is polled: how its hooks know.
pub(crate) type Link = Arc<OnceLock<Arc<Place>>>;

pin_project! {
    /// A request that runs: a future, or a stream. Made by [`TracedRunner`](crate::TracedRunner).
    ///
    /// It belongs where it was made, as a future in a [`Scope`] does. It polls steps of other runs, of other users, so nothing
    /// of that is current inside of it: its hooks remember where it is, and its tools run there.
    #[derive(Debug)]
    #[must_use = "a run does nothing until it is polled"]
    pub struct TracedRun<F> {
        #[pin]
        run: Scoped<Linked<F>>,
    }
}

impl<F> TracedRun<F> {
    pub(crate) fn new(link: Link, run: impl FnOnce() -> F) -> Self {
        let nowhere = Scope::nowhere();
        let run = nowhere.clone().run(run);
        let run = Linked { link, run: nowhere.scope_stream(run) };
        Self { run: Scope::new().scope_stream(run) }
    }
}

impl<F: Future> Future for TracedRun<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        self.project().run.poll(context)
    }
}

impl<S: Stream> Stream for TracedRun<S> {
    type Item = S::Item;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<S::Item>> {
        self.project().run.poll_next(context)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.run.size_hint()
    }
}

pin_project! {
    /// A request that says where it is when it is polled first.
    #[derive(Debug)]
    struct Linked<F> {
        link: Link,
        #[pin]
        run: Scoped<F>,
    }
}

impl<F: Future> Future for Linked<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        this.link.get_or_init(Place::here);
        this.run.poll(context)
    }
}

impl<S: Stream> Stream for Linked<S> {
    type Item = S::Item;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let this = self.project();
        this.link.get_or_init(Place::here);
        this.run.poll_next(context)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.run.size_hint()
    }
}
