#![doc = include_str!("../README.md")]

mod agent;
mod handler;
mod hook;
mod http;
mod index;
mod message;
mod model_calls;
mod request;
mod run;
mod tool;

pub use agent::{BuildTraced, Traced, TracedAgent};
pub use handler::RigHandler;
pub use http::TracedHttp;
pub use index::TracedIndex;
