//! Each recipe against a server that speaks the provider's protocol: the question and the answer are one span of the user.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::future::Future;

use pandaprobe::{
    HttpHandler, OpenAiHandler, SpanKind, SpanStatus,
    testing::{Captured, capture},
};
use pandaprobe_tests::provider::{Exchange, Provider};
use providers::{BoxError, Server, anthropic, bedrock, gemini, mistral, ollama};
use serde_json::{Value, json};

fn handler() -> HttpHandler {
    HttpHandler::new().user_id("ada").session_id("s1")
}

/// Runs a recipe against a provider that answers with `exchange`.
async fn run<F, Fut>(exchange: Exchange, recipe: F) -> (Captured<Result<String, BoxError>>, Value)
where
    F: FnOnce(Server) -> Fut,
    Fut: Future<Output = Result<String, BoxError>>,
{
    let provider = Provider::start([exchange]);
    let server = Server { url: provider.url(), key: "secret-key".to_owned() };
    let captured = capture(|| recipe(server)).await;
    let request = provider.requests().remove(0);
    assert!(
        request.headers.iter().any(|(_, value)| value.contains("secret-key")) || request.path == "/api/chat"
    );
    (captured, request.json.unwrap())
}

fn assert_told(captured: &Captured<Result<String, BoxError>>, name: &str, model: &str, tokens: (u64, u64)) {
    assert_eq!(captured.output.as_ref().unwrap(), "A bear.");
    captured.assert_nothing_lost();
    captured.assert_user(Some("ada"));
    let span = captured.span(name);
    assert_eq!((span.kind, span.status), (SpanKind::Llm, SpanStatus::Ok));
    assert_eq!(span.input, Some(json!({"messages": [{"role": "user", "content": "What is a panda?"}]})));
    assert_eq!(span.output.as_ref().unwrap()["messages"][0]["content"], "A bear.");
    assert_eq!(span.model.as_deref(), Some(model));
    let usage = span.token_usage.as_ref().unwrap();
    assert_eq!((usage.prompt_tokens, usage.completion_tokens), (Some(tokens.0), Some(tokens.1)));
    assert!(!serde_json::to_string(&captured.traces).unwrap().contains("secret-key"));
}

const QUESTION: &str = "What is a panda?";

#[tokio::test]
async fn anthropic_is_traced() {
    let answer = json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-haiku-4-5-20251001",
        "content": [{"type": "text", "text": "A bear."}], "stop_reason": "end_turn",
        "usage": {"input_tokens": 11, "output_tokens": 4}});
    let recipe = |server| async move { anthropic::ask(&server, handler(), QUESTION).await };
    let (captured, request) = run(Exchange::json(200, answer), recipe).await;
    assert_eq!(request["messages"][0]["content"], QUESTION);
    assert_told(&captured, "anthropic-messages", "claude-haiku-4-5-20251001", (11, 4));
}

#[tokio::test]
async fn gemini_is_traced() {
    let chunk = |text: &str, tokens: u64| {
        json!({"candidates": [{"index": 0, "content": {"role": "model", "parts": [{"text": text}]}}],
            "modelVersion": "gemini-2.5-flash", "usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": tokens}})
    };
    let mut last = chunk("bear.", 4);
    last["candidates"][0]["finishReason"] = json!("STOP");
    let body = json!([chunk("A ", 2), last]).to_string();
    let recipe = |server| async move { gemini::ask(&server, handler(), QUESTION).await };
    let (captured, _) = run(Exchange::raw(200, "application/json", body).pieces_of(10), recipe).await;
    assert_told(&captured, "gemini-generate", "gemini-2.5-flash", (5, 4));
    assert!(captured.span("gemini-generate").completion_start_time.is_some());
}

