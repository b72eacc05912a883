//! A travel agent of adk-rust: it knows the weather, and hands over to an agent that knows hotels. Answers are streamed, and
//! the session remembers.
//!
//! All that PandaProbe needs are `init`, a handler, and its name around the runner, the agent, the model and the tools.
//! Whose a run is, adk says: nobody else does here.
#![expect(clippy::print_stdout, reason = "a conversation on the terminal is what this program is for")]

mod model;
mod tools;

use std::{
    error::Error,
    io::{Write, stdout},
    sync::Arc,
    time::Duration,
};

use adk_agent::LlmAgentBuilder;
use adk_core::{AgentInvoker, Content, EventTextDeltas, Llm, Part, Result};
use adk_model::openai::{OpenAIClient, OpenAIConfig};
use adk_runner::Runner;
use adk_session::InMemorySessionService;
use futures_util::StreamExt;
use pandaprobe::adk::{AdkHandler, TracedRunner};
use pandaprobe::{Config, ConsoleExporter};
use tools::{FindHotels, GetWeather};

#[tokio::main]
async fn main() -> std::result::Result<(), Box<dyn Error>> {
    // With PANDAPROBE_API_KEY traces go to the backend, without it to the terminal and a store.
    let _guard = pandaprobe::init(Config::from_env_or((
        ConsoleExporter::default(),
        pandaprobe::local::exporter(".pandaprobe/traces.db"),
    ))?)?;
    stand_in_model::viewer_hint();

    let endpoint = model::endpoint();
    let (key, url) = (endpoint.api_key.as_str(), endpoint.base_url.as_str());
    let model = OpenAIClient::new(OpenAIConfig::compatible(key, url, endpoint.model.as_str()))?;
    let runner = runner(Arc::new(model), &AdkHandler::new())?;
    for question in [
        "How is the weather in Lisbon?",
        "And is there a hotel in Lisbon under 120 euros?",
        "Then a hotel in Atlantis, please.",
    ] {
        println!("\nada: {question}");
        answer(&runner, question).await?;
        // Only so that the tree of a turn is printed below it. A service does not wait for delivery.
        let _ = pandaprobe::flush_async(Duration::from_secs(2)).await;
    }
    Ok(())
}

fn runner(model: Arc<dyn Llm>, handler: &AdkHandler) -> Result<TracedRunner> {
    let model = handler.llm(model);
    let hotels = LlmAgentBuilder::new("hotels")
        .description("Finds hotels")
        .instruction("Find hotels with the tool. Answer in two sentences at most.")
        .model(Arc::clone(&model))
        .tool(handler.tool(Arc::new(FindHotels)))
        .build()?;
    let concierge = LlmAgentBuilder::new("concierge")
        .instruction(
            "You are a travel assistant. Use the tool for the weather. Leave hotels to the agent for hotels.",
        )
        .model(model)
        .tool(handler.tool(Arc::new(GetWeather)))
        .sub_agent(Arc::new(hotels))
        .build()?;
    let runner = Runner::builder()
        .app_name("travel")
        // The agent that it may transfer to is wrapped with it.
        .agent(handler.agent(Arc::new(concierge)))
        .session_service(Arc::new(InMemorySessionService::new()))
        .build()?;
    Ok(handler.runner(runner))
}

/// Prints the answer as it arrives.
async fn answer(runner: &TracedRunner, question: &str) -> std::result::Result<(), Box<dyn Error>> {
    let question = Content::new("user").with_text(question);
    let mut events = runner.invoke("ada", "trip-to-portugal", question).await?;
    let mut deltas = EventTextDeltas::default();
    print!("agent: ");
    while let Some(event) = events.next().await {
        let event = event?;
        let delta = deltas.push(&event);
        for part in delta.content().into_iter().flat_map(|content| &content.parts) {
            match part {
                Part::Text { text } => print!("{text}"),
                Part::FunctionCall { name, .. } => print!("[{name}] "),
                _ => {}
            }
        }
        stdout().flush()?;
    }
    println!();
    Ok(())
}
