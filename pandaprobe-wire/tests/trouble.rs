//! Streams that go wrong, in each dialect whose answers are made of blocks or lines: refused, broken inside, cut off, refusing,
//! with choices that interleave, and long.

mod common;

use std::time::{Duration, Instant};

use common::{JSON, SSE, exchange_at, named_stream};
use pandaprobe_wire::{Exchange, LlmRecord};
use serde_json::{Value, json};

const NDJSON: Option<&str> = Some("application/x-ndjson");

/// A dialect: how a stream is asked for, how its pieces look, and how it says that something went wrong.
struct Dialect {
    path: &'static str,
    content_type: Option<&'static str>,
    text: fn(&str) -> Value,
    last: Vec<Value>,
    failure: Value,
    failed: &'static str,
    write: fn(&[Value]) -> Vec<u8>,
}

fn lines(events: &[Value]) -> Vec<u8> {
    events.iter().flat_map(|event| format!("{event}\n").into_bytes()).collect()
}

fn events(events: &[Value]) -> Vec<u8> {
    events.iter().flat_map(|event| format!("data: {event}\n\n").into_bytes()).collect()
}

fn dialects() -> Vec<Dialect> {
    let overloaded = json!({"type": "overloaded_error", "message": "Overloaded"});
    vec![
        Dialect {
            path: "/v1/messages",
            content_type: SSE,
            text: |text| json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}),
            last: vec![
                json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 3}}),
                json!({"type": "message_stop"}),
            ],
            failure: json!({"type": "error", "error": overloaded}),
            failed: "Overloaded (type: overloaded_error)",
            write: named_stream,
        },
        Dialect {
            path: "/v1beta/models/g:streamGenerateContent",
            content_type: SSE,
            text: |text| json!({"candidates": [{"index": 0, "content": {"role": "model", "parts": [{"text": text}]}}]}),
            last: vec![json!({"candidates": [{"index": 0, "finishReason": "STOP"}]})],
            failure: json!({"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}),
            failed: "The model is overloaded. (code: 503)",
            write: events,
        },
        Dialect {
            path: "/api/chat",
            content_type: NDJSON,
            text: |text| json!({"message": {"role": "assistant", "content": text}, "done": false}),
            last: vec![json!({"message": {"content": ""}, "done": true, "done_reason": "stop"})],
            failure: json!({"error": "an error was encountered while running the model"}),
            failed: "an error was encountered while running the model",
            write: lines,
        },
        Dialect {
            path: "/v2/chat",
            content_type: SSE,
            text: |text| json!({"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": text}}}}),
            last: vec![json!({"type": "message-end", "delta": {"finish_reason": "COMPLETE"}})],
            failure: json!({"type": "error", "error": {"message": "internal"}}),
            failed: "internal",
            write: events,
        },
    ]
}

fn read(dialect: &Dialect, body: &[u8], step: usize) -> LlmRecord {
    let request = br#"{"model":"m","stream":true}"#;
    exchange_at(dialect.path, request, 200, dialect.content_type, body.chunks(step)).record()
}

fn said(record: &LlmRecord) -> String {
    record.output.first().and_then(|message| message["content"].as_str()).unwrap_or_default().to_owned()
}

#[test]
fn an_error_inside_of_a_stream_ends_it_and_keeps_what_was_said() {
    for dialect in dialects() {
        let events = [(dialect.text)("Hel"), (dialect.text)("lo"), dialect.failure.clone()];
        let body = (dialect.write)(&events);
        for step in [1, 7, usize::MAX] {
            let record = read(&dialect, &body, step);
            let error = record.error.as_ref().map(ToString::to_string);
            assert_eq!(error.as_deref(), Some(dialect.failed), "{}", dialect.path);
            assert_eq!((said(&record).as_str(), record.terminal), ("Hello", true), "{}", dialect.path);
            assert!(record.notes.is_empty(), "{}: {:?}", dialect.path, record.notes);
        }
    }
}

#[test]
fn a_stream_cut_at_any_byte_keeps_what_came_and_says_so() {
    for dialect in dialects() {
        let texts = ["Hel", "lo ", "world"];
        let events: Vec<Value> =
            texts.iter().map(|text| (dialect.text)(text)).chain(dialect.last.clone()).collect();
        let body = (dialect.write)(&events);
        let whole = read(&dialect, &body, usize::MAX);
        assert_eq!((said(&whole).as_str(), whole.terminal), ("Hello world", true), "{}", dialect.path);
        let mut longest = 0;
        for cut in 0..body.len() {
            let record = read(&dialect, &body[..cut], 5);
            let said = said(&record);
            assert!("Hello world".starts_with(&said) && said.len() >= longest, "{} at {cut}", dialect.path);
            assert!(record.terminal || !record.notes.is_empty(), "{} at {cut}", dialect.path);
            longest = said.len();
        }
    }
}

