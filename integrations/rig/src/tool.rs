//! Tools that run where they belong, whoever polls them.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{
        Arc, LazyLock, Mutex, MutexGuard, OnceLock,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use pandaprobe_core::{Outcome, Scope, Span, StrayWork, watched};
use rig_agent::{
    Agent,
    agent::HookContext,
    bus::Dispatcher,
    tool::{RegisteredTool, ToolSet},
};
use rig_core::{
    DynModel,
    effect::{EffectId, EffectKind, HandlerDescriptor, HandlerKey, family, model_key},
    http_client::{
        Error, HttpClientExt, LazyBody, MultipartForm, Request, Response, Result, StreamingResponse,
    },
    operation::Completion,
    providers::openai::OpenAIConfig,
    serve::{Dispatch, ErasedHandler, Reply, Serve},
    wasm_compat::WasmCompatSend,
};

use crate::{lock, place::Place};

/// How the layer is called among those of a tool.
const LAYER: &str = "pandaprobe";

/// A tool in the place of the call that it answers. Runs of one agent, and all agents that share the tool, poll each
/// other's calls, so where it is polled says nothing.
struct PlacedTool {
    inner: ErasedHandler,
}

impl Serve for PlacedTool {
    type Family = family::Dynamic;

    fn descriptor(&self) -> HandlerDescriptor {
        let mut descriptor = self.inner.descriptor();
        descriptor.layers.push(LAYER.to_owned());
        descriptor
    }

    async fn serve(&self, kind: EffectKind, dispatch: Dispatch) -> Reply {
        // The application runs it itself, where that is right.
        let Some(bus) = dispatch.scope::<Dispatcher>().filter(|_| pandaprobe_core::is_enabled()) else {
            return self.inner.handle(kind, dispatch).await;
        };
        let call = ToolCall::served(dispatch.id(), &bus);
        let answer = self.inner.handle(kind, dispatch);
        match call {
            Some(call) => call.run(answer).await,
            None => Scope::nowhere().scope(answer).await,
        }
    }
}

/// A call of a tool that may run where it does not belong.
#[derive(Debug)]
pub(crate) struct Unplaced {
    count: Arc<AtomicUsize>,
    /// If it may be polled where nobody knows.
    stray: Option<StrayWork>,
}

impl Unplaced {
    pub(crate) fn begin(count: &Arc<AtomicUsize>, is_exposed: bool) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self { count: Arc::clone(count), stray: is_exposed.then(StrayWork::begin) }
    }

    fn give_up(mut self) {
        self.stray.take().into_iter().for_each(StrayWork::give_up);
    }
}

impl Drop for Unplaced {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A call of a tool that a hook records.
#[derive(Debug)]
pub(crate) struct ToolCall {
    span: Span,
    place: Arc<Place>,
    is_placed: AtomicBool,
    /// Until it is.
    unplaced: Mutex<Option<Unplaced>>,
    /// Of the agent that calls.
    mark: Option<HandlerKey>,
}

/// Calls that may be served, by the number they have on their bus. Other buses have the same numbers.
static CALLS: LazyLock<Mutex<HashMap<EffectId, Vec<Arc<ToolCall>>>>> = LazyLock::new(Mutex::default);

impl ToolCall {
    /// A call of the agent with that mark. Without one, its tools cannot find it.
    pub(crate) fn new(
        id: EffectId,
        span: Span,
        place: Arc<Place>,
        unplaced: Option<Unplaced>,
        mark: Option<&AgentMark>,
    ) -> Arc<Self> {
        let mark = mark.and_then(|mark| mark.key.get().cloned());
        let unplaced = Mutex::new(unplaced);
        let call = Arc::new(Self { span, place, is_placed: AtomicBool::new(false), unplaced, mark });
        if call.mark.is_some() {
            calls().entry(id).or_default().push(Arc::clone(&call));
        }
        call
    }

    /// The call has ended. Whether its tool ran, as far as it did, in the wrong place.
    pub(crate) fn over(self: &Arc<Self>, id: EffectId) -> bool {
        self.leave(id);
        lock(&self.unplaced).take();
        !self.is_placed.load(Ordering::Acquire)
    }

