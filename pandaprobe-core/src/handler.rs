//! The callback engine that integrations stand on: runs that start, end and fail become spans.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

use serde_json::Value;

use crate::{
    client::{self, Client},
    context::{Position, scoped_ids, told},
    error_text::{ErrorText, text_of},
    identity::{Ids, Slot},
    model::{Object, SpanId, SpanKind, TokenUsage, TraceId},
    pipeline::{Decode, LoopPart, LoopRole, TraceRecord, object_bytes, shallow, shallow_object, value_bytes},
    report::{ReportKind, afterwards},
    sync::{Mutex, lock},
    trace::{Alone, Opening, Span},
};

mod runs;

use runs::{Begun, EarlyEnd, End, Runs, Who};

/// Turns the callbacks of a framework into spans. Cheap to clone, safe to share between any number of
/// concurrent runs.
///
/// An integration wraps one in its own type, gives that the builder methods of
/// [`handler_methods!`](crate::handler_methods), and maps the framework's events to the methods here. It keeps
/// no state of its own: parallel runs, events out of order, an end without a start, a start without an end and
/// runs that are dropped half-way are dealt with here.
///
/// What is recorded inside an open trace becomes a part of it, below the span that is current, unless its user
/// or session is another; else it is a trace of its own.
///
/// ```
/// use pandaprobe_core::{Handler, Run, SpanKind};
///
/// let handler = Handler::new().session_id("conversation-123").user_id("user-abc");
/// handler.started("run-1", None, Run::new("plan", SpanKind::Agent));
/// handler.started("run-2", Some("run-1".into()), Run::new("search", SpanKind::Tool));
/// handler.ended("run-2", Some("found".into()));
/// handler.failed("run-1", "out of ideas");
/// ```
#[derive(Clone, Default)]
pub struct Handler {
    ids: Ids,
    fallback: Ids,
    tags: Vec<String>,
    metadata: Object,
    client: Option<Client>,
    on_trace: Vec<OnTrace>,
    core: Core,
    runs: Arc<Mutex<Runs>>,
}

/// What all clones of a handler have in common, and no other handler has.
#[derive(Clone, Copy, PartialEq)]
struct Core(u64);

impl Default for Core {
    fn default() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

type OnTrace = Arc<dyn Fn(&TraceInfo) + Send + Sync>;

/// A trace that a handler has just begun.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TraceInfo {
    /// Its id, to score it later.
    pub trace_id: TraceId,
    /// The agent lifecycle it belongs to.
    pub session_id: Option<String>,
    /// Whose activity it is.
    pub user_id: Option<String>,
}

impl TraceInfo {
    pub(crate) fn of(trace: &TraceRecord) -> Self {
        let (session_id, user_id) = trace.with(|state| (state.ids.session.value(), state.ids.user.value()));
        Self { trace_id: trace.id, session_id, user_id }
    }
}

/// What is known of a run when it starts.
#[must_use = "a run starts when it is given to a handler"]
pub struct Run {
    name: String,
    kind: SpanKind,
    input: Option<Value>,
    model: Option<String>,
    model_parameters: Option<Object>,
    metadata: Object,
    decoder: Option<Box<dyn Decode>>,
    in_loop: Option<LoopRole>,
    started_at: Option<SystemTime>,
}

impl Run {
    /// A run of that name and kind.
    pub fn new(name: impl Into<String>, kind: SpanKind) -> Self {
        Self {
            name: name.into(),
            kind,
            input: None,
            model: None,
            model_parameters: None,
            metadata: Object::new(),
            decoder: None,
            in_loop: None,
            started_at: None,
        }
    }

    /// What goes in.
    pub fn input(mut self, input: impl Into<Value>) -> Self {
        self.input = Some(shallow(input.into()));
        self
    }

    /// The model that is asked.
    pub fn model(mut self, model: impl Into<String>) -> Self {
        self.model = Some(model.into());
        self
    }

    /// Temperature and the like.
    pub fn model_parameters(mut self, parameters: Object) -> Self {
        self.model_parameters = Some(shallow_object(parameters));
        self
    }

