//! A travel agent with two tools: one user, one session, two turns.
//!
//! Everything that PandaProbe needs is in this file. The agent in `agent.rs` is plain `async-openai` code.
#![expect(clippy::print_stdout, reason = "a conversation on the terminal is what this program is for")]

mod agent;
mod tools;

use std::{error::Error, time::Duration};

use agent::Agent;
use async_openai::{Client, config::OpenAIConfig};
use pandaprobe::{Config, ConsoleExporter, Messages, OpenAiHandler};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // With PANDAPROBE_API_KEY traces go to the backend, without it to the terminal and a store.
    // The guard delivers what is left when `main` returns, so it needs a name.
    let _guard = pandaprobe::init(Config::from_env_or((
        ConsoleExporter::default(),
        pandaprobe::local::exporter(".pandaprobe/traces.db"),
    ))?)?;
    stand_in_model::viewer_hint();

    // The same client, traced: each call becomes one LLM span.
    let endpoint = stand_in_model::endpoint();
    let config = OpenAIConfig::new().with_api_base(&endpoint.base_url).with_api_key(&endpoint.api_key);
    let client = OpenAiHandler::new().wrap(Client::with_config(config));

    // Whatever begins inside of the scope belongs to this session and this user.
    pandaprobe::session("trip-to-portugal").user("ada").scope(talk(Agent::new(client, endpoint.model))).await
}

async fn talk(mut agent: Agent) -> Result<(), Box<dyn Error>> {
    for question in [
        "How is the weather in Lisbon, and is there a hotel under 120 euros?",
        "Then I go on by train. What is the weather in Porto?",
    ] {
        println!("\nada: {question}");
        turn(&mut agent, question).await?;
        // Only so that the tree of a turn is printed below it. A service does not wait for delivery.
        let _ = pandaprobe::flush_async(Duration::from_secs(2)).await;
    }
    Ok(())
}

/// One turn is one trace, however many calls the agent makes for it.
async fn turn(agent: &mut Agent, question: &str) -> Result<(), Box<dyn Error>> {
    pandaprobe::trace("travel-agent")
        .input(Messages::new().user(question))
        .try_scope(|trace| async move {
            let answer = agent.ask(question).await?;
            trace.set_output(Messages::new().assistant(answer));
            Ok(())
        })
        .await
}
