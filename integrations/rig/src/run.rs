//! One run of an agent: the spans of it that are open, and how they end.

use std::{
    collections::BTreeSet,
    ops::Deref,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::SystemTime,
};

use pandaprobe_core::{ErrorText, Handler, Piece, Run as Step, Span, SpanKind, StrayWork};
use rig_agent::agent::{
    HookContext, InvalidToolCallContext, InvalidToolCallReason, OutcomeEvent, SettledOutcome,
};
use rig_core::{
    completion::{CompletionRequest, Message},
    effect::{EffectId, EffectKind, Outcome},
    error::ErrorReport,
    message::CallId,
};
use serde_json::{Value, json};

use crate::{
    RigHandler,
    handler::Shared,
    index, lock, message,
    place::Place,
    request,
    step::{error_text, other_ended, other_step, parsed, ran, tool_ended, tool_step},
    tool::{AgentMark, ToolCall, Unplaced},
};

/// How much of an answer is kept while it is streamed, for the case that it is never finished.
const MAX_PARTIAL: usize = 64 << 10;

/// A run, from its first event until it is dropped.
#[derive(Debug)]
pub(crate) struct Run {
    /// The hook that records it. Others of the same handler only say whose it is.
    owner: usize,
    number: String,
    handler: Handler,
    shared: Arc<Shared>,
    mark: OnceLock<Arc<AgentMark>>,
    is_streaming: bool,
    place: OnceLock<Arc<Place>>,
    /// The hook is one of the request's.
    is_of_request: bool,
    /// It has a hook of the agent's own: other runs of that agent may poll its work, and nobody knows where.
    is_exposed: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Until the second event. By then all hooks have said whose the run is.
    beginning: Option<Box<Beginning>>,
    root: Option<Span>,
    open: Vec<OpenStep>,
    /// The other hooks that said whose it is.
    joined: Vec<usize>,
    /// What the user said last, by which rig may look documents up, and whether it may do that now.
    query: Option<String>,
    retrieval: Option<index::Announced>,
    /// Tools that ran where another run could have polled them.
    unwrapped: BTreeSet<String>,
    settled: bool,
}

#[derive(Debug)]
struct Beginning {
    handler: Handler,
    /// Where the first event was, if no hook knows where the request was made.
    here: Arc<Place>,
    name: String,
    began: SystemTime,
    input: Option<Value>,
    /// A step that began the run.
    first: Option<(EffectId, Step, What)>,
    /// It ended right then.
    outcome: Option<Result<Value, String>>,
}

#[derive(Debug)]
struct OpenStep {
    id: EffectId,
    span: Span,
    what: What,
}

#[derive(Debug)]
enum What {
    Model(Answering),
    Tool { call: Arc<ToolCall>, arguments: String },
    Other { stray: Option<StrayWork>, is_retrieval: bool },
}

/// A model that is asked.
#[derive(Debug, Default)]
struct Answering {
    /// The number by which a transport knows it.
    announced: Option<u64>,
    answer: request::Answer,
    /// Where its messages are.
    asked: usize,
    partial: String,
    is_full: bool,
    has_token: bool,
    /// It answered, with a call that cannot be run.
    is_invalid: bool,
}

/// The runs of one scratchpad: one for each handler that has a hook.
#[derive(Clone, Default)]
struct Runs(Arc<Mutex<Vec<Arc<Run>>>>);

/// A run, and whether this event was its first.
pub(crate) struct Found {
    run: Arc<Run>,
    is_first: bool,
}

impl Deref for Found {
    type Target = Run;

    fn deref(&self) -> &Run {
        &self.run
    }
}

