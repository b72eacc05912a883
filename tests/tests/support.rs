//! The test support itself: a backend or provider that lies would make every other test worthless.
#![expect(clippy::unwrap_used, reason = "a test's helpers fail the test")]

use std::{
    io::{Read, Write},
    net::TcpStream,
    process::Command,
    time::{Duration, Instant},
};

use pandaprobe_tests::{
    backend::{Answer, Backend},
    contract, golden,
    provider::{Exchange, Provider},
    shared::require,
};
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::{Value, json};

const TRACE: &str = "2f1f7d3e-5d1c-4b3e-9f0a-6f3c1a0b9d11";
const SPAN: &str = "7b1e7c52-0f0e-4e6f-8a53-0d2f3c4b5a66";
const SOON: Duration = Duration::from_secs(5);

fn trace() -> Value {
    json!({
        "trace_id": TRACE,
        "name": "trip",
        "started_at": "2026-01-02T03:04:05.000001+00:00",
        "input": {"messages": []},
        "output": "done",
        "metadata": {"a": 1},
        "spans": [span("one")],
    })
}

fn span(output: &str) -> Value {
    json!({"span_id": SPAN, "name": "call", "kind": "LLM", "output": output, "model": "m",
        "started_at": "2026-01-02T03:04:05+00:00"})
}

fn score(value: &str) -> Value {
    json!({"trace_id": TRACE, "name": "quality", "value": value, "source": "PROGRAMMATIC"})
}

fn with(mut body: Value, key: &str, value: Value) -> Value {
    body[key] = value;
    body
}

fn without(mut body: Value, key: &str) -> Value {
    body.as_object_mut().unwrap().remove(key);
    body
}

fn request(client: &Client, backend: &Backend, method: Method, path: &str) -> RequestBuilder {
    let request = client.request(method, format!("{}{path}", backend.url()));
    request.header("X-API-Key", "key").header("X-Project-Name", "project")
}

async fn send(backend: &Backend, method: Method, path: &str, body: &Value) -> (u16, Value) {
    let response = request(&Client::new(), backend, method, path).json(body).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap_or_default())
}

async fn post(backend: &Backend, path: &str, body: &Value) -> (u16, Value) {
    send(backend, Method::POST, path, body).await
}

/// Sends one trace over `client`'s connections.
async fn post_trace(client: &Client, backend: &Backend) -> reqwest::Result<Response> {
    request(client, backend, Method::POST, "/traces").json(&trace()).send().await
}

#[tokio::test]
async fn backend_answers_and_stores_a_trace() {
    let backend = Backend::start();
    let (status, body) = post(&backend, "/traces", &trace()).await;
    assert_eq!((status, &body["trace_id"]), (202, &json!(TRACE)));
    assert!(body["task_id"].is_string());
    let stored = backend.trace(TRACE).unwrap();
    assert_eq!(stored["status"], "COMPLETED");
    assert_eq!(stored["spans"][0]["status"], "UNSET");
    let requests = backend.requests_to("POST", "/traces");
    assert_eq!(requests[0].header("x-api-key"), Some("key"));
    assert_eq!((requests[0].json.clone(), requests[0].status), (Some(trace()), Some(202)));
    assert!(backend.rejected().is_empty());
}

#[tokio::test]
async fn backend_upserts_a_trace_posted_again() {
    let backend = Backend::start();
    let first = with(with(trace(), "user_id", json!("u")), "tags", json!(["b", "a"]));
    post(&backend, "/traces", &first).await;
    assert_eq!(backend.trace(TRACE).unwrap()["tags"], json!(["b", "a"]));
    let second = with(without(without(trace(), "input"), "spans"), "metadata", json!({"b": 2}));
    post(&backend, "/traces", &with(second, "tags", json!(["c"]))).await;
    let stored = backend.trace(TRACE).unwrap();
    assert_eq!(stored["input"], Value::Null, "absent input overwrites");
    assert_eq!(stored["user_id"], "u", "absent user is kept");
    assert_eq!(stored["metadata"], json!({"a": 1, "b": 2}));
    assert_eq!(stored["tags"], json!(["a", "b", "c"]));
    assert_eq!(stored["spans"].as_array().unwrap().len(), 1);
    assert_eq!(backend.traces().len(), 1);
}

