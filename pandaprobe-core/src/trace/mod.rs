//! Live handles on traces and spans. They end on every exit: return, error, panic, cancelled future.

mod decorated;
mod ending;
mod handle;
mod place;
mod span;
mod stream;

pub use decorated::{
    Decorated, Judged, decorated_future, decorated_future_of_stream, decorated_run, decorated_run_of_stream,
    decorated_stream, never,
};
pub use ending::{Outcome, Watched, catching, watched};
pub use handle::{Trace, TraceBuilder, current_trace_id, trace};
pub(crate) use place::{Alone, Opening};
pub use span::{Span, SpanBuilder, current_span, span};
pub use stream::{JudgeItem, SpanStream, StepStream, TraceStream, Unjudged};
