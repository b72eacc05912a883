//! Spans.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures_core::Stream;
use serde_json::Value;

use super::{
    Alone, Opening, SpanStream, StepStream,
    ending::{Begin, Ends, Verdict, done, ending, run, watched},
    handle::{error_of, failed},
    stream::Unjudged,
};
use crate::{
    client,
    config::{DEFAULT_LINGER, DEFAULT_MAX_TRACE_AGE},
    context::{Home, Plan, Position, Scoped, current},
    error_text::{ErrorText, text_of},
    handler::TraceInfo,
    identity::Ids,
    model::{Cost, Object, SpanData, SpanId, SpanKind, TokenUsage, TraceId},
    pipeline::{Decode, Exit, Piece, SpanRecord, object_bytes, shallow, shallow_object, value_bytes},
};

/// Begins a span: one step of the trace that is current. Without a trace it does nothing.
///
/// ```
/// use pandaprobe_core::SpanKind;
///
/// # async fn search(_: &str) -> Result<Vec<String>, std::io::Error> { Ok(vec![]) }
/// # async fn example() -> Result<(), std::io::Error> {
/// let found = pandaprobe_core::span("search")
///     .kind(SpanKind::Retriever)
///     .input("what is new?")
///     .try_scope(search("news"))
///     .await?;
/// # Ok(()) }
/// ```
pub fn span(name: impl Into<String>) -> SpanBuilder {
    SpanBuilder { opening: Opening::wanted(name), fields: Fields::default(), lost: false }
}

/// The span that is current here. The handle does not end it.
pub fn current_span() -> Option<Span> {
    if !client::anything_enabled() {
        return None;
    }
    let record = current()?.position()?.span?;
    Some(Span { record: Some(record), _live: None })
}

/// A span that is about to begin.
#[must_use = "a span begins with start, scope or run"]
pub struct SpanBuilder {
    opening: Opening,
    fields: Fields,
    /// The trace that it was meant for is not recorded.
    lost: bool,
}

#[derive(Default)]
struct Fields {
    kind: SpanKind,
    model: Option<String>,
    input: Option<Value>,
    model_parameters: Option<Object>,
}

impl SpanBuilder {
    pub(super) fn within(name: impl Into<String>, position: Option<Position>) -> Self {
        let lost = position.is_none();
        Self { opening: Opening { position, ..Opening::wanted(name) }, fields: Fields::default(), lost }
    }

    /// What kind of step it is; [`SpanKind::Other`] unless set.
    pub fn kind(mut self, kind: SpanKind) -> Self {
        self.fields.kind = kind;
        self
    }

    /// The model that is asked.
    pub fn model(mut self, model: impl Into<String>) -> Self {
        if client::anything_enabled() {
            self.fields.model = Some(model.into());
        }
        self
    }

    /// What goes in.
    pub fn input(mut self, input: impl Into<Value>) -> Self {
        if client::anything_enabled() {
            self.fields.input = Some(shallow(input.into()));
        }
        self
    }

    /// Temperature and the like.
    pub fn model_parameters(mut self, parameters: Object) -> Self {
        self.fields.model_parameters = Some(shallow_object(parameters));
        self
    }