#[tokio::test]
async fn backend_upserts_spans_by_id() {
    let backend = Backend::start();
    post(&backend, "/traces", &trace()).await;
    let path = format!("/traces/{TRACE}/spans");
    let (status, body) = post(&backend, &path, &json!([without(span("two"), "model")])).await;
    assert_eq!((status, body), (201, json!({"span_ids": [SPAN]})));
    let spans = &backend.trace(TRACE).unwrap()["spans"];
    assert_eq!(spans.as_array().unwrap().len(), 1);
    assert_eq!((&spans[0]["output"], &spans[0]["model"]), (&json!("two"), &json!("m")));
}

#[tokio::test]
async fn backend_patches_only_what_is_sent() {
    let backend = Backend::start();
    post(&backend, "/traces", &with(trace(), "user_id", json!("u"))).await;
    let patch = json!({"metadata": {"b": 2}, "user_id": null, "name": null, "status": "ERROR"});
    let path = format!("/traces/{TRACE}");
    let (status, body) = send(&backend, Method::PATCH, &path, &patch).await;
    assert_eq!(status, 200);
    assert_eq!(body, backend.trace(TRACE).unwrap());
    assert_eq!((&body["name"], &body["status"]), (&json!("trip"), &json!("ERROR")));
    assert_eq!((&body["user_id"], &body["output"]), (&Value::Null, &json!("done")));
    assert_eq!(body["metadata"], json!({"a": 1, "b": 2}));
}

#[tokio::test]
async fn backend_knows_a_trace_only_after_the_delay() {
    let backend = Backend::start();
    backend.visible_after(Duration::from_millis(600));
    post(&backend, "/traces", &trace()).await;
    assert_eq!(backend.traces().len(), 1);
    let spans = format!("/traces/{TRACE}/spans");
    let (status, body) = post(&backend, &spans, &json!([span("two")])).await;
    assert_eq!((status, body["detail"].is_string()), (404, true));
    let patch = send(&backend, Method::PATCH, &format!("/traces/{TRACE}"), &json!({})).await;
    assert_eq!(patch.0, 404);
    assert_eq!(post(&backend, "/evaluations/trace-scores", &score("0.5")).await.0, 500);
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(post(&backend, &spans, &json!([span("two")])).await.0, 201);
    assert_eq!(post(&backend, "/evaluations/trace-scores", &score("0.5")).await.0, 201);
    assert_eq!(backend.scores()[0]["value"], "0.5");
    assert!(backend.rejected().is_empty(), "a trace that is not there yet is no fault of the body");
}

#[tokio::test]
async fn backend_refuses_wrong_bodies_and_remembers_them() {
    let backend = Backend::start();
    let wrong = [
        (without(trace(), "name"), "name"),
        (with(trace(), "name", json!("")), "name"),
        (with(trace(), "name", json!("x".repeat(513))), "name"),
        (with(trace(), "user_id", json!("x".repeat(256))), "user_id"),
        (with(trace(), "trace_id", json!("0123456789abcdef")), "trace_id"),
        (with(trace(), "started_at", json!("yesterday")), "started_at"),
        (with(trace(), "tags", Value::Null), "tags"),
        (with(trace(), "output", json!({"k": ["a\u{0}b"]})), "output -> k -> 0"),
        (with(trace(), "errors", json!([])), "errors"),
        (with(trace(), "spans", json!([with(span("x"), "kind", json!("llm"))])), "spans -> 0 -> kind"),
        (
            with(trace(), "spans", json!([with(span("x"), "token_usage", json!({"prompt_tokens": 1.5}))])),
            "spans -> 0 -> token_usage",
        ),
        (with(trace(), "spans", json!(vec![without(span("x"), "span_id"); 501])), "spans"),
        (json!([trace()]), "body"),
    ];
    for (index, (body, field)) in wrong.iter().enumerate() {
        let (status, answer) = post(&backend, "/traces", body).await;
        assert_eq!((status, &answer["detail"]), (422, &json!("Validation error")), "{body}");
        assert_eq!(answer["errors"][0]["field"], *field, "{answer}");
        assert!(backend.rejected()[index].errors[0].starts_with(&format!("{field}: ")));
    }
    assert_eq!(post(&backend, &format!("/traces/{TRACE}/spans"), &json!({"spans": []})).await.0, 422);
    assert_eq!(post(&backend, "/evaluations/trace-scores", &score("1.5")).await.0, 422);
    assert_eq!(backend.rejected().len(), wrong.len() + 2);
    assert!(backend.traces().is_empty());
}

