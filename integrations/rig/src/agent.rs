//! Agents, and single requests to them, with one call.

use std::{fmt, sync::Arc};

use rig_agent::{
    Agent, AgentBuilder, AgentRun, AgentRunner,
    agent::{NoToolConfig, TypedOutput, WithBuilderTools, WithToolServerHandle},
    completion::PromptError,
    extractor::{Extractor, ExtractorBuilder},
    run::response::PromptResponse,
};
use rig_core::{
    completion::Message,
    message::EmptyToolName,
    tool::{DynamicTool, ToolExecutionError, ToolOutput},
    wasm_compat::{WasmCompatSend, WasmCompatSync},
};
use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    RigHandler, TracedRunner,
    tool::{AgentMark, Tools},
};

/// Builds an agent or extractor whose runs are traced.
pub trait BuildTraced: sealed::Sealed + Sized {
    /// What is built.
    type Built;

    /// Builds it, to be traced by `handler`, with its tools wrapped, so that what they record is below them, in the trace and
    /// for the user of their run, whoever polls them.
    ///
    /// What a tool records that is added to the agent later has no user and no place in the trace. A tool that has a
    /// liveness probe, as those of MCP servers have, loses it here: add such tools afterwards.
    ///
    /// ```
    /// use pandaprobe_rig::{BuildTraced, RigHandler, TracedAgent};
    /// use rig_agent::{AgentBuilder, core::{DynModel, operation::Completion}};
    ///
    /// fn agent(model: DynModel<Completion>, handler: &RigHandler) -> TracedAgent {
    ///     AgentBuilder::new(model).name("travel-agent").build_traced(handler)
    /// }
    /// ```
    fn build_traced(self, handler: &RigHandler) -> Self::Built;
}

/// Traces one request.
pub trait Traced: sealed::Sealed + Sized {
    /// What kind of answer it is about.
    type Answer;

    /// The same request, with a hook of `handler`: for one user's request to an agent that many share.
    ///
    /// If the agent is traced by the same handler or a clone of it, the run is recorded once, for whom `handler` says.
    /// If its tools are not wrapped, because it was built with `build`, what they record has no user and no place in the
    /// trace.
    ///
    /// ```
    /// # async fn example(agent: rig_agent::Agent, handler: pandaprobe_rig::RigHandler)
    /// #     -> Result<(), Box<dyn std::error::Error>> {
    /// use pandaprobe_rig::Traced;
    ///
    /// let answer = agent.prompt("What is new?").traced(&handler.clone().user_id("user-abc")).await?;
    /// # Ok(()) }
    /// ```
    fn traced(self, handler: &RigHandler) -> TracedRunner<Self::Answer>;
}

mod sealed {
    use super::{AgentBuilder, AgentRunner, ExtractorBuilder};

    pub trait Sealed {}

    impl<S> Sealed for AgentBuilder<S> {}
    impl<O> Sealed for AgentRunner<O> {}
    impl<T> Sealed for ExtractorBuilder<T> where T: super::Extracted {}
}

impl<O> Traced for AgentRunner<O> {
    type Answer = O;

    fn traced(self, handler: &RigHandler) -> TracedRunner<O> {
        TracedRunner::new(self, handler)
    }
}

macro_rules! build_traced {
    ($($tools:ty: $tools_of:expr),+) => {
        $(impl BuildTraced for AgentBuilder<$tools> {
            type Built = TracedAgent;

            fn build_traced(self, handler: &RigHandler) -> TracedAgent {
                let mark = AgentMark::new();
                TracedAgent::marked(self.build(), handler, &mark, $tools_of)
            }
        })+
    };
}

build_traced!(
    NoToolConfig: Tools::Own,
    WithBuilderTools: Tools::Own,
    WithToolServerHandle: Tools::Shared
);

/// What an extractor can extract.
trait Extracted: JsonSchema + DeserializeOwned + Serialize + WasmCompatSend + WasmCompatSync + 'static {}

impl<T: JsonSchema + DeserializeOwned + Serialize + WasmCompatSend + WasmCompatSync + 'static> Extracted
    for T
{
}

impl<T: Extracted> BuildTraced for ExtractorBuilder<T> {
    type Built = Extractor<T>;

