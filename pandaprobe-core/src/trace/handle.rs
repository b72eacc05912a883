//! Traces.

use std::{future::Future, sync::Arc};

use futures_core::Stream;
use serde_json::Value;

use super::{
    Opening, SpanBuilder, StepStream, TraceStream,
    ending::{Begin, Ends, Verdict, done, ending, run, watched},
    stream::Unjudged,
};
use crate::{
    client::{self, Client},
    context::{Home, OpenScope, Plan, Position, Scoped, current, said},
    error_text::{ErrorText, text_of},
    identity::Slot,
    model::{TraceData, TraceId, TraceStatus, last_assistant},
    pipeline::{Exit, Root, TraceRecord, object_bytes, shallow, value_bytes},
};

/// Begins a trace: one run of an agent. [`scope`](TraceBuilder::scope) is the form to prefer.
///
/// ```
/// use pandaprobe_core::Messages;
///
/// # async fn search(_: &str) -> Result<Vec<String>, std::io::Error> { Ok(vec![]) }
/// # async fn example() -> Result<(), std::io::Error> {
/// let answer = pandaprobe_core::trace("rag")
///     .input(Messages::new().user("What is new?"))
///     .scope(|trace| async move {
///         let found = pandaprobe_core::span("retrieve").try_scope(search("news")).await?;
///         trace.set_output(Messages::new().assistant(found.join(", ")));
///         Ok::<_, std::io::Error>(found)
///     })
///     .await?;
/// # Ok(()) }
/// ```
pub fn trace(name: impl Into<String>) -> TraceBuilder {
    TraceBuilder { opening: Opening::wanted(name), input: None }
}

/// The id of the trace that is current here, to score it later.
pub fn current_trace_id() -> Option<TraceId> {
    if !client::anything_enabled() {
        return None;
    }
    Some(current()?.position()?.trace.id)
}

impl Client {
    /// [`trace`], recorded by this client whichever is current.
    pub fn trace(&self, name: impl Into<String>) -> TraceBuilder {
        trace(name).client(self.clone())
    }
}

/// A trace that is about to begin.
#[must_use = "a trace begins with start, scope or run"]
pub struct TraceBuilder {
    opening: Opening,
    input: Option<Value>,
}

impl TraceBuilder {
    /// What goes in: any JSON, best `{"messages": …}` as [`Messages`](crate::Messages) makes it.
    pub fn input(mut self, input: impl Into<Value>) -> Self {
        if client::anything_enabled() {
            self.input = Some(shallow(input.into()));
        }
        self
    }

    /// The agent lifecycle it belongs to, whatever scopes say. An id that is none leaves the trace without a
    /// session.
    pub fn session_id(mut self, id: impl Into<String>) -> Self {
        self.opening.ids.session = said("session_id of a trace", || Slot::session(id));
        self
    }

    /// Whose activity it is, whatever scopes say. An id that is none leaves the trace without a user.
    pub fn user_id(mut self, id: impl Into<String>) -> Self {
        self.opening.ids.user = said("user_id of a trace", || Slot::user(id));
        self
    }

