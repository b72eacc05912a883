//! What goes over the wire: traces, spans and scores exactly as the PandaProbe API takes them.
//!
//! These types hold data and rules of form only: no I/O, no clock, no identity of their own.

mod ids;
mod messages;
mod score;
mod span;
mod time;
mod trace;
mod usage;

pub use ids::{InvalidId, MAX_ID_CHARS, SessionId, SpanId, TraceId, UserId};
pub use messages::{Messages, last_assistant, last_user};
pub use score::{Score, ScoreData, ScoreValue};
pub use span::{SpanData, SpanKind, SpanStatus};
pub use time::Timestamp;
pub use trace::{TraceData, TraceStatus, TraceUpdate};
pub use usage::{Cost, TokenUsage};

/// A JSON object: metadata and model parameters.
pub type Object = serde_json::Map<String, serde_json::Value>;