    /// Nobody waits for it any more.
    pub(crate) fn give_up(self: &Arc<Self>, id: EffectId) {
        self.leave(id);
        let unplaced = lock(&self.unplaced).take();
        unplaced.into_iter().for_each(Unplaced::give_up);
    }

    fn leave(self: &Arc<Self>, id: EffectId) {
        if self.mark.is_none() {
            return;
        }
        let mut calls = calls();
        if let Some(same_number) = calls.get_mut(&id) {
            same_number.retain(|call| !Arc::ptr_eq(call, self));
            if same_number.is_empty() {
                calls.remove(&id);
            }
        }
    }

    /// The call that `bus` serves under that number: the last, if several handlers record it.
    fn served(id: EffectId, bus: &Dispatcher) -> Option<Arc<Self>> {
        let mut same_number = calls().get(&id).cloned()?;
        let is_on_bus = |mark: &HandlerKey| bus.descriptor(mark).is_some();
        same_number.retain(|call| call.mark.as_ref().is_some_and(is_on_bus));
        for call in &same_number {
            call.is_placed.store(true, Ordering::Release);
            lock(&call.unplaced).take();
        }
        same_number.pop()
    }

    async fn run<T>(self: Arc<Self>, answer: impl Future<Output = T>) -> T {
        // Outside of what is recorded its tool is no part of anything else either.
        let inside = match self.span.is_recorded() {
            true => self.place.run(|| self.span.scope(answer)),
            false => Scope::nowhere().run(|| self.span.scope(answer)),
        };
        let told = move |outcome: Outcome<'_, T>| {
            if let Outcome::Panicked(message) = outcome {
                self.span.clone().panicked(message);
            }
        };
        watched(inside, told).await
    }
}

fn calls() -> MutexGuard<'static, HashMap<EffectId, Vec<Arc<ToolCall>>>> {
    lock(&CALLS)
}

/// By what tools know the agent that calls them: a model on its bus that no other has, and nobody asks. Of whom a hook or a
/// tool works for, both can see no more than what is on its bus.
#[derive(Debug)]
pub(crate) struct AgentMark {
    label: String,
    /// Once it is on the bus.
    key: OnceLock<HandlerKey>,
    /// The tools that find their calls.
    placed: OnceLock<HashSet<String>>,
    /// It is looked for also when nobody has it any more.
    is_lasting: AtomicBool,
}

/// Whose the tools of an agent are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tools {
    /// Nobody else uses them yet.
    Own,
    Shared,
}

/// Marks of agents, so that each has one only, however often it is instrumented, and requests that are made without it find it.
static KNOWN: Mutex<VecDeque<Arc<AgentMark>>> = Mutex::new(VecDeque::new());
/// How many are remembered.
const MAX_KNOWN: usize = 256;

impl AgentMark {
    pub(crate) fn new() -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let label = format!("{LAYER}#{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let (key, placed) = (OnceLock::new(), OnceLock::new());
        Arc::new(Self { label, key, placed, is_lasting: AtomicBool::new(false) })
    }

    /// That of an agent that was built already.
    pub(crate) fn of(agent: &Agent) -> Arc<Self> {
        let owner = format!("{}/", agent.owner());
        let is_its =
            |key: &HandlerKey| key.as_str().starts_with(&owner) && agent.handler_descriptor(key).is_some();
        let mut known = lock(&KNOWN);
        let mark = Self::find(&known, is_its).unwrap_or_else(Self::new);
        // Before another thread looks for it.
        mark.register(agent, &mut known);
        mark.lasts();
        mark
    }

    /// Its agent goes on without it.
    pub(crate) fn lasts(&self) {
        self.is_lasting.store(true, Ordering::Release);
    }

    /// That of the agent whose run it is.
    pub(crate) fn on_bus_of(context: &HookContext) -> Option<Arc<Self>> {
        Self::find(&lock(&KNOWN), |key| context.model(key).is_ok())
    }

