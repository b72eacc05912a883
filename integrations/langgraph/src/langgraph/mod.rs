//! Graphs, models and tools of `langgraph`.

mod model;
mod node;
mod run;
mod saver;
mod told;
mod tool;

pub use node::TracedEdge;
pub use run::TracedParts;