    /// Adds metadata.
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.metadata.insert(key.into(), shallow(value.into()));
        self
    }

    /// When it started, if that was not just now: for frameworks of whose runs one learns late.
    pub fn started_at(mut self, time: SystemTime) -> Self {
        self.started_at = Some(time);
        self
    }

    /// Makes fields of the span out of what is [fed](Span::feed) to it, off the caller's thread.
    pub fn decoder(mut self, decoder: impl Decode) -> Self {
        self.decoder = Some(Box::new(decoder));
        self
    }

    /// A call to a model of `server`, which may be a turn of a tool loop that the application writes by hand. Where no
    /// trace is open, a turn that sends exactly the tool calls with which an earlier one was answered becomes a part of
    /// its trace, if both are of the same handler, server, user and session and no other turn could be meant. What the
    /// tools gave becomes TOOL spans between them. Input and output are read as [`Messages`](crate::Messages).
    pub fn turn_of_loop(mut self, server: &str) -> Self {
        self.in_loop = Some(LoopRole::Turn(server.into()));
        self
    }

    /// A tool that a turn of such a loop may have called: it then stands for the tool in the trace of the loop. Its name
    /// and input are those of the call.
    pub fn tool_of_loop(mut self) -> Self {
        self.in_loop = Some(LoopRole::Tool);
        self
    }
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run").field("name", &self.name).field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// A framework's own id of a run.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RunId(Arc<str>);

impl<T: AsRef<str>> From<T> for RunId {
    fn from(id: T) -> Self {
        Self(id.as_ref().into())
    }
}

impl Handler {
    /// A handler that records with the current client, for whom scopes say.
    pub fn new() -> Self {
        Self::default()
    }

    /// See [`handler_methods!`](crate::handler_methods).
    pub fn session_id(mut self, id: impl Into<String>) -> Self {
        self.ids.session = told("session_id of a handler", Slot::session(id));
        self
    }

    /// See [`handler_methods!`](crate::handler_methods).
    pub fn user_id(mut self, id: impl Into<String>) -> Self {
        self.ids.user = told("user_id of a handler", Slot::user(id));
        self
    }

    /// The session that the framework itself names, for a run in a trace that has none: neither by this handler, nor by
    /// scopes, [`set_session`](crate::set_session) or whoever opened the trace. Once somebody names one, the trace has that,
    /// unless it was sent.
    #[must_use]
    pub fn fallback_session_id(mut self, id: impl Into<String>) -> Self {
        self.fallback.session = told("the framework's session id", Slot::session(id));
        self
    }

    /// The user that the framework itself names, as [`fallback_session_id`](Self::fallback_session_id). But a trace that has its
    /// user from a framework takes no run of another one: that is a trace of its own.
    #[must_use]
    pub fn fallback_user_id(mut self, id: impl Into<String>) -> Self {
        self.fallback.user = told("the framework's user id", Slot::user(id));
        self
    }

    /// See [`handler_methods!`](crate::handler_methods).
    pub fn tags(mut self, tags: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.tags.extend(tags.into_iter().map(Into::into));
        self
    }

