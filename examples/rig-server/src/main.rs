//! A chat service with one agent for all users. Who they are stands in the headers of their requests.
//!
//! It answers a few requests of its own, at the same time, and stops. With `--serve` it serves until ctrl-c:
//!
//! ```text
//! curl localhost:3000/chat -H 'x-user-id: ada' -H 'x-session-id: ada-1' --json '{"message": "The weather in Lisbon?"}'
//! ```
#![expect(clippy::print_stdout, reason = "it says where it listens, and what its own requests got")]

mod tools;

use std::error::Error;

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use pandaprobe::{
    Config, ConsoleExporter, RigHandler,
    rig::{BuildTraced, TracedAgent},
};
use rig::{http_client::ReqwestClient, prelude::*, providers::openai::OpenAIConfig};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::oneshot};
use tools::GetWeather;

#[derive(Clone)]
struct Service {
    agent: TracedAgent,
    handler: RigHandler,
}

#[derive(Deserialize)]
struct Question {
    message: String,
}

/// The agent and the handler are everybody's; the clone of the handler says whose request this is. A real service takes the
/// user from a verified token and not from a header that anybody can send.
async fn chat(
    State(service): State<Service>,
    headers: HeaderMap,
    Json(question): Json<Question>,
) -> Result<Json<Value>, (StatusCode, String)> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let handler = service.handler.user_id(header("x-user-id")).session_id(header("x-session-id"));
    let answer = service.agent.prompt(question.message).traced(&handler).await;
    let answer = answer.map_err(|error| (StatusCode::BAD_GATEWAY, error.to_string()))?;
    Ok(Json(json!({"answer": answer.output()})))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let _guard = pandaprobe::init(Config::from_env_or((
        ConsoleExporter::default(),
        pandaprobe::local::exporter(".pandaprobe/traces.db"),
    ))?)?;
    stand_in_model::viewer_hint();
    let endpoint = stand_in_model::endpoint();
    let config = OpenAIConfig::new(endpoint.api_key.as_str()).with_base_url(endpoint.base_url.as_str());
    let handler = RigHandler::new().tags(["chat-service"]);
    let agent = AgentBuilder::new(config.connect(ReqwestClient::default()).chat(endpoint.model.as_str()))
        .name("support")
        .preamble("Answer in one sentence.")
        .tool(GetWeather)
        .default_max_turns(3)
        // Wraps the tools, so that what they record is each user's own although the agent is everybody's.
        .build_traced(&handler);
    let app = Router::new().route("/chat", post(chat)).with_state(Service { agent, handler });

    if std::env::args().any(|argument| argument == "--serve") {
        return serve(app).await;
    }
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/chat", listener.local_addr()?);
    let (stop, stopped) = oneshot::channel::<()>();
    let server = axum::serve(listener, app).with_graceful_shutdown(async {
        let _ = stopped.await;
    });
    let server = tokio::spawn(server.into_future());
    let users = [("ada", "Lisbon"), ("grace", "Oslo"), ("alan", "Quito")];
    let answers = users
        .map(|(user, city)| tokio::spawn(ask(url.clone(), user, format!("How is the weather in {city}?"))));
    for answer in answers {
        println!("{}", answer.await??);
    }
    let _ = stop.send(());
    server.await??;
    Ok(())
}

async fn ask(url: String, user: &'static str, message: String) -> reqwest::Result<String> {
    let request = reqwest::Client::new()
        .post(url)
        .header("x-user-id", user)
        .header("x-session-id", format!("{user}-1"));
    let answer: Value = request.json(&json!({"message": message})).send().await?.json().await?;
    Ok(format!("{user}: {message}\nagent: {}", answer["answer"].as_str().unwrap_or_default()))
}

async fn serve(app: Router) -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    println!("listening on {}", listener.local_addr()?);
    let ctrl_c = async {
        let _ = tokio::signal::ctrl_c().await;
    };
    axum::serve(listener, app).with_graceful_shutdown(ctrl_c).await?;
    Ok(())
}
