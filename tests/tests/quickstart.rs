//! The agent of the quickstart, as it stands there, without any scope or trace around it.

#![expect(clippy::print_stdout, reason = "the agent prints its conversation")]

#[path = "../../examples/quickstart/src/agent.rs"]
mod agent;
#[path = "../../examples/quickstart/src/tools.rs"]
mod tools;

use agent::Agent;
use async_openai::{Client, config::OpenAIConfig};
use pandaprobe::{OpenAiHandler, SpanKind, testing::capture};
use stand_in_model::{StandInModel, Travel};

#[tokio::test]
async fn without_any_scope_a_turn_is_one_trace() {
    let server = StandInModel::start(Travel).await.unwrap();
    let captured = capture(|| async {
        let config = OpenAIConfig::new().with_api_base(server.base_url()).with_api_key("none");
        let client = OpenAiHandler::new().wrap(Client::with_config(config));
        let mut agent = Agent::new(client, "gpt-4o-mini".to_owned());
        for question in [
            "How is the weather in Lisbon, and is there a hotel under 120 euros?",
            "Then I go on by train. What is the weather in Porto?",
        ] {
            agent.ask(question).await.unwrap();
        }
    })
    .await;
    println!("{}", captured.tree());
    let kinds = |kind: SpanKind| {
        captured
            .traces
            .iter()
            .map(|trace| trace.spans.iter().filter(|span| span.kind == kind).count())
            .collect()
    };
    let (chains, calls, tools): (Vec<usize>, Vec<usize>, Vec<usize>) =
        (kinds(SpanKind::Chain), kinds(SpanKind::Llm), kinds(SpanKind::Tool));
    assert_eq!((chains, calls, tools), (vec![1, 1], vec![2, 2], vec![2, 1]), "{}", captured.tree());
    for (trace, question) in captured.traces.iter().zip(["Lisbon", "Porto"]) {
        assert!(trace.input.as_ref().unwrap().to_string().contains(question));
        assert!(trace.output.as_ref().unwrap().to_string().contains("Here is what I found"));
    }
}
