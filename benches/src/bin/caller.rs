//! What tracing adds on the caller's thread: bytes allocated and microseconds, for each call and each chunk of a
//! stream, beside the bare client in one run.
//!
//! `cargo run --release -p pandaprobe-bench --bin caller`
//!
//! The runtime has one thread, so that everything the client does for its caller is on it; the SDK's own threads are
//! not counted. Costs of a chunk are the slope between streams of 100 and of 1,100 chunks.

#![expect(clippy::print_stdout, clippy::expect_used, reason = "a measuring program talks, and stops at once")]

use std::time::Instant;

use async_openai::{Client, config::OpenAIConfig};
use futures_util::StreamExt;
use pandaprobe::{Config, MemoryExporter, OpenAiHandler};
use pandaprobe_tests::provider::{Exchange, Provider};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

type OpenAi = Client<OpenAIConfig>;

const FEW: usize = 100;
const MANY: usize = 1_100;
const ROUNDS: usize = 301;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let provider = Provider::start_with(|request, _| answer(request.json.as_ref()));
    let config = OpenAIConfig::new().with_api_base(format!("{}/v1", provider.url())).with_api_key("k");
    let bare = Client::with_config(config);
    let client =
        pandaprobe::Client::new(Config::new().exporter(MemoryExporter::default())).expect("a client");
    let traced = OpenAiHandler::new().client(client).wrap(bare.clone());

    println!("medians of {ROUNDS} rounds          {:>14}{:>14}{:>14}", "bare", "traced", "added");
    let (without, with) = alternately(|client| call(&runtime, client), &bare, &traced);
    row("a call, bytes allocated", without.0, with.0);
    row("a call, microseconds", without.1, with.1);
    let few = alternately(|client| stream(&runtime, client, FEW), &bare, &traced);
    let many = alternately(|client| stream(&runtime, client, MANY), &bare, &traced);
    let slope = |few: f64, many: f64| (many - few) / (MANY - FEW) as f64;
    row("a chunk, bytes allocated", slope(few.0.0, many.0.0), slope(few.1.0, many.1.0));
    row("a chunk, microseconds", slope(few.0.1, many.0.1), slope(few.1.1, many.1.1));
}

fn row(what: &str, without: f64, with: f64) {
    println!("{what:30}{without:>14.2}{with:>14.2}{:>14.2}", with - without);
}

/// Bytes and microseconds.
type Cost = (f64, f64);

/// Median costs of both clients, measured in turn.
fn alternately(measure: impl Fn(&OpenAi) -> Cost, bare: &OpenAi, traced: &OpenAi) -> (Cost, Cost) {
    let rounds: Vec<(Cost, Cost)> = (0..ROUNDS).map(|_| (measure(bare), measure(traced))).collect();
    let median = |pick: fn(&(Cost, Cost)) -> f64| {
        let mut values: Vec<f64> = rounds.iter().map(pick).collect();
        values.sort_by(f64::total_cmp);
        values[ROUNDS / 2]
    };
    ((median(|r| r.0.0), median(|r| r.0.1)), (median(|r| r.1.0), median(|r| r.1.1)))
}

fn cost(f: impl FnOnce()) -> Cost {
    let begun = Instant::now();
    let used = allocation_counter::measure(f);
    (used.bytes_total as f64, begun.elapsed().as_secs_f64() * 1e6)
}

fn call(runtime: &Runtime, client: &OpenAi) -> Cost {
    cost(|| {
        let request = json!({"model": "m", "messages": [{"role": "user", "content": "x".repeat(2_000)}]});
        let answer: Value = runtime.block_on(client.chat().create_byot(request)).expect("an answer");
        assert_eq!(answer["choices"][0]["finish_reason"], "stop");
    })
}

fn stream(runtime: &Runtime, client: &OpenAi, chunks: usize) -> Cost {
    cost(|| {
        runtime.block_on(async {
            let request = json!({"model": "m", "stream": true, "max_tokens": chunks, "messages": []});
            let stream = client.chat().create_stream_byot::<_, Value>(request).await.expect("a stream");
            assert_eq!(stream.count().await, chunks);
        });
    })
}

fn answer(request: Option<&Value>) -> Exchange {
    let chunks = request.filter(|request| request["stream"] == json!(true));
    if let Some(chunks) = chunks.and_then(|request| request["max_tokens"].as_u64()) {
        let chunk = json!({"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m",
                           "choices": [{"index": 0, "delta": {"content": "some words"}}]});
        return Exchange::sse((0..chunks).map(|_| chunk.clone()).chain([json!("[DONE]")]));
    }
    Exchange::json(
        200,
        json!({"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "y".repeat(2_000)}, "finish_reason": "stop"}]}),
    )
}
