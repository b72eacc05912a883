//! Anthropic Messages, Gemini and Ollama: answers are the same blocking, streamed, and however a stream is cut.

mod common;

use common::{JSON, SSE, named_stream, same};
use serde_json::{Value, json};

const ANTHROPIC: &str = "/v1/messages";
const GEMINI: &str = "/v1beta/models/g-1:streamGenerateContent";
const OLLAMA: &str = "/api/chat";
const NDJSON: Option<&str> = Some("application/x-ndjson");

fn anthropic_events() -> Vec<Value> {
    let start = |index: u64, block: Value| json!({"type": "content_block_start", "index": index, "content_block": block});
    let delta =
        |index: u64, delta: Value| json!({"type": "content_block_delta", "index": index, "delta": delta});
    vec![
        json!({"type": "message_start", "message": {"id": "msg_1", "model": "claude-x", "content": [],
            "usage": {"input_tokens": 3, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 20, "output_tokens": 1}}}),
        start(0, json!({"type": "thinking", "thinking": ""})),
        delta(0, json!({"type": "thinking_delta", "thinking": "hm"})),
        start(1, json!({"type": "text", "text": ""})),
        delta(1, json!({"type": "text_delta", "text": "Hel"})),
        delta(1, json!({"type": "text_delta", "text": "lo"})),
        start(2, json!({"type": "tool_use", "id": "t1", "name": "add", "input": {}})),
        delta(2, json!({"type": "input_json_delta", "partial_json": "{\"x\":"})),
        delta(2, json!({"type": "input_json_delta", "partial_json": "1}"})),
        start(3, json!({"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {}})),
        delta(3, json!({"type": "input_json_delta", "partial_json": "{\"query\":\"a\"}"})),
        start(4, json!({"type": "web_search_tool_result", "tool_use_id": "s1", "content": [{"url": "u"}]})),
        json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 9}}),
        json!({"type": "message_stop"}),
    ]
}

#[test]
fn a_stream_of_anthropic_gives_text_calls_reasoning_and_inclusive_usage() {
    let request = json!({"model": "claude", "max_tokens": 9, "stream": true, "system": [{"type": "text", "text": "be"}],
        "messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t0", "content": "8"},
            {"type": "text", "text": "go"}]}]});
    let record = same(ANTHROPIC, &request, SSE, &named_stream(&anthropic_events()));
    assert_eq!(
        json!(record.input),
        json!([
        {"role": "system", "content": "be"}, {"role": "tool", "tool_call_id": "t0", "content": "8"},
        {"role": "user", "content": "go"}])
    );
    let call = json!({"id": "t1", "type": "function", "function": {"name": "add", "arguments": "{\"x\":1}"}});
    assert_eq!(record.output, [json!({"role": "assistant", "content": "Hello", "tool_calls": [call]})]);
    assert_eq!(record.reasoning.as_deref(), Some("hm"));
    assert_eq!(record.finish_reason.as_deref(), Some("tool_use"));
    let usage = record.usage.unwrap_or_default();
    assert_eq!((usage.prompt_tokens, usage.completion_tokens), (Some(123), Some(9)));
    assert_eq!((usage.cache_read_tokens, usage.cache_creation_tokens), (Some(100), Some(20)));
    let tool = &record.tools[0];
    assert!(tool.executed && tool.name == "web_search" && tool.input == json!({"query": "a"}));
    assert_eq!(tool.output, Some(json!([{"url": "u"}])));
}

#[test]
fn an_error_in_a_stream_of_anthropic_keeps_what_was_said() {
    let mut events = anthropic_events();
    events.truncate(5);
    events.push(json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}));
    let record = same(ANTHROPIC, &json!({"stream": true, "messages": []}), SSE, &named_stream(&events));
    let error = record.error.unwrap_or_default();
    assert_eq!((error.message.as_str(), error.kind.as_deref()), ("Overloaded", Some("overloaded_error")));
    assert_eq!(record.output[0]["content"], "Hel");
}

