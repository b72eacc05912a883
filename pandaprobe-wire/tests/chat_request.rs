//! What is read from chat requests.

mod common;

use common::{JSON, input, record};
use pandaprobe_wire::{Exchange, Operation};
use serde_json::json;

#[test]
fn plain_messages_stay_as_they_are() {
    let messages = json!([
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "hi", "name": "ada"},
        {"role": "tool", "content": "{}", "tool_call_id": "c-1"},
    ]);
    assert_eq!(json!(input(messages.clone())), messages);
}

#[test]
fn roles_are_mapped_and_nulls_dropped() {
    let messages = json!([
        {"role": "developer", "content": "a"}, {"role": "human", "content": "b", "name": null},
        {"role": "ai", "content": null, "refusal": null, "tool_calls": null}, {"role": "function", "name": "f", "content": "d"},
    ]);
    let expected = json!([
        {"role": "system", "content": "a"}, {"role": "user", "content": "b"},
        {"role": "assistant", "content": null}, {"role": "tool", "name": "f", "content": "d"},
    ]);
    assert_eq!(json!(input(messages)), expected);
}

#[test]
fn text_parts_are_joined_and_thinking_set_apart() {
    let messages = json!([
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b", "cache_control": {}}]},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "c"}]},
    ]);
    let expected = json!([
        {"role": "user", "content": "ab"},
        {"role": "assistant", "content": "c", "reasoning_content": "hm"},
    ]);
    assert_eq!(json!(input(messages)), expected);
}

#[test]
fn media_parts_are_reduced_to_references() {
    let messages = json!([{"role": "user", "content": [
        {"type": "text", "text": "what is this?"},
        {"type": "image_url", "image_url": {"url": format!("data:image/png;base64,{}", "A".repeat(400)), "detail": "high"}},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
        {"type": "input_audio", "input_audio": {"data": "A".repeat(40), "format": "wav"}},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA", "filename": "a.pdf"}},
    ]}]);
    let expected = json!([
        {"type": "text", "text": "what is this?"},
        {"type": "image_url", "media_type": "image/png", "bytes": 300},
        {"type": "image_url", "url": "https://example.com/a.png"},
        {"type": "input_audio", "media_type": "audio/wav", "bytes": 30},
        {"type": "file", "media_type": "application/pdf", "bytes": 3, "filename": "a.pdf"},
    ]);
    assert_eq!(input(messages)[0]["content"], expected);
}

#[test]
fn tool_calls_take_one_shape() {
    let call = |function| json!({"id": "c", "type": "function", "function": function});
    let messages = json!([
        {"role": "assistant", "content": null, "tool_calls": [
            {"id": "c", "function": {"name": "f", "arguments": " {\"a\" : 1}"}},
            {"id": "c", "type": "function", "index": 1, "function": {"name": "g", "arguments": {"b": 2}}},
            {"id": "c", "type": "custom", "custom": {"name": "h", "input": "free text"}}]},
        {"role": "assistant", "content": null, "function_call": {"name": "old", "arguments": "{}"}},
    ]);
    let read = input(messages);
    let expected = json!([
        call(json!({"name": "f", "arguments": " {\"a\" : 1}"})),
        call(json!({"name": "g", "arguments": "{\"b\":2}"})),
        call(json!({"name": "h", "arguments": "free text"})),
    ]);
    assert_eq!(read[0]["tool_calls"], expected);
    let old = json!([{"type": "function", "function": {"name": "old", "arguments": "{}"}}]);
    assert_eq!(read[1], json!({"role": "assistant", "content": null, "tool_calls": old}));
}

#[test]
fn only_known_parameters_are_recorded() {
    let body = json!({
        "model": "m", "messages": [], "temperature": 0.5, "stop": ["a"], "n": 2, "tools": [{}], "tool_choice": "auto",
        "user": "u", "metadata": {}, "stream_options": {"include_usage": true}, "stream": true,
    });
    let record = record(body.to_string().as_bytes(), 200, JSON, b"{}");
    let expected =
        json!({"temperature": 0.5, "stop": ["a"], "n": 2, "stream_options": {"include_usage": true}});
    assert_eq!(json!(record.parameters), expected);
    assert_eq!(record.model_requested.as_deref(), Some("m"));
    assert!(record.streaming);
}

#[test]
fn chat_is_detected_by_path_then_by_shape() {
    let chat = br#"{"messages":[{"role":"user","content":"hi"}]}"#;
    let operation = |path: &str, body: &[u8]| Exchange::new(path, body).record().operation;
    for path in [
        "/v1/chat/completions",
        "/openai/deployments/x/chat/completions?api-version=2024",
        "chat/completions/",
    ] {
        assert_eq!(operation(path, b"{}"), Operation::Chat, "{path}");
    }
    assert_eq!(operation("/custom/route", chat), Operation::Chat);
    assert_eq!(operation("/v2/chat?x=1", chat), Operation::CohereChat);
    assert_eq!(operation("/v1/messages?beta=true", chat), Operation::AnthropicMessages);
    assert_eq!(operation("/api/chat", chat), Operation::OllamaChat);
    let vertex =
        |publisher| format!("/v1/projects/p/locations/l/publishers/{publisher}/models/m@1:streamRawPredict");
    assert_eq!(operation(&vertex("anthropic"), chat), Operation::AnthropicMessages);
    assert_eq!(operation(&vertex("mistralai"), chat), Operation::Chat);
    let gemini = "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse";
    assert_eq!(operation(gemini, b"{}"), Operation::GeminiGenerate);
    assert_eq!(operation("/v1/files", b"{}"), Operation::Unknown);
    assert_eq!(Operation::detect("/v1/files?x=/chat/completions"), Operation::Unknown);
}

#[test]
fn a_pinned_operation_needs_no_path() {
    let mut exchange = Exchange::with_operation(Operation::Chat, "", br#"{"prompt":"once upon"}"#);
    exchange.start(200, JSON);
    exchange.push(br#"{"choices":[{"text":" a time","index":0,"finish_reason":"length"}]}"#);
    exchange.end();
    let record = exchange.record();
    assert_eq!(record.input, [json!({"role": "user", "content": "once upon"})]);
    assert_eq!(record.output, [json!({"role": "assistant", "content": " a time"})]);
}

#[test]
fn a_request_that_is_not_json_is_kept_as_text() {
    let record = record(b"not json", 200, JSON, b"{}");
    assert_eq!((record.operation, record.input), (Operation::Chat, vec![json!("not json")]));
    assert_eq!(record.notes, ["request is not JSON"]);
}
