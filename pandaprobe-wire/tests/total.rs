//! Any bytes give a record, in linear time.

mod common;

use std::time::{Duration, Instant};

use common::{
    COMPLETIONS, EMBEDDINGS, IMAGES, JSON, MODERATIONS, PATH, RESPONSES, SPEECH, SSE, TRANSCRIPTIONS, answer,
    delta, exchange, request, stream,
};
use pandaprobe_wire::{Exchange, LlmRecord, Operation};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Text that looks like traffic, now and then.
fn traffic() -> impl Strategy<Value = Vec<u8>> {
    let token = prop::sample::select(vec![
        "data: ",
        "data:",
        "event: error",
        "\n\n",
        "\n",
        "\r\n",
        ": ",
        "[DONE]",
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\"choices\"",
        "\"delta\"",
        "\"message\"",
        "\"content\"",
        "\"error\"",
        "\"usage\"",
        "\"index\"",
        "\\ud800",
        "{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}",
        "null",
        "-1",
        "1e99",
        "NaN",
        "\u{feff}",
        "ż",
        " ",
        "<html>",
        "{\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":9,\"function\":{\"name\":\"f\",\"arguments\":{}}}]}}]}",
        "{\"error\":{\"message\":\"x\"}}",
        "{\"type\":\"response.output_item.added\",\"output_index\":1,\"item\":{\"type\":\"message\",\"content\":[]}}",
        "{\"type\":\"response.output_text.delta\",\"output_index\":1,\"content_index\":0,\"delta\":\"a\"}",
        "{\"type\":\"response.function_call_arguments.delta\",\"item_id\":\"f\",\"delta\":\"{\"}",
        "{\"type\":\"response.completed\",\"response\":{\"status\":\"completed\",\"output\":[{\"type\":\"reasoning\"}]}}",
        "{\"output\":[{\"type\":\"mcp_call\",\"arguments\":\"{\"},{\"type\":\"message\",\"content\":\"a\"}]}",
        "{\"instructions\":\"a\",\"input\":[{\"type\":\"function_call\"},[1],\"a\"]}",
        "{\"data\":[{\"embedding\":[1,2]}]}",
        "{\"choices\":[{\"index\":0,\"text\":\"a\"}]}",
        "{\"data\":[{\"b64_json\":\"AAAA\"},{\"url\":\"data:,\"}]}",
        "{\"type\":\"image_generation.partial_image\",\"b64_json\":\"AAAA\"}",
        "{\"type\":\"image_edit.completed\",\"b64_json\":\"AAAA\"}",
        "{\"type\":\"speech.audio.delta\",\"audio\":\"AAAA\"}",
        "{\"type\":\"speech.audio.done\"}",
        "{\"type\":\"transcript.text.delta\",\"delta\":\"a\"}",
        "{\"type\":\"transcript.text.done\",\"text\":\"b\"}",
        "{\"text\":\"a\",\"duration\":1}",
        "{\"results\":[{\"flagged\":true}]}",
        "\0\0\0\u{10}\0\0\0\0",
        "\0\0\0\u{30}\0\0\0\u{11}\0\0\0\0\u{b}:event-type\u{7}\0\u{2}ab",
        "{\"bytes\":\"e30=\"}",
        "{\"contentBlockDelta\":{\"delta\":{\"text\":\"a\"}}}",
        "{\"type\":\"content_block_delta\",\"delta\":{\"text\":\"a\"}}",
        "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\"}]}}]}",
        "{\"message\":{\"content\":\"a\"},\"done\":true}",
        "{\"embeddings\":[{\"values\":[1]}]}",
    ]);
    let piece = prop_oneof![
        8 => token.prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..20),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

/// Values with the keys of a chat exchange and anything behind them.
fn chat_value() -> impl Strategy<Value = Value> {
    value(prop::sample::select(vec![
        "choices",
        "delta",
        "message",
        "messages",
        "content",
        "tool_calls",
        "function",
        "name",
        "arguments",
        "index",
        "id",
        "role",
        "type",
        "text",
        "usage",
        "prompt_tokens",
        "completion_tokens_details",
        "error",
        "finish_reason",
        "refusal",
        "audio",
        "data",
        "images",
        "reasoning_details",
        "thinking",
        "image_url",
        "url",
        "model",
        "n",
        "stream",
        "x_groq",
    ]))
}

/// Values with the keys of an exchange of Responses or Embeddings.
fn item_value() -> impl Strategy<Value = Value> {
    value(prop::sample::select(vec![
        "type",
        "type",
        "id",
        "call_id",
        "output_index",
        "content_index",
        "item_id",
        "item",
        "delta",
        "response",
        "output",
        "content",
        "text",
        "refusal",
        "summary",
        "arguments",
        "input",
        "code",
        "name",
        "status",
        "error",
        "results",
        "tools",
        "incomplete_details",
        "reason",
        "usage",
        "input_tokens",
        "role",
        "image_url",
        "file_data",
        "instructions",
        "data",
        "embedding",
        "model",
        "object",
    ]))
}

/// Values with the keys of an exchange of completions, images, audio or moderation.
fn media_value() -> impl Strategy<Value = Value> {
    value(prop::sample::select(vec![
        "type",
        "prompt",
        "input",
        "n",
        "model",
        "choices",
        "index",
        "text",
        "finish_reason",
        "data",
        "b64_json",
        "url",
        "revised_prompt",
        "output_format",
        "audio",
        "delta",
        "duration",
        "language",
        "segments",
        "results",
        "flagged",
        "categories",
        "image_url",
        "content",
        "usage",
        "input_tokens",
        "stream_format",
        "error",
        "message",
    ]))
}

/// Kinds of events and of items.
fn kind() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "message",
        "reasoning",
        "function_call",
        "custom_tool_call",
        "web_search_call",
        "mcp_call",
        "mcp_list_tools",
        "function_call_output",
        "item_reference",
        "input_image",
        "input_file",
        "output_text",
        "refusal",
        "response.created",
        "response.output_item.added",
        "response.output_item.done",
        "response.output_text.delta",
        "response.refusal.delta",
        "response.reasoning_text.delta",
        "response.function_call_arguments.delta",
        "response.completed",
        "response.failed",
        "image_generation.partial_image",
        "image_generation.completed",
        "image_edit.completed",
        "speech.audio.delta",
        "speech.audio.done",
        "transcript.text.delta",
        "transcript.text.done",
        "error",
        "",
    ])
}

