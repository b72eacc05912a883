//! How fast traces are taken, and how fast a list of very many is filtered, over HTTP on loopback.
//!
//! `cargo run --release -p pandaprobe-local --example measure`
//!
//! It fails if fewer than 1,000 traces of three spans are taken in a second, or if a list of 100,000 traces takes more than
//! 200 ms to filter. The server, the store and whoever asks share the machine.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a measuring program talks, and stops at once")]

use std::{
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream};
use pandaprobe_local::{LocalServer, ServerConfig, wire};
use serde_json::{Value, json};
use uuid::Uuid;

const SENDERS: usize = 16;
const SECONDS: u64 = 5;
const TRACES: usize = 100_000;
const LEAST_A_SECOND: f64 = 1_000.0;
const LONGEST: Duration = Duration::from_millis(200);

/// A trace of three spans, some 2 kB long.
fn trace(n: usize) -> Value {
    let minute = |n: usize| {
        format!(
            "2026-{:02}-{:02}T{:02}:{:02}:00Z",
            1 + n / 40_000 % 12,
            1 + n / 1_440 % 28,
            n / 60 % 24,
            n % 60
        )
    };
    let span = |kind: &str, model: Option<String>| {
        json!({
            "span_id": Uuid::new_v4(), "name": format!("step {kind}"), "kind": kind, "status": "OK", "model": model,
            "input": "x".repeat(150), "output": format!("word{} word{}", n % 997, n % 89),
            "token_usage": {"prompt_tokens": n % 500, "completion_tokens": 20}, "cost": {"total": 0.001},
            "started_at": minute(n), "ended_at": minute(n + 1),
        })
    };
    json!({
        "trace_id": Uuid::new_v4(), "name": format!("agent {}", n % 20), "started_at": minute(n), "ended_at": minute(n + 1 + n % 7),
        "status": if n.is_multiple_of(50) { "ERROR" } else { "COMPLETED" },
        "user_id": format!("user {}", n % 1_000), "session_id": format!("session {}", n % 10_000),
        "tags": [format!("tag {}", n % 10)], "input": {"messages": [{"role": "user", "content": "x".repeat(300)}]},
        "spans": [span("AGENT", None), span("LLM", Some(format!("model {}", n % 5))), span("TOOL", None)],
    })
}

async fn taken_a_second(url: &str) -> f64 {
    let http = reqwest::Client::new();
    let sent = Arc::new(AtomicUsize::new(0));
    let begun = Instant::now();
    let senders = (0..SENDERS).map(|sender| {
        let (http, url, sent) = (http.clone(), format!("{url}/traces"), Arc::clone(&sent));
        tokio::spawn(async move {
            let mut n = sender;
            while begun.elapsed() < Duration::from_secs(SECONDS) {
                let answer = http.post(&url).json(&trace(n)).send().await.unwrap();
                assert_eq!(answer.status(), 202);
                sent.fetch_add(1, Relaxed);
                n += SENDERS;
            }
        })
    });
    for sender in senders.collect::<Vec<_>>() {
        sender.await.unwrap();
    }
    f64::from(u32::try_from(sent.load(Relaxed)).unwrap()) / begun.elapsed().as_secs_f64()
}

async fn fill(server: &LocalServer) {
    let store = server.store();
    let posts = (0..TRACES).map(|n| async move {
        let trace = wire::parse(trace(n).to_string().as_bytes()).unwrap();
        store.post_trace("measured".to_owned(), trace).await.unwrap();
    });
    stream::iter(posts).buffer_unordered(512).collect::<Vec<_>>().await;
}

#[tokio::main]
async fn main() -> ExitCode {
    let folder = std::env::temp_dir().join(format!("pandaprobe-measure-{}", Uuid::new_v4()));
    let start = |name: &str| LocalServer::start_with(ServerConfig::new(folder.join(name)).port(0)).unwrap();
    let server = start("taken.db");
    let rate = taken_a_second(&server.url()).await;
    println!("{rate:>8.0} traces of 3 spans taken in a second, {SENDERS} at once, at least {LEAST_A_SECOND}");
    drop(server);

    let server = start("many.db");
    let begun = Instant::now();
    fill(&server).await;
    println!(
        "{:>8.1?} to store {TRACES} traces, {} MB",
        begun.elapsed(),
        server.store().bytes().unwrap() / 1_000_000
    );
    let http = reqwest::Client::new();
    let mut slowest = Duration::ZERO;
    for query in [
        "/traces?limit=50",
        "/traces?limit=50&sort_by=latency",
        "/traces?limit=50&sort_by=name&sort_order=asc",
        "/traces?limit=50&offset=50000",
        "/traces?limit=50&name=agent%207",
        "/traces?limit=50&user_id=user%207",
        "/traces?limit=50&session_id=session%207",
        "/traces?limit=50&status=ERROR",
        "/traces?limit=50&tags=tag%203",
        "/traces?limit=50&started_after=2026-02-01&started_before=2026-02-03",
        "/ui/traces",
        "/ui/traces?q=word7",
        "/ui/traces?q=word7+word8",
        "/ui/traces?model=model%203",
        "/ui/traces?has_error=true&user_id=user%2050",
        "/ui/traces?min_tokens=1000",
        "/ui/traces?min_latency_ms=300000",
        "/traces/users?limit=50",
        "/sessions?limit=50",
        "/ui/users",
        "/ui/sessions",
        "/ui/overview",
        "/ui/overview?range=24h",
    ] {
        let mut times = Vec::new();
        for _ in 0..5 {
            let begun = Instant::now();
            let answer = http.get(format!("{}{query}", server.url())).header("x-project-name", "measured");
            let answer = answer.send().await.unwrap();
            assert!(answer.status().is_success(), "{query}: {}", answer.status());
            answer.bytes().await.unwrap();
            times.push(begun.elapsed());
        }
        times.sort();
        println!("{:>8.1?} {query}", times[2]);
        if query.contains("/traces?") || query == "/ui/traces" {
            slowest = slowest.max(times[2]);
        }
    }
    println!("{slowest:>8.1?} was the slowest list of traces, at most {LONGEST:?}");
    drop(server);
    let _ = std::fs::remove_dir_all(folder);
    if rate >= LEAST_A_SECOND && slowest <= LONGEST { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
