#![doc = include_str!("../README.md")]

mod decoder;
mod handler;
mod headers;
mod layer;
mod tap;
mod tool;
mod usage;

pub use handler::OpenAiHandler;
pub use layer::{OpenAiLayer, OpenAiService};
