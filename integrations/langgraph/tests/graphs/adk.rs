//! `adk-graph`.

use std::{sync::Arc, time::Duration};

use adk_graph::{
    END, ExecutionConfig, GraphError, NodeOutput, START, State, StateGraph, StreamEvent, StreamMode,
    checkpoint::MemoryCheckpointer,
    graph::CompiledGraph,
    state::{Channel, StateSchema},
    subgraph::SubgraphNode,
};
use futures_util::StreamExt;
use pandaprobe_core::{SpanKind, span as open_span, testing::capture};
use pandaprobe_langgraph::LangGraphHandler;
use serde_json::{Value, json};

use crate::kit::{Fault, one, span};

pub(crate) fn state(value: Value) -> State {
    serde_json::from_value(value).unwrap()
}

fn thread(id: &str) -> ExecutionConfig {
    ExecutionConfig::new(id)
}

/// An agent that asks a model, which asks for a tool once.
fn react(handler: &LangGraphHandler) -> CompiledGraph {
    react_with(handler, Fault::None)
}

pub(crate) fn react_with(handler: &LangGraphHandler, fault: Fault) -> CompiledGraph {
    let mut schema = StateSchema::new();
    schema.channels.insert("messages".into(), Channel::list("messages"));
    let fails = |text: &str| GraphError::Other(text.to_owned());
    let graph = StateGraph::new(schema)
        .add_node_fn("agent", move |context| async move {
            let asked = context.state["messages"].as_array().unwrap().len();
            let model = open_span("chat").kind(SpanKind::Llm).model("scripted");
            let said = model
                .try_scope(async move {
                    match (fault, asked) {
                        (Fault::Model, _) => Err(fails("boom")),
                        (_, 1) => Ok(json!([{"role": "assistant", "content": "", "tool_calls": [
                            {"id": "c1", "name": "get_weather", "args": {"city": "Paris"}}]}])),
                        _ => Ok(json!([{"role": "assistant", "content": "It is sunny."}])),
                    }
                })
                .await?;
            Ok(NodeOutput::new().with_update("messages", said))
        })
        .add_node_fn("tools", move |_| async move {
            if fault == Fault::Node {
                return Err(fails("node exploded"));
            }
            let weather = open_span("get_weather").kind(SpanKind::Tool).try_scope(async move {
                if fault == Fault::Tool { Err("no such city") } else { Ok("Paris: sunny") }
            });
            let content = weather.await.unwrap_or_else(|error| error);
            let said = json!([{"role": "tool", "tool_call_id": "c1", "content": content}]);
            Ok(NodeOutput::new().with_update("messages", said))
        })
        .add_edge(START, "agent")
        .add_conditional_edges(
            "agent",
            adk_graph::Router::has_tool_calls("messages", "tools", END),
            [("tools", "tools"), (END, END)],
        )
        .add_edge("tools", "agent");
    handler.graph(graph).compile().unwrap()
}

pub(crate) fn question(text: &str) -> State {
    state(json!({"messages": [{"role": "user", "content": text}]}))
}

const REACT: &str = "\
└─ CHAIN LangGraph OK
   ├─ AGENT agent OK
   │  ├─ LLM chat scripted OK
   │  └─ AGENT route OK
   ├─ AGENT tools OK
   │  └─ TOOL get_weather OK
   └─ AGENT agent OK
      ├─ LLM chat scripted OK
      └─ AGENT route OK
";

#[tokio::test]
async fn a_react_graph_has_its_nodes_edges_models_and_tools() {
    let captured = capture(|| async {
        let handler = LangGraphHandler::new().user_id("ada").tags(["t"]).metadata("k", "v");
        let graph = react(&LangGraphHandler::new());
        handler.invoke(&graph, question("weather in Paris?"), thread("thread-1")).await.unwrap()
    })
    .await;
    assert_eq!(captured.output["messages"].as_array().unwrap().len(), 4);
    captured.assert_tree(&format!("LangGraph COMPLETED session=thread-1 user=ada tags=t\n{REACT}"));
    let trace = one(&captured);
    assert_eq!(trace.tags, ["t"]);
    assert_eq!((&trace.metadata["k"], &trace.metadata["thread_id"]), (&json!("v"), &json!("thread-1")));
    assert_eq!(trace.input, Some(json!({"messages": [{"role": "user", "content": "weather in Paris?"}]})));
    assert_eq!(trace.output, Some(json!({"messages": [{"role": "assistant", "content": "It is sunny."}]})));
    let tools = span(trace, "tools");
    assert_eq!(tools.metadata["langgraph_step"], 1);
    assert_eq!(tools.metadata["next"], json!(["agent"]));
    assert_eq!(
        tools.input.as_ref().unwrap()["messages"][1]["tool_calls"][0]["function"],
        json!({"name": "get_weather", "arguments": "{\"city\":\"Paris\"}"})
    );
    let mut routes: Vec<_> = trace.spans.iter().filter(|span| span.name == "route").collect();
    routes.sort_by_key(|span| span.started_at);
    let chosen: Vec<_> = routes.iter().map(|span| span.output.clone().unwrap()).collect();
    assert_eq!(chosen, [json!("tools"), json!("__end__")]);
    assert_eq!(routes[0].metadata["source"], "agent");
    assert_eq!(captured.reports.len(), 0, "{:?}", captured.reports);
}

