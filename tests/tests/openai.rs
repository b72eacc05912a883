//! What a wrapped `async-openai` client records, and that its caller sees what it would see without.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_openai::{
    Client,
    config::{AzureConfig, Config, OpenAIConfig},
    error::OpenAIError,
    middleware::{HttpRequestFactory, ReqwestService, retry::OpenAIRetryLayer},
    types::chat::*,
};
use futures_util::{FutureExt, StreamExt};
use pandaprobe::{
    OpenAiHandler, SpanData, SpanKind, SpanStatus, TraceStatus,
    testing::{Captured, capture},
};
use pandaprobe_tests::{
    free_port,
    provider::{Exchange, Provider},
};
use serde_json::{Value, json};

type OpenAi = Client<OpenAIConfig>;

fn bare(provider: &Provider) -> OpenAi {
    let config =
        OpenAIConfig::new().with_api_base(format!("{}/v1", provider.url())).with_api_key("sk-secret");
    Client::with_config(config).with_http_service(stack())
}

/// Quick retries, so that tests need not wait.
fn stack() -> impl tower::Service<
    HttpRequestFactory,
    Response = reqwest::Response,
    Error = OpenAIError,
    Future: Send + 'static,
> + Clone
+ Send
+ Sync
+ 'static {
    tower::ServiceBuilder::new()
        .layer(OpenAIRetryLayer::new(1))
        .service(ReqwestService::new(reqwest::Client::new()))
}

fn traced(client: OpenAi) -> OpenAi {
    let service = tower::ServiceBuilder::new().layer(OpenAiHandler::new().layer()).service(stack());
    client.with_http_service(service)
}

fn request(text: &str) -> CreateChatCompletionRequest {
    CreateChatCompletionRequestArgs::default()
        .model("gpt-4o")
        .messages([ChatCompletionRequestUserMessage::from(text).into()])
        .build()
        .unwrap()
}

fn answer(text: &str) -> Value {
    json!({"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-4o-2024-08-06", "choices": [
        {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15,
                  "prompt_tokens_details": {"cached_tokens": 4}, "completion_tokens_details": {"reasoning_tokens": 2}}})
}

fn chunk(text: &str) -> Value {
    json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o-2024-08-06",
        "choices": [{"index": 0, "delta": {"content": text}}]})
}

fn last_chunk() -> Value {
    json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o-2024-08-06",
        "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
}

fn stream(events: impl IntoIterator<Item = Value>) -> Exchange {
    Exchange::sse(events)
}

/// What a caller sees of a blocking call.
async fn ask(client: &OpenAi) -> String {
    format!("{:?}", client.chat().create(request("hi")).await)
}

/// What a caller sees of a stream.
async fn read(client: &OpenAi) -> Vec<String> {
    // With the feature `byot`, async-openai leaves it to the caller to ask for a stream.
    let request = CreateChatCompletionRequest { stream: Some(true), ..request("hi") };
    match client.chat().create_stream(request).await {
        Err(error) => vec![format!("{error:?}")],
        Ok(stream) => stream.map(|chunk| format!("{chunk:?}")).collect().await,
    }
}

fn only_span<T>(captured: &Captured<T>) -> &SpanData {
    let trace = captured.trace("openai-chat");
    assert_eq!(trace.spans.len(), 1);
    &trace.spans[0]
}

fn end(span: &SpanData) -> Option<&str> {
    span.metadata.get("pandaprobe.end").and_then(Value::as_str)
}

/// Ports differ from run to run and server to server.
fn without_port(text: &str) -> String {
    let mut parts = text.split("127.0.0.1:");
    let mut clean = parts.next().unwrap().to_owned();
    for part in parts {
        clean += "127.0.0.1";
        clean += part.trim_start_matches(|c: char| c.is_ascii_digit());
    }
    clean
}

