//! A server, and somebody who asks it.

use std::path::PathBuf;

use pandaprobe_local::LocalServer;
use pandaprobe_tests::{contract, shared};
use reqwest::{Client, Method, Response, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

/// A folder that is removed again.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        let path = std::env::temp_dir().join(format!("pandaprobe-local-{}", Uuid::new_v4()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) struct Local {
    pub(crate) server: LocalServer,
    pub(crate) http: Client,
    pub(crate) folder: Folder,
}

impl Local {
    pub(crate) fn start() -> Self {
        let folder = Folder::new();
        let config = pandaprobe_local::ServerConfig::new(folder.0.join("traces.db")).port(0);
        Self { server: LocalServer::start_with(config).unwrap(), http: Client::new(), folder }
    }

    pub(crate) async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Response {
        let mut request = self.http.request(method, format!("{}{path}", self.server.url()));
        request = request.header("x-api-key", "any").header("x-project-name", "tests");
        if let Some(body) = body {
            request = request.json(&body);
        }
        request.send().await.unwrap()
    }

    /// What is at `path`, which the contract calls `name`.
    pub(crate) async fn get(&self, path: &str, name: &str) -> Value {
        let answer = self.ask(Method::GET, path, None).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}: {}", answer.text().await.unwrap());
        let body: Value = answer.json().await.unwrap();
        check(name, &body);
        body
    }

    pub(crate) async fn send(&self, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
        let answer = self.ask(method, path, Some(body)).await;
        let status = answer.status();
        (status, answer.json().await.unwrap_or(Value::Null))
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.send(Method::POST, path, body).await;
        assert!(status.is_success(), "{status} {answer}");
        answer
    }
}

/// That an answer is what the contract says, where that is here.
#[track_caller]
pub(crate) fn check(name: &str, body: &Value) {
    if shared::require("shared", contract::available()) {
        contract::answer(name, body).unwrap_or_else(|wrong| panic!("{name}: {wrong}\n{body:#}"));
    }
}

/// A trace of an agent with a model call and a tool that fails.
pub(crate) fn trace(name: &str) -> Value {
    let (agent, model) = (Uuid::new_v4(), Uuid::new_v4());
    json!({
        "trace_id": Uuid::new_v4(), "name": name, "status": "COMPLETED",
        "started_at": "2026-01-02T03:04:05.000001Z", "ended_at": "2026-01-02T03:04:06.500001Z",
        "session_id": "session-1", "user_id": "ada", "tags": ["b", "a"], "environment": "test", "release": "1.0",
        "metadata": {"k": "v", "deep": {"x": 1}},
        "input": {"messages": [{"role": "user", "content": "Where is the Zürich office?"}]},
        "output": {"messages": [{"role": "assistant", "content": "At the lake."}]},
        "spans": [
            {"span_id": agent, "name": "agent", "kind": "AGENT", "status": "OK",
             "started_at": "2026-01-02T03:04:05.100000Z", "ended_at": "2026-01-02T03:04:06.400000Z"},
            {"span_id": model, "parent_span_id": agent, "name": "ask", "kind": "LLM", "status": "OK",
             "model": "gpt-4o-mini", "model_parameters": {"temperature": 0.5},
             "token_usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15, "cache_read_tokens": 3},
             "cost": {"input": 0.001, "output": 0.002, "total": 0.003},
             "started_at": "2026-01-02T03:04:05.200000Z", "ended_at": "2026-01-02T03:04:06.200000Z",
             "completion_start_time": "2026-01-02T03:04:05.450000Z", "metadata": {"finish_reason": "stop"}},
            {"span_id": Uuid::new_v4(), "parent_span_id": model, "name": "search", "kind": "TOOL", "status": "ERROR",
             "error": "no index", "input": {"query": "lake"}, "started_at": "2026-01-02T03:04:05.300000Z"},
        ],
    })
}

pub(crate) fn id(trace: &Value) -> &str {
    trace["trace_id"].as_str().unwrap()
}