#[tokio::test]
async fn every_mode_of_streaming_records_what_invoke_records() {
    for mode in
        [StreamMode::Values, StreamMode::Updates, StreamMode::Messages, StreamMode::Custom, StreamMode::Debug]
    {
        let captured = capture(|| async {
            let graph = react(&LangGraphHandler::new());
            let handler = LangGraphHandler::new();
            let mut stream = handler.stream(&graph, question("q"), thread("t"), mode);
            while let Some(event) = stream.next().await {
                event.unwrap();
            }
        })
        .await;
        captured.assert_tree(&format!("LangGraph COMPLETED session=t\n{REACT}"));
        let trace = one(&captured);
        assert_eq!(
            trace.output,
            Some(json!({"messages": [{"role": "assistant", "content": "It is sunny."}]})),
            "{mode:?}"
        );
        assert_eq!(span(trace, "tools").metadata["next"], json!(["agent"]), "{mode:?}");
    }
}

#[tokio::test]
async fn parallel_nodes_a_subgraph_and_a_goto() {
    let captured = capture(|| async {
        let handler = LangGraphHandler::new();
        let inner = StateGraph::with_channels(&["xs"])
            .add_node_fn("inner", |_| async {
                open_span("deep").scope(tokio::task::yield_now()).await;
                Ok(NodeOutput::new().with_update("xs", json!(["inner"])))
            })
            .add_edge(START, "inner")
            .add_edge("inner", END);
        let inner = Arc::new(handler.graph(inner).compile().unwrap());
        let mut schema = StateSchema::new();
        schema.channels.insert("xs".into(), Channel::list("xs"));
        let waits = |name: &'static str| {
            move |_| async move {
                open_span(format!("in {name}")).scope(tokio::time::sleep(Duration::from_millis(5))).await;
                Ok(NodeOutput::new().with_update("xs", json!([name])))
            }
        };
        let graph = StateGraph::new(schema)
            .add_node_fn("p1", waits("p1"))
            .add_node_fn("p2", waits("p2"))
            .add_node(SubgraphNode::new("subgraph", inner))
            .add_node_fn("leaps", |_| async { Ok(NodeOutput::new().with_goto(["lands"])) })
            .add_node_fn("lands", |_| async { Ok(NodeOutput::new()) })
            .add_edge(START, "p1")
            .add_edge(START, "p2")
            .add_edge("p1", "subgraph")
            .add_edge("p2", "subgraph")
            .add_edge("subgraph", "leaps");
        let graph = handler.graph(graph).compile().unwrap();
        handler.run_name("custom run name").invoke(&graph, State::new(), thread("t")).await.unwrap();
    })
    .await;
    captured.assert_tree(
        "custom run name COMPLETED session=t\n\
         └─ CHAIN custom run name OK\n\
         \u{20}  ├─ AGENT p1 OK\n\
         \u{20}  │  └─ OTHER in p1 OK\n\
         \u{20}  ├─ AGENT p2 OK\n\
         \u{20}  │  └─ OTHER in p2 OK\n\
         \u{20}  ├─ AGENT subgraph OK\n\
         \u{20}  │  └─ AGENT inner OK\n\
         \u{20}  │     └─ OTHER deep OK\n\
         \u{20}  ├─ AGENT leaps OK\n\
         \u{20}  └─ AGENT lands OK\n",
    );
    let trace = one(&captured);
    let (p1, p2) = (span(trace, "p1"), span(trace, "p2"));
    assert!(p1.started_at < p2.ended_at.unwrap() && p2.started_at < p1.ended_at.unwrap(), "side by side");
    assert_eq!(span(trace, "leaps").metadata["next"], json!(["lands"]));
}

