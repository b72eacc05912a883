//! The node of a graph that is traced, of whichever runtime.

use std::{fmt, sync::Arc};

use pandaprobe_core::Handler;

use crate::LangGraphHandler;

/// A node, with each of its calls traced. Made by [`LangGraphHandler::node`].
///
/// It is a node of the runtime that the node inside is one of: a `Node` of `adk-graph`, an `IntoNodeFunction` of
/// `langgraph`.
pub struct TracedNode<N> {
    pub(crate) node: N,
    pub(crate) handler: Handler,
    /// The nodes to which plain edges lead, where the graph said so.
    pub(crate) next: Option<Arc<[String]>>,
}

impl LangGraphHandler {
    /// The same node, with each call of it traced: an AGENT span with the state it got and what it wrote. What it records is
    /// below, also what wrapped models, agents and `#[span]` functions do.
    ///
    /// The span is a part of the run that calls the node, whosever that is. A node that is called outside of a run that is
    /// traced is recorded by this handler.
    ///
    /// `graph.add_node(handler.node(node))` for `adk-graph`, `graph.add_node("name", handler.node(action))` for
    /// `langgraph`.
    pub fn node<N>(&self, node: N) -> TracedNode<N> {
        TracedNode { node, handler: self.handler.clone(), next: None }
    }
}

impl<N> fmt::Debug for TracedNode<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TracedNode").field("handler", &self.handler).finish_non_exhaustive()
    }
}
