//! Images.

mod common;

use common::{
    IMAGES, JSON, SSE, assert_cuts, blocking_at, exchange_at, most_held, named_stream, streamed_at, without,
};
use pandaprobe_wire::{Exchange, Operation, Progress};
use serde_json::{Value, json};

fn usage() -> Value {
    json!({"input_tokens": 14, "input_tokens_details": {"image_tokens": 0, "text_tokens": 14}, "output_tokens": 272,
        "output_tokens_details": {"image_tokens": 272, "text_tokens": 0}, "total_tokens": 286})
}

fn read(request: Value, answer: Value) -> Vec<Value> {
    blocking_at(IMAGES, &request, &answer).output
}

fn message(parts: Value) -> Vec<Value> {
    vec![json!({"role": "assistant", "content": parts})]
}

fn partial(base64: &str) -> Value {
    json!({"type": "image_generation.partial_image", "b64_json": base64, "output_format": "png", "partial_image_index": 0})
}

fn completed(base64: &str) -> Value {
    json!({"type": "image_generation.completed", "b64_json": base64, "output_format": "png", "usage": usage()})
}

#[test]
fn the_operation_is_told_by_the_path() {
    for path in
        ["/v1/images/generations", "/openai/deployments/x/images/edits?api-version=1", "/images/variations/"]
    {
        assert_eq!(Operation::detect(path), Operation::Images, "{path}");
    }
    for path in ["/v1/images", "/v1/generations", "/v1/myimages/edits"] {
        assert_eq!(Operation::detect(path), Operation::Unknown, "{path}");
    }
    assert_eq!(json!(Operation::Images), "images");
}

#[test]
fn every_field_is_read() {
    let request = json!({"model": "gpt-image-1", "prompt": "a circle", "n": 2, "size": "1024x1024", "quality": "low",
        "style": "vivid", "background": "opaque", "moderation": "auto", "output_format": "jpeg", "output_compression": 9,
        "response_format": "b64_json", "input_fidelity": "high", "partial_images": 0, "user": "u"});
    let data = json!([{"b64_json": "aGVsbG8="}, {"b64_json": "AAAA", "revised_prompt": "a red circle"}]);
    let answer = json!({"created": 0, "data": data, "output_format": "png", "usage": usage()});
    let record = blocking_at(IMAGES, &request, &answer);
    assert_eq!(json!(record.input), json!([{"role": "user", "content": "a circle"}]));
    let parts = json!([
        {"type": "image", "media_type": "image/png", "bytes": 5},
        {"type": "image", "media_type": "image/png", "bytes": 3, "revised_prompt": "a red circle"},
    ]);
    assert_eq!(record.output, message(parts));
    let counts = record.usage.unwrap();
    assert_eq!(
        (counts.prompt_tokens, counts.completion_tokens, counts.total_tokens),
        (Some(14), Some(272), Some(286))
    );
    assert_eq!(json!(record.parameters), without(&request, &["model", "prompt", "user"]));
    assert_eq!(record.model_requested.as_deref(), Some("gpt-image-1"));
    assert!(record.terminal && !record.streaming && record.choices == 0 && record.notes.is_empty());
}

#[test]
fn the_format_is_told_by_the_answer_else_by_the_request() {
    let data = json!([{"b64_json": "AAAA"}]);
    let part = |request: Value, answer: Value| read(request, answer)[0]["content"][0].clone();
    let reference = |media_type: &str| json!({"type": "image", "media_type": media_type, "bytes": 3});
    assert_eq!(part(json!({"output_format": "webp"}), json!({"data": data})), reference("image/webp"));
    let answer = json!({"data": data, "output_format": "png"});
    assert_eq!(part(json!({"output_format": "webp"}), answer), reference("image/png"));
    assert_eq!(part(json!({}), json!({"data": data})), json!({"type": "image", "bytes": 3}));
}

#[test]
fn links_stay_and_data_urls_do_not() {
    let data = json!([
        {"url": "https://a.b/c.png", "revised_prompt": "p"},
        {"url": "data:image/webp;base64,AAAA"},
        {"b64_json": "data:image/jpeg;base64,AAAA"},
        {"b64_json": null, "url": "https://a.b/d.png"},
        {"b64_json": ""}, {}, "x",
    ]);
    let parts = json!([
        {"type": "image", "url": "https://a.b/c.png", "revised_prompt": "p"},
        {"type": "image", "media_type": "image/webp", "bytes": 3},
        {"type": "image", "media_type": "image/jpeg", "bytes": 3},
        {"type": "image", "url": "https://a.b/d.png"},
    ]);
    assert_eq!(read(json!({"prompt": "a", "output_format": "png"}), json!({"data": data})), message(parts));
    assert!(read(json!({"prompt": "a"}), json!({"data": []})).is_empty());
}

#[test]
fn a_stream_in_any_pieces_gives_one_record() {
    let request = json!({"prompt": "a", "stream": true, "partial_images": 2});
    let events = [partial("AAAA"), partial("AAAAAAAA"), completed("aGVsbG8=")];
    let record = streamed_at(IMAGES, &request, &events);
    assert_eq!(record.output, message(json!([{"type": "image", "media_type": "image/png", "bytes": 5}])));
    assert_eq!(record.usage.and_then(|usage| usage.total_tokens), Some(286));
    assert_eq!(record.choices, 0);
    assert_cuts(IMAGES, &request, &named_stream(&events), "\"total_tokens\":286");
}

