//! What of a response's headers is recorded: an allow list, and nothing else.

use http::HeaderMap;
use serde_json::{Map, Value};

use crate::trace::Span;

/// Where OpenAI and others, Anthropic and Amazon put their id of a request.
const REQUEST_IDS: [&str; 3] = ["x-request-id", "request-id", "x-amzn-requestid"];

const RATE_LIMITS: [&str; 2] = ["x-ratelimit-", "anthropic-ratelimit-"];

/// Records the provider's id of the request, its processing time and what it says of rate limits.
pub(super) fn record(headers: &HeaderMap, span: &Span) {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(id) = REQUEST_IDS.iter().find_map(|name| text(name)) {
        span.set_metadata("request_id", id);
    }
    if let Some(time) = text("openai-processing-ms") {
        span.set_metadata("processing_ms", number(time));
    }
    let limits: Map<String, Value> = headers
        .iter()
        .filter_map(|(name, value)| {
            let what =
                RATE_LIMITS.iter().find_map(|prefix| name.as_str().strip_prefix(prefix))?.replace('-', "_");
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
