#![doc = include_str!("../README.md")]

mod handler;
mod layer;
mod tap;
mod usage;

pub use handler::OpenAiHandler;
pub use layer::{OpenAiLayer, OpenAiService};
