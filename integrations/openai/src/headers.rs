//! What of a response's headers is recorded: an allow list, and nothing else.

use http::HeaderMap;
use pandaprobe_core::Span;
use serde_json::{Map, Value};

const RATE_LIMIT: &str = "x-ratelimit-";

/// Records the provider's id of the request, its processing time and what it says of rate limits.
pub(crate) fn record(headers: &HeaderMap, span: &Span) {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(id) = text("x-request-id") {
        span.set_metadata("request_id", id);
    }
    if let Some(time) = text("openai-processing-ms") {
        span.set_metadata("processing_ms", number(time));
    }
    let limits: Map<String, Value> = headers
        .iter()
        .filter_map(|(name, value)| {
            let what = name.as_str().strip_prefix(RATE_LIMIT)?.replace('-', "_");
            Some((what, number(value.to_str().ok()?)))
        })
        .collect();
    if !limits.is_empty() {
        span.set_metadata("rate_limit", limits);
    }
}

fn number(text: &str) -> Value {
    text.parse::<u64>().map_or_else(|_| text.into(), Value::from)
}