/// Both callers see the same; what the traced one recorded.
async fn same_to_the_caller(blocking: bool, script: impl Fn() -> Vec<Exchange>) -> Captured<()> {
    let see = async |client: OpenAi| match blocking {
        true => vec![ask(&client).await],
        false => read(&client).await,
    };
    let (one, two) = (Provider::start(script()), Provider::start(script()));
    let without: Vec<String> = see(bare(&one)).await.iter().map(|text| without_port(text)).collect();
    capture(|| async {
        let with: Vec<String> = see(traced(bare(&two))).await.iter().map(|text| without_port(text)).collect();
        assert_eq!(with.len(), without.len());
        for (with, without) in with.iter().zip(&without) {
            assert!(
                with == without,
                "{}\nwithout:\n{}",
                &with[..with.len().min(500)],
                &without[..without.len().min(500)]
            );
        }
    })
    .await
}

#[tokio::test]
async fn a_blocking_call_is_one_trace_with_one_llm_span() {
    let captured = same_to_the_caller(true, || vec![Exchange::json(200, answer("yo"))]).await;
    let trace = captured.trace("openai-chat");
    assert_eq!(trace.status, TraceStatus::Completed);
    assert_eq!(trace.input, Some(json!({"messages": [{"role": "user", "content": "hi"}]})));
    assert_eq!(trace.output, Some(json!({"messages": [{"role": "assistant", "content": "yo"}]})));
    let span = only_span(&captured);
    assert_eq!((span.kind, span.status, span.parent_span_id), (SpanKind::Llm, SpanStatus::Ok, None));
    assert_eq!(span.model.as_deref(), Some("gpt-4o-2024-08-06"));
    assert_eq!(
        serde_json::to_value(&span.token_usage).unwrap(),
        json!({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15, "reasoning_tokens": 2, "cache_read_tokens": 4})
    );
    assert_eq!(span.metadata["finish_reason"], json!("stop"));
    assert_eq!(span.completion_start_time, None, "a blocking answer has no first token");
}

#[tokio::test]
async fn a_stream_is_merged_and_its_first_token_is_timed() {
    let script = || {
        let usage = json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o-2024-08-06",
            "choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}});
        let role = json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o-2024-08-06",
            "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]});
        let events = [role, chunk("Hel"), chunk("lo"), last_chunk(), usage, json!("[DONE]")];
        vec![stream(events).chunk_delay(Duration::from_millis(20))]
    };
    let captured = same_to_the_caller(false, script).await;
    let span = only_span(&captured);
    assert_eq!((span.status, end(span)), (SpanStatus::Ok, None));
    assert_eq!(span.output, Some(json!({"messages": [{"role": "assistant", "content": "Hello"}]})));
    assert_eq!(span.token_usage.as_ref().unwrap().total_tokens, Some(15));
    let first = span.completion_start_time.unwrap();
    assert!(first.since(span.started_at) >= Duration::from_millis(18), "the empty role chunk is no token");
    assert!(span.ended_at.unwrap().since(first) >= Duration::from_millis(50), "three chunks come later");
}

#[tokio::test]
async fn tool_calls_are_recorded_blocking_and_streamed() {
    let calls =
        json!([{"id": "call_1", "type": "function", "function": {"name": "add", "arguments": "{\"a\":1}"}}]);
    let mut blocking = answer("");
    blocking["choices"][0]["message"] = json!({"role": "assistant", "content": null, "tool_calls": calls});
    let delta = |delta: Value| {
        let mut event = chunk("");
        event["choices"][0]["delta"] = delta;
        event
    };
    let streamed = [
        delta(
            json!({"role": "assistant", "tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": {"name": "add", "arguments": ""}}]}),
        ),
        delta(json!({"tool_calls": [{"index": 0, "function": {"arguments": "{\"a\""}}]})),
        delta(json!({"tool_calls": [{"index": 0, "function": {"arguments": ":1}"}}]})),
        json!("[DONE]"),
    ];
    let message = json!({"messages": [{"role": "assistant", "content": null, "tool_calls": calls}]});
    let captured = same_to_the_caller(true, || vec![Exchange::json(200, blocking.clone())]).await;
    assert_eq!(only_span(&captured).output, Some(message.clone()));
    let captured = same_to_the_caller(false, || vec![stream(streamed.clone())]).await;
    assert_eq!(only_span(&captured).output, Some(message));
}

