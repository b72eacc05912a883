//! Amazon Bedrock: Converse and InvokeModel, blocking and as streams of frames.

mod common;

use base64::{Engine, engine::general_purpose::STANDARD};
use common::{JSON, exchange_at};
use pandaprobe_wire::{Exchange, LlmRecord, Operation};
use serde_json::{Value, json};

const CONVERSE: &str = "/model/eu.amazon.nova-lite-v1%3A0/converse";
const CONVERSE_STREAM: &str = "/model/eu.amazon.nova-lite-v1%3A0/converse-stream";
const INVOKE: &str = "/model/m/invoke";
const INVOKE_STREAM: &str = "/model/m/invoke-with-response-stream";
const FRAMES: Option<&str> = Some("application/vnd.amazon.eventstream");

fn header(name: &str, value: &str) -> Vec<u8> {
    let length = (value.len() as u16).to_be_bytes();
    [&[name.len() as u8], name.as_bytes(), &[7], &length, value.as_bytes()].concat()
}

fn frame(headers: &[(&str, &str)], payload: &[u8]) -> Vec<u8> {
    let headers: Vec<u8> = headers.iter().flat_map(|(name, value)| header(name, value)).collect();
    let total = (16 + headers.len() + payload.len()) as u32;
    let prelude = [total.to_be_bytes(), (headers.len() as u32).to_be_bytes(), [0; 4]].concat();
    [&prelude, &headers[..], payload, &[0; 4]].concat()
}

fn event(kind: &str, payload: &Value) -> Vec<u8> {
    frame(&[(":event-type", kind), (":message-type", "event")], payload.to_string().as_bytes())
}

fn chunk(payload: &Value) -> Vec<u8> {
    event("chunk", &json!({"bytes": STANDARD.encode(payload.to_string()), "p": "abcd"}))
}

fn read(path: &str, request: &Value, content_type: Option<&str>, body: &[u8], step: usize) -> LlmRecord {
    exchange_at(path, request.to_string().as_bytes(), 200, content_type, body.chunks(step)).record()
}

/// The record of a body, which is the same in pieces of any size and whatever its content type.
fn same(path: &str, request: &Value, content_type: Option<&str>, body: &[u8]) -> LlmRecord {
    let record = common::same(path, request, content_type, body);
    assert_eq!(common::same(path, request, None, body), record);
    record
}

fn converse_request() -> Value {
    json!({
        "system": [{"text": "be brief"}, {"cachePoint": {"type": "default"}}],
        "messages": [
            {"role": "user", "content": [{"text": "add"}, {"image": {"format": "png", "source": {"bytes": "A".repeat(1000)}}}]},
            {"role": "assistant", "content": [{"reasoningContent": {"reasoningText": {"text": "hm"}}},
                {"toolUse": {"toolUseId": "t0", "name": "add", "input": {"x": 1}}}]},
            {"role": "user", "content": [{"toolResult": {"toolUseId": "t0", "content": [{"json": {"sum": 3}}], "status": "success"}},
                {"guardContent": {"text": {"text": "and?"}}}]}],
        "inferenceConfig": {"maxTokens": 9, "temperature": 0.5},
        "additionalModelRequestFields": {"top_k": 3},
        "toolConfig": {"tools": []}})
}

fn converse_events() -> Vec<(&'static str, Value)> {
    let delta =
        |index: u64, delta: Value| ("contentBlockDelta", json!({"contentBlockIndex": index, "delta": delta}));
    vec![
        ("messageStart", json!({"role": "assistant"})),
        delta(0, json!({"reasoningContent": {"text": "let me "}})),
        delta(0, json!({"reasoningContent": {"text": "see"}})),
        delta(0, json!({"reasoningContent": {"signature": "x"}})),
        ("contentBlockStop", json!({"contentBlockIndex": 0})),
        delta(1, json!({"text": "Hel"})),
        delta(1, json!({"text": "lo"})),
        (
            "contentBlockStart",
            json!({"contentBlockIndex": 2, "start": {"toolUse": {"toolUseId": "t1", "name": "add"}}}),
        ),
        delta(2, json!({"toolUse": {"input": "{\"x\":"}})),
        delta(2, json!({"toolUse": {"input": "1}"}})),
        ("messageStop", json!({"stopReason": "tool_use"})),
        (
            "metadata",
            json!({"usage": {"inputTokens": 3, "cacheReadInputTokens": 100, "cacheWriteInputTokens": 20,
            "outputTokens": 9, "totalTokens": 132}, "metrics": {"latencyMs": 1}}),
        ),
    ]
}

