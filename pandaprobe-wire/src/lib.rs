#![doc = include_str!("../README.md")]

mod anthropic;
mod calls;
mod cohere;
mod content;
mod counts;
mod dialect;
mod envelope;
mod error;
mod exchange;
mod fields;
mod frames;
mod gemini;
mod json;
mod limits;
mod media;
mod message;
mod ollama;
mod openai;
mod operation;
mod parts;
mod record;
mod reply;
pub mod sse;
mod stream;
mod summary;
mod texts;
mod turn;
mod values;
mod whole;

pub use exchange::{Exchange, Progress};
pub use limits::{MAX_BODY, MAX_TEXT, MAX_UNKNOWN_BODY};
pub use operation::Operation;
pub use record::{LlmRecord, ToolItem, Usage, WireError};
