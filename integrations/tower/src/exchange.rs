//! A request and its response: the scope of both, and how the trace of both ends.

use std::panic::{AssertUnwindSafe, catch_unwind};

use http::{HeaderMap, Method, StatusCode, header::CONTENT_LENGTH};
use http_body::Body;
use pandaprobe_core::{OpenScope, Trace, catching};

/// The codes of gRPC that mean that the server failed, as the semantic conventions of OpenTelemetry have it.
const SERVER_ERRORS: [(&str, &str); 6] = [
    ("2", "UNKNOWN"),
    ("4", "DEADLINE_EXCEEDED"),
    ("12", "UNIMPLEMENTED"),
    ("13", "INTERNAL"),
    ("14", "UNAVAILABLE"),
    ("15", "DATA_LOSS"),
];

/// One request until its response was sent. Its trace ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Exchange {
    scope: OpenScope,
    trace: Option<Trace>,
    /// How the trace ends if nothing else happens.
    end: End,
    is_head: bool,
    /// The bytes that the body still owes, if it said how many it has.
    owed: Option<u64>,
}

#[derive(Debug)]
enum End {
    /// The response is not there yet.
    Cancelled,
    /// The response is there, and its body is not read yet.
    Left,
    Done,
    Failed(String),
    Panicked(Option<String>),
}

impl Exchange {
    pub(crate) fn new(scope: OpenScope, trace: Option<Trace>, method: &Method) -> Self {
        Self { scope, trace, end: End::Cancelled, is_head: *method == Method::HEAD, owed: None }
    }

    /// Runs a part of the request in its scope. If it panics, so did the request.
    pub(crate) fn run<T>(&mut self, f: impl FnOnce() -> T) -> T {
        let Self { scope, end, .. } = self;
        scope.run(|| catching(f, |message| *end = End::Panicked(message)))
    }

    /// The service answered; the body is still to be sent.
    pub(crate) fn answered(&mut self, status: StatusCode, headers: &HeaderMap, body: &impl Body) {
        if let Some(trace) = &self.trace {
            trace.set_metadata("http.status_code", status.as_u16());
        }
        self.end = if status.is_server_error() { End::Failed(status.to_string()) } else { End::Left };
        // A gRPC response without messages says there how the call ended.
        self.ended(headers);
        self.owed = announced(headers).or_else(|| body.size_hint().exact());
        if body.is_end_stream() || self.owed == Some(0) || self.has_no_body(status) {
            self.sent();
        }
    }

    /// The service or the body returned an error.
    pub(crate) fn failed(&mut self, error: impl ToString) {
        if !matches!(self.end, End::Failed(_) | End::Panicked(_)) {
            // Its text is the service's own code.
            let text = catch_unwind(AssertUnwindSafe(|| error.to_string()));
            self.end = End::Failed(text.unwrap_or_else(|_| "an error whose text panicked".to_owned()));
        }
    }

    /// So many bytes of the body were read. Servers do not read further once they have what was announced.
    pub(crate) fn read(&mut self, bytes: usize) {
        self.owed = self.owed.map(|owed| owed.saturating_sub(bytes as u64));
        if self.owed == Some(0) {
            self.sent();
        }
    }

    /// What comes after a body, and with gRPC says how the call ended, whatever the HTTP status.
    pub(crate) fn ended(&mut self, trailers: &HeaderMap) {
        let Some(code) = trailers.get("grpc-status").and_then(|code| code.to_str().ok()) else {
            return;
        };
        if let Some(trace) = &self.trace {
            trace.set_metadata("rpc.grpc.status_code", code);
        }
        if let Some((_, name)) = SERVER_ERRORS.iter().find(|(error, _)| *error == code) {
            self.failed(format_args!("gRPC status {code} {name}"));
        }
    }

    /// All of the body was read.
    pub(crate) fn sent(&mut self) {
        if matches!(self.end, End::Left) {
            self.end = End::Done;
        }
    }

    /// Whether servers drop the body of such a response unread.
    fn has_no_body(&self, status: StatusCode) -> bool {
        let never = [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED];
        self.is_head || status.is_informational() || never.contains(&status)
    }
}

/// How long the body is by the head of the response.
fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let Some(trace) = self.trace.take() else {
            return;
        };
        match std::mem::replace(&mut self.end, End::Done) {
            End::Panicked(message) => trace.panicked(message),
            _ if std::thread::panicking() => trace.panicked(None),
            End::Failed(error) => trace.fail(error),
            End::Cancelled => trace.cancel(),
            End::Left => trace.unread(),
            End::Done => trace.end(),
        }
    }
}