    /// Adds metadata.
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        if client::anything_enabled() {
            self.opening.metadata.insert(key.into(), shallow(value.into()));
        }
        self
    }

    /// Begins the span and gives a handle, without making it current. It ends when the last clone of the
    /// handle is dropped, or by [`end`](Span::end) or [`fail`](Span::fail).
    pub fn start(self) -> Span {
        if self.lost {
            return Span::none();
        }
        let fields = self.fields;
        let begun = self.opening.span(Alone::Skip, |data| {
            data.kind = fields.kind;
            data.model = fields.model;
            data.input = fields.input;
            data.model_parameters = fields.model_parameters;
        });
        begun.map_or_else(Span::none, |begun| Span::live(begun.span))
    }

    /// Begins the span when first polled, runs the future inside of it, and ends it however the future ends.
    /// Its value means success.
    pub fn scope<F: IntoFuture>(self, future: F) -> impl Future<Output = F::Output> + use<F> {
        self.judged(future, done)
    }

    /// [`scope`](Self::scope) for a future of a `Result`: `Err` makes the span an error.
    pub fn try_scope<F, T, E, How>(self, future: F) -> impl Future<Output = Result<T, E>> + use<F, T, E, How>
    where
        F: IntoFuture<Output = Result<T, E>>,
        E: ErrorText<How>,
    {
        self.judged(future, failed)
    }

    fn judged<F: IntoFuture>(
        self,
        future: F,
        verdict: Verdict<F::Output>,
    ) -> impl Future<Output = F::Output> + use<F> {
        let mut home = Home::new(Plan::Same);
        async move {
            let span = home.inside(|| self.start());
            let mut home = home.inside(|| span.home());
            let future = home.inside(|| future.into_future());
            watched(Scoped::new(home, future), ending(span, verdict)).await
        }
    }

    /// Begins the span when the stream is first polled, reads the stream inside of it, and ends it when the
    /// stream ends. A reader that leaves early is no error: `metadata["pandaprobe.end"]` then says
    /// `stopped_by_reader`.
    pub fn scope_stream<S: Stream>(self, stream: S) -> SpanStream<S> {
        SpanStream::new(self, stream, Unjudged)
    }

    /// [`scope_stream`](Self::scope_stream) for a stream of `Result`s: if the last item that was read is an `Err`, the span
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
    pub fn run<T>(self, f: impl FnOnce(&Span) -> T) -> T {
        let span = self.start();
        span.home().inside(|| run(&span, done, || f(&span)))
    }

    /// [`try_scope`](Self::try_scope) for synchronous code.
    ///
    /// # Errors
    ///
    /// Those of `f`.
    pub fn try_run<T, E: ErrorText<How>, How>(self, f: impl FnOnce(&Span) -> Result<T, E>) -> Result<T, E> {
        let span = self.start();
        span.home().inside(|| run(&span, failed, || f(&span)))
    }
}

impl Begin for SpanBuilder {
    type Handle = Span;

    fn begin(self) -> (Span, Home) {
        let span = self.start();
        let home = span.home();
        (span, home)
    }

    fn is_recorded(span: &Span) -> bool {
        span.is_recorded()
    }

    fn gives(span: &Span, output: Value) {
        span.set_output(output);
    }
}

impl std::fmt::Debug for SpanBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SpanBuilder").field("name", &self.opening.name).finish_non_exhaustive()
    }
}

/// A live span. Clones are the same span, usable from any task or thread. Without a client that records, or
/// outside of any trace, everything it does is nothing.
#[derive(Clone, Debug)]
#[must_use = "the span ends when its handle is dropped: bind it to a name"]
pub struct Span {
    record: Option<Arc<SpanRecord>>,
    /// Ends the span when the last clone is dropped.
    _live: Option<Arc<Live>>,
}

#[derive(Debug)]
struct Live(Arc<SpanRecord>);

impl Drop for Live {
    fn drop(&mut self) {
        self.0.end(if std::thread::panicking() { Exit::Panicked(None) } else { Exit::Done });
    }
}

impl Span {
    /// A span that is not recorded: everything it does is nothing.
    pub fn none() -> Self {
        Self { record: None, _live: None }
    }

    pub(crate) fn live(record: Arc<SpanRecord>) -> Self {
        Self { _live: Some(Arc::new(Live(Arc::clone(&record)))), record: Some(record) }
    }

    /// Whether the span is recorded.
    pub fn is_recorded(&self) -> bool {
        self.record.is_some()
    }

    /// The id of the span; `None` if it is not recorded.
    pub fn id(&self) -> Option<SpanId> {
        self.record.as_ref().map(|record| record.id)
    }

    /// The id of its trace; `None` if it is not recorded.
    pub fn trace_id(&self) -> Option<TraceId> {
        self.record.as_ref().map(|record| record.trace.id)
    }

    /// Changes the name.
    pub fn set_name(&self, name: impl Into<String>) {
        if self.record.is_none() {
            return;
        }
        let name = name.into();
        self.update(name.len(), |data| std::mem::replace(&mut data.name, name).len());
    }

    /// Changes the kind.
    pub fn set_kind(&self, kind: SpanKind) {
        self.update(0, |data| {
            data.kind = kind;
            0
        });
    }