#[tokio::test]
async fn a_node_that_fails_fails_the_run_unless_somebody_handles_it() {
    let failing = |handler: &LangGraphHandler| {
        let graph = StateGraph::with_channels(&["x"])
            .add_node_fn("n", |_| async { Err(GraphError::Other("node exploded".into())) })
            .add_edge(START, "n")
            .add_edge("n", END);
        handler.graph(graph).compile().unwrap()
    };
    let captured = capture(|| async {
        let handler = LangGraphHandler::new();
        let graph = failing(&handler);
        let error = handler.invoke(&graph, State::new(), thread("t")).await.unwrap_err();
        assert!(error.to_string().contains("node exploded"));
        let graph = failing(&handler).with_node_error_handler("n", |_, _, _| Ok(NodeOutput::new()));
        handler.run_name("handled").invoke(&graph, State::new(), thread("t")).await.unwrap();
    })
    .await;
    captured.assert_tree(
        "LangGraph ERROR session=t\n\
         └─ CHAIN LangGraph ERROR: Node 'n' execution failed: node exploded\n\
         \u{20}  └─ AGENT n ERROR: node exploded\n\
         handled COMPLETED session=t\n\
         └─ CHAIN handled OK\n\
         \u{20}  └─ AGENT n ERROR: node exploded\n",
    );
}

/// A graph that asks once.
pub(crate) fn asking(handler: &LangGraphHandler, saver: Arc<MemoryCheckpointer>) -> CompiledGraph {
    struct Saver(Arc<MemoryCheckpointer>);
    use adk_graph::{checkpoint::Checkpointer, error::Result, state::Checkpoint};
    #[async_trait::async_trait]
    impl Checkpointer for Saver {
        async fn save(&self, checkpoint: &Checkpoint) -> Result<String> {
            self.0.save(checkpoint).await
        }
        async fn load(&self, id: &str) -> Result<Option<Checkpoint>> {
            self.0.load(id).await
        }
        async fn load_by_id(&self, id: &str) -> Result<Option<Checkpoint>> {
            self.0.load_by_id(id).await
        }
        async fn list(&self, id: &str) -> Result<Vec<Checkpoint>> {
            self.0.list(id).await
        }
        async fn delete(&self, id: &str) -> Result<()> {
            self.0.delete(id).await
        }
    }
    let graph = StateGraph::with_channels(&["x", "answer"])
        .add_node_fn("ask", |context| async move {
            Ok(match context.get("answer") {
                None => NodeOutput::interrupt_with_data("ok?", json!({"of": "ada"})),
                Some(answer) => NodeOutput::new().with_update("x", answer.clone()),
            })
        })
        .add_edge(START, "ask")
        .add_edge("ask", END);
    handler.graph(graph).compile().unwrap().with_checkpointer(handler.checkpointer(Saver(saver)))
}

#[tokio::test]
async fn an_interrupt_is_no_error_and_its_resume_names_the_first_run() {
    let captured = capture(|| async {
        let handler = LangGraphHandler::new();
        let graph = asking(&handler, Arc::default());
        let config = || thread("t");
        let paused = handler.invoke(&graph, state(json!({"x": "a"})), config()).await.unwrap_err();
        assert!(matches!(paused, GraphError::Interrupted(_)));
        // Asked again without an answer, it waits again.
        handler.invoke(&graph, State::new(), config()).await.unwrap_err();
        handler.invoke(&graph, state(json!({"answer": "yes"})), config()).await.unwrap();
        // A thread that came to its end waits for nobody.
        handler.run_name("after").invoke(&graph, State::new(), config()).await.unwrap();
    })
    .await;
    let trees = captured.tree();
    let run = "LangGraph COMPLETED session=t\n└─ CHAIN LangGraph OK\n   └─ AGENT ask OK\n";
    assert_eq!(trees, format!("{run}{run}{run}after COMPLETED session=t\n└─ CHAIN after OK\n"));
    let [first, again, resumed, after] = captured.traces.as_slice() else { panic!() };
    let interrupt = json!({"message": "ok?", "data": {"of": "ada"}});
    assert_eq!(span(first, "LangGraph").metadata["interrupts"], json!([interrupt]));
    assert_eq!(span(first, "ask").metadata["interrupt"], interrupt);
    assert_eq!(span(first, "LangGraph").output, Some(json!({"x": "a"})));
    assert!(span(first, "LangGraph").metadata["checkpoint_id"].is_string());
    let first_id = json!(first.trace_id.to_string());
    assert_eq!(again.metadata["pandaprobe.resumes_trace_id"], first_id);
    assert_eq!(resumed.metadata["pandaprobe.resumes_trace_id"], first_id);
    assert_eq!(span(resumed, "LangGraph").output, Some(json!({"x": "yes", "answer": "yes"})));
    assert!(!after.metadata.contains_key("pandaprobe.resumes_trace_id"), "{:?}", after.metadata);
    assert!(!first.metadata.contains_key("pandaprobe.resumes_trace_id"));
}