#[tokio::test]
async fn a_401_is_seen_and_told() {
    let error = json!({"error": {"message": "Incorrect API key provided", "type": "invalid_request_error", "param": null, "code": "invalid_api_key"}});
    for blocking in [true, false] {
        let captured = same_to_the_caller(blocking, || vec![Exchange::json(401, error.clone())]).await;
        let span = only_span(&captured);
        let expected = "401: Incorrect API key provided (type: invalid_request_error, code: invalid_api_key)";
        assert_eq!(
            (span.status, span.error.as_deref(), end(span)),
            (SpanStatus::Error, Some(expected), None),
            "{blocking}"
        );
        assert_eq!(captured.trace("openai-chat").status, TraceStatus::Error);
        assert_eq!(span.input, Some(json!({"messages": [{"role": "user", "content": "hi"}]})));
        assert_eq!((span.model.as_deref(), &span.output), (Some("gpt-4o"), &None));
        assert!(!format!("{captured:?}").contains("sk-secret"));
    }
}

#[tokio::test]
async fn a_429_after_retries_is_one_span_that_counts_them() {
    let error = json!({"error": {"message": "Rate limit reached", "type": "requests", "param": null, "code": "rate_limit_exceeded"}});
    for blocking in [true, false] {
        let script = || vec![Exchange::json(429, error.clone()), Exchange::json(429, error.clone())];
        let captured = same_to_the_caller(blocking, script).await;
        let span = only_span(&captured);
        let expected = "429: Rate limit reached (type: requests, code: rate_limit_exceeded)";
        assert_eq!((span.status, span.error.as_deref()), (SpanStatus::Error, Some(expected)));
        assert_eq!(span.metadata["attempts"], json!(2));
    }
}

#[tokio::test]
async fn a_500_is_seen_and_told_and_one_that_passes_is_success() {
    for blocking in [true, false] {
        let script =
            || vec![Exchange::raw(500, "text/plain", "oops"), Exchange::raw(500, "text/plain", "oops")];
        let captured = same_to_the_caller(blocking, script).await;
        let span = only_span(&captured);
        assert_eq!(span.status, SpanStatus::Error);
        let error = span.error.as_deref().unwrap();
        assert!(error.contains("500") && error.contains("oops"), "{error}");
        assert_eq!(span.metadata["attempts"], json!(2));
    }
    let captured = same_to_the_caller(true, || {
        vec![Exchange::raw(500, "text/plain", "oops"), Exchange::json(200, answer("after retry"))]
    })
    .await;
    let span = only_span(&captured);
    assert_eq!((span.status, &span.error), (SpanStatus::Ok, &None));
    assert_eq!(span.metadata["attempts"], json!(2));
    assert_eq!(span.output, Some(json!({"messages": [{"role": "assistant", "content": "after retry"}]})));
}

#[tokio::test]
async fn malformed_json_is_seen_and_told() {
    let captured =
        same_to_the_caller(true, || vec![Exchange::raw(200, "application/json", "{\"choices\": [")]).await;
    let span = only_span(&captured);
    assert_eq!(span.status, SpanStatus::Error);
    assert!(span.error.as_deref().unwrap().contains("not JSON"), "{:?}", span.error);

    let script =
        || vec![stream([chunk("ok"), json!("{nonsense"), chunk("!"), last_chunk(), json!("[DONE]")])];
    let captured = same_to_the_caller(false, script).await;
    let span = only_span(&captured);
    assert_eq!(span.output, Some(json!({"messages": [{"role": "assistant", "content": "ok!"}]})));
    assert!(span.metadata["pandaprobe.notes"].to_string().contains("JSON"), "{:?}", span.metadata);
}

#[tokio::test]
async fn a_stream_cut_in_the_middle_is_an_error_with_what_was_read() {
    let script = || vec![stream([chunk("Hel"), chunk("lo"), last_chunk(), json!("[DONE]")]).cut_after(2)];
    let captured = same_to_the_caller(false, script).await;
    let span = only_span(&captured);
    assert_eq!(span.status, SpanStatus::Error);
    assert!(span.error.is_some());
    assert_eq!(span.output, Some(json!({"messages": [{"role": "assistant", "content": "Hello"}]})));

    // The same, but the connection is closed as if all were well.
    let script = || vec![stream([chunk("Hel"), chunk("lo")])];
    let captured = same_to_the_caller(false, script).await;
    let span = only_span(&captured);
    assert_eq!(span.status, SpanStatus::Error, "no terminal event came");
    assert_eq!(span.output, Some(json!({"messages": [{"role": "assistant", "content": "Hello"}]})));
}

