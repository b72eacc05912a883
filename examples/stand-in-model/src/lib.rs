//! A scripted stand-in for an OpenAI-compatible chat server, on loopback.
//!
//! The examples run against a real model when `OPENAI_API_KEY` is set and against this server otherwise, so that each
//! of them shows its traces on a machine without a key. The server speaks the chat completions protocol: blocking and
//! streamed answers, tool calls, usage, and errors in the shape the service sends them. What it answers is a function
//! of the conversation, given as a [`Model`].
//!
//! ```
//! use stand_in_model::{ChatRequest, Reply, StandInModel};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! let server = StandInModel::start(|request: &ChatRequest| {
//!     Reply::text(format!("You said: {}", request.last_user().unwrap_or("nothing")))
//! })
//! .await?;
//! assert!(server.base_url().ends_with("/v1"));
//! # Ok(())
//! # }
//! ```
#![expect(
    clippy::expect_used,
    reason = "without a loopback port or a thread no example can go on, and the message says which failed"
)]

mod endpoint;
mod model;
mod request;
mod server;
mod travel;
mod viewer;
mod wire;

pub use endpoint::{Endpoint, endpoint};
pub use model::{Model, Reply};
pub use request::{ChatRequest, Message, Tool, ToolCall, ToolResult};
pub use server::StandInModel;
pub use travel::Travel;
pub use viewer::viewer_hint;
