//! Blocking answers of Responses.

mod common;

use common::{JSON, RESPONSES, blocking_at, exchange_at};
use pandaprobe_wire::{LlmRecord, Operation, ToolItem, Usage};
use serde_json::{Value, json};

fn answer(output: Value) -> Value {
    json!({"id": "resp_1", "object": "response", "model": "m-1", "status": "completed", "error": null,
        "incomplete_details": null, "output": output})
}

fn read(answer: &Value) -> LlmRecord {
    blocking_at(RESPONSES, &json!({"model": "m", "input": "hi"}), answer)
}

fn message(parts: Value) -> Value {
    json!({"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": parts})
}

fn text(text: &str) -> Value {
    json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []})
}

fn tools(items: Value) -> Vec<ToolItem> {
    read(&answer(items)).tools
}

#[test]
fn every_field_of_an_answer_is_read() {
    let mut answer = answer(json!([
        {"type": "reasoning", "id": "rs_1", "encrypted_content": "x",
            "summary": [{"type": "summary_text", "text": "first"}, {"type": "summary_text", "text": ""}],
            "content": [{"type": "reasoning_text", "text": "second"}]},
        message(json!([text("Hel"), text("lo")])),
        {"type": "reasoning", "id": "rs_2", "summary": [{"type": "summary_text", "text": "third"}]},
        message(json!([text("!")])),
    ]));
    answer["usage"] = json!({
        "input_tokens": 10, "output_tokens": 7, "total_tokens": 17,
        "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2},
        "output_tokens_details": {"reasoning_tokens": 5, "audio_tokens": 1}});
    let record = read(&answer);
    assert_eq!(record.output, [json!({"role": "assistant", "content": "Hello!"})]);
    assert_eq!(record.reasoning.as_deref(), Some("first\n\nsecond\n\nthird"));
    assert_eq!((record.operation, record.choices), (Operation::Responses, 1));
    assert_eq!(record.model_responded.as_deref(), Some("m-1"));
    assert_eq!(record.response_id.as_deref(), Some("resp_1"));
    assert_eq!(record.finish_reason.as_deref(), Some("completed"));
    let usage = Usage {
        prompt_tokens: Some(10),
        completion_tokens: Some(7),
        total_tokens: Some(17),
        reasoning_tokens: Some(5),
        cache_read_tokens: Some(4),
        cache_creation_tokens: Some(2),
        details: [("audio_tokens".to_owned(), 1)].into(),
    };
    assert_eq!(record.usage, Some(usage));
    assert!(record.terminal && !record.streaming && record.error.is_none());
    assert!(record.notes.is_empty() && record.tools.is_empty());
}

#[test]
fn a_refusal_is_the_text_where_there_is_no_other() {
    let refusal = json!({"type": "refusal", "refusal": "no"});
    for (parts, content) in [(json!([refusal]), "no"), (json!([text("well"), refusal]), "well")] {
        let record = read(&answer(json!([message(parts)])));
        assert_eq!((&record.output[0]["content"], record.refusal.as_deref()), (&json!(content), Some("no")));
    }
}

#[test]
fn function_calls_are_tool_calls_and_tool_items() {
    let record = read(&answer(json!([
        {"type": "function_call", "id": "fc_1", "call_id": "c-1", "name": "f", "arguments": "{\"x\" :1}", "status": "completed"},
        {"type": "function_call", "id": "fc_2", "call_id": "c-2", "name": "g", "arguments": "", "status": "completed"},
        {"type": "custom_tool_call", "id": "ct_1", "call_id": "c-3", "name": "h", "input": "free"},
    ])));
    let calls = json!([
        {"id": "c-1", "type": "function", "function": {"name": "f", "arguments": "{\"x\" :1}"}},
        {"id": "c-2", "type": "function", "function": {"name": "g", "arguments": ""}},
        {"id": "c-3", "type": "function", "function": {"name": "h", "arguments": "free"}},
    ]);
    assert_eq!(record.output, [json!({"role": "assistant", "content": null, "tool_calls": calls})]);
    let item = |id: &str, kind: &str, name: &str, input: Value, status: Option<&str>| ToolItem {
        id: Some(id.into()),
        kind: kind.into(),
        name: name.into(),
        input,
        status: status.map(str::to_owned),
        ..ToolItem::default()
    };
    let expected = [
        item("c-1", "function_call", "f", json!({"x": 1}), Some("completed")),
        item("c-2", "function_call", "g", json!({}), Some("completed")),
        item("c-3", "custom_tool_call", "h", json!("free"), None),
    ];
    assert_eq!(record.tools, expected);
}

#[test]
fn arguments_that_are_cut_off_stay_text() {
    let read = tools(json!([{"type": "function_call", "call_id": "c", "name": "f", "arguments": "{\"a\":"}]));
    assert_eq!(read[0].input, json!("{\"a\":"));
}

