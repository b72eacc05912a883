//! The handler of adk's runners, agents, models and tools.

use std::sync::Arc;

use adk_core::{Agent, Llm, Tool, Toolset};
use adk_runner::Runner;
use pandaprobe_core::Handler;

use crate::{
    TracedRunner,
    agent::TracedAgent,
    llm::TracedLlm,
    tool::{TracedTool, TracedToolset},
};

/// Traces adk-rust: a trace for each run, with its agents, model calls and tools.
///
/// ```
/// use std::sync::Arc;
///
/// use adk_agent::LlmAgentBuilder;
/// use adk_core::{Llm, Result, Tool};
/// use adk_runner::Runner;
/// use adk_session::InMemorySessionService;
/// use pandaprobe_adk::{AdkHandler, TracedRunner};
///
/// fn runner(model: Arc<dyn Llm>, search: Arc<dyn Tool>) -> Result<TracedRunner> {
///     // Without ids, those that adk has for a run are used.
///     let handler = AdkHandler::new();
///     let agent = LlmAgentBuilder::new("travel")
///         .instruction("Be brief.")
///         .model(handler.llm(model))
///         .tool(handler.tool(search))
///         .build()?;
///     let runner = Runner::builder()
///         .app_name("trips")
///         .agent(handler.agent(Arc::new(agent)))
///         .session_service(Arc::new(InMemorySessionService::new()))
///         .build()?;
///     Ok(handler.runner(runner))
/// }
/// ```
///
/// | what you have | what you write | span |
/// |---|---|---|
/// | a runner | [`handler.runner(runner)`](Self::runner) | CHAIN, named as the app |
/// | an agent | [`handler.agent(agent)`](Self::agent) | AGENT |
/// | a model | [`handler.llm(model)`](Self::llm) | LLM |
/// | a tool | [`handler.tool(tool)`](Self::tool) | TOOL |
/// | a toolset | [`handler.toolset(toolset)`](Self::toolset) | TOOL, for each of its tools |
///
/// Inside of a run all of these are parts of it, whatever handler they were wrapped with. Outside of one, what is called
/// first is a trace of its own, by its own handler.
#[derive(Clone, Debug, Default)]
pub struct AdkHandler {
    pub(crate) handler: Handler,
}

impl AdkHandler {
    /// A handler that records with the current client, for whom scopes say, else for the user and session that adk has.
    pub fn new() -> Self {
        Self::default()
    }

    pandaprobe_core::handler_methods!(handler);

    /// The same runner, with each run as a trace: also runs that fail before an agent does anything.
    ///
    /// ```
    /// # async fn example(runner: adk_runner::Runner) -> adk_core::Result<()> {
    /// # use adk_core::Content;
    /// # use pandaprobe_adk::AdkHandler;
    /// let runner = AdkHandler::new().tags(["production"]).runner(runner);
    /// let events = runner.run_str("ada", "trip-to-portugal", Content::new("user").with_text("Hello!")).await?;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn runner(&self, runner: impl Into<Arc<Runner>>) -> TracedRunner {
        TracedRunner::new(runner.into(), &self.handler)
    }

    /// The same agent, with each of its runs recorded. What it does in a run, its own code and the application's, is
    /// below the run.
    ///
    /// Agents that it may transfer to are wrapped with it. Agents that it runs itself, as those of a `SequentialAgent`, it
    /// was built with, so that they are wrapped before:
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use adk_agent::SequentialAgent;
    /// use adk_core::Agent;
    /// use pandaprobe_adk::AdkHandler;
    ///
    /// fn both(handler: &AdkHandler, first: Arc<dyn Agent>, second: Arc<dyn Agent>) -> Arc<dyn Agent> {
    ///     let steps = vec![handler.agent(first), handler.agent(second)];
    ///     handler.agent(Arc::new(SequentialAgent::new("both", steps)))
    /// }
    /// ```
    #[must_use]
    pub fn agent<A: Agent + ?Sized + 'static>(&self, agent: Arc<A>) -> Arc<dyn Agent> {
        Arc::new(TracedAgent::new(agent, &self.handler))
    }

    /// The same model, with each call of it recorded, streamed or not. A call that a wrapped model makes of another one is
    /// the same call.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use pandaprobe_adk::AdkHandler;
    /// fn traced(model: Arc<dyn adk_core::Llm>) -> Arc<dyn adk_core::Llm> {
    ///     AdkHandler::new().llm(model)
    /// }
    /// ```
    #[must_use]
    pub fn llm<L: Llm + ?Sized + 'static>(&self, model: Arc<L>) -> Arc<dyn Llm> {
        Arc::new(TracedLlm::new(model, &self.handler))
    }

    /// The same tool, with each call of it recorded: each attempt, if adk tries again.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use pandaprobe_adk::AdkHandler;
    /// fn traced(tool: Arc<dyn adk_core::Tool>) -> Arc<dyn adk_core::Tool> {
    ///     AdkHandler::new().tool(tool)
    /// }
    /// ```
    #[must_use]
    pub fn tool<T: Tool + ?Sized + 'static>(&self, tool: Arc<T>) -> Arc<dyn Tool> {
        Arc::new(TracedTool::new(tool, &self.handler))
    }

    /// The same toolset, with its tools as by [`tool`](Self::tool).
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use pandaprobe_adk::AdkHandler;
    /// fn traced(tools: Arc<dyn adk_core::Toolset>) -> Arc<dyn adk_core::Toolset> {
    ///     AdkHandler::new().toolset(tools)
    /// }
    /// ```
    #[must_use]
    pub fn toolset<T: Toolset + ?Sized + 'static>(&self, toolset: Arc<T>) -> Arc<dyn Toolset> {
        Arc::new(TracedToolset::new(toolset, &self.handler))
    }
}
