//! What other integrations record in a node is below it.

use std::sync::Arc;

use adk_core::{Agent, AgentInvoker, Content, Event, EventStream, InvocationContext};
use adk_graph::{
    END, ExecutionConfig, GraphError, NodeOutput, START, State, StateGraph, agent::GraphAgent,
    node::AgentNode,
};
use adk_runner::Runner;
use adk_session::InMemorySessionService;
use async_openai::{Client, config::OpenAIConfig};
use futures_util::TryStreamExt;
use pandaprobe_adk::AdkHandler;
use pandaprobe_core::{span, testing::capture};
use pandaprobe_langgraph::LangGraphHandler;
use pandaprobe_openai::OpenAiHandler;
use pandaprobe_rig::{BuildTraced, RigHandler};
use pandaprobe_tests::provider::{Exchange, Provider};
use rig::{
    prelude::*,
    test_utils::{MockCompletionModel, MockTurn},
};
use serde_json::{Value, json};

/// An agent of adk-rust that says what it always says.
struct Says;

#[async_trait::async_trait]
impl Agent for Says {
    fn name(&self) -> &str {
        "says"
    }

    fn description(&self) -> &str {
        ""
    }

    fn sub_agents(&self) -> &[Arc<dyn Agent>] {
        &[]
    }

    async fn run(&self, context: Arc<dyn InvocationContext>) -> adk_core::Result<EventStream> {
        span("inside").scope(tokio::task::yield_now()).await;
        let mut event = Event::new(context.invocation_id());
        event.set_content(Content::new("model").with_text("yes"));
        Ok(Box::pin(futures_util::stream::iter([Ok(event)])))
    }
}

fn failed(error: impl ToString) -> GraphError {
    GraphError::Other(error.to_string())
}

#[tokio::test]
async fn clients_agents_and_spans_inside_of_nodes() {
    let provider = Provider::start_with(|_, _| {
        let message = json!({"role": "assistant", "content": "hi"});
        let choices = json!([{"index": 0, "message": message, "finish_reason": "stop"}]);
        Exchange::json(
            200,
            json!({"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": choices}),
        )
    });
    let config = OpenAIConfig::new().with_api_base(format!("{}/v1", provider.url())).with_api_key("key");
    let captured = capture(|| async {
        let openai = OpenAiHandler::new().wrap(Client::with_config(config));
        let agent = AgentBuilder::new(MockCompletionModel::from_turns([MockTurn::text("ok")]))
            .name("rig-agent")
            .build_traced(&RigHandler::new());
        let agent = Arc::new(agent);
        let graph = StateGraph::with_channels(&["messages"])
            .add_node_fn("openai", move |_| {
                let openai = openai.clone();
                async move {
                    let request = json!({"model": "m", "messages": [{"role": "user", "content": "q"}]});
                    let _: Value = openai.chat().create_byot(request).await.map_err(failed)?;
                    Ok(NodeOutput::new())
                }
            })
            .add_node_fn("rig", move |_| {
                let agent = Arc::clone(&agent);
                async move {
                    agent.prompt("q").await.map_err(failed)?;
                    Ok(NodeOutput::new())
                }
            })
            .add_node(AgentNode::new(AdkHandler::new().agent(Arc::new(Says))))
            .add_edge(START, "openai")
            .add_edge("openai", "rig")
            .add_edge("rig", "says")
            .add_edge("says", END);
        let handler = LangGraphHandler::new().user_id("ada");
        let graph = handler.graph(graph).compile().unwrap();
        handler.invoke(&graph, State::new(), ExecutionConfig::new("t")).await.unwrap();
    })
    .await;
    captured.assert_tree(
        "LangGraph COMPLETED session=t user=ada\n\
         └─ CHAIN LangGraph OK\n\
         \u{20}  ├─ AGENT openai OK\n\
         \u{20}  │  └─ LLM openai-chat m OK\n\
         \u{20}  ├─ AGENT rig OK\n\
         \u{20}  │  └─ AGENT rig-agent OK\n\
         \u{20}  │     └─ LLM chat mock-model OK\n\
         \u{20}  └─ AGENT says OK\n\
         \u{20}     └─ CHAIN graph_app OK\n\
         \u{20}        └─ AGENT says OK\n\
         \u{20}           └─ OTHER inside OK\n",
    );
}

#[tokio::test]
async fn a_graph_that_is_an_agent_of_adk_rust() {
    let captured = capture(|| async {
        let graph = StateGraph::with_channels(&["messages"])
            .add_node_fn("n", |_| async { Ok(NodeOutput::new()) })
            .add_edge(START, "n")
            .add_edge("n", END);
        let graph = LangGraphHandler::new().graph(graph).compile().unwrap();
        let handler = AdkHandler::new();
        let agent = handler.agent(Arc::new(GraphAgent::from_graph("graph", graph)));
        let runner = Runner::builder()
            .app_name("app")
            .agent(agent)
            .session_service(Arc::new(InMemorySessionService::new()))
            .build()
            .unwrap();
        let question = Content::new("user").with_text("q");
        let events = handler.runner(runner).invoke("ada", "s", question).await.unwrap();
        events.try_collect::<Vec<_>>().await.unwrap();
    })
    .await;
    captured.assert_tree(
        "app COMPLETED session=s user=ada\n\
         └─ CHAIN app OK\n\
         \u{20}  └─ AGENT graph OK\n\
         \u{20}     └─ AGENT n OK\n",
    );
}