#[tokio::test]
async fn an_error_inside_of_a_stream_is_an_error_with_what_was_read() {
    let error = json!({"error": {"message": "mid stream", "type": "server_error", "code": "x"}});
    let captured = same_to_the_caller(false, || vec![stream([chunk("Hel"), error.clone()])]).await;
    let span = only_span(&captured);
    assert_eq!(span.status, SpanStatus::Error);
    assert!(span.error.as_deref().unwrap().contains("mid stream"), "{:?}", span.error);
    assert_eq!(span.output, Some(json!({"messages": [{"role": "assistant", "content": "Hel"}]})));
}

#[tokio::test]
async fn thirty_megabytes_pass_unchanged_and_are_cut_visibly_in_the_span() {
    let text = "ä".repeat(15 << 20);
    let captured = same_to_the_caller(true, || vec![Exchange::json(200, answer(&text))]).await;
    let span = only_span(&captured);
    assert_eq!(span.status, SpanStatus::Ok);
    assert_eq!(span.token_usage.as_ref().unwrap().total_tokens, Some(15));
    let recorded = span.output.as_ref().unwrap()["messages"][0]["content"].as_str().unwrap();
    assert!(recorded.len() < 5 << 20 && recorded.contains("31457280 bytes in all"), "{}", recorded.len());
}

#[tokio::test]
async fn a_provider_that_cannot_be_reached_is_seen_and_told() {
    let port = free_port();
    let config = OpenAIConfig::new().with_api_base(format!("http://127.0.0.1:{port}/v1"));
    let client = || Client::with_config(config.clone()).with_http_service(stack());
    let without = ask(&client()).await;
    let captured = capture(|| async { ask(&traced(client())).await }).await;
    assert_eq!(captured.output, without);
    let span = only_span(&captured);
    assert_eq!(span.status, SpanStatus::Error);
    assert!(span.error.as_deref().unwrap().contains("refused"), "{:?}", span.error);
}

#[tokio::test]
async fn a_call_that_is_dropped_before_its_answer_is_cancelled() {
    for blocking in [true, false] {
        let provider = Provider::start([Exchange::hang()]);
        let captured = capture(|| async {
            let client = traced(bare(&provider));
            let wait = Duration::from_millis(50);
            let in_time = match blocking {
                true => tokio::time::timeout(wait, ask(&client)).await.is_ok(),
                false => tokio::time::timeout(wait, read(&client)).await.is_ok(),
            };
            assert!(!in_time);
        })
        .await;
        let span = only_span(&captured);
        let cancelled = (SpanStatus::Error, Some("cancelled"), Some("cancelled"));
        assert_eq!((span.status, span.error.as_deref(), end(span)), cancelled);
        assert_eq!(span.input, Some(json!({"messages": [{"role": "user", "content": "hi"}]})));
    }
}

#[tokio::test]
async fn a_blocking_answer_that_is_dropped_half_way_is_cancelled() {
    let body = answer("half").to_string();
    let half = Exchange::raw(200, "application/json", body).pieces_of(40).hang_after(2);
    let provider = Provider::start([half]);
    let captured = capture(|| async {
        let client = traced(bare(&provider));
        assert!(tokio::time::timeout(Duration::from_millis(100), ask(&client)).await.is_err());
    })
    .await;
    let span = only_span(&captured);
    assert_eq!(
        (span.status, span.error.as_deref(), end(span)),
        (SpanStatus::Error, Some("cancelled"), Some("cancelled"))
    );
}

