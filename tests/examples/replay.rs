//! Sends recorded requests through a traced client to a server that replays the recorded answers, and prints one JSON
//! line per exchange with what was traced of it.
//!
//! `replay openai|http URL`: the server lists its exchanges at `URL/index`, each with `id`, `base`, `path`, `dialect`,
//! `streaming` and `body`. `openai` is a wrapped `async-openai` client, and what it does not speak is left out; `http` is
//! `pandaprobe-http` under `reqwest`, whose spans must then say exactly what the decoder says of the same bytes.
#![expect(clippy::print_stdout, reason = "the lines are what this program is for")]

use std::error::Error;

use async_openai::{Client, config::OpenAIConfig, middleware::ReqwestService};
use futures_util::StreamExt;
use pandaprobe::{HttpHandler, OpenAiHandler, SpanData, SpanKind, testing::capture};
use pandaprobe_tests::fidelity::{Replayed, line};
use pandaprobe_wire::{Exchange, LlmRecord};
use reqwest::header::CONTENT_TYPE;
use reqwest_middleware::ClientBuilder;
use serde_json::{Value, json};
use tower::ServiceBuilder;

type Outcome<T> = Result<T, Box<dyn Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (over_http, url) = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["openai", url] => (false, url),
        ["http", url] => (true, url),
        _ => return Err("usage: replay openai|http URL".into()),
    };
    let http = reqwest::Client::new();
    let index: Vec<Replayed> = http.get(format!("{url}/index")).send().await?.json().await?;
    for recorded in index.iter().filter(|recorded| recorded.dialect != "other") {
        let (spans, expected) = if over_http {
            let captured = capture(|| send(url, &http, recorded)).await;
            (captured.traces, Some(captured.output?))
        } else {
            let captured = capture(|| drive(url, &http, recorded)).await;
            if !captured.output? {
                continue;
            }
            (captured.traces, None)
        };
        let spans: Vec<&SpanData> = spans.iter().flat_map(|trace| &trace.spans).collect();
        let calls = spans.iter().filter(|span| matches!(span.kind, SpanKind::Llm | SpanKind::Embedding));
        let [call] = calls.collect::<Vec<_>>()[..] else {
            return Err(format!("{}: not one call was traced: {spans:?}", recorded.id).into());
        };
        expected.map_or(Ok(()), |record| compare(&recorded.id, call, record))?;
        println!("{}", line(recorded, &json!(call)));
    }
    Ok(())
}

/// Sends a request, and decodes the answer that the caller gets.
async fn send(url: &str, http: &reqwest::Client, recorded: &Replayed) -> Outcome<LlmRecord> {
    let client = ClientBuilder::new(http.clone()).with(HttpHandler::new()).build();
    let body = recorded.body.as_str().map_or_else(|| recorded.body.to_string(), str::to_owned);
    let mut exchange = Exchange::new(&recorded.path, body.as_bytes());
    let path = format!("{url}{}{}", recorded.base, recorded.path);
    let response = client.post(path).body(body).send().await?;
    let content_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    exchange.start(response.status().as_u16(), content_type);
    exchange.push(&response.bytes().await?);
    exchange.end();
    Ok(exchange.record())
}

/// Fails where a span says something else than the record of the same bytes.
fn compare(id: &str, span: &SpanData, record: LlmRecord) -> Outcome<()> {
    let unfinished = (!record.terminal).then(|| record.notes.last().cloned()).flatten();
    let output = match record.output.is_empty() {
        true => json!(record.body),
        false => json!({"messages": record.output}),
    };
    let parameters = span.model_parameters.clone().unwrap_or_default();
    let told = [
        (json!(span.input), json!({"messages": record.input})),
        (json!(span.output), output),
        (json!(span.model), json!(record.model_responded.or(record.model_requested))),
        (json!(parameters), json!(record.parameters)),
        (json!(span.token_usage), json!(record.usage.map(|usage| given(&usage)))),
        (json!(span.metadata.get("finish_reason")), json!(record.finish_reason)),
        (json!(span.metadata.get("reasoning_summary")), json!(record.reasoning)),
        (json!(span.error), json!(record.error.map(|error| error.to_string()).or(unfinished))),
    ];
    match told.iter().find(|(span, record)| span != record) {
        Some((span, record)) => Err(format!("{id}: the span says {span}, the record {record}").into()),
        None => Ok(()),
    }
}

/// The counts that a record has, as a span has them.
fn given(usage: &pandaprobe_wire::Usage) -> Value {
    let counts = json!(usage);
    let fields = counts.as_object().into_iter().flatten().filter(|(key, _)| *key != "details");
    let fields =
        fields.filter(|(_, value)| !value.is_null()).map(|(key, value)| (key.clone(), value.clone()));
    fields.chain(usage.details.iter().map(|(key, count)| (key.clone(), json!(count)))).collect()
}

/// Says whether it is of a dialect that the client speaks. What the caller sees is not of interest: many of the
/// answers are errors.
async fn drive(url: &str, http: &reqwest::Client, recorded: &Replayed) -> Outcome<bool> {
    let config =
        OpenAIConfig::new().with_api_base(format!("{url}{}", recorded.base)).with_api_key("recorded");
    let service =
        ServiceBuilder::new().layer(OpenAiHandler::new().layer()).service(ReqwestService::new(http.clone()));
    let client: Client<OpenAIConfig> = Client::with_config(config).with_http_service(service);
    let body = recorded.json();
    match (recorded.dialect.as_str(), recorded.streaming) {
        ("openai-chat" | "mistral-chat", false) => drop(client.chat().create_byot::<_, Value>(body).await),
        ("openai-chat" | "mistral-chat", true) => {
            if let Ok(stream) = client.chat().create_stream_byot::<_, Value>(body).await {
                stream.count().await;
            }
        }
        ("openai-responses", false) => drop(client.responses().create_byot::<_, Value>(body).await),
        ("openai-responses", true) => {
            if let Ok(stream) = client.responses().create_stream_byot::<_, Value>(body).await {
                stream.count().await;
            }
        }
        ("openai-embeddings", _) => drop(client.embeddings().create_byot::<_, Value>(body).await),
        _ => return Ok(false),
    }
    Ok(true)
}