#[tokio::test]
async fn backend_takes_254_levels_and_no_more() {
    let nested = |levels| (0..levels).fold(json!("]"), |inner, _| json!([inner]));
    let backend = Backend::start();
    let deep = |levels| with(trace(), "spans", json!([with(span("x"), "input", nested(levels))]));
    assert_eq!(post(&backend, "/traces", &deep(254)).await.0, 202);
    assert_eq!(post(&backend, "/traces", &deep(255)).await.0, 422);
    let text = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let request = request(&Client::new(), &backend, Method::POST, "/traces").body(text);
    let response = request.header("content-type", "application/json").send().await.unwrap();
    assert_eq!(response.status(), 400);
}

#[tokio::test]
async fn backend_wants_a_key_and_a_project() {
    let backend = Backend::start();
    backend.expect_key("right");
    let cases = [
        (None, Some("p"), 401),
        (Some(""), Some("p"), 401),
        (Some("wrong"), Some("p"), 401),
        (Some("right"), None, 422),
        (Some("right"), Some("a/b"), 422),
        (Some("right"), Some("p"), 202),
    ];
    for (key, project, expected) in cases {
        let mut request = Client::new().post(format!("{}/traces", backend.url())).json(&trace());
        for (name, value) in [("X-API-Key", key), ("X-Project-Name", project)] {
            request = value.into_iter().fold(request, |request, value| request.header(name, value));
        }
        assert_eq!(request.send().await.unwrap().status(), expected, "{key:?} {project:?}");
    }
}

#[tokio::test]
async fn backend_plays_its_script_then_answers_normally() {
    let backend = Backend::start();
    backend.script([
        Answer::status(503).header("retry-after", "2"),
        Answer::rate_limited(),
        Answer::AckThenForget,
    ]);
    let client = Client::new();
    let first = post_trace(&client, &backend).await.unwrap();
    assert_eq!((first.status().as_u16(), first.headers()["retry-after"].to_str().unwrap()), (503, "2"));
    assert_eq!(post(&backend, "/traces", &trace()).await.0, 429);
    assert_eq!(post(&backend, "/traces", &trace()).await.0, 202);
    assert!(backend.traces().is_empty());
    assert_eq!(post(&backend, "/traces", &trace()).await.0, 202);
    assert_eq!(backend.wait_for_async(1, SOON).await.len(), 1);
}

#[tokio::test]
async fn backend_script_may_look_at_the_request_and_at_the_backend() {
    let backend = Backend::start();
    backend.script_with(|request, nth| {
        assert_eq!(request.path, "/traces");
        if nth < 2 { Answer::status(502) } else { Answer::Normal }
    });
    let mut codes = Vec::new();
    for _ in 0..3 {
        codes.push(post(&backend, "/traces", &trace()).await.0);
    }
    assert_eq!(codes, [502, 502, 202]);
}

#[tokio::test]
async fn backend_resets_with_and_without_storing() {
    let backend = Backend::start();
    backend.script([Answer::Reset, Answer::StoreThenReset]);
    let client = Client::new();
    assert!(post_trace(&client, &backend).await.unwrap_err().is_request());
    assert!(backend.traces().is_empty());
    assert!(post_trace(&client, &backend).await.unwrap_err().is_request());
    assert_eq!(backend.traces().len(), 1);
    assert_eq!(backend.requests().len(), 2);
    assert!(backend.requests().iter().all(|request| request.status.is_none()));
}

#[tokio::test]
async fn backend_hangs_until_the_client_leaves() {
    let backend = Backend::start();
    backend.script([Answer::Hang, Answer::Slow(Duration::from_millis(50))]);
    let client = Client::builder().timeout(Duration::from_millis(100)).build().unwrap();
    assert!(post_trace(&client, &backend).await.unwrap_err().is_timeout());
    let left = |backend: &Backend| backend.requests()[0].client_closed.is_some();
    assert!(backend.wait_until_async(SOON, left).await);
    let sent = Instant::now();
    let client = Client::new();
    assert_eq!(post_trace(&client, &backend).await.unwrap().status(), 202);
    assert!(sent.elapsed() >= Duration::from_millis(50));
}

