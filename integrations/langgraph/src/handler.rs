//! The handler of graphs.

use std::sync::Arc;

use pandaprobe_core::Handler;

use crate::threads::Threads;

/// Traces graphs: a trace for each run, with its nodes, conditional edges, model calls and tools.
///
/// What it has for each runtime is behind a feature of that name:
///
/// | | `adk-graph` | `langgraph` | `graph-flow` |
/// |---|---|---|---|
/// | a graph that is built | `graph(state_graph)` | | |
/// | a node | `node(node)` | `node(action)` | `task(task)`, `fan_out(id, tasks)` |
/// | a conditional edge | (with the graph) | `edge(path)` | |
/// | a run | `invoke`, `stream` | `ainvoke`, `astream`, `ainvoke_agent` | `run`, `execute_session` |
/// | checkpoints | `checkpointer(saver)` | `saver(saver)` | `storage(storage)` |
/// | a model, a tool | | `model(model)`, `tool(tool)` | |
///
/// Whose a run is, is said by the handler that runs it, whatever handler its nodes were wrapped with: a server wraps its
/// graph once, and makes a clone of the handler a request.
///
/// ```
/// use pandaprobe_langgraph::LangGraphHandler;
///
/// let handler = LangGraphHandler::new().tags(["production"]);
/// let for_ada = handler.clone().session_id("conversation-123").user_id("ada");
/// ```
#[derive(Clone, Debug, Default)]
pub struct LangGraphHandler {
    pub(crate) handler: Handler,
    pub(crate) run_name: Option<Arc<str>>,
    pub(crate) threads: Arc<Threads>,
}

impl LangGraphHandler {
    /// A handler that records with the current client, for whom scopes say. A run without a session has that of its
    /// thread.
    pub fn new() -> Self {
        Self::default()
    }

    pandaprobe_core::handler_methods!(handler);

    /// What runs are called, instead of `LangGraph` or the name that the graph was given.
    #[must_use]
    pub fn run_name(mut self, name: impl Into<String>) -> Self {
        self.run_name = Some(name.into().into());
        self
    }
}
