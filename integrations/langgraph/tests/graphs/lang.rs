//! `langgraph`.

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::StreamExt;
use langgraph::{
    channels::{BinaryOperatorAggregate, Channel, LastValue},
    checkpoint::{
        BaseCheckpointSaver, ChannelVersions, Checkpoint, CheckpointMetadata, CheckpointTuple, InMemorySaver,
        config::RunnableConfig, error::CheckpointError,
    },
    constants::{END, START},
    graph::{CompiledStateGraph, StateGraph},
    prebuilt::{
        BaseChatModel, ClosureTool, LlmUsage, Message, MessageStream, ModelError, ToolCall, ToolDef,
        ToolError, ToolNode, create_react_agent, tools_condition,
    },
    runnable::{IntoNodeFunction, NodeFn1, RoutingFn, Runnable, RunnableError, SyncNodeFn},
    types::{Command, GraphInterrupt, Interrupt, StreamMode, interrupt},
};
use pandaprobe_core::{SpanKind, span as open_span, testing::capture};
use pandaprobe_langgraph::LangGraphHandler;
use serde_json::{Value, json};

use crate::kit::{Fault, one, span};

/// A node that asks a human.
pub(crate) fn asks(_: &Value) -> Result<Value, RunnableError> {
    match interrupt(json!("ok?")) {
        Ok(answer) => Ok(json!({"x": answer})),
        Err(waits) => Err(RunnableError::Interrupt(waits.into())),
    }
}

/// Asks for a tool, and answers once it has its result.
#[derive(Clone, Default)]
pub(crate) struct Scripted {
    pub(crate) fails: bool,
}

#[async_trait]
impl BaseChatModel for Scripted {
    fn name(&self) -> &str {
        "scripted-1"
    }

    fn invoke(&self, messages: &[Message], _: &RunnableConfig) -> Result<Message, ModelError> {
        if self.fails {
            return Err(ModelError::Invocation("boom".into()));
        }
        open_span("http").run(|_| ());
        match messages.last() {
            Some(Message::Human { .. }) => Ok(Message::ai_with_tool_calls_and_usage(
                "",
                vec![ToolCall {
                    name: "get_weather".into(),
                    args: json!({"city": "Paris"}),
                    id: Some("c1".into()),
                }],
                LlmUsage { prompt_tokens: 10, completion_tokens: 5, total_tokens: 15, ..LlmUsage::default() },
            )),
            Some(Message::Tool { .. }) => Ok(Message::ai_with_thinking("It is sunny.", "easy")),
            _ => Err(ModelError::Invocation("no question".into())),
        }
    }

    async fn ainvoke(&self, messages: &[Message], config: &RunnableConfig) -> Result<Message, ModelError> {
        tokio::task::yield_now().await;
        self.invoke(messages, config)
    }

    fn astream<'a>(&'a self, messages: &'a [Message], config: &'a RunnableConfig) -> MessageStream<'a> {
        let whole = self.invoke(messages, config);
        let pieces = match &whole {
            Ok(whole) => vec![Ok(Message::ai("")), Ok(Message::ai("It"))]
                .into_iter()
                .chain([Ok(whole.clone())])
                .collect(),
            Err(_) => vec![whole],
        };
        Box::pin(futures_util::stream::iter(pieces))
    }

    fn bind_tools(&self, _: Vec<ToolDef>) -> Box<dyn BaseChatModel> {
        Box::new(self.clone())
    }
}

pub(crate) fn weather() -> Arc<ClosureTool> {
    Arc::new(ClosureTool::new("get_weather", "weather", |args| {
        open_span("lookup").run(|_| ());
        match args["city"].as_str() {
            Some("Paris") => Ok(json!("Paris: sunny")),
            _ => Err(ToolError::Execution("no such city".into())),
        }
    }))
}

fn nowhere() -> Arc<ClosureTool> {
    let fails = |_: &Value| Err(ToolError::Execution("no such city".into()));
    Arc::new(ClosureTool::new("get_weather", "weather", fails))
}