impl Run {
    /// The run of that context, if the hook `owner` records it. Made at its first event, which may be any.
    pub(crate) fn of(context: &HookContext, hook: &RigHandler, owner: usize) -> Option<Found> {
        let scratchpad = context.scratchpad();
        let known = scratchpad.get::<Runs>();
        let place = hook.link.as_ref().and_then(|link| link.get());
        if let (Some(runs), Some(place)) = (&known, place) {
            // For hooks of other handlers too.
            let runs = lock(&runs.0);
            let placeless = runs.iter().filter(|run| run.place.get().is_none());
            placeless.for_each(|run| drop(run.place.set(Arc::clone(place))));
        }
        let run = known.as_ref().and_then(|runs| {
            lock(&runs.0).iter().find(|run| run.handler.is_clone_of(&hook.handler)).cloned()
        });
        if let Some(run) = run {
            if run.owner == owner {
                return Some(Found { run, is_first: false });
            }
            run.joined_by(hook, owner);
            return None;
        }
        let is_enabled = || hook.handler.is_enabled();
        if !place.map_or_else(is_enabled, |place| place.record(is_enabled)) {
            return None;
        }
        let run = Arc::new(Self::new(context, hook, owner, place));
        let runs = known.unwrap_or_else(|| {
            let runs = Runs::default();
            scratchpad.insert(runs.clone());
            runs
        });
        lock(&runs.0).push(Arc::clone(&run));
        Some(Found { run, is_first: true })
    }

    fn new(context: &HookContext, hook: &RigHandler, owner: usize, place: Option<&Arc<Place>>) -> Self {
        let beginning = Beginning {
            handler: hook.handler.clone(),
            here: place.cloned().unwrap_or_else(Place::here),
            name: context.agent_name().unwrap_or("agent").to_owned(),
            began: SystemTime::now(),
            input: None,
            first: None,
            outcome: None,
        };
        Self {
            owner,
            number: context.run_id().to_string(),
            handler: hook.handler.clone(),
            shared: Arc::clone(&hook.shared),
            mark: hook.mark.clone().map(OnceLock::from).unwrap_or_default(),
            is_streaming: context.is_streaming(),
            is_of_request: hook.link.is_some(),
            place: place.cloned().map(OnceLock::from).unwrap_or_default(),
            is_exposed: AtomicBool::new(hook.link.is_none()),
            state: Mutex::new(State { beginning: Some(Box::new(beginning)), ..State::default() }),
        }
    }

    /// Another hook of the same handler says whose the run is: one of a request more than one of the agent, and the later
    /// more than the earlier.
    fn joined_by(&self, hook: &RigHandler, owner: usize) {
        let mut state = lock(&self.state);
        if state.joined.contains(&owner) {
            return;
        }
        state.joined.push(owner);
        if let Some(mark) = &hook.mark {
            let _ = self.mark.set(Arc::clone(mark));
        }
        if hook.link.is_none() {
            self.is_exposed.store(true, Ordering::Release);
        }
        let is_base = hook.link.is_none() && self.is_of_request;
        if let Some(beginning) = &mut state.beginning {
            beginning.handler = match is_base {
                true => beginning.handler.over(&hook.handler),
                false => hook.handler.over(&beginning.handler),
            };
            return;
        }
        let root = state.root.clone();
        drop(state);
        let Some(root) = root else { return };
        self.place().record(|| {
            if !is_base {
                hook.handler.take_over(&root);
            }
            hook.handler.fill(&root);
        });
    }

    fn is_exposed(&self) -> bool {
        self.is_exposed.load(Ordering::Acquire)
    }

    /// The span of the run, which begins with the second event.
    pub(crate) fn root(&self) -> Span {
        let beginning = lock(&self.state).beginning.take();
        if let Some(beginning) = beginning {
            let Beginning { handler, here, name, began, input, first, .. } = *beginning;
            let mut run = Step::new(name, SpanKind::Agent)
                .started_at(began)
                .metadata("rig.run_id", self.number.as_str());
            if let Some(input) = input {
                run = run.input(input);
            }
            let root = self.place.get_or_init(|| here).record(|| handler.start(run));
            lock(&self.state).root = Some(root.clone());
            if let Some((id, step, what)) = first {
                self.begin(id, self.step(step), what);
            }
            return root;
        }
        lock(&self.state).root.clone().unwrap_or_else(Span::none)
    }

    /// Where it was started, once it has a root.
    pub(crate) fn place(&self) -> &Arc<Place> {
        self.place.get_or_init(Place::here)
    }

    /// Begins a step of the run.
    pub(crate) fn step(&self, step: Step) -> Span {
        self.shared.steps.start_below(&self.root(), step)
    }

    /// The open step in which something is looked up, if there is one.
    pub(crate) fn retrieving(&self) -> Option<Span> {
        let state = lock(&self.state);
        let is_retrieval = |step: &&OpenStep| matches!(step.what, What::Other { is_retrieval: true, .. });
        state.open.iter().find(is_retrieval).map(|step| step.span.clone())
    }