#[tokio::test]
async fn a_stream_that_its_reader_leaves_keeps_what_was_read() {
    let provider =
        Provider::start([stream([chunk("Hel"), chunk("lo"), last_chunk(), json!("[DONE]")]).hang_after(2)]);
    let captured = capture(|| async {
        let mut stream = traced(bare(&provider)).chat().create_stream(request("hi")).await.unwrap();
        stream.next().await.unwrap().unwrap();
        stream.next().await.unwrap().unwrap();
    })
    .await;
    let span = only_span(&captured);
    assert_eq!((span.status, &span.error, end(span)), (SpanStatus::Ok, &None, Some("stopped_by_reader")));
    assert_eq!(span.output, Some(json!({"messages": [{"role": "assistant", "content": "Hello"}]})));
    assert_eq!(captured.trace("openai-chat").status, TraceStatus::Completed);
}

#[tokio::test]
async fn a_stream_that_is_left_after_its_terminal_event_is_whole() {
    let provider = Provider::start([stream([chunk("Hello"), last_chunk(), json!("[DONE]")]).hang_after(2)]);
    let captured = capture(|| async {
        let mut stream = traced(bare(&provider)).chat().create_stream(request("hi")).await.unwrap();
        stream.next().await.unwrap().unwrap();
        stream.next().await.unwrap().unwrap();
    })
    .await;
    let span = only_span(&captured);
    assert_eq!((span.status, end(span)), (SpanStatus::Ok, None));
}

#[tokio::test]
async fn a_shutdown_ends_a_stream_with_what_it_has() {
    let scripts = [
        (vec![chunk("Hel")], (SpanStatus::Unset, Some("shutdown"))),
        (vec![chunk("Hel"), last_chunk()], (SpanStatus::Ok, None)),
    ];
    for (events, expected) in scripts {
        let n = events.len();
        let provider = Provider::start([stream(events.into_iter().chain([json!("[DONE]")])).hang_after(n)]);
        let captured = capture(|| async {
            let mut stream = traced(bare(&provider)).chat().create_stream(request("hi")).await.unwrap();
            for _ in 0..n {
                stream.next().await.unwrap().unwrap();
            }
            stream
        })
        .await;
        let span = only_span(&captured);
        assert_eq!((span.status, end(span)), expected);
        assert_eq!(span.output, Some(json!({"messages": [{"role": "assistant", "content": "Hel"}]})));
        assert_eq!(captured.trace("openai-chat").output, span.output);
    }
}

#[tokio::test]
async fn a_panic_below_the_layer_is_told_and_goes_on() {
    let captured = capture(|| async {
        let service = tower::service_fn(|factory: HttpRequestFactory| async move {
            factory.build().await?;
            panic!("in the stack");
            #[expect(unreachable_code, reason = "it gives the block its type")]
            Err::<reqwest::Response, OpenAIError>(OpenAIError::InvalidArgument(String::new()))
        });
        let service = tower::ServiceBuilder::new().layer(OpenAiHandler::new().layer()).service(service);
        let client: OpenAi = Client::with_config(OpenAIConfig::new()).with_http_service(service);
        assert!(AssertUnwindSafe(ask(&client)).catch_unwind().await.is_err());
    })
    .await;
    let span = only_span(&captured);
    assert_eq!((span.status, span.error.as_deref()), (SpanStatus::Error, Some("panicked: in the stack")));
}

#[tokio::test]
async fn inside_a_span_a_call_is_a_step_of_it() {
    let provider = Provider::start([Exchange::json(200, answer("yo"))]);
    let captured = capture(|| async {
        let client = traced(bare(&provider));
        pandaprobe::trace("agent")
            .scope(|_| {
                pandaprobe::span("plan").kind(SpanKind::Agent).scope(async move { ask(&client).await })
            })
            .await
    })
    .await;
    assert_eq!(
        captured.tree(),
        "agent COMPLETED\n└─ AGENT plan OK\n   └─ LLM openai-chat gpt-4o-2024-08-06 10→5 tokens OK\n"
    );
}

