//! What a wrapped client adds to a call, beside the bare one, in one run.
//!
//! `cargo run --release -p pandaprobe-bench --bin call [-- CALLS]`
//!
//! Each state is measured in turn, round after round, against the same loopback provider, so that noise hits all
//! alike. It fails if, with tracing switched off, misconfigured, or without a backend, the median call takes more
//! than the larger of 5 % and 50 microseconds longer than the bare one.

#![expect(clippy::print_stdout, clippy::expect_used, reason = "a measuring program talks, and stops at once")]

use std::{process::ExitCode, time::Duration, time::Instant};

use async_openai::{Client, config::OpenAIConfig};
use futures_util::StreamExt;
use pandaprobe::{Config, MemoryExporter, OpenAiHandler};
use pandaprobe_tests::provider::{Exchange, Provider};
use serde_json::{Value, json};

type OpenAi = Client<OpenAIConfig>;

const ROUNDS: usize = 20;

struct State {
    name: &'static str,
    /// Whether the bar is set for it.
    judged: bool,
    client: OpenAi,
    blocking: Vec<Duration>,
    streamed: Vec<Duration>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let calls = std::env::args().nth(1).and_then(|calls| calls.parse().ok()).unwrap_or(2_000);
    let provider = Provider::start_with(|request, _| answer(request.json.as_ref()));
    let mut states = states(&provider);
    for state in &mut states {
        measure(state, 50).await;
        state.blocking.clear();
        state.streamed.clear();
    }
    for _ in 0..ROUNDS {
        for state in &mut states {
            measure(state, (calls / ROUNDS).max(1)).await;
        }
    }
    report(&mut states)
}

fn states(provider: &Provider) -> Vec<State> {
    let config = OpenAIConfig::new().with_api_base(format!("{}/v1", provider.url())).with_api_key("k");
    let bare = Client::with_config(config).with_http_client(reqwest::Client::new());
    let state = |name, judged, client| State { name, judged, client, blocking: vec![], streamed: vec![] };
    let traced = |config: Config| {
        let client = pandaprobe::Client::new(config).expect("a client");
        OpenAiHandler::new().client(client).wrap(bare.clone())
    };
    let nowhere = Config::new().api_key("k").project_name("p").endpoint("http://127.0.0.1:9").expect("a URL");
    vec![
        state("bare", false, bare.clone()),
        state("switched off", true, traced(Config::new().enabled(false))),
        // No key, no project: the environment of this process names neither.
        state("misconfigured", true, OpenAiHandler::new().wrap(bare.clone())),
        state("backend unreachable", true, traced(nowhere)),
        state("traced", true, traced(Config::new().exporter(MemoryExporter::default()))),
    ]
}

fn body(stream: bool) -> Value {
    json!({"model": "m", "stream": stream, "messages": [{"role": "user", "content": "x".repeat(2_000)}]})
}

fn answer(request: Option<&Value>) -> Exchange {
    if request.is_some_and(|request| request["stream"] == json!(true)) {
        let chunk = |text: &str| {
            json!({"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m",
                   "choices": [{"index": 0, "delta": {"content": text}}]})
        };
        return Exchange::sse((0..50).map(|_| chunk("some words")).chain([json!("[DONE]")]));
    }
    Exchange::json(
        200,
        json!({"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "y".repeat(2_000)}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 500, "completion_tokens": 500, "total_tokens": 1000}}),
    )
}

async fn measure(state: &mut State, calls: usize) {
    for _ in 0..calls {
        let begun = Instant::now();
        let answer: Value = state.client.chat().create_byot(body(false)).await.expect("an answer");
        state.blocking.push(begun.elapsed());
        assert_eq!(answer["choices"][0]["finish_reason"], "stop");

        let begun = Instant::now();
        let stream = state.client.chat().create_stream_byot::<_, Value>(body(true)).await.expect("a stream");
        let chunks = stream.count().await;
        state.streamed.push(begun.elapsed());
        assert_eq!(chunks, 50);
    }
}

fn report(states: &mut [State]) -> ExitCode {
    let bare = (median(&mut states[0].blocking), median(&mut states[0].streamed));
    println!(
        "median of {} calls each, microseconds (2 kB in, 2 kB out; streams of 50 chunks)",
        states[0].blocking.len()
    );
    println!("{:22}{:>12}{:>12}{:>12}{:>12}", "", "blocking", "added", "streamed", "added");
    let mut good = true;
    for state in states {
        let (blocking, streamed) = (median(&mut state.blocking), median(&mut state.streamed));
        let added = (blocking - bare.0, streamed - bare.1);
        let over = state.judged && state.name != "traced" && (added.0 > bar(bare.0) || added.1 > bar(bare.1));
        good &= !over;
        let verdict = if over { "  OVER THE BAR" } else { "" };
        println!(
            "{:22}{blocking:>12.1}{:>12.1}{streamed:>12.1}{:>12.1}{verdict}",
            state.name, added.0, added.1
        );
    }
    println!("bar: {:.1} blocking, {:.1} streamed", bar(bare.0), bar(bare.1));
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn bar(bare: f64) -> f64 {
    (bare * 0.05).max(50.0)
}

fn median(times: &mut [Duration]) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1e6
}