/// Values with keys of a kind of traffic and anything behind them.
fn value(key: impl Strategy<Value = &'static str> + Clone + 'static) -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z\u{0}ż]{0,6}".prop_map(Value::from),
        kind().prop_map(Value::from),
        (0_u64..3).prop_map(Value::from),
    ];
    leaf.prop_recursive(7, 64, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((key.clone(), inner), 0..5)
                .prop_map(|fields| fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
        ]
    })
}

/// A value as an event or an item of a kind.
fn typed(kind: &str, value: &Value) -> Value {
    match value.clone() {
        Value::Object(mut map) => {
            map.insert("type".into(), Value::from(kind));
            Value::Object(map)
        }
        other => json!({"type": kind, "content": [other], "delta": "a", "audio": "AAAA", "b64_json": "AAAA"}),
    }
}

fn run(
    path: &str,
    request: &[u8],
    status: u16,
    content_type: Option<&str>,
    body: &[u8],
    step: usize,
) -> LlmRecord {
    let mut exchange = Exchange::new(path, request);
    exchange.start(status, content_type);
    for piece in body.chunks(step) {
        exchange.push(piece);
    }
    exchange.end();
    exchange.record()
}

const NDJSON: Option<&str> = Some("application/x-ndjson");
const FRAMES: Option<&str> = Some("application/vnd.amazon.eventstream");

const PATHS: [&str; 24] = [
    PATH,
    "/v1/messages",
    "/api/chat",
    "/v2/chat",
    "/api/generate",
    "/v1/models/g:generateContent",
    "/v1/models/g:streamGenerateContent",
    RESPONSES,
    EMBEDDINGS,
    COMPLETIONS,
    IMAGES,
    SPEECH,
    TRANSCRIPTIONS,
    MODERATIONS,
    "/model/m/converse",
    "/model/m/converse-stream",
    "/model/m/invoke",
    "/model/m/invoke-with-response-stream",
    "/v1/models/g:batchEmbedContents",
    "/api/embed",
    "/v2/embed",
    "/v2/rerank",
    "/v1/models/g:countTokens",
    "/other",
];