    fn find(known: &VecDeque<Arc<Self>>, wanted: impl Fn(&HandlerKey) -> bool) -> Option<Arc<Self>> {
        known.iter().rev().find(|mark| mark.key.get().is_some_and(&wanted)).cloned()
    }

    /// Marks the agent, and has its tools run in their places.
    pub(crate) fn put_on(self: &Arc<Self>, agent: &Agent, tools: Tools) {
        self.register(agent, &mut lock(&KNOWN));
        // Once: what was added since is as its owner wants it.
        self.placed.get_or_init(|| place_tools(agent, tools));
    }

    fn register(self: &Arc<Self>, agent: &Agent, known: &mut VecDeque<Arc<Self>>) {
        if self.key.get().is_some() {
            return;
        }
        agent.register_model(self.label.as_str(), nobody());
        let key = HandlerKey::from(format!("{}/{}", agent.owner(), model_key(&self.label)));
        if agent.handler_descriptor(&key).is_some() && self.key.set(key).is_ok() {
            // Those of agents that are gone: requests look through all of them.
            known.retain(|mark| mark.is_lasting.load(Ordering::Acquire) || Arc::strong_count(mark) > 1);
            if known.len() == MAX_KNOWN {
                known.pop_front();
            }
            known.push_back(Arc::clone(self));
        }
    }

    /// Whether the tool of that name runs in the place of its call.
    pub(crate) fn places(&self, tool: &str) -> bool {
        self.key.get().is_some() && self.placed.get().is_some_and(|placed| placed.contains(tool))
    }
}

/// Wraps the tools of the agent that are not. Gives the names of all that are.
fn place_tools(agent: &Agent, owner: Tools) -> HashSet<String> {
    let server = agent.tool_server_handle();
    let tools = server.toolset();
    let exposed: HashSet<&str> = tools.always_exposed_names().collect();
    let (mut placed, mut retrieved) = (ToolSet::default(), ToolSet::default());
    let mut names = HashSet::new();
    for (name, tool) in tools.iter() {
        let is_placed = tool.handler().descriptor().layers.iter().any(|layer| layer == LAYER);
        // What is no tool by its own account stays as it is.
        let Ok(wrapped) = RegisteredTool::from_handler(PlacedTool { inner: tool.handler().clone() }) else {
            continue;
        };
        names.insert(name.to_owned());
        if is_placed {
            continue;
        }
        if owner == Tools::Own {
            // rig warns of a tool that takes the place of another.
            server.remove_tool(name);
        }
        // Under the same key, so that it takes the place of the other.
        let wrapped = wrapped.with_key(tool.key().clone());
        if exposed.contains(name) { &mut placed } else { &mut retrieved }.add_registered_tool(wrapped);
    }
    placed.add_retrievable_tools(retrieved);
    server.add_tools(placed);
    names
}

/// A model that answers nothing.
fn nobody() -> DynModel<Completion> {
    OpenAIConfig::new("").connect(Nowhere).chat(LAYER).erase()
}

#[derive(Clone)]
struct Nowhere;

impl HttpClientExt for Nowhere {
    fn send<T, U>(
        &self,
        _: Request<T>,
    ) -> impl Future<Output = Result<Response<LazyBody<U>>>> + WasmCompatSend + 'static
    where
        T: Into<Bytes> + WasmCompatSend,
        U: From<Bytes> + WasmCompatSend + 'static,
    {
        std::future::ready(Err(Error::StreamEnded))
    }

    fn send_multipart<U>(
        &self,
        _: Request<MultipartForm>,
    ) -> impl Future<Output = Result<Response<LazyBody<U>>>> + WasmCompatSend + 'static
    where
        U: From<Bytes> + WasmCompatSend + 'static,
    {
        std::future::ready(Err(Error::StreamEnded))
    }

    fn send_streaming<T>(
        &self,
        _: Request<T>,
    ) -> impl Future<Output = Result<StreamingResponse>> + WasmCompatSend
    where
        T: Into<Bytes> + WasmCompatSend,
    {
        std::future::ready(Err(Error::StreamEnded))
    }
}