    /// Sets what went in.
    pub fn set_input(&self, input: impl Into<Value>) {
        if self.record.is_none() {
            return;
        }
        let input = shallow(input.into());
        self.update(value_bytes(&input), |data| freed(data.input.replace(input)));
    }

    /// Sets what came out.
    pub fn set_output(&self, output: impl Into<Value>) {
        if self.record.is_none() {
            return;
        }
        let output = shallow(output.into());
        self.update(value_bytes(&output), |data| freed(data.output.replace(output)));
    }

    /// Sets the model that answered.
    pub fn set_model(&self, model: impl Into<String>) {
        if self.record.is_none() {
            return;
        }
        let model = model.into();
        self.update(model.len(), |data| data.model.replace(model).map_or(0, |old| old.len()));
    }

    /// Sets temperature and the like.
    pub fn set_model_parameters(&self, parameters: Object) {
        let parameters = shallow_object(parameters);
        self.update(object_bytes(&parameters), |data| {
            data.model_parameters.replace(parameters).map_or(0, |old| object_bytes(&old))
        });
    }

    /// Sets the tokens it took. Only for LLM and EMBEDDING spans: the backend sums up every span.
    pub fn set_token_usage(&self, usage: TokenUsage) {
        self.update(0, |data| {
            data.token_usage = Some(usage);
            0
        });
    }

    /// Sets what it cost, in US dollars.
    pub fn set_cost(&self, cost: Cost) {
        self.update(0, |data| {
            data.cost = Some(cost);
            0
        });
    }

    /// Says that the first token arrived just now. Only the first call counts.
    pub fn set_first_token(&self) {
        if let Some(record) = &self.record {
            let now = record.trace.now();
            record.update(0, |data| {
                data.completion_start_time.get_or_insert(now);
                0
            });
        }
    }

    /// Sets when the first token arrived.
    pub fn set_completion_start_time(&self, time: SystemTime) {
        self.update(0, |data| {
            data.completion_start_time = Some(time.into());
            0
        });
    }

    /// Adds metadata.
    pub fn set_metadata(&self, key: impl Into<String>, value: impl Into<Value>) {
        if self.record.is_some() {
            let entry = Object::from_iter([(key.into(), shallow(value.into()))]);
            self.update(object_bytes(&entry), |data| {
                data.metadata.extend(entry);
                0
            });
        }
    }

    /// Makes the span an error without ending it.
    pub fn set_error<How>(&self, error: impl ErrorText<How>) {
        if self.record.is_none() {
            return;
        }
        let error = text_of(&error);
        self.update(error.len(), |data| data.error.replace(error).map_or(0, |old| old.len()));
    }

    /// A span below this one, wherever the program is.
    pub fn span(&self, name: impl Into<String>) -> SpanBuilder {
        SpanBuilder::within(name, self.position())
    }

    /// A future that is inside of this span whenever it is polled or dropped. It does not end the span.
    pub fn scope<F: IntoFuture>(&self, future: F) -> Scoped<F::IntoFuture> {
        // What is outside is not settled before the future is polled.
        let future = self.run(|| future.into_future());
        Scoped::new(self.home(), future)
    }

    /// A stream that is inside of this span whenever it is polled or dropped. It does not end the span.
    pub fn scope_stream<S: Stream>(&self, stream: S) -> Scoped<S> {
        Scoped::new(self.home(), stream)
    }

    /// Runs a closure inside of this span. It does not end the span.
    pub fn run<T>(&self, f: impl FnOnce() -> T) -> T {
        self.home().inside(f)
    }

    /// Ends the span.
    pub fn end(self) {
        Ends::end(&self, Exit::Done);
    }

    /// Ends the span as an error.
    pub fn fail<How>(self, error: impl ErrorText<How>) {
        if self.record.is_some() {
            Ends::end(&self, Exit::Failed(text_of(&error)));
        }
    }

    /// Ends the span because the work it stands for was given up.
    pub fn cancel(self) {
        Ends::end(&self, Exit::Cancelled);
    }

    /// Ends the span because its work panicked; `message` is what the panic said.
    pub fn panicked(self, message: Option<String>) {
        Ends::end(&self, Exit::Panicked(message));
    }