#[tokio::test]
async fn scopes_and_handlers_say_whose_call_it_is() {
    let provider = Provider::start_with(|_, _| Exchange::json(200, answer("yo")));
    let captured = capture(|| async {
        let client = traced(bare(&provider));
        pandaprobe::session("s").user("u").scope(ask(&client)).await;
        let handler = OpenAiHandler::new().user_id("explicit").tags(["a"]).metadata("plan", "pro");
        let config = OpenAIConfig::new().with_api_base(format!("{}/v1", provider.url()));
        let client = handler.wrap(Client::with_config(config));
        pandaprobe::session("s").user("u").scope(ask(&client)).await;
        // Another user's call inside of a trace is a trace of its own, linked.
        pandaprobe::trace("outer").user_id("u").scope(|_| ask(&client)).await;
    })
    .await;
    let of = |n: usize| (captured.traces[n].session_id.as_deref(), captured.traces[n].user_id.as_deref());
    assert_eq!(of(0), (Some("s"), Some("u")));
    assert_eq!(of(1), (Some("s"), Some("explicit")));
    assert_eq!(
        (captured.traces[1].tags.as_slice(), &captured.traces[1].metadata["plan"]),
        (["a".to_owned()].as_slice(), &json!("pro"))
    );
    let (inner, outer) = (&captured.traces[2], captured.trace("outer"));
    assert_eq!(
        (inner.user_id.as_deref(), outer.user_id.as_deref(), outer.spans.len()),
        (Some("explicit"), Some("u"), 0)
    );
    assert_eq!(inner.metadata["pandaprobe.parent_trace_id"], json!(outer.trace_id));
}

#[tokio::test]
async fn on_trace_tells_the_id_and_the_identity_at_the_start() {
    let provider = Provider::start([Exchange::json(200, answer("yo"))]);
    let (told, heard) = std::sync::mpsc::channel();
    let captured = capture(|| async {
        let handler =
            OpenAiHandler::new().user_id("ada").on_trace(move |trace| told.send(trace.clone()).unwrap());
        let config = OpenAIConfig::new().with_api_base(format!("{}/v1", provider.url()));
        ask(&handler.wrap(Client::with_config(config))).await;
    })
    .await;
    let info = heard.recv().unwrap();
    assert_eq!((info.trace_id, info.user_id.as_deref()), (captured.traces[0].trace_id, Some("ada")));
}

#[tokio::test]
async fn bring_your_own_types_and_any_configuration_are_traced() {
    let provider = Provider::start([Exchange::json(200, answer("yo"))]);
    let captured = capture(|| async {
        let config = OpenAIConfig::new().with_api_base(format!("{}/v1", provider.url()));
        let client: Client<Box<dyn Config>> = Client::with_config(Box::new(config) as Box<dyn Config>);
        let client = OpenAiHandler::new().wrap(client);
        let request = json!({"model": "custom", "messages": [{"role": "developer", "content": "x"}], "temperature": 0.5});
        client.chat().create_byot::<_, Value>(request).await.unwrap()
    })
    .await;
    let span = only_span(&captured);
    assert_eq!(span.input, Some(json!({"messages": [{"role": "system", "content": "x"}]})));
    assert_eq!(span.model_parameters, json!({"temperature": 0.5}).as_object().cloned());
}

#[tokio::test]
async fn wrapping_twice_records_once() {
    let provider = Provider::start([Exchange::json(200, answer("yo"))]);
    let captured = capture(|| async {
        let handler = OpenAiHandler::new();
        let config = OpenAIConfig::new().with_api_base(format!("{}/v1", provider.url()));
        ask(&handler.wrap(handler.wrap(Client::with_config(config)))).await
    })
    .await;
    assert_eq!(captured.traces.len(), 1);
    assert_eq!(captured.traces[0].spans.len(), 1);
}

#[tokio::test]
async fn other_endpoints_pass_through_untraced() {
    let provider = Provider::start([Exchange::json(200, json!({"object": "list", "data": []}))]);
    let attempts = Arc::new(AtomicU32::new(0));
    let captured = capture(|| async {
        let client = traced(bare(&provider));
        attempts.fetch_add(1, Ordering::Relaxed);
        client.models().list_byot::<Value>().await.map_err(|error| error.to_string())
    })
    .await;
    assert_eq!(captured.output, Ok(json!({"object": "list", "data": []})));
    assert_eq!(captured.traces.len(), 0);
}