fn messages() -> HashMap<String, Box<dyn Channel>> {
    let add = |old: &Value, new: &Value| langgraph::prebuilt::add_messages(old.clone(), new.clone());
    let channel: Box<dyn Channel> = Box::new(BinaryOperatorAggregate::new("messages", add));
    HashMap::from([("messages".to_owned(), channel)])
}

pub(crate) fn values(names: &[&str]) -> HashMap<String, Box<dyn Channel>> {
    let channel = |name: &&str| ((*name).to_owned(), Box::new(LastValue::new(*name)) as Box<dyn Channel>);
    names.iter().map(channel).collect()
}

pub(crate) fn thread(id: &str) -> RunnableConfig {
    HashMap::from([("configurable".to_owned(), json!({"thread_id": id}))])
}

pub(crate) fn question() -> Value {
    json!({"messages": [{"type": "human", "content": "weather in Paris?"}]})
}

fn react(handler: &LangGraphHandler) -> CompiledStateGraph {
    react_with(handler, Fault::None)
}

pub(crate) fn react_with(handler: &LangGraphHandler, fault: Fault) -> CompiledStateGraph {
    let model = handler.model(Arc::new(Scripted { fails: fault == Fault::Model }));
    let tool = if fault == Fault::Tool { nowhere() } else { weather() };
    let tools: Arc<dyn Runnable> = match fault {
        Fault::Node => {
            NodeFn1(|_: &Value| Err(RunnableError::Node("node exploded".into()))).into_runnable("tools")
        }
        _ => Arc::new(ToolNode::new(vec![handler.tool(tool)])),
    };
    let agent = move |input: Value, config: RunnableConfig| {
        let model = Arc::clone(&model);
        async move {
            let asked: Vec<Message> = serde_json::from_value(input["messages"].clone()).unwrap();
            let said =
                model.ainvoke(&asked, &config).await.map_err(|e| RunnableError::Node(e.to_string()))?;
            Ok(json!({"messages": [said]}))
        }
    };
    let mut graph = StateGraph::new(messages());
    graph.add_node("agent", handler.node(agent)).unwrap();
    graph.add_node("tools", handler.node(tools)).unwrap();
    graph.add_edge(START, "agent").unwrap();
    graph.add_conditional_edges("agent", handler.edge(RoutingFn(tools_condition)), None).unwrap();
    graph.add_edge("tools", "agent").unwrap();
    graph.compile().unwrap()
}

const REACT: &str = "\
└─ CHAIN LangGraph OK
   ├─ AGENT agent OK
   │  ├─ LLM scripted-1 scripted-1 10→5 tokens OK
   │  │  └─ OTHER http OK
   │  └─ AGENT route OK
   ├─ AGENT tools OK
   │  └─ TOOL get_weather OK
   │     └─ OTHER lookup OK
   └─ AGENT agent OK
      ├─ LLM scripted-1 scripted-1 OK
      │  └─ OTHER http OK
      └─ AGENT route OK
";

