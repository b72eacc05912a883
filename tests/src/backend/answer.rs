use std::time::Duration;

use serde_json::json;

/// What the backend does with a request.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Answer {
    /// What the real backend does.
    Normal,
    /// This answer, with nothing stored. After a 500 the connection is closed without being announced, as there.
    Status {
        /// The status.
        code: u16,
        /// The headers, besides those of HTTP itself.
        headers: Vec<(String, String)>,
        /// The body.
        body: Vec<u8>,
    },
    /// No answer and nothing stored: the connection stays open until the client closes it.
    Hang,
    /// No answer and nothing stored: the connection is reset.
    Reset,
    /// No answer of HTTP and nothing stored: some other bytes, and the connection is closed.
    Garbage,
    /// The request is carried out, and the answer lost: the connection is reset instead.
    StoreThenReset,
    /// The request is carried out at once, and the answer sent this much later.
    Slow(Duration),
    /// The normal answer, with nothing stored: what the real backend does to a payload its database refuses.
    AckThenForget,
}

impl Answer {
    /// A status with an empty body.
    #[must_use]
    pub fn status(code: u16) -> Self {
        Self::Status { code, headers: Vec::new(), body: Vec::new() }
    }

    /// A status with a JSON body.
    #[must_use]
    pub fn json(code: u16, body: &serde_json::Value) -> Self {
        Self::Status {
            code,
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            body: body.to_string().into_bytes(),
        }
    }

    /// The plain-text 500 of an unhandled error.
    #[must_use]
    pub fn internal_error() -> Self {
        Self::Status {
            code: 500,
            headers: vec![("content-type".to_owned(), "text/plain; charset=utf-8".to_owned())],
            body: b"Internal Server Error".to_vec(),
        }
    }

    /// The 429 of the rate limit, worth a retry.
    #[must_use]
    pub fn rate_limited() -> Self {
        Self::json(429, &json!({"error": "Rate limit exceeded: 100 per 1 minute"}))
    }

    /// The 429 of an exhausted plan, not worth a retry.
    #[must_use]
    pub fn over_quota() -> Self {
        Self::json(429, &json!({"detail": "The traces limit of this plan is reached."}))
    }

    /// The same answer with this header. Without effect on answers without a status of their own.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        if let Self::Status { headers, .. } = &mut self {
            headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }
}
