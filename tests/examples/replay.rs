//! Sends recorded requests through a wrapped `async-openai` client to a server that replays the recorded answers, and
//! prints one JSON line per exchange with what was traced of it.
//!
//! `replay URL`: the server lists its exchanges at `URL/index`, each with `id`, `base`, `dialect`, `streaming` and
//! `body`. Those of the dialects that the client speaks are driven; the rest are left out.
#![expect(clippy::print_stdout, reason = "the lines are what this program is for")]

use std::error::Error;

use async_openai::{Client, config::OpenAIConfig, middleware::ReqwestService};
use futures_util::StreamExt;
use pandaprobe::{OpenAiHandler, SpanData, SpanKind, testing::capture};
use serde::Deserialize;
use serde_json::{Value, json};
use tower::ServiceBuilder;

type Outcome<T> = Result<T, Box<dyn Error>>;

#[derive(Deserialize)]
struct Recorded {
    id: String,
    base: String,
    dialect: String,
    streaming: bool,
    body: Value,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome<()> {
    let url = std::env::args().nth(1).ok_or("usage: replay URL")?;
    let http = reqwest::Client::new();
    let index: Vec<Recorded> = http.get(format!("{url}/index")).send().await?.json().await?;
    for recorded in index {
        let captured = capture(|| drive(&url, &http, &recorded)).await;
        if !captured.output? {
            continue;
        }
        let spans: Vec<&SpanData> = captured.traces.iter().flat_map(|trace| &trace.spans).collect();
        let calls = spans.iter().filter(|span| matches!(span.kind, SpanKind::Llm | SpanKind::Embedding));
        match calls.collect::<Vec<_>>()[..] {
            [call] => println!("{}", line(&recorded, call)),
            _ => return Err(format!("{}: not one call was traced: {spans:?}", recorded.id).into()),
        }
    }
    Ok(())
}

/// Says whether it is of a dialect that the client speaks. What the caller sees is not of interest: many of the
/// answers are errors.
async fn drive(url: &str, http: &reqwest::Client, recorded: &Recorded) -> Outcome<bool> {
    let config =
        OpenAIConfig::new().with_api_base(format!("{url}{}", recorded.base)).with_api_key("recorded");
    let service =
        ServiceBuilder::new().layer(OpenAiHandler::new().layer()).service(ReqwestService::new(http.clone()));
    let client: Client<OpenAIConfig> = Client::with_config(config).with_http_service(service);
    // Bodies that are no JSON are those of other dialects.
    let body = recorded.body.as_str().and_then(|text| serde_json::from_str(text).ok());
    let body: Value = body.unwrap_or_else(|| recorded.body.clone());
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

/// What a span says, in the schema of the scorer.
fn line(recorded: &Recorded, span: &SpanData) -> Value {
    let none = Value::Null;
    let first = span.output.as_ref().map_or(&none, |output| &output["messages"][0]);
    let calls = first["tool_calls"].as_array().into_iter().flatten();
    let calls: Vec<Value> = calls
        .map(|call| {
            let function = &call["function"];
            let text = function["arguments"].as_str().unwrap_or_default();
            let arguments = serde_json::from_str(text).unwrap_or_else(|_| Value::from(text));
            json!({"id": call["id"], "name": function["name"], "arguments": arguments})
        })
        .collect();
    json!({
        "id": recorded.id,
        "streaming": recorded.streaming,
        "model_responded": span.model,
        "choices": span.metadata.get("choices"),
        "output_text": text(&first["content"]),
        "tool_calls": calls,
        "reasoning_text": span.metadata.get("reasoning_summary"),
        "usage": span.token_usage,
        "finish_reason": span.metadata.get("finish_reason"),
        "error": span.error,
    })
}

/// The text of a message's content: a string, or parts of which some are text.
fn text(content: &Value) -> Value {
    let parts =
        content.as_array().map(|parts| parts.iter().filter_map(|part| part["text"].as_str()).collect());
    parts.map_or_else(|| content.clone(), Value::String)
}