#[tokio::test]
async fn switched_off_misconfigured_or_without_a_backend_the_caller_sees_the_same() {
    let nowhere =
        pandaprobe::Config::new().api_key("k").project_name("p").endpoint("http://127.0.0.1:9").unwrap();
    let tiny =
        pandaprobe::Config::new().exporter(pandaprobe::MemoryExporter::default()).max_buffered_bytes(10);
    let handlers = [
        // Nobody called init, and the environment has no key.
        OpenAiHandler::new(),
        OpenAiHandler::new()
            .client(pandaprobe::Client::new(pandaprobe::Config::new().enabled(false)).unwrap()),
        OpenAiHandler::new().client(pandaprobe::Client::new(nowhere).unwrap()),
        OpenAiHandler::new().client(pandaprobe::Client::new(tiny).unwrap()).user_id(""),
    ];
    let provider = Provider::start_with(|request, _| {
        let streamed = request.json.as_ref().is_some_and(|body| body["stream"] == json!(true));
        if streamed {
            stream([chunk("a"), last_chunk(), json!("[DONE]")])
        } else {
            Exchange::json(200, answer("yo"))
        }
    });
    let plain = bare(&provider);
    let (blocking, streamed) = (ask(&plain).await, read(&plain).await);
    assert!(blocking.contains("yo") && streamed.len() == 2, "{blocking}\n{streamed:?}");
    for handler in handlers {
        let client = handler.wrap(plain.clone());
        assert_eq!(ask(&client).await, blocking);
        assert_eq!(read(&client).await, streamed);
    }
}

#[tokio::test]
async fn usage_can_be_asked_for_without_the_caller_seeing_it() {
    let usage = json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o-2024-08-06",
        "choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}});
    let provider = Provider::start_with(move |request, _| {
        let asked =
            request.json.as_ref().is_some_and(|body| body["stream_options"]["include_usage"] == json!(true));
        let usage = asked.then(|| usage.clone());
        stream([chunk("Hel"), chunk("lo"), last_chunk()].into_iter().chain(usage).chain([json!("[DONE]")]))
            .pieces_of(7)
    });
    let without = read(&bare(&provider)).await;
    assert_eq!(without.len(), 3);
    let captured = capture(|| async {
        let layer = OpenAiHandler::new().include_stream_usage(true).layer();
        let service = tower::ServiceBuilder::new().layer(layer).service(stack());
        let client = bare(&provider).with_http_service(service);
        assert_eq!(read(&client).await, without);
        // A caller who asks sees what it asked for.
        let asking = json!({"model": "gpt-4o", "messages": [], "stream": true, "stream_options": {"include_usage": true}});
        let chunks: Vec<Value> = client.chat().create_stream_byot(asking).await.unwrap().map(Result::unwrap).collect().await;
        assert_eq!((chunks.len(), &chunks[3]["usage"]["total_tokens"]), (4, &json!(15)));
    })
    .await;
    for trace in &captured.traces {
        let span = &trace.spans[0];
        assert_eq!((span.status, end(span)), (SpanStatus::Ok, None));
        assert_eq!(span.token_usage.as_ref().unwrap().total_tokens, Some(15));
        assert_eq!(span.output, Some(json!({"messages": [{"role": "assistant", "content": "Hello"}]})));
    }
    assert_eq!(captured.traces.len(), 2);
}

#[tokio::test]
async fn of_the_headers_only_what_is_listed_is_recorded() {
    let exchange = Exchange::json(200, answer("yo"))
        .header("x-request-id", "req_1")
        .header("openai-processing-ms", "42")
        .header("x-ratelimit-remaining-requests", "99")
        .header("x-ratelimit-reset-tokens", "6ms")
        .header("set-cookie", "secret=1")
        .header("openai-organization", "acme");
    let provider = Provider::start([exchange]);
    let captured = capture(|| async { ask(&traced(bare(&provider))).await }).await;
    let span = only_span(&captured);
    let expected = json!({"finish_reason": "stop", "request_id": "req_1", "processing_ms": 42,
        "rate_limit": {"remaining_requests": 99, "reset_tokens": "6ms"}});
    assert_eq!(json!(span.metadata), expected);
}

