//! Streamed answers of Responses.

mod common;

use common::{RESPONSES, SSE, exchange_at, named_stream};
use pandaprobe_wire::{Exchange, LlmRecord, MAX_TEXT, Progress};
use serde_json::{Value, json};

const REQUEST: &[u8] = br#"{"model":"m","input":"hi","stream":true}"#;

fn read(events: &[Value]) -> LlmRecord {
    exchange_at(RESPONSES, REQUEST, 200, SSE, [named_stream(events).as_slice()]).record()
}

fn response(status: &str, output: &[Value]) -> Value {
    json!({"id": "resp_1", "object": "response", "model": "m-1", "status": status, "output": output,
        "usage": {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}})
}

fn created() -> Value {
    let response = json!({"id": "resp_1", "object": "response", "model": "m-1", "status": "in_progress", "output": [],
        "error": null, "usage": null});
    json!({"type": "response.created", "response": response})
}

fn end(status: &str, output: &[Value]) -> Value {
    json!({"type": format!("response.{status}"), "response": response(status, output)})
}

fn added(index: u64, item: &Value) -> Value {
    json!({"type": "response.output_item.added", "output_index": index, "item": item})
}

fn done(index: u64, item: &Value) -> Value {
    json!({"type": "response.output_item.done", "output_index": index, "item": item})
}

fn delta(kind: &str, index: u64, part: u64, text: &str) -> Value {
    let part_key = if kind == "reasoning_summary_text" { "summary_index" } else { "content_index" };
    json!({"type": format!("response.{kind}.delta"), "output_index": index, part_key: part, "delta": text})
}

fn message(texts: &[&str]) -> Value {
    let parts: Vec<Value> = texts.iter().map(|text| json!({"type": "output_text", "text": text})).collect();
    json!({"type": "message", "id": "msg_1", "role": "assistant", "content": parts})
}

fn call(number: u64, name: &str, arguments: &str) -> Value {
    json!({"type": "function_call", "id": format!("fc_{number}"), "call_id": format!("c-{number}"), "name": name,
        "arguments": arguments, "status": "completed"})
}

fn thought(blocks: &[&str]) -> Value {
    let blocks: Vec<Value> =
        blocks.iter().map(|text| json!({"type": "summary_text", "text": text})).collect();
    json!({"type": "reasoning", "id": "rs_1", "summary": blocks})
}

fn search(status: &str) -> Value {
    json!({"type": "web_search_call", "id": "ws_1", "status": status, "action": {"query": "q"}})
}

/// The items of [`rich`] when all is done.
fn rich_items() -> [Value; 5] {
    [
        thought(&["I żnow", "it"]),
        search("completed"),
        message(&["Hello 🐢", " there"]),
        call(1, "f", "{\"a\":1}"),
        call(2, "g", "{\"b\":2}"),
    ]
}

/// A stream that has a bit of everything, without its end.
fn rich() -> Vec<Value> {
    let [thought_done, search_done, message_done, first, second] = rich_items();
    vec![
        created(),
        added(0, &thought(&[])),
        delta("reasoning_summary_text", 0, 0, "I ż"),
        delta("reasoning_summary_text", 0, 0, "now"),
        delta("reasoning_summary_text", 0, 1, "it"),
        done(0, &thought_done),
        added(1, &search("in_progress")),
        json!({"type": "response.web_search_call.searching", "output_index": 1, "item_id": "ws_1"}),
        done(1, &search_done),
        added(2, &message(&[])),
        delta("output_text", 2, 0, "Hello "),
        delta("output_text", 2, 0, "🐢"),
        delta("output_text", 2, 1, " there"),
        json!({"type": "response.output_text.done", "output_index": 2, "content_index": 1, "text": " there"}),
        done(2, &message_done),
        added(3, &call(1, "f", "")),
        added(4, &call(2, "g", "")),
        delta("function_call_arguments", 3, 0, "{\"a\":"),
        delta("function_call_arguments", 4, 0, "{\"b\":2"),
        delta("function_call_arguments", 3, 0, "1}"),
        delta("function_call_arguments", 4, 0, "}"),
        done(3, &first),
        done(4, &second),
    ]
}

