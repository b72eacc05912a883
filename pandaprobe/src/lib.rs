// The README's examples need these features.
#![cfg_attr(all(feature = "adk-graph", feature = "http", feature = "local", feature = "macros", feature = "openai", feature = "redact", feature = "rig", feature = "testing", feature = "tower"), doc = include_str!("../README.md"))]
#![cfg_attr(
    not(all(
        feature = "adk-graph",
        feature = "http",
        feature = "local",
        feature = "macros",
        feature = "openai",
        feature = "redact",
        feature = "rig",
        feature = "testing",
        feature = "tower"
    )),
    doc = "Tracing for LLM agents: sessions, users, LLM calls and tool steps, delivered to PandaProbe."
)]

pub use pandaprobe_core::*;

#[cfg(all(doc, feature = "testing"))]
#[path = "guide.rs"]
pub mod _guide;

/// Traces runs, agents, models and tools of adk-rust (feature `adk`).
#[cfg(feature = "adk")]
pub mod adk {
    pub use pandaprobe_adk::*;
}
#[cfg(feature = "adk")]
pub use pandaprobe_adk::AdkHandler;

/// Traces the calls of model providers that pass through an HTTP client: `reqwest` or a `tower` stack (feature `http`).
#[cfg(feature = "http")]
pub mod http {
    pub use pandaprobe_http::*;
}
#[cfg(feature = "http")]
pub use pandaprobe_http::HttpHandler;

/// Traces graphs (features `adk-graph`, `langgraph` and `graph-flow`, for the runtime of that name).
#[cfg(any(feature = "adk-graph", feature = "graph-flow", feature = "langgraph"))]
pub mod langgraph {
    pub use pandaprobe_langgraph::*;
}
#[cfg(any(feature = "adk-graph", feature = "graph-flow", feature = "langgraph"))]
pub use pandaprobe_langgraph::LangGraphHandler;

/// A store of traces on this machine (feature `local`): [`exporter`](local::exporter) writes into its file, and the program
/// `pandaprobe-local` shows them.
#[cfg(feature = "local")]
pub mod local {
    pub use pandaprobe_local::*;
}

/// Traces `async-openai` clients (feature `openai`).
#[cfg(feature = "openai")]
pub mod openai {
    pub use pandaprobe_openai::*;
}
#[cfg(feature = "openai")]
pub use pandaprobe_openai::OpenAiHandler;

/// Traces agents, models and indexes of `rig` (feature `rig`).
#[cfg(feature = "rig")]
pub mod rig {
    pub use pandaprobe_rig::*;
}
#[cfg(feature = "rig")]
pub use pandaprobe_rig::RigHandler;

/// A scope, and if wanted a trace, for each request of a tower service such as axum's (feature `tower`).
#[cfg(feature = "tower")]
pub mod tower {
    pub use pandaprobe_tower::*;
}
#[cfg(feature = "macros")]
pub use pandaprobe_macros::{span, trace};
#[cfg(feature = "tower")]
pub use pandaprobe_tower::PandaProbeLayer;
