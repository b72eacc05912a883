//! Ends what a future stands for when the future ends, however it does.

use std::{
    any::Any,
    fmt,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::Pin,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;
use serde_json::Value;

use crate::{context::Home, pipeline::Exit};

/// How a future came to its end.
#[derive(Debug)]
#[non_exhaustive]
pub enum Outcome<'a, T> {
    /// It returned a value.
    Returned(&'a T),
    /// It panicked, with this message if that is text. The panic goes on.
    Panicked(Option<String>),
    /// It was dropped before it finished.
    Dropped,
}

/// A future that tells `watch`, once, how `future` came to its end. When it is dropped, `future` is dropped
/// first, so that what its destructors record comes before.
pub fn watched<F, W>(future: F, watch: W) -> Watched<F, W>
where
    F: Future,
    W: FnOnce(Outcome<'_, F::Output>),
{
    Watched {
        inner: Some(future),
        watch: Some(Watch { tell: watch, dropped: |watch| watch(Outcome::Dropped) }),
    }
}

struct Watch<W> {
    tell: W,
    dropped: fn(W),
}

pin_project! {
    /// The future of [`watched`].
    #[must_use = "futures do nothing unless polled"]
    pub struct Watched<F, W> {
        #[pin]
        inner: Option<F>,
        watch: Option<Watch<W>>,
    }

    impl<F, W> PinnedDrop for Watched<F, W> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            this.inner.set(None);
            if let Some(watch) = this.watch.take() {
                (watch.dropped)(watch.tell);
            }
        }
    }
}

impl<F, W> Future for Watched<F, W>
where
    F: Future,
    W: FnOnce(Outcome<'_, F::Output>),
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let Some(inner) = this.inner.as_pin_mut() else {
            return Poll::Pending;
        };
        let watch = this.watch;
        let polled = catching(
            || inner.poll(cx),
            |message| {
                if let Some(watch) = watch.take() {
                    (watch.tell)(Outcome::Panicked(message));
                }
            },
        );
        if let Poll::Ready(value) = &polled
            && let Some(watch) = watch.take()
        {
            (watch.tell)(Outcome::Returned(value));
        }
        polled
    }
}

impl<F, W> fmt::Debug for Watched<F, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watched")
    }
}

/// What has an end that can be told.
pub(super) trait Ends {
    fn end(&self, exit: Exit);
}

/// A builder of a span or a trace.
pub(super) trait Begin {
    type Handle: Ends + Clone;

    /// Begins it. What is then to run inside of it does so at that home.
    fn begin(self) -> (Self::Handle, Home);

    fn is_recorded(handle: &Self::Handle) -> bool;

    /// Sets what came out.
    fn gives(handle: &Self::Handle, output: Value);
}

/// What a returned value means.
pub(super) type Verdict<T> = fn(&T) -> Exit;

/// Every value means success.
pub(super) fn done<T>(_: &T) -> Exit {
    Exit::Done
}

/// A watch that ends `what`.
pub(super) fn ending<T>(what: impl Ends, verdict: impl FnOnce(&T) -> Exit) -> impl FnOnce(Outcome<'_, T>) {
    move |outcome| {
        what.end(match outcome {
            Outcome::Returned(value) => verdict(value),
            Outcome::Panicked(message) => Exit::Panicked(message),
            Outcome::Dropped if std::thread::panicking() => Exit::Panicked(None),
            Outcome::Dropped => Exit::Cancelled,
        });
    }
}

/// [`ending`] for synchronous code.
pub(super) fn run<T>(what: &impl Ends, verdict: impl FnOnce(&T) -> Exit, f: impl FnOnce() -> T) -> T {
    let value = catching(f, |message| what.end(Exit::Panicked(message)));
    what.end(verdict(&value));
    value
}

/// Runs `f`. If it panics, tells `panicked` what the panic said, if that is text, and lets it go on: [`watched`] for
/// what is no future.
pub fn catching<T>(f: impl FnOnce() -> T, panicked: impl FnOnce(Option<String>)) -> T {
    catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(|panic| {
        panicked(message(panic.as_ref()));
        resume_unwind(panic)
    })
}

/// What a panic said.
fn message(panic: &(dyn Any + Send)) -> Option<String> {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
}
