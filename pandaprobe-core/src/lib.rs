#![doc = include_str!("../README.md")]

mod arguments;
mod capture;
mod client;
mod config;
mod context;
mod cut;
mod error_text;
#[cfg(feature = "wire")]
pub mod exchange;
mod exit;
mod export;
mod handler;
mod identity;
mod model;
mod pipeline;
mod report;
mod spool;
mod sync;
#[cfg(feature = "testing")]
pub mod testing;
mod trace;

#[cfg(feature = "redact")]
pub use capture::{InvalidRule, Redactor};
pub use capture::{Redact, Sampling};
pub use client::{
    Client, ClientGuard, Undelivered, anything_enabled as is_enabled, current_client, flush, flush_async,
    init, log_trace, score, shutdown, stats,
};
pub use config::{
    Config, ConfigError, DEFAULT_BATCH_SIZE, DEFAULT_CONNECT_TIMEOUT, DEFAULT_ENDPOINT,
    DEFAULT_FLUSH_INTERVAL, DEFAULT_LINGER, DEFAULT_MAX_BUFFERED_BYTES, DEFAULT_MAX_IN_FLIGHT,
    DEFAULT_MAX_PAYLOAD_BYTES, DEFAULT_MAX_QUEUE_SIZE, DEFAULT_MAX_SPOOL_BYTES, DEFAULT_MAX_TEXT_BYTES,
    DEFAULT_MAX_TRACE_AGE, DEFAULT_PROBE_INTERVAL, DEFAULT_RATE_LIMIT_WINDOW, DEFAULT_REQUEST_TIMEOUT,
    DEFAULT_RETRY_DEADLINE, DEFAULT_SHUTDOWN_TIMEOUT, DEFAULT_TOOL_LOOP_PATIENCE, Overflow,
};
pub use context::{
    CaptureTraces, DEFAULT_MAX_CAPTURED_TRACES, InCurrentScope, OpenScope, Scope, ScopeGuard, Scoped,
    StrayWork, TraceCapture, capture_traces, is_withheld, metadata, session, set_session, set_user, spawn,
    spawn_blocking, tag, tags, user,
};
pub use error_text::{ByDeref, ByError, ByText, ErrorText};
pub use exit::flush_on_panic;
#[cfg(feature = "signal")]
pub use exit::terminated;
pub use export::{
    ConsoleExporter, Envelope, ExportError, ExportFuture, Exporter, FileExporter, MemoryExporter, Payload,
    Tree,
};
pub use handler::{Handler, Run, RunId, TraceInfo};
pub use model::*;
pub use pipeline::{Decode, Piece};
pub use report::{DropReason, Report, ReportKind, Stats};
pub use trace::{
    JudgeItem, Outcome, Span, SpanBuilder, SpanStream, StepStream, Trace, TraceBuilder, TraceStream,
    Unjudged, Watched, catching, current_span, current_trace_id, span, trace, watched,
};

/// For the exported macros.
/// What the fuzz targets reach.
#[cfg(pandaprobe_fuzz)]
#[doc(hidden)]
pub mod fuzzing {
    pub use crate::spool::fuzz_segment as segment;
}

#[doc(hidden)]
pub mod __private {
    pub use crate::{
        arguments::*,
        error_text::text_of,
        trace::{
            Decorated, Judged, decorated_future, decorated_future_of_stream, decorated_run,
            decorated_run_of_stream, decorated_stream, never,
        },
    };
    pub use serde_json::Value;
}
