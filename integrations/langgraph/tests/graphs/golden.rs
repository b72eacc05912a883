//! The trees of LangGraph's recorded scenarios, with the differences that are meant.

use std::{collections::HashMap, sync::Arc};

use adk_graph::{
    END, ExecutionConfig, NodeOutput, START, State, StateGraph, StreamMode, subgraph::SubgraphNode,
};
use futures_util::StreamExt;
use graph_flow::{FlowRunner, GraphBuilder, NextAction, TaskResult};
use langgraph::{
    checkpoint::InMemorySaver,
    runnable::{NodeFn1, Runnable},
    types::{Command, StreamMode as Mode},
};
use pandaprobe_core::{
    SpanData, SpanId, TraceData,
    testing::{Captured, capture},
};
use pandaprobe_langgraph::LangGraphHandler;
use pandaprobe_tests::{golden, shared};
use serde_json::{Value, json};

use crate::{
    adk, flow,
    kit::Fault,
    lang::{self, thread, values},
};

/// What is other than in the recording: the line there, the line here if there is one, and why.
type Difference = (&'static str, Option<&'static str>, &'static str);

const INTERRUPT: Difference = (
    "AGENT ask ERROR",
    Some("AGENT ask OK"),
    "waiting for somebody is no error, neither of the node nor of the run",
);
const ABANDONED: [Difference; 2] = [
    ("trace ERROR", Some("trace COMPLETED"), "a reader who has enough is no error, as for all streams"),
    (
        "CHAIN LangGraph ERROR",
        Some("CHAIN LangGraph OK"),
        "a reader who has enough is no error, as for all streams",
    ),
];
const INNER: Difference =
    ("AGENT LangGraph OK", None, "the runtime runs the inner graph itself: its node stands for it");
const NO_ROUTE: Difference =
    ("AGENT route OK", None, "conditions of this runtime are closures in its builder");

fn is_here() -> bool {
    shared::require("shared", golden::available())
}

/// The lines of each trace that was recorded in a scenario.
fn recorded(number: u32) -> Vec<Vec<String>> {
    let requests = golden::load(number).unwrap().pandaprobe_requests;
    let bodies = requests.into_iter().map(|mut request| request["body"].take());
    bodies
        .filter(|body| body["spans"].is_array())
        .map(|body| lines(&serde_json::from_value(body).unwrap()))
        .collect()
}

fn lines(trace: &TraceData) -> Vec<String> {
    let mut below: HashMap<Option<SpanId>, Vec<&SpanData>> = HashMap::new();
    for span in &trace.spans {
        below.entry(span.parent_span_id).or_default().push(span);
    }
    let mut lines = vec![format!("trace {}", word(&trace.status))];
    write(&mut lines, &mut below, None, 1);
    lines
}

fn write(
    lines: &mut Vec<String>,
    below: &mut HashMap<Option<SpanId>, Vec<&SpanData>>,
    parent: Option<SpanId>,
    depth: usize,
) {
    let mut spans = below.remove(&parent).unwrap_or_default();
    spans.sort_by_key(|span| span.started_at);
    for span in spans {
        let name = match span.kind {
            // Each model has a name of its own.
            pandaprobe_core::SpanKind::Llm => "ChatOpenAI",
            _ => &span.name,
        };
        // What the tests' own models and tools record inside.
        if span.kind == pandaprobe_core::SpanKind::Other {
            continue;
        }
        lines.push(format!("{}{} {name} {}", "  ".repeat(depth), word(&span.kind), word(&span.status)));
        write(lines, below, Some(span.span_id), depth + 1);
    }
}

fn word(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).unwrap().as_str().unwrap().to_owned()
}

#[track_caller]
fn assert_as_recorded(expected: &[String], differences: &[Difference], trace: &TraceData) {
    let mut wanted = Vec::new();
    // The depth below which everything moved up, because the line above it is not here.
    let mut lifted: Option<usize> = None;
    for line in expected {
        let depth = line.len() - line.trim_start().len();
        if lifted.is_some_and(|above| depth <= above) {
            lifted = None;
        }
        let lift = if lifted.is_some() { 2 } else { 0 };
        match differences.iter().find(|(there, ..)| *there == line.trim()) {
            Some((_, Some(here), _)) => wanted.push(format!("{}{here}", " ".repeat(depth - lift))),
            Some((_, None, _)) => lifted = Some(depth),
            None => wanted.push(line[lift..].to_owned()),
        }
    }
    let lines = lines(trace);
    assert_eq!(lines, wanted, "\n{}\nexpected:\n{}", lines.join("\n"), wanted.join("\n"));
    for difference in differences {
        assert!(expected.iter().any(|line| line.trim() == difference.0), "not there: {difference:?}");
    }
}