    fn begin(&self, id: EffectId, span: Span, what: What) {
        lock(&self.state).open.push(OpenStep { id, span, what });
    }

    fn take(&self, id: EffectId) -> Option<OpenStep> {
        let mut state = lock(&self.state);
        let at = state.open.iter().position(|step| step.id == id)?;
        Some(state.open.remove(at))
    }

    pub(crate) fn asks_model(&self, id: EffectId, request: &CompletionRequest, turn: usize) {
        lock(&self.state).retrieval = None;
        self.end_invalid();
        let answer = request::Answer::default();
        let mut step = Step::new("chat", SpanKind::Llm)
            .decoder(request::Asked::of(request, Arc::clone(&answer)))
            .model_parameters(request::parameters(request))
            .metadata("turn", turn);
        if let Some(model) = &request.model {
            step = step.model(model.as_str());
        }
        let is_resumed = {
            let mut state = lock(&self.state);
            let beginning = state.beginning.as_mut().filter(|beginning| beginning.input.is_none());
            beginning
                .map(|beginning| beginning.input = Some(message::messages(request.chat_history.last())))
                .is_some()
        };
        let span = self.step(step);
        if is_resumed {
            self.root().set_metadata("rig.resumed", true);
        }
        let announced = self.shared.model_calls.announce(request, &span, self.is_exposed());
        let asked = address(request);
        self.begin(id, span, What::Model(Answering { announced, asked, answer, ..Answering::default() }));
    }

    /// The model says something.
    pub(crate) fn token(&self, text: &str) {
        let mut state = lock(&self.state);
        let answering = state.open.iter_mut().rev().find_map(|step| match &mut step.what {
            What::Model(answering) => Some((&step.span, answering)),
            _ => None,
        });
        let Some((span, answering)) = answering else { return };
        answering.is_full |= answering.partial.len() + text.len() > MAX_PARTIAL;
        if !answering.is_full {
            answering.partial.push_str(text);
        }
        if !std::mem::replace(&mut answering.has_token, true) {
            let span = span.clone();
            drop(state);
            span.set_first_token();
        }
    }

    pub(crate) fn calls_tool(
        &self,
        context: &HookContext,
        id: EffectId,
        name: &str,
        arguments: &str,
        call_id: Option<&CallId>,
        turn: usize,
    ) {
        lock(&self.state).retrieval = None;
        if self.mark.get().is_none()
            && let Some(mark) = AgentMark::on_bus_of(context)
        {
            // The agent's tools are wrapped, although the request was made without its handler.
            let _ = self.mark.set(mark);
        }
        let mark = self.mark.get().map(Arc::as_ref);
        let is_placed = mark.is_some_and(|mark| mark.places(name));
        let unplaced = (!is_placed).then(|| Unplaced::begin(&self.shared.unplaced, self.is_exposed()));
        let span = self.step(tool_step(name, arguments, call_id, turn));
        let call = ToolCall::new(id, span.clone(), Arc::clone(self.place()), unplaced, mark);
        self.begin(id, span, What::Tool { call, arguments: arguments.to_owned() });
    }

    /// A transport need not look for it any more.
    fn sent(&self, step: &OpenStep) {
        if let What::Model(Answering { announced: Some(number), .. }) = step.what {
            self.shared.model_calls.forget(number);
        }
    }

    /// Ends those answers of which nothing more was heard than that they call what cannot be called.
    fn end_invalid(&self) {
        let invalid: Vec<OpenStep> = {
            let mut state = lock(&self.state);
            let is_invalid =
                |step: &mut OpenStep| matches!(step.what, What::Model(Answering { is_invalid: true, .. }));
            state.open.extract_if(.., is_invalid).collect()
        };
        for step in invalid {
            self.sent(&step);
            step.span.end();
        }
    }

