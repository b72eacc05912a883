//! Models that are called directly, and those of agents whose transport is traced too.

use std::time::Duration;

use futures_util::StreamExt;
use pandaprobe_core::{SpanKind, SpanStatus, testing::capture, trace, user};
use pandaprobe_rig::{BuildTraced, RigHandler, Traced};
use pandaprobe_tests::provider::{Exchange, Provider};
use rig::{
    http_client::ReqwestClient,
    prelude::*,
    providers::{gemini::GeminiConfig, openai::OpenAIConfig},
};
use rig_agent::tool::ToolContext;
use serde_json::{Value, json};

use crate::kit::Double;

fn openai(provider: &Provider) -> OpenAIConfig {
    OpenAIConfig::new("sk-a-key-that-is-secret").with_base_url(format!("{}/v1", provider.url()))
}

fn answer(text: &str) -> Exchange {
    Exchange::json(
        200,
        json!({"id": "1", "object": "chat.completion", "created": 1, "model": "m-2024", "choices": [
            {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}}),
    )
    .header("x-request-id", "req-1")
}

fn streamed(texts: &[&str]) -> Exchange {
    let chunk = |choices: Value, usage: Value| json!({"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m-2024", "choices": choices, "usage": usage});
    let text = |text: &&str| chunk(json!([{"index": 0, "delta": {"content": text}}]), Value::Null);
    let end = [
        chunk(json!([{"index": 0, "delta": {}, "finish_reason": "stop"}]), Value::Null),
        chunk(json!([]), json!({"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7})),
        json!("[DONE]"),
    ];
    Exchange::sse(texts.iter().map(text).chain(end))
}

#[tokio::test]
async fn a_model_that_is_called_directly_is_traced_for_whom_scopes_say() {
    let provider = Provider::start([answer("hello"), streamed(&["he", "llo"])]);
    let captured = capture(|| async {
        let model = RigHandler::new().model(openai(&provider).connect(ReqwestClient::default()).chat("m"));
        let said = user("ada").scope(model.call("hi")).await.unwrap().text();
        let all = trace("chat").user_id("grace").scope(|_| async {
            let mut stream = model.stream("hi").unwrap();
            while let Some(item) = stream.next().await {
                item.unwrap();
            }
            stream.finish().await.unwrap().text()
        });
        (said, all.await)
    })
    .await;
    assert_eq!(captured.output, ("hello".to_owned(), "hello".to_owned()));
    captured.assert_nothing_lost();
    captured.assert_tree(
        "openai-chat COMPLETED user=ada\n└─ LLM openai-chat m-2024 5→2 tokens OK\n\
         chat COMPLETED user=grace\n└─ LLM openai-chat m-2024 5→2 tokens OK\n",
    );
    let first = captured.traces[0].span("openai-chat").unwrap();
    assert_eq!(first.metadata["request_id"], json!("req-1"));
    let second = captured.traces[1].span("openai-chat").unwrap();
    assert!(second.completion_start_time.is_some());
    assert_eq!(second.output, Some(json!({"messages": [{"role": "assistant", "content": "hello"}]})));
    assert!(!format!("{:?}", captured.traces).contains("sk-a-key"));
}

#[tokio::test]
async fn a_stream_that_its_reader_leaves_is_no_error() {
    let provider =
        Provider::start([streamed(&["one", "two", "three"]).chunk_delay(Duration::from_millis(20))]);
    let captured = capture(|| async {
        let model = RigHandler::new().model(openai(&provider).connect(ReqwestClient::default()).chat("m"));
        let mut stream = model.stream("count").unwrap();
        let _ = stream.next().await;
        let _ = stream.next().await;
    })
    .await;
    let llm = captured.span("openai-chat");
    assert_eq!((llm.status, &llm.metadata["pandaprobe.end"]), (SpanStatus::Ok, &json!("stopped_by_reader")));
}

#[tokio::test]
async fn embeddings_are_counted_and_not_kept() {
    let vector = |at: usize| json!({"object": "embedding", "index": at, "embedding": vec![0.25; 1536]});
    let provider = Provider::start([Exchange::json(
        200,
        json!({"object": "list", "model": "e-1", "data": [vector(0), vector(1)], "usage": {"prompt_tokens": 4, "total_tokens": 4}}),
    )]);
    let captured = capture(|| async {
        let client = openai(&provider).connect(RigHandler::new().http(ReqwestClient::default()));
        let model = client.embedding("text-embedding-3-small", None);
        model.call(vec!["one".to_owned(), "two".to_owned()]).await.unwrap().embeddings.len()
    })
    .await;
    assert_eq!(captured.output, 2);
    let span = captured.span("openai-embedding");
    assert_eq!(span.kind, SpanKind::Embedding);
    assert_eq!(span.output, Some(json!({"count": 2, "dimensions": 1536})));
    assert!(!format!("{:?}", captured.traces).contains("0.25"));
}

#[tokio::test]
async fn refusals_and_dead_servers_are_errors() {
    let refused = Exchange::json(429, json!({"error": {"message": "slow down", "type": "rate_limit"}}));
    let provider = Provider::start([refused]);
    let captured = capture(|| async {
        let model = RigHandler::new().model(openai(&provider).connect(ReqwestClient::default()).chat("m"));
        model.call("hi").await.unwrap_err();
        let nobody = format!("http://127.0.0.1:{}", pandaprobe_tests::free_port());
        let gemini = GeminiConfig::new("a-key-that-is-secret").with_base_url(nobody);
        let model = RigHandler::new().model(gemini.connect(ReqwestClient::default()).completion("g"));
        model.call("hi").await.unwrap_err();
    })
    .await;
    let refused = captured.span("openai-chat");
    assert_eq!(
        (refused.error.as_deref(), refused.model.as_deref()),
        (Some("429: slow down (type: rate_limit)"), Some("m"))
    );
    let dead = captured.span("gemini-generate");
    assert_eq!(dead.status, SpanStatus::Error);
    assert!(!format!("{:?}", captured.traces).contains("a-key-that-is-secret"), "{:?}", dead.error);
}

#[tokio::test]
async fn a_call_that_is_dropped_is_cancelled() {
    let provider = Provider::start([Exchange::hang()]);
    let captured = capture(|| async {
        let model = RigHandler::new().model(openai(&provider).connect(ReqwestClient::default()).chat("m"));
        tokio::time::timeout(Duration::from_millis(50), model.call("hi")).await.unwrap_err();
    })
    .await;
    assert_eq!(captured.span("openai-chat").error.as_deref(), Some("cancelled"));
}

/// A hook plus `handler.model`.
#[tokio::test]
async fn one_call_is_one_span() {
    let refused = Exchange::json(400, json!({"error": {"message": "no such model"}}));
    let provider = Provider::start([answer("one"), streamed(&["two"]), refused]);
    let captured = capture(|| async {
        let handler = RigHandler::new().user_id("ada");
        let model = handler.model(openai(&provider).connect(ReqwestClient::default()).chat("m"));
        let agent =
            AgentBuilder::new(model).preamble("Say \"a number\", as \u{fc}blich.").build_traced(&handler);
        agent.prompt("first\nline and \"quotes\"").await.unwrap();
        let mut stream = agent.prompt("\u{1f600}").stream();
        while let Some(item) = stream.next().await {
            item.unwrap();
        }
        agent.prompt("third").await.unwrap_err();
    })
    .await;
    captured.assert_nothing_lost();
    let tree = captured.tree();
    assert_eq!(tree.matches("LLM").count(), 3, "{tree}");
    assert_eq!(tree.matches("LLM chat").count(), 3, "{tree}");
    let llm = |nth: usize| captured.traces[nth].span("chat").unwrap();
    // What only the transport knows is there too.
    assert_eq!(llm(0).metadata["request_id"], json!("req-1"));
    assert_eq!(llm(2).model.as_deref(), Some("m"), "asked for, though no answer says it");
    assert!(llm(2).error.as_ref().unwrap().contains("no such model"), "{:?}", llm(2).error);
}

/// Asks a model itself.
struct Asks(rig::DynModel<rig::operation::Completion>);

impl Tool for Asks {
    const NAME: &'static str = "ask";
    type Args = Value;
    type Output = String;
    type Error = rig::core::error::ProviderError;

    fn description(&self) -> String {
        "Asks.".to_owned()
    }

    fn parameters(&self) -> Value {
        json!({"type": "object"})
    }

    async fn call(&self, _: &mut ToolContext, _: Value) -> Result<String, Self::Error> {
        Ok(self.0.call("what is it?").await?.text())
    }
}

#[tokio::test]
async fn a_model_that_a_tool_asks_is_below_the_tool() {
    let call = Exchange::json(
        200,
        json!({"id": "1", "object": "chat.completion", "created": 1, "model": "m-2024", "choices": [{"index": 0,
            "message": {"role": "assistant", "content": null, "tool_calls": [
                {"id": "c", "type": "function", "function": {"name": "ask", "arguments": "{}"}}]},
            "finish_reason": "tool_calls"}]}),
    );
    let provider = Provider::start([call, answer("a bird"), answer("it is a bird")]);
    let captured = capture(|| async {
        let handler = RigHandler::new().user_id("ada");
        let model = handler.model(openai(&provider).connect(ReqwestClient::default()).chat("m"));
        let agent =
            AgentBuilder::new(model.clone()).tool(Asks(model.erase())).tool(Double).default_max_turns(2);
        agent.build_traced(&handler).prompt("what is it?").await.unwrap();
    })
    .await;
    captured.assert_nothing_lost();
    captured.assert_tree(
        "agent COMPLETED user=ada\n\
         └─ AGENT agent OK\n\
         \x20  ├─ LLM chat m-2024 OK\n\
         \x20  ├─ TOOL ask OK\n\
         \x20  │  └─ LLM openai-chat m-2024 5→2 tokens OK\n\
         \x20  └─ LLM chat m-2024 5→2 tokens OK\n",
    );
}

#[tokio::test]
async fn a_conversation_looks_the_same_blocking_and_streamed() {
    let tools = || {
        let calls = json!([{"index": 0, "id": "c1", "type": "function", "function": {"name": "double", "arguments": "{\"x\":1}"}},
                           {"index": 1, "id": "c2", "type": "function", "function": {"name": "double", "arguments": "{\"x\":0}"}}]);
        let usage = json!({"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13});
        let blocking = Exchange::json(
            200,
            json!({"id": "1", "object": "chat.completion", "created": 1, "model": "m-2024", "usage": usage, "choices": [{"index": 0,
                "message": {"role": "assistant", "content": "Let me see.", "tool_calls": calls}, "finish_reason": "tool_calls"}]}),
        );
        let chunk = |choices: Value, usage: &Value| json!({"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m-2024", "choices": choices, "usage": usage});
        let streamed = Exchange::sse([
            chunk(json!([{"index": 0, "delta": {"content": "Let me see."}}]), &Value::Null),
            chunk(json!([{"index": 0, "delta": {"tool_calls": calls}}]), &Value::Null),
            chunk(json!([{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]), &Value::Null),
            chunk(json!([]), &usage),
            json!("[DONE]"),
        ]);
        (blocking, streamed)
    };
    let run = async |is_streamed: bool| {
        let (blocking, in_pieces) = tools();
        let provider = match is_streamed {
            false => Provider::start([blocking, answer("two, and an error")]),
            true => Provider::start([in_pieces, streamed(&["two, ", "and an error"])]),
        };
        let captured = capture(|| async {
            let model = openai(&provider).connect(ReqwestClient::default()).chat("m");
            let agent = AgentBuilder::new(model).name("calculator").preamble("Double.").tool(Double);
            let agent = agent.default_max_turns(3).build();
            let runner = agent.prompt("double 1 and 0").traced(&RigHandler::new().user_id("ada"));
            match is_streamed {
                false => drop(runner.await.unwrap()),
                true => {
                    let mut stream = runner.stream();
                    while let Some(item) = stream.next().await {
                        item.unwrap();
                    }
                }
            }
        })
        .await;
        captured.assert_nothing_lost();
        assert_eq!(captured.traces.len(), 1);
        let trace = &captured.traces[0];
        let said = trace.spans.iter().map(|span| {
            let mut metadata = span.metadata.clone();
            metadata.remove("request_id");
            metadata.remove("rig.run_id");
            let told =
                (span.name.clone(), span.kind, span.input.clone(), span.output.clone(), span.error.clone());
            (told, span.model.clone(), span.model_parameters.clone(), span.token_usage.clone(), metadata)
        });
        (captured.tree(), trace.input.clone(), trace.output.clone(), said.collect::<Vec<_>>())
    };
    let (blocking, streamed) = (run(false).await, run(true).await);
    assert_eq!(blocking, streamed);
    assert!(
        blocking.0.contains("TOOL double ERROR: the doubler is broken: zero is not supported"),
        "{}",
        blocking.0
    );
}