    /// See [`handler_methods!`](crate::handler_methods).
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.metadata.insert(key.into(), shallow(value.into()));
        self
    }

    /// See [`handler_methods!`](crate::handler_methods).
    pub fn client(mut self, client: Client) -> Self {
        self.client = Some(client);
        self
    }

    /// See [`handler_methods!`](crate::handler_methods).
    pub fn on_trace(mut self, callback: impl Fn(&TraceInfo) + Send + Sync + 'static) -> Self {
        self.on_trace.push(Arc::new(callback));
        self
    }

    /// Whether both are clones of one handler.
    pub fn is_clone_of(&self, other: &Self) -> bool {
        self.core == other.core
    }

    /// What this one says, and what `base` says where this one says nothing: for one call of something that has a
    /// handler already. Tags, metadata and callbacks are those of both.
    #[must_use]
    pub fn over(&self, base: &Self) -> Self {
        let new = self.on_trace.iter().filter(|new| !base.on_trace.iter().any(|old| Arc::ptr_eq(old, new)));
        Self {
            ids: self.ids.or(&base.ids),
            fallback: self.fallback.or(&base.fallback),
            tags: base.tags.iter().chain(&self.tags).cloned().collect(),
            metadata: base.metadata.clone().into_iter().chain(self.metadata.clone()).collect(),
            client: self.client.clone().or_else(|| base.client.clone()),
            on_trace: base.on_trace.iter().chain(new).cloned().collect(),
            core: self.core,
            runs: Arc::clone(&self.runs),
        }
    }

    /// Says whose the trace of `span` is, where it has no user or session yet: those of this handler, else those of scopes
    /// here. What it has stays.
    pub fn fill(&self, span: &Span) {
        let _ = span.admits(&self.who().effective);
    }

    /// Makes the trace that was begun for `span` that of whom this handler names, as if it had been begun by it: for what
    /// says only then whose it is. Nothing changes if that trace was sent, or if the span stands in a trace of others.
    pub fn take_over(&self, span: &Span) {
        if let Some(info) = span.take_over(&self.ids, &self.tags, &self.metadata) {
            self.tell(Some(info));
        }
    }

    /// Whether anything would be recorded here and now.
    pub fn is_enabled(&self) -> bool {
        match &self.client {
            Some(client) => client.is_enabled(),
            None => client::current().is_some(),
        }
    }

    /// Starts a run where the program is and gives its span to whoever follows it. For frameworks that give
    /// their runs no ids.
    pub fn start(&self, run: Run) -> Span {
        let (span, info) = self.begin(self.opening(&run.name, None), run, Alone::OwnTrace);
        self.tell(info);
        span
    }

    /// [`start`](Self::start) as a part of `parent`, wherever the program is. If `parent` is not recorded, this is not either.
    pub fn start_below(&self, parent: &Span, run: Run) -> Span {
        let Some(position) = parent.position() else {
            return Span::none();
        };
        let (span, _) = self.begin(self.opening(&run.name, Some(position)), run, Alone::Skip);
        span
    }

    /// The run `id` starts, as a part of `parent`, or where the program is.
    ///
    /// A parent that has not started yet is made up until it does. A second start of a run is ignored and
    /// counted. Ids are those of one user and session, by the handler or by scopes: others share no runs.
    pub fn started(&self, id: impl Into<RunId>, parent: Option<RunId>, run: Run) {
        if !self.is_enabled() {
            return;
        }
        let (id, who) = (id.into(), self.who());
        self.tidy();
        // Under one lock, so that a parent and its children may start at once; reports and callbacks wait.
        let (begun, told) = afterwards(|| {
            let mut told = Vec::new();
            let begun = self.begin_keyed(&mut lock(&self.runs), id.clone(), &who, parent, run, &mut told);
            (begun, told)
        });
        told.into_iter().for_each(|info| self.tell(Some(info)));
        match begun {
            Begun::Open => {}
            Begun::EndsAtOnce(span, end) => end(span),
            Begun::Twice => self.unknown(format!("the run {:?} started twice", id.0)),
        }
    }

    fn begin_keyed(
        &self,
        runs: &mut Runs,
        id: RunId,
        who: &Who,
        parent: Option<RunId>,
        run: Run,
        told: &mut Vec<TraceInfo>,
    ) -> Begun {
        let known = runs.find_open(&id, who).map(|entry| (entry.number, entry.made_up, entry.span.clone()));
        if known.as_ref().is_some_and(|(_, made_up, _)| !made_up) {
            return Begun::Twice;
        }
        let above = parent.map(|parent| match runs.find(&parent, who) {
            Some(entry) => (entry.number, entry.span.clone()),
            None => {
                let made_up = Run::new("run", SpanKind::Chain);
                let (span, info) = self.begin(self.opening("run", None), made_up, Alone::OwnTrace);
                told.extend(info);
                (runs.insert(parent, who, None, span.clone(), true), span)
            }
        });
        let above_number = above.as_ref().map(|(number, _)| *number);
        let (number, span) = match known {
            Some((number, _, span)) => {
                let above = above.filter(|(_, above)| above.trace_id() == span.trace_id());
                come_true(&span, above.and_then(|(_, above)| above.id()), run);
                runs.comes_true(&id, number, above_number);
                (number, span)
            }
            None => {
                let position = above.as_ref().map(|(_, span)| span.position());
                let begun = match position {
                    // The parent is not recorded, so neither is this.
                    Some(None) => (Span::none(), None),
                    Some(Some(position)) => {
                        self.begin(self.opening(&run.name, Some(position)), run, Alone::OwnTrace)
                    }
                    None => self.begin(self.opening(&run.name, None), run, Alone::OwnTrace),
                };
                told.extend(begun.1);
                (runs.insert(id.clone(), who, above_number, begun.0.clone(), false), begun.0)
            }
        };
        match runs.take_early(&id, who) {
            Some(end) => {
                runs.close(&id, number);
                Begun::EndsAtOnce(span, end)
            }
            None => Begun::Open,
        }
    }

    /// The run `id` showed its first token.
    pub fn first_token(&self, id: impl Into<RunId>) {
        if let Some(span) = self.span(id) {
            span.set_first_token();
        }
    }

    /// The run `id` took these tokens.
    pub fn usage(&self, id: impl Into<RunId>, usage: TokenUsage) {
        if let Some(span) = self.span(id) {
            span.set_token_usage(usage);
        }
    }

    /// The run `id` ended. If it has not started yet, it ends when it does.
    pub fn ended(&self, id: impl Into<RunId>, output: Option<Value>) {
        self.finish(id.into(), move |span| {
            if let Some(output) = output {
                span.set_output(output);
            }
            span.end();
        });
    }

    /// The run `id` failed. If it has not started yet, it fails when it does.
    pub fn failed<How>(&self, id: impl Into<RunId>, error: impl ErrorText<How>) {
        let error = text_of(&error);
        self.finish(id.into(), move |span| span.fail(error));
    }

    /// The run `id` was dropped half-way: it and all that is below it and open is cancelled.
    pub fn dropped(&self, id: impl Into<RunId>) {
        let (id, who) = (id.into(), self.who());
        let cancelled = lock(&self.runs).remove_tree(&id, &who);
        for span in cancelled {
            span.cancel();
        }
    }

    /// The span of the run `id`, if that is open.
    pub fn span(&self, id: impl Into<RunId>) -> Option<Span> {
        let (id, who) = (id.into(), self.who());
        lock(&self.runs).find_open(&id, &who).map(|entry| entry.span.clone())
    }

    fn finish(&self, id: RunId, end: impl FnOnce(Span) + Send + 'static) {
        if !self.is_enabled() {
            return;
        }
        let who = self.who();
        let mut end: Option<EarlyEnd> = Some(Box::new(end));
        let found = lock(&self.runs).end(&id, &who, &mut end);
        match found {
            End::Open(span) => end.into_iter().for_each(|end| end(span.clone())),
            End::Early(None) => {}
            End::Early(Some(given_up)) => self.never_started(&given_up),
            End::Again => self.unknown(format!("the run {:?} ended twice", id.0)),
            End::Unclear => self.unknown(format!("the end of run {:?} could be that of several users", id.0)),
        }
    }

    fn who(&self) -> Who {
        Who { explicit: self.ids.clone(), effective: self.ids.or(&scoped_ids()) }
    }

    fn tidy(&self) {
        let (lost, given_up) = lock(&self.runs).tidy();
        for span in lost {
            span.set_metadata("pandaprobe.end", "max_trace_age");
            span.end();
        }
        given_up.iter().for_each(|id| self.never_started(id));
    }

    fn never_started(&self, id: &RunId) {
        self.unknown(format!("the run {:?} ended and never started", id.0));
    }

    fn unknown(&self, message: String) {
        self.report(ReportKind::UnknownRun, message);
    }

    fn opening(&self, name: &str, position: Option<Position>) -> Opening {
        // Below another run, the metadata stands there already.
        let metadata = if position.is_none() { self.metadata.clone() } else { Object::new() };
        Opening {
            ids: self.ids.clone(),
            fallback: self.fallback.clone(),
            tags: self.tags.clone(),
            client: self.client.clone(),
            metadata,
            position,
            ..Opening::named(name)
        }
    }

    /// Begins a span; what to tell `on_trace`, if a trace was opened for it.
    fn begin(&self, opening: Opening, run: Run, alone: Alone) -> (Span, Option<TraceInfo>) {
        let part = run.in_loop.map(|role| LoopPart { handler: self.core.0, role });
        let started_at = run.started_at.map(Into::into);
        let opening = Opening { decoder: run.decoder, part, started_at, ..opening };
        let begun = opening.span(alone, |data| {
            data.kind = run.kind;
            data.input = run.input;
            data.model = run.model;
            data.model_parameters = run.model_parameters;
            data.metadata.extend(run.metadata);
        });
        let Some(begun) = begun else {
            return (Span::none(), None);
        };
        let info = begun.own_trace.then(|| TraceInfo::of(&begun.span.trace));
        (Span::live(begun.span), info)
    }

    fn tell(&self, info: Option<TraceInfo>) {
        let Some(info) = info else {
            return;
        };
        for callback in &self.on_trace {
            let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| callback(&info)));
            if told.is_err() {
                self.report(ReportKind::Panicked, "an on_trace callback panicked".to_owned());
            }
        }
    }

    fn report(&self, kind: ReportKind, message: String) {
        match &self.client {
            Some(client) => client.report(kind, message),
            None => client::report(kind, message),
        }
    }
}

