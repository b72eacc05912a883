use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use axum::{body, extract::Request};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;

use crate::loopback::Connection;

/// A request as it arrived.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Recorded {
    /// `POST`, `GET` and so on.
    pub method: String,
    /// The path as sent, without the query.
    pub path: String,
    /// The query as sent, without its question mark.
    pub query: Option<String>,
    /// The headers in the order sent, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body as sent.
    pub body: Bytes,
    /// The body as JSON, if it is that.
    pub json: Option<Value>,
    /// When the whole request had arrived.
    pub at: Instant,
    /// The client's port: requests over one connection have the same.
    pub peer_port: u16,
    /// The status answered. `None` until then, and for good if the answer was none.
    pub status: Option<u16>,
    /// When the client closed the connection that carried the request, if it has.
    pub client_closed: Option<Instant>,
}

impl Recorded {
    /// The first header of this name, in any case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let (_, value) = headers.find(|(key, _)| key.eq_ignore_ascii_case(name))?;
        Some(value)
    }

    pub(crate) async fn read(request: Request, peer_port: u16) -> Self {
        let (parts, body) = request.into_parts();
        let body = body::to_bytes(body, usize::MAX).await.unwrap_or_default();
        let headers = parts.headers.iter().map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            (name.as_str().to_owned(), value)
        });
        Self {
            method: parts.method.to_string(),
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().map(str::to_owned),
            headers: headers.collect(),
            json: parse(&body),
            body,
            at: Instant::now(),
            peer_port,
            status: None,
            client_closed: None,
        }
    }
}

/// Deeper bodies are not parsed, for the sake of the stack. What the backend stores is nested less.
const MAX_PARSED_DEPTH: usize = 512;

/// The body as JSON. The parser's own limit, 128 levels, is below what the backend takes.
fn parse(body: &[u8]) -> Option<Value> {
    if depth(body) > MAX_PARSED_DEPTH {
        return None;
    }
    let mut parser = serde_json::Deserializer::from_slice(body);
    parser.disable_recursion_limit();
    let value = Value::deserialize(&mut parser).ok()?;
    parser.end().ok()?;
    Some(value)
}

/// How deep arrays and objects are nested, in a body of any kind.
fn depth(body: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut quoted, mut escaped) = (false, false);
    for byte in body {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'[' | b'{' if !quoted => depth += 1,
            b']' | b'}' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

/// Every request a server got, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Log {
    entries: Mutex<Vec<(Recorded, Arc<Connection>)>>,
}

impl Log {
    pub(crate) fn push(&self, recorded: Recorded, connection: Arc<Connection>) -> usize {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.push((recorded, connection));
        entries.len() - 1
    }

    pub(crate) fn answered(&self, index: usize, status: u16) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries[index].0.status = Some(status);
    }

    pub(crate) fn snapshot(&self) -> Vec<Recorded> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let current = entries.iter().map(|(recorded, connection)| Recorded {
            client_closed: connection.client_closed(),
            ..recorded.clone()
        });
        current.collect()
    }
}
