//! The stand-in's protocol, seen through a plain HTTP client.
#![expect(clippy::unwrap_used, reason = "a test's helpers fail the test")]

use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use stand_in_model::{ChatRequest, Reply, StandInModel};

fn tools() -> Value {
    let tool = |name: &str, properties: Value| {
        json!({"type": "function", "function": {
            "name": name,
            "parameters": {"type": "object", "properties": properties},
        }})
    };
    json!([
        tool("get_weather", json!({"city": {"type": "string"}})),
        tool("find_hotels", json!({"city": {"type": "string"}, "max_price": {"type": "number"}})),
    ])
}

fn question(text: &str) -> Value {
    json!({"model": "gpt-4o-mini", "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": text},
    ]})
}

fn with(mut body: Value, key: &str, value: Value) -> Value {
    body[key] = value;
    body
}

async fn post(server: &StandInModel, body: &Value) -> Response {
    let url = format!("{}/chat/completions", server.base_url());
    Client::new().post(url).bearer_auth("test").json(body).send().await.unwrap()
}

async fn answer(server: &StandInModel, body: &Value) -> Value {
    let response = post(server, body).await;
    assert_eq!(response.status(), StatusCode::OK);
    response.json().await.unwrap()
}

async fn events(server: &StandInModel, body: &Value) -> Vec<Value> {
    let response = post(server, body).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream; charset=utf-8");
    let text = response.text().await.unwrap();
    let mut events: Vec<&str> = text.split_terminator("\n\n").collect();
    assert_eq!(events.pop(), Some("data: [DONE]"));
    let data = events.iter().map(|event| event.strip_prefix("data: ").unwrap());
    data.map(|data| serde_json::from_str(data).unwrap()).collect()
}

fn calls(message: &Value) -> Vec<(String, Value)> {
    let calls = message["tool_calls"].as_array().into_iter().flatten();
    calls
        .map(|call| {
            let arguments = call["function"]["arguments"].as_str().unwrap();
            let name = call["function"]["name"].as_str().unwrap();
            (name.to_owned(), serde_json::from_str(arguments).unwrap())
        })
        .collect()
}

#[tokio::test]
async fn a_blocking_answer_is_a_whole_completion() {
    let server = StandInModel::start_default().await.unwrap();
    let response = post(&server, &question("Tell me about Lisbon.")).await;
    assert!(response.headers()["x-request-id"].to_str().unwrap().starts_with("req_"));
    assert!(response.headers().contains_key("openai-processing-ms"));
    let body: Value = response.json().await.unwrap();
    assert!(body["id"].as_str().unwrap().starts_with("chatcmpl-"));
    assert_eq!(body["object"], "chat.completion");
    assert_eq!(body["model"], "gpt-4o-mini-2024-07-18");
    assert_eq!(body["choices"][0]["finish_reason"], "stop");
    let content = body["choices"][0]["message"]["content"].as_str().unwrap();
    assert!(content.contains("Tell me about Lisbon."), "{content}");
    let usage = &body["usage"];
    let sum = usage["prompt_tokens"].as_u64().unwrap() + usage["completion_tokens"].as_u64().unwrap();
    assert_eq!(usage["total_tokens"], sum);
    assert_eq!(usage["prompt_tokens_details"]["cached_tokens"], 0);
    assert_eq!(usage["completion_tokens_details"]["reasoning_tokens"], 0);
}

#[tokio::test]
async fn a_streamed_answer_reassembles_to_the_blocking_one() {
    let server = StandInModel::start_default().await.unwrap();
    let body = question("Is Porto worth a long weekend?");
    let whole = answer(&server, &body).await;
    let events = events(&server, &with(body, "stream", json!(true))).await;
    assert_eq!(
        events[0]["choices"][0]["delta"],
        json!({"role": "assistant", "content": "", "refusal": null})
    );
    let deltas = events.iter().filter_map(|event| event["choices"][0]["delta"]["content"].as_str());
    assert!(events.len() > 4);
    assert_eq!(deltas.collect::<String>(), whole["choices"][0]["message"]["content"]);
    let last = events.last().unwrap();
    assert_eq!(last["choices"][0]["delta"], json!({}));
    assert_eq!(last["choices"][0]["finish_reason"], "stop");
    assert!(events.iter().all(|event| event.get("usage").is_none() && event["id"] == last["id"]));
}

#[tokio::test]
async fn usage_is_streamed_only_if_asked_for() {
    let server = StandInModel::start_default().await.unwrap();
    let body = with(question("Hello"), "stream", json!(true));
    let plain = events(&server, &body).await;
    let with_usage = events(&server, &with(body, "stream_options", json!({"include_usage": true}))).await;
    assert_eq!(with_usage.len(), plain.len() + 1);
    let (last, others) = with_usage.split_last().unwrap();
    assert_eq!(last["choices"], json!([]));
    assert!(last["usage"]["total_tokens"].as_u64().unwrap() > 0);
    assert!(others.iter().all(|event| event["usage"].is_null()));
}