#[test]
fn gemini_is_the_same_as_events_and_as_an_array_in_pieces() {
    let part = |part: Value, finish: Option<&str>| {
        json!({"modelVersion": "g-1-001", "responseId": "r", "candidates":
        [{"index": 0, "content": {"role": "model", "parts": [part]}, "finishReason": finish}],
        "usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 2, "thoughtsTokenCount": 4, "totalTokenCount": 11}})
    };
    let chunks = [
        part(json!({"text": "hm", "thought": true}), None),
        part(json!({"text": "Hel"}), None),
        part(json!({"text": "lo"}), None),
        part(json!({"functionCall": {"name": "add", "args": {"x": 1}}}), Some("STOP")),
    ];
    let request = json!({"contents": [{"role": "model", "parts": [{"text": "a"}, {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}]}]});
    let events: String = chunks.iter().map(|chunk| format!("data: {chunk}\r\n\r\n")).collect();
    let record = same(GEMINI, &request, SSE, events.as_bytes());
    let array = format!("[{}]", chunks.map(|chunk| format!("{chunk:#}")).join("\n,\r\n"));
    assert_eq!(same(GEMINI, &request, JSON, array.as_bytes()), record);
    assert!(record.streaming && record.model_requested.as_deref() == Some("g-1"));
    assert_eq!(record.model_responded.as_deref(), Some("g-1-001"));
    assert_eq!(record.input[0]["role"], "assistant");
    assert_eq!(
        record.input[0]["content"][1],
        json!({"type": "inline_data", "media_type": "image/png", "bytes": 3})
    );
    assert_eq!(
        (record.output[0]["content"].as_str(), record.reasoning.as_deref()),
        (Some("Hello"), Some("hm"))
    );
    assert_eq!(
        record.output[0]["tool_calls"][0]["function"],
        json!({"name": "add", "arguments": "{\"x\":1}"})
    );
    let usage = record.usage.unwrap_or_default();
    assert_eq!(
        (usage.completion_tokens, usage.reasoning_tokens, usage.total_tokens),
        (Some(6), Some(4), Some(11))
    );
}

#[test]
fn a_prompt_that_gemini_blocks_has_a_reason_and_no_choice() {
    let body = json!({"promptFeedback": {"blockReason": "SAFETY"}}).to_string();
    let record = same("/v1/models/g:generateContent", &json!({"contents": []}), JSON, body.as_bytes());
    assert_eq!((record.choices, record.finish_reason.as_deref()), (0, Some("SAFETY")));
}

#[test]
fn ollama_streams_unless_told_not_to() {
    let line = |message: Value| json!({"model": "m:1", "message": message, "done": false});
    let lines = [
        line(json!({"role": "assistant", "thinking": "hm", "content": ""})),
        line(json!({"role": "assistant", "content": "Hello"})),
        line(
            json!({"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "add", "arguments": {"x": 1}}}]}),
        ),
        json!({"model": "m:1", "done": true, "done_reason": "stop", "message": {"content": ""}, "prompt_eval_count": 7, "eval_count": 3}),
    ];
    let body = lines.map(|line| format!("{line}\n")).concat();
    let request = json!({"model": "m", "messages": [{"role": "user", "content": "hi", "images": ["AAAA"]}]});
    let record = same(OLLAMA, &request, NDJSON, body.as_bytes());
    assert_eq!(same(OLLAMA, &request, None, body.as_bytes()), record);
    assert!(record.streaming);
    assert_eq!(
        record.input[0]["content"],
        json!([{"type": "text", "text": "hi"}, {"type": "image", "bytes": 3}])
    );
    assert_eq!(
        (record.output[0]["content"].as_str(), record.reasoning.as_deref()),
        (Some("Hello"), Some("hm"))
    );
    assert_eq!(record.output[0]["tool_calls"][0]["function"]["arguments"], "{\"x\":1}");
    assert_eq!(record.usage.unwrap_or_default().prompt_tokens, Some(7));
}