proptest! {
    #[test]
    fn any_bytes_give_the_same_record_in_any_pieces(
        request in traffic(), body in traffic(), status in prop::sample::select(vec![200_u16, 204, 301, 429, 500]),
        content_type in prop::sample::select(vec![None, JSON, SSE, NDJSON, FRAMES, Some(""), Some("audio/mpeg"), Some("text/plain")]),
        path in prop::sample::select(PATHS.to_vec()),
        step in 1_usize..30,
    ) {
        let whole = run(path, &request, status, content_type, &body, usize::MAX);
        prop_assert_eq!(whole.status, Some(status));
        prop_assert!(whole.error.is_some() || (200..300).contains(&status));
        prop_assert_eq!(run(path, &request, status, content_type, &body, step), whole);
    }

    #[test]
    fn any_json_gives_a_record(request in chat_value(), first in chat_value(), second in chat_value()) {
        let wrapped = json!({"choices": [{"index": 0, "delta": first, "message": second}]});
        for value in [&first, &second, &wrapped] {
            let request = json!({"messages": [request]}).to_string();
            let body = value.to_string();
            let blocking = run(PATH, request.as_bytes(), 200, JSON, body.as_bytes(), 7);
            prop_assert_eq!(blocking.operation, Operation::Chat);
            prop_assert_eq!(blocking.input.len(), 1);
            let events = stream(&[value.clone(), wrapped.clone()]);
            let streamed = run(PATH, request.as_bytes(), 200, SSE, &events, 7);
            prop_assert!(streamed.terminal && streamed.output.len() == streamed.choices);
        }
    }

    #[test]
    fn any_items_give_a_record(
        request in item_value(), first in item_value(), second in item_value(), kinds in prop::collection::vec(kind(), 5),
    ) {
        let items = [typed(kinds[0], &first), typed(kinds[1], &second), first.clone()];
        let request = json!({"input": [typed(kinds[4], &request), request]}).to_string();
        let body = json!({"output": items, "data": items, "status": first});
        let events = [
            typed("response.output_item.added", &json!({"item": items[0]})),
            typed(kinds[2], &first),
            typed(kinds[3], &json!({"item": items[1], "delta": "a", "output_index": 0, "response": body})),
        ];
        for (path, operation) in [(RESPONSES, Operation::Responses), (EMBEDDINGS, Operation::Embeddings)] {
            let blocking = run(path, request.as_bytes(), 200, JSON, body.to_string().as_bytes(), 7);
            prop_assert_eq!((blocking.operation, blocking.terminal), (operation, true));
            prop_assert!(blocking.choices <= 1 && blocking.output.len() == blocking.choices);
            let streamed = run(path, request.as_bytes(), 200, SSE, &stream(&events), 7);
            prop_assert!(streamed.terminal && streamed.output.len() == streamed.choices);
        }
        let read = run(RESPONSES, request.as_bytes(), 200, JSON, b"{}", 7).input;
        prop_assert!(read.iter().all(|message| !message.is_object() || message.get("role").is_some()));
    }

    #[test]
    fn any_media_give_a_record(
        request in media_value(), first in media_value(), second in media_value(), kinds in prop::collection::vec(kind(), 3),
        content_type in prop::sample::select(vec![None, JSON, Some("audio/mpeg"), Some("text/plain")]),
    ) {
        let request = json!({"input": request, "prompt": request}).to_string();
        let body = json!({"data": [first, second], "results": [first, second], "choices": [first, second], "text": first});
        let events = [typed(kinds[0], &first), typed(kinds[1], &second), typed(kinds[2], &body)];
        for path in [COMPLETIONS, IMAGES, SPEECH, TRANSCRIPTIONS, MODERATIONS] {
            let blocking = run(path, request.as_bytes(), 200, content_type, body.to_string().as_bytes(), 7);
            prop_assert!(blocking.operation == Operation::detect(path) && blocking.terminal);
            let streamed = run(path, request.as_bytes(), 200, SSE, &stream(&events), 7);
            prop_assert!(streamed.operation == Operation::detect(path) && streamed.terminal);
            for record in [blocking, streamed] {
                prop_assert!(record.choices <= record.output.len());
                prop_assert!(record.output.iter().all(|message| message["role"] == "assistant"));
                prop_assert!(record.input.iter().all(|message| !message.is_object() || message.get("role").is_some()));
            }
        }
    }

    #[test]
    fn any_upload_gives_a_record(content_type in any::<Option<String>>(), bytes in any::<Option<u64>>(), body in traffic()) {
        for operation in PATHS.map(Operation::detect) {
            let mut exchange = Exchange::with_unread_request(operation, "", content_type.as_deref(), bytes);
            exchange.start(200, content_type.as_deref());
            exchange.push(&body);
            exchange.end();
            let record = exchange.record();
            prop_assert_eq!((record.operation, record.input.len()), (operation, 1));
        }
    }
}

#[test]
fn calls_in_any_order_give_a_record() {
    let mut exchange = Exchange::new(PATH, b"");
    exchange.end();
    exchange.end();
    exchange.start(200, JSON);
    assert!(!exchange.push(b"{}").terminal);
    assert_eq!(exchange.record().notes, ["answer is empty"]);
}