fn without_done(events: Vec<Value>) -> Vec<Value> {
    events.into_iter().filter(|event| event["type"] != "response.output_item.done").collect()
}

fn text(record: &LlmRecord) -> String {
    let content = record.output.first().and_then(|message| message["content"].as_str());
    content.unwrap_or_default().to_owned()
}

#[test]
fn a_completed_response_is_taken_whole() {
    let mut events = rich();
    events.push(end("completed", &rich_items()));
    let record = read(&events);
    let call = |id: &str, name: &str, arguments: &str| json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}});
    let calls = json!([call("c-1", "f", "{\"a\":1}"), call("c-2", "g", "{\"b\":2}")]);
    let expected = json!({"role": "assistant", "content": "Hello 🐢 there", "tool_calls": calls});
    assert_eq!(record.output, [expected]);
    assert_eq!(record.reasoning.as_deref(), Some("I żnow\n\nit"));
    assert_eq!(
        record.tools.iter().map(|tool| tool.name.as_str()).collect::<Vec<_>>(),
        ["web_search", "f", "g"]
    );
    assert_eq!((record.choices, record.finish_reason.as_deref()), (1, Some("completed")));
    assert_eq!(record.model_responded.as_deref(), Some("m-1"));
    assert_eq!(record.response_id.as_deref(), Some("resp_1"));
    assert_eq!(record.usage.and_then(|usage| usage.total_tokens), Some(7));
    assert!(record.terminal && record.streaming && record.notes.is_empty() && record.error.is_none());
}

#[test]
fn events_alone_give_what_the_end_gives() {
    let mut events = rich();
    events.push(end("completed", &rich_items()));
    let whole = read(&events);
    events.pop();
    for events in [rich(), without_done(rich())] {
        let record = read(&events);
        assert_eq!((&record.output, &record.reasoning), (&whole.output, &whole.reasoning));
        assert_eq!(record.tools.len(), whole.tools.len());
        assert_eq!(record.tools[1..], whole.tools[1..]);
        assert_eq!((record.finish_reason, record.terminal), (None, false));
        assert_eq!(record.notes, ["the stream ended before the answer was complete"]);
    }
    assert_eq!(read(&events).tools, whole.tools);
}

#[test]
fn an_end_without_output_keeps_what_came() {
    for status in ["completed", "incomplete", "failed"] {
        let mut events = without_done(rich());
        events.push(end(status, &[]));
        let record = read(&events);
        assert_eq!(text(&record), "Hello 🐢 there", "{status}");
        assert_eq!((record.terminal, record.finish_reason.as_deref()), (true, Some(status)));
    }
}

#[test]
fn an_incomplete_response_says_why() {
    let mut last = end("incomplete", &[message(&["par"])]);
    last["response"]["incomplete_details"] = json!({"reason": "max_output_tokens"});
    let record = read(&[created(), added(0, &message(&[])), delta("output_text", 0, 0, "par"), last]);
    assert_eq!((text(&record).as_str(), record.finish_reason.as_deref()), ("par", Some("max_output_tokens")));
    assert_eq!(record.usage.and_then(|usage| usage.completion_tokens), Some(4));
    assert!(record.terminal && record.error.is_none() && record.notes.is_empty());
}

#[test]
fn a_failed_response_is_an_error_and_keeps_what_came() {
    let mut last = end("failed", &[]);
    last["response"]["error"] = json!({"code": "server_error", "message": "broke"});
    let record = read(&[created(), added(0, &message(&[])), delta("output_text", 0, 0, "par"), last]);
    assert_eq!(record.error.as_ref().unwrap().to_string(), "broke (code: server_error)");
    assert_eq!((text(&record).as_str(), record.finish_reason.as_deref()), ("par", Some("failed")));
    assert!(record.terminal && record.notes.is_empty());
}

