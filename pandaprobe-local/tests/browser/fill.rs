//! Traces to look at.

use pandaprobe_local::{LocalServer, ServerConfig, time::Micros};
use serde_json::{Value, json};
use uuid::Uuid;

/// A server over a store of its own, which goes with it.
pub(crate) struct Filled {
    /// `None` while it starts again.
    server: Option<LocalServer>,
    url: String,
    pub(crate) folder: std::path::PathBuf,
}

impl Filled {
    pub(crate) fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("pandaprobe-browser-{}", Uuid::new_v4()));
        let server = LocalServer::start(folder.join("traces.db")).unwrap();
        Self { url: server.url(), server: Some(server), folder }
    }

    pub(crate) fn url(&self) -> String {
        self.url.clone()
    }

    pub(crate) fn store(&self) -> std::path::PathBuf {
        self.folder.join("traces.db")
    }

    /// Ends the server, and starts another in its place.
    pub(crate) fn restart(&mut self) {
        let port = self.server.take().unwrap().address().port();
        let server = LocalServer::start_with(ServerConfig::new(self.store()).port(port)).unwrap();
        assert_eq!(server.url(), self.url, "the port is taken");
        self.server = Some(server);
    }

    /// All that is stored.
    pub(crate) async fn traces(&self) -> Value {
        reqwest::get(format!("{}/traces?limit=200", self.url())).await.unwrap().json().await.unwrap()
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) {
        self.send(reqwest::Method::POST, path, body).await;
    }

    pub(crate) async fn patch(&self, path: &str, body: &Value) {
        self.send(reqwest::Method::PATCH, path, body).await;
    }

    async fn send(&self, method: reqwest::Method, path: &str, body: &Value) {
        let request = reqwest::Client::new().request(method, format!("{}{path}", self.url()));
        let answer = request.header("x-project-name", "shop").json(body).send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.text().await.unwrap());
    }
}