fn time(work: impl Fn()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

fn assert_linear(work: impl Fn(usize)) {
    let small = time(|| work(3 << 20)).max(Duration::from_millis(2));
    let large = time(|| work(30 << 20));
    assert!(large < small * 30, "3 MiB: {small:?}, 30 MiB: {large:?}");
}

#[test]
fn a_large_blocking_answer_takes_linear_time() {
    assert_linear(|size| {
        let body = answer(json!({"content": "x".repeat(size)})).to_string();
        let record = exchange(&request(false), 200, JSON, body.as_bytes().chunks(8 << 10)).record();
        assert_eq!(record.output[0]["content"].as_str().map(str::len), Some(size));
    });
}

#[test]
fn one_line_in_many_pieces_takes_linear_time() {
    assert_linear(|size| {
        let body = stream(&[delta(0, json!({"content": "x".repeat(size / 3)}))]);
        let record = exchange(&request(true), 200, SSE, body.chunks(size >> 14)).record();
        assert_eq!(record.output[0]["content"].as_str().map(str::len), Some(size / 3));
    });
}

#[test]
fn a_stream_of_many_events_takes_linear_time() {
    assert_linear(|size| {
        let event = format!("data: {}\n\n", delta(0, json!({"content": "x"})));
        let body = event.repeat(size / event.len());
        let record = exchange(&request(true), 200, SSE, body.as_bytes().chunks(1000)).record();
        assert_eq!(record.output[0]["content"].as_str().map(str::len), Some(size / event.len()));
    });
}

#[test]
fn a_response_of_many_items_takes_linear_time() {
    assert_linear(|size| {
        let call =
            |n: usize| json!({"type": "shell_call", "id": format!("i{n}"), "call_id": format!("c{n}")});
        let output =
            |n: usize| json!({"type": "shell_call_output", "call_id": format!("c{n}"), "output": "a"});
        let count = size / 2000;
        let items: Vec<Value> = (0..count).flat_map(|n| [call(n), output(n)]).collect();
        let body = json!({"output": items}).to_string();
        let mut exchange = Exchange::new(RESPONSES, b"{}");
        exchange.push(body.as_bytes());
        exchange.end();
        assert_eq!(exchange.record().tools.len(), count);
    });
}

#[test]
fn a_response_in_many_events_takes_linear_time() {
    assert_linear(|size| {
        let mut exchange = Exchange::new(RESPONSES, br#"{"stream":true}"#);
        for n in 0..size / 4000 {
            let id = format!("i{n}");
            let item = json!({"type": "function_call", "id": id, "name": "f", "arguments": ""});
            let added = json!({"type": "response.output_item.added", "item": item});
            let delta =
                json!({"type": "response.function_call_arguments.delta", "item_id": id, "delta": "{}"});
            let done = json!({"type": "response.output_item.done", "item": item});
            let ended = json!({"type": "response.completed", "response": {"output": []}});
            exchange.push(&stream(&[added, delta, done, ended]));
        }
        let tools = exchange.record().tools;
        assert!(tools.len() == size / 4000 && tools.iter().all(|tool| tool.input == json!({})));
    });
}

#[test]
fn a_request_of_many_items_takes_linear_time() {
    assert_linear(|size| {
        let thought = json!({"type": "reasoning", "summary": ["a"]});
        let call = json!({"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"});
        let items: Vec<&Value> = (0..size / 1000).flat_map(|_| [&thought, &call]).collect();
        let record = Exchange::new(RESPONSES, json!({"input": items}).to_string().as_bytes()).record();
        assert_eq!(record.input[0]["tool_calls"].as_array().map(Vec::len), Some(size / 1000));
    });
}

#[test]
fn a_large_answer_of_images_takes_linear_time() {
    assert_linear(|size| {
        let body = json!({"data": [{"b64_json": "A".repeat(size)}]}).to_string();
        let mut exchange = Exchange::new(IMAGES, b"{}");
        body.as_bytes().chunks(8 << 10).for_each(|piece| assert!(!exchange.push(piece).token));
        exchange.end();
        assert_eq!(exchange.record().output[0]["content"][0]["bytes"], size / 4 * 3);
    });
}

#[test]
fn speech_in_many_pieces_takes_linear_time() {
    assert_linear(|size| {
        let mut exchange = Exchange::new(SPEECH, b"{}");
        vec![0xFF; size].chunks(10).for_each(|piece| assert!(!exchange.push(piece).terminal));
        assert_eq!(exchange.record().output[0]["content"][0]["bytes"], size);
    });
}

#[test]
fn white_space_before_an_answer_is_not_held() {
    let mut exchange = Exchange::new(PATH, &request(false));
    exchange.start(200, JSON);
    for _ in 0..100_000 {
        exchange.push(b"\n \n");
    }
    assert!(exchange.held_bytes() < 10_000, "{}", exchange.held_bytes());
    exchange.push(answer(json!({"content": "a"})).to_string().as_bytes());
    exchange.end();
    assert_eq!(exchange.record().output[0]["content"], "a");
}