#[test]
fn an_error_event_ends_the_stream() {
    let flat =
        json!({"type": "error", "code": "ERR", "message": "overloaded", "param": null, "sequence_number": 2});
    let nested =
        json!({"type": "error", "error": {"type": "tokens", "code": "ERR", "message": "overloaded"}});
    let bare = json!({"error": {"code": "ERR", "message": "overloaded"}});
    for (event, shown) in [
        (flat, "overloaded (code: ERR)"),
        (nested, "overloaded (type: tokens, code: ERR)"),
        (bare, "overloaded (code: ERR)"),
    ] {
        let record = read(&[created(), added(0, &message(&[])), delta("output_text", 0, 0, "par"), event]);
        assert_eq!(record.error.as_ref().unwrap().to_string(), shown);
        assert_eq!(text(&record), "par");
        assert!(record.terminal && record.notes.is_empty());
    }
    let record =
        exchange_at(RESPONSES, REQUEST, 200, SSE, [&b"event: error\ndata: slow down\n\n"[..]]).record();
    assert_eq!((record.error.unwrap().message.as_str(), record.terminal), ("slow down", true));
}

#[test]
fn refusals_are_the_text_where_there_is_no_other() {
    let events =
        [created(), added(0, &message(&[])), delta("refusal", 0, 0, "I can"), delta("refusal", 0, 0, "not")];
    let record = read(&events);
    assert_eq!((text(&record).as_str(), record.refusal.as_deref()), ("I cannot", Some("I cannot")));
    let refusal =
        json!({"type": "message", "id": "msg_1", "content": [{"type": "refusal", "refusal": "I cannot"}]});
    let ended = read(&[&events[..], &[end("completed", &[refusal])]].concat());
    assert_eq!((ended.output, ended.refusal), (record.output, record.refusal));
}

#[test]
fn reasoning_text_follows_the_summary() {
    let record = read(&[
        added(0, &thought(&[])),
        delta("reasoning_text", 0, 0, "long"),
        delta("reasoning_summary_text", 0, 0, "short"),
        delta("reasoning_text", 0, 0, "er"),
    ]);
    assert_eq!(record.reasoning.as_deref(), Some("short\n\nlonger"));
    assert!(record.output.is_empty(), "nothing was said");
}

#[test]
fn other_calls_are_merged_from_their_deltas() {
    let item = |kind: &str, id: &str| json!({"type": kind, "id": id, "name": "t", "status": "in_progress"});
    let record = read(&[
        added(0, &item("mcp_call", "a")),
        added(1, &item("custom_tool_call", "b")),
        added(2, &item("code_interpreter_call", "c")),
        delta("mcp_call_arguments", 0, 0, "{\"q\""),
        delta("custom_tool_call_input", 1, 0, "free"),
        delta("mcp_call_arguments", 0, 0, ":1}"),
        delta("code_interpreter_call_code", 2, 0, "1+1"),
        delta("function_call_arguments", 3, 0, "{}"),
    ]);
    let read: Vec<_> = record.tools.iter().map(|tool| (tool.kind.as_str(), &tool.input)).collect();
    let expected = [
        ("mcp_call", &json!({"q": 1})),
        ("custom_tool_call", &json!("free")),
        ("code_interpreter_call", &json!({"code": "1+1"})),
        ("function_call", &json!({})),
    ];
    assert_eq!(read, expected);
    assert_eq!(record.output[0]["tool_calls"].as_array().map(Vec::len), Some(2));
}

#[test]
fn items_are_found_without_an_index() {
    let bare = |mut event: Value, id: &str| {
        event.as_object_mut().unwrap().remove("output_index");
        if !id.is_empty() {
            event["item_id"] = json!(id);
        }
        event
    };
    let record = read(&[
        bare(added(0, &call(1, "f", "")), ""),
        bare(added(0, &call(2, "g", "")), ""),
        bare(delta("function_call_arguments", 0, 0, "{\"a\":1}"), "fc_1"),
        bare(delta("function_call_arguments", 0, 0, "{\"b\":"), ""),
        bare(delta("function_call_arguments", 0, 0, "2}"), "fc_2"),
        bare(done(0, &call(1, "f", "{\"a\":1}")), ""),
    ]);
    let inputs: Vec<&Value> = record.tools.iter().map(|tool| &tool.input).collect();
    assert_eq!(inputs, [&json!({"a": 1}), &json!({"b": 2})]);
}

