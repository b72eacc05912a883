//! A request to an agent, whose hooks know where it is made.

use std::fmt;

use rig_agent::{
    AgentHook, AgentRunner,
    agent::{MultiTurnStreamItem, RunEvents, TypedOutput},
    completion::PromptError,
    run::UnhandledInvalidToolCall,
    run::response::PromptResponse,
};
use rig_core::{
    DynModel,
    completion::{
        CacheRetention, Document, ExtensionOptions, GenerationOptions, Message, ModelRef, OnUnsupported,
        ProviderOptions, Reasoning, ServiceTier, Verbosity,
    },
    id::ConversationId,
    message::ToolChoice,
    operation::Completion,
    tool::ToolContext,
    wasm_compat::WasmCompatSend,
};
use serde_json::{Map, Value};

use crate::{RigHandler, TracedRun, place::Link};

/// A request to an agent, traced: rig's [`AgentRunner`], with the same methods. Made by
/// [`TracedAgent::prompt`](crate::TracedAgent::prompt) and [`Traced::traced`](crate::Traced::traced).
#[derive(Clone)]
#[must_use = "a run does nothing until awaited or driven"]
pub struct TracedRunner<O = ()> {
    runner: AgentRunner<O>,
    hooks: Vec<RigHandler>,
}

/// Builder methods of rig's runner.
macro_rules! forward {
    ($($name:ident $([$($generics:tt)*])? ($($argument:ident: $kind:ty),*) $(where [$($bounds:tt)*])?;)*) => {
        $(
            #[doc = concat!("[`AgentRunner::", stringify!($name), "`].")]
            pub fn $name $(<$($generics)*>)? (mut self, $($argument: $kind),*) -> Self $(where $($bounds)*)? {
                self.runner = self.runner.$name($($argument),*);
                self
            }
        )*
    };
}

impl<O> TracedRunner<O> {
    pub(crate) fn new(runner: AgentRunner<O>, hook: &RigHandler) -> Self {
        Self { runner, hooks: vec![hook.clone()] }
    }

    /// The same request, with another hook; see [`Traced::traced`](crate::Traced::traced).
    pub fn traced(mut self, handler: &RigHandler) -> Self {
        self.hooks.push(handler.clone());
        self
    }

    /// The request with its hooks, after all others. Each time they are told anew where it is made: a request can be cloned.
    fn hooked(self) -> (AgentRunner<O>, Link) {
        let link = Link::default();
        let hooks = self.hooks.into_iter().map(|hook| RigHandler { link: Some(Link::clone(&link)), ..hook });
        (hooks.fold(self.runner, AgentRunner::add_hook), link)
    }

    forward! {
        add_hook[H](hook: H) where [H: AgentHook + 'static];
        max_turns(turns: usize);
        using_model(label: impl Into<ModelRef>);
        using_model_value(model: impl Into<DynModel<Completion>>);
        tool_context(context: ToolContext);
        history[I, T](history: I) where [I: IntoIterator<Item = T>, T: Into<Message>];
        preamble(preamble: impl Into<String>);
        without_preamble();
        document(document: Document);
        documents(documents: impl IntoIterator<Item = Document>);
        temperature(temperature: f64);
        without_temperature();
        max_tokens(tokens: u64);
        without_max_tokens();
        merge_additional_params(params: Map<String, Value>);
        replace_additional_params(params: Value);
        without_additional_params();
        options(options: GenerationOptions);
        reasoning(reasoning: impl Into<Reasoning>);
        cache(cache: CacheRetention);
        service_tier(tier: ServiceTier);
        verbosity(verbosity: Verbosity);
        parallel_tool_calls(parallel: bool);
        top_p(top_p: f64);
        seed(seed: u64);
        on_unsupported(policy: OnUnsupported);
        provider_options(options: ProviderOptions);
        provider_option[E](options: E) where [E: ExtensionOptions];
        tool_choice(choice: ToolChoice);
        without_tool_choice();
        record_content_telemetry(enabled: bool);
        accept_unknown_finish_reasons(accept: bool);
        tool_concurrency(concurrency: usize);
        conversation(id: impl Into<ConversationId>);
        without_memory();
        max_invalid_tool_call_retries(retries: usize);
        max_consecutive_malformed_tool_calls(limit: impl Into<Option<usize>>);
    }

    /// [`AgentRunner::stop`].
    pub fn stop<S: Into<String>>(mut self, stop: impl IntoIterator<Item = S>) -> Self {
        self.runner = self.runner.stop(stop);
        self
    }
}

impl TracedRunner {
    forward! {
        unhandled_invalid_tool_call(policy: UnhandledInvalidToolCall);
    }

    /// [`AgentRunner::run`].
    pub fn run(self) -> impl Future<Output = Result<PromptResponse, PromptError>> + WasmCompatSend {
        let (runner, link) = self.hooked();
        TracedRun::new(link, || runner.run())
    }

    /// [`AgentRunner::stream`].
    #[must_use = "a stream does nothing until polled"]
    pub fn stream(self) -> TracedStream {
        let (runner, link) = self.hooked();
        Box::pin(TracedRun::new(link, || runner.stream()))
    }

    /// [`AgentRunner::run_channel`].
    #[must_use = "the run does nothing until the future is driven"]
    pub fn run_channel(
        self,
    ) -> (impl Future<Output = Result<PromptResponse, PromptError>> + WasmCompatSend, RunEvents) {
        let (runner, link) = self.hooked();
        let (run, events) = runner.run_channel();
        (TracedRun::new(link, || run), events)
    }
}

/// What [`TracedRunner::stream`] gives: the items of rig's stream.
pub type TracedStream =
    std::pin::Pin<Box<dyn futures_core::Stream<Item = Result<MultiTurnStreamItem, PromptError>> + Send>>;

impl<T> TracedRunner<TypedOutput<T>>
where
    T: schemars::JsonSchema + serde::de::DeserializeOwned + WasmCompatSend,
{
    /// How often a run is repeated whose answer is not of the type.
    pub fn retries(mut self, retries: usize) -> Self {
        self.runner = self.runner.retries(retries);
        self
    }
}

impl<O> IntoFuture for TracedRunner<O>
where
    AgentRunner<O>: IntoFuture,
{
    type Output = <AgentRunner<O> as IntoFuture>::Output;
    type IntoFuture = TracedRun<<AgentRunner<O> as IntoFuture>::IntoFuture>;

    fn into_future(self) -> Self::IntoFuture {
        let (runner, link) = self.hooked();
        TracedRun::new(link, || runner.into_future())
    }
}

impl<O> fmt::Debug for TracedRunner<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TracedRunner").field("hooks", &self.hooks).finish_non_exhaustive()
    }
}