#[tokio::test]
async fn a_tool_is_a_step_with_its_arguments_and_its_result() {
    let captured = capture(|| async {
        let handler = OpenAiHandler::new().user_id("ada");
        let arguments = json!({"city": "Lisbon"});
        let inside = handler.clone();
        pandaprobe::trace("turn")
            .scope(|_| async move {
                let weather = async {
                    pandaprobe::span("lookup").run(|_| ());
                    json!({"degrees": 22})
                };
                assert_eq!(inside.tool("get_weather", arguments.clone(), weather).await["degrees"], 22);
                let broken = async { Err::<(), _>("no hotels") };
                assert!(inside.try_tool("find_hotels", arguments.clone(), broken).await.is_err());
                let slow = inside.tool("slow", arguments.clone(), std::future::pending::<()>());
                assert!(tokio::time::timeout(Duration::from_millis(5), slow).await.is_err());
                let panics = inside.tool("panics", arguments, async {
                    if true {
                        panic!("tool")
                    }
                });
                assert!(AssertUnwindSafe(panics).catch_unwind().await.is_err());
            })
            .await;
        handler.try_tool("alone", json!(null), async { Ok::<_, std::fmt::Error>(1) }).await.unwrap();
    })
    .await;
    let turn = captured.trace("turn");
    let tool = turn.span("get_weather").unwrap();
    assert_eq!((tool.kind, tool.status), (SpanKind::Tool, SpanStatus::Ok));
    assert_eq!(
        (&tool.input, &tool.output),
        (&Some(json!({"city": "Lisbon"})), &Some(json!({"degrees": 22})))
    );
    assert_eq!(turn.span("lookup").unwrap().parent_span_id, Some(tool.span_id));
    let error = |name: &str| turn.span(name).unwrap().error.as_deref();
    assert_eq!(error("find_hotels"), Some("no hotels"));
    assert_eq!(error("slow"), Some("cancelled"));
    assert_eq!(error("panics"), Some("panicked: tool"));
    assert_eq!(captured.trace("alone").user_id.as_deref(), Some("ada"));
}

#[tokio::test]
async fn azure_and_servers_with_paths_of_their_own_are_traced() {
    let provider = Provider::start_with(|_, _| Exchange::json(200, answer("yo")));
    let captured = capture(|| async {
        let handler = OpenAiHandler::new();
        let azure = AzureConfig::new()
            .with_api_base(provider.url())
            .with_api_key("k")
            .with_deployment_id("mine")
            .with_api_version("2024-10-21");
        handler.wrap(Client::with_config(azure)).chat().create(request("azure")).await.unwrap();
        let own = OpenAIConfig::new().with_api_base(format!("{}/llm/v9", provider.url()));
        handler.wrap(Client::with_config(own)).chat().create(request("own path")).await.unwrap();
    })
    .await;
    let paths: Vec<String> = provider.requests().iter().map(|request| request.path.clone()).collect();
    assert_eq!(paths, ["/openai/deployments/mine/chat/completions", "/llm/v9/chat/completions"]);
    let outputs: Vec<_> = captured.traces.iter().map(|trace| trace.spans[0].token_usage.is_some()).collect();
    assert_eq!(outputs, [true, true]);
}

#[tokio::test]
async fn a_tools_result_reaches_its_caller_even_if_it_cannot_be_written() {
    #[derive(Debug)]
    struct Rude;
    impl serde::Serialize for Rude {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            panic!("rude")
        }
    }
    impl std::fmt::Display for Rude {
        fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            panic!("rude")
        }
    }
    impl std::error::Error for Rude {}
    let captured = capture(|| async {
        let handler = OpenAiHandler::new();
        handler.tool("value", json!({}), async { Rude }).await;
        assert!(handler.try_tool("error", json!({}), async { Err::<(), _>(Rude) }).await.is_err());
    })
    .await;
    assert_eq!(captured.trace("value").spans[0].status, SpanStatus::Ok);
    assert_eq!(captured.trace("error").spans[0].status, SpanStatus::Error);
}
