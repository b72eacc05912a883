//! Asks a server that replays recorded answers, through rig's own clients, and prints one JSON line per exchange with what
//! was traced of it.
//!
//! `replay_rig agent|model URL`: the server lists its exchanges at `URL/index`. With `agent` each answer is one turn of a
//! traced agent, so that the span is made of what rig understood; with `model` it is that of a model that is called
//! directly, and made of the bytes. Exchanges that rig has no client for are listed on stderr, with the cause.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the lines are what this program is for")]

use std::{collections::BTreeMap, error::Error};

use futures_util::StreamExt;
use pandaprobe_core::{SpanData, SpanKind, testing::capture};
use pandaprobe_rig::{BuildTraced, RigHandler};
use pandaprobe_tests::fidelity::{Replayed, line};
use rig::{
    completion::{CompletionRequest, ToolDefinition},
    core::{
        driver::Model,
        http_client::DynHttpClient,
        providers::{
            anthropic::AnthropicConfig,
            gemini::GeminiConfig,
            openai::{OpenAIConfig, wire::MISTRAL},
        },
        wire::Wire,
    },
    http_client::ReqwestClient,
    message::{Message, ToolName},
    operation::{Completion, Embedding},
    prelude::*,
    tool::{DynamicTool, ToolOutput},
};
use serde_json::{Value, json};

type Outcome<T> = Result<T, Box<dyn Error>>;

const PROVIDERS: [&str; 4] = ["openai", "anthropic", "gemini", "mistral"];

#[derive(Clone, Copy, PartialEq)]
enum Way {
    Agent,
    Model,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (way, url) = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["agent", url] => (Way::Agent, url),
        ["model", url] => (Way::Model, url),
        _ => return Err("usage: replay_rig agent|model URL".into()),
    };
    let http = reqwest::Client::new();
    let index: Vec<Replayed> = http.get(format!("{url}/index")).send().await?.json().await?;
    let mut counts: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for replayed in index.iter().filter(|replayed| PROVIDERS.contains(&&*replayed.provider)) {
        let Some(asked) = asked(replayed, way) else {
            continue;
        };
        let (run, all) = counts.entry(&replayed.provider).or_default();
        *all += 1;
        let captured = capture(|| ask(way, asked, format!("{url}{}", replayed.base), replayed)).await;
        if let Err(cause) = captured.output {
            eprintln!("not run: {}: {cause}", replayed.id);
            continue;
        }
        let spans: Vec<&SpanData> = captured.traces.iter().flat_map(|trace| &trace.spans).collect();
        let calls = spans.iter().filter(|span| matches!(span.kind, SpanKind::Llm | SpanKind::Embedding));
        let [call] = calls.collect::<Vec<_>>()[..] else {
            return Err(format!("{}: not one call was traced: {spans:?}", replayed.id).into());
        };
        *run += 1;
        println!("{}", line(replayed, &json!(call)));
    }
    for (provider, (run, all)) in counts {
        eprintln!("{provider}: {run} of {all} run, {:.1} %", 100.0 * run as f64 / all as f64);
    }
    Ok(())
}

#[derive(Clone, Copy)]
enum Asked {
    Chat,
    Embeddings,
}

/// Chats and embeddings; an agent does not embed.
fn asked(replayed: &Replayed, way: Way) -> Option<Asked> {
    let is_embedding = replayed.path.to_lowercase().contains("embed");
    match (replayed.dialect.as_str(), is_embedding) {
        (_, true) => (way == Way::Model).then_some(Asked::Embeddings),
        ("other", false) => None,
        _ => Some(Asked::Chat),
    }
}

async fn ask(way: Way, asked: Asked, base: String, replayed: &Replayed) -> Outcome<()> {
    let request = replayed.json();
    let name = model_name(replayed, &request)?;
    let transport = ReqwestClient::default();
    let openai = || {
        let config = match replayed.provider.as_str() {
            "mistral" => OpenAIConfig::with_key(&MISTRAL, "key").with_base_url(&base),
            _ => OpenAIConfig::new("key").with_base_url(format!("{base}/v1")),
        };
        config.connect(transport.clone())
    };
    let gemini = || GeminiConfig::new("key").with_base_url(&base).connect(transport.clone());
    match (asked, replayed.provider.as_str(), replayed.path.as_str()) {
        (Asked::Chat, "openai", "/v1/responses") => {
            chat(way, openai().responses(name), &request, replayed).await
        }
        (Asked::Chat, "openai" | "mistral", "/v1/chat/completions") => {
            chat(way, openai().chat(name), &request, replayed).await
        }
        (Asked::Chat, "anthropic", _) => {
            let client = AnthropicConfig::new("key").with_base_url(&base).connect(transport.clone());
            chat(way, client.completion(name), &request, replayed).await
        }
        (Asked::Chat, "gemini", path) if path.contains("enerateContent") => {
            chat(way, gemini().completion(name), &request, replayed).await
        }
        (Asked::Embeddings, "openai" | "mistral", _) => {
            embed(openai().embedding(name, None), replayed, &base).await
        }
        (Asked::Embeddings, "gemini", _) => embed(gemini().embedding(name, None), replayed, &base).await,
        (_, provider, path) => Err(format!("rig has no client of {provider} for {path}").into()),
    }
}

