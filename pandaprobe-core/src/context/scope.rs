//! Scopes: session, user, tags and metadata for a part of the program.

use std::{fmt, future::IntoFuture, sync::Arc};

use serde_json::Value;

use super::{
    Active, Collector, Frame, Scoped, current, frame, said,
    scoped::{Home, Plan},
    stack::unique,
};
use crate::{
    client::{Client, anything_enabled},
    identity::{Ids, Slot},
    model::Object,
    pipeline::shallow,
    sync::Mutex,
};

/// Session, user, tags and metadata for whatever begins inside of it.
///
/// While [nothing can be recorded](crate::is_enabled) a scope copies nothing. If a client is made before the scope ends, what
/// begins inside then has no session or user from this scope, and none from another one in its place; its metadata say so.
///
/// Scopes nest and combine: an inner one that sets only the user keeps the outer session. Choose the form by
/// what it surrounds:
///
/// | around | form |
/// |---|---|
/// | a future | [`scope`](Self::scope) |
/// | a stream | [`scope_stream`](Self::scope_stream) |
/// | synchronous code | [`run`](Self::run) |
/// | the rest of a block, without awaits | [`enter`](Self::enter) |
/// | another task | [`in_current_scope`](super::InCurrentScope::in_current_scope), [`spawn`](super::spawn) |
/// | another thread, or an actor | [`Scope::current`], carried there, then [`run`](Self::run) or [`scope`](Self::scope) |
///
/// ```
/// # async fn answer() {}
/// # async fn request() {
/// pandaprobe_core::session("conversation-123").user("user-abc").scope(answer()).await;
/// # }
/// ```
#[derive(Clone, Default)]
#[must_use = "a scope does nothing until something is put inside of it"]
pub struct Scope {
    ids: Ids,
    tags: Vec<String>,
    metadata: Object,
    client: Option<Client>,
    carried: Option<Arc<Frame>>,
    capture: Option<Arc<Collector>>,
}

/// A scope for the agent lifecycle `id`: 1 to 255 characters. An id that is none blocks the slot: traces
/// inside then have no session, rather than the wrong one.
pub fn session(id: impl Into<String>) -> Scope {
    Scope::new().session(id)
}

/// A scope for the activity of the user `id`: 1 to 255 characters. An id that is none blocks the slot: traces
/// inside then have no user, rather than the wrong one.
pub fn user(id: impl Into<String>) -> Scope {
    Scope::new().user(id)
}

/// A scope whose traces carry a tag.
pub fn tag(tag: impl Into<String>) -> Scope {
    Scope::new().tag(tag)
}

/// A scope whose traces carry tags.
pub fn tags(tags: impl IntoIterator<Item = impl Into<String>>) -> Scope {
    Scope::new().tags(tags)
}

/// A scope whose traces carry metadata.
pub fn metadata(key: impl Into<String>, value: impl Into<Value>) -> Scope {
    Scope::new().metadata(key, value)
}

impl Scope {
    /// A scope that says nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// What is current here, trace and span included, to be carried to another task or thread: a copy, which
    /// a later `set_user` or `set_session` on either side does not reach.
    ///
    /// ```
    /// let here = pandaprobe_core::Scope::current();
    /// std::thread::spawn(move || here.run(|| { /* as if still there */ }));
    /// ```
    pub fn current() -> Self {
        let carried = current().unwrap_or_default().detached();
        Self { carried: Some(carried), ..Self::default() }
    }

    /// What is current here, trace and span included, shared and not copied: for an integration whose work is
    /// done elsewhere on behalf of the caller, within one call.
    pub fn shared() -> Self {
        // Without a scope there is nothing to share but the default, which must not be another one elsewhere.
        let here = current().unwrap_or_else(|| Arc::<Frame>::default().detached_for_caller());
        Self { carried: Some(here), ..Self::default() }
    }

    /// Outside of everything, wherever it is run: for work of which nobody knows whose it is. What begins inside has no user,
    /// session or place in a trace unless the work says so itself; its trace says in `metadata["pandaprobe.withheld"]`
    /// that something may be missing, and `on_error` hears of it.
    pub fn nowhere() -> Self {
        Self { carried: Some(Frame::nowhere()), ..Self::default() }
    }

    pub(super) fn capturing(collector: Arc<Collector>) -> Self {
        Self { capture: Some(collector), ..Self::default() }
    }

    /// Sets the session; see [`session`].
    pub fn session(mut self, id: impl Into<String>) -> Self {
        self.ids.session = said("session scope", || Slot::session(id));
        self
    }

    /// Sets the user; see [`user`].
    pub fn user(mut self, id: impl Into<String>) -> Self {
        self.ids.user = said("user scope", || Slot::user(id));
        self
    }

