//! What `pandaprobe-http` records under a client of one's own, and that its caller sees what it would see without.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::time::Duration;

use axum::body::Body;
use futures_util::StreamExt;
use http_body::Body as _;
use pandaprobe::{
    HttpHandler, SpanData, SpanKind, SpanStatus, TraceStatus,
    http::{Operation, RequestBody},
    testing::{Captured, capture},
};
use pandaprobe_tests::{
    free_port,
    provider::{Exchange, Provider},
    url_at,
};
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware};
use serde_json::{Value, json};
use tower::{BoxError, Layer, Service, ServiceExt};

const MESSAGES: &str = "/v1/messages";

fn client(handler: HttpHandler) -> ClientWithMiddleware {
    ClientBuilder::new(reqwest::Client::new()).with(handler).build()
}

fn request(text: &str) -> Value {
    json!({"model": "claude-x", "max_tokens": 9, "messages": [{"role": "user", "content": text}]})
}

fn answer(text: &str) -> Value {
    json!({"id": "msg_1", "type": "message", "model": "claude-x-1", "content": [{"type": "text", "text": text}],
        "stop_reason": "end_turn", "usage": {"input_tokens": 5, "output_tokens": 2}})
}

fn events(text: &str) -> Vec<Value> {
    let event = |data: Value| json!({"event": data["type"], "data": data});
    let start = json!({"type": "message_start", "message": {"id": "msg_1", "model": "claude-x-1", "content": [],
        "usage": {"input_tokens": 5, "output_tokens": 1}}});
    let begin =
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}});
    let deltas = text.chars().map(|piece| {
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece.to_string()}})
    });
    let end =
        json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}});
    let stop = json!({"type": "message_stop"});
    [start, begin].into_iter().chain(deltas).chain([end, stop]).map(event).collect()
}

fn the_span<T>(captured: &Captured<T>) -> &SpanData {
    captured.assert_nothing_lost();
    captured.span("anthropic-messages")
}

fn said(span: &SpanData) -> &Value {
    &span.output.as_ref().unwrap()["messages"][0]["content"]
}

async fn post(client: &ClientWithMiddleware, url: String, body: Value) -> Result<String, String> {
    let response = client.post(url).json(&body).send().await.map_err(|error| error.to_string())?;
    response.text().await.map_err(|error| error.to_string())
}

#[tokio::test]
async fn a_call_is_a_span_of_its_user_and_the_caller_sees_the_answer() {
    let provider = Provider::start([Exchange::json(200, answer("hello")).header("request-id", "req_1")]);
    let handler = HttpHandler::new().user_id("ada").session_id("s1");
    let captured = capture(|| async {
        let response =
            client(handler).post(provider.url() + MESSAGES).json(&request("hi")).send().await.unwrap();
        assert_eq!(response.url().path(), MESSAGES);
        assert_eq!(response.headers()["request-id"], "req_1");
        assert!(response.remote_addr().is_some());
        assert_eq!(response.content_length(), Some(answer("hello").to_string().len() as u64));
        response.json::<Value>().await.unwrap()
    })
    .await;
    assert_eq!(captured.output, answer("hello"));
    let span = the_span(&captured);
    assert_eq!((span.kind, span.status), (SpanKind::Llm, SpanStatus::Ok));
    assert_eq!(span.input, Some(json!({"messages": [{"role": "user", "content": "hi"}]})));
    assert_eq!(said(span), "hello");
    assert_eq!(span.model.as_deref(), Some("claude-x-1"));
    assert_eq!(span.model_parameters, Some(json!({"max_tokens": 9}).as_object().unwrap().clone()));
    let usage = span.token_usage.as_ref().unwrap();
    assert_eq!((usage.prompt_tokens, usage.completion_tokens), (Some(5), Some(2)));
    assert_eq!(span.metadata["request_id"], "req_1");
    assert_eq!(span.completion_start_time, None);
    let trace = captured.trace("anthropic-messages");
    assert_eq!((trace.user_id.as_deref(), trace.session_id.as_deref()), (Some("ada"), Some("s1")));
}