#[tokio::test(flavor = "multi_thread")]
async fn a_react_graph_has_its_nodes_edges_models_and_tools() {
    let captured = capture(|| async {
        let graph = react(&LangGraphHandler::new());
        let handler = LangGraphHandler::new().user_id("ada");
        handler.ainvoke(&graph, &question(), &thread("thread-1")).await.unwrap()
    })
    .await;
    assert_eq!(captured.output["messages"].as_array().unwrap().len(), 4);
    captured.assert_tree(&format!("LangGraph COMPLETED session=thread-1 user=ada\n{REACT}"));
    let trace = one(&captured);
    assert_eq!(trace.input, Some(json!({"messages": [{"role": "user", "content": "weather in Paris?"}]})));
    assert_eq!(
        trace.output,
        Some(json!({"messages": [{"role": "assistant", "content": "It is sunny.", "thinking": "easy"}]}))
    );
    assert_eq!(span(trace, "get_weather").input, Some(json!({"city": "Paris"})));
    assert_eq!(span(trace, "get_weather").output, Some(json!("Paris: sunny")));
    let mut models: Vec<_> = trace.spans.iter().filter(|span| span.kind == SpanKind::Llm).collect();
    models.sort_by_key(|span| span.started_at);
    let call = json!({"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": "{\"city\":\"Paris\"}"}});
    assert_eq!(models[0].output.as_ref().unwrap()["messages"][0]["tool_calls"], json!([call]));
    assert_eq!(models[1].input.as_ref().unwrap()["messages"][1]["tool_calls"], json!([call]));
    assert_eq!(models[1].metadata["reasoning_summary"], "easy");
    assert_eq!(models[0].token_usage.as_ref().unwrap().total_tokens, Some(15));
    let routes: Vec<_> = trace.spans.iter().filter(|span| span.name == "route").collect();
    assert!(routes.iter().any(|route| route.output == Some(json!("tools"))));
    assert_eq!(captured.reports.len(), 0, "{:?}", captured.reports);
}

