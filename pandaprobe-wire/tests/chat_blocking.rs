//! Blocking chat answers.

mod common;

use common::{JSON, SSE, answer, blocking, delta, exchange, finish, record, request, stream};
use pandaprobe_wire::{MAX_BODY, Usage};
use serde_json::{Value, json};

#[test]
fn every_field_of_an_answer_is_read() {
    let record = blocking(&json!({
        "id": "r-1", "model": "m-2024",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {
            "role": "assistant", "content": "Hello", "refusal": null, "annotations": [], "reasoning_content": "hm"}}],
        "usage": {
            "prompt_tokens": 10, "completion_tokens": 7, "total_tokens": 17,
            "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2},
            "completion_tokens_details": {"reasoning_tokens": 5, "accepted_prediction_tokens": 3, "audio_tokens": 0}},
    }));
    assert_eq!(record.output, [json!({"role": "assistant", "content": "Hello"})]);
    assert_eq!(record.reasoning.as_deref(), Some("hm"));
    assert_eq!(record.model_responded.as_deref(), Some("m-2024"));
    assert_eq!(record.response_id.as_deref(), Some("r-1"));
    assert_eq!(record.finish_reason.as_deref(), Some("stop"));
    let usage = Usage {
        prompt_tokens: Some(10),
        completion_tokens: Some(7),
        total_tokens: Some(17),
        reasoning_tokens: Some(5),
        cache_read_tokens: Some(4),
        cache_creation_tokens: Some(2),
        details: [("accepted_prediction_tokens".to_owned(), 3)].into(),
    };
    assert_eq!(record.usage, Some(usage));
    assert!(record.terminal && !record.streaming && record.notes.is_empty() && record.error.is_none());
}

#[test]
fn usage_numbers_are_taken_only_where_they_are_counts() {
    let usage = |usage: Value| blocking(&json!({"choices": [], "usage": usage})).usage;
    let read = usage(json!({"prompt_tokens": 12.0, "completion_tokens": -1, "total_tokens": 0})).unwrap();
    assert_eq!((read.prompt_tokens, read.completion_tokens, read.total_tokens), (Some(12), None, None));
    let read = usage(json!({"prompt_tokens": 5_000_000_000_u64, "completion_tokens": 1.5})).unwrap();
    assert_eq!((read.prompt_tokens, read.completion_tokens), (Some(5_000_000_000), None));
    assert_eq!(usage(json!({"total_tokens": 3})), None);
    assert_eq!(usage(json!({"prompt_tokens": "12", "completion_tokens": {}})), None);
    assert_eq!(usage(Value::Null), None);
}

#[test]
fn cached_tokens_are_found_under_their_several_names() {
    for name in ["prompt_cache_hit_tokens", "cache_read_input_tokens", "num_cached_tokens"] {
        let mut usage = json!({"prompt_tokens": 9, "completion_tokens": 1});
        usage[name] = json!(6);
        let record = blocking(&json!({"choices": [], "usage": usage}));
        assert_eq!(record.usage.unwrap().cache_read_tokens, Some(6), "{name}");
    }
}

#[test]
fn tool_calls_keep_their_arguments_verbatim() {
    let record = blocking(&answer(json!({"role": "assistant", "content": null, "tool_calls": [
        {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{\"x\" :1}"}},
        {"id": "a", "type": "function", "function": {"name": "g", "arguments": {"y": 2}}}]})));
    let expected = json!([
        {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{\"x\" :1}"}},
        {"id": "a", "type": "function", "function": {"name": "g", "arguments": "{\"y\":2}"}}]);
    assert_eq!(record.output, [json!({"role": "assistant", "content": null, "tool_calls": expected})]);
}

