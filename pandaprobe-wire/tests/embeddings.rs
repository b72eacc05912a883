//! Embeddings.

mod common;

use common::{EMBEDDINGS, JSON, blocking_at, exchange_at};
use pandaprobe_wire::{LlmRecord, Operation};
use serde_json::{Value, json};

fn read(request: Value, data: Value) -> LlmRecord {
    let answer = json!({"object": "list", "model": "e-1", "data": data, "usage": {"prompt_tokens": 5, "total_tokens": 5}});
    blocking_at(EMBEDDINGS, &request, &answer)
}

fn input(input: Value) -> Value {
    json!(read(json!({"model": "e", "input": input}), json!([])).input)
}

fn vector(index: u64, embedding: Value) -> Value {
    json!({"object": "embedding", "index": index, "embedding": embedding})
}

#[test]
fn the_operation_is_told_by_the_path() {
    for path in ["/v1/embeddings", "/openai/deployments/x/embeddings?api-version=1", "embeddings"] {
        assert_eq!(Operation::detect(path), Operation::Embeddings, "{path}");
    }
    assert_eq!(Operation::detect("/v1/embeddings/models"), Operation::Unknown);
    assert_eq!(json!(Operation::Embeddings), "embeddings");
}

#[test]
fn every_field_is_read_and_vectors_are_not() {
    let request =
        json!({"model": "e", "input": "hi", "dimensions": 3, "encoding_format": "float", "user": "u"});
    let data = json!([vector(0, json!([0.1, 0.2, 0.3])), vector(1, json!([0.4, 0.5, 0.6]))]);
    let record = read(request, data);
    assert_eq!(record.operation, Operation::Embeddings);
    assert_eq!(record.body, Some(json!({"count": 2, "dimensions": 3})));
    assert_eq!(json!(record.parameters), json!({"dimensions": 3, "encoding_format": "float"}));
    assert_eq!(record.model_requested.as_deref(), Some("e"));
    assert_eq!(record.model_responded.as_deref(), Some("e-1"));
    let usage = record.usage.unwrap();
    assert_eq!((usage.prompt_tokens, usage.completion_tokens, usage.total_tokens), (Some(5), None, Some(5)));
    assert!(record.output.is_empty() && record.choices == 0 && record.finish_reason.is_none());
    assert!(record.terminal && !record.streaming && record.notes.is_empty() && record.error.is_none());
}

#[test]
fn each_input_is_a_message() {
    let user = |content: Value| json!({"role": "user", "content": content});
    let tokens = |count: u64| json!({"role": "user", "content": null, "tokens": count});
    assert_eq!(input(json!("a")), json!([user(json!("a"))]));
    assert_eq!(input(json!(["a", "b"])), json!([user(json!("a")), user(json!("b"))]));
    assert_eq!(input(json!([1, 2, 3])), json!([tokens(3)]));
    assert_eq!(input(json!([[1, 2], [3]])), json!([tokens(2), tokens(1)]));
    assert_eq!(input(json!([])), json!([]));
    assert_eq!(input(Value::Null), json!([]));
}

#[test]
fn images_among_the_inputs_are_references() {
    let image = json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}});
    let reference = json!([{"type": "image_url", "media_type": "image/png", "bytes": 3}]);
    let text = json!({"type": "text", "text": "a"});
    let expected = json!([
        {"role": "user", "content": "a"}, {"role": "user", "content": reference}, {"role": "user", "content": reference}]);
    assert_eq!(input(json!([text, image, {"content": [image]}])), expected);
}

#[test]
fn base64_vectors_are_measured() {
    // 6 numbers of 4 bytes.
    let record =
        read(json!({"input": "a", "encoding_format": "base64"}), json!([vector(0, json!("A".repeat(32)))]));
    assert_eq!(record.body, Some(json!({"count": 1, "dimensions": 6})));
    // 1 number, with padding.
    let record = read(json!({"input": "a"}), json!([vector(0, json!("AACAPw=="))]));
    assert_eq!(record.body, Some(json!({"count": 1, "dimensions": 1})));
}

#[test]
fn an_answer_without_vectors_has_no_dimensions() {
    assert_eq!(read(json!({"input": "a"}), json!([])).body, Some(json!({"count": 0, "dimensions": null})));
    assert_eq!(read(json!({"input": "a"}), Value::Null).body, None);
}

#[test]
fn usage_is_read_as_given() {
    let usage =
        |usage: Value| blocking_at(EMBEDDINGS, &json!({}), &json!({"data": [], "usage": usage})).usage;
    let read = usage(json!({"prompt_tokens": 4, "completion_tokens": 0, "total_tokens": 4})).unwrap();
    assert_eq!((read.prompt_tokens, read.completion_tokens), (Some(4), Some(0)));
    let read = usage(json!({"total_tokens": 4})).unwrap();
    assert_eq!((read.prompt_tokens, read.total_tokens), (None, Some(4)));
    assert_eq!(usage(Value::Null), None);
}

#[test]
fn errors_are_read() {
    let body =
        br#"{"object":"error","message":"too many inputs","type":"invalid_request_prompt","code":"3210"}"#;
    let record = exchange_at(EMBEDDINGS, br#"{"input":"a"}"#, 400, JSON, [&body[..]]).record();
    let error = record.error.unwrap().to_string();
    assert_eq!(error, "400: too many inputs (type: invalid_request_prompt, code: 3210)");
    assert_eq!(record.body, None);
}