#[tokio::test(flavor = "multi_thread")]
async fn streaming_records_what_ainvoke_records_though_the_runtime_spawns() {
    let captured = capture(|| async {
        let graph = react(&LangGraphHandler::new());
        let handler = LangGraphHandler::new();
        // In a scope, which the task of the runtime does not have.
        let run = async {
            let modes = vec![StreamMode::Values, StreamMode::Tasks];
            let mut parts = handler.astream(&graph, &question(), &thread("t"), modes);
            while parts.next().await.is_some() {}
        };
        pandaprobe_core::user("ada").scope(run).await;
    })
    .await;
    captured.assert_tree(&format!("LangGraph COMPLETED session=t user=ada\n{REACT}"));
    let output = json!({"messages": [{"role": "assistant", "content": "It is sunny.", "thinking": "easy"}]});
    assert_eq!(one(&captured).output, Some(output));
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_of_graphs_with_a_saver_need_a_wrapped_one() {
    let graph = |handler: &LangGraphHandler, wrapped: bool| {
        let saver: Arc<dyn langgraph::checkpoint::BaseCheckpointSaver> = Arc::new(InMemorySaver::new());
        let mut graph = StateGraph::new(values(&["x"]));
        for name in ["a", "b"] {
            graph.add_node(name, handler.node(NodeFn1(move |_: &Value| Ok(json!({"x": name}))))).unwrap();
        }
        graph.add_edge(START, "a").unwrap().add_edge("a", "b").unwrap().add_edge("b", END).unwrap();
        let saver = if wrapped { handler.saver(saver) } else { saver };
        graph.compile_builder().checkpointer(saver).build().unwrap()
    };
    let captured = capture(|| async {
        // Named, because the task of the runtime is in no scope.
        let handler = LangGraphHandler::new().client(pandaprobe_core::current_client().unwrap());
        for wrapped in [true, false] {
            let handler = handler.clone().run_name(if wrapped { "wrapped" } else { "plain" });
            let graph = graph(&handler, wrapped);
            let mut parts =
                handler.astream(&graph, &json!({"x": ""}), &thread("t"), vec![StreamMode::Values]);
            while parts.next().await.is_some() {}
        }
    })
    .await;
    let wrapped = captured.trace("wrapped");
    let names: Vec<_> = wrapped.spans.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["wrapped", "a", "b"]);
    let root = span(wrapped, "wrapped");
    assert_eq!(root.metadata["checkpoints"], 2);
    assert!(root.metadata["checkpoint_id"].is_string());
    assert_eq!(captured.trace("plain").spans.len(), 2, "{}", captured.tree());
    captured.trace("b");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prebuilt_agent_has_its_models_and_tools() {
    let captured = capture(|| async {
        let handler = LangGraphHandler::new();
        let agent = create_react_agent(
            handler.model(Arc::new(Scripted::default())),
            vec![handler.tool(weather())],
            None,
        )
        .unwrap();
        let handler = handler.user_id("ada").run_name("weather");
        handler.ainvoke_agent(&agent, &question(), &thread("t")).await.unwrap()
    })
    .await;
    captured.assert_tree(
        "weather COMPLETED session=t user=ada\n\
         └─ CHAIN weather OK\n\
         \u{20}  ├─ LLM scripted-1 scripted-1 10→5 tokens OK\n\
         \u{20}  │  └─ OTHER http OK\n\
         \u{20}  ├─ TOOL get_weather OK\n\
         \u{20}  │  └─ OTHER lookup OK\n\
         \u{20}  └─ LLM scripted-1 scripted-1 OK\n\
         \u{20}     └─ OTHER http OK\n",
    );
    let models = one(&captured).spans.iter().filter(|span| span.kind == SpanKind::Llm);
    for model in models {
        assert_eq!(model.metadata["tools"][0]["name"], "get_weather");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn branches_and_a_subgraph() {
    let captured = capture(|| async {
        let handler = LangGraphHandler::new();
        let mut inner = StateGraph::new(values(&["x", "y", "z"]));
        inner.add_node("inner", handler.node(NodeFn1(|_: &Value| Ok(json!({"z": 3}))))).unwrap();
        inner.add_edge(START, "inner").unwrap().add_edge("inner", END).unwrap();
        let inner: Arc<dyn Runnable> = Arc::new(inner.compile().unwrap());
        let mut graph = StateGraph::new(values(&["x", "y", "z"]));
        graph.add_node("p1", handler.node(NodeFn1(|_: &Value| Ok(json!({"x": 1}))))).unwrap();
        graph
            .add_node("p2", handler.node(SyncNodeFn(|_: &Value, _: &RunnableConfig| Ok(json!({"y": 2})))))
            .unwrap();
        graph.add_node("subgraph", handler.node(inner)).unwrap();
        graph.add_edge(START, "p1").unwrap().add_edge(START, "p2").unwrap();
        graph.add_join_edge(vec!["p1".into(), "p2".into()], "subgraph").unwrap();
        graph.add_edge("subgraph", END).unwrap();
        let graph = graph.compile_builder().name("named").build().unwrap();
        handler.ainvoke(&graph, &json!({"x": 0}), &thread("t")).await.unwrap();
        let mut config = thread("t");
        config.insert("run_name".into(), json!("custom run name"));
        let mut parts = handler.astream(&graph, &json!({"x": 0}), &config, vec![]);
        while parts.next().await.is_some() {}
    })
    .await;
    for name in ["named", "custom run name"] {
        let trace = captured.trace(name);
        let parent = |of: &str| {
            let parent = span(trace, of).parent_span_id;
            trace.spans.iter().find(|span| Some(span.span_id) == parent).map(|span| span.name.clone())
        };
        assert_eq!(trace.spans.len(), 5);
        assert_eq!(parent("p1").as_deref(), Some(name));
        assert_eq!(parent("p2").as_deref(), Some(name));
        assert_eq!(parent("subgraph").as_deref(), Some(name));
        assert_eq!(parent("inner").as_deref(), Some("subgraph"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_of_nodes_models_and_tools() {
    let captured = capture(|| async {
        let handler = LangGraphHandler::new();
        let mut graph = StateGraph::new(values(&["x"]));
        let fails = |_: &Value| Err(RunnableError::Node("node exploded".into()));
        graph.add_node("n", handler.node(NodeFn1(fails))).unwrap().add_edge(START, "n").unwrap();
        let graph = graph.compile().unwrap();
        handler.ainvoke(&graph, &json!({"x": 1}), &thread("t")).await.unwrap_err();
        let streamed = handler.clone().run_name("streamed");
        let mut parts = streamed.astream(&graph, &json!({"x": 1}), &thread("t"), vec![]);
        while parts.next().await.is_some() {}
        drop(parts);
        let model = handler.clone().run_name("model");
        model.ainvoke(&react(&handler), &json!({"messages": []}), &thread("t")).await.unwrap_err();
        let ask = Message::ai_with_tool_calls(
            "",
            vec![ToolCall { name: "get_weather".into(), args: json!({"city": "Nowhere"}), id: None }],
        );
        let mut graph = StateGraph::new(messages());
        let tools: Arc<dyn Runnable> = Arc::new(ToolNode::new(vec![handler.tool(weather())]));
        graph.add_node("tools", handler.node(tools)).unwrap().add_edge(START, "tools").unwrap();
        let tool = handler.clone().run_name("tool");
        let graph = graph.compile().unwrap();
        tool.ainvoke(&graph, &json!({"messages": [ask]}), &thread("t")).await.unwrap();
    })
    .await;
    let failed = |name: &str| {
        format!(
            "{name} ERROR session=t\n\
             └─ CHAIN {name} ERROR: runner error: task 'n' failed: node error: node exploded\n\
             \u{20}  └─ AGENT n ERROR: node error: node exploded\n"
        )
    };
    captured.assert_tree(&format!(
        "{}{}\
         model ERROR session=t\n\
         └─ CHAIN model ERROR: runner error: task 'agent' failed: node error: model invocation error: no question\n\
         \u{20}  └─ AGENT agent ERROR: node error: model invocation error: no question\n\
         \u{20}     └─ LLM scripted-1 scripted-1 ERROR: model invocation error: no question\n\
         \u{20}        └─ OTHER http OK\n\
         tool COMPLETED session=t\n\
         └─ CHAIN tool OK\n\
         \u{20}  └─ AGENT tools OK\n\
         \u{20}     └─ TOOL get_weather ERROR: tool execution error: no such city\n\
         \u{20}        └─ OTHER lookup OK\n",
        failed("LangGraph"),
        failed("streamed"),
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_is_no_error_and_its_resume_names_the_first_run() {
    let captured = capture(|| async {
        let handler = LangGraphHandler::new();
        let mut graph = StateGraph::new(values(&["x"]));
        let ask = |_: &Value| match interrupt(json!({"question": "ok?"})) {
            Ok(answer) => Ok(json!({"x": answer})),
            Err(waits) => Err(RunnableError::Interrupt(waits.into())),
        };
        graph.add_node("ask", handler.node(NodeFn1(ask))).unwrap();
        graph.add_edge(START, "ask").unwrap().add_edge("ask", END).unwrap();
        let saver = handler.saver(Arc::new(InMemorySaver::new()));
        let graph = graph.compile_builder().checkpointer(saver).build().unwrap();
        handler.ainvoke(&graph, &json!({"x": "a"}), &thread("t")).await.unwrap();
        let resume = serde_json::to_value(Command::resume(json!("yes"))).unwrap();
        let resumed = handler.ainvoke(&graph, &resume, &thread("t")).await.unwrap();
        assert_eq!(resumed["x"], "yes");
        handler.ainvoke(&graph, &json!({"x": "new"}), &thread("another")).await.unwrap();
    })
    .await;
    let run = "└─ CHAIN LangGraph OK\n   └─ AGENT ask OK\n";
    captured.assert_tree(&format!(
        "LangGraph COMPLETED session=t\n{run}LangGraph COMPLETED session=t\n{run}LangGraph COMPLETED session=another\n{run}"
    ));
    let [first, resumed, other] = captured.traces.as_slice() else { panic!() };
    assert_eq!(span(first, "LangGraph").metadata["interrupts"], json!([{"question": "ok?"}]));
    assert_eq!(span(first, "ask").metadata["interrupt"], json!({"question": "ok?"}));
    assert_eq!(resumed.metadata["pandaprobe.resumes_trace_id"], json!(first.trace_id.to_string()));
    assert!(!span(resumed, "LangGraph").metadata.contains_key("interrupts"));
    assert!(!other.metadata.contains_key("pandaprobe.resumes_trace_id"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_that_asks_a_human_makes_the_run_wait() {
    let captured = capture(|| async {
        let handler = LangGraphHandler::new();
        let ask = ClosureTool::new("ask_human", "", |_| {
            let interrupt = Interrupt { value: json!("sure?"), id: "1".into() };
            Err(ToolError::Interrupt(GraphInterrupt { interrupts: vec![interrupt] }))
        });
        struct Asks;
        #[async_trait]
        impl BaseChatModel for Asks {
            fn name(&self) -> &str {
                "asks"
            }
            fn invoke(&self, _: &[Message], _: &RunnableConfig) -> Result<Message, ModelError> {
                let call = ToolCall { name: "ask_human".into(), args: json!({}), id: Some("c".into()) };
                Ok(Message::ai_with_tool_calls("", vec![call]))
            }
            fn bind_tools(&self, _: Vec<ToolDef>) -> Box<dyn BaseChatModel> {
                Box::new(Asks)
            }
        }
        let agent =
            create_react_agent(handler.model(Arc::new(Asks)), vec![handler.tool(Arc::new(ask))], None)
                .unwrap();
        handler.ainvoke_agent(&agent, &question(), &thread("t")).await.unwrap();
    })
    .await;
    captured.assert_tree(
        "LangGraph COMPLETED session=t\n\
         └─ CHAIN LangGraph OK\n\
         \u{20}  ├─ LLM asks asks OK\n\
         \u{20}  └─ TOOL ask_human OK\n",
    );
    assert_eq!(span(one(&captured), "LangGraph").metadata["interrupts"], json!(["sure?"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_abandoned_stream_still_does_is_in_its_trace() {
    let captured = capture(|| async {
        let handler = LangGraphHandler::new().user_id("ada");
        let mut graph = StateGraph::new(values(&["x"]));
        for name in ["n1", "n2"] {
            let node = move |_: Value, _: RunnableConfig| async move {
                tokio::time::sleep(Duration::from_millis(30)).await;
                Ok(json!({"x": name}))
            };
            graph.add_node(name, handler.node(node)).unwrap();
        }
        graph.add_edge(START, "n1").unwrap().add_edge("n1", "n2").unwrap();
        let graph = graph.compile().unwrap();
        let mut parts = handler.astream(&graph, &json!({"x": ""}), &thread("t"), vec![StreamMode::Updates]);
        parts.next().await.unwrap();
        drop(parts);
        tokio::time::sleep(Duration::from_millis(100)).await;
        let run = handler.clone().run_name("cancelled");
        let (input, config) = (json!({"x": ""}), thread("t"));
        let run = run.ainvoke(&graph, &input, &config);
        tokio::time::timeout(Duration::from_millis(10), run).await.unwrap_err();
    })
    .await;
    captured.assert_tree(
        "LangGraph COMPLETED session=t user=ada\n\
         └─ CHAIN LangGraph OK (stopped_by_reader)\n\
         \u{20}  ├─ AGENT n1 OK\n\
         \u{20}  └─ AGENT n2 OK\n\
         cancelled ERROR session=t user=ada\n\
         └─ CHAIN cancelled ERROR: cancelled (cancelled)\n\
         \u{20}  └─ AGENT n1 ERROR: cancelled (cancelled)\n",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn models_are_traced_also_outside_of_graphs_blocking_and_streamed() {
    let captured = capture(|| async {
        let handler = LangGraphHandler::new().user_id("ada");
        // Twice wrapped, once recorded.
        let model = handler.model(handler.model(Arc::new(Scripted::default())));
        let (asked, config) = ([Message::human("q")], RunnableConfig::new());
        model.invoke(&asked, &config).unwrap();
        model.ainvoke(&asked, &config).await.unwrap();
        let whole: Vec<_> = model.astream(&asked, &config).collect().await;
        assert_eq!(whole.len(), 3);
        let mut left = model.astream(&asked, &config);
        left.next().await.unwrap().unwrap();
        left.next().await.unwrap().unwrap();
        drop(left);
        let failed: Vec<_> = model.astream(&[], &config).collect().await;
        assert!(failed[0].is_err());
    })
    .await;
    let trace = |how: &str| {
        format!("scripted-1 COMPLETED user=ada\n└─ LLM scripted-1 scripted-1 {how}\n   └─ OTHER http OK\n")
    };
    let whole = trace("10→5 tokens OK");
    captured.assert_tree(&format!(
        "{whole}{whole}{whole}{}scripted-1 ERROR user=ada\n\
         └─ LLM scripted-1 scripted-1 ERROR: model invocation error: no question\n   └─ OTHER http OK\n",
        trace("OK (stopped_by_reader)")
    ));
    let streamed = span(&captured.traces[2], "scripted-1");
    assert!(streamed.completion_start_time.is_some());
    let left = span(&captured.traces[3], "scripted-1");
    assert_eq!(left.output, Some(json!({"messages": [{"role": "assistant", "content": "It"}]})));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_wrapped_twice_is_recorded_once() {
    let captured = capture(|| async {
        let handler = LangGraphHandler::new();
        let node = NodeFn1(|_: &Value| Ok(json!({"x": 1})));
        let mut graph = StateGraph::new(values(&["x"]));
        graph.add_node("n", handler.node(handler.node(node))).unwrap().add_edge(START, "n").unwrap();
        handler.ainvoke(&graph.compile().unwrap(), &json!({"x": 0}), &thread("t")).await.unwrap();
    })
    .await;
    captured.assert_tree("LangGraph COMPLETED session=t\n└─ CHAIN LangGraph OK\n   └─ AGENT n OK\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_configuration_that_nodes_get_has_one_key_more_and_a_stale_one_leads_nowhere() {
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let captured = capture(|| async {
        let handler = LangGraphHandler::new();
        let kept = Arc::clone(&seen);
        let node = move |_: Value, config: RunnableConfig| {
            kept.lock().unwrap().push(config);
            async { Ok(json!({"x": 1})) }
        };
        let mut graph = StateGraph::new(values(&["x"]));
        graph.add_node("n", handler.node(node)).unwrap().add_edge(START, "n").unwrap();
        let graph = graph.compile().unwrap();
        let mut config = thread("t");
        config.get_mut("configurable").unwrap()["mine"] = json!(7);
        handler.ainvoke(&graph, &json!({"x": 0}), &config).await.unwrap();
        let kept = seen.lock().unwrap()[0].clone();
        // Of a run that is over.
        graph.ainvoke(&json!({"x": 0}), &kept).await.unwrap();
    })
    .await;
    let configurable = seen.lock().unwrap()[0]["configurable"].clone();
    assert_eq!(configurable["mine"], 7);
    assert!(configurable["pandaprobe"].is_string());
    captured.assert_tree(
        "LangGraph COMPLETED session=t\n└─ CHAIN LangGraph OK\n   └─ AGENT n OK\nn COMPLETED\n└─ AGENT n OK\n",
    );
    let _: Arc<dyn Runnable> =
        LangGraphHandler::new().node(NodeFn1(|_: &Value| Ok(json!({})))).into_runnable("n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_panics_in_a_stream_fails_the_run_though_the_runtime_tells_nobody() {
    let captured = capture(|| async {
        let handler = LangGraphHandler::new();
        let mut graph = StateGraph::new(values(&["x"]));
        let panics = handler.node(NodeFn1(|_: &Value| panic!("too early")));
        graph.add_node("n", panics).unwrap().add_edge(START, "n").unwrap();
        let mut parts = handler.astream(&graph.compile().unwrap(), &json!({"x": 0}), &thread("t"), vec![]);
        while parts.next().await.is_some() {}
    })
    .await;
    captured.assert_tree(
        "LangGraph ERROR session=t\n\
         └─ CHAIN LangGraph ERROR: panicked: too early\n\
         \u{20}  └─ AGENT n ERROR: panicked: too early\n",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_left_at_an_interrupt_is_resumed_as_that() {
    let captured = capture(|| async {
        let handler = LangGraphHandler::new();
        let mut graph = StateGraph::new(values(&["x"]));
        graph.add_node("ask", handler.node(NodeFn1(asks))).unwrap().add_edge(START, "ask").unwrap();
        let saver = handler.saver(Arc::new(InMemorySaver::new()));
        let graph = graph.compile_builder().checkpointer(saver).build().unwrap();
        let mut parts = handler.astream(&graph, &json!({"x": "a"}), &thread("t"), vec![StreamMode::Values]);
        parts.next().await.unwrap();
        drop(parts);
        let resume = serde_json::to_value(Command::resume(json!("yes"))).unwrap();
        handler.ainvoke(&graph, &resume, &thread("t")).await.unwrap();
    })
    .await;
    let [first, resumed] = captured.traces.as_slice() else { panic!("{}", captured.tree()) };
    assert_eq!(span(first, "LangGraph").metadata["interrupts"], json!(["ok?"]));
    assert_eq!(resumed.metadata["pandaprobe.resumes_trace_id"], json!(first.trace_id.to_string()));
}

/// Keeps what it is asked with.
struct Listening(InMemorySaver, std::sync::Mutex<Vec<RunnableConfig>>);

#[async_trait]
impl BaseCheckpointSaver for Listening {
    fn get_tuple(&self, config: &RunnableConfig) -> Result<Option<CheckpointTuple>, CheckpointError> {
        self.1.lock().unwrap().push(config.clone());
        self.0.get_tuple(config)
    }

    fn list(
        &self,
        config: Option<&RunnableConfig>,
        filter: Option<&HashMap<String, Value>>,
        before: Option<&RunnableConfig>,
        limit: Option<usize>,
    ) -> Result<Vec<CheckpointTuple>, CheckpointError> {
        self.1.lock().unwrap().extend(config.cloned());
        self.0.list(config, filter, before, limit)
    }

    fn put(
        &self,
        config: &RunnableConfig,
        checkpoint: &Checkpoint,
        metadata: &CheckpointMetadata,
        versions: &ChannelVersions,
    ) -> Result<RunnableConfig, CheckpointError> {
        self.1.lock().unwrap().push(config.clone());
        self.0.put(config, checkpoint, metadata, versions)?;
        // As a saver may that keeps what it is given.
        Ok(config.clone())
    }

    fn put_writes(
        &self,
        config: &RunnableConfig,
        writes: &[(String, String, Value)],
        task_id: &str,
        task_path: &str,
    ) -> Result<(), CheckpointError> {
        self.1.lock().unwrap().push(config.clone());
        self.0.put_writes(config, writes, task_id, task_path)
    }

    fn delete_thread(&self, thread_id: &str) -> Result<(), CheckpointError> {
        self.0.delete_thread(thread_id)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrapped_saver_is_asked_as_without_tracing() {
    let saver = Arc::new(Listening(InMemorySaver::new(), std::sync::Mutex::default()));
    let captured = capture(|| async {
        let handler = LangGraphHandler::new();
        let mut graph = StateGraph::new(values(&["x"]));
        graph.add_node("a", handler.node(NodeFn1(|_: &Value| Ok(json!({"x": 1}))))).unwrap();
        graph.add_node("ask", handler.node(NodeFn1(asks))).unwrap();
        graph.add_edge(START, "a").unwrap().add_edge("a", "ask").unwrap();
        let wrapped = handler.saver(Arc::clone(&saver) as _);
        let graph = graph.compile_builder().checkpointer(wrapped).build().unwrap();
        let mut parts = handler.astream(&graph, &json!({"x": 0}), &thread("t"), vec![]);
        while parts.next().await.is_some() {}
    })
    .await;
    assert_eq!(one(&captured).spans.len(), 3);
    let asked = saver.1.lock().unwrap();
    assert!(asked.len() >= 4);
    assert!(asked.iter().all(|config| config["configurable"].get("pandaprobe").is_none()), "{asked:?}");
}