fn converse_stream() -> Vec<u8> {
    converse_events().iter().flat_map(|(kind, payload)| event(kind, payload)).collect()
}

fn assert_converse(record: &LlmRecord) {
    assert_eq!(record.operation, Operation::BedrockConverse);
    assert_eq!(record.model_requested.as_deref(), Some("eu.amazon.nova-lite-v1:0"));
    assert_eq!(record.reasoning.as_deref(), Some("let me see"));
    assert_eq!(record.finish_reason.as_deref(), Some("tool_use"));
    let call = json!({"id": "t1", "type": "function", "function": {"name": "add", "arguments": "{\"x\":1}"}});
    assert_eq!(
        json!(record.output),
        json!([{"role": "assistant", "content": "Hello", "tool_calls": [call]}])
    );
    let usage = record.usage.clone().unwrap_or_default();
    assert_eq!(
        (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens),
        (Some(123), Some(9), Some(132))
    );
    assert_eq!((usage.cache_read_tokens, usage.cache_creation_tokens), (Some(100), Some(20)));
}

#[test]
fn a_conversation_is_the_same_blocking_and_streamed() {
    let content = json!([{"reasoningContent": {"reasoningText": {"text": "let me see", "signature": "x"}}},
        {"text": "Hello"}, {"toolUse": {"toolUseId": "t1", "name": "add", "input": {"x": 1}}}]);
    let metadata = converse_events().pop().unwrap().1;
    let answer = json!({"output": {"message": {"role": "assistant", "content": content}}, "stopReason": "tool_use",
        "usage": metadata["usage"]});
    let blocking = same(CONVERSE, &converse_request(), JSON, answer.to_string().as_bytes());
    let streamed = same(CONVERSE_STREAM, &converse_request(), FRAMES, &converse_stream());
    assert!(!blocking.streaming && streamed.streaming);
    for record in [blocking, streamed] {
        assert_converse(&record);
        let call =
            json!({"id": "t0", "type": "function", "function": {"name": "add", "arguments": "{\"x\":1}"}});
        assert_eq!(
            json!(record.input),
            json!([
                {"role": "system", "content": "be brief"},
                {"role": "user", "content": [{"type": "text", "text": "add"},
                    {"type": "image", "image": {"format": "png", "source": {"bytes": {"bytes": 750}}}}]},
                {"role": "assistant", "content": null, "tool_calls": [call], "reasoning_content": "hm"},
                {"role": "tool", "tool_call_id": "t0", "content": "{\"sum\":3}"},
                {"role": "user", "content": "and?"}])
        );
        assert_eq!(
            json!(record.parameters),
            json!({"maxTokens": 9, "temperature": 0.5, "additionalModelRequestFields": {"top_k": 3}})
        );
    }
}

#[test]
fn tools_and_images_of_the_provider_are_told_apart_from_calls() {
    let content = json!([
        {"toolUse": {"toolUseId": "s1", "name": "nova_grounding", "type": "server_tool_use", "input": {"q": 1}}},
        {"toolResult": {"toolUseId": "s1", "content": [{"text": "found"}]}},
        {"citationsContent": {"content": [{"text": "It "}, {"text": "is."}], "citations": []}},
        {"image": {"format": "png", "source": {"bytes": "A".repeat(1000)}}}]);
    let answer =
        json!({"output": {"message": {"role": "assistant", "content": content}}, "stopReason": "end_turn"});
    let record = same(CONVERSE, &json!({}), JSON, answer.to_string().as_bytes());
    let image = json!({"type": "image", "image": {"format": "png", "source": {"bytes": {"bytes": 750}}}});
    assert_eq!(record.output[0]["content"], json!([{"type": "text", "text": "It is."}, image]));
    assert_eq!(record.output[0].get("tool_calls"), None);
    let [tool] = &record.tools[..] else {
        unreachable!("one tool: {:?}", record.tools);
    };
    assert!(tool.executed && tool.name == "nova_grounding" && tool.input == json!({"q": 1}));
    assert_eq!(tool.output, Some(json!([{"text": "found"}])));
}

#[test]
fn a_stream_cut_after_any_event_keeps_what_came() {
    let events = converse_events();
    for kept in 0..events.len() {
        let body: Vec<u8> = events[..kept].iter().flat_map(|(kind, payload)| event(kind, payload)).collect();
        let cut =
            [&body[..], &event("contentBlockDelta", &json!({"delta": {"text": "never"}}))[..20]].concat();
        let record = read(CONVERSE_STREAM, &converse_request(), FRAMES, &cut, 7);
        assert!(!record.terminal && record.streaming && record.error.is_none(), "{kept}");
        assert_eq!(record.notes, ["the stream ended before the answer was complete"], "{kept}");
        let expected = match kept {
            0 => None,
            1..=5 => Some(Value::Null),
            6 => Some(json!("Hel")),
            _ => Some(json!("Hello")),
        };
        let content = record.output.first().map(|message| message["content"].clone());
        assert_eq!(
            content.filter(|content| !content.is_null()),
            expected.filter(|text| !text.is_null()),
            "{kept}"
        );
    }
}