#[tokio::test]
async fn a_resume_in_another_process_names_the_first_run_too() {
    let captured = capture(|| async {
        let saver = Arc::<MemoryCheckpointer>::default();
        for input in [json!({"x": "a"}), json!({"answer": "yes"})] {
            // Nothing but the checkpoints is shared.
            let handler = LangGraphHandler::new();
            let graph = asking(&handler, Arc::clone(&saver));
            let _ = handler.invoke(&graph, state(input), thread("t")).await;
        }
    })
    .await;
    let [first, resumed] = captured.traces.as_slice() else { panic!() };
    let link = json!(first.trace_id.to_string());
    assert_eq!(span(resumed, "LangGraph").metadata["pandaprobe.resumes_trace_id"], link);
    assert_eq!(resumed.metadata["pandaprobe.resumes_trace_id"], link);
}

#[tokio::test]
async fn gates_interrupt_the_run() {
    let captured = capture(|| async {
        let handler = LangGraphHandler::new();
        let graph = StateGraph::with_channels(&["x"])
            .add_node_fn("a", |_| async { Ok(NodeOutput::new().with_update("x", 1)) })
            .add_node_fn("b", |_| async { Ok(NodeOutput::new()) })
            .add_edge(START, "a")
            .add_edge("a", "b")
            .add_edge("b", END);
        let graph = handler.graph(graph).compile().unwrap();
        let graph = graph.with_interrupt_before(&["b"]).with_checkpointer(MemoryCheckpointer::new());
        handler.invoke(&graph, State::new(), thread("t")).await.unwrap_err();
        let mut resumed = handler.stream(&graph, State::new(), thread("t"), StreamMode::Values);
        while resumed.next().await.is_some() {}
    })
    .await;
    assert_eq!(
        captured.tree(),
        "LangGraph COMPLETED session=t\n└─ CHAIN LangGraph OK\n   └─ AGENT a OK\n\
         LangGraph COMPLETED session=t\n└─ CHAIN LangGraph OK\n   └─ AGENT b OK\n"
    );
    let [first, resumed] = captured.traces.as_slice() else { panic!() };
    assert_eq!(span(first, "LangGraph").metadata["interrupts"], json!([{"before": "b"}]));
    assert_eq!(resumed.metadata["pandaprobe.resumes_trace_id"], json!(first.trace_id.to_string()));
}

#[tokio::test]
async fn an_abandoned_run_ends_as_it_was_left() {
    let captured = capture(|| async {
        let handler = LangGraphHandler::new();
        let graph = StateGraph::with_channels(&["x"])
            .add_node_fn("n1", |_| async { Ok(NodeOutput::new().with_update("x", 1)) })
            .add_node_fn("n2", |_| async {
                std::future::pending::<()>().await;
                Ok(NodeOutput::new())
            })
            .add_edge(START, "n1")
            .add_edge("n1", "n2");
        let graph = handler.graph(graph).compile().unwrap();
        let left = handler.clone().run_name("left");
        let mut stream = left.stream(&graph, State::new(), thread("t"), StreamMode::Debug);
        while let Some(event) = stream.next().await {
            if matches!(event, Ok(StreamEvent::NodeEnd { .. })) {
                break;
            }
        }
        drop(stream);
        let cancelled = handler.clone().run_name("cancelled");
        let run = cancelled.invoke(&graph, State::new(), thread("t"));
        tokio::time::timeout(Duration::from_millis(50), run).await.unwrap_err();
        // Never polled.
        drop(handler.invoke(&graph, State::new(), thread("t")));
    })
    .await;
    captured.assert_tree(
        "left COMPLETED session=t\n\
         └─ CHAIN left OK (stopped_by_reader)\n\
         \u{20}  └─ AGENT n1 OK\n\
         cancelled ERROR session=t\n\
         └─ CHAIN cancelled ERROR: cancelled (cancelled)\n\
         \u{20}  ├─ AGENT n1 OK\n\
         \u{20}  └─ AGENT n2 ERROR: cancelled (cancelled)\n",
    );
    let left = captured.trace("left");
    assert_eq!(span(left, "left").metadata["pandaprobe.end"], "stopped_by_reader");
}