    /// A call that cannot be run as it is. Mostly rig tells nothing else of the answer that it is from.
    pub(crate) fn invalid_call(&self, call: &InvalidToolCallContext) {
        let span = lock(&self.state).open.iter_mut().find_map(|step| match &mut step.what {
            What::Model(answering) => {
                answering.is_invalid = true;
                Some(step.span.clone())
            }
            _ => None,
        });
        if let Some(span) = span {
            let said = call.chat_history.iter().rev().find_map(|message| match message {
                Message::Assistant(message) => Some(message::answer(&message.content)),
                _ => None,
            });
            said.into_iter().for_each(|said| span.set_output(said));
        }
        let arguments = call.args.as_deref().unwrap_or_default();
        let step = tool_step(&call.tool_name, arguments, call.tool_call_id.as_ref(), 0);
        self.step(step).fail(match &call.reason {
            InvalidToolCallReason::UnknownTool => format!("unknown tool `{}`", call.tool_name),
            InvalidToolCallReason::DisallowedByToolChoice => {
                format!("the tool choice does not allow `{}`", call.tool_name)
            }
            InvalidToolCallReason::MalformedArguments { error } => {
                format!("the arguments are not a JSON object: {error}")
            }
            _ => "the call cannot be run".to_owned(),
        });
    }

    /// What is open, and the tools that ran where another run could have polled them.
    fn close(&self) -> (Vec<OpenStep>, BTreeSet<String>) {
        let mut state = lock(&self.state);
        state.settled = true;
        state.retrieval = None;
        (std::mem::take(&mut state.open), std::mem::take(&mut state.unwrapped))
    }

    fn finish(&self, outcome: Result<Value, String>) {
        let root = self.root();
        // Who it is may have become known during the run.
        self.place().record(|| Handler::new().fill(&root));
        self.end_invalid();
        let (open, unwrapped) = self.close();
        for step in open.into_iter().rev() {
            self.sent(&step);
            keep_partial(&step);
            if let What::Tool { call, .. } = &step.what {
                call.over(step.id);
            }
            match &outcome {
                Err(error) => step.span.fail(error.as_str()),
                Ok(_) => step.span.end(),
            }
        }
        if !unwrapped.is_empty() {
            root.set_metadata("pandaprobe.unwrapped_tools", unwrapped.into_iter().collect::<Vec<_>>());
        }
        match outcome {
            Ok(output) => {
                root.set_output(output);
                root.end();
            }
            Err(error) => root.fail(error),
        }
    }

    /// It was dropped before it was settled.
    fn abandoned(&self) {
        let root = self.root();
        self.end_invalid();
        let (open, _) = self.close();
        let is_panic = std::thread::panicking();
        for step in open.into_iter().rev() {
            self.sent(&step);
            keep_partial(&step);
            let is_answer = matches!(step.what, What::Model { .. });
            match step.what {
                What::Tool { call, .. } => call.give_up(step.id),
                What::Other { stray: Some(stray), .. } => stray.give_up(),
                _ => {}
            }
            self.give_up(step.span, is_answer, is_panic);
        }
        self.give_up(root, true, is_panic);
    }

    /// A stream may be left by its reader; all else is cancelled.
    fn give_up(&self, span: Span, is_answer: bool, is_panic: bool) {
        match (is_panic, is_answer && self.is_streaming) {
            (true, _) => span.panicked(None),
            (false, true) => span.stopped_by_reader(),
            (false, false) => span.cancel(),
        }
    }
}

impl Found {
    pub(crate) fn prompted(&self, prompt: &Message, history: &[Message]) {
        self.prepares(history.iter().chain([prompt]));
        let input = message::messages([prompt]);
        if let Some(beginning) = &mut lock(&self.state).beginning {
            beginning.input = Some(input);
            return;
        }
        self.root().set_input(input);
    }

