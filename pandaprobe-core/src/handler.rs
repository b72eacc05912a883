//! The callback engine that integrations stand on: runs that start, end and fail become spans.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    fmt,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    client::{self, Client},
    config::DEFAULT_LINGER,
    error_text::{ErrorText, text_of},
    identity::{Ids, Slot},
    model::{Object, SpanKind, TokenUsage, TraceId},
    pipeline::{Decode, shallow, shallow_object},
    report::ReportKind,
    sync::lock,
    trace::{Alone, Opening, Span, told},
};

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
    tags: Vec<String>,
    metadata: Object,
    client: Option<Client>,
    on_trace: Vec<OnTrace>,
    runs: Arc<Mutex<Runs>>,
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

    /// Makes fields of the span out of what is [fed](Span::feed) to it, off the caller's thread.
    pub fn decoder(mut self, decoder: impl Decode) -> Self {
        self.decoder = Some(Box::new(decoder));
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
        let mut opening = self.opening(&run.name);
        opening.metadata = self.metadata.clone();
        self.begin(opening, run, Alone::OwnTrace)
    }

    /// The run `id` starts, as a part of `parent`, or where the program is.
    ///
    /// A parent that has not started yet is made up until it does. A second start of a run is ignored and
    /// counted. Ids are those of one user and session: clones with other ones share no runs.
    pub fn started(&self, id: impl Into<RunId>, parent: Option<RunId>, run: Run) {
        if !self.is_enabled() {
            return;
        }
        let (id, parent) = (self.key(id), parent.map(|parent| self.key(parent)));
        self.tidy();
        // Spans begin and end with the lock released: the application hears of it, and may come back here.
        let known = self.with(|runs| runs.open.get(&id).map(|open| (open.made_up, open.span.clone())));
        let span = match known {
            Some((true, span)) => {
                self.comes_true(&id, parent.as_ref(), &span, run);
                span
            }
            Some((false, _)) => return self.unknown(format!("the run {:?} started twice", id.run.0)),
            None => match &parent {
                None => self.start(run),
                Some(parent) => {
                    let above = self.with(|runs| runs.find(parent)).unwrap_or_else(|| self.make_up(parent));
                    self.start_below(&above, run)
                }
            },
        };
        let early = self.with(|runs| runs.begin(id, parent, span.clone()));
        if let Some(end) = early {
            end(span);
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
        let id = self.key(id);
        for span in self.with(|runs| runs.remove_tree(&id)) {
            span.cancel();
        }
    }

    /// The span of the run `id`, if that is open.
    pub fn span(&self, id: impl Into<RunId>) -> Option<Span> {
        let id = self.key(id);
        self.with(|runs| runs.open.get(&id).map(|open| open.span.clone()))
    }

    fn finish(&self, id: RunId, end: impl FnOnce(Span) + Send + 'static) {
        if !self.is_enabled() {
            return;
        }
        let id = self.key(id);
        let mut end: Option<EarlyEnd> = Some(Box::new(end));
        match self.with(|runs| runs.end(&id, &mut end)) {
            End::Open(span) => end.into_iter().for_each(|end| end(span.clone())),
            End::Early(None) => {}
            End::Early(Some(given_up)) => self.never_started(&given_up),
            End::Again => self.unknown(format!("the run {:?} ended twice", id.run.0)),
        }
    }

    fn key(&self, run: impl Into<RunId>) -> Key {
        Key { ids: self.ids.clone(), run: run.into() }
    }

    fn with<T>(&self, f: impl FnOnce(&mut Runs) -> T) -> T {
        f(&mut lock(&self.runs))
    }

    fn tidy(&self) {
        let (lost, given_up) = self.with(Runs::tidy);
        for span in lost {
            span.set_metadata("pandaprobe.end", "max_trace_age");
            span.end();
        }
        given_up.iter().for_each(|id| self.never_started(id));
    }

    fn never_started(&self, id: &Key) {
        self.unknown(format!("the run {:?} ended and never started", id.run.0));
    }

    fn comes_true(&self, id: &Key, parent: Option<&Key>, span: &Span, run: Run) {
        let above = self.with(|runs| {
            if let Some(open) = runs.open.get_mut(id) {
                (open.made_up, open.parent) = (false, parent.cloned());
            }
            parent.and_then(|parent| runs.find(parent))
        });
        let same_trace = above.filter(|above| above.trace_id() == span.trace_id());
        span.become_run(same_trace.and_then(|above| above.id()), run.name, |data| {
            data.kind = run.kind;
            data.input = run.input;
            data.model = run.model;
            data.model_parameters = run.model_parameters;
            data.metadata.extend(run.metadata);
        });
    }

    fn unknown(&self, message: String) {
        match &self.client {
            Some(client) => client.report(ReportKind::UnknownRun, message),
            None => client::report(ReportKind::UnknownRun, message),
        }
    }

    fn opening(&self, name: &str) -> Opening {
        Opening {
            ids: self.ids.clone(),
            tags: self.tags.clone(),
            client: self.client.clone(),
            ..Opening::named(name)
        }
    }

    fn begin(&self, opening: Opening, run: Run, alone: Alone) -> Span {
        let opening = Opening { decoder: run.decoder, ..opening };
        let begun = opening.span(alone, |data| {
            data.kind = run.kind;
            data.input = run.input;
            data.model = run.model;
            data.model_parameters = run.model_parameters;
            data.metadata.extend(run.metadata);
        });
        let Some(begun) = begun else {
            return Span::none();
        };
        if begun.own_trace {
            self.tell(&begun.span.trace);
        }
        Span::live(begun.span)
    }

    fn start_below(&self, above: &Span, run: Run) -> Span {
        match above.position() {
            Some(position) => {
                let opening = Opening { position: Some(position), ..self.opening(&run.name) };
                self.begin(opening, run, Alone::OwnTrace)
            }
            None => Span::none(),
        }
    }

    fn make_up(&self, id: &Key) -> Span {
        let span = self.start(Run::new("run", SpanKind::Chain));
        self.with(|runs| {
            runs.open.entry(id.clone()).or_insert_with(|| Open::new(span, None, true)).span.clone()
        })
    }

    fn tell(&self, trace: &crate::pipeline::TraceRecord) {
        if self.on_trace.is_empty() {
            return;
        }
        let (session_id, user_id) = trace.with(|state| (state.ids.session.value(), state.ids.user.value()));
        let info = TraceInfo { trace_id: trace.id, session_id, user_id };
        for callback in &self.on_trace {
            let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| callback(&info)));
            if told.is_err() {
                trace.intake.reporter.report(ReportKind::Panicked, "an on_trace callback panicked");
            }
        }
    }
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

