//! Live handles on traces and spans. They end on every exit: return, error, panic, cancelled future.

mod ending;
mod place;
mod span;
mod trace;

pub use ending::{Outcome, Watched, watched};
pub(crate) use place::{Alone, Opening, told};
pub use span::{Span, SpanBuilder, current_span, span};
pub use trace::{Trace, TraceBuilder, current_trace_id, trace};