#[test]
fn choices_come_in_the_order_of_their_index() {
    let choice =
        |index: u64, text: &str| json!({"index": index, "message": {"content": text}, "finish_reason": text});
    let record = blocking(&json!({"choices": [choice(1, "b"), choice(0, "a")]}));
    let texts: Vec<&Value> = record.output.iter().map(|message| &message["content"]).collect();
    assert_eq!(texts, ["a", "b"]);
    assert_eq!((record.choices, record.finish_reason.as_deref()), (2, Some("a")));
}

#[test]
fn a_refusal_is_the_text_where_there_is_no_other() {
    let record = blocking(&answer(json!({"content": null, "refusal": "no"})));
    assert_eq!((&record.output[0]["content"], record.refusal.as_deref()), (&json!("no"), Some("no")));
    let record = blocking(&answer(json!({"content": "well", "refusal": "no"})));
    assert_eq!((&record.output[0]["content"], record.refusal.as_deref()), (&json!("well"), Some("no")));
}

#[test]
fn content_that_is_missing_or_empty_stays_so() {
    for (message, content) in [
        (json!({}), Value::Null),
        (json!({"content": null}), Value::Null),
        (json!({"content": ""}), json!("")),
    ] {
        assert_eq!(blocking(&answer(message)).output, [json!({"role": "assistant", "content": content})]);
    }
    assert!(blocking(&json!({"choices": []})).output.is_empty());
}

#[test]
fn content_arrays_give_text_reasoning_and_references() {
    let record = blocking(&answer(json!({"content": [
        {"type": "thinking", "thinking": [{"type": "text", "text": "let me see"}]},
        {"type": "text", "text": "It is "}, {"type": "text", "text": "so"}]})));
    assert_eq!(record.output[0]["content"], "It is so");
    assert_eq!(record.reasoning.as_deref(), Some("let me see"));
    let record = blocking(&answer(json!({"content": [
        {"type": "text", "text": "a"}, {"type": "reference", "reference_ids": [1]}, {"type": "text", "text": "b"}]})));
    let expected = json!([
        {"type": "text", "text": "a"}, {"type": "reference", "reference_ids": [1]}, {"type": "text", "text": "b"}]);
    assert_eq!(record.output[0]["content"], expected);
}

#[test]
fn audio_and_images_become_references() {
    let record = blocking(&answer(
        json!({"content": null, "audio": {"id": "a", "data": "AAAAAAAA", "transcript": "hi"}}),
    ));
    let expected = json!([{"type": "text", "text": "hi"}, {"type": "audio", "bytes": 6, "id": "a"}]);
    assert_eq!(record.output[0]["content"], expected);
    let image = json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}});
    let record = blocking(&answer(json!({"content": "here", "images": [image]})));
    let reference = json!({"type": "image_url", "media_type": "image/png", "bytes": 3});
    assert_eq!(record.output[0]["content"], json!([{"type": "text", "text": "here"}, reference]));
}

#[test]
fn reasoning_has_several_names_and_counts_once() {
    let details = json!([{"type": "reasoning.text", "text": "why"}]);
    for message in [
        json!({"reasoning": "why"}),
        json!({"reasoning_content": "why", "reasoning": "why"}),
        json!({"reasoning": "why", "reasoning_details": details}),
        json!({"reasoning": null, "reasoning_details": [{"summary": "why"}]}),
    ] {
        assert_eq!(blocking(&answer(message.clone())).reasoning.as_deref(), Some("why"), "{message}");
    }
}

#[test]
fn an_event_stream_under_a_json_header_is_read_as_one() {
    let body = stream(&[delta(0, json!({"content": "hi"})), finish(0, "stop")]);
    for content_type in [JSON, None, Some("application/octet-stream")] {
        let whole = record(&request(false), 200, content_type, &body);
        let record = exchange(&request(false), 200, content_type, body.chunks(1)).record();
        assert_eq!(record, whole);
        assert_eq!(record.output, [json!({"role": "assistant", "content": "hi"})]);
        assert!(record.streaming && record.terminal);
    }
}

