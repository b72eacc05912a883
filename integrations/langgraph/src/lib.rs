#![doc = include_str!("../README.md")]
#![cfg_attr(
    not(all(feature = "adk-graph", feature = "langgraph", feature = "graph-flow")),
    expect(dead_code, reason = "each runtime has events of its own")
)]

mod current;
mod gaps;
mod handler;
mod messages;
mod recorder;
mod step;
mod threads;
#[cfg(any(feature = "adk-graph", feature = "langgraph"))]
mod traced_node;
mod watch;

#[cfg(feature = "adk-graph")]
mod adk_graph;
#[cfg(feature = "graph-flow")]
mod graph_flow;
#[cfg(feature = "langgraph")]
mod langgraph;

#[cfg(feature = "adk-graph")]
pub use adk_graph::{TracedCheckpointer, TracedGraphStream};
pub use gaps::{GAPS, Gap};
#[cfg(feature = "graph-flow")]
pub use graph_flow::TracedFanOut;
pub use handler::LangGraphHandler;
#[cfg(feature = "langgraph")]
pub use langgraph::{TracedEdge, TracedParts};
#[cfg(any(feature = "adk-graph", feature = "langgraph"))]
pub use traced_node::TracedNode;

/// What a panic of another thread left is whole: nothing of the application's runs under these locks.
fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