/// Fills a span that was made up with what is now known of its run.
fn come_true(span: &Span, parent: Option<SpanId>, run: Run) {
    let values = run.input.as_ref().map_or(0, value_bytes) + object_bytes(&run.metadata);
    let bytes = run.name.len() + values + run.model_parameters.as_ref().map_or(0, object_bytes);
    span.become_run(parent, bytes, run.decoder, |data| {
        data.name = run.name;
        data.kind = run.kind;
        data.input = run.input;
        data.model = run.model;
        data.model_parameters = run.model_parameters;
        data.metadata.extend(run.metadata);
    });
}

impl fmt::Debug for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handler")
            .field("session_id", &self.ids.session.value())
            .field("user_id", &self.ids.user.value())
            .field("tags", &self.tags)
            .finish_non_exhaustive()
    }
}

/// Gives a handler type the builder methods that all handlers share. `$handler` is its field of type
/// [`Handler`]. Use it in an `impl` block:
///
/// ```
/// /// Traces my framework.
/// #[derive(Clone, Debug, Default)]
/// pub struct MyHandler {
///     handler: pandaprobe_core::Handler,
/// }
///
/// impl MyHandler {
///     pandaprobe_core::handler_methods!(handler);
/// }
///
/// let handler = MyHandler::default().session_id("conversation-123").user_id("user-abc").tags(["production"]);
/// ```
#[macro_export]
macro_rules! handler_methods {
    ($handler:ident) => {
        /// The agent lifecycle that runs belong to (a conversation, a job): 1 to 255 characters, whatever
        /// scopes say. An id that is none leaves runs without a session. A clone with another one shares all
        /// else, so that a server keeps one handler and makes a clone a request.
        #[must_use]
        pub fn session_id(mut self, id: impl Into<::std::string::String>) -> Self {
            self.$handler = self.$handler.session_id(id);
            self
        }

        /// Whose activity runs are (an end user, account or tenant): 1 to 255 characters, whatever scopes say.
        /// An id that is none leaves runs without a user. A clone with another one shares all else.
        #[must_use]
        pub fn user_id(mut self, id: impl Into<::std::string::String>) -> Self {
            self.$handler = self.$handler.user_id(id);
            self
        }

        /// Adds tags to the traces that it records into.
        #[must_use]
        pub fn tags(
            mut self,
            tags: impl ::std::iter::IntoIterator<Item = impl Into<::std::string::String>>,
        ) -> Self {
            self.$handler = self.$handler.tags(tags);
            self
        }

        /// Adds metadata: to a trace that it opens, else to the span that it records.
        #[must_use]
        pub fn metadata(
            mut self,
            key: impl Into<::std::string::String>,
            value: impl Into<$crate::__private::Value>,
        ) -> Self {
            self.$handler = self.$handler.metadata(key, value);
            self
        }

        /// Records with `client` instead of the current one.
        #[must_use]
        pub fn client(mut self, client: $crate::Client) -> Self {
            self.$handler = self.$handler.client(client);
            self
        }

        /// Calls `callback` with the id and identity of each trace that it opens, when that begins: to score
        /// the trace later.
        #[must_use]
        pub fn on_trace(mut self, callback: impl Fn(&$crate::TraceInfo) + Send + Sync + 'static) -> Self {
            self.$handler = self.$handler.on_trace(callback);
            self
        }
    };
}