#[tokio::test]
async fn a_stream_is_merged_however_it_is_cut() {
    for size in [1, 7, 10_000] {
        let provider = Provider::start([Exchange::sse(events("hello")).pieces_of(size)]);
        let captured = capture(|| async {
            let client = client(HttpHandler::new());
            post(&client, provider.url() + MESSAGES, request("hi")).await.unwrap()
        })
        .await;
        assert!(captured.output.ends_with("data: {\"type\":\"message_stop\"}\n\n"), "{}", captured.output);
        let span = the_span(&captured);
        assert_eq!((span.status, said(span)), (SpanStatus::Ok, &json!("hello")), "pieces of {size}");
        assert!(span.completion_start_time.is_some());
    }
}

#[tokio::test]
async fn a_reader_who_leaves_early_keeps_what_was_read() {
    let provider = Provider::start([Exchange::sse(events("hello")).hang_after(4)]);
    let captured = capture(|| async {
        let client = client(HttpHandler::new());
        let response = client.post(provider.url() + MESSAGES).json(&request("hi")).send().await.unwrap();
        let mut body = response.bytes_stream();
        let mut read = String::new();
        while !read.contains("\"e\"") {
            read += std::str::from_utf8(&body.next().await.unwrap().unwrap()).unwrap();
        }
    })
    .await;
    let span = the_span(&captured);
    assert_eq!((span.status, said(span)), (SpanStatus::Ok, &json!("he")));
    assert_eq!(span.metadata["pandaprobe.end"], "stopped_by_reader");
}

#[tokio::test]
async fn errors_of_provider_and_transport_are_the_spans() {
    let limited = json!({"type": "error", "error": {"type": "rate_limit_error", "message": "slow down"}});
    let cut = Exchange::sse(events("hello")).cut_after(4);
    let provider = Provider::start([Exchange::json(429, limited.clone()), cut, Exchange::reset()]);
    let told = |captured: Captured<Result<String, String>>, expected: &str| {
        let span = the_span(&captured);
        assert_eq!(span.status, SpanStatus::Error);
        let error = span.error.clone().unwrap();
        assert!(error.contains(expected), "{error}");
        assert_eq!(captured.trace("anthropic-messages").status, TraceStatus::Error);
        (said_if_any(span), captured.output)
    };
    let client = client(HttpHandler::new());
    let call = || capture(|| post(&client, provider.url() + MESSAGES, request("hi")));
    let (output, seen) = told(call().await, "429: slow down (type: rate_limit_error)");
    assert_eq!((output, seen), (None, Ok(limited.to_string())));
    let (output, seen) = told(call().await, "error reading a body from connection");
    assert!(output == Some("he".into()) && seen.is_err(), "{output:?} {seen:?}");
    assert!(told(call().await, "error sending request").1.is_err());
    let nowhere = capture(|| post(&client, url_at(free_port()) + MESSAGES, request("hi"))).await;
    assert!(told(nowhere, "Connection refused").1.is_err());
}

#[tokio::test]
async fn a_key_in_a_url_is_not_told_with_an_error() {
    let url = url_at(free_port()) + MESSAGES + "?key=AIza-secret&alt=sse";
    let captured = capture(|| async {
        post(&client(HttpHandler::new()), url.clone(), request("hi")).await.unwrap_err();
        let service = HttpHandler::new().layer().layer(sender(url_at(free_port())));
        let request = http::Request::post(url.as_str()).body(in_pieces(&request("hi"), 10)).unwrap();
        service.oneshot(request).await.map(drop).unwrap_err();
    })
    .await;
    let traces = serde_json::to_string(&captured.traces).unwrap();
    assert!(traces.contains("Connection refused") && traces.contains("…"), "{traces}");
    assert!(!traces.contains("AIza-secret"), "{traces}");
    assert_eq!(captured.traces.len(), 2);
}

fn said_if_any(span: &SpanData) -> Option<Value> {
    span.output.as_ref().map(|output| output["messages"][0]["content"].clone())
}

#[tokio::test]
async fn a_call_that_is_given_up_is_cancelled() {
    let provider = Provider::start([Exchange::hang()]);
    let captured = capture(|| async {
        let client = client(HttpHandler::new());
        let call = post(&client, provider.url() + MESSAGES, request("hi"));
        tokio::time::timeout(Duration::from_millis(100), call).await.unwrap_err();
    })
    .await;
    let span = the_span(&captured);
    assert_eq!((span.status, span.error.as_deref()), (SpanStatus::Error, Some("cancelled")));
    assert_eq!(span.input, Some(json!({"messages": [{"role": "user", "content": "hi"}]})));
}

