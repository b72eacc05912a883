//! A travel agent of rig: two tools, streamed answers, and a conversation that it remembers.
//!
//! All that PandaProbe needs are three lines: `init`, the handler, and `build_traced` in place of `build`.
#![expect(clippy::print_stdout, reason = "a conversation on the terminal is what this program is for")]

mod tools;

use std::{
    error::Error,
    io::{Write, stdout},
    time::Duration,
};

use futures_util::StreamExt;
use pandaprobe::{
    Config, ConsoleExporter, RigHandler,
    rig::{BuildTraced, TracedAgent},
};
use rig::{
    http_client::ReqwestClient,
    memory::InMemoryConversationMemory,
    prelude::*,
    providers::openai::OpenAIConfig,
    streaming::{Item, StreamEvent},
};
use stand_in_model::Endpoint;
use tools::{FindHotels, GetWeather};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // With PANDAPROBE_API_KEY traces go to the backend, without it to the terminal and a store.
    let _guard = pandaprobe::init(Config::from_env_or((
        ConsoleExporter::default(),
        pandaprobe::local::exporter(".pandaprobe/traces.db"),
    ))?)?;
    stand_in_model::viewer_hint();

    let endpoint = stand_in_model::endpoint();
    let agent = agent(&endpoint, &RigHandler::new().session_id("trip-to-portugal").user_id("ada"));
    for question in [
        "How is the weather in Lisbon, and is there a hotel under 120 euros?",
        "Then I go on by train. What is the weather in Porto?",
        "And a hotel in Atlantis?",
    ] {
        println!("\nada: {question}");
        answer(&agent, question).await?;
        // Only so that the tree of a turn is printed below it. A service does not wait for delivery.
        let _ = pandaprobe::flush_async(Duration::from_secs(2)).await;
    }
    Ok(())
}

fn agent(endpoint: &Endpoint, handler: &RigHandler) -> TracedAgent {
    let config = OpenAIConfig::new(endpoint.api_key.as_str()).with_base_url(endpoint.base_url.as_str());
    AgentBuilder::new(config.connect(ReqwestClient::default()).chat(endpoint.model.as_str()))
        .name("travel-agent")
        .preamble("You are a travel assistant. Use the tools for facts. Answer in two sentences at most.")
        .tool(GetWeather)
        .tool(FindHotels)
        .memory(InMemoryConversationMemory::new())
        .conversation("trip-to-portugal")
        .default_max_turns(4)
        .build_traced(handler)
}

/// Prints the answer as it arrives.
async fn answer(agent: &TracedAgent, question: &str) -> Result<(), Box<dyn Error>> {
    let mut answer = agent.prompt(question).tool_concurrency(2).stream();
    print!("agent: ");
    while let Some(item) = answer.next().await {
        match item? {
            MultiTurnStreamItem::StreamAssistantItem(Item::Event(StreamEvent::Text { text, .. })) => {
                print!("{text}");
                stdout().flush()?;
            }
            MultiTurnStreamItem::ToolCall { tool_call } => print!("[{}] ", tool_call.function.name.as_str()),
            _ => {}
        }
    }
    println!();
    Ok(())
}