    /// Adds a tag to traces inside.
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        if anything_enabled() {
            self.tags.push(tag.into());
        }
        self
    }

    /// Adds tags to traces inside.
    pub fn tags(mut self, tags: impl IntoIterator<Item = impl Into<String>>) -> Self {
        if anything_enabled() {
            self.tags.extend(tags.into_iter().map(Into::into));
        }
        self
    }

    /// Adds metadata to traces inside. The innermost value of a key wins.
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        if anything_enabled() {
            self.metadata.insert(key.into(), shallow(value.into()));
        }
        self
    }

    /// Records with `client` instead of the global one.
    pub fn client(mut self, client: Client) -> Self {
        self.client = Some(client);
        self
    }

    /// A future that has the scope current whenever it is polled or dropped, on whatever thread. Outside of it
    /// is what was current where this was called, or what is current inside of that where it is first polled.
    pub fn scope<F: IntoFuture>(self, future: F) -> Scoped<F::IntoFuture> {
        // Builders that become futures may already look around. What is outside of this scope is not settled
        // before the future is polled, so this is a scope of its own.
        let future = self.clone().run(|| future.into_future());
        self.scope_stream(future)
    }

    /// A stream that has the scope current whenever it is polled or dropped, on whatever thread.
    pub fn scope_stream<S>(self, stream: S) -> Scoped<S> {
        Scoped::new(Home::new(Plan::Scope(self)), stream)
    }

    /// Runs a closure in the scope: the form for synchronous code.
    pub fn run<T>(self, f: impl FnOnce() -> T) -> T {
        Home::new(Plan::Scope(self)).inside(f)
    }

    /// Makes the scope current until the guard is dropped, for code without awaits. Held across an await it is
    /// ignored in other tasks; use [`scope`](Self::scope) there.
    pub fn enter(self) -> ScopeGuard {
        ScopeGuard { _active: Active::guard(self.frame(current())) }
    }

    /// Opens the scope, inside of what is current here, for work whose parts do not lie in one future, stream or
    /// closure: a request, whose response's body is sent after the future that answered it is gone.
    ///
    /// ```
    /// use pandaprobe_core::{Scope, set_user, trace};
    ///
    /// let request = Scope::new().tag("http").open();
    /// request.run(|| set_user("ada"));
    /// request.run(|| trace("hers").run(|_| ()));
    /// ```
    pub fn open(self) -> OpenScope {
        OpenScope::new(Some(self.frame(current())))
    }

    /// A layer for the scope. A scope that was carried here is outside of it.
    pub(super) fn frame(self, outer: Option<Arc<Frame>>) -> Arc<Frame> {
        // What is set where nobody knows whose it is would be that of all who are polled there.
        let nowhere =
            self.ids == Ids::default() && self.carried.as_ref().is_some_and(|carried| carried.nowhere);
        Arc::new(Frame {
            outer: frame::Outer::new(self.carried.or(outer)),
            state: Mutex::new(frame::State::new(self.ids)),
            nowhere,
            tags: self.tags,
            metadata: self.metadata,
            client: self.client,
            capture: self.capture,
            ..Frame::default()
        })
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope")
            .field("session", &self.ids.session.value())
            .field("user", &self.ids.user.value())
            .field("tags", &self.tags)
            .finish_non_exhaustive()
    }
}

/// A scope that is open: it can be entered as often as needed, on any thread, and is the same one each time, so
/// that a `set_user` in it counts from then on. Made by [`Scope::open`] and
/// [`Trace::open_scope`](crate::Trace::open_scope).
#[derive(Debug)]
#[must_use = "a scope does nothing until something is run inside of it"]
pub struct OpenScope {
    /// `None`: outside of everything.
    frame: Option<Arc<Frame>>,
    owner: u64,
}

impl OpenScope {
    pub(crate) fn new(frame: Option<Arc<Frame>>) -> Self {
        Self { frame, owner: unique() }
    }

    /// The same scope for the callbacks of an integration, which run nothing of the application's: what is in flight of
    /// [`StrayWork`](crate::StrayWork) withholds nothing there.
    pub fn for_callbacks(&self) -> Self {
        let outer = frame::Outer::new(self.frame.clone());
        Self::new(Some(Arc::new(Frame { outer, for_callbacks: true, ..Frame::default() })))
    }

    /// Runs a closure in the scope: one poll of a future, or its drop.
    pub fn run<T>(&self, f: impl FnOnce() -> T) -> T {
        let _active = self.frame.as_ref().map(|frame| Active::enter(Arc::clone(frame), self.owner));
        f()
    }
}

/// Keeps a scope current on this thread; see [`Scope::enter`].
#[derive(Debug)]
#[must_use = "the scope ends when the guard is dropped: bind it to a name"]
pub struct ScopeGuard {
    _active: Active,
}