#[test]
fn an_exception_inside_of_a_stream_is_its_error() {
    let exception = frame(
        &[(":exception-type", "throttlingException"), (":message-type", "exception")],
        b"{\"message\":\"Too many tokens\"}",
    );
    for (path, first) in [
        (
            CONVERSE_STREAM,
            event("contentBlockDelta", &json!({"contentBlockIndex": 0, "delta": {"text": "Hel"}})),
        ),
        (INVOKE_STREAM, chunk(&json!({"outputText": "Hel"}))),
    ] {
        let record = same(path, &json!({}), FRAMES, &[&first[..], &exception].concat());
        let error = record.error.unwrap();
        assert_eq!(
            (error.message.as_str(), error.kind.as_deref()),
            ("Too many tokens", Some("throttlingException"))
        );
        assert_eq!(record.output[0]["content"], "Hel");
    }
}

#[test]
fn a_refused_stream_is_an_error_with_its_status() {
    for status in [400, 403, 429, 500, 503] {
        let body = b"{\"message\":\"no\"}";
        let exchange = exchange_at(CONVERSE_STREAM, b"{}", status, JSON, body.chunks(3));
        let record = exchange.record();
        assert!(record.streaming && record.terminal && record.output.is_empty());
        assert_eq!(record.error.unwrap().to_string(), format!("{status}: no"));
    }
}

#[test]
fn invoked_models_answer_in_the_dialect_of_their_maker() {
    let anthropic = json!({"anthropic_version": "bedrock-2023-05-31", "max_tokens": 9,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]});
    let nova = json!({"schemaVersion": "messages-v1", "inferenceConfig": {"maxTokens": 9},
        "messages": [{"role": "user", "content": [{"text": "hi"}]}]});
    let chat = json!({"messages": [{"role": "user", "content": "hi"}], "max_tokens": 9});
    let titan = json!({"inputText": "hi", "textGenerationConfig": {"maxTokens": 9}});
    let llama = json!({"prompt": "hi", "max_tokens": 9});
    let usage = |prompt, completion| (Some(prompt), Some(completion));
    let cases = [
        (
            &anthropic,
            json!({"type": "message", "content": [{"type": "text", "text": "yo"}], "stop_reason": "end",
            "usage": {"input_tokens": 1, "cache_read_input_tokens": 1, "output_tokens": 3}}),
            usage(2, 3),
        ),
        (
            &nova,
            json!({"output": {"message": {"role": "assistant", "content": [{"text": "yo"}]}}, "stopReason": "end",
            "usage": {"inputTokens": 2, "outputTokens": 3}}),
            usage(2, 3),
        ),
        (
            &chat,
            json!({"choices": [{"message": {"content": "yo"}, "finish_reason": "end"}],
            "usage": {"prompt_tokens": 2, "completion_tokens": 3}}),
            usage(2, 3),
        ),
        (
            &titan,
            json!({"inputTextTokenCount": 2, "results": [{"outputText": "yo", "tokenCount": 3, "completionReason": "end"}]}),
            usage(2, 3),
        ),
        (
            &llama,
            json!({"generation": "yo", "prompt_token_count": 2, "generation_token_count": 3, "stop_reason": "end"}),
            usage(2, 3),
        ),
        (&llama, json!({"outputs": [{"text": "yo", "stop_reason": "end"}]}), (None, None)),
        (&llama, json!({"generations": [{"text": "yo", "finish_reason": "end"}]}), (None, None)),
    ];
    for (request, answer, usage) in cases {
        let record = same(INVOKE, request, JSON, answer.to_string().as_bytes());
        assert_eq!(json!(record.input), json!([{"role": "user", "content": "hi"}]));
        assert_eq!(json!(record.output), json!([{"role": "assistant", "content": "yo"}]), "{answer}");
        assert_eq!(record.finish_reason.as_deref(), Some("end"), "{answer}");
        assert_eq!(record.model_requested.as_deref(), Some("m"));
        let counted =
            record.usage.map_or((None, None), |usage| (usage.prompt_tokens, usage.completion_tokens));
        assert_eq!(counted, usage, "{answer}");
        assert_eq!(record.parameters.values().collect::<Vec<_>>(), [&json!(9)], "{request}");
    }
}