/// How a run ends that has not started yet.
type EarlyEnd = Box<dyn FnOnce(Span) + Send>;

/// A run of whoever the handler's clone is for: frameworks count their runs from one again and again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    ids: Ids,
    run: RunId,
}

/// The runs of all clones of a handler.
#[derive(Default)]
struct Runs {
    open: HashMap<Key, Open>,
    /// Ends that came before their starts, oldest first.
    early: VecDeque<(Key, Instant, EarlyEnd)>,
    /// Runs that ended lately: children may still start below them.
    ended: HashMap<Key, Span>,
    /// The same, oldest first.
    ended_order: VecDeque<Key>,
    tidied: Option<Instant>,
}

struct Open {
    span: Span,
    parent: Option<Key>,
    /// A child named it before it started.
    made_up: bool,
    since: Instant,
}

impl Open {
    fn new(span: Span, parent: Option<Key>, made_up: bool) -> Self {
        Self { span, parent, made_up, since: Instant::now() }
    }
}

/// What an end finds.
enum End {
    Open(Span),
    /// Nothing yet; another that waited for longer is given up.
    Early(Option<Key>),
    Again,
}

impl Runs {
    /// How many ends may wait for their start, and how many ended runs are remembered.
    const REMEMBERED: usize = 1024;
    const TIDY_EVERY: Duration = Duration::from_secs(5);

    fn find(&self, id: &Key) -> Option<Span> {
        self.open.get(id).map(|open| &open.span).or_else(|| self.ended.get(id)).cloned()
    }

    /// Keeps a run that has begun; gives its end, if that came before.
    fn begin(&mut self, id: Key, parent: Option<Key>, span: Span) -> Option<EarlyEnd> {
        self.ended.remove(&id);
        let early = self.early.iter().position(|(early, ..)| *early == id);
        if let Some((_, _, end)) = early.and_then(|at| self.early.remove(at)) {
            self.open.remove(&id);
            self.remember(id, &span);
            return Some(end);
        }
        self.open.entry(id).or_insert_with(|| Open::new(span, parent, false));
        None
    }

    fn end(&mut self, id: &Key, end: &mut Option<EarlyEnd>) -> End {
        if let Some(open) = self.open.remove(id) {
            self.remember(id.clone(), &open.span);
            return End::Open(open.span);
        }
        if self.ended.contains_key(id) {
            return End::Again;
        }
        self.early.extend(end.take().map(|end| (id.clone(), Instant::now(), end)));
        let full = self.early.len() > Self::REMEMBERED;
        End::Early(full.then(|| self.early.pop_front()).flatten().map(|(id, ..)| id))
    }

    fn remember(&mut self, id: Key, span: &Span) {
        self.ended.insert(id.clone(), span.weakened());
        self.ended_order.push_back(id);
        if self.ended_order.len() > Self::REMEMBERED
            && let Some(oldest) = self.ended_order.pop_front()
        {
            self.ended.remove(&oldest);
        }
    }

    fn remove_tree(&mut self, root: &Key) -> Vec<Span> {
        let mut ids = vec![root.clone()];
        let mut spans = Vec::new();
        while let Some(id) = ids.pop() {
            let below = self.open.iter().filter(|(_, open)| open.parent.as_ref() == Some(&id));
            ids.extend(below.map(|(id, _)| id.clone()));
            spans.extend(self.open.remove(&id).map(|open| open.span));
        }
        // Children end before their parents.
        spans.reverse();
        spans
    }

    /// Lets go of runs that will never end (parents that never started, and what is older than any trace) and
    /// of ends that will never have a start.
    fn tidy(&mut self) -> (Vec<Span>, Vec<Key>) {
        let now = Instant::now();
        if self.tidied.is_some_and(|last| now.duration_since(last) < Self::TIDY_EVERY) {
            return Default::default();
        }
        self.tidied = Some(now);
        let parents: HashSet<Key> = self.open.values().filter_map(|open| open.parent.clone()).collect();
        let lost = self.open.extract_if(|id, open| {
            let (linger, age) = open.span.patience();
            let patience = if open.made_up && !parents.contains(id) { linger } else { age };
            now.duration_since(open.since) >= patience
        });
        let lost = lost.map(|(_, open)| open.span).collect();
        let waited = |(_, since, _): &(Key, Instant, EarlyEnd)| now.duration_since(*since) >= DEFAULT_LINGER;
        let too_long = self.early.iter().take_while(|early| waited(early)).count();
        (lost, self.early.drain(..too_long).map(|(id, ..)| id).collect())
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