fn model_name(replayed: &Replayed, request: &Value) -> Outcome<String> {
    let in_path = replayed.path.rsplit_once("models/").and_then(|(_, model)| model.split(':').next());
    let named = request["model"].as_str().or(in_path);
    Ok(named.ok_or("the request names no model")?.to_owned())
}

async fn chat<W>(
    way: Way,
    model: Model<W, DynHttpClient>,
    request: &Value,
    replayed: &Replayed,
) -> Outcome<()>
where
    W: Wire<Op = Completion, Payload = rig::core::wire::Encoded, Frame = rig::core::wire::WireFrame>,
{
    let handler = RigHandler::new();
    // What the caller sees is not of interest: many of the answers are errors.
    match (way, replayed.streaming) {
        (Way::Agent, streaming) => {
            // Its transport is traced too, and each call is one span all the same.
            let mut builder = AgentBuilder::new(handler.model(model))
                .max_tokens(64)
                .default_max_turns(1)
                .dynamic_tools(vec![]);
            for name in tool_names(request) {
                builder = builder.dynamic_tool(tool(&name)?);
            }
            let agent = builder.build_traced(&handler);
            match streaming {
                false => drop(agent.prompt("Replay.").await),
                true => drop(agent.prompt("Replay.").stream().collect::<Vec<_>>().await),
            }
        }
        (Way::Model, false) => drop(handler.model(model).call(completion(request)?).await),
        (Way::Model, true) => {
            if let Ok(stream) = handler.model(model).stream(completion(request)?) {
                stream.collect::<Vec<_>>().await;
            }
        }
    }
    Ok(())
}

fn completion(request: &Value) -> Outcome<CompletionRequest> {
    let tools = tool_names(request).into_iter().map(|name| {
        let (description, parameters) = (name.clone(), json!({"type": "object"}));
        Ok(ToolDefinition { name: ToolName::new(name)?, description, parameters })
    });
    let tools = tools.collect::<Outcome<Vec<_>>>()?;
    Ok(CompletionRequest::new(Message::user("Replay.")).max_tokens(64).tools(tools))
}

/// The names of the tools that a request offers, in any dialect.
fn tool_names(request: &Value) -> Vec<String> {
    let tools = request["tools"].as_array().into_iter().flatten();
    let declared = tools.flat_map(|tool| match tool["functionDeclarations"].as_array() {
        Some(functions) => functions.clone(),
        None => vec![tool.clone()],
    });
    let name = |tool: Value| tool["function"]["name"].as_str().or(tool["name"].as_str()).map(str::to_owned);
    declared.filter_map(name).collect()
}

fn tool(name: &str) -> Outcome<DynamicTool> {
    let parameters = json!({"type": "object"});
    Ok(DynamicTool::new(ToolName::new(name)?, name, parameters, |_| {
        Box::pin(async { Ok(ToolOutput::text("replayed")) })
    }))
}

async fn embed<W>(model: Model<W, DynHttpClient>, replayed: &Replayed, base: &str) -> Outcome<()>
where
    W: Wire<Op = Embedding, Payload = rig::core::wire::Encoded, Frame = rig::core::wire::WireFrame>,
{
    // As many as were asked for, since rig counts the answers.
    let answer: Value =
        reqwest::Client::new().post(format!("{base}{}", replayed.path)).send().await?.json().await?;
    let vectors = answer["data"].as_array().or(answer["embeddings"].as_array()).map_or(1, Vec::len);
    let texts: Vec<String> = (0..vectors.max(1)).map(|nth| format!("text {nth}")).collect();
    drop(RigHandler::new().model(model).call(texts).await);
    Ok(())
}