#[test]
fn the_content_type_decides_where_the_start_does_not() {
    let mut body = b"x-unknown: 1\n".to_vec();
    body.extend(stream(&[delta(0, json!({"content": "hi"}))]));
    let streamed = record(&request(false), 200, SSE, &body);
    assert_eq!(streamed.output[0]["content"], "hi");
    let blocking = record(&request(false), 200, JSON, &body);
    assert!(blocking.output.is_empty() && blocking.notes.len() == 1);
}

#[test]
fn json_under_an_event_stream_header_is_read_as_json() {
    let body = format!("\n  {}", answer(json!({"content": "hi"})));
    let record = record(&request(false), 200, SSE, body.as_bytes());
    assert_eq!(record.output[0]["content"], "hi");
    assert!(!record.streaming);
}

#[test]
fn a_truncated_answer_is_noted_and_no_error() {
    let body = answer(json!({"content": "hello"})).to_string();
    for end in 1..body.len() {
        let record = record(&request(false), 200, JSON, &body.as_bytes()[..end]);
        assert!(record.notes[0].starts_with("answer is not JSON: "), "{:?}", record.notes);
        assert!(record.error.is_none() && record.output.is_empty() && !record.terminal);
    }
    assert_eq!(record(&request(false), 200, JSON, b"").notes, ["answer is empty"]);
}

#[test]
fn malformed_json_is_noted() {
    let record = record(&request(false), 200, JSON, b"{\"choices\": [}]");
    assert!(record.notes[0].starts_with("answer is not JSON: "), "{:?}", record.notes);
    assert!(record.output.is_empty() && !record.terminal);
}

#[test]
fn lone_surrogates_cost_no_more_than_themselves() {
    let record =
        record(&request(false), 200, JSON, br#"{"choices":[{"message":{"content":"a\ud800b\u0000"}}]}"#);
    assert_eq!(record.output[0]["content"], "a\u{fffd}b\0");
    assert_eq!(record.notes, ["lone surrogates replaced"]);
}

#[test]
fn deep_nesting_costs_no_more_than_itself() {
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let body = format!(r#"{{"x":{deep},"choices":[{{"message":{{"content":"a"}}}}]}}"#);
    let record = record(&request(false), 200, JSON, body.as_bytes());
    assert_eq!(record.output[0]["content"], "a");
    assert_eq!(record.notes, ["deep nesting turned into text"]);
}

#[test]
fn a_record_may_be_taken_before_the_end() {
    let mut exchange = pandaprobe_wire::Exchange::new(common::PATH, &request(false));
    assert_eq!(exchange.record().input.len(), 1);
    exchange.start(200, JSON);
    exchange.push(answer(json!({"content": "hi"})).to_string().as_bytes());
    assert!(!exchange.is_terminal());
    assert_eq!(exchange.record().output[0]["content"], "hi");
    exchange.end();
    assert!(exchange.is_terminal());
    assert!(!exchange.push(b"more").token);
    assert_eq!(exchange.record().output[0]["content"], "hi");
}

#[test]
fn the_body_is_given_back_once_it_was_read() {
    let body = answer(json!({"content": "hi", "junk": "x".repeat(1 << 20)})).to_string();
    assert!(exchange(&request(false), 200, JSON, [body.as_bytes()]).held_bytes() < 10_000);
}

#[test]
fn an_answer_over_the_cap_is_noted_and_not_held() {
    let mut exchange = pandaprobe_wire::Exchange::new(common::PATH, &request(false));
    exchange.start(200, JSON);
    exchange.push(b"{\"x\":\"");
    let piece = vec![b'x'; 1 << 20];
    for _ in 0..=MAX_BODY >> 20 {
        exchange.push(&piece);
    }
    assert!(exchange.held_bytes() < 1 << 20, "{}", exchange.held_bytes());
    exchange.end();
    let record = exchange.record();
    assert!(record.notes[0].contains("too long"), "{:?}", record.notes);
    assert!(record.error.is_none());
}
