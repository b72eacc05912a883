//! Graphs of `adk-graph`: nodes and edges are wrapped with the graph that is built, runs where they are started.

mod checkpoint;
mod node;
mod run;

use std::sync::Arc;

use adk_graph::{Edge, EdgeTarget, Interrupt, State, StateGraph};
pub use checkpoint::TracedCheckpointer;
use pandaprobe_core::catching;
pub use run::TracedGraphStream;
use serde_json::{Value, json};

use crate::{LangGraphHandler, TracedNode, current::Here};
use node::AnyNode;

type Router = Arc<dyn Fn(&State) -> String + Send + Sync>;

impl LangGraphHandler {
    /// The same graph, with each call of its nodes and each question to its conditional edges traced. Call it when all nodes
    /// and edges are there, before `compile`.
    ///
    /// The graph inside of a `SubgraphNode` is compiled already: wrap it when you build it.
    ///
    /// ```
    /// use adk_graph::{END, NodeOutput, START, StateGraph, ExecutionConfig, State};
    /// use pandaprobe_langgraph::LangGraphHandler;
    ///
    /// # async fn example() -> Result<(), adk_graph::GraphError> {
    /// let handler = LangGraphHandler::new();
    /// let graph = StateGraph::with_channels(&["answer"])
    ///     .add_node_fn("think", |_| async { Ok(NodeOutput::new().with_update("answer", 42)) })
    ///     .add_edge(START, "think")
    ///     .add_edge("think", END);
    /// let graph = handler.graph(graph).compile()?;
    ///
    /// let handler = handler.user_id("user-abc"); // a clone a request
    /// let state = handler.invoke(&graph, State::new(), ExecutionConfig::new("conversation-123")).await?;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn graph(&self, mut graph: StateGraph) -> StateGraph {
        for (name, node) in &mut graph.nodes {
            *node = Arc::new(TracedNode {
                node: AnyNode(Arc::clone(node)),
                handler: self.handler.clone(),
                next: plain_edges(&graph.edges, name),
            });
        }
        for (index, edge) in graph.edges.iter_mut().enumerate() {
            if let Edge::Conditional { source, router, .. } = edge {
                *router = traced_router(index, source.as_str().into(), Arc::clone(router));
            }
        }
        graph
    }
}

/// Where plain edges lead from a node. A node that has conditional ones is asked where it leads.
fn plain_edges(edges: &[Edge], name: &str) -> Option<Arc<[String]>> {
    let mut next = Vec::new();
    for edge in edges {
        match edge {
            Edge::Direct { source, target } if source == name => next.push(match target {
                EdgeTarget::Node(target) => target.clone(),
                EdgeTarget::End => adk_graph::END.to_owned(),
            }),
            _ => {}
        }
    }
    (!next.is_empty()).then(|| next.into())
}

fn traced_router(index: usize, source: Arc<str>, router: Router) -> Router {
    Arc::new(move |state| {
        let Some(here) = Here::current().filter(|here| here.parent.is_recorded()) else {
            return router(state);
        };
        let at = here.parent.id();
        if !here.run.is_asked_first(at, &source, index) {
            return router(state);
        }
        let span = here.run.edge(&here.parent, &source, object(state));
        let chosen = catching(|| span.run(|| router(state)), |message| span.clone().panicked(message));
        span.set_output(chosen.clone());
        span.end();
        chosen
    })
}

fn object(state: &State) -> Value {
    Value::Object(state.iter().map(|(key, value)| (key.clone(), value.clone())).collect())
}

fn interrupt_value(interrupt: &Interrupt) -> Value {
    match interrupt {
        Interrupt::Before(node) => json!({"before": node}),
        Interrupt::After(node) => json!({"after": node}),
        Interrupt::Dynamic { message, data: None } => json!({"message": message}),
        Interrupt::Dynamic { message, data: Some(data) } => json!({"message": message, "data": data}),
    }
}