impl Drop for Filled {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Milliseconds before now.
pub(crate) fn ago(millis: i64) -> String {
    Micros(Micros::now().0 - millis * 1_000).to_string()
}

const MODELS: [&str; 3] = ["gpt-5-mini", "claude-sonnet-4-5", "gemini-2.5-flash"];
const QUESTIONS: [(&str, &str); 5] = [
    ("Where is my order 4711?", "It left the warehouse this morning and should reach you on Thursday."),
    ("Can I still change the address?", "Yes. I changed it to 12 Elm Street; you get a mail about it."),
    (
        "The kettle arrived broken.",
        "I am sorry. A new one is on its way, and a label for the broken one is in your mail.",
    ),
    ("¿Puedo pagar en dos plazos?", "Sí: la mitad ahora y la otra mitad en treinta días, sin intereses."),
    ("What is the tallest kettle you have?", "The Tower 2, at 41 cm. It holds 1.7 l."),
];

/// A few days of a shop with an assistant.
pub(crate) async fn shop(filled: &Filled, traces: i64) {
    for number in 0..traces {
        filled.post("/traces", &answer(number, traces)).await;
    }
}

/// One answer of the assistant. The last is the newest.
pub(crate) fn answer(number: i64, of: i64) -> Value {
    let index = usize::try_from(number).unwrap();
    let (question, said) = QUESTIONS[index % QUESTIONS.len()];
    let model = MODELS[index % 7 % MODELS.len()];
    let start = (of - number) * 47 * 60_000 + 30_000;
    let slow = 1 + (number * number) % 5;
    let is_bad = number % 9 == 4;
    let at = |millis: i64| ago(start - millis);
    let trace_id = Uuid::from_u128(0x1000_0000_0000_4000_8000_0000_0000_0000 + index as u128);
    let span_id = |which: u128| Uuid::from_u128(trace_id.as_u128() + (which << 64));
    let took = 2_400 * slow;
    let user = |text: &str| json!({"role": "user", "content": text});
    let call = json!({"id": "call_0", "type": "function", "function": {"name": "find_order", "arguments": "{\"order\": 4711, \"with\": [\"route\", \"history\"]}"}});
    let asked = json!({"role": "assistant", "content": "", "tool_calls": [call]});
    let system = json!({"role": "system", "content": "You answer customers of a shop for kettles.\nBe short, kind and exact."});
    let result = json!({"role": "tool", "tool_call_id": "call_0", "content": "{\"state\":\"sent\",\"carrier\":\"Post\",\"due\":\"Thursday\"}"});
    let tokens = 300 + 41 * number % 900;
    let usage = |prompt: i64, completion: i64| json!({"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion, "cache_read_tokens": prompt / 2});
    let span = |which: u128, parent: Option<u128>, name: &str, kind: &str, from: i64, until: i64| json!({"span_id": span_id(which), "parent_span_id": parent.map(span_id), "name": name, "kind": kind, "status": "OK", "started_at": at(from), "ended_at": at(until)});
    let with = |mut span: Value, more: Value| {
        span.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        span
    };
    let error = "Timeout: the warehouse did not answer within 2 s: connection reset by peer";
    json!({
        "trace_id": trace_id, "name": if number % 6 == 5 { "summarise-day" } else { "support-agent" },
        "status": if is_bad { "ERROR" } else { "COMPLETED" },
        "started_at": at(0), "ended_at": at(took), "session_id": format!("chat-{}", number / 4), "user_id": format!("user-{}", number / 4 % 6),
        "tags": if number % 3 == 0 { json!(["production", "eu"]) } else { json!(["production"]) },
        "environment": "production", "release": "2.4.1", "metadata": if is_bad { json!({"plan": "pro", "pandaprobe.error": error}) } else { json!({"plan": "pro"}) },
        "input": {"messages": [user(question)]},
        "output": if is_bad { Value::Null } else { json!({"messages": [{"role": "assistant", "content": said}]}) },
        "spans": [
            with(span(1, None, "support-agent", "AGENT", 0, took), json!({"status": if is_bad { "ERROR" } else { "OK" }})),
            with(span(2, Some(1), "retrieve-policy", "RETRIEVER", 20, 240 * slow), json!({"input": {"query": question, "top_k": 3}, "output": [{"id": "returns.md", "score": 0.91}, {"id": "delivery.md", "score": 0.87}]})),
            with(span(3, Some(2), "embed", "EMBEDDING", 30, 110 * slow), json!({"model": "text-embedding-3-small", "token_usage": {"prompt_tokens": 12}})),
            with(span(4, Some(1), "plan", "LLM", 250 * slow, 980 * slow), json!({
                "model": model, "completion_start_time": at(510 * slow), "input": {"messages": [system, user(question)]}, "output": {"messages": [asked]},
                "token_usage": usage(tokens, 38), "cost": {"total": 0.000_4 * slow as f64}, "model_parameters": {"temperature": 0.2, "max_tokens": 800},
                "metadata": {"finish_reason": "tool_calls", "reasoning_summary": "The customer asks for an order by its number, so the order has to be looked up first."},
            })),
            with(span(5, Some(1), "find_order", "TOOL", 990 * slow, 1_400 * slow), json!({
                "input": {"order": 4711, "with": ["route", "history"]}, "status": if is_bad { "ERROR" } else { "OK" },
                "error": is_bad.then_some(error), "output": {"state": "sent", "carrier": "Post", "due": "Thursday"},
            })),
            span(6, Some(5), "SELECT orders", "OTHER", 1_000 * slow, 1_180 * slow),
            with(span(7, Some(1), "answer", "LLM", 1_410 * slow, 2_390 * slow), json!({
                "model": model, "completion_start_time": at(1_750 * slow), "input": {"messages": [system, user(question), asked, result]},
                "output": {"messages": [{"role": "assistant", "content": said}]}, "token_usage": usage(tokens + 90, 64), "cost": {"total": 0.000_9 * slow as f64},
                "model_parameters": {"temperature": 0.2}, "metadata": {"finish_reason": "stop"},
            })),
        ],
    })
}

/// A trace of so many spans: a tree of agents with steps, some of which fail.
pub(crate) async fn large(filled: &Filled, trace_id: Uuid, count: usize) {
    let id = |number: usize| Uuid::from_u128(trace_id.as_u128() ^ (1 << 100) ^ ((number as u128 + 1) << 8));
    let kinds = ["AGENT", "LLM", "TOOL", "CHAIN", "RETRIEVER"];
    let start = 600_000;
    let spans: Vec<Value> = (0..count)
        .map(|number| {
            let parent = (number > 0).then(|| id((number - 1) / 6));
            let from = number as i64 * 500_000 / count as i64;
            json!({
                "span_id": id(number), "parent_span_id": parent, "name": format!("step {}", number % 97), "kind": kinds[number % kinds.len()],
                "status": if number % 1_000 == 999 { "ERROR" } else { "OK" },
                "started_at": ago(start - from), "ended_at": ago(start - from - 400 - (number as i64 * 37) % 5_000), "input": {"number": number},
            })
        })
        .collect();
    filled.post("/traces", &json!({"trace_id": trace_id, "name": "large", "started_at": ago(start), "ended_at": ago(60_000)})).await;
    for part in spans.chunks(500) {
        filled.post(&format!("/traces/{trace_id}/spans"), &json!(part)).await;
    }
}