    fn build_traced(self, handler: &RigHandler) -> Extractor<T> {
        let mark = AgentMark::new();
        let extractor = self.add_hook(handler.of_agent(&mark)).build();
        mark.put_on(extractor.agent(), Tools::Own);
        extractor
    }
}

impl RigHandler {
    /// The hook of the agent with that mark.
    fn of_agent(&self, mark: &Arc<AgentMark>) -> Self {
        Self { mark: Some(Arc::clone(mark)), ..self.clone() }
    }
}

/// An agent whose requests are traced. Made by [`build_traced`](BuildTraced::build_traced) and [`RigHandler::instrument`].
#[derive(Clone)]
pub struct TracedAgent {
    agent: Agent,
    /// That of each request.
    hook: RigHandler,
}

impl TracedAgent {
    fn marked(agent: Agent, handler: &RigHandler, mark: &Arc<AgentMark>, tools: Tools) -> Self {
        mark.put_on(&agent, tools);
        Self { agent, hook: handler.of_agent(mark) }
    }

    /// An agent that was built already.
    pub(crate) fn around(handler: &RigHandler, agent: &Agent) -> Self {
        Self::marked(agent.clone(), handler, &AgentMark::of(agent), Tools::Shared)
    }

    fn request<O>(&self, runner: AgentRunner<O>) -> TracedRunner<O> {
        TracedRunner::new(runner, &self.hook)
    }

    /// [`Agent::prompt`], traced.
    pub fn prompt(&self, prompt: impl Into<Message>) -> TracedRunner {
        self.request(self.agent.prompt(prompt))
    }

    /// [`Agent::prompt_typed`], traced.
    pub fn prompt_typed<T>(&self, prompt: impl Into<Message>) -> TracedRunner<TypedOutput<T>>
    where
        T: JsonSchema + DeserializeOwned + WasmCompatSend,
    {
        self.request(self.agent.prompt_typed(prompt))
    }

    /// [`Agent::resume`], traced.
    pub fn resume(&self, run: AgentRun) -> TracedRunner {
        self.request(self.agent.resume(run))
    }

    /// [`Agent::chat`], traced.
    ///
    /// # Errors
    ///
    /// As [`Agent::chat`].
    pub async fn chat(
        &self,
        prompt: impl Into<Message> + WasmCompatSend,
        chat_history: &mut Vec<Message>,
    ) -> Result<PromptResponse, PromptError> {
        let response = self.prompt(prompt).history(chat_history.clone()).await?;
        chat_history.extend(response.messages.iter().cloned());
        Ok(response)
    }

    /// A tool that asks this agent: [`Agent::into_tool`], traced.
    ///
    /// # Errors
    ///
    /// If the agent has an empty name.
    pub fn into_tool(self) -> Result<DynamicTool, EmptyToolName> {
        // The same tool, but for who answers it.
        let tool = self.agent.clone().into_tool()?.definition();
        let agent = Arc::new(self);
        Ok(DynamicTool::new_with_context(
            tool.name,
            tool.description,
            tool.parameters,
            move |context, arguments| {
                let (agent, context) = (Arc::clone(&agent), context.for_dispatch());
                Box::pin(async move {
                    let asked: Asked = serde_json::from_value(arguments).map_err(|error| {
                        ToolExecutionError::invalid_args(format!(
                            "failed to parse agent tool arguments: {error}"
                        ))
                        .with_source(error)
                    })?;
                    let answer = agent.prompt(asked.prompt).tool_context(context).await;
                    answer
                        .map(|answer| ToolOutput::text(answer.output()))
                        .map_err(ToolExecutionError::from_error)
                })
            },
        ))
    }

    /// The agent itself, for all that is no request: one that is made through it is not traced, unless with
    /// [`traced`](Traced::traced).
    pub fn inner(&self) -> &Agent {
        &self.agent
    }

    /// The agent itself; see [`inner`](Self::inner).
    pub fn into_inner(self) -> Agent {
        self.hook.mark.iter().for_each(|mark| mark.lasts());
        self.agent
    }
}

/// The arguments of an agent that is a tool.
#[derive(serde::Deserialize)]
struct Asked {
    prompt: String,
}

impl fmt::Debug for TracedAgent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TracedAgent").field("name", &self.agent.name()).finish_non_exhaustive()
    }
}