#[test]
fn a_stream_that_is_refused_is_an_error_with_its_status() {
    for dialect in dialects() {
        for status in [400, 401, 429, 500, 502, 503, 529] {
            for (body, message) in [
                (dialect.failure.to_string(), dialect.failed),
                ("<html>Bad gateway</html>".to_owned(), "<html>Bad gateway</html>"),
            ] {
                let request = br#"{"model":"m","stream":true}"#;
                let exchange = exchange_at(dialect.path, request, status, JSON, body.as_bytes().chunks(3));
                let record = exchange.record();
                assert_eq!(record.error.map(|error| error.to_string()), Some(format!("{status}: {message}")));
                assert!(record.streaming && record.terminal && record.output.is_empty(), "{}", dialect.path);
            }
        }
    }
}

#[test]
fn candidates_that_interleave_are_told_apart() {
    let piece = |index: u64, text: &str, end: Option<&str>| json!({"candidates": [{"index": index, "content": {"parts": [{"text": text}]}, "finishReason": end}]});
    let events = [
        piece(0, "a", None),
        piece(1, "x", None),
        piece(0, "b", Some("STOP")),
        piece(1, "y", Some("MAX_TOKENS")),
    ];
    let request = br#"{"generationConfig":{"candidateCount":2},"contents":[]}"#;
    for kept in 1..=events.len() {
        let body = self::events(&events[..kept]);
        let path = "/v1/models/g:streamGenerateContent";
        let record = exchange_at(path, request, 200, SSE, body.chunks(9)).record();
        assert_eq!(record.terminal, kept == events.len(), "{kept} events");
        if record.terminal {
            assert_eq!((record.choices, record.finish_reason.as_deref()), (2, Some("STOP")));
            let texts: Vec<&Value> = record.output.iter().map(|message| &message["content"]).collect();
            assert_eq!(texts, ["ab", "xy"]);
        }
    }
}

#[test]
fn refusals_keep_the_providers_word() {
    let [claude, gemini, ..] = &dialects()[..] else {
        unreachable!("two dialects");
    };
    let stop = json!({"type": "message_delta", "delta": {"stop_reason": "refusal"}});
    let body = (claude.write)(&[(claude.text)("I"), stop, json!({"type": "message_stop"})]);
    assert_eq!(read(claude, &body, 4).finish_reason.as_deref(), Some("refusal"));
    let body = (gemini.write)(&[json!({"candidates": [{"index": 0, "finishReason": "SAFETY"}]})]);
    let record = read(gemini, &body, 4);
    assert_eq!((record.finish_reason.as_deref(), record.terminal), (Some("SAFETY"), true));
}

fn time(work: impl Fn()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

#[test]
fn long_streams_take_linear_time_and_bounded_memory() {
    for dialect in dialects() {
        let event = (dialect.write)(&[(dialect.text)("x")]);
        let run = |size: usize| {
            let mut exchange = Exchange::new(dialect.path, br#"{"stream":true}"#);
            exchange.start(200, dialect.content_type);
            let body = event.repeat(size / event.len());
            body.chunks(1000).for_each(|piece| {
                exchange.push(piece);
            });
            assert!(exchange.held_bytes() < size, "{}: {}", dialect.path, exchange.held_bytes());
            assert_eq!(said(&exchange.record()).len(), size / event.len(), "{}", dialect.path);
        };
        let small = time(|| run(1 << 20)).max(Duration::from_millis(2));
        let large = time(|| run(10 << 20));
        assert!(large < small * 30, "{}: 1 MiB {small:?}, 10 MiB {large:?}", dialect.path);
    }
}

#[test]
fn endless_streams_are_held_up_to_a_limit() {
    for dialect in dialects() {
        let mut exchange = Exchange::new(dialect.path, br#"{"stream":true}"#);
        exchange.start(200, dialect.content_type);
        let event = (dialect.write)(&[(dialect.text)(&"x".repeat(1 << 20))]);
        for _ in 0..40 {
            exchange.push(&event);
        }
        assert!(exchange.held_bytes() < 40 << 20, "{}: {}", dialect.path, exchange.held_bytes());
        let record = exchange.record();
        assert!(said(&record).len() <= 16 << 20, "{}", dialect.path);
        assert!(record.notes.iter().any(|note| note.contains("too long")), "{:?}", record.notes);
    }
}
