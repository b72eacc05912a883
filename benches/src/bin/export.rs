//! How fast finished traces are delivered on loopback, beside a bare `reqwest` loop that posts the same bytes with the same
//! concurrency.
//!
//! `cargo run --release -p pandaprobe-bench --bin export`
//!
//! The backend answers nothing until the queue is full; the clock runs from its first answer to the last. Both run against the
//! same server, in turn.

#![expect(clippy::print_stdout, clippy::expect_used, reason = "a measuring program talks, and stops at once")]

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{Router, body::Bytes, http::StatusCode, routing::post};
use pandaprobe::{Client, Config, MemoryExporter};
use serde_json::json;
use tokio::{net::TcpListener, runtime::Builder, sync::watch};

const TRACES: usize = 5_000;
const CONCURRENCY: usize = 4;
const ROUNDS: usize = 11;
const LONG: Duration = Duration::from_secs(120);

fn main() {
    let server = Server::start();
    let bodies = bodies();
    let bytes: usize = bodies.iter().map(Bytes::len).sum();
    println!(
        "{TRACES} traces of {} bytes, {CONCURRENCY} requests at once, medians of {ROUNDS} rounds",
        bytes / TRACES
    );
    let rounds: Vec<(f64, f64)> = (0..ROUNDS).map(|_| (bare(&server, &bodies), traced(&server))).collect();
    let median = |pick: fn(&(f64, f64)) -> f64| {
        let mut values: Vec<f64> = rounds.iter().map(pick).collect();
        values.sort_by(f64::total_cmp);
        values[ROUNDS / 2]
    };
    println!("bare reqwest   {:>10.0} a second", median(|round| round.0));
    println!("pandaprobe     {:>10.0} a second", median(|round| round.1));
    println!("ratio          {:>10.2}", median(|round| round.1 / round.0));
}

/// A trace of three steps, some 2 kB long.
fn record(client: &Client, n: usize) {
    client.trace("answer").user_id(format!("user {}", n % 50)).input("x".repeat(300)).run(|trace| {
        for step in ["plan", "search", "write"] {
            trace
                .span(step)
                .input(json!({"q": "x".repeat(150)}))
                .run(|span| span.set_output("y".repeat(150)));
        }
    });
}

fn bodies() -> Vec<Bytes> {
    let kept = MemoryExporter::default();
    let client = Client::new(Config::new().exporter(kept.clone())).expect("a client");
    (0..TRACES).for_each(|n| record(&client, n));
    client.flush(LONG).expect("all of it kept");
    kept.envelopes().iter().map(|envelope| envelope.body().clone()).collect()
}

fn traced(server: &Server) -> f64 {
    server.close();
    let config = Config::new().api_key("sk_pp_bench").project_name("bench");
    let client = Client::new(config.endpoint(&server.url).expect("a URL")).expect("a client");
    (0..TRACES).for_each(|n| record(&client, n));
    while client.stats().queued < TRACES as u64 {
        std::thread::sleep(Duration::from_millis(5));
    }
    let begun = server.open();
    client.flush(LONG).expect("all of it delivered");
    TRACES as f64 / begun.elapsed().as_secs_f64()
}

fn bare(server: &Server, bodies: &[Bytes]) -> f64 {
    server.close();
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let client = reqwest::Client::new();
    let waiting = Arc::new(Mutex::new(bodies.to_vec()));
    let url = format!("{}/traces", server.url);
    let loops = (0..CONCURRENCY).map(|_| {
        let (client, waiting, url) = (client.clone(), Arc::clone(&waiting), url.clone());
        async move {
            while let Some(body) = next(&waiting) {
                let request = client.post(&url).header("content-type", "application/json").body(body);
                let response = request.send().await.expect("an answer");
                response.bytes().await.expect("its body");
            }
        }
    });
    runtime.block_on(async {
        let loops: Vec<_> = loops.map(tokio::spawn).collect();
        tokio::time::sleep(Duration::from_millis(100)).await;
        let begun = server.open();
        for one in loops {
            one.await.expect("a loop");
        }
        TRACES as f64 / begun.elapsed().as_secs_f64()
    })
}

fn next(waiting: &Mutex<Vec<Bytes>>) -> Option<Bytes> {
    waiting.lock().expect("no loop panicked").pop()
}

/// Takes everything, once it is open.
struct Server {
    url: String,
    gate: watch::Sender<bool>,
}

impl Server {
    fn start() -> Self {
        let (gate, open) = watch::channel(false);
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        listener.set_nonblocking(true).expect("a listener that does not block");
        let address: SocketAddr = listener.local_addr().expect("its address");
        let take = move |_: Bytes| {
            let mut open = open.clone();
            async move {
                let _ = open.wait_for(|open| *open).await;
                (StatusCode::ACCEPTED, "{}")
            }
        };
        std::thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).expect("a listener");
                axum::serve(listener, Router::new().route("/traces", post(take))).await
            })
        });
        Self { url: format!("http://{address}"), gate }
    }

    fn close(&self) {
        self.gate.send_replace(false);
    }

    fn open(&self) -> Instant {
        let begun = Instant::now();
        self.gate.send_replace(true);
        begun
    }
}