#[tokio::test]
async fn clones_of_one_handler_record_each_for_its_user() {
    let provider = Provider::start_with(|request, _| {
        Exchange::json(
            200,
            answer(request.json.as_ref().unwrap()["messages"][0]["content"].as_str().unwrap()),
        )
        .chunk_delay(Duration::from_millis(5))
    });
    let handler = HttpHandler::new();
    let captured = capture(|| async {
        let calls = (0..20).map(|n| {
            let user = format!("u{n}");
            let client = client(handler.clone().user_id(&user));
            let url = provider.url() + MESSAGES;
            async move { post(&client, url, request(&user)).await.unwrap() }
        });
        futures_util::future::join_all(calls).await;
        // One client for all, and scopes that say for whom.
        let shared = client(handler.clone());
        let calls = (20..40).map(|n| {
            let user = format!("u{n}");
            let (shared, url) = (shared.clone(), provider.url() + MESSAGES);
            pandaprobe::user(user.clone())
                .scope(async move { post(&shared, url, request(&user)).await.unwrap() })
        });
        futures_util::future::join_all(calls).await;
    })
    .await;
    captured.assert_nothing_lost();
    assert_eq!(captured.traces.len(), 40);
    for trace in &captured.traces {
        assert_eq!(Some(said(&trace.spans[0])), trace.user_id.clone().map(Value::from).as_ref());
    }
}

#[tokio::test]
async fn other_requests_pass_unseen() {
    let provider = Provider::start_with(|_, _| Exchange::raw(200, "text/plain", "fine"));
    let captured = capture(|| async {
        let client = client(HttpHandler::new());
        for path in ["/v1/models", "/health", "/v1/messages/count_tokens"] {
            assert_eq!(post(&client, provider.url() + path, request("hi")).await.unwrap(), "fine");
        }
        client.get(provider.url() + MESSAGES).send().await.unwrap();
    })
    .await;
    assert_eq!(captured.traces.len(), 0);
    assert_eq!(provider.requests().len(), 4);
}

#[tokio::test]
async fn paths_of_ones_own_are_detected_as_told() {
    let provider = Provider::start_with(|_, _| Exchange::json(200, answer("hello")));
    let handler = HttpHandler::new().detect(|path| match path {
        "/llm/claude" => Operation::AnthropicMessages,
        _ => Operation::Unknown,
    });
    let captured = capture(|| async {
        let client = client(handler);
        for path in ["/llm/claude", MESSAGES] {
            post(&client, provider.url() + path, request("hi")).await.unwrap();
        }
    })
    .await;
    assert_eq!(captured.traces.len(), 1);
    assert_eq!(said(the_span(&captured)), "hello");
}

#[tokio::test]
async fn a_compressed_answer_is_passed_on_and_not_taken_for_a_broken_one() {
    let provider = Provider::start([
        Exchange::raw(200, "application/json", vec![0x1F, 0x8B, 8, 0]).header("content-encoding", "gzip")
    ]);
    let captured = capture(|| async {
        let client = client(HttpHandler::new());
        let response = client.post(provider.url() + MESSAGES).json(&request("hi")).send().await.unwrap();
        response.bytes().await.unwrap()
    })
    .await;
    assert_eq!(&captured.output[..], [0x1F, 0x8B, 8, 0]);
    let span = the_span(&captured);
    assert_eq!((span.status, &span.output), (SpanStatus::Ok, &None));
    assert!(span.metadata["pandaprobe.notes"][0].as_str().unwrap().contains("gzip"));
}

#[tokio::test]
async fn what_is_uploaded_as_a_stream_is_recorded_by_its_size() {
    let provider = Provider::start([Exchange::json(200, json!({"text": "heard"}))]);
    let captured = capture(|| async {
        let pieces = futures_util::stream::iter((0..3).map(|_| Ok::<_, std::io::Error>(vec![7_u8; 10])));
        let response = client(HttpHandler::new())
            .post(provider.url() + "/v1/audio/transcriptions")
            .header("content-type", "multipart/form-data; boundary=x")
            .body(reqwest::Body::wrap_stream(pieces))
            .send();
        response.await.unwrap().text().await.unwrap()
    })
    .await;
    assert_eq!(provider.requests()[0].body.len(), 30);
    let span = captured.span("openai-transcription");
    assert_eq!(span.input.as_ref().unwrap()["messages"][0]["content"][0]["type"], "multipart");
    assert_eq!(said(span), "heard");
}