    /// Adds a tag.
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        if client::anything_enabled() {
            self.opening.tags.push(tag.into());
        }
        self
    }

    /// Adds tags.
    pub fn tags(mut self, tags: impl IntoIterator<Item = impl Into<String>>) -> Self {
        if client::anything_enabled() {
            self.opening.tags.extend(tags.into_iter().map(Into::into));
        }
        self
    }

    /// Adds metadata.
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        if client::anything_enabled() {
            self.opening.metadata.insert(key.into(), shallow(value.into()));
        }
        self
    }

    /// Records with `client` instead of the current one.
    pub fn client(mut self, client: Client) -> Self {
        self.opening.client = Some(client);
        self
    }

    /// Whether there is a client that would record it.
    pub(super) fn has_client(&self) -> bool {
        self.opening.intake().is_some()
    }

    /// Begins the trace and gives a handle, without making it current. It ends when the last clone of the
    /// handle is dropped, or by [`end`](Trace::end) or [`fail`](Trace::fail).
    pub fn start(self) -> Trace {
        let input = self.input;
        let record = self.opening.trace(Root::Handle, |data| data.input = input);
        Trace { live: record.map(|record| Arc::new(Live { record })) }
    }

    /// Begins the trace when first polled, runs the future inside of it, and ends it however the future ends.
    /// Its value means success.
    pub fn scope<F, Fut>(self, f: F) -> impl Future<Output = Fut::Output> + use<F, Fut>
    where
        F: FnOnce(Trace) -> Fut,
        Fut: Future,
    {
        self.judged(f, done)
    }

    /// [`scope`](Self::scope) for a future of a `Result`: `Err` makes the trace an error.
    pub fn try_scope<F, Fut, T, E, How>(
        self,
        f: F,
    ) -> impl Future<Output = Result<T, E>> + use<F, Fut, T, E, How>
    where
        F: FnOnce(Trace) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: ErrorText<How>,
    {
        self.judged(f, failed)
    }

    fn judged<F, Fut>(
        self,
        f: F,
        verdict: Verdict<Fut::Output>,
    ) -> impl Future<Output = Fut::Output> + use<F, Fut>
    where
        F: FnOnce(Trace) -> Fut,
        Fut: Future,
    {
        let mut home = Home::new(Plan::Same);
        async move {
            let trace = home.inside(|| self.start());
            let home = home.inside(|| trace.home());
            let handle = trace.clone();
            let body = Scoped::new(home, async move { f(handle).await });
            watched(body, ending(trace, verdict)).await
        }
    }

    /// Begins the trace when the stream is first polled, reads the stream inside of it, and ends it when the stream ends.
    /// A reader that leaves early is no error: `metadata["pandaprobe.end"]` then says `stopped_by_reader`.
    pub fn scope_stream<S: Stream>(self, stream: S) -> TraceStream<S> {
        TraceStream::new(self, stream, Unjudged)
    }

    /// [`scope_stream`](Self::scope_stream) for a stream of `Result`s: if the last item that was read is an `Err`, the trace
    /// is an error.
    pub fn try_scope_stream<S, T, E, How>(
        self,
        stream: S,
    ) -> impl Stream<Item = Result<T, E>> + use<S, T, E, How>
    where
        S: Stream<Item = Result<T, E>>,
        E: ErrorText<How>,
    {
        StepStream::new(self, stream, error_of::<T, E, How>)
    }

    /// [`scope`](Self::scope) for synchronous code.
    pub fn run<T>(self, f: impl FnOnce(&Trace) -> T) -> T {
        let trace = self.start();
        trace.home().inside(|| run(&trace, done, || f(&trace)))
    }

    /// [`try_scope`](Self::try_scope) for synchronous code.
    ///
    /// # Errors
    ///
    /// Those of `f`.
    pub fn try_run<T, E: ErrorText<How>, How>(self, f: impl FnOnce(&Trace) -> Result<T, E>) -> Result<T, E> {
        let trace = self.start();
        trace.home().inside(|| run(&trace, failed, || f(&trace)))
    }
}

impl Begin for TraceBuilder {
    type Handle = Trace;

    fn begin(self) -> (Trace, Home) {
        let trace = self.start();
        let home = trace.home();
        (trace, home)
    }

    fn is_recorded(trace: &Trace) -> bool {
        trace.live.is_some()
    }

    fn gives(trace: &Trace, output: Value) {
        trace.set_output(last_assistant(&output));
    }
}

impl std::fmt::Debug for TraceBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TraceBuilder").field("name", &self.opening.name).finish_non_exhaustive()
    }
}

/// `Err` means failure.
pub(super) fn failed<T, E: ErrorText<How>, How>(result: &Result<T, E>) -> Exit {
    error_of(result).map_or(Exit::Done, Exit::Failed)
}

/// The text of the error, if it is one.
pub(super) fn error_of<T, E: ErrorText<How>, How>(result: &Result<T, E>) -> Option<String> {
    result.as_ref().err().map(text_of)
}

/// A live trace. Clones are the same trace, usable from any task or thread. Without a client that records,
/// everything it does is nothing.
///
/// The trace is sent when it and all of its spans have ended, or when some are still open
/// [`linger`](crate::Config::linger) after its last event; those follow when they end.
#[derive(Clone, Debug)]
#[must_use = "the trace ends when its handle is dropped: bind it to a name"]
pub struct Trace {
    live: Option<Arc<Live>>,
}

#[derive(Debug)]
struct Live {
    record: Arc<TraceRecord>,
}

impl Drop for Live {
    fn drop(&mut self) {
        self.record.end(if std::thread::panicking() { Exit::Panicked(None) } else { Exit::Done });
    }
}