#[tokio::test]
async fn mistral_is_traced() {
    let answer = json!({"id": "c1", "object": "chat.completion", "created": 1, "model": "mistral-small-latest",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "A bear."}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 8, "completion_tokens": 4, "total_tokens": 12}});
    let handler = OpenAiHandler::new().user_id("ada").session_id("s1");
    let recipe = |server| async move { mistral::ask(&server, handler, QUESTION).await };
    let (captured, _) = run(Exchange::json(200, answer), recipe).await;
    assert_told(&captured, "openai-chat", "mistral-small-latest", (8, 4));
}

#[tokio::test]
async fn ollama_is_traced() {
    let line = |text: &str, done: bool| json!({"model": "llama3.2", "message": {"role": "assistant", "content": text}, "done": done});
    let mut last = line("bear.", true);
    last["done_reason"] = json!("stop");
    last["prompt_eval_count"] = json!(7);
    last["eval_count"] = json!(4);
    let body = format!("{}\n{last}\n", line("A ", false));
    let recipe = |server| async move { ollama::ask(&server, handler(), QUESTION).await };
    let (captured, _) = run(Exchange::raw(200, "application/x-ndjson", body).pieces_of(10), recipe).await;
    assert_told(&captured, "ollama-chat", "llama3.2", (7, 4));
}

#[tokio::test]
async fn bedrock_is_traced() {
    let events = [
        ("messageStart", json!({"role": "assistant"})),
        ("contentBlockDelta", json!({"contentBlockIndex": 0, "delta": {"text": "A "}})),
        ("contentBlockDelta", json!({"contentBlockIndex": 0, "delta": {"text": "bear."}})),
        ("contentBlockStop", json!({"contentBlockIndex": 0})),
        ("messageStop", json!({"stopReason": "end_turn"})),
        (
            "metadata",
            json!({"usage": {"inputTokens": 6, "outputTokens": 4, "totalTokens": 10}, "metrics": {"latencyMs": 1}}),
        ),
    ];
    let body: Vec<u8> = events.iter().flat_map(|(kind, payload)| frame(kind, payload)).collect();
    let exchange = Exchange::raw(200, "application/vnd.amazon.eventstream", body).pieces_of(10);
    let recipe = |server| async move { bedrock::ask(&server, handler(), QUESTION).await };
    let (captured, request) = run(exchange, recipe).await;
    assert_eq!(request["messages"][0]["content"][0]["text"], QUESTION);
    assert_told(&captured, "bedrock-converse", "amazon.nova-lite-v1:0", (6, 4));
    assert!(captured.span("bedrock-converse").completion_start_time.is_some());
}

/// A frame of Amazon's event streams, with the checksums that its SDK verifies.
fn frame(kind: &str, payload: &Value) -> Vec<u8> {
    let header = |name: &str, value: &str| {
        let length = (value.len() as u16).to_be_bytes();
        [&[name.len() as u8], name.as_bytes(), &[7], &length, value.as_bytes()].concat()
    };
    let headers = [
        header(":event-type", kind),
        header(":content-type", "application/json"),
        header(":message-type", "event"),
    ]
    .concat();
    let payload = payload.to_string();
    let length = (16 + headers.len() + payload.len()) as u32;
    let mut frame = [length.to_be_bytes(), (headers.len() as u32).to_be_bytes()].concat();
    frame.extend(crc32fast::hash(&frame).to_be_bytes());
    frame.extend_from_slice(&headers);
    frame.extend_from_slice(payload.as_bytes());
    frame.extend(crc32fast::hash(&frame).to_be_bytes());
    frame
}

#[tokio::test]
async fn an_error_of_a_provider_is_the_spans_and_the_callers() {
    let refused = json!({"message": "The model is not yours."});
    let exchange = Exchange::json(403, refused).header("x-amzn-errortype", "AccessDeniedException");
    let recipe = |server| async move { bedrock::ask(&server, handler(), QUESTION).await };
    let (captured, _) = run(exchange, recipe).await;
    assert!(captured.output.is_err());
    let span = captured.span("bedrock-converse");
    assert_eq!(span.error.as_deref(), Some("403: The model is not yours."));
}