#[test]
fn tools_of_the_provider_are_tool_items() {
    let items = json!([
        {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "q"}},
        {"type": "file_search_call", "id": "fs_1", "status": "completed", "queries": ["q"], "results": [{"file_id": "f"}]},
        {"type": "code_interpreter_call", "id": "ci_1", "status": "completed", "code": "1+1", "container_id": "cn",
            "outputs": [{"type": "logs", "logs": "2"}]},
        {"type": "image_generation_call", "id": "ig_1", "status": "completed", "size": "1x1", "result": "A".repeat(4000)},
        message(json!([text("done")])),
    ]);
    let record = read(&answer(items));
    let item = |id: &str, name: &str, input: Value, output: Option<Value>| ToolItem {
        id: Some(id.into()),
        kind: format!("{name}_call"),
        name: name.into(),
        input,
        output,
        status: Some("completed".into()),
        executed: true,
        error: None,
    };
    let expected = [
        item("ws_1", "web_search", json!({"action": {"type": "search", "query": "q"}}), None),
        item("fs_1", "file_search", json!({"queries": ["q"]}), Some(json!([{"file_id": "f"}]))),
        item(
            "ci_1",
            "code_interpreter",
            json!({"code": "1+1", "container_id": "cn"}),
            Some(json!([{"type": "logs", "logs": "2"}])),
        ),
        item("ig_1", "image_generation", json!({"size": "1x1"}), Some(json!({"bytes": 3000}))),
    ];
    assert_eq!(record.tools, expected);
    assert_eq!(record.output, [json!({"role": "assistant", "content": "done"})]);
}

#[test]
fn mcp_items_have_their_tool_and_their_error() {
    let read = tools(json!([
        {"type": "mcp_list_tools", "id": "ml_1", "server_label": "docs", "tools": [{"name": "ask"}]},
        {"type": "mcp_call", "id": "mc_1", "server_label": "docs", "name": "ask", "arguments": "{\"q\":1}", "output": "yes",
            "error": null, "status": "completed"},
        {"type": "mcp_call", "id": "mc_2", "server_label": "docs", "name": "ask", "arguments": "{}", "output": null,
            "error": {"type": "http_error", "code": 500, "message": "down"}, "status": "failed"},
        {"type": "mcp_approval_request", "id": "ma_1", "server_label": "docs", "name": "ask", "arguments": "{}"},
    ]));
    let seen: Vec<_> = read
        .iter()
        .map(|t| (t.name.as_str(), &t.input, t.output.as_ref(), t.executed, t.error.as_deref()))
        .collect();
    let (listed, yes) = (json!([{"name": "ask"}]), json!("yes"));
    let expected = [
        ("mcp_list_tools", &json!({"server_label": "docs"}), Some(&listed), true, None),
        ("ask", &json!({"q": 1}), Some(&yes), true, None),
        ("ask", &json!({}), None, true, Some("down")),
        ("ask", &json!({}), None, false, None),
    ];
    assert_eq!(seen, expected);
}

#[test]
fn items_of_any_other_kind_are_kept() {
    let read = tools(json!([
        {"type": "computer_call", "id": "cu_1", "call_id": "c-1", "status": "completed", "action": {"type": "click"}},
        {"type": "shell_call", "id": "sh_1", "call_id": "c-2", "action": {"commands": ["ls"]}},
        {"type": "shell_call_output", "id": "so_1", "call_id": "c-2", "output": [{"stdout": "a"}]},
        {"type": "compaction", "id": "cm_1", "encrypted_content": "A".repeat(1000)},
    ]));
    let seen: Vec<_> = read.iter().map(|t| (t.id.as_deref(), t.name.as_str(), t.executed)).collect();
    let expected =
        [(Some("c-1"), "computer", false), (Some("c-2"), "shell", true), (Some("cm_1"), "compaction", false)];
    assert_eq!(seen, expected);
    assert_eq!(read[0].input, json!({"action": {"type": "click"}}));
    assert_eq!(read[1].output, Some(json!([{"stdout": "a"}])));
    assert_eq!(read[2].input, json!({"encrypted_content": {"bytes": 750}}));
}

#[test]
fn an_incomplete_answer_says_why() {
    let mut cut = answer(json!([message(json!([text("par")]))]));
    cut["status"] = json!("incomplete");
    for (details, reason) in
        [(json!({"reason": "max_output_tokens"}), "max_output_tokens"), (Value::Null, "incomplete")]
    {
        cut["incomplete_details"] = details;
        let record = read(&cut);
        assert_eq!(record.finish_reason.as_deref(), Some(reason));
        assert_eq!(record.output[0]["content"], "par");
        assert!(record.error.is_none() && record.terminal);
    }
}

#[test]
fn a_failed_answer_is_an_error() {
    let mut failed = answer(json!([]));
    failed["status"] = json!("failed");
    assert_eq!(read(&failed).error.map(|error| error.to_string()).as_deref(), Some("unknown error"));
    failed["error"] = json!({"code": "server_error", "message": "broke"});
    let record = read(&failed);
    assert_eq!(record.error.unwrap().to_string(), "broke (code: server_error)");
    assert_eq!((record.finish_reason.as_deref(), record.choices), (Some("failed"), 0));
    assert!(record.output.is_empty());
}

#[test]
fn an_http_error_is_an_error() {
    let body =
        br#"{"error":{"message":"no such model","type":"invalid_request_error","code":"model_not_found"}}"#;
    let record = exchange_at(RESPONSES, br#"{"model":"m","input":"hi"}"#, 404, JSON, [&body[..]]).record();
    let error = record.error.unwrap().to_string();
    assert_eq!(error, "404: no such model (type: invalid_request_error, code: model_not_found)");
    assert!(record.output.is_empty() && record.finish_reason.is_none());
}