#[test]
fn invoked_streams_answer_in_the_dialect_of_their_maker() {
    let metrics = json!({"inputTokenCount": 2, "outputTokenCount": 3, "firstByteLatency": 1});
    let with_metrics = |mut event: Value| {
        event["amazon-bedrock-invocationMetrics"] = metrics.clone();
        event
    };
    let cases = [
        vec![
            json!({"type": "message_start", "message": {"id": "m", "content": [], "usage": {"input_tokens": 2, "output_tokens": 1}}}),
            json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
            json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "y"}}),
            json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "o"}}),
            json!({"type": "message_delta", "delta": {"stop_reason": "end"}, "usage": {"output_tokens": 3}}),
            with_metrics(json!({"type": "message_stop"})),
        ],
        vec![
            json!({"messageStart": {"role": "assistant"}}),
            json!({"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": "y"}}}),
            json!({"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": "o"}}}),
            json!({"messageStop": {"stopReason": "end"}}),
            with_metrics(json!({"metadata": {"usage": {"inputTokens": 2, "outputTokens": 3}}})),
        ],
        vec![
            json!({"choices": [{"index": 0, "delta": {"content": "y"}}]}),
            with_metrics(
                json!({"choices": [{"index": 0, "delta": {"content": "o"}, "finish_reason": "end"}]}),
            ),
        ],
        vec![
            json!({"outputText": "y", "index": 0}),
            with_metrics(json!({"outputText": "o", "index": 0, "completionReason": "end"})),
        ],
        vec![
            json!({"generation": "y", "stop_reason": null}),
            with_metrics(json!({"generation": "o", "stop_reason": "end"})),
        ],
        vec![
            json!({"outputs": [{"text": "y", "stop_reason": null}]}),
            with_metrics(json!({"outputs": [{"text": "o", "stop_reason": "end"}]})),
        ],
    ];
    for events in cases {
        let body: Vec<u8> = events.iter().flat_map(chunk).collect();
        let record = same(INVOKE_STREAM, &json!({"prompt": "hi"}), FRAMES, &body);
        assert_eq!(json!(record.output), json!([{"role": "assistant", "content": "yo"}]), "{events:?}");
        assert_eq!(record.finish_reason.as_deref(), Some("end"), "{events:?}");
        let usage = record.usage.unwrap();
        assert_eq!((usage.prompt_tokens, usage.completion_tokens), (Some(2), Some(3)), "{events:?}");
    }
}

#[test]
fn invoked_vectors_and_images_are_counted() {
    let vector = json!({"embedding": [0.5, 0.25, 0.125], "inputTextTokenCount": 2});
    let record = same(INVOKE, &json!({"inputText": "hi"}), JSON, vector.to_string().as_bytes());
    assert_eq!(record.body, Some(json!({"count": 1, "dimensions": 3})));
    assert_eq!(record.usage.unwrap().prompt_tokens, Some(2));
    let images = json!({"images": ["A".repeat(1000), "AAAA"]});
    let record = same(INVOKE, &json!({"prompt": "a cat"}), JSON, images.to_string().as_bytes());
    let image = |bytes: u64| json!({"type": "image", "bytes": bytes});
    assert_eq!(record.output[0]["content"], json!([image(750), image(3)]));
}

#[test]
fn chunks_that_cannot_be_read_are_passed_over() {
    let body = [
        event("chunk", &json!({"bytes": "not base64!"})),
        event("chunk", &json!({"bytes": STANDARD.encode("not json")})),
        event("chunk", &json!({"bytes": 3})),
        chunk(&json!({"outputText": "yo"})),
    ]
    .concat();
    let record = read(INVOKE_STREAM, &json!({}), FRAMES, &body, 5);
    assert_eq!(record.output[0]["content"], "yo");
    assert!(!record.terminal && !record.notes.is_empty());
}

#[test]
fn a_body_that_is_no_frame_ends_the_stream_with_a_note() {
    let mut exchange = Exchange::new(CONVERSE_STREAM, b"{}");
    exchange.start(200, FRAMES);
    exchange.push(&converse_stream()[..300]);
    (0..1000).for_each(|_| {
        exchange.push(&[0xFF; 1000]);
    });
    exchange.end();
    assert!(exchange.held_bytes() < 100_000, "{}", exchange.held_bytes());
    let notes = exchange.record().notes;
    assert!(notes.iter().any(|note| note.contains("frames")), "{notes:?}");
}