#[tokio::test]
async fn a_node_that_panics_ends_everything_above_it() {
    let captured = capture(|| async {
        let handler = LangGraphHandler::new();
        let graph = StateGraph::with_channels(&["x"])
            .add_node_fn("n", |context| async move {
                assert!(context.step > 0, "too early");
                Ok(NodeOutput::new())
            })
            .add_edge(START, "n");
        let graph = handler.graph(graph).compile().unwrap();
        let run = async move { handler.invoke(&graph, State::new(), thread("t")).await.map(|_| ()) };
        pandaprobe_core::spawn(run).await.unwrap_err();
    })
    .await;
    captured.assert_tree(
        "LangGraph ERROR session=t\n\
         └─ CHAIN LangGraph ERROR: panicked: too early\n\
         \u{20}  └─ AGENT n ERROR: panicked: too early\n",
    );
}

#[tokio::test]
async fn what_is_wrapped_twice_is_recorded_once() {
    let captured = capture(|| async {
        let handler = LangGraphHandler::new();
        let node = adk_graph::node::FunctionNode::new("n", |_| async { Ok(NodeOutput::new()) });
        let graph =
            StateGraph::with_channels(&["x"]).add_node(handler.node(handler.node(node))).add_edge(START, "n");
        let graph = handler.graph(handler.graph(graph)).compile().unwrap();
        handler.invoke(&graph, State::new(), thread("t")).await.unwrap();
        let mut messages = handler.stream(&graph, State::new(), thread("t"), StreamMode::Messages);
        while messages.next().await.is_some() {}
    })
    .await;
    let run = "LangGraph COMPLETED session=t\n└─ CHAIN LangGraph OK\n   └─ AGENT n OK\n";
    assert_eq!(captured.tree(), format!("{run}{run}"));
}

#[tokio::test]
async fn a_graph_inside_of_a_node_is_a_part_of_its_run() {
    let captured = capture(|| async {
        let handler = LangGraphHandler::new().user_id("ada");
        let inner = Arc::new(react(&LangGraphHandler::new().user_id("nobody")));
        let graph = StateGraph::with_channels(&["x"])
            .add_node_fn("outer", move |_| {
                let inner = Arc::clone(&inner);
                async move {
                    let handler = LangGraphHandler::new().run_name("researcher");
                    handler.invoke(&inner, question("q"), thread("another")).await.unwrap();
                    Ok(NodeOutput::new())
                }
            })
            .add_edge(START, "outer");
        let graph = handler.graph(graph).compile().unwrap();
        handler.invoke(&graph, State::new(), thread("t")).await.unwrap();
    })
    .await;
    captured.assert_tree(
        "LangGraph COMPLETED session=t user=ada\n\
         └─ CHAIN LangGraph OK\n\
         \u{20}  └─ AGENT outer OK\n\
         \u{20}     └─ AGENT researcher OK\n\
         \u{20}        ├─ AGENT agent OK\n\
         \u{20}        │  ├─ LLM chat scripted OK\n\
         \u{20}        │  └─ AGENT route OK\n\
         \u{20}        ├─ AGENT tools OK\n\
         \u{20}        │  └─ TOOL get_weather OK\n\
         \u{20}        └─ AGENT agent OK\n\
         \u{20}           ├─ LLM chat scripted OK\n\
         \u{20}           └─ AGENT route OK\n",
    );
}

#[tokio::test]
async fn a_run_that_nobody_traces_is_recorded_by_the_handler_of_its_nodes() {
    let captured = capture(|| async {
        let graph = react(&LangGraphHandler::new().user_id("builder"));
        graph.invoke(question("q"), thread("t")).await.unwrap();
        pandaprobe_core::trace("request")
            .user_id("builder")
            .scope(|_| async { graph.invoke(question("q"), thread("t")).await.unwrap() })
            .await;
    })
    .await;
    let nodes = "\
├─ AGENT agent OK
│  └─ LLM chat scripted OK
├─ AGENT tools OK
│  └─ TOOL get_weather OK
└─ AGENT agent OK
   └─ LLM chat scripted OK
";
    let tree = captured.tree();
    assert!(tree.ends_with(&format!("request COMPLETED user=builder\n{nodes}")), "{tree}");
    assert_eq!(tree.matches("COMPLETED user=builder").count(), 4, "{tree}");
}