#[test]
fn an_item_that_ends_empty_keeps_its_deltas() {
    let record = read(&[
        added(0, &message(&[])),
        delta("output_text", 0, 0, "text"),
        done(0, &message(&[])),
        added(1, &call(1, "f", "")),
        delta("function_call_arguments", 1, 0, "{\"a\":1}"),
        done(1, &call(1, "f", "")),
    ]);
    assert_eq!((text(&record).as_str(), &record.tools[0].input), ("text", &json!({"a": 1})));
}

#[test]
fn a_server_may_answer_a_stream_with_one_response() {
    let record = read(&[response("completed", &[message(&["all at once"])])]);
    assert_eq!((text(&record).as_str(), record.terminal), ("all at once", true));
}

#[test]
fn progress_tells_of_the_first_token_and_of_the_end() {
    let mut exchange = Exchange::new(RESPONSES, REQUEST);
    exchange.start(200, SSE);
    let mut push = |event: Value| exchange.push(&named_stream(&[event]));
    let (nothing, token) = (Progress::default(), Progress { token: true, terminal: false });
    assert_eq!(push(created()), nothing);
    assert_eq!(push(added(0, &message(&[]))), nothing);
    assert_eq!(push(delta("output_text", 0, 0, "")), nothing);
    for kind in ["output_text", "refusal"] {
        assert_eq!(push(delta(kind, if kind == "refusal" { 5 } else { 0 }, 0, "a")), token, "{kind}");
    }
    assert_eq!(push(done(0, &message(&["a"]))), nothing);
    assert_eq!(push(added(1, &thought(&[]))), nothing);
    assert_eq!(push(delta("reasoning_summary_text", 1, 0, "a")), token);
    assert_eq!(push(delta("reasoning_text", 1, 0, "a")), token);
    assert_eq!(push(added(2, &search("in_progress"))), nothing);
    assert_eq!(push(added(3, &call(1, "f", ""))), token);
    assert_eq!(push(delta("function_call_arguments", 3, 0, "{}")), token);
    assert_eq!(push(done(3, &call(1, "f", "{}"))), nothing);
    let last = end("completed", &[message(&["a"])]);
    assert_eq!(push(last), Progress { token: false, terminal: true });
}

#[test]
fn output_that_comes_with_the_end_is_a_token() {
    let mut exchange = Exchange::new(RESPONSES, REQUEST);
    exchange.start(200, SSE);
    let progress = exchange.push(&named_stream(&[end("completed", &[message(&["a"])])]));
    assert_eq!(progress, Progress { token: true, terminal: true });
}

/// Whether a record holds no more than a start of another: text, reasoning and calls.
fn assert_prefix(partial: &LlmRecord, full: &LlmRecord, what: &str) {
    assert!(text(full).starts_with(&text(partial)), "{what}");
    let reasoning = |record: &LlmRecord| record.reasoning.clone().unwrap_or_default();
    assert!(reasoning(full).starts_with(&reasoning(partial)), "{what}");
    let calls = |record: &LlmRecord| {
        let calls = record.output.first().and_then(|message| message["tool_calls"].as_array().cloned());
        calls.unwrap_or_default()
    };
    let (some, all) = (calls(partial), calls(full));
    assert!(some.len() <= all.len() && partial.tools.len() <= full.tools.len(), "{what}");
    for (some, all) in some.iter().zip(&all) {
        assert_eq!(
            (&some["id"], &some["function"]["name"]),
            (&all["id"], &all["function"]["name"]),
            "{what}"
        );
        let arguments = |call: &Value| call["function"]["arguments"].as_str().unwrap_or("no text").to_owned();
        assert!(arguments(all).starts_with(&arguments(some)), "{what}");
    }
}

