#![doc = include_str!("../README.md")]

pub use pandaprobe_core::*;

/// Traces `async-openai` clients (feature `openai`).
#[cfg(feature = "openai")]
pub mod openai {
    pub use pandaprobe_openai::*;
}
#[cfg(feature = "openai")]
pub use pandaprobe_openai::OpenAiHandler;