#[tokio::test]
async fn a_tool_loop_through_any_dialect_is_one_trace() {
    let call = json!({"type": "tool_use", "id": "t1", "name": "add", "input": {"x": 1}});
    let asks =
        json!({"id": "msg_1", "type": "message", "model": "c", "content": [call], "stop_reason": "tool_use"});
    let provider = Provider::start([Exchange::json(200, asks), Exchange::json(200, answer("2"))]);
    let captured = capture(|| async {
        let client = client(HttpHandler::new());
        let mut turn = request("add");
        post(&client, provider.url() + MESSAGES, turn.clone()).await.unwrap();
        let messages = turn["messages"].as_array_mut().unwrap();
        messages.push(json!({"role": "assistant", "content": [call]}));
        let result = json!({"type": "tool_result", "tool_use_id": "t1", "content": "2"});
        messages.push(json!({"role": "user", "content": [result]}));
        post(&client, provider.url() + MESSAGES, turn.clone()).await.unwrap();
    })
    .await;
    captured.assert_nothing_lost();
    let [trace] = &captured.traces[..] else {
        panic!("one trace:\n{}", captured.tree());
    };
    let kinds: Vec<SpanKind> = trace.spans.iter().map(|span| span.kind).collect();
    assert_eq!(kinds.iter().filter(|kind| **kind == SpanKind::Llm).count(), 2, "{}", captured.tree());
    assert!(kinds.contains(&SpanKind::Tool), "{}", captured.tree());
}

#[tokio::test]
async fn tools_that_the_provider_ran_are_steps_below_the_call() {
    let content = json!([
        {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "q"}},
        {"type": "web_search_tool_result", "tool_use_id": "s1", "content": [{"url": "u"}]},
        {"type": "text", "text": "found"}]);
    let mut found = answer("");
    found["content"] = content;
    let provider = Provider::start([Exchange::json(200, found)]);
    let captured = capture(|| async {
        let client = client(HttpHandler::new());
        post(&client, provider.url() + MESSAGES, request("hi")).await.unwrap();
    })
    .await;
    let (call, tool) = (the_span(&captured), captured.span("web_search"));
    assert_eq!((tool.kind, &tool.parent_span_id), (SpanKind::Tool, &Some(call.span_id)));
    assert_eq!((&tool.input, &tool.output), (&Some(json!({"query": "q"})), &Some(json!([{"url": "u"}]))));
}

/// A client of `http` requests, as hyper's is one.
fn sender(
    url: String,
) -> impl Service<
    http::Request<RequestBody<Body>>,
    Response = http::Response<reqwest::Body>,
    Error = reqwest::Error,
    Future: Send + 'static,
> + Clone {
    let client = reqwest::Client::new();
    tower::service_fn(move |request: http::Request<RequestBody<Body>>| {
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        let (client, url) = (client.clone(), format!("{url}{path}"));
        async move {
            let body = reqwest::Body::wrap_stream(Body::new(request.into_body()).into_data_stream());
            Ok(client.post(url).body(body).send().await?.into())
        }
    })
}

fn in_pieces(body: &Value, size: usize) -> Body {
    let bytes = body.to_string().into_bytes();
    let pieces: Vec<_> = bytes.chunks(size).map(|piece| Ok::<_, BoxError>(piece.to_vec())).collect();
    Body::from_stream(futures_util::stream::iter(pieces))
}

async fn all(
    mut body: impl http_body::Body<Data = bytes::Bytes, Error = BoxError> + Unpin,
) -> Result<Vec<u8>, BoxError> {
    let mut all = Vec::new();
    while let Some(frame) = std::future::poll_fn(|cx| std::pin::Pin::new(&mut body).poll_frame(cx)).await {
        all.extend_from_slice(frame?.data_ref().map_or(&[][..], |data| data));
    }
    Ok(all)
}