#[tokio::test]
async fn backend_keeps_connections_alive_and_shows_their_ports() {
    let backend = Backend::start();
    let client = Client::new();
    for _ in 0..3 {
        post_trace(&client, &backend).await.unwrap().bytes().await.unwrap();
    }
    let ports: Vec<u16> = backend.requests().iter().map(|request| request.peer_port).collect();
    assert_eq!(ports, [ports[0]; 3]);
}

#[test]
fn backend_closes_after_a_500_without_announcing_it() {
    let backend = Backend::start();
    backend.script([Answer::internal_error()]);
    let mut socket = TcpStream::connect(backend.url().strip_prefix("http://").unwrap()).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    socket.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 500"), "{answer}");
    assert!(answer.ends_with("Internal Server Error"), "{answer}");
    assert!(!answer.to_lowercase().contains("connection:"), "{answer}");
}

#[test]
#[should_panic(expected = "0 of 1 traces came")]
fn waiting_in_vain_says_what_came_instead() {
    Backend::start().wait_for(1, Duration::from_millis(10));
}

async fn ask(provider: &Provider) -> Response {
    let request = Client::new().post(format!("{}/v1/any?x=1", provider.url()));
    request.json(&json!({"q": 1})).send().await.unwrap()
}

#[tokio::test]
async fn provider_plays_its_exchanges_in_order() {
    let provider = Provider::start([
        Exchange::json(429, json!({"error": {}})).header("Retry-After", "1"),
        Exchange::raw(200, "text/csv", "a,b"),
    ]);
    let first = ask(&provider).await;
    assert_eq!((first.status().as_u16(), first.headers()["retry-after"].to_str().unwrap()), (429, "1"));
    let second = ask(&provider).await;
    assert_eq!(second.headers()["content-type"], "text/csv");
    assert_eq!(second.text().await.unwrap(), "a,b");
    assert_eq!(ask(&provider).await.status(), 500, "nothing is scripted for a third request");
    let requests = provider.requests();
    assert_eq!((requests[0].path.as_str(), requests[0].query.as_deref()), ("/v1/any", Some("x=1")));
    assert_eq!(requests[2].json, Some(json!({"q": 1})));
}

#[tokio::test]
async fn provider_streams_events_in_any_pieces() {
    let events = || [json!({"é": 1}), json!({"event": "ping", "data": {"type": "ping"}}), json!("[DONE]")];
    let text = "data: {\"é\":1}\n\nevent: ping\ndata: {\"type\":\"ping\"}\n\ndata: [DONE]\n\n";
    let provider = Provider::start_with(move |_, nth| match nth {
        0 => Exchange::sse(events()),
        1 => Exchange::sse(events()).chunk_delay(Duration::from_millis(10)),
        _ => Exchange::sse(events()).pieces_of(1),
    });
    for _ in 0..3 {
        let response = ask(&provider).await;
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.text().await.unwrap(), text);
    }
}

#[tokio::test]
async fn provider_cuts_mid_stream() {
    let exchange = Exchange::sse([json!(1), json!(2), json!(3)]).cut_after(2);
    let provider = Provider::start([exchange.clone(), exchange.chunk_delay(Duration::from_millis(5))]);
    for _ in 0..2 {
        let mut response = ask(&provider).await;
        let mut received = Vec::new();
        let error = loop {
            match response.chunk().await {
                Ok(chunk) => received.extend(chunk.expect("the body must not end well")),
                Err(error) => break error,
            }
        };
        assert!(!error.is_timeout(), "{error:?}");
        assert_eq!(received, b"data: 1\n\ndata: 2\n\n");
    }
}

