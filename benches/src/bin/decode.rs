//! What decoding an exchange costs, against parsing the same bytes as JSON, in one run.
//!
//! `cargo run --release -p pandaprobe-bench --bin decode [-- DIR [NAME]]`
//!
//! Each exchange, its request and its answer, is decoded into a record, and the same bodies, or the data of the same events,
//! are parsed into `serde_json::Value`s, round after round, in turn. With a folder of recorded exchanges those of each dialect
//! are measured together as well; with a name, only the cases whose name contains it. It fails if decoding takes more than
//! 1.5 times as long, by the medians, and two microseconds for each exchange.
//!
//! In the same run: what a caller's thread allocates so that large bodies get to the decoder, beside the bare client. It fails
//! if that is a tenth of the bodies.

#![expect(clippy::print_stdout, reason = "a measuring program talks")]

#[path = "../../../pandaprobe-wire/examples/capture/corpus.rs"]
#[expect(dead_code, reason = "the capture needs more of a recorded exchange")]
mod corpus;

use std::{
    collections::BTreeMap,
    hint::black_box,
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

use axum::body::{Body as HttpBody, Bytes};
use corpus::{Outcome, Recorded};
use futures_util::StreamExt;
use pandaprobe::{
    Client, Config, HttpHandler, MemoryExporter,
    http::{HttpLayer, RequestBody},
};
use pandaprobe_wire::{Exchange, Operation, sse};
use serde_json::{Value, json};
use tower::{BoxError, Layer, ServiceExt, service_fn};

/// How many times longer decoding may take than parsing.
const LIMIT: f64 = 1.5;

/// What an exchange may cost beside, which shows where its bodies are shorter than a kilobyte or two.
const FIXED: Duration = Duration::from_micros(2);

/// Bytes of pieces, as they arrive from a socket.
const PIECE: usize = 16 << 10;

/// Rounds, of which the medians are taken.
const ROUNDS: usize = 100;

struct Case {
    name: String,
    bodies: Vec<Body>,
}

struct Body {
    path: String,
    request: Vec<u8>,
    content_type: String,
    bytes: Vec<u8>,
    /// What of the body is JSON.
    values: Vec<Vec<u8>>,
}

fn main() -> Outcome<ExitCode> {
    let mut cases = cases();
    if let Some(folder) = std::env::args().nth(1) {
        cases.extend(recorded_cases(corpus::load(Path::new(&folder))?));
    }
    let wanted = std::env::args().nth(2).unwrap_or_default();
    cases.retain(|case| case.name.contains(&wanted));
    println!("{:<34} {:>9} {:>11} {:>11} {:>7}", "body", "bytes", "decoded", "parsed", "ratio");
    let mut within = true;
    for case in cases {
        let (mut decoding, mut parsing) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            decoding.push(time(|| case.bodies.iter().for_each(decode)));
            parsing.push(time(|| case.bodies.iter().for_each(parse)));
        }
        let (decoded, parsed) = (median(&mut decoding), median(&mut parsing));
        let ratio = decoded.as_secs_f64() / parsed.as_secs_f64();
        let bytes: usize = case.bodies.iter().map(|body| body.request.len() + body.bytes.len()).sum();
        println!("{:<34} {bytes:>9} {decoded:>11.1?} {parsed:>11.1?} {ratio:>7.2}", case.name);
        within &= decoded <= parsed.mul_f64(LIMIT) + FIXED * case.bodies.len() as u32;
    }
    within &= hand_over()?;
    if within {
        return Ok(ExitCode::SUCCESS);
    }
    println!("decoding takes more than {LIMIT} times as long as parsing, and {FIXED:?} for each exchange");
    Ok(ExitCode::FAILURE)
}

