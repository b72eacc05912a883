//! A ReAct graph of langgraph: a model that asks for tools until it can answer, streamed step by step, for two users at once.
//!
//! All that PandaProbe needs: `init`, and the handler around nodes, edges, model, tools and runs.
#![expect(clippy::print_stdout, reason = "a conversation on the terminal is what this program is for")]

mod model;
mod tools;

use std::{error::Error, sync::Arc, time::Duration};

use futures_util::StreamExt;
use langgraph::{
    channels::BinaryOperatorAggregate,
    prebuilt::{BaseChatModel, BaseTool, Message, ToolNode, add_messages, tools_condition},
    prelude::*,
};
use model::OpenAi;
use pandaprobe::{Config, ConsoleExporter, LangGraphHandler};
use serde_json::json;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // With PANDAPROBE_API_KEY traces go to the backend, without it to the terminal and a store.
    let _guard = pandaprobe::init(Config::from_env_or((
        ConsoleExporter::default(),
        pandaprobe::local::exporter(".pandaprobe/traces.db"),
    ))?)?;
    stand_in_model::viewer_hint();

    let endpoint = stand_in_model::endpoint();
    let handler = LangGraphHandler::new();
    let graph = react(&handler, OpenAi::at(&endpoint))?;

    // One graph for all; a clone of the handler for each request.
    let ada = handler.clone().user_id("ada");
    ask(&ada, &graph, "trip-of-ada", "How is the weather in Lisbon, and is there a hotel under 120 euros?")
        .await?;
    let bob = handler.user_id("bob");
    ask(&bob, &graph, "trip-of-bob", "And a hotel in Atlantis?").await?;
    // Only so that the trees are printed before the program ends. A service does not wait for delivery.
    let _ = pandaprobe::flush_async(Duration::from_secs(2)).await;
    Ok(())
}

fn react(handler: &LangGraphHandler, model: OpenAi) -> Result<CompiledStateGraph, GraphError> {
    let tools: Vec<Arc<dyn BaseTool>> = tools::all().into_iter().map(|tool| handler.tool(tool)).collect();
    let model = handler.model(Arc::new(model));
    let model: Arc<dyn BaseChatModel> =
        Arc::from(model.bind_tools(tools.iter().map(|tool| tool.to_tool_def()).collect()));
    let agent = move |state: JsonValue, config: RunnableConfig| {
        let model = Arc::clone(&model);
        async move {
            let asked: Vec<Message> = serde_json::from_value(state["messages"].clone()).map_err(failed)?;
            let said = model.ainvoke(&asked, &config).await.map_err(failed)?;
            Ok(json!({"messages": [said]}))
        }
    };
    let tools: Arc<dyn Runnable> = Arc::new(ToolNode::new(tools));

    let add = |old: &JsonValue, new: &JsonValue| add_messages(old.clone(), new.clone());
    let messages: Box<dyn langgraph::channels::Channel> =
        Box::new(BinaryOperatorAggregate::new("messages", add));
    let mut graph = StateGraph::new([("messages".to_owned(), messages)].into());
    graph
        .add_node("agent", handler.node(agent))?
        .add_node("tools", handler.node(tools))?
        .add_edge(START, "agent")?
        .add_conditional_edges("agent", handler.edge(RoutingFn(tools_condition)), None)?
        .add_edge("tools", "agent")?;
    graph.compile()
}

fn failed(error: impl ToString) -> RunnableError {
    RunnableError::Node(error.to_string())
}

/// Prints each step as it is done.
async fn ask(
    handler: &LangGraphHandler,
    graph: &CompiledStateGraph,
    thread: &str,
    question: &str,
) -> Result<(), Box<dyn Error>> {
    println!("\n{thread}: {question}");
    let input = json!({"messages": [Message::human(question)]});
    let config = [("configurable".to_owned(), json!({"thread_id": thread}))].into();
    let mut parts = handler.astream(graph, &input, &config, vec![StreamMode::Updates]);
    while let Some(part) = parts.next().await {
        for (node, wrote) in part.data.as_object().into_iter().flatten() {
            for said in wrote["messages"].as_array().into_iter().flatten() {
                let said: Message = serde_json::from_value(said.clone())?;
                println!("  {node}: {said}");
            }
        }
    }
    Ok(())
}
