//! What the runtimes do not let anybody see: each entry of the list is what happens.

use std::{sync::Arc, time::Duration};

use adk_graph::{
    END, ExecutionConfig, GraphError, NodeOutput, START, State, StateGraph, StreamMode,
    checkpoint::MemoryCheckpointer, subgraph::SubgraphNode,
};
use futures_util::StreamExt;
use graph_flow::{FanOutTask, FlowRunner, GraphBuilder, NextAction, Session, SessionStorage, TaskResult};
use langgraph::{
    checkpoint::{InMemorySaver, config::RunnableConfig},
    prebuilt::create_react_agent,
    runnable::{NodeFn1, RoutingFn, Runnable},
    types::{Command, StreamMode as Mode},
};
use pandaprobe_core::{
    TraceData,
    testing::{Captured, capture},
};
use pandaprobe_langgraph::{GAPS, LangGraphHandler};
use serde_json::{Value, json};

use crate::{
    flow::{does, says, stored},
    kit::{Fault, one, span},
    lang::{Scripted, asks, question, thread, values, weather},
};

/// A test for each entry, and the list of what was proved.
macro_rules! prove {
    ($($name:ident: $runtime:literal, $feature:literal => $proof:block)*) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $name() $proof
        )*

        #[test]
        fn every_gap_is_proved_and_in_the_documentation() {
            let listed: Vec<_> = GAPS.iter().map(|gap| (gap.runtime, gap.feature)).collect();
            assert_eq!(listed, [$(($runtime, $feature)),*]);
            let readme = include_str!("../../README.md");
            for gap in GAPS {
                let row = format!("| `{}` | {} | {} |", gap.runtime, gap.feature, gap.instead);
                assert!(readme.contains(&row), "the README lacks\n{row}");
            }
        }
    };
}

fn named(trace: &TraceData) -> Vec<&str> {
    trace.spans.iter().map(|span| span.name.as_str()).collect()
}

fn parent<'a>(trace: &'a TraceData, of: &str) -> Option<&'a str> {
    let parent = span(trace, of).parent_span_id;
    trace.spans.iter().find(|span| Some(span.span_id) == parent).map(|span| span.name.as_str())
}

/// Two nodes of `adk-graph`, one after the other.
fn two(handler: &LangGraphHandler, wrapped: bool) -> StateGraph {
    let graph = StateGraph::with_channels(&["x"])
        .add_node_fn("a", |_| async { Ok(NodeOutput::new().with_update("x", 1)) })
        .add_node_fn("b", |_| async { Ok(NodeOutput::new()) })
        .add_edge(START, "a")
        .add_edge("a", "b")
        .add_edge("b", END);
    if wrapped { handler.graph(graph) } else { graph }
}

async fn adk_run(graph: adk_graph::graph::CompiledGraph) -> Captured<Result<State, GraphError>> {
    capture(|| async {
        LangGraphHandler::new().invoke(&graph, State::new(), ExecutionConfig::new("t")).await
    })
    .await
}

/// A stream of `adk-graph` that is interrupted before its second node.
async fn adk_interrupted_stream() -> Captured<()> {
    capture(|| async {
        let handler = LangGraphHandler::new();
        let graph = two(&handler, true).compile().unwrap().with_interrupt_before(&["b"]);
        let graph = graph.with_checkpointer(MemoryCheckpointer::new());
        let mut stream = handler.stream(&graph, State::new(), ExecutionConfig::new("t"), StreamMode::Values);
        while stream.next().await.is_some() {}
    })
    .await
}

/// One node of `langgraph`, or several in a row.
fn row(handler: &LangGraphHandler, names: &[&'static str]) -> langgraph::graph::StateGraph {
    let mut graph = langgraph::graph::StateGraph::new(values(&["x"]));
    let mut before = "__start__";
    for name in names {
        let node = |_: Value, _: RunnableConfig| async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            Ok(json!({"x": 1}))
        };
        graph.add_node(*name, handler.node(node)).unwrap().add_edge(before, *name).unwrap();
        before = name;
    }
    graph
}

