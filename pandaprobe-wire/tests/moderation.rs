//! Moderation.

mod common;

use common::{JSON, MODERATIONS, blocking_at, exchange_at};
use pandaprobe_wire::Operation;
use serde_json::{Value, json};

fn input(input: Value) -> Value {
    json!(blocking_at(MODERATIONS, &json!({"input": input}), &json!({"results": []})).input)
}

fn body(results: Value) -> Option<Value> {
    blocking_at(MODERATIONS, &json!({"input": "a"}), &json!({"results": results})).body
}

#[test]
fn the_operation_is_told_by_the_path() {
    assert_eq!(Operation::detect("/v1/moderations"), Operation::Moderation);
    assert_eq!(Operation::detect("/v1/mymoderations"), Operation::Unknown);
    assert_eq!(json!(Operation::Moderation), "moderation");
}

#[test]
fn every_field_is_read() {
    let request = json!({"model": "omni-moderation-latest", "input": "a"});
    let result = json!({"flagged": true, "categories": {"hate": false, "violence": true, "illicit/violent": true, "odd": 1},
        "category_scores": {"hate": 0.1}, "category_applied_input_types": {"hate": ["text"]}});
    let answer = json!({"id": "modr-1", "model": "omni-moderation-2024-09-26", "results": [result]});
    let record = blocking_at(MODERATIONS, &request, &answer);
    let mut body = record.body.unwrap();
    body["results"][0]["categories"].as_array_mut().unwrap().sort_by_key(Value::to_string);
    assert_eq!(body, json!({"results": [{"flagged": true, "categories": ["illicit/violent", "violence"]}]}));
    assert_eq!(record.operation, Operation::Moderation);
    assert_eq!(record.model_requested.as_deref(), Some("omni-moderation-latest"));
    assert_eq!(record.model_responded.as_deref(), Some("omni-moderation-2024-09-26"));
    assert_eq!(record.response_id.as_deref(), Some("modr-1"));
    assert!(record.output.is_empty() && record.choices == 0 && record.parameters.is_empty());
    assert!(record.terminal && !record.streaming && record.notes.is_empty() && record.usage.is_none());
}

#[test]
fn texts_are_messages_and_parts_are_one() {
    let user = |content: Value| json!({"role": "user", "content": content});
    assert_eq!(input(json!("a")), json!([user(json!("a"))]));
    assert_eq!(input(json!(["a", "b"])), json!([user(json!("a")), user(json!("b"))]));
    let text = json!({"type": "text", "text": "a"});
    let image = json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}});
    let reference = json!({"type": "image_url", "media_type": "image/png", "bytes": 3});
    assert_eq!(input(json!([text, image])), json!([user(json!([text, reference]))]));
    assert_eq!(input(json!([text])), json!([user(json!("a"))]));
    assert_eq!(input(json!([{"role": "user", "content": "a"}])), json!([user(json!("a"))]));
    assert_eq!(input(Value::Null), json!([]));
}

#[test]
fn a_verdict_that_is_not_given_is_that_of_the_categories() {
    let result = |categories: Value| json!([{"categories": categories}]);
    let flagged = |categories| body(result(categories)).map(|body| body["results"][0]["flagged"].clone());
    assert_eq!(flagged(json!({"pii": true})), Some(json!(true)));
    assert_eq!(flagged(json!({"pii": false})), Some(json!(false)));
    assert_eq!(body(json!([3])), Some(json!({"results": [{"flagged": false, "categories": []}]})));
    assert_eq!(body(json!([])), Some(json!({"results": []})));
    assert_eq!(body(Value::Null), None);
}

#[test]
fn errors_and_garbage_are_noted() {
    let read = |status, body: &[u8]| exchange_at(MODERATIONS, b"{}", status, JSON, [body]).record();
    let error = read(429, br#"{"error":{"message":"slow down","type":"requests"}}"#).error.unwrap();
    assert_eq!(error.to_string(), "429: slow down (type: requests)");
    assert_eq!(read(200, br#"{"error":{"message":"no"}}"#).error.unwrap().message, "no");
    let garbage = read(200, b"\xFF{\"results\":");
    assert!(!garbage.terminal && garbage.body.is_none() && garbage.notes.len() == 1);
}
