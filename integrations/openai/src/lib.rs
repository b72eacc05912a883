#![doc = include_str!("../README.md")]

mod decoder;
mod handler;
mod layer;
mod tap;

pub use handler::OpenAiHandler;
pub use layer::{OpenAiLayer, OpenAiService};
