//! Where finished traces go: the trait [`Exporter`] and its implementations.

use std::{fmt, future::Future, pin::Pin, time::Duration};

use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use uuid::Uuid;

use crate::model::{ScoreData, SpanData, TraceData, TraceId, TraceUpdate};

mod console;
mod file;
mod http;
mod memory;
pub(crate) mod retry;
mod tree;
mod window;

pub use console::ConsoleExporter;
pub use file::FileExporter;
pub(crate) use http::HttpExporter;
pub use memory::MemoryExporter;
pub use tree::Tree;

/// Takes finished items to where they belong.
///
/// The client calls it from a thread of its own, inside a single-threaded tokio runtime, with up to four items
/// at once but never two of one trace. A panic in it is caught and counts as a failed attempt. An exporter that
/// blocks holds up only delivery, never the application.
pub trait Exporter: Send + Sync + 'static {
    /// Tries once to deliver `envelope`.
    fn export<'a>(&'a self, envelope: &'a Envelope) -> ExportFuture<'a>;
}

/// The future of one attempt to deliver.
pub type ExportFuture<'a> = Pin<Box<dyn Future<Output = Result<(), ExportError>> + Send + 'a>>;

/// Why an attempt failed, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// It may work later.
    #[error("{message}")]
    Retry {
        /// What happened.
        message: String,
        /// How long to wait at least.
        after: Option<Duration>,
        /// It is not about this item. So everything waits for as long as `after` says, or else once several attempts in a
        /// row have failed so.
        everything: bool,
    },
    /// Whoever asks is refused: a key that is wrong, a quota that is used up. Everything waits until an attempt gets
    /// through, and one is made each [`probe_interval`](crate::Config::probe_interval).
    #[error("{message}")]
    Denied {
        /// What happened.
        message: String,
    },
    /// It is too long. Parts of it may be taken, so it is split, or its texts cut.
    #[error("{message}")]
    TooLong {
        /// What happened.
        message: String,
    },
    /// It will never work.
    #[error("{message}")]
    Rejected {
        /// What happened.
        message: String,
    },
}

/// What an envelope holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Payload {
    /// A trace with up to 500 spans: [`TraceData`].
    Trace,
    /// Further spans of a trace that was sent before: a list of [`SpanData`].
    Spans,
    /// A change to a trace that was sent before: [`TraceUpdate`].
    Update,
    /// A score of a trace: [`ScoreData`].
    Score,
}

/// One item on its way: the exact bytes that the PandaProbe API takes, and what they are.
#[derive(Clone)]
pub struct Envelope {
    payload: Payload,
    trace_id: TraceId,
    request_id: Uuid,
    body: Bytes,
    /// A process that is gone may have sent it.
    is_inherited: bool,
}

impl Envelope {
    pub(crate) fn new(payload: Payload, trace_id: TraceId, body: Bytes) -> Self {
        Self::again(payload, trace_id, Uuid::new_v4(), body, false)
    }

    /// One that was made before.
    pub(crate) fn again(
        payload: Payload,
        trace_id: TraceId,
        request_id: Uuid,
        body: Bytes,
        is_inherited: bool,
    ) -> Self {
        Self { payload, trace_id, request_id, body, is_inherited }
    }

    /// The same, without what it holds.
    pub(crate) fn without_body(&self) -> Self {
        Self { body: Bytes::new(), ..self.clone() }
    }

    pub(crate) fn is_inherited(&self) -> bool {
        self.is_inherited
    }

    /// What the envelope holds.
    pub fn payload(&self) -> Payload {
        self.payload
    }

    /// The trace it is about.
    pub fn trace_id(&self) -> TraceId {
        self.trace_id
    }

    /// An id of this item, the same in each attempt to deliver it.
    pub fn request_id(&self) -> Uuid {
        self.request_id
    }

    /// The JSON, UTF-8.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The trace, if that is what it holds.
    pub fn trace(&self) -> Option<TraceData> {
        self.parse(Payload::Trace)
    }

    /// The spans, if that is what it holds.
    pub fn spans(&self) -> Option<Vec<SpanData>> {
        self.parse(Payload::Spans)
    }

    /// The update, if that is what it holds.
    pub fn update(&self) -> Option<TraceUpdate> {
        self.parse(Payload::Update)
    }

    /// The score, if that is what it holds.
    pub fn score(&self) -> Option<ScoreData> {
        self.parse(Payload::Score)
    }

    fn parse<T: DeserializeOwned>(&self, payload: Payload) -> Option<T> {
        let parse = || {
            let mut json = serde_json::Deserializer::from_slice(&self.body);
            // Depth was limited when the body was made, but above what serde_json takes by default.
            json.disable_recursion_limit();
            T::deserialize(&mut json).ok()
        };
        (self.payload == payload).then(parse).flatten()
    }
}

/// The content is not shown: it is the application's.
impl fmt::Debug for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Envelope")
            .field("payload", &self.payload)
            .field("trace_id", &self.trace_id)
            .field("bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// Both get everything. It counts as delivered when both took it; when one failed, both see it again.
impl<A: Exporter, B: Exporter> Exporter for (A, B) {
    fn export<'a>(&'a self, envelope: &'a Envelope) -> ExportFuture<'a> {
        Box::pin(async move {
            let first = self.0.export(envelope).await;
            let second = self.1.export(envelope).await;
            // What one of them may still take is worth another try.
            match (first, second) {
                (Err(ExportError::Rejected { .. }), Err(other)) => Err(other),
                (first, second) => first.and(second),
            }
        })
    }
}

pub(crate) fn done<'a>(result: Result<(), ExportError>) -> ExportFuture<'a> {
    Box::pin(std::future::ready(result))
}
