//! Bytes that become fields of a span on the assembler thread.

use bytes::Bytes;

use crate::model::{SpanData, Timestamp};

/// A piece of an HTTP exchange, as it passed by.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Piece {
    /// The request's body. It comes again for each attempt; the last one counts.
    Request(Bytes),
    /// The next part of a request's body that is sent in parts, cut anywhere.
    RequestPart(Bytes),
    /// The head of the response.
    Response {
        /// The status code.
        status: u16,
        /// The `content-type` header.
        content_type: Option<String>,
    },
    /// The next part of the response's body, cut anywhere.
    Body(Bytes),
    /// The response's body is complete.
    End,
}

impl Piece {
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Request(bytes) | Self::RequestPart(bytes) | Self::Body(bytes) => bytes.len(),
            Self::Response { content_type, .. } => content_type.as_ref().map_or(0, String::len),
            Self::End => 0,
        }
    }

    /// A small `Bytes` can pin a large buffer, so it is copied.
    pub(crate) fn unpinned(self) -> Self {
        const SMALL: usize = 4096;
        let unpinned = |bytes: Bytes| match bytes.len() < SMALL {
            true => Bytes::copy_from_slice(&bytes),
            false => bytes,
        };
        match self {
            Self::Request(bytes) => Self::Request(unpinned(bytes)),
            Self::RequestPart(bytes) => Self::RequestPart(unpinned(bytes)),
            Self::Body(bytes) => Self::Body(unpinned(bytes)),
            other => other,
        }
    }
}

/// Turns the pieces of an exchange into fields of a span. All of it happens on the client's assembler thread,
/// never on the thread that records. A panic is caught: the span then says so and goes on without.
pub trait Decode: Send + 'static {
    /// Takes the next piece, which passed by `at` that time.
    fn push(&mut self, piece: Piece, at: Timestamp);

    /// Writes what is known so far to `span`, which is sent while it is open. An `error` that it sets makes the span an error.
    fn describe(&self, span: &mut SpanData);

    /// Writes what is known to `span`, which has ended: nothing but [`Drop`] is called after this. Gives the steps that
    /// the answer tells of, such as tools that the provider ran: they become spans below this one. One that has no end
    /// ends with the span; its place is decided here.
    fn finish(&mut self, span: &mut SpanData) -> Vec<SpanData> {
        self.describe(span);
        Vec::new()
    }

    /// Whether the answer is a stream, so that a reader may stop before its end without that being an error.
    fn is_stream(&self) -> bool;

    /// Whether the answer is complete: its terminal event or its end was seen.
    fn is_terminal(&self) -> bool;

    /// Roughly how many bytes it holds.
    fn held_bytes(&self) -> usize;
}
