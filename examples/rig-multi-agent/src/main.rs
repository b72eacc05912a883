//! A travel agent that asks a weather expert, which is an agent too, and looks things up in its notes.
//!
//! Each agent is built with `build_traced`, so that the run of the expert stands below the tool call that led to it. The
//! notes are wrapped with `handler.index`, so that each look-up is a step.
#![expect(clippy::print_stdout, reason = "the answer is for the terminal")]

mod notes;

use std::{convert::Infallible, error::Error};

use notes::Notes;
use pandaprobe::{
    Config, ConsoleExporter, RigHandler,
    rig::{BuildTraced, TracedAgent},
};
use rig::{
    DynModel, http_client::ReqwestClient, operation::Completion, prelude::*, providers::openai::OpenAIConfig,
    tool::ToolContext,
};
use serde::Deserialize;
use serde_json::{Value, json};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let _guard = pandaprobe::init(Config::from_env_or((
        ConsoleExporter::default(),
        pandaprobe::local::exporter(".pandaprobe/traces.db"),
    ))?)?;
    stand_in_model::viewer_hint();

    let endpoint = stand_in_model::endpoint();
    let config = OpenAIConfig::new(endpoint.api_key.as_str()).with_base_url(endpoint.base_url.as_str());
    let model = config.connect(ReqwestClient::default()).chat(endpoint.model.as_str()).erase();

    let agent = travel_agent(model, &RigHandler::new())?;
    let question = "How is the weather in Lisbon, and what should I see there?";
    println!("\nada: {question}");
    // Whose activity it is may also be said by a scope.
    let answer = pandaprobe::user("ada").session("trip-to-portugal").scope(agent.prompt(question)).await?;
    println!("agent: {}\n", answer.output());
    Ok(())
}

fn travel_agent(model: DynModel<Completion>, handler: &RigHandler) -> Result<TracedAgent, Box<dyn Error>> {
    let expert = AgentBuilder::new(model.clone())
        .name("weather_expert")
        .description("Knows the weather everywhere")
        .preamble("Answer questions about the weather. Use the tool.")
        .tool(ReadWeather)
        .default_max_turns(3)
        .build_traced(handler);
    let agent = AgentBuilder::new(model)
        .name("travel-agent")
        .preamble("You are a travel assistant. Ask the weather expert about the weather.")
        .dynamic_context(2, handler.index(Notes))
        .dynamic_tool(expert.into_tool()?)
        .default_max_turns(3)
        .build_traced(handler);
    Ok(agent)
}

#[derive(Deserialize)]
struct City {
    city: String,
}

struct ReadWeather;

impl Tool for ReadWeather {
    const NAME: &'static str = "read_weather_station";
    type Args = City;
    type Output = Value;
    type Error = Infallible;

    fn description(&self) -> String {
        "Today's weather in a city".to_owned()
    }

    fn parameters(&self) -> Value {
        json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]})
    }

    async fn call(&self, _: &mut ToolContext, City { city }: City) -> Result<Value, Infallible> {
        Ok(json!({"city": city, "degrees": station(&city)}))
    }
}

/// What a tool calls is below it: here a function that is a span.
#[pandaprobe::span(name = "station", kind = "OTHER")]
fn station(city: &str) -> usize {
    16 + city.len()
}
