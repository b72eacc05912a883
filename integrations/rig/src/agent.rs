//! Agents, and single requests to them, with one call.

use std::{fmt, ops::Deref, sync::Arc};

use rig_agent::{
    Agent, AgentBuilder, AgentRun, AgentRunner,
    agent::{NoToolConfig, TypedRun, WithBuilderTools, WithToolServerHandle},
    extractor::{Extractor, ExtractorBuilder},
};
use rig_core::{
    completion::Message,
    wasm_compat::{WasmCompatSend, WasmCompatSync},
};
use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};

use crate::{RigHandler, tool::AgentMark};

/// Builds an agent or extractor whose runs are traced.
pub trait BuildTraced: sealed::Sealed + Sized {
    /// What is built.
    type Built;

    /// Builds it with a hook of `handler`, after all others, and with its tools wrapped, so that what they record is below
    /// them, in the trace and for the user of their run, whoever polls them.
    ///
    /// A tool that is added to the agent later is not wrapped. One that is given a liveness probe, as those of MCP servers
    /// are, loses it here: add such tools afterwards.
    ///
    /// ```
    /// use pandaprobe_rig::{BuildTraced, RigHandler};
    /// use rig_agent::{Agent, AgentBuilder, core::{DynModel, operation::Completion}};
    ///
    /// fn agent(model: DynModel<Completion>, handler: &RigHandler) -> Agent {
    ///     AgentBuilder::new(model).name("travel-agent").build_traced(handler)
    /// }
    /// ```
    fn build_traced(self, handler: &RigHandler) -> Self::Built;
}

/// Traces one request.
pub trait Traced: sealed::Sealed + Sized {
    /// The same request, with a hook of `handler`: for one user's request to an agent that many share.
    ///
    /// If the agent has a hook of the same handler or of a clone of it, the run is recorded once, for whom `handler` says.
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
    fn traced(self, handler: &RigHandler) -> Self;
}

mod sealed {
    use super::{AgentBuilder, AgentRunner, ExtractorBuilder};

    pub trait Sealed {}

    impl<S> Sealed for AgentBuilder<S> {}
    impl<O> Sealed for AgentRunner<O> {}
    impl<T> Sealed for ExtractorBuilder<T> where T: super::Extracted {}
}

impl<O> Traced for AgentRunner<O> {
    fn traced(self, handler: &RigHandler) -> Self {
        self.add_hook(handler.clone())
    }
}

macro_rules! build_traced {
    ($($tools:ty),+) => {
        $(impl BuildTraced for AgentBuilder<$tools> {
            type Built = Agent;

            fn build_traced(self, handler: &RigHandler) -> Agent {
                let (hook, mark) = handler.of_an_agent();
                let agent = self.add_hook(hook).build();
                mark.put_on(&agent);
                agent
            }
        })+
    };
}

build_traced!(NoToolConfig, WithBuilderTools, WithToolServerHandle);

/// What an extractor can extract.
trait Extracted: JsonSchema + DeserializeOwned + Serialize + WasmCompatSend + WasmCompatSync + 'static {}

impl<T: JsonSchema + DeserializeOwned + Serialize + WasmCompatSend + WasmCompatSync + 'static> Extracted
    for T
{
}

impl<T: Extracted> BuildTraced for ExtractorBuilder<T> {
    type Built = Extractor<T>;

    fn build_traced(self, handler: &RigHandler) -> Extractor<T> {
        let (hook, mark) = handler.of_an_agent();
        let extractor = self.add_hook(hook).build();
        mark.put_on(extractor.agent());
        extractor
    }
}

impl RigHandler {
    /// The hook of one agent, and its mark.
    fn of_an_agent(&self) -> (Self, Arc<AgentMark>) {
        let mark = Arc::new(AgentMark::new());
        (Self { mark: Some(Arc::clone(&mark)), ..self.clone() }, mark)
    }
}

/// An agent whose runs are traced; made by [`RigHandler::instrument`]. For all else it is the agent.
#[derive(Clone)]
pub struct TracedAgent {
    agent: Agent,
    hook: RigHandler,
}

impl TracedAgent {
    pub(crate) fn new(handler: &RigHandler, agent: &Agent) -> Self {
        let (hook, mark) = handler.of_an_agent();
        mark.put_on(agent);
        Self { agent: agent.clone(), hook }
    }

    /// [`Agent::prompt`], traced.
    pub fn prompt(&self, prompt: impl Into<Message>) -> AgentRunner {
        self.agent.prompt(prompt).add_hook(self.hook.clone())
    }

    /// [`Agent::prompt_typed`], traced.
    pub fn prompt_typed<T>(&self, prompt: impl Into<Message>) -> TypedRun<T>
    where
        T: JsonSchema + DeserializeOwned + WasmCompatSend + 'static,
    {
        self.agent.prompt_typed(prompt).add_hook(self.hook.clone())
    }

    /// [`Agent::resume`], traced.
    pub fn resume(&self, run: AgentRun) -> AgentRunner {
        self.agent.resume(run).add_hook(self.hook.clone())
    }
}

impl Deref for TracedAgent {
    type Target = Agent;

    fn deref(&self) -> &Agent {
        &self.agent
    }
}

impl fmt::Debug for TracedAgent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TracedAgent").field("name", &self.agent.name()).finish_non_exhaustive()
    }
}
