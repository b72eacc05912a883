#![doc = include_str!("../README.md")]

mod agent;
mod handler;
mod hook;
mod http;
mod index;
mod message;
mod model_calls;
mod place;
mod request;
mod run;
mod runner;
mod tool;

pub use agent::{BuildTraced, Traced, TracedAgent};
pub use handler::RigHandler;
pub use http::TracedHttp;
pub use index::TracedIndex;
pub use place::TracedRun;
pub use runner::{TracedRunner, TracedStream};