#[tokio::test]
async fn the_layer_records_requests_and_answers_in_pieces() {
    for size in [1, 50, 10_000] {
        let provider = Provider::start([
            Exchange::sse(events("hello")).pieces_of(size),
            Exchange::json(200, answer("yes")),
        ]);
        let captured = capture(|| async {
            let mut service = HttpHandler::new().user_id("ada").layer().layer(sender(provider.url()));
            for _ in 0..2 {
                let body = in_pieces(&request("hi"), size);
                let request = http::Request::post("http://api.example/v1/messages").body(body).unwrap();
                let response = service.ready().await.unwrap().call(request).await.unwrap();
                all(response.into_body()).await.unwrap();
            }
        })
        .await;
        captured.assert_nothing_lost();
        captured.assert_user(Some("ada"));
        let texts: Vec<&Value> = captured.traces.iter().map(|trace| said(&trace.spans[0])).collect();
        assert_eq!(texts, [&json!("hello"), &json!("yes")]);
        for trace in &captured.traces {
            let input = json!({"messages": [{"role": "user", "content": "hi"}]});
            assert_eq!(trace.spans[0].input.as_ref(), Some(&input), "pieces of {size}");
        }
        assert_eq!(provider.requests()[0].json, Some(request("hi")));
    }
}

#[tokio::test]
async fn the_layer_tells_failures_and_readers_who_leave() {
    let provider = Provider::start([
        Exchange::sse(events("hello")).cut_after(4),
        Exchange::sse(events("hello")).hang_after(4),
        Exchange::hang(),
        Exchange::reset(),
        Exchange::raw(204, "text/plain", ""),
    ]);
    let captured = capture(|| async {
        let service = HttpHandler::new().layer().layer(sender(provider.url()));
        let call = || {
            let body = in_pieces(&request("hi"), 10);
            service.clone().oneshot(http::Request::post(MESSAGES).body(body).unwrap())
        };
        assert!(all(call().await.unwrap().into_body()).await.is_err());
        let mut left = call().await.unwrap().into_body();
        for _ in 0..4 {
            std::future::poll_fn(|cx| std::pin::Pin::new(&mut left).poll_frame(cx)).await;
        }
        drop(left);
        tokio::time::timeout(Duration::from_millis(100), call()).await.unwrap_err();
        assert!(call().await.is_err());
        assert!(all(call().await.unwrap().into_body()).await.unwrap().is_empty());
    })
    .await;
    captured.assert_nothing_lost();
    let statuses: Vec<SpanStatus> = captured.traces.iter().map(|trace| trace.spans[0].status).collect();
    let expected =
        [SpanStatus::Error, SpanStatus::Ok, SpanStatus::Error, SpanStatus::Error, SpanStatus::Error];
    assert_eq!(statuses, expected, "{}", captured.tree());
    let errors: Vec<Option<&str>> =
        captured.traces.iter().map(|trace| trace.spans[0].error.as_deref()).collect();
    assert!(errors[0].unwrap().contains("error reading a body from connection"), "{errors:?}");
    assert_eq!(errors[2], Some("cancelled"));
    assert!(errors[3].unwrap().contains("error sending request"), "{errors:?}");
    assert_eq!(errors[4], Some("answer is empty"));
}

#[tokio::test]
async fn the_layer_passes_other_requests_on_unseen() {
    let provider = Provider::start([Exchange::raw(200, "text/plain", "fine")]);
    let captured = capture(|| async {
        let service = HttpHandler::new().layer().layer(sender(provider.url()));
        let request = http::Request::post("/v1/files").body(Body::from("x")).unwrap();
        all(service.oneshot(request).await.unwrap().into_body()).await.unwrap()
    })
    .await;
    assert_eq!((&captured.output[..], captured.traces.len()), (&b"fine"[..], 0));
}

#[tokio::test]
async fn a_form_through_the_layer_is_recorded_by_its_kind() {
    let provider = Provider::start([Exchange::json(200, json!({"text": "heard"}))]);
    let captured = capture(|| async {
        let service = HttpHandler::new().layer().layer(sender(provider.url()));
        let request = http::Request::post("/v1/audio/transcriptions")
            .header("content-type", "multipart/form-data; boundary=x")
            .body(in_pieces(&json!("the form's secrets"), 3))
            .unwrap();
        all(service.oneshot(request).await.unwrap().into_body()).await.unwrap();
    })
    .await;
    let span = captured.span("openai-transcription");
    assert_eq!(span.input.as_ref().unwrap()["messages"][0]["content"], json!([{"type": "multipart"}]));
    assert_eq!(said(span), "heard");
    assert!(provider.requests()[0].body.ends_with(b"secrets\""));
}
