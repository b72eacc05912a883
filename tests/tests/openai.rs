//! What a wrapped `async-openai` client records, and that its caller sees what it would see without.

use std::time::Duration;

use async_openai::{Client, config::OpenAIConfig, types::chat::*};
use futures_util::StreamExt;
use pandaprobe::{OpenAiHandler, SpanKind, SpanStatus, testing::capture};
use pandaprobe_tests::provider::{Exchange, Provider};
use serde_json::json;

fn client(provider: &Provider) -> Client<OpenAIConfig> {
    let config = OpenAIConfig::new().with_api_base(format!("{}/v1", provider.url())).with_api_key("sk-x");
    OpenAiHandler::new().wrap(Client::with_config(config))
}

fn request() -> CreateChatCompletionRequest {
    CreateChatCompletionRequestArgs::default()
        .model("gpt-4o")
        .messages([ChatCompletionRequestUserMessage::from("hi").into()])
        .build()
        .unwrap()
}

#[tokio::test]
async fn a_blocking_call_is_one_trace_with_one_llm_span() {
    let answer = json!({"id": "1", "object": "chat.completion", "created": 1, "model": "gpt-4o-2024", "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "yo"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}});
    let provider = Provider::start([Exchange::json(200, answer)]);
    let captured = capture(|| async { client(&provider).chat().create(request()).await.unwrap() }).await;
    assert_eq!(captured.output.choices[0].message.content.as_deref(), Some("yo"));
    let trace = captured.trace("openai-chat");
    assert_eq!(trace.input, Some(json!({"messages": [{"role": "user", "content": "hi"}]})));
    assert_eq!(trace.output, Some(json!({"messages": [{"role": "assistant", "content": "yo"}]})));
    let span = &trace.spans[0];
    assert_eq!((span.kind, span.status), (SpanKind::Llm, SpanStatus::Ok));
    println!("{}", captured.tree());
}

#[tokio::test]
async fn a_stream_is_one_span() {
    let chunk = |text: &str| json!({"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o",
        "choices": [{"index": 0, "delta": {"content": text}}]});
    let provider = Provider::start([Exchange::sse([chunk("a"), chunk("b"), json!("[DONE]")]).chunk_delay(Duration::from_millis(5))]);
    let captured = capture(|| async {
        let mut stream = client(&provider).chat().create_stream(request()).await.unwrap();
        let mut n = 0;
        while let Some(chunk) = stream.next().await { chunk.unwrap(); n += 1; }
        n
    }).await;
    assert_eq!(captured.output, 2);
    println!("{} {:?}", captured.tree(), captured.trace("openai-chat"));
}
