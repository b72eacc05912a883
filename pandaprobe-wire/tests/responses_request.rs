//! What is read from Responses requests.

mod common;

use common::{RESPONSES, blocking_at};
use pandaprobe_wire::{Exchange, LlmRecord, Operation};
use serde_json::{Value, json};

fn read(request: Value) -> LlmRecord {
    blocking_at(RESPONSES, &request, &json!({}))
}

fn input(input: Value) -> Value {
    json!(read(json!({"input": input})).input)
}

fn call(id: &str, name: &str, arguments: &str) -> Value {
    json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}})
}

#[test]
fn the_operation_is_told_by_the_path() {
    for path in ["/v1/responses", "/openai/responses/?api-version=2025", "responses"] {
        assert_eq!(Operation::detect(path), Operation::Responses, "{path}");
    }
    for path in ["/v1/responses/resp_1", "/v1/responses/resp_1/cancel", "/v1/myresponses"] {
        assert_eq!(Operation::detect(path), Operation::Unknown, "{path}");
    }
    let messages = br#"{"messages":[{"role":"user","content":"hi"}]}"#;
    let record = Exchange::new("/v1/responses", messages).record();
    assert_eq!((record.operation, record.input), (Operation::Responses, vec![]));
    assert_eq!(json!(Operation::Responses), "responses");
}

#[test]
fn instructions_lead_and_a_string_is_of_the_user() {
    let record = read(json!({"model": "m", "instructions": "be brief", "input": "hi"}));
    let expected = json!([{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}]);
    assert_eq!(json!(record.input), expected);
    assert_eq!(record.model_requested.as_deref(), Some("m"));
    assert!(read(json!({"instructions": null})).input.is_empty());
}

#[test]
fn messages_take_one_shape() {
    let read = input(json!([
        {"role": "developer", "content": "a"},
        "b",
        {"type": "message", "role": "user", "content": [
            {"type": "input_text", "text": "c"}, {"type": "input_text", "text": "d"}]},
        {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": [
            {"type": "output_text", "text": "e", "annotations": []}, {"type": "refusal", "refusal": "f"}]},
        {"type": "input_text", "text": "g"},
    ]));
    let expected = json!([
        {"role": "system", "content": "a"}, {"role": "user", "content": "b"}, {"role": "user", "content": "cd"},
        {"role": "assistant", "content": "ef"}, {"role": "user", "content": "g"},
    ]);
    assert_eq!(read, expected);
}

