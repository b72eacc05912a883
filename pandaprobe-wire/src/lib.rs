#![doc = include_str!("../README.md")]

mod calls;
mod content;
mod dialect;
mod error;
mod exchange;
mod json;
mod limits;
mod media;
mod message;
mod openai;
mod operation;
mod record;
pub mod sse;
mod stream;
mod whole;

pub use exchange::{Exchange, Progress};
pub use limits::{MAX_BODY, MAX_TEXT, MAX_UNKNOWN_BODY};
pub use operation::Operation;
pub use record::{LlmRecord, ToolItem, Usage, WireError};