/// Passes a large request and a large answer through the layer. Says whether the caller's thread copied no body.
fn hand_over() -> Outcome<bool> {
    const BODY: usize = 32 << 20;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let provider = service_fn(|request: http::Request<HttpBody>| async {
        drain(request.into_body()).await?;
        Ok::<_, BoxError>(http::Response::new(pieces(Bytes::from_static(&[b' '; PIECE]), BODY)))
    });
    let call = |layer: Option<HttpLayer>| {
        let request = http::Request::post("/v1/chat/completions");
        let request = request.body(pieces(Bytes::from_static(&[b' '; PIECE]), BODY))?;
        let mut outcome: Result<(), BoxError> = Ok(());
        let allocated = allocation_counter::measure(|| {
            outcome = runtime.block_on(async {
                match layer {
                    None => drain(provider.oneshot(request).await?.into_body()).await,
                    Some(layer) => {
                        let inner = provider.map_request(|request: http::Request<RequestBody<HttpBody>>| {
                            request.map(HttpBody::new)
                        });
                        drain(HttpBody::new(layer.layer(inner).oneshot(request).await?.into_body())).await
                    }
                }
            });
        });
        outcome.map(|()| allocated.bytes_total)
    };
    let config = Config::new().exporter(MemoryExporter::default()).max_buffered_bytes(4 * BODY);
    let client = Client::new(config)?;
    let layer = HttpHandler::new().client(client.clone()).layer();
    let (bare, traced) = (call(None)?, call(Some(layer))?);
    let added = traced.saturating_sub(bare);
    println!(
        "\nhanded over: {} bytes in pieces of {PIECE}, for {added} bytes more allocated on the caller's thread",
        2 * BODY
    );
    Ok(added < BODY as u64 / 5)
}

fn pieces(piece: Bytes, total: usize) -> HttpBody {
    let pieces = (0..total / piece.len()).map(move |_| Ok::<_, BoxError>(piece.clone()));
    HttpBody::from_stream(futures_util::stream::iter(pieces))
}

async fn drain(body: HttpBody) -> Result<(), BoxError> {
    let mut frames = body.into_data_stream();
    while let Some(frame) = frames.next().await {
        frame?;
    }
    Ok(())
}

fn decode(body: &Body) {
    let mut exchange = Exchange::new(&body.path, &body.request);
    exchange.start(200, Some(&body.content_type));
    for piece in body.bytes.chunks(PIECE) {
        exchange.push(piece);
    }
    exchange.end();
    black_box(exchange.into_record());
}

fn parse(body: &Body) {
    for value in [&body.request].into_iter().chain(&body.values) {
        black_box(serde_json::from_slice::<Value>(value).ok());
    }
}

/// The recorded answers that are JSON or made of it, by what they are about.
fn recorded_cases(recorded: Vec<Recorded>) -> impl Iterator<Item = Case> {
    let mut cases: BTreeMap<String, Vec<Body>> = BTreeMap::new();
    for exchange in recorded.into_iter().filter(|exchange| exchange.status == 200) {
        let operation = Operation::detect(&exchange.path);
        let content_type = exchange.content_type.unwrap_or_default();
        let mut values: Vec<Vec<u8>> = Vec::new();
        let kind = match content_type.split(';').next() {
            Some("text/event-stream") => {
                let mut framer = sse::Framer::new();
                framer.push(&exchange.body, |event| values.push(event.data.to_vec()));
                "streamed"
            }
            Some("application/x-ndjson") => {
                values.extend(exchange.body.split(|byte| *byte == b'\n').map(<[u8]>::to_vec));
                "lines"
            }
            Some("application/json") => {
                values.push(exchange.body.clone());
                "blocking"
            }
            _ => continue,
        };
        if operation != Operation::Unknown {
            let (path, request) = (exchange.path, exchange.request);
            let body = Body { path, request, content_type, bytes: exchange.body, values };
            cases.entry(format!("recorded {operation:?}, {kind}")).or_default().push(body);
        }
    }
    cases.into_iter().map(|(name, bodies)| Case { name, bodies })
}