#[test]
fn progress_tells_of_the_first_image_and_of_the_last() {
    let progress = |request: &[u8], events: &[Value]| {
        let mut exchange = Exchange::new("/v1/images/edits", request);
        exchange.start(200, SSE);
        let push = |event: &Value| exchange.push(&named_stream(std::slice::from_ref(event)));
        events.iter().map(push).map(|Progress { token, terminal, .. }| (token, terminal)).collect::<Vec<_>>()
    };
    let edit = |kind: &str| json!({"type": format!("image_edit.{kind}"), "b64_json": "AAAA"});
    let [partial, completed] = ["partial_image", "completed"].map(edit);
    let both = [partial, completed.clone()];
    assert_eq!(progress(br#"{"stream":true}"#, &both), [(true, false), (false, true)]);
    let two = [completed.clone(), completed];
    assert_eq!(progress(br#"{"stream":true,"n":2}"#, &two), [(true, false), (false, true)]);
}

#[test]
fn a_stream_that_fails_ends() {
    let error = json!({"type": "error", "error": {"message": "blocked", "type": "image_generation_user_error", "code": "moderation_blocked"}});
    let record = streamed_at(IMAGES, &json!({"prompt": "a", "stream": true}), &[partial("AAAA"), error]);
    let message = "blocked (type: image_generation_user_error, code: moderation_blocked)";
    assert_eq!(record.error.unwrap().to_string(), message);
    assert!(record.terminal && record.output.is_empty() && record.notes.is_empty());
    let bare = streamed_at(IMAGES, &json!({}), &[json!({"type": "error", "message": "no"})]).error.unwrap();
    assert_eq!((bare.message.as_str(), bare.kind), ("no", None));
}

#[test]
fn a_cut_stream_is_noted() {
    let record = streamed_at(IMAGES, &json!({"prompt": "a", "n": 2}), &[completed("AAAA")]);
    assert_eq!(record.notes, ["the stream ended before the answer was complete"]);
    assert!(!record.terminal && record.output.len() == 1);
}

#[test]
fn errors_and_garbage_are_noted() {
    let read = |status, body: &[u8]| exchange_at(IMAGES, br#"{"prompt":""}"#, status, JSON, [body]).record();
    let error =
        read(400, br#"{"error":{"code":"empty_string","message":"empty","type":"invalid_request_error"}}"#)
            .error;
    assert_eq!(error.unwrap().to_string(), "400: empty (type: invalid_request_error, code: empty_string)");
    let garbage = read(200, b"\x89PNG\xFF");
    assert!(!garbage.terminal && garbage.output.is_empty() && garbage.notes.len() == 1);
}

#[test]
fn base64_is_not_held_once_it_was_read() {
    let base64 = "A".repeat(30 << 20);
    let answer = json!({"data": [{"b64_json": base64}]}).to_string();
    let exchange = exchange_at(IMAGES, br#"{"prompt":"a"}"#, 200, JSON, answer.as_bytes().chunks(64 << 10));
    assert!(exchange.held_bytes() < 10_000, "{}", exchange.held_bytes());
    assert_eq!(exchange.record().output[0]["content"][0]["bytes"], 30 * (1 << 20) * 3 / 4);
}

#[test]
fn a_stream_holds_one_event_at_most() {
    let base64 = "A".repeat(3 << 20);
    let mut exchange = Exchange::new(IMAGES, br#"{"prompt":"a","n":5,"stream":true}"#);
    exchange.start(200, SSE);
    for _ in 0..5 {
        let events = named_stream(&[partial(&base64), completed(&base64)]);
        let held = most_held(&mut exchange, events.chunks(64 << 10));
        assert!(held < 10 << 20, "{held}");
        assert!(exchange.held_bytes() < 400_000, "{}", exchange.held_bytes());
    }
    assert!(exchange.is_terminal());
    assert_eq!(exchange.record().output[0]["content"].as_array().map(Vec::len), Some(5));
}

#[test]
fn an_event_that_is_too_long_is_noted() {
    let events = named_stream(&[completed(&"A".repeat(30 << 20))]);
    let mut exchange = Exchange::new(IMAGES, br#"{"prompt":"a","stream":true}"#);
    exchange.start(200, SSE);
    let held = most_held(&mut exchange, events.chunks(64 << 10));
    exchange.end();
    assert!(held < 40 << 20 && exchange.held_bytes() < 400_000, "{held}");
    assert!(exchange.record().notes.iter().any(|note| note.contains("too long")));
}

#[test]
fn a_request_that_was_not_seen_is_kept_by_its_size() {
    let form = Some("Multipart/Form-Data; boundary=x");
    let mut exchange = Exchange::with_unread_request(Operation::Images, "", form, Some(1234));
    exchange.start(200, JSON);
    exchange.push(br#"{"data":[{"b64_json":"AAAA"}]}"#);
    exchange.end();
    let record = exchange.record();
    let content = json!([{"type": "multipart", "bytes": 1234}]);
    assert_eq!(json!(record.input), json!([{"role": "user", "content": content}]));
    assert_eq!((record.operation, record.output.len(), record.notes.len()), (Operation::Images, 1, 0));
}