#[tokio::test]
async fn whose_a_run_is_is_said_by_handler_scope_and_thread_in_that_order() {
    let captured = capture(|| async {
        let handler = LangGraphHandler::new();
        let graph = react(&handler);
        let run = |handler: LangGraphHandler| {
            let graph = &graph;
            async move { handler.invoke(graph, question("q"), thread("t")).await.unwrap() }
        };
        run(handler.clone()).await;
        pandaprobe_core::session("scope").user("bob").scope(run(handler.clone())).await;
        let explicit = handler.clone().session_id("handler").user_id("ada");
        pandaprobe_core::session("scope").user("bob").scope(run(explicit)).await;
        pandaprobe_core::Scope::new()
            .scope(async {
                pandaprobe_core::set_session("set");
                run(handler.clone()).await;
            })
            .await;
        run(handler.clone().session_id("")).await;
        // Part of a request: whoever opened that said whose it is.
        let request = pandaprobe_core::trace("request").user_id("carol");
        request.scope(|_| async { run(handler.clone()).await }).await;
    })
    .await;
    let who: Vec<_> =
        captured.traces.iter().map(|trace| (trace.session_id.as_deref(), trace.user_id.as_deref())).collect();
    assert_eq!(
        who,
        [
            (Some("t"), None),
            (Some("scope"), Some("bob")),
            (Some("handler"), Some("ada")),
            (Some("set"), None),
            (None, None),
            (Some("t"), Some("carol")),
        ]
    );
}

#[tokio::test]
async fn a_stream_belongs_where_it_was_made_whoever_polls_it() {
    let captured = capture(|| async {
        let handler = LangGraphHandler::new();
        let graph = Arc::new(react(&handler));
        let kept = Arc::clone(&graph);
        let mut stream = pandaprobe_core::user("ada")
            .run(|| handler.stream(&kept, question("q"), thread("t"), StreamMode::Updates));
        pandaprobe_core::user("bob").scope(async { while stream.next().await.is_some() {} }).await;
    })
    .await;
    captured.assert_tree(&format!("LangGraph COMPLETED session=t user=ada\n{REACT}"));
}

#[tokio::test]
async fn a_node_that_works_for_somebody_else_records_that_as_theirs() {
    let captured = capture(|| async {
        let handler = LangGraphHandler::new().user_id("ada");
        let inner = Arc::new(react(&LangGraphHandler::new()));
        let graph = StateGraph::with_channels(&["x"])
            .add_node_fn("n", move |_| {
                let inner = Arc::clone(&inner);
                async move {
                    let theirs = pandaprobe_core::trace("theirs").user_id("bob").session_id("b");
                    // The graph is run as it is: its nodes are in what is current.
                    let work = async move { inner.invoke(question("q"), thread("t2")).await };
                    theirs.scope(|_| open_span("work").scope(work)).await?;
                    Ok(NodeOutput::new())
                }
            })
            .add_edge(START, "n");
        let graph = handler.graph(graph).compile().unwrap();
        handler.invoke(&graph, State::new(), thread("t")).await.unwrap();
    })
    .await;
    captured
        .trace("LangGraph")
        .spans
        .iter()
        .for_each(|span| assert!(["LangGraph", "n"].contains(&&*span.name)));
    let theirs = captured.trace("theirs");
    assert_eq!((theirs.user_id.as_deref(), theirs.spans.len()), (Some("bob"), 7));
}

#[tokio::test]
async fn an_answer_that_is_written_into_the_state_keeps_the_link_in_another_process_too() {
    let captured = capture(|| async {
        let saver = Arc::<MemoryCheckpointer>::default();
        let graph = || asking(&LangGraphHandler::new(), Arc::clone(&saver));
        LangGraphHandler::new().invoke(&graph(), State::new(), thread("t")).await.unwrap_err();
        graph().update_state("t", [("answer".to_owned(), json!("yes"))]).await.unwrap();
        LangGraphHandler::new().invoke(&graph(), State::new(), thread("t")).await.unwrap();
    })
    .await;
    let [first, resumed] = captured.traces.as_slice() else { panic!() };
    assert_eq!(resumed.metadata["pandaprobe.resumes_trace_id"], json!(first.trace_id.to_string()));
}