impl Trace {
    /// The id of the trace; `None` if it is not recorded.
    pub fn id(&self) -> Option<TraceId> {
        self.record().map(|record| record.id)
    }

    /// Sets what went in.
    pub fn set_input(&self, input: impl Into<Value>) {
        self.set_io(|| shallow(input.into()), |data| &mut data.input);
    }

    /// Sets what came out.
    pub fn set_output(&self, output: impl Into<Value>) {
        self.set_io(|| shallow(output.into()), |data| &mut data.output);
    }

    fn set_io(&self, value: impl FnOnce() -> Value, pick: fn(&mut TraceData) -> &mut Option<Value>) {
        if let Some(record) = self.record() {
            let value = value();
            record.update(value_bytes(&value), |state| {
                pick(&mut state.data).replace(value).as_ref().map_or(0, value_bytes)
            });
        }
    }

    /// Adds metadata.
    pub fn set_metadata(&self, key: impl Into<String>, value: impl Into<Value>) {
        if let Some(record) = self.record() {
            let entry = crate::model::Object::from_iter([(key.into(), shallow(value.into()))]);
            record.update(object_bytes(&entry), |state| {
                state.data.metadata.extend(entry);
                0
            });
        }
    }

    /// Adds a tag.
    pub fn add_tag(&self, tag: impl Into<String>) {
        if let Some(record) = self.record() {
            let tag = tag.into();
            record.update(tag.len(), |state| {
                state.data.add_tags([tag]);
                0
            });
        }
    }

    /// Sets the status that the trace is sent with, unless it ends as an error.
    pub fn set_status(&self, status: TraceStatus) {
        if let Some(record) = self.record() {
            record.update(0, |state| {
                state.status = Some(status);
                0
            });
        }
    }

    /// A span of this trace, at its root level, wherever the program is.
    pub fn span(&self, name: impl Into<String>) -> SpanBuilder {
        SpanBuilder::within(name, self.position())
    }

    /// A future that is inside of this trace whenever it is polled or dropped. It does not end the trace.
    pub fn scope<F: IntoFuture>(&self, future: F) -> Scoped<F::IntoFuture> {
        // What is outside is not settled before the future is polled.
        let future = self.run(|| future.into_future());
        Scoped::new(self.home(), future)
    }

    /// A stream that is inside of this trace whenever it is polled or dropped. It does not end the trace.
    pub fn scope_stream<S: Stream>(&self, stream: S) -> Scoped<S> {
        Scoped::new(self.home(), stream)
    }

    /// Runs a closure inside of this trace. It does not end the trace.
    pub fn run<T>(&self, f: impl FnOnce() -> T) -> T {
        self.home().inside(f)
    }

    /// A scope inside of this trace, which is inside of what is current here, for work whose parts do not lie in
    /// one future, stream or closure. It does not end the trace.
    pub fn open_scope(&self) -> OpenScope {
        self.plan().open()
    }

    /// Ends the trace.
    pub fn end(self) {
        Ends::end(&self, Exit::Done);
    }

    /// Ends the trace as an error.
    pub fn fail<How>(self, error: impl ErrorText<How>) {
        if self.live.is_some() {
            Ends::end(&self, Exit::Failed(text_of(&error)));
        }
    }

    /// Ends the trace because the work it stands for was given up.
    pub fn cancel(self) {
        Ends::end(&self, Exit::Cancelled);
    }

    /// Ends the trace because its work panicked; `message` is what the panic said.
    pub fn panicked(self, message: Option<String>) {
        Ends::end(&self, Exit::Panicked(message));
    }

    /// Ends the trace because the reader of its answer went away: success, with `metadata["pandaprobe.end"]` set to
    /// `stopped_by_reader`.
    pub fn unread(self) {
        Ends::end(&self, Exit::Left);
    }

    fn record(&self) -> Option<&Arc<TraceRecord>> {
        self.live.as_ref().map(|live| &live.record)
    }

    fn position(&self) -> Option<Position> {
        self.record().map(|record| Position { trace: Arc::clone(record), span: None })
    }

    /// Inside of this trace, which is inside of what is current.
    fn home(&self) -> Home {
        Home::new(self.plan())
    }

    fn plan(&self) -> Plan {
        self.position().map_or(Plan::Same, Plan::Position)
    }
}

impl Ends for Trace {
    fn end(&self, exit: Exit) {
        if let Some(record) = self.record() {
            record.end(exit);
        }
    }
}