    /// Until the model is asked, rig may look documents up for what the user said last, before it tells this hook.
    fn prepares<'a>(&self, conversation: impl DoubleEndedIterator<Item = &'a Message>) {
        if self.shared.retrievals.wants(self.is_exposed()) {
            let query = conversation.rev().find_map(Message::rag_text);
            lock(&self.state).query = query;
            self.prepares_again();
        }
    }

    fn prepares_again(&self) {
        let query = lock(&self.state).query.clone();
        let retrieval =
            query.map(|query| self.shared.retrievals.announce(query, &self.run, self.is_exposed()));
        lock(&self.state).retrieval = retrieval;
    }

    pub(crate) fn settled(&self, outcome: SettledOutcome<'_>) {
        let outcome = match outcome {
            SettledOutcome::Response(response) => {
                let content = response.content();
                Ok(match message::answer(content) {
                    output if !content.is_empty() => output,
                    _ => json!({"messages": [{"role": "assistant", "content": response.output()}]}),
                })
            }
            SettledOutcome::Error(error) => Err(error.error_text()),
        };
        if let Some(beginning) = &mut lock(&self.state).beginning {
            // Other hooks may not have said yet whose it is.
            beginning.outcome = Some(outcome);
            return;
        }
        self.finish(outcome);
    }

    /// What came of what was dispatched. With a hook before this one that forbade it, it was not told to this one.
    pub(crate) fn came_out(&self, event: &OutcomeEvent<'_>) {
        // With all that began before it.
        let _ = self.root();
        let step = self.take(event.id);
        match (event.kind, event.outcome) {
            (EffectKind::Completion { .. }, outcome) => {
                if let Some(step) = step {
                    self.answered(step, event.kind, outcome);
                }
            }
            (EffectKind::ToolCall { name, args }, outcome) => {
                let span = match step {
                    Some(OpenStep { id, span, what: What::Tool { call, arguments } }) => {
                        // A later hook may have changed them.
                        if *args != arguments {
                            span.set_input(parsed(args));
                        }
                        if call.over(id) && ran(outcome) {
                            lock(&self.state).unwrapped.insert(name.clone());
                        }
                        span
                    }
                    _ => self.step(tool_step(name, args, event.call_id, event.turn)),
                };
                tool_ended(span, outcome);
                let is_last =
                    !lock(&self.state).open.iter().any(|step| matches!(step.what, What::Tool { .. }));
                if is_last {
                    self.prepares_again();
                }
            }
            (_, outcome) => {
                if let Some(step) = step {
                    other_ended(step.span, outcome);
                }
            }
        }
    }

    /// The model answered.
    fn answered(&self, step: OpenStep, kind: &EffectKind, outcome: &Result<Outcome, ErrorReport>) {
        if let EffectKind::Completion { request, .. } = kind {
            // A later hook may have asked something else.
            if matches!(&step.what, What::Model(answering) if answering.asked != address(request)) {
                step.span.set_input(message::messages(&request.chat_history));
            }
            self.prepares(request.chat_history.iter());
        }
        self.sent(&step);
        match outcome {
            Ok(Outcome::Completion(response)) => {
                if let What::Model(answering) = &step.what {
                    let _ = answering.answer.set(request::Answered::of(response));
                    // So that it is counted.
                    step.span.feed(Piece::End);
                }
                match &response.error {
                    Some(error) => step.span.fail(error.as_str()),
                    None => step.span.end(),
                }
            }
            Ok(_) => step.span.end(),
            Err(report) => {
                keep_partial(&step);
                step.span.fail(error_text(report));
            }
        }
    }

    /// Something else than a model or a tool is called.
    pub(crate) fn calls(&self, id: EffectId, kind: &EffectKind) {
        let step = other_step(kind).started_at(SystemTime::now());
        let stray = self.is_exposed().then(StrayWork::begin);
        let what = What::Other { stray, is_retrieval: matches!(kind, EffectKind::Retrieve { .. }) };
        if self.is_first
            && let Some(beginning) = &mut lock(&self.state).beginning
        {
            beginning.first = Some((id, step, what));
            return;
        }
        let span = self.step(step);
        self.begin(id, span, what);
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let (is_settled, outcome) = {
            let mut state = lock(&self.state);
            (state.settled, state.beginning.as_mut().and_then(|beginning| beginning.outcome.take()))
        };
        match outcome {
            Some(outcome) => self.finish(outcome),
            None if !is_settled => self.abandoned(),
            None => {}
        }
    }
}

/// Where the messages of a request are: a request that takes the place of another has its own.
fn address(request: &CompletionRequest) -> usize {
    request.chat_history.as_ptr().addr()
}

/// What the model had said when it was interrupted.
fn keep_partial(step: &OpenStep) {
    if let What::Model(Answering { partial, .. }) = &step.what
        && !partial.is_empty()
    {
        step.span.set_output(json!({"messages": [{"role": "assistant", "content": partial}]}));
    }
}