#[tokio::test]
async fn a_tool_turn_ends_in_a_sentence_with_the_results() {
    let server = StandInModel::start_default().await.unwrap();
    let mut body = with(question("What is the weather in New York?"), "tools", tools());
    let message = answer(&server, &body).await["choices"][0]["message"].clone();
    assert_eq!(message["content"], Value::Null);
    assert_eq!(calls(&message), [("get_weather".to_owned(), json!({"city": "New York"}))]);
    let id = message["tool_calls"][0]["id"].clone();
    let messages = body["messages"].as_array_mut().unwrap();
    messages.push(message);
    messages.push(json!({"role": "tool", "tool_call_id": id, "content": "18 degrees, light rain"}));
    let body = answer(&server, &body).await;
    let content = body["choices"][0]["message"]["content"].as_str().unwrap();
    assert!(content.contains("18 degrees, light rain"), "{content}");
    assert!(body["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap() > 0);
}

const BOTH: &str = "How is the weather in Rome, and are there hotels under 120 euros?";

fn both_calls() -> [(String, Value); 2] {
    [
        ("get_weather".to_owned(), json!({"city": "Rome"})),
        ("find_hotels".to_owned(), json!({"city": "Rome", "max_price": 120})),
    ]
}

#[tokio::test]
async fn two_questions_are_two_parallel_calls() {
    let server = StandInModel::start_default().await.unwrap();
    let body = answer(&server, &with(question(BOTH), "tools", tools())).await;
    assert_eq!(body["choices"][0]["finish_reason"], "tool_calls");
    assert_eq!(calls(&body["choices"][0]["message"]), both_calls());
}

#[tokio::test]
async fn without_parallel_calls_the_tools_come_one_after_the_other() {
    let server = StandInModel::start_default().await.unwrap();
    let body = with(question(BOTH), "tools", tools());
    let mut body = with(body, "parallel_tool_calls", json!(false));
    for expected in both_calls() {
        let message = answer(&server, &body).await["choices"][0]["message"].clone();
        assert_eq!(calls(&message), [expected]);
        let result = json!({"role": "tool", "tool_call_id": message["tool_calls"][0]["id"], "content": "ok"});
        body["messages"].as_array_mut().unwrap().extend([message, result]);
    }
    let last = answer(&server, &body).await;
    assert_eq!(last["choices"][0]["finish_reason"], "stop");
}

#[tokio::test]
async fn streamed_tool_calls_come_in_pieces_by_index() {
    let server = StandInModel::start_default().await.unwrap();
    let body = with(with(question(BOTH), "tools", tools()), "stream", json!(true));
    let events = events(&server, &body).await;
    let mut names = vec![String::new(); 2];
    let mut arguments = vec![String::new(); 2];
    let mut pieces = 0;
    for delta in events.iter().flat_map(|event| event["choices"][0]["delta"]["tool_calls"].as_array()) {
        let index = usize::try_from(delta[0]["index"].as_u64().unwrap()).unwrap();
        names[index].push_str(delta[0]["function"]["name"].as_str().unwrap_or_default());
        arguments[index].push_str(delta[0]["function"]["arguments"].as_str().unwrap());
        assert_eq!(delta[0].get("id").is_some(), delta[0]["function"].get("name").is_some());
        pieces += 1;
    }
    assert!(pieces > 6, "the arguments came in {pieces} pieces");
    let arguments = arguments.iter().map(|text| serde_json::from_str(text).unwrap());
    let calls: Vec<(String, Value)> = names.into_iter().zip(arguments).collect();
    assert_eq!(calls, both_calls());
}

#[tokio::test]
async fn a_closure_is_a_model_and_may_mix_text_and_calls() {
    let server = StandInModel::start(|request: &ChatRequest| {
        Reply::text(request.last_user().unwrap_or_default().to_uppercase())
            .and_tool_calls([("note", json!({}))])
    })
    .await
    .unwrap();
    let body = with(question("hi"), "model", json!("o3-2025-04-16"));
    let body = answer(&server, &body).await;
    assert_eq!(body["model"], "o3-2025-04-16");
    assert_eq!(body["choices"][0]["message"]["content"], "HI");
    assert_eq!(calls(&body["choices"][0]["message"]), [("note".to_owned(), json!({}))]);
    assert!(body["usage"]["completion_tokens_details"]["reasoning_tokens"].as_u64().unwrap() > 0);
}

#[tokio::test]
async fn a_request_without_a_key_is_401() {
    let server = StandInModel::start_default().await.unwrap();
    let url = format!("{}/chat/completions", server.base_url());
    let response = Client::new().post(url).json(&question("hi")).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["error"]["type"], "invalid_request_error");
}

#[tokio::test]
async fn malformed_bodies_are_400_and_other_paths_404() {
    let server = StandInModel::start_default().await.unwrap();
    let orphan = json!({"model": "m", "messages": [{"role": "tool", "tool_call_id": "x", "content": ""}]});
    let cases = [
        (json!({"messages": []}), "model"),
        (json!({"model": "m"}), "messages"),
        (json!({"model": "m", "messages": [{"role": "owl", "content": ""}]}), "messages[0].role"),
        (with(question("hi"), "stream", json!("yes")), "stream"),
        (with(question("hi"), "stream_options", json!({})), "stream_options"),
        (orphan, "messages[0]"),
    ];
    for (body, param) in cases {
        let response = post(&server, &body).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        assert_eq!(response.json::<Value>().await.unwrap()["error"]["param"], param);
    }
    let url = format!("{}/embeddings", server.base_url());
    let response = Client::new().post(url).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
}

/// The caller's only thread waits in a destructor and in a blocking read; the server must not need it.
#[tokio::test]
async fn the_server_does_not_need_the_callers_runtime() {
    use std::io::{Read, Write};
    let server = StandInModel::start_default().await.unwrap();
    let address = server.base_url().strip_prefix("http://").unwrap().strip_suffix("/v1").unwrap();
    let mut socket = std::net::TcpStream::connect(address).unwrap();
    socket.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    let address = address.to_owned();
    drop(server);
    assert!(std::net::TcpStream::connect(address).is_err());
}
