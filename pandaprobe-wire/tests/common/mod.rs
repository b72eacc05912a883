//! Helpers of the exchange tests.
#![expect(dead_code, reason = "each test binary uses some of them")]

use pandaprobe_wire::{Exchange, LlmRecord};
use serde_json::{Value, json};

pub(crate) const PATH: &str = "/v1/chat/completions";
pub(crate) const RESPONSES: &str = "/v1/responses";
pub(crate) const EMBEDDINGS: &str = "/v1/embeddings";
pub(crate) const COMPLETIONS: &str = "/v1/completions";
pub(crate) const IMAGES: &str = "/v1/images/generations";
pub(crate) const SPEECH: &str = "/v1/audio/speech";
pub(crate) const TRANSCRIPTIONS: &str = "/v1/audio/transcriptions";
pub(crate) const MODERATIONS: &str = "/v1/moderations";
pub(crate) const JSON: Option<&str> = Some("application/json; charset=utf-8");
pub(crate) const SSE: Option<&str> = Some("text/event-stream; charset=utf-8");

pub(crate) fn request(stream: bool) -> Vec<u8> {
    let body = json!({"model": "m", "stream": stream, "messages": [{"role": "user", "content": "hi"}]});
    body.to_string().into_bytes()
}

/// The record of an exchange whose answer arrives in one piece.
pub(crate) fn record(request: &[u8], status: u16, content_type: Option<&str>, body: &[u8]) -> LlmRecord {
    exchange(request, status, content_type, [body]).record()
}

/// An exchange that has ended.
pub(crate) fn exchange<'a>(
    request: &[u8],
    status: u16,
    content_type: Option<&str>,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Exchange {
    exchange_at(PATH, request, status, content_type, pieces)
}

/// An exchange with any endpoint that has ended.
pub(crate) fn exchange_at<'a>(
    path: &str,
    request: &[u8],
    status: u16,
    content_type: Option<&str>,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Exchange {
    let mut exchange = Exchange::new(path, request);
    exchange.start(status, content_type);
    for piece in pieces {
        exchange.push(piece);
    }
    exchange.end();
    exchange
}

pub(crate) fn blocking(answer: &Value) -> LlmRecord {
    record(&request(false), 200, JSON, answer.to_string().as_bytes())
}

pub(crate) fn streamed(events: &[Value]) -> LlmRecord {
    record(&request(true), 200, SSE, &stream(events))
}

/// The request messages, normalised.
pub(crate) fn input(messages: Value) -> Vec<Value> {
    record(json!({"messages": messages}).to_string().as_bytes(), 200, JSON, b"{}").input
}

/// The bytes of an event stream with its `[DONE]`.
pub(crate) fn stream(events: &[Value]) -> Vec<u8> {
    let events: String = events.iter().map(|event| format!("data: {event}\n\n")).collect();
    (events + "data: [DONE]\n\n").into_bytes()
}

/// A chunk with one delta.
pub(crate) fn delta(index: u64, delta: Value) -> Value {
    json!({"id": "r-1", "model": "m-1", "choices": [{"index": index, "delta": delta, "finish_reason": null}]})
}

pub(crate) fn finish(index: u64, reason: &str) -> Value {
    json!({"model": "m-1", "choices": [{"index": index, "delta": {}, "finish_reason": reason}]})
}

/// A blocking answer with one message.
pub(crate) fn answer(message: Value) -> Value {
    json!({"id": "r-1", "model": "m-1", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})
}

/// The record of a blocking exchange with any endpoint.
pub(crate) fn blocking_at(path: &str, request: &Value, answer: &Value) -> LlmRecord {
    let (request, answer) = (request.to_string(), answer.to_string());
    exchange_at(path, request.as_bytes(), 200, JSON, [answer.as_bytes()]).record()
}

/// The bytes of an event stream as Responses has it: named events and no `[DONE]`.
pub(crate) fn named_stream(events: &[Value]) -> Vec<u8> {
    let name = |event: &Value| event["type"].as_str().unwrap_or_default().to_owned();
    let events = events.iter().map(|event| format!("event: {}\ndata: {event}\n\n", name(event)));
    events.collect::<String>().into_bytes()
}

/// The record of an exchange whose answer is an event stream of Responses' form.
pub(crate) fn streamed_at(path: &str, request: &Value, events: &[Value]) -> LlmRecord {
    exchange_at(path, request.to_string().as_bytes(), 200, SSE, [&named_stream(events)[..]]).record()
}

/// Asserts that a stream gives one record however it is cut in two, or in bytes, and that a part of it gives
/// neither an error nor an end before `last`.
pub(crate) fn assert_cuts(path: &str, request: &Value, body: &[u8], last: &str) {
    let request = request.to_string();
    let read = |pieces: Vec<&[u8]>| exchange_at(path, request.as_bytes(), 200, SSE, pieces).record();
    let whole = read(vec![body]);
    assert!(whole.terminal && whole.streaming && whole.error.is_none() && whole.notes.is_empty());
    let last = body.windows(last.len()).rposition(|window| window == last.as_bytes()).unwrap_or(body.len());
    for at in 0..=body.len() {
        let (head, tail) = body.split_at(at);
        assert_eq!(read(vec![head, tail]), whole, "cut at {at}");
        let part = read(vec![head]);
        assert!(part.error.is_none() && (at > last || !part.terminal), "ends at {at}");
    }
    assert_eq!(read(body.chunks(1).collect()), whole);
}

/// The most bytes held while `pieces` are pushed.
pub(crate) fn most_held<'a>(exchange: &mut Exchange, pieces: impl IntoIterator<Item = &'a [u8]>) -> usize {
    let held = |piece| {
        exchange.push(piece);
        exchange.held_bytes()
    };
    pieces.into_iter().map(held).max().unwrap_or_default()
}

/// An object without some of its fields.
pub(crate) fn without(object: &Value, keys: &[&str]) -> Value {
    let fields = object.as_object().into_iter().flatten();
    let kept = fields.filter(|(key, _)| !keys.contains(&key.as_str()));
    kept.map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// The record of a body, which is the same in pieces of any size.
pub(crate) fn same(path: &str, request: &Value, content_type: Option<&str>, body: &[u8]) -> LlmRecord {
    let request = request.to_string();
    let read = |step| exchange_at(path, request.as_bytes(), 200, content_type, body.chunks(step)).record();
    let whole = read(usize::MAX);
    for step in [1, 2, 3, 7, 64] {
        assert_eq!(read(step), whole, "pieces of {step}");
    }
    assert!(whole.terminal && whole.notes.is_empty(), "{:?}", whole.notes);
    whole
}