#[test]
fn a_stream_cut_at_any_byte_gives_a_prefix() {
    let mut events = rich();
    events.push(end("completed", &rich_items()));
    for events in [without_done(events.clone()), events] {
        let body = named_stream(&events);
        let full = exchange_at(RESPONSES, REQUEST, 200, SSE, [body.as_slice()]).record();
        let mut longest = 0;
        for cut in 0..body.len() {
            let mut exchange = Exchange::new(RESPONSES, REQUEST);
            exchange.start(200, SSE);
            exchange.push(&body[..cut]);
            let open = exchange.record();
            exchange.end();
            let ended = exchange.record();
            assert_prefix(&open, &full, &format!("open, cut at {cut}"));
            assert_prefix(&ended, &full, &format!("cut at {cut}"));
            assert!(ended.error.is_none() && text(&ended).len() >= longest, "cut at {cut}");
            longest = text(&ended).len();
        }
        assert_eq!(longest, text(&full).len());
    }
}

#[test]
fn a_stream_cut_after_any_event_is_noted() {
    let events = rich();
    for count in 1..events.len() {
        let record = read(&events[..count]);
        assert_eq!(record.model_responded.as_deref(), Some("m-1"), "{count} events");
        assert_eq!(record.notes, ["the stream ended before the answer was complete"], "{count} events");
        assert!(!record.terminal && record.finish_reason.is_none(), "{count} events");
    }
}

#[test]
fn any_cut_in_two_gives_the_same_record() {
    let mut events = rich();
    events.push(end("completed", &rich_items()));
    let body = named_stream(&events);
    let record = |pieces: Vec<&[u8]>| exchange_at(RESPONSES, REQUEST, 200, SSE, pieces).record();
    let whole = record(vec![&body]);
    for at in (0..=body.len()).step_by(3) {
        let (head, tail) = body.split_at(at);
        assert_eq!(record(vec![head, tail]), whole, "cut at {at}");
    }
    assert_eq!(record(body.chunks(1).collect()), whole);
}

#[test]
fn text_over_the_cap_is_left_out_and_the_rest_still_read() {
    let mut exchange = Exchange::new(RESPONSES, REQUEST);
    exchange.start(200, SSE);
    exchange.push(&named_stream(&[added(0, &message(&[]))]));
    let piece = named_stream(&[delta("output_text", 0, 0, &"ż".repeat(1 << 19))]);
    for _ in 0..(MAX_TEXT >> 20) + 2 {
        exchange.push(&piece);
    }
    assert!(exchange.held_bytes() < 2 * MAX_TEXT);
    exchange.push(&named_stream(&[done(0, &message(&["short"])), end("incomplete", &[])]));
    exchange.end();
    let record = exchange.record();
    assert!(text(&record).len() <= MAX_TEXT && text(&record).len() > MAX_TEXT - (1 << 20));
    assert_eq!(record.finish_reason.as_deref(), Some("incomplete"));
    assert_eq!(record.usage.and_then(|usage| usage.completion_tokens), Some(4));
    assert!(record.notes.iter().any(|note| note.contains("too long")), "{:?}", record.notes);
}

#[test]
fn items_that_are_sent_again_take_no_more_room() {
    let mut exchange = Exchange::new(RESPONSES, REQUEST);
    exchange.start(200, SSE);
    let long = "x".repeat(1 << 20);
    let again = named_stream(&[done(0, &message(&[&long])), done(1, &call(1, "f", &long))]);
    for _ in 0..12 {
        exchange.push(&again);
    }
    assert!(exchange.held_bytes() < 3 << 20, "{}", exchange.held_bytes());
    exchange.push(&named_stream(&[end("completed", &[message(&[&long])])]));
    exchange.end();
    let record = exchange.record();
    assert_eq!((text(&record).len(), record.notes.len()), (1 << 20, 0));
}