    /// Ends the span because the reader of its answer went away. If its decoder saw the answer's end, that is
    /// success; if the answer is a stream, it is success with `metadata["pandaprobe.end"]` set to
    /// `stopped_by_reader`; otherwise it was cancelled.
    pub fn unread(self) {
        Ends::end(&self, Exit::Unread);
    }

    /// Ends the span because the reader of its stream went away before the end: success, with
    /// `metadata["pandaprobe.end"]` set to `stopped_by_reader`.
    pub fn stopped_by_reader(self) {
        Ends::end(&self, Exit::Left);
    }

    /// Hands a piece of an exchange to the span's decoder, which runs on the client's assembler thread. Without
    /// a decoder it does nothing.
    pub fn feed(&self, piece: Piece) {
        if let Some(record) = &self.record {
            record.feed(piece);
        }
    }

    fn update(&self, bytes: usize, f: impl FnOnce(&mut SpanData) -> usize) {
        if let Some(record) = &self.record {
            record.update(bytes, f);
        }
    }

    /// The same span, without keeping it open.
    pub(crate) fn weakened(&self) -> Self {
        Self { record: self.record.clone(), _live: None }
    }

    /// How long its client lets spans linger, and how old traces may become.
    pub(crate) fn patience(&self) -> (Duration, Duration) {
        let intake = self.record.as_ref().map(|record| &record.trace.intake);
        intake.map_or((DEFAULT_LINGER, DEFAULT_MAX_TRACE_AGE), |intake| (intake.linger, intake.max_trace_age))
    }

    /// Turns a span that was made up into the run that it stands for, which holds `bytes`.
    pub(crate) fn become_run(
        &self,
        parent: Option<SpanId>,
        bytes: usize,
        decoder: Option<Box<dyn Decode>>,
        fill: impl FnOnce(&mut SpanData),
    ) {
        if let (Some(record), Some(decoder)) = (&self.record, decoder) {
            record.set_decoder(decoder);
        }
        self.update(bytes, |data| {
            data.parent_span_id = parent.or(data.parent_span_id);
            fill(data);
            0
        });
    }

    /// Whether something of the identity `later` belongs in the trace of this span, which it then fills.
    pub(crate) fn admits(&self, later: &Ids) -> bool {
        self.record.as_ref().is_none_or(|record| record.trace.admit(later, &Ids::default()))
    }

    /// Gives the trace that was begun for this span, if it was not sent, another identity where `ids` say one.
    pub(crate) fn take_over(&self, ids: &Ids, tags: &[String], metadata: &Object) -> Option<TraceInfo> {
        let record = self.record.as_ref().filter(|record| record.is_root_of_its_trace())?;
        let trace = &record.trace;
        let bytes = tags.iter().map(String::len).sum::<usize>() + object_bytes(metadata);
        let mut is_other = false;
        trace.update(bytes, |state| {
            let taken = ids.or(&state.ids);
            is_other = taken != state.ids && !trace.is_sent();
            if is_other {
                state.take_over(ids);
            }
            state.data.add_tags(tags.to_vec());
            state.data.metadata.extend(metadata.clone());
            0
        });
        is_other.then(|| TraceInfo::of(trace))
    }

    /// Whether the trace of this span belongs to somebody else.
    pub(crate) fn is_of_another(&self, ids: &Ids) -> bool {
        let record = self.record.as_ref();
        record.is_some_and(|record| record.trace.with(|state| state.ids.differ(ids)))
    }

    pub(crate) fn position(&self) -> Option<Position> {
        let record = self.record.as_ref()?;
        Some(Position { trace: Arc::clone(&record.trace), span: Some(Arc::clone(record)) })
    }

    pub(super) fn home(&self) -> Home {
        Home::new(self.position().map_or(Plan::Same, Plan::Position))
    }
}

/// The bytes of a value that was replaced.
fn freed(old: Option<Value>) -> usize {
    old.as_ref().map_or(0, value_bytes)
}

impl Ends for Span {
    fn end(&self, exit: Exit) {
        if let Some(record) = &self.record {
            record.end(exit);
        }
    }
}
