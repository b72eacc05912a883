//! Any bytes give a record, in linear time.

mod common;

use std::time::{Duration, Instant};

use common::{JSON, PATH, SSE, answer, delta, exchange, request, stream};
use pandaprobe_wire::{Exchange, LlmRecord, Operation};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Text that looks like traffic, now and then.
fn traffic() -> impl Strategy<Value = Vec<u8>> {
    let token = prop::sample::select(vec![
        "data: ",
        "data:",
        "event: error",
        "\n\n",
        "\n",
        "\r\n",
        ": ",
        "[DONE]",
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\"choices\"",
        "\"delta\"",
        "\"message\"",
        "\"content\"",
        "\"error\"",
        "\"usage\"",
        "\"index\"",
        "\\ud800",
        "{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}",
        "null",
        "-1",
        "1e99",
        "NaN",
        "\u{feff}",
        "ż",
        " ",
        "<html>",
        "{\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":9,\"function\":{\"name\":\"f\",\"arguments\":{}}}]}}]}",
        "{\"error\":{\"message\":\"x\"}}",
    ]);
    let piece = prop_oneof![
        8 => token.prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..20),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

/// Values with the keys of a chat exchange and anything behind them.
fn chat_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z\u{0}ż]{0,6}".prop_map(Value::from),
    ];
    let key = prop::sample::select(vec![
        "choices",
        "delta",
        "message",
        "messages",
        "content",
        "tool_calls",
        "function",
        "name",
        "arguments",
        "index",
        "id",
        "role",
        "type",
        "text",
        "usage",
        "prompt_tokens",
        "completion_tokens_details",
        "error",
        "finish_reason",
        "refusal",
        "audio",
        "data",
        "images",
        "reasoning_details",
        "thinking",
        "image_url",
        "url",
        "model",
        "n",
        "stream",
        "x_groq",
    ]);
    leaf.prop_recursive(7, 64, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((key.clone(), inner), 0..5)
                .prop_map(|fields| fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
        ]
    })
}

fn run(
    path: &str,
    request: &[u8],
    status: u16,
    content_type: Option<&str>,
    body: &[u8],
    step: usize,
) -> LlmRecord {
    let mut exchange = Exchange::new(path, request);
    exchange.start(status, content_type);
    for piece in body.chunks(step) {
        exchange.push(piece);
    }
    exchange.end();
    exchange.record()
}

proptest! {
    #[test]
    fn any_bytes_give_the_same_record_in_any_pieces(
        request in traffic(), body in traffic(), status in prop::sample::select(vec![200_u16, 204, 301, 429, 500]),
        content_type in prop::sample::select(vec![None, JSON, SSE, Some("")]), path in prop::sample::select(vec![PATH, "/other"]),
        step in 1_usize..30,
    ) {
        let whole = run(path, &request, status, content_type, &body, usize::MAX);
        prop_assert_eq!(whole.status, Some(status));
        prop_assert!(whole.error.is_some() || (200..300).contains(&status));
        prop_assert_eq!(run(path, &request, status, content_type, &body, step), whole);
    }

    #[test]
    fn any_json_gives_a_record(request in chat_value(), first in chat_value(), second in chat_value()) {
        let wrapped = json!({"choices": [{"index": 0, "delta": first, "message": second}]});
        for value in [&first, &second, &wrapped] {
            let request = json!({"messages": [request]}).to_string();
            let body = value.to_string();
            let blocking = run(PATH, request.as_bytes(), 200, JSON, body.as_bytes(), 7);
            prop_assert_eq!(blocking.operation, Operation::Chat);
            prop_assert_eq!(blocking.input.len(), 1);
            let events = stream(&[value.clone(), wrapped.clone()]);
            let streamed = run(PATH, request.as_bytes(), 200, SSE, &events, 7);
            prop_assert!(streamed.terminal && streamed.output.len() == streamed.choices);
        }
    }
}

#[test]
fn calls_in_any_order_give_a_record() {
    let mut exchange = Exchange::new(PATH, b"");
    exchange.end();
    exchange.end();
    exchange.start(200, JSON);
    assert!(!exchange.push(b"{}").terminal);
    assert_eq!(exchange.record().notes, ["answer is empty"]);
}

fn time(work: impl Fn()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

fn assert_linear(work: impl Fn(usize)) {
    let small = time(|| work(3 << 20)).max(Duration::from_millis(2));
    let large = time(|| work(30 << 20));
    assert!(large < small * 30, "3 MiB: {small:?}, 30 MiB: {large:?}");
}

#[test]
fn a_large_blocking_answer_takes_linear_time() {
    assert_linear(|size| {
        let body = answer(json!({"content": "x".repeat(size)})).to_string();
        let record = exchange(&request(false), 200, JSON, body.as_bytes().chunks(8 << 10)).record();
        assert_eq!(record.output[0]["content"].as_str().map(str::len), Some(size));
    });
}

#[test]
fn one_line_in_many_pieces_takes_linear_time() {
    assert_linear(|size| {
        let body = stream(&[delta(0, json!({"content": "x".repeat(size / 3)}))]);
        let record = exchange(&request(true), 200, SSE, body.chunks(size >> 14)).record();
        assert_eq!(record.output[0]["content"].as_str().map(str::len), Some(size / 3));
    });
}

#[test]
fn a_stream_of_many_events_takes_linear_time() {
    assert_linear(|size| {
        let event = format!("data: {}\n\n", delta(0, json!({"content": "x"})));
        let body = event.repeat(size / event.len());
        let record = exchange(&request(true), 200, SSE, body.as_bytes().chunks(1000)).record();
        assert_eq!(record.output[0]["content"].as_str().map(str::len), Some(size / event.len()));
    });
}

#[test]
fn white_space_before_an_answer_is_not_held() {
    let mut exchange = Exchange::new(PATH, &request(false));
    exchange.start(200, JSON);
    for _ in 0..100_000 {
        exchange.push(b"\n \n");
    }
    assert!(exchange.held_bytes() < 10_000, "{}", exchange.held_bytes());
    exchange.push(answer(json!({"content": "a"})).to_string().as_bytes());
    exchange.end();
    assert_eq!(exchange.record().output[0]["content"], "a");
}
