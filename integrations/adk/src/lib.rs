#![doc = include_str!("../README.md")]

mod agent;
mod answer;
mod follow;
mod handler;
mod last_said;
mod llm;
mod message;
mod place;
mod request;
mod run;
mod runner;
mod step;
mod tool;

pub use handler::AdkHandler;
pub use runner::{TracedInvocation, TracedRunner};
