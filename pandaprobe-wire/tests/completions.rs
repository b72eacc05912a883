//! Legacy completions.

mod common;

use common::{COMPLETIONS, JSON, SSE, assert_cuts, blocking_at, exchange_at, stream, without};
use pandaprobe_wire::{Exchange, Operation};
use serde_json::{Value, json};

fn choice(index: u64, text: &str, finish: Value) -> Value {
    json!({"index": index, "text": text, "logprobs": null, "finish_reason": finish})
}

fn chunk(choices: Vec<Value>) -> Value {
    json!({"id": "cmpl-1", "object": "text_completion", "model": "m-1", "choices": choices})
}

fn input(request: Value) -> Value {
    json!(blocking_at(COMPLETIONS, &request, &json!({})).input)
}

/// Two choices and their usage.
fn rich_stream() -> Vec<u8> {
    stream(&[
        chunk(vec![choice(0, "Once ż", Value::Null)]),
        chunk(vec![choice(1, "Twi", Value::Null)]),
        chunk(vec![choice(0, " upon", json!("length"))]),
        chunk(vec![choice(1, "ce", json!("stop"))]),
        json!({"model": "m-1", "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}}),
    ])
}

#[test]
fn the_operation_is_told_by_the_path() {
    for path in ["/v1/completions", "/openai/deployments/x/completions?api-version=1", "completions/"] {
        assert_eq!(Operation::detect(path), Operation::Completions, "{path}");
    }
    assert_eq!(Operation::detect("/v1/chat/completions"), Operation::Chat);
    for path in ["/v1/completions/x", "/v1/mycompletions"] {
        assert_eq!(Operation::detect(path), Operation::Unknown, "{path}");
    }
    let chat = br#"{"messages":[{"role":"user","content":"hi"}]}"#;
    assert_eq!(Exchange::new(COMPLETIONS, chat).record().operation, Operation::Completions);
    assert_eq!(json!(Operation::Completions), "completions");
}

#[test]
fn every_field_is_read() {
    let request = json!({"model": "m", "prompt": "Say", "suffix": "s", "max_tokens": 7, "temperature": 0.5, "top_p": 0.1,
        "n": 2, "logprobs": 1, "echo": false, "stop": ["\n"], "presence_penalty": 0, "frequency_penalty": 1,
        "best_of": 3, "seed": 1, "user": "u", "logit_bias": {}});
    let mut answer = chunk(vec![choice(0, "a", json!("stop")), choice(1, "b", json!("length"))]);
    answer["usage"] = json!({"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3});
    let record = blocking_at(COMPLETIONS, &request, &answer);
    assert_eq!(json!(record.input), json!([{"role": "user", "content": "Say"}]));
    let message = |text: &str| json!({"role": "assistant", "content": text});
    assert_eq!(record.output, [message("a"), message("b")]);
    assert_eq!((record.choices, record.finish_reason.as_deref()), (2, Some("stop")));
    assert_eq!(record.response_id.as_deref(), Some("cmpl-1"));
    assert_eq!(record.model_requested.as_deref(), Some("m"));
    assert_eq!(record.model_responded.as_deref(), Some("m-1"));
    assert_eq!(record.usage.and_then(|usage| usage.total_tokens), Some(3));
    assert_eq!(json!(record.parameters), without(&request, &["model", "prompt", "user", "logit_bias"]));
    assert!(record.terminal && !record.streaming && record.notes.is_empty() && record.body.is_none());
}

#[test]
fn each_prompt_is_a_message() {
    let user = |content: Value| json!({"role": "user", "content": content});
    let tokens = |count: u64| json!({"role": "user", "content": null, "tokens": count});
    assert_eq!(input(json!({"prompt": ["a", "b"]})), json!([user(json!("a")), user(json!("b"))]));
    assert_eq!(input(json!({"prompt": [1, 2, 3]})), json!([tokens(3)]));
    assert_eq!(input(json!({"prompt": [[1, 2], [3]]})), json!([tokens(2), tokens(1)]));
    for nothing in [json!({}), json!({"prompt": null}), json!({"prompt": []})] {
        assert_eq!(input(nothing), json!([]));
    }
    let chat = json!({"messages": [{"role": "system", "content": "a"}, {"role": "user", "content": "b"}]});
    assert_eq!(input(chat.clone()), chat["messages"]);
}

#[test]
fn a_stream_in_any_pieces_gives_one_record() {
    let request = json!({"model": "m", "prompt": ["a", "b"], "stream": true, "stream_options": {"include_usage": true}});
    let record =
        exchange_at(COMPLETIONS, request.to_string().as_bytes(), 200, SSE, [&rich_stream()[..]]).record();
    assert_eq!(record.output[0]["content"], "Once ż upon");
    assert_eq!(record.output[1]["content"], "Twice");
    assert_eq!((record.choices, record.finish_reason.as_deref()), (2, Some("length")));
    assert_eq!(record.usage.and_then(|usage| usage.completion_tokens), Some(4));
    assert_eq!(record.parameters["stream_options"]["include_usage"], true);
    assert_cuts(COMPLETIONS, &request, &rich_stream(), "\"stop\"");
}

#[test]
fn an_answer_is_complete_when_every_choice_of_every_prompt_is() {
    let complete_after = |request: Value| {
        let mut exchange = Exchange::new(COMPLETIONS, request.to_string().as_bytes());
        exchange.start(200, SSE);
        let event = |index| format!("data: {}\n\n", chunk(vec![choice(index, "a", json!("stop"))]));
        (0..9).find(|index| exchange.push(event(*index).as_bytes()).terminal).map(|index| index + 1)
    };
    assert_eq!(complete_after(json!({"prompt": "a"})), Some(1));
    assert_eq!(complete_after(json!({"prompt": "a", "n": 2, "best_of": 5})), Some(2));
    assert_eq!(complete_after(json!({"prompt": ["a", "b", "c"], "n": 2})), Some(6));
    assert_eq!(complete_after(json!({"prompt": [1, 2, 3]})), Some(1));
    assert_eq!(complete_after(json!({"prompt": ["a", "b"], "n": u64::MAX})), None);
}

#[test]
fn progress_tells_of_the_first_token() {
    let mut exchange = Exchange::new(COMPLETIONS, br#"{"prompt":"a","stream":true}"#);
    exchange.start(200, SSE);
    let mut push = |text: &str| {
        let event = chunk(vec![choice(0, text, Value::Null)]);
        exchange.push(format!("data: {event}\n\n").as_bytes()).token
    };
    assert_eq!((push(""), push("a")), (false, true));
}

#[test]
fn errors_and_garbage_are_noted() {
    let read =
        |status, body: &[u8]| exchange_at(COMPLETIONS, br#"{"prompt":"a"}"#, status, JSON, [body]).record();
    let error =
        read(404, br#"{"error":{"message":"This is a chat model","type":"invalid_request_error"}}"#).error;
    assert_eq!(error.unwrap().to_string(), "404: This is a chat model (type: invalid_request_error)");
    let garbage = read(200, b"\xFF\x00{");
    assert!(!garbage.terminal && garbage.output.is_empty() && garbage.notes.len() == 1);
}