#[tokio::test]
async fn provider_hangs_mid_stream_and_sees_the_client_leave() {
    let provider = Provider::start([Exchange::sse([json!(1), json!(2)]).hang_after(1)]);
    let mut response = ask(&provider).await;
    assert_eq!(response.chunk().await.unwrap().unwrap(), "data: 1\n\n");
    let more = tokio::time::timeout(Duration::from_millis(50), response.chunk()).await;
    assert!(more.is_err(), "{more:?}");
    assert_eq!(provider.requests()[0].client_closed, None);
    drop(response);
    let left = |requests: &[pandaprobe_tests::Recorded]| requests[0].client_closed.is_some();
    assert!(provider.wait_until_async(SOON, left).await);
}

#[tokio::test]
async fn provider_may_not_answer_at_all() {
    let provider = Provider::start([Exchange::hang(), Exchange::reset()]);
    let client = Client::builder().timeout(Duration::from_millis(50)).build().unwrap();
    assert!(client.get(provider.url()).send().await.unwrap_err().is_timeout());
    let client = Client::builder().timeout(SOON).build().unwrap();
    let error = client.get(provider.url()).send().await.unwrap_err();
    assert!(error.is_request() && !error.is_timeout(), "{error:?}");
}

#[test]
fn contract_refuses_what_it_does_not_name() {
    if !require("shared", contract::available()) {
        return;
    }
    assert_eq!(contract::trace_create(&trace()), Ok(()));
    let unknown = contract::trace_create(&with(trace(), "error", json!("x"))).unwrap_err();
    assert!(unknown.contains("error"), "{unknown}");
    let nested = with(trace(), "spans", json!([with(span("x"), "level", json!(1))]));
    assert!(contract::trace_create(&nested).unwrap_err().contains("level"));
    assert!(contract::trace_create(&with(trace(), "trace_id", json!("x"))).is_err());
    assert!(contract::trace_create(&with(trace(), "started_at", json!("2026-13-01T00:00:00Z"))).is_err());
    assert_eq!(contract::trace_create(&with(trace(), "metadata", json!({"any": {"k": 1}}))), Ok(()));
}

#[test]
fn contract_knows_the_other_bodies() {
    if !require("shared", contract::available()) {
        return;
    }
    assert_eq!(contract::spans_create(&json!([span("x")])), Ok(()));
    assert!(contract::spans_create(&json!([])).is_err());
    assert!(contract::spans_create(&json!(vec![span("x"); 501])).is_err());
    assert_eq!(contract::trace_update(&json!({"status": "ERROR"})), Ok(()));
    assert!(contract::trace_update(&json!({"started_at": "2026-01-01T00:00:00Z"})).is_err());
    assert_eq!(contract::score_create(&score("0.5")), Ok(()));
    assert!(contract::score_create(&with(score("0.5"), "value", json!(0.5))).is_err());
}

#[tokio::test]
async fn golden_scenarios_load_and_play() {
    if !require("shared", golden::available()) {
        return;
    }
    let scenario = golden::load(7).unwrap();
    assert_eq!(scenario.pandaprobe_requests.len(), 3);
    assert_eq!(scenario.provider_exchanges.len(), 3);
    for number in 1..=49 {
        let scenario = golden::load(number).unwrap();
        let mut exchanges = scenario.provider_exchanges.iter();
        assert!(exchanges.all(|exchange| Exchange::golden(&exchange["response"]).is_some()), "{number}");
    }
    let response = &scenario.provider_exchanges[0]["response"];
    let provider = Provider::start(Exchange::golden(response));
    assert!(ask(&provider).await.text().await.unwrap().ends_with("data: [DONE]\n\n"));
    assert!(golden::load(999).is_none());
}

#[test]
#[ignore = "run by the other tests, with the variables they set"]
fn absent_material() {
    assert!(!require("moon", false));
}

/// Runs `absent_material` with this list; returns whether it passed and how often stderr says that it was skipped.
fn absent_material_with(required: &str) -> (bool, usize) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", "absent_material"]).env("PANDAPROBE_REQUIRE", required);
    let output = command.output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    let skipped = stderr.lines().filter(|line| *line == "skipped: moon is not here");
    (output.status.success(), skipped.count())
}

#[test]
fn absent_material_is_skipped_aloud_unless_required() {
    assert_eq!(absent_material_with("sun"), (true, 1));
    assert_eq!(absent_material_with("sun, moon"), (false, 0));
    assert!(require("anything", true));
}
