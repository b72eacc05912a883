//! The handler of rig's agents, models and indexes.

use std::sync::{Arc, atomic::AtomicUsize};

use pandaprobe_core::Handler;
use rig_agent::Agent;
use rig_core::{driver::Model, http_client::HttpClientExt};

use crate::{
    TracedAgent, TracedHttp, TracedIndex, index::Retrievals, model_calls::ModelCalls, place::Link,
    tool::AgentMark,
};

/// Traces rig: a trace for each run of an agent, with its model calls, tools, retrievals and sub-agents.
///
/// ```
/// use pandaprobe_rig::{BuildTraced, RigHandler, TracedAgent};
/// use rig_agent::{AgentBuilder, core::{DynModel, operation::Completion}};
///
/// fn agent(model: DynModel<Completion>) -> TracedAgent {
///     let handler = RigHandler::new().session_id("conversation-123").user_id("user-abc");
///     AgentBuilder::new(model).preamble("Be brief.").build_traced(&handler)
/// }
/// ```
///
/// | what you have | what you write |
/// |---|---|
/// | an agent that you build | [`builder.build_traced(&handler)`](crate::BuildTraced::build_traced) |
/// | one request to an agent | [`agent.prompt(…).traced(&handler)`](crate::Traced::traced) |
/// | an agent that somebody built | [`handler.instrument(&agent)`](Self::instrument) |
/// | a model that you ask yourself | [`handler.model(model)`](Self::model) |
/// | a provider's client | [`client.with_http(handler.http(transport))`](Self::http) |
/// | an index | [`handler.index(index)`](Self::index) |
#[derive(Clone, Debug, Default)]
pub struct RigHandler {
    pub(crate) handler: Handler,
    pub(crate) shared: Arc<Shared>,
    /// The agent whose hook this is, if its tools know it.
    pub(crate) mark: Option<Arc<AgentMark>>,
    /// Where the request is made whose hook this is. A hook of an agent does not know.
    pub(crate) link: Option<Link>,
}

/// What all clones of a handler have in common.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// Calls of tools that may run where they do not belong.
    pub(crate) unplaced: Arc<AtomicUsize>,
    /// Starts the steps of runs: they are whose the run is.
    pub(crate) steps: Handler,
    pub(crate) model_calls: ModelCalls,
    pub(crate) retrievals: Retrievals,
}

impl RigHandler {
    /// A handler that records with the current client, for whom scopes say.
    pub fn new() -> Self {
        Self::default()
    }

    pandaprobe_core::handler_methods!(handler);

    /// The same agent, with each of its runs traced: for an agent that is built already.
    ///
    /// Its tools are wrapped, for all who share them, so that what they record is below them. A tool that is added later
    /// is not wrapped, also not if the agent is instrumented again. A tool that has a liveness probe loses it.
    ///
    /// ```
    /// # async fn example(agent: rig_agent::Agent) -> Result<(), Box<dyn std::error::Error>> {
    /// # use pandaprobe_rig::RigHandler;
    /// let agent = RigHandler::new().user_id("user-abc").instrument(&agent);
    /// let answer = agent.prompt("What is new?").await?;
    /// # Ok(()) }
    /// ```
    pub fn instrument(&self, agent: &Agent) -> TracedAgent {
        TracedAgent::around(self, agent)
    }

    /// The same model, with each call of it traced: completions, embeddings and all else that goes over HTTP.
    ///
    /// It is for calls that you make yourself. An agent gets a [hook](crate::BuildTraced::build_traced); if its model is
    /// wrapped too, each call is still one span.
    ///
    /// ```
    /// use pandaprobe_rig::RigHandler;
    /// use rig_core::{http_client::DynHttpClient, providers::openai::OpenAIConfig};
    ///
    /// # async fn example(http: DynHttpClient) -> Result<(), Box<dyn std::error::Error>> {
    /// let openai = OpenAIConfig::new("key").connect(http);
    /// let model = RigHandler::new().user_id("user-abc").model(openai.chat("gpt-4o-mini"));
    /// let answer = model.call("What is new?").await?;
    /// # Ok(()) }
    /// ```
    pub fn model<W, T>(&self, model: Model<W, T>) -> Model<W, TracedHttp<T>>
    where
        T: HttpClientExt + Clone + 'static,
    {
        Model::new(model.wire, self.http(model.transport))
    }

    /// The same transport, with each call to a model traced, so that every model of a client is.
    ///
    /// ```
    /// use pandaprobe_rig::RigHandler;
    /// use rig_core::{http_client::DynHttpClient, providers::openai::{OpenAI, OpenAIConfig}};
    ///
    /// fn client(transport: DynHttpClient, handler: &RigHandler) -> OpenAI {
    ///     OpenAIConfig::new("key").connect(handler.http(transport))
    /// }
    /// ```
    pub fn http<H>(&self, transport: H) -> TracedHttp<H> {
        TracedHttp::new(transport, self.clone())
    }

    /// The same index, with each retrieval traced: a RETRIEVER span with the query and what was found. Given to
    /// `dynamic_context`, it is a step of the traced request that asked.
    ///
    /// ```
    /// use pandaprobe_rig::RigHandler;
    /// use rig_core::vector_store::VectorStoreIndex;
    ///
    /// fn traced(index: impl VectorStoreIndex) -> impl VectorStoreIndex {
    ///     RigHandler::new().index(index)
    /// }
    /// ```
    pub fn index<I>(&self, index: I) -> TracedIndex<I> {
        TracedIndex::new(index, self.clone())
    }
}
