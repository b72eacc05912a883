//! Futures and streams that have a scope current whenever they are polled or dropped.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_core::Stream;
use pin_project_lite::pin_project;
use tokio::task::{self, JoinHandle};

use super::{Active, Frame, OpenScope, Position, Scope, current, stack::unique};
use crate::client::anything_enabled;

/// Where a future lives: the frame that is current while it is polled, made when that is first needed.
pub(crate) enum Home {
    /// Not needed yet, or nothing is recorded at all.
    Unbuilt { plan: Plan, made_in: Option<Arc<Frame>> },
    /// Made. `None`: outside of everything.
    Built { frame: Option<Arc<Frame>>, owner: u64 },
}

/// What a home will be.
pub(crate) enum Plan {
    /// What it is in, as it is.
    Same,
    /// A scope.
    Scope(Scope),
    /// A trace, or a span of it.
    Position(Position),
}

impl Plan {
    fn frame(self, outer: Option<Arc<Frame>>) -> Option<Arc<Frame>> {
        match self {
            Self::Same => outer,
            Self::Scope(scope) => Some(scope.frame(outer)),
            Self::Position(position) => Some(Arc::new(Frame::at(outer, position))),
        }
    }

    /// As planned, inside of what is current, at once.
    pub(crate) fn open(self) -> OpenScope {
        OpenScope::new(self.frame(current()))
    }
}

impl Home {
    /// As planned, inside of what is current.
    pub(crate) fn new(plan: Plan) -> Self {
        Self::Unbuilt { plan, made_in: if anything_enabled() { current() } else { None } }
    }

    /// The same home for something else, which is to be there later.
    pub(crate) fn share(&mut self) -> Self {
        self.inside(|| ());
        match self {
            Self::Built { frame, owner } => Self::Built { frame: frame.clone(), owner: *owner },
            Self::Unbuilt { .. } => Self::new(Plan::Same),
        }
    }

    /// Runs `f` at home.
    pub(crate) fn inside<T>(&mut self, f: impl FnOnce() -> T) -> T {
        if let Self::Unbuilt { plan, made_in } = self
            && anything_enabled()
        {
            let outer = outer(made_in.take());
            let frame = std::mem::replace(plan, Plan::Same).frame(outer);
            *self = Self::Built { frame, owner: unique() };
        }
        let _active = match self {
            Self::Built { frame: Some(frame), owner } => Some(Active::enter(Arc::clone(frame), *owner)),
            _ => None,
        };
        f()
    }
}

/// What is outside of something that was made in `made_in` and is now needed for the first time: what is
/// current now if that is at home there, as it is in `outer.scope(inner.scope(future))`. If it is not, a
/// stranger polls, whose identity must not get in.
fn outer(made_in: Option<Arc<Frame>>) -> Option<Arc<Frame>> {
    match (made_in, current()) {
        (None, here) => here,
        (Some(made_in), Some(here)) if here.is_within(&made_in) => Some(here),
        (Some(made_in), _) => Some(made_in.detached()),
    }
}

impl fmt::Debug for Home {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Home")
    }
}

pin_project! {
    /// A future or stream inside of a [`Scope`]: the scope is current whenever it is polled or dropped, on
    /// whatever thread.
    #[derive(Debug)]
    #[must_use = "futures and streams do nothing unless polled"]
    pub struct Scoped<T> {
        home: Home,
        #[pin]
        inner: Option<T>,
    }

    impl<T> PinnedDrop for Scoped<T> {
        fn drop(this: Pin<&mut Self>) {
            this.clear();
        }
    }
}

impl<T> Scoped<T> {
    pub(crate) fn new(home: Home, inner: T) -> Self {
        Self { home, inner: Some(inner) }
    }

    /// Drops what is inside, at home: its destructors may record.
    pub(crate) fn clear(self: Pin<&mut Self>) {
        let mut this = self.project();
        if this.inner.is_some() {
            this.home.inside(|| this.inner.set(None));
        }
    }
}

impl<F: Future> Future for Scoped<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        match this.inner.as_pin_mut() {
            Some(inner) => this.home.inside(|| inner.poll(cx)),
            None => Poll::Pending,
        }
    }
}

impl<S: Stream> Stream for Scoped<S> {
    type Item = S::Item;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let this = self.project();
        match this.inner.as_pin_mut() {
            Some(inner) => this.home.inside(|| inner.poll_next(cx)),
            None => Poll::Ready(None),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.inner.as_ref().map_or((0, Some(0)), Stream::size_hint)
    }
}

/// Carries what is current into another task.
pub trait InCurrentScope: Sized {
    /// A future or stream for which is current, wherever it is polled or dropped, what is current here: scope,
    /// trace and parent span. It is a copy: a later `set_user` or `set_session` on either side does not reach
    /// the other.
    ///
    /// ```
    /// use pandaprobe_core::InCurrentScope;
    /// # async fn work() {}
    /// # async fn example() {
    /// tokio::spawn(work().in_current_scope());
    /// # }
    /// ```
    fn in_current_scope(self) -> Scoped<Self> {
        let plan = if anything_enabled() { Plan::Scope(Scope::current()) } else { Plan::Same };
        Scoped::new(Home::new(plan), self)
    }
}

impl<T> InCurrentScope for T {}

/// [`tokio::spawn`] of a future that stays in the current scope, trace and span.
///
/// # Panics
///
/// Outside of a tokio runtime, as `tokio::spawn` does.
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    task::spawn(future.in_current_scope())
}

/// [`tokio::task::spawn_blocking`] of a closure that stays in the current scope, trace and span.
///
/// # Panics
///
/// Outside of a tokio runtime, as `tokio::task::spawn_blocking` does.
pub fn spawn_blocking<F, T>(f: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let scope = Scope::current();
    task::spawn_blocking(move || scope.run(f))
}