fn time(work: impl Fn()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn cases() -> Vec<Case> {
    const JSON: &str = "application/json";
    const SSE: &str = "text/event-stream";
    const NDJSON: &str = "application/x-ndjson";
    let text = "A panda is a bear that eats bamboo. ".repeat(60);
    let calls: Vec<Value> = (0..3)
        .map(|n| {
            json!({"id": format!("call_{n}"), "type": "function",
            "function": {"name": "lookup", "arguments": json!({"city": "Lisbon", "page": n}).to_string()}})
        })
        .collect();
    let usage = json!({"prompt_tokens": 900, "completion_tokens": 300, "total_tokens": 1200,
        "prompt_tokens_details": {"cached_tokens": 128}, "completion_tokens_details": {"reasoning_tokens": 64}});
    let chat = json!({"id": "c", "object": "chat.completion", "created": 1, "model": "m", "usage": usage,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text, "tool_calls": calls}, "finish_reason": "stop"}]});
    let words: Vec<&str> = text.split_inclusive(' ').collect();
    let chunks = words.iter().map(|word| {
        json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "system_fingerprint": "fp",
            "choices": [{"index": 0, "delta": {"content": word}, "logprobs": null, "finish_reason": null}]})
    }).collect();
    let deltas = words.iter().enumerate().map(|(n, word)| {
        json!({"type": "response.output_text.delta", "sequence_number": n, "item_id": "msg_1", "output_index": 0,
            "content_index": 0, "delta": word, "logprobs": []})
    }).collect();
    let blocks = words.iter().map(|word| {
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word}})
    }).collect();
    let message = json!({"id": "m", "type": "message", "model": "c", "content": [{"type": "text", "text": text},
        {"type": "tool_use", "id": "t", "name": "lookup", "input": {"city": "Lisbon", "days": 3, "kind": "hotel"}}],
        "stop_reason": "tool_use", "usage": {"input_tokens": 900, "output_tokens": 300}});
    let candidates: Vec<Value> = words.chunks(4).map(|words| {
        json!({"candidates": [{"index": 0, "content": {"role": "model", "parts": [{"text": words.concat()}]}}],
            "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 4, "totalTokenCount": 13}, "modelVersion": "g"})
    }).collect();
    let lines = words.iter().map(|word| {
        json!({"model": "l", "created_at": "2026-01-01T00:00:00Z", "message": {"role": "assistant", "content": word}, "done": false})
    }).collect();
    let vectors: Vec<Value> = (0..16)
        .map(|n| json!({"object": "embedding", "index": n, "embedding": vec![0.123_456_78; 1536]}))
        .collect();
    vec![
        whole("chat, blocking", "/v1/chat/completions", &chat),
        stream("chat, streamed", "/v1/chat/completions", SSE, chunks),
        stream("responses, streamed", "/v1/responses", SSE, deltas),
        whole("embeddings", "/v1/embeddings", &json!({"object": "list", "data": vectors, "model": "e"})),
        whole("anthropic, blocking", "/v1/messages", &message),
        stream("anthropic, streamed", "/v1/messages", SSE, blocks),
        stream("gemini, streamed", "/v1beta/models/g:streamGenerateContent", SSE, candidates.clone()),
        case(
            "gemini, an array in pieces",
            "/v1beta/models/g:streamGenerateContent",
            JSON,
            json!(candidates).to_string().into_bytes(),
            candidates.iter().map(|value| value.to_string().into_bytes()).collect(),
        ),
        stream("ollama, streamed", "/api/chat", NDJSON, lines),
    ]
}

fn whole(name: &str, path: &str, answer: &Value) -> Case {
    let body = answer.to_string().into_bytes();
    case(name, path, "application/json", body.clone(), vec![body])
}

/// Events as server-sent events, or as lines.
fn stream(name: &str, path: &str, content_type: &str, events: Vec<Value>) -> Case {
    let values: Vec<Vec<u8>> = events.iter().map(|event| event.to_string().into_bytes()).collect();
    let body = values.iter().flat_map(|value| match content_type {
        "text/event-stream" => [b"data: ".as_slice(), value, b"\n\n"].concat(),
        _ => [value.as_slice(), b"\n"].concat(),
    });
    case(name, path, content_type, body.collect(), values)
}

fn case(name: &str, path: &str, content_type: &str, bytes: Vec<u8>, values: Vec<Vec<u8>>) -> Case {
    let (path, content_type) = (path.to_owned(), content_type.to_owned());
    Case {
        name: name.to_owned(),
        bodies: vec![Body { path, request: b"{\"stream\":true}".to_vec(), content_type, bytes, values }],
    }
}