/// The one trace that each runtime records of the same graph.
async fn react(fault: Fault) -> [(&'static str, TraceData); 3] {
    let handler = LangGraphHandler::new();
    let adk = capture(|| async {
        let graph = adk::react_with(&handler, fault);
        let _ = handler.invoke(&graph, adk::question("q"), ExecutionConfig::new("t")).await;
    });
    let lang = capture(|| async {
        let graph = lang::react_with(&handler, fault);
        let _ = handler.ainvoke(&graph, &lang::question(), &thread("t")).await;
    });
    let flow = capture(|| async {
        let runner =
            FlowRunner::new(Arc::new(flow::react_with(&handler, fault)), flow::stored("agent").await);
        let _ = handler.run(&runner, "s1").await;
    });
    [("adk-graph", one(adk.await)), ("langgraph", one(lang.await)), ("graph-flow", one(flow.await))]
}

fn one<T>(mut captured: Captured<T>) -> TraceData {
    assert_eq!(captured.traces.len(), 1, "{}", captured.tree());
    captured.traces.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_react_graph_and_its_failures() {
    if !is_here() {
        return;
    }
    let failures = recorded(17);
    let scenarios = [
        (Fault::None, &recorded(16)[0]),
        (Fault::Node, &failures[0]),
        (Fault::Model, &failures[1]),
        (Fault::Tool, &failures[2]),
    ];
    for (fault, expected) in scenarios {
        for (runtime, trace) in react(fault).await {
            let routes = fault != Fault::Model && runtime == "graph-flow";
            assert_as_recorded(expected, if routes { &[NO_ROUTE] } else { &[] }, &trace);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn overlapping_runs_of_one_handler_are_traces_of_their_own() {
    if !is_here() {
        return;
    }
    // The recording is of a handler that takes both runs for one.
    let merged = &recorded(31)[0];
    assert_eq!(merged.iter().filter(|line| line.contains("CHAIN")).count(), 2);
    let alone: Vec<String> = [&merged[..1], &merged[merged.len() - 2..]].concat();
    let captured = capture(|| async {
        let handler = LangGraphHandler::new();
        let slow = |_| async {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            Ok(NodeOutput::new())
        };
        let graph = StateGraph::with_channels(&["x"]).add_node_fn("slow", slow).add_edge(START, "slow");
        let graph = handler.graph(graph).compile().unwrap();
        let run = |thread: &str| handler.invoke(&graph, State::new(), ExecutionConfig::new(thread));
        let (a, b) = tokio::join!(run("a"), run("b"));
        a.unwrap();
        b.unwrap();
    })
    .await;
    assert_eq!(captured.traces.len(), 2);
    for trace in &captured.traces {
        assert_as_recorded(&alone, &[], trace);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_and_its_resume() {
    if !is_here() {
        return;
    }
    let expected = recorded(32);
    let handler = LangGraphHandler::new();
    let adk = capture(|| async {
        let graph = adk::asking(&handler, Arc::default());
        for input in [json!({"x": "a"}), json!({"answer": "yes"})] {
            let _ = handler.invoke(&graph, adk::state(input), ExecutionConfig::new("t")).await;
        }
    });
    let lang = capture(|| async {
        let mut graph = langgraph::graph::StateGraph::new(values(&["x"]));
        graph.add_node("ask", handler.node(NodeFn1(lang::asks))).unwrap().add_edge(START, "ask").unwrap();
        let graph = graph.compile_builder().checkpointer(Arc::new(InMemorySaver::new())).build().unwrap();
        let resume = serde_json::to_value(Command::resume(json!("yes"))).unwrap();
        for input in [json!({"x": "a"}), resume] {
            handler.ainvoke(&graph, &input, &thread("t")).await.unwrap();
        }
    });
    let flow = capture(|| async {
        let ask = flow::does("ask", |context| match context.get::<String>("answer") {
            None => Ok(TaskResult::new(Some("ok?".to_owned()), NextAction::WaitForInput)),
            Some(answer) => Ok(TaskResult::new(Some(answer), NextAction::End)),
        });
        let graph = GraphBuilder::new("g").add_task(handler.task(ask)).build().unwrap();
        let storage = flow::stored("ask").await;
        let runner = FlowRunner::new(Arc::new(graph), Arc::clone(&storage));
        handler.run(&runner, "s1").await.unwrap();
        storage.get("s1").await.unwrap().unwrap().context.set("answer", "yes").unwrap();
        handler.run(&runner, "s1").await.unwrap();
    });
    for captured in [adk.await.traces, lang.await.traces, flow.await.traces] {
        let [first, resumed] = captured.as_slice() else { panic!("not two traces") };
        assert_as_recorded(&expected[0], &[INTERRUPT], first);
        assert_as_recorded(&expected[1], &[], resumed);
        assert_eq!(resumed.metadata["pandaprobe.resumes_trace_id"], json!(first.trace_id.to_string()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abandoned_stream() {
    if !is_here() {
        return;
    }
    let expected = recorded(32).pop().unwrap();
    let adk = capture(|| async {
        let handler = LangGraphHandler::new();
        let graph = StateGraph::with_channels(&["x"])
            .add_node_fn("n1", |_| async { Ok(NodeOutput::new().with_update("x", 1)) })
            .add_node_fn("n2", |_| async { Ok(NodeOutput::new()) })
            .add_edge(START, "n1")
            .add_edge("n1", "n2")
            .add_edge("n2", END);
        let graph = handler.graph(graph).compile().unwrap();
        let mut stream = handler.stream(&graph, State::new(), ExecutionConfig::new("t"), StreamMode::Updates);
        stream.next().await.unwrap().unwrap();
    });
    assert_as_recorded(&expected, &ABANDONED, &one(adk.await));
    let lang = capture(|| async {
        let handler = LangGraphHandler::new();
        let mut graph = langgraph::graph::StateGraph::new(values(&["x"]));
        graph.add_node("n1", handler.node(NodeFn1(|_: &Value| Ok(json!({"x": 1}))))).unwrap();
        graph.add_edge(START, "n1").unwrap();
        let graph = graph.compile().unwrap();
        let mut parts =
            handler.astream(&graph, &json!({"x": 0}), &thread("t"), vec![Mode::Updates, Mode::Values]);
        parts.next().await.unwrap();
    });
    assert_as_recorded(&expected, &ABANDONED, &one(lang.await));
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_nodes_and_a_subgraph() {
    if !is_here() {
        return;
    }
    let expected = &recorded(33)[0];
    let handler = LangGraphHandler::new().run_name("custom run name");
    let adk = capture(|| async {
        let writes = |_| async { Ok(NodeOutput::new().with_update("xs", 1)) };
        let inner = StateGraph::with_channels(&["xs"]).add_node_fn("inner", writes).add_edge(START, "inner");
        let inner = Arc::new(handler.graph(inner).compile().unwrap());
        let graph = StateGraph::with_channels(&["xs"])
            .add_node_fn("p1", writes)
            .add_node_fn("p2", writes)
            .add_node(SubgraphNode::new("subgraph", inner))
            .add_edge(START, "p1")
            .add_edge(START, "p2")
            .add_edge("p1", "subgraph")
            .add_edge("p2", "subgraph");
        let graph = handler.graph(graph).compile().unwrap();
        handler.invoke(&graph, State::new(), ExecutionConfig::new("t")).await.unwrap();
    });
    assert_as_recorded(expected, &[INNER], &one(adk.await));
    let lang = capture(|| async {
        let writes = || handler.node(NodeFn1(|_: &Value| Ok(json!({}))));
        let mut inner = langgraph::graph::StateGraph::new(values(&["x"]));
        inner.add_node("inner", writes()).unwrap().add_edge(START, "inner").unwrap();
        let inner: Arc<dyn Runnable> = Arc::new(inner.compile().unwrap());
        let mut graph = langgraph::graph::StateGraph::new(values(&["x"]));
        graph.add_node("p1", writes()).unwrap().add_node("p2", writes()).unwrap();
        graph.add_node("subgraph", handler.node(inner)).unwrap();
        graph.add_edge(START, "p1").unwrap().add_edge(START, "p2").unwrap();
        graph.add_join_edge(vec!["p1".into(), "p2".into()], "subgraph").unwrap();
        handler.ainvoke(&graph.compile().unwrap(), &json!({"x": 0}), &thread("t")).await.unwrap();
    });
    let mut lang = one(lang.await);
    // This runtime runs the nodes of a step one after the other, in any order.
    let early = lang.spans.iter().map(|span| span.started_at).min().unwrap();
    lang.spans.iter_mut().filter(|span| span.name == "p1").for_each(|span| span.started_at = early);
    assert_as_recorded(expected, &[INNER], &lang);
}