prove! {
    compiled_unwrapped: "adk-graph", "nodes of a graph that was compiled unwrapped" => {
        let captured = adk_run(two(&LangGraphHandler::new(), false).compile().unwrap()).await;
        assert_eq!(named(one(&captured)), ["LangGraph"]);
    }

    subgraph_span: "adk-graph", "a span for the graph inside of a `SubgraphNode`" => {
        let handler = LangGraphHandler::new();
        let inner = Arc::new(two(&handler, true).compile().unwrap());
        let graph = StateGraph::with_channels(&["x"])
            .add_node(SubgraphNode::new("subgraph", inner))
            .add_edge(START, "subgraph");
        let captured = adk_run(handler.graph(graph).compile().unwrap()).await;
        assert_eq!(named(one(&captured)), ["LangGraph", "subgraph", "a", "b"]);
        assert_eq!(parent(one(&captured), "a"), Some("subgraph"));
    }

    streamed_interrupt: "adk-graph", "the value of an interrupt in a stream, if no wrapped node asked for it" => {
        let captured = adk_interrupted_stream().await;
        let interrupts = &span(one(&captured), "LangGraph").metadata["interrupts"];
        assert_eq!(*interrupts, json!([{"node": "unknown", "message": "Interrupt before 'b'"}]));
    }

    interrupted_state: "adk-graph", "the state at an interrupt of a stream" => {
        let captured = adk_interrupted_stream().await;
        assert_eq!(span(one(&captured), "LangGraph").output, None);
    }

    error_text: "adk-graph", "the error of a node, on the run" => {
        let handler = LangGraphHandler::new();
        let graph = StateGraph::with_channels(&["x"])
            .add_node_fn("n", |_| async { Err(GraphError::Other("exploded".into())) })
            .add_edge(START, "n");
        let captured = adk_run(handler.graph(graph).compile().unwrap()).await;
        let error = |name: &str| span(one(&captured), name).error.clone().unwrap();
        assert_eq!((error("n").as_str(), error("LangGraph").as_str()), ("exploded", "Node 'n' execution failed: exploded"));
    }

    side_by_side: "langgraph", "nodes that run side by side" => {
        let captured = capture(|| async {
            let handler = LangGraphHandler::new();
            let mut graph = row(&handler, &["a"]);
            let node = |_: Value, _: RunnableConfig| async {
                tokio::time::sleep(Duration::from_millis(20)).await;
                Ok(json!({"x": 2}))
            };
            graph.add_node("b", handler.node(node)).unwrap().add_edge("__start__", "b").unwrap();
            handler.ainvoke(&graph.compile().unwrap(), &json!({"x": 0}), &thread("t")).await.unwrap();
        })
        .await;
        let (a, b) = (span(one(&captured), "a"), span(one(&captured), "b"));
        assert_eq!(a.metadata["langgraph_step"], b.metadata["langgraph_step"]);
        assert!(a.ended_at.unwrap() <= b.started_at || b.ended_at.unwrap() <= a.started_at);
    }

    prebuilt: "langgraph", "nodes of a prebuilt agent" => {
        let captured = capture(|| async {
            let handler = LangGraphHandler::new();
            let model = handler.model(Arc::new(Scripted::default()));
            let agent = create_react_agent(model, vec![handler.tool(weather())], None).unwrap();
            handler.ainvoke_agent(&agent, &question(), &thread("t")).await.unwrap();
        })
        .await;
        assert_eq!(parent(one(&captured), "get_weather"), Some("LangGraph"));
        assert!(!named(one(&captured)).contains(&"tools"));
    }

    gates: "langgraph", "`interrupt_before` and `interrupt_after`" => {
        let captured = capture(|| async {
            let handler = LangGraphHandler::new();
            let mut graph = row(&handler, &["a", "b"]);
            let before = graph.compile_builder().interrupt_before(vec!["b".into()]).build().unwrap();
            let after = graph.compile_builder().interrupt_after(vec!["a".into()]).build().unwrap();
            for graph in [before, after] {
                handler.ainvoke(&graph, &json!({"x": 0}), &thread("t")).await.unwrap();
            }
        })
        .await;
        for trace in &captured.traces {
            assert_eq!(named(trace), ["LangGraph", "a"]);
            assert!(!span(trace, "LangGraph").metadata.contains_key("interrupts"));
        }
    }

    inner_interrupt: "langgraph", "an interrupt inside of a subgraph, on the run" => {
        let captured = capture(|| async {
            let handler = LangGraphHandler::new();
            let mut inner = langgraph::graph::StateGraph::new(values(&["x"]));
            inner.add_node("ask", handler.node(NodeFn1(asks))).unwrap().add_edge("__start__", "ask").unwrap();
            let inner: Arc<dyn Runnable> = Arc::new(inner.compile().unwrap());
            let mut graph = langgraph::graph::StateGraph::new(values(&["x"]));
            graph.add_node("subgraph", handler.node(inner)).unwrap().add_edge("__start__", "subgraph").unwrap();
            graph.add_node("after", handler.node(NodeFn1(|_: &Value| Ok(json!({"x": 1}))))).unwrap();
            graph.add_edge("subgraph", "after").unwrap();
            handler.ainvoke(&graph.compile().unwrap(), &json!({"x": 0}), &thread("t")).await.unwrap();
        })
        .await;
        let trace = one(&captured);
        assert_eq!(span(trace, "ask").metadata["interrupt"], "ok?");
        assert!(!span(trace, "LangGraph").metadata.contains_key("interrupts"));
        assert!(named(trace).contains(&"after"));
    }

    asked_with: "langgraph", "the state that a conditional edge is asked about" => {
        let captured = capture(|| async {
            let handler = LangGraphHandler::new();
            let mut graph = langgraph::graph::StateGraph::new(values(&["x", "y"]));
            graph.add_node("n", handler.node(NodeFn1(|_: &Value| Ok(json!({"y": 2}))))).unwrap();
            graph.add_edge("__start__", "n").unwrap();
            graph.add_conditional_edges("n", handler.edge(RoutingFn(|_: &Value| "__end__".to_owned())), None).unwrap();
            handler.ainvoke(&graph.compile().unwrap(), &json!({"x": 0}), &thread("t")).await.unwrap();
        })
        .await;
        assert_eq!(span(one(&captured), "route").input, Some(json!({"y": 2})));
    }

    valueless: "langgraph", "what comes out of a stream without `Values`" => {
        let captured = capture(|| async {
            let handler = LangGraphHandler::new();
            let graph = row(&handler, &["a"]).compile().unwrap();
            let mut parts = handler.astream(&graph, &json!({"x": 0}), &thread("t"), vec![Mode::Updates]);
            while parts.next().await.is_some() {}
        })
        .await;
        assert_eq!(span(one(&captured), "LangGraph").output, None);
    }

    unwrapped_panic: "langgraph", "a panic of a node that is not wrapped, in a stream" => {
        let captured = capture(|| async {
            let mut graph = langgraph::graph::StateGraph::new(values(&["x"]));
            let panics = NodeFn1(|_: &Value| panic!("unseen"));
            graph.add_node("n", panics).unwrap().add_edge("__start__", "n").unwrap();
            let graph = graph.compile().unwrap();
            let mut parts = LangGraphHandler::new().astream(&graph, &json!({"x": 0}), &thread("t"), vec![]);
            while parts.next().await.is_some() {}
        })
        .await;
        captured.assert_tree("LangGraph COMPLETED session=t\n└─ CHAIN LangGraph OK\n");
    }

    left_stream: "langgraph", "the end of a stream that is left" => {
        let captured = capture(|| async {
            let handler = LangGraphHandler::new();
            let graph = row(&handler, &["a", "b"]).compile().unwrap();
            drop(handler.astream(&graph, &json!({"x": 0}), &thread("t"), vec![Mode::Values]));
            tokio::time::sleep(Duration::from_millis(200)).await;
        })
        .await;
        let trace = one(&captured);
        assert_eq!(named(trace), ["LangGraph", "a", "b"]);
        assert_eq!(span(trace, "LangGraph").metadata["pandaprobe.end"], "stopped_by_reader");
        assert!(span(trace, "b").ended_at > span(trace, "LangGraph").ended_at);
    }

    unwrapped_saver: "langgraph", "nodes of a stream after a checkpoint of an unwrapped saver" => {
        let captured = capture(|| async {
            let handler = LangGraphHandler::new().client(pandaprobe_core::current_client().unwrap());
            let mut graph = row(&handler, &["a", "b"]);
            let graph = graph.compile_builder().checkpointer(Arc::new(InMemorySaver::new())).build().unwrap();
            let mut parts = handler.user_id("ada").astream(&graph, &json!({"x": 0}), &thread("t"), vec![]);
            while parts.next().await.is_some() {}
        })
        .await;
        assert_eq!(named(captured.trace("LangGraph")), ["LangGraph", "a"]);
        assert_eq!(captured.trace("b").user_id, None);
    }

    lang_resume: "langgraph", "a resume in another process" => {
        let captured = capture(|| async {
            let saver = Arc::new(InMemorySaver::new());
            let resume = serde_json::to_value(Command::resume(json!("yes"))).unwrap();
            for input in [json!({"x": 0}), resume] {
                let handler = LangGraphHandler::new();
                let mut graph = langgraph::graph::StateGraph::new(values(&["x"]));
                graph.add_node("ask", handler.node(NodeFn1(asks))).unwrap().add_edge("__start__", "ask").unwrap();
                let graph = graph.compile_builder().checkpointer(handler.saver(Arc::clone(&saver) as _)).build().unwrap();
                handler.ainvoke(&graph, &input, &thread("t")).await.unwrap();
            }
        })
        .await;
        assert_eq!(captured.traces.len(), 2);
        assert_eq!(span(&captured.traces[1], "ask").output, Some(json!({"x": "yes"})));
        assert!(!captured.traces[1].metadata.contains_key("pandaprobe.resumes_trace_id"));
    }

    conditions: "graph-flow", "conditional edges" => {
        let captured = flow_run(|handler| {
            GraphBuilder::new("g")
                .add_task(handler.task(says("a", "", NextAction::ContinueAndExecute)))
                .add_task(handler.task(says("b", "", NextAction::End)))
                .add_task(handler.task(says("c", "", NextAction::End)))
                .add_conditional_edge("a", |_| true, "b", "c")
        })
        .await;
        assert_eq!(named(one(&captured)), ["g", "a", "in a", "b", "in b"]);
    }

    supersteps: "graph-flow", "supersteps" => {
        let captured =
            flow_run(|handler| GraphBuilder::new("g").add_task(handler.task(says("a", "", NextAction::End)))).await;
        assert!(!span(one(&captured), "a").metadata.contains_key("langgraph_step"));
    }

    plain_fan_out: "graph-flow", "children of a plain `FanOutTask`" => {
        let captured = flow_run(|handler| {
            let handler = handler.clone().client(pandaprobe_core::current_client().unwrap());
            let child = handler.task(says("child", "", NextAction::End));
            GraphBuilder::new("g").add_task(handler.user_id("ada").task(FanOutTask::new("a", vec![child])))
        })
        .await;
        assert_eq!(named(captured.trace("g")), ["g", "a"]);
        assert_eq!(captured.trace("child").user_id, None);
    }

    one_flow: "graph-flow", "a flow as one run" => {
        let captured = capture(|| async {
            let handler = LangGraphHandler::new();
            let graph = GraphBuilder::new("g")
                .add_task(handler.task(says("a", "", NextAction::Continue)))
                .add_task(handler.task(says("b", "", NextAction::End)))
                .add_edge("a", "b")
                .build()
                .unwrap();
            let runner = FlowRunner::new(Arc::new(graph), stored("a").await);
            handler.run(&runner, "s1").await.unwrap();
            handler.run(&runner, "s1").await.unwrap();
        })
        .await;
        assert_eq!(captured.traces.len(), 2);
        assert!(captured.traces.iter().all(|trace| trace.session_id.as_deref() == Some("s1")));
        assert!(!captured.traces[1].metadata.contains_key("pandaprobe.resumes_trace_id"));
    }

    flow_streams: "graph-flow", "streams" => {
        // A runner gives its result, and nothing before.
        let captured =
            flow_run(|handler| GraphBuilder::new("g").add_task(handler.task(says("a", "", NextAction::End)))).await;
        assert!(one(&captured).spans.iter().all(|span| span.completion_start_time.is_none()));
    }

    flow_subgraphs: "graph-flow", "subgraphs" => {
        let captured = flow_run(|handler| {
            let inner = crate::flow::react_with(handler, Fault::None);
            GraphBuilder::new("g")
                .add_task(handler.task(crate::flow::nested(inner)))
                .add_task(says("end", "", NextAction::End))
        })
        .await;
        assert_eq!(parent(one(&captured), "weather"), Some("nested"));
    }

    flow_resume: "graph-flow", "a resume in another process" => {
        let captured = capture(|| async {
            let storage = stored("ask").await;
            for _ in 0..2 {
                let handler = LangGraphHandler::new();
                let ask = does("ask", |context| {
                    let again = context.get::<bool>("asked").unwrap_or(false);
                    context.set("asked", true)?;
                    let next = if again { NextAction::End } else { NextAction::WaitForInput };
                    Ok(TaskResult::new(None, next))
                });
                let graph = GraphBuilder::new("g").add_task(handler.task(ask)).build().unwrap();
                let storage: Arc<dyn SessionStorage> = handler.storage(Arc::clone(&storage));
                handler.run(&FlowRunner::new(Arc::new(graph), storage), "s1").await.unwrap();
            }
        })
        .await;
        assert!(span(&captured.traces[0], "LangGraph").metadata.contains_key("interrupts"));
        assert!(!captured.traces[1].metadata.contains_key("pandaprobe.resumes_trace_id"));
    }
}

async fn flow_run(build: impl FnOnce(&LangGraphHandler) -> GraphBuilder) -> Captured<()> {
    capture(|| async {
        let handler = LangGraphHandler::new();
        let graph = build(&handler).build().unwrap();
        let start = graph.start_task_id().unwrap().to_owned();
        let mut session = Session::new_from_task("s1".to_owned(), &start);
        handler.execute_session(&graph, &mut session).await.unwrap();
    })
    .await
}
