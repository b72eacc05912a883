//! Streamed chat answers.

mod common;

use common::{PATH, SSE, delta, exchange, finish, record, request, stream, streamed};
use pandaprobe_wire::{Exchange, MAX_TEXT, Progress};
use serde_json::{Value, json};

fn call(index: u64, id: Value, name: Value, arguments: Value) -> Value {
    json!({"index": index, "id": id, "function": {"name": name, "arguments": arguments}})
}

fn calls(deltas: Vec<Vec<Value>>) -> Vec<(String, String, String)> {
    let events: Vec<Value> = deltas.into_iter().map(|calls| delta(0, json!({"tool_calls": calls}))).collect();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let record = streamed(&events);
    let calls = record.output[0]["tool_calls"].as_array().into_iter().flatten();
    calls.map(|c| (text(&c["id"]), text(&c["function"]["name"]), text(&c["function"]["arguments"]))).collect()
}

fn owned(calls: &[(&str, &str, &str)]) -> Vec<(String, String, String)> {
    calls
        .iter()
        .map(|(id, name, arguments)| (id.to_string(), name.to_string(), arguments.to_string()))
        .collect()
}

/// A stream that has a bit of everything.
fn rich_stream() -> Vec<u8> {
    let first = call(0, json!("c-1"), json!("weather"), json!(""));
    stream(&[
        delta(0, json!({"role": "assistant", "content": ""})),
        delta(0, json!({"reasoning": "I żnow"})),
        delta(0, json!({"content": "Hello "})),
        delta(1, json!({"content": "Hi"})),
        delta(0, json!({"content": "🐢 there"})),
        delta(0, json!({"tool_calls": [first]})),
        delta(0, json!({"tool_calls": [call(0, Value::Null, Value::Null, json!("{\"a\":"))]})),
        delta(1, json!({"content": " you"})),
        delta(0, json!({"tool_calls": [call(0, Value::Null, Value::Null, json!("1}"))]})),
        finish(0, "tool_calls"),
        finish(1, "stop"),
        json!({"model": "m-2", "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}}),
    ])
}

#[test]
fn deltas_are_merged_by_choice() {
    let record = record(&request(true), 200, SSE, &rich_stream());
    let function = json!({"name": "weather", "arguments": "{\"a\":1}"});
    let expected = [
        json!({"role": "assistant", "content": "Hello 🐢 there",
            "tool_calls": [{"id": "c-1", "type": "function", "function": function}]}),
        json!({"role": "assistant", "content": "Hi you"}),
    ];
    assert_eq!(record.output, expected);
    assert_eq!((record.choices, record.finish_reason.as_deref()), (2, Some("tool_calls")));
    assert_eq!(record.reasoning.as_deref(), Some("I żnow"));
    assert_eq!(record.model_responded.as_deref(), Some("m-2"));
    assert_eq!(record.response_id.as_deref(), Some("r-1"));
    assert_eq!(record.usage.and_then(|usage| usage.total_tokens), Some(7));
    assert!(record.terminal && record.streaming && record.notes.is_empty());
}

#[test]
fn parallel_calls_interleave() {
    let read = calls(vec![
        vec![call(0, json!("a"), json!("f"), json!("")), call(1, json!("b"), json!("g"), json!(""))],
        vec![call(1, json!(""), Value::Null, json!("{\"y\":"))],
        vec![
            call(0, Value::Null, json!(""), json!("{\"x\":1}")),
            call(1, Value::Null, Value::Null, json!("2}")),
        ],
    ]);
    assert_eq!(read, owned(&[("a", "f", "{\"x\":1}"), ("b", "g", "{\"y\":2}")]));
}

#[test]
fn an_index_used_twice_means_two_calls() {
    let read = calls(vec![
        vec![call(0, json!("a"), json!("f"), json!("{}"))],
        vec![call(0, json!("b"), json!("f"), json!("{\"x\":"))],
        vec![call(0, Value::Null, Value::Null, json!("1}"))],
    ]);
    assert_eq!(read, owned(&[("a", "f", "{}"), ("b", "f", "{\"x\":1}")]));
}

#[test]
fn calls_without_an_index_go_by_position() {
    let whole = |id: &str| json!({"id": id, "function": {"name": "f", "arguments": {"id": id}}});
    let read = calls(vec![vec![whole("a"), whole("b")]]);
    assert_eq!(read, owned(&[("a", "f", "{\"id\":\"a\"}"), ("b", "f", "{\"id\":\"b\"}")]));
}

#[test]
fn a_name_is_joined_from_pieces_but_not_from_repetitions() {
    let split = calls(vec![
        vec![call(0, json!("a"), json!("get_"), json!(""))],
        vec![call(0, Value::Null, json!("weather"), json!("{}"))],
    ]);
    assert_eq!(split, owned(&[("a", "get_weather", "{}")]));
    let repeated = calls(vec![
        vec![call(0, json!("a"), json!("f"), json!("{"))],
        vec![call(0, json!("a"), json!("f"), json!("}"))],
    ]);
    assert_eq!(repeated, owned(&[("a", "f", "{}")]));
}

#[test]
fn a_legacy_function_call_is_a_tool_call() {
    let record = streamed(&[
        delta(0, json!({"function_call": {"name": "f", "arguments": ""}})),
        delta(0, json!({"function_call": {"arguments": "{}"}})),
    ]);
    let function = json!({"name": "f", "arguments": "{}"});
    assert_eq!(record.output[0]["tool_calls"], json!([{"type": "function", "function": function}]));
}

#[test]
fn refusal_deltas_are_the_text_where_there_is_no_other() {
    let record = streamed(&[
        delta(0, json!({"role": "assistant", "content": null, "refusal": ""})),
        delta(0, json!({"refusal": "I can"})),
        delta(0, json!({"refusal": "not"})),
    ]);
    assert_eq!(record.output, [json!({"role": "assistant", "content": "I cannot"})]);
    assert_eq!(record.refusal.as_deref(), Some("I cannot"));
}

#[test]
fn empty_content_and_no_content_differ() {
    let content = |first: Value| streamed(&[delta(0, first), finish(0, "stop")]).output[0]["content"].clone();
    assert_eq!(content(json!({"role": "assistant", "content": ""})), "");
    assert_eq!(content(json!({"role": "assistant", "content": null})), Value::Null);
}

#[test]
fn reasoning_is_joined_under_each_of_its_names() {
    for name in ["reasoning_content", "reasoning", "reasoning_text"] {
        let record =
            streamed(&[delta(0, json!({name: "be"})), delta(0, json!({name: "cause", "content": null}))]);
        assert_eq!(record.reasoning.as_deref(), Some("because"), "{name}");
    }
    let part = |text: &str| {
        delta(0, json!({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": text}]}]}))
    };
    let record = streamed(&[part("be"), part("cause"), delta(0, json!({"content": "so"}))]);
    assert_eq!((record.reasoning.as_deref(), &record.output[0]["content"]), (Some("because"), &json!("so")));
}

#[test]
fn usage_is_read_from_groq_and_from_the_last_chunk() {
    let usage = |n: u64| json!({"prompt_tokens": n, "completion_tokens": 1});
    let record = streamed(&[json!({"choices": [], "x_groq": {"usage": usage(5)}})]);
    assert_eq!(record.usage.unwrap().prompt_tokens, Some(5));
    let events = [
        json!({"usage": usage(1)}),
        json!({"usage": usage(2)}),
        json!({"usage": null}),
        json!({"usage": {}}),
    ];
    assert_eq!(streamed(&events).usage.unwrap().prompt_tokens, Some(2));
}

#[test]
fn progress_tells_of_the_first_token_and_of_the_end() {
    let mut exchange = Exchange::new(PATH, &request(true));
    assert!(exchange.is_streaming());
    exchange.start(200, SSE);
    let mut push = |event: &str| exchange.push(format!("{event}\n\n").as_bytes());
    let nothing = Progress::default();
    let token = Progress { token: true, terminal: false };
    assert_eq!(push(": comment"), nothing);
    assert_eq!(push(&format!("data: {}", delta(0, json!({"role": "assistant", "content": ""})))), nothing);
    assert_eq!(push(&format!("data: {}", delta(0, json!({"content": "a"})))), token);
    assert_eq!(push(&format!("data: {}", delta(0, json!({"reasoning": "a"})))), token);
    let named = call(0, json!("c"), json!("f"), json!(""));
    assert_eq!(push(&format!("data: {}", delta(0, json!({"tool_calls": [named]})))), token);
    assert_eq!(push(&format!("data: {}", finish(0, "stop"))), Progress { token: false, terminal: true });
    assert!(exchange.is_terminal());
}

#[test]
fn two_choices_are_complete_when_both_have_finished() {
    let request = br#"{"messages":[],"stream":true,"n":2}"#;
    let mut exchange = Exchange::new(PATH, request);
    exchange.start(200, SSE);
    let mut push = |event: Value| exchange.push(format!("data: {event}\n\n").as_bytes()).terminal;
    assert!(!push(delta(0, json!({"content": "a"}))));
    assert!(!push(finish(0, "stop")));
    assert!(!push(delta(1, json!({"content": "b"}))));
    assert!(push(finish(1, "stop")));
}

#[test]
fn a_cut_stream_is_noted_and_keeps_what_came() {
    let body = format!("data: {}\n\n", delta(0, json!({"content": "par"})));
    let record = record(&request(true), 200, SSE, body.as_bytes());
    assert_eq!(record.output[0]["content"], "par");
    assert!(!record.terminal && record.error.is_none());
    assert_eq!(record.notes, ["the stream ended before the answer was complete"]);
}

#[test]
fn an_event_that_is_not_json_is_noted_and_passed_over() {
    let good = delta(0, json!({"content": "a"}));
    let body = format!("data: {good}\n\ndata: {{\"cho\n\ndata:\n\ndata: {good}\n\ndata: [DONE]\n\n");
    let record = record(&request(true), 200, SSE, body.as_bytes());
    assert_eq!(record.output[0]["content"], "aa");
    assert!(record.notes[0].starts_with("an event is not JSON: "), "{:?}", record.notes);
    assert_eq!(record.notes.len(), 1);
}

#[test]
fn a_stream_cut_at_any_byte_gives_a_prefix() {
    let body = rich_stream();
    let full = record(&request(true), 200, SSE, &body);
    let text = |record: &pandaprobe_wire::LlmRecord, choice: usize| {
        let content = record.output.get(choice).map(|message| message["content"].clone());
        content.and_then(|content| content.as_str().map(str::to_owned)).unwrap_or_default()
    };
    for end in 0..body.len() {
        let mut exchange = Exchange::new(PATH, &request(true));
        exchange.start(200, SSE);
        exchange.push(&body[..end]);
        let open = exchange.record();
        exchange.end();
        for partial in [open, exchange.record()] {
            for choice in 0..2 {
                assert!(text(&full, choice).starts_with(&text(&partial, choice)), "cut at {end}");
            }
            assert!(partial.choices <= 2 && partial.error.is_none(), "cut at {end}");
        }
    }
}

#[test]
fn any_cut_in_two_gives_the_same_record() {
    let body = rich_stream();
    let whole = record(&request(true), 200, SSE, &body);
    for at in 0..=body.len() {
        let (head, tail) = body.split_at(at);
        assert_eq!(exchange(&request(true), 200, SSE, [head, tail]).record(), whole, "cut at {at}");
    }
    assert_eq!(exchange(&request(true), 200, SSE, body.chunks(1)).record(), whole);
}

#[test]
fn text_over_the_cap_is_left_out_and_the_rest_still_read() {
    let mut exchange = Exchange::new(PATH, &request(true));
    exchange.start(200, SSE);
    let piece = format!("data: {}\n\n", delta(0, json!({"content": "ż".repeat(1 << 19)})));
    for _ in 0..(MAX_TEXT >> 20) + 2 {
        exchange.push(piece.as_bytes());
    }
    let usage = json!({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4}});
    exchange.push(&stream(&[finish(0, "length"), usage]));
    exchange.end();
    assert!(exchange.held_bytes() < 3 * MAX_TEXT);
    let record = exchange.record();
    let text = record.output[0]["content"].as_str().unwrap();
    assert!(text.len() <= MAX_TEXT && text.len() > MAX_TEXT - (1 << 20), "{}", text.len());
    assert_eq!(record.finish_reason.as_deref(), Some("length"));
    assert_eq!(record.usage.and_then(|usage| usage.completion_tokens), Some(4));
    assert!(record.notes.iter().any(|note| note.contains("too long")), "{:?}", record.notes);
}