#[tokio::test]
async fn nothing_of_a_run_that_is_not_recorded_is_whoever_wrapped_its_nodes() {
    let captured = capture(|| async {
        let off = pandaprobe_core::Client::new(pandaprobe_core::Config::new().enabled(false)).unwrap();
        let graph = react(&LangGraphHandler::new().user_id("builder"));
        let handler = LangGraphHandler::new().client(off).user_id("ada");
        let request = pandaprobe_core::trace("request").user_id("bob");
        request
            .scope(|_| async {
                handler.invoke(&graph, question("q"), thread("t")).await.unwrap();
                let mut stream = handler.stream(&graph, question("q"), thread("t"), StreamMode::Messages);
                while stream.next().await.is_some() {}
            })
            .await;
    })
    .await;
    // What the application itself records is its own affair.
    let trace = one(&captured);
    assert!(
        trace.spans.iter().all(|span| ["chat", "get_weather"].contains(&&*span.name)),
        "{}",
        captured.tree()
    );
}

#[tokio::test]
async fn a_session_that_a_node_learns_is_that_of_the_whole_run() {
    let captured = capture(|| async {
        let handler = LangGraphHandler::new();
        let inner = Arc::new(react(&handler));
        let graph = StateGraph::with_channels(&["x"])
            .add_node_fn("learns", |_| async {
                pandaprobe_core::set_session("conversation");
                Ok(NodeOutput::new())
            })
            .add_node_fn("spawns", move |_| {
                let inner = Arc::clone(&inner);
                async move {
                    let run = async move {
                        LangGraphHandler::new()
                            .invoke(&inner, question("q"), thread("another"))
                            .await
                            .map(|_| ())
                    };
                    pandaprobe_core::spawn(run)
                        .await
                        .map_err(|error| GraphError::Other(error.to_string()))??;
                    Ok(NodeOutput::new())
                }
            })
            .add_edge(START, "learns")
            .add_edge("learns", "spawns");
        let graph = handler.graph(graph).compile().unwrap();
        let run = handler.invoke(&graph, State::new(), thread("t"));
        pandaprobe_core::Scope::new().scope(run).await.unwrap();
    })
    .await;
    let trace = one(&captured);
    assert_eq!(trace.session_id.as_deref(), Some("conversation"));
    assert_eq!(trace.spans.iter().filter(|span| span.name == "agent").count(), 2);
}

#[tokio::test]
async fn a_node_that_takes_too_long_is_cancelled_in_every_mode() {
    use adk_graph::timeout::TimeoutPolicy;
    for mode in [StreamMode::Values, StreamMode::Messages] {
        let captured = capture(|| async {
            let handler = LangGraphHandler::new();
            let graph = StateGraph::with_channels(&["x"])
                .add_node_fn("slow", |_| std::future::pending())
                .add_edge(START, "slow");
            let policy =
                TimeoutPolicy { run_timeout: Some(Duration::from_millis(10)), ..TimeoutPolicy::default() };
            let defaults = adk_graph::graph::NodeDefaults::new().with_timeout(policy);
            let graph = handler.graph(graph).compile().unwrap().with_node_defaults(defaults);
            let mut stream = handler.stream(&graph, State::new(), thread("t"), mode);
            while stream.next().await.is_some() {}
        })
        .await;
        let trace = one(&captured);
        assert_eq!(span(trace, "slow").error.as_deref(), Some("cancelled"), "{mode:?}");
        assert!(span(trace, "LangGraph").error.as_deref().unwrap().contains("timed out"), "{mode:?}");
    }
}

#[tokio::test]
async fn a_reader_that_panics_fails_what_it_reads() {
    let captured = capture(|| async {
        let reads = async {
            let handler = LangGraphHandler::new();
            let graph = react(&handler);
            let mut stream = handler.stream(&graph, question("q"), thread("t"), StreamMode::Updates);
            stream.next().await.unwrap().unwrap();
            panic!("enough");
        };
        let _: Result<(), _> = pandaprobe_core::spawn(reads).await;
    })
    .await;
    assert_eq!(span(one(&captured), "LangGraph").error.as_deref(), Some("panicked"));
}