#[test]
fn images_and_files_are_references() {
    let read = input(json!([{"role": "user", "content": [
        {"type": "input_text", "text": "what is this?"},
        {"type": "input_image", "image_url": format!("data:image/png;base64,{}", "A".repeat(400)), "detail": "low"},
        {"type": "input_image", "image_url": "https://example.com/a.png"},
        {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA"},
        {"type": "input_file", "file_url": "https://example.com/a.pdf"},
    ]}]));
    let expected = json!([
        {"type": "input_text", "text": "what is this?"},
        {"type": "input_image", "media_type": "image/png", "bytes": 300, "detail": "low"},
        {"type": "input_image", "url": "https://example.com/a.png"},
        {"type": "input_file", "media_type": "application/pdf", "bytes": 3, "filename": "a.pdf"},
        {"type": "input_file", "file_url": "https://example.com/a.pdf"},
    ]);
    assert_eq!(read[0]["content"], expected);
}

#[test]
fn calls_and_reasoning_of_one_turn_are_one_message() {
    let read = input(json!([
        {"role": "user", "content": "weather?"},
        {"type": "reasoning", "id": "rs_1", "encrypted_content": "x", "summary": [
            {"type": "summary_text", "text": "two"}, {"type": "summary_text", "text": "calls"}]},
        {"type": "message", "role": "assistant", "content": "let me see"},
        {"type": "reasoning", "id": "rs_2", "summary": [], "content": [{"type": "reasoning_text", "text": "now"}]},
        {"type": "function_call", "id": "fc_1", "call_id": "c-1", "name": "f", "arguments": "{\"a\" :1}"},
        {"type": "function_call", "call_id": "c-2", "name": "g", "arguments": {"b": 2}},
        {"type": "function_call_output", "call_id": "c-1", "output": "sunny"},
        {"type": "function_call_output", "call_id": "c-2", "output": [{"type": "input_text", "text": "rain"}]},
        {"type": "custom_tool_call", "call_id": "c-3", "name": "h", "input": "free text"},
        {"type": "custom_tool_call_output", "call_id": "c-3", "output": "done"},
    ]));
    let expected = json!([
        {"role": "user", "content": "weather?"},
        {"role": "assistant", "content": "let me see", "reasoning_content": "two\n\ncalls\n\nnow",
            "tool_calls": [call("c-1", "f", "{\"a\" :1}"), call("c-2", "g", "{\"b\":2}")]},
        {"role": "tool", "tool_call_id": "c-1", "content": "sunny"},
        {"role": "tool", "tool_call_id": "c-2", "content": "rain"},
        {"role": "assistant", "content": null, "tool_calls": [call("c-3", "h", "free text")]},
        {"role": "tool", "tool_call_id": "c-3", "content": "done"},
    ]);
    assert_eq!(read, expected);
}

#[test]
fn reasoning_goes_to_the_next_message_of_its_turn_alone() {
    let thought = json!({"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]});
    let search = json!({"type": "web_search_call", "id": "ws_1", "status": "completed"});
    let read = input(
        json!([thought, search, {"role": "assistant", "content": "so"}, thought, "hi", {"role": "assistant", "content": "x"}]),
    );
    let expected = json!([
        {"role": "assistant", "content": null, "item": search},
        {"role": "assistant", "content": "so", "reasoning_content": "hm"},
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "x"},
    ]);
    assert_eq!(read, expected);
}

#[test]
fn other_items_are_kept_and_reduced() {
    let image = json!({"type": "image_generation_call", "id": "ig_1", "result": "A".repeat(2000)});
    let screenshot = json!({"type": "computer_screenshot", "image_url": "data:image/png;base64,AAAA"});
    let reference = json!({"type": "item_reference", "id": "msg_1"});
    let approval = json!({"type": "mcp_approval_response", "approval_request_id": "a", "approve": true});
    let read = input(json!([
        image,
        reference,
        {"type": "computer_call_output", "call_id": "c-1", "output": screenshot},
        {"type": "tool_search_output", "call_id": "c-2", "tools": []},
        approval,
    ]));
    let reduced = json!({"type": "image_generation_call", "id": "ig_1", "result": {"bytes": 1500}});
    let screenshot = json!({"type": "computer_screenshot", "media_type": "image/png", "bytes": 3});
    let expected = json!([
        {"role": "assistant", "content": null, "item": reduced},
        {"role": "assistant", "content": null, "item": reference},
        {"role": "tool", "tool_call_id": "c-1", "content": [screenshot]},
        {"role": "tool", "tool_call_id": "c-2", "content": null,
            "item": {"type": "tool_search_output", "call_id": "c-2", "tools": []}},
        {"role": "user", "content": null, "item": approval},
    ]);
    assert_eq!(read, expected);
}

#[test]
fn a_call_after_an_item_has_a_message_of_its_own() {
    let search = json!({"type": "web_search_call", "id": "ws_1"});
    let read =
        input(json!([search, {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}]));
    let expected = json!([
        {"role": "assistant", "content": null, "item": search},
        {"role": "assistant", "content": null, "tool_calls": [call("c", "f", "{}")]},
    ]);
    assert_eq!(read, expected);
}

#[test]
fn only_known_parameters_are_recorded() {
    let parameters = json!({
        "max_output_tokens": 5, "temperature": 0.5, "top_p": 1, "reasoning": {"effort": "low"}, "truncation": "auto",
        "service_tier": "flex",
    });
    let mut request =
        json!({"input": "hi", "tools": [{}], "max_tool_calls": 1, "store": false, "stream": true});
    request.as_object_mut().unwrap().extend(parameters.as_object().unwrap().clone());
    let record = read(request);
    assert_eq!(json!(record.parameters), parameters);
    assert!(record.streaming);
}
