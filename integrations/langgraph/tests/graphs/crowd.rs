//! One handler, one graph, many users at once.

use std::{collections::HashSet, sync::Arc, time::Duration};

use adk_graph::{END, ExecutionConfig, NodeOutput, START, State, StateGraph, StreamMode};
use futures_util::StreamExt;
use graph_flow::{
    Context, FlowRunner, GraphBuilder, InMemorySessionStorage, NextAction, Session, SessionStorage, Task,
    TaskResult,
};
use langgraph::{
    checkpoint::config::RunnableConfig,
    prebuilt::{BaseTool, ClosureTool, ToolNode},
    runnable::Runnable,
    types::StreamMode as Mode,
};
use pandaprobe_core::{Client, Config, MemoryExporter, TraceData, span};
use pandaprobe_langgraph::LangGraphHandler;
use serde_json::{Value, json};

use crate::lang::{thread, values};

const RUNS: usize = 100;
const USERS: usize = 25;

/// Runs `run` for many users at once on a runtime of several threads, and gives what was recorded.
async fn crowd<F>(run: impl Fn(LangGraphHandler, String) -> F) -> Vec<TraceData>
where
    F: Future<Output = ()> + Send + 'static,
{
    let kept = MemoryExporter::default();
    let client = Client::new(Config::new().exporter(kept.clone())).unwrap();
    let handler = LangGraphHandler::new().client(client.clone());
    let runs: Vec<_> = (0..RUNS)
        .map(|number| {
            let who = format!("run-{number}");
            // Some say whose it is by the handler, some by a scope.
            let user = format!("user-{}", number % USERS);
            let handler = handler.clone();
            if number % 2 == 0 {
                tokio::spawn(run(handler.user_id(user), who))
            } else {
                let scope = pandaprobe_core::user(user);
                let run = scope.clone().run(|| run(handler, who));
                tokio::spawn(scope.scope(run))
            }
        })
        .collect();
    for run in runs {
        run.await.unwrap();
    }
    client.flush(Duration::from_secs(10)).unwrap();
    let stats = client.stats();
    assert_eq!((stats.open, stats.dropped_total()), (0, 0), "{stats:?}");
    kept.traces()
}

/// Each run is one trace of its user and thread, with its own steps and nobody else's words.
#[track_caller]
fn assert_apart(traces: &[TraceData], steps: &[&str]) {
    assert_eq!(traces.len(), RUNS);
    let mut threads = HashSet::new();
    for trace in traces {
        let who = trace.session_id.clone().unwrap();
        let number: usize = who.strip_prefix("run-").unwrap().parse().unwrap();
        assert!(threads.insert(who.clone()));
        assert_eq!(trace.user_id, Some(format!("user-{}", number % USERS)));
        let mut names: Vec<&str> = trace.spans.iter().map(|span| span.name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, steps);
        let said = serde_json::to_string(trace).unwrap();
        let others =
            said.split("run-").skip(1).map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next().unwrap());
        assert!(others.into_iter().all(|other| other == number.to_string()), "{said}");
        let ids: HashSet<_> = trace.spans.iter().map(|span| span.span_id).collect();
        assert!(
            trace.spans.iter().all(|span| span.parent_span_id.is_none_or(|parent| ids.contains(&parent)))
        );
    }
}

async fn dawdle() {
    for _ in 0..3 {
        tokio::task::yield_now().await;
    }
    tokio::time::sleep(Duration::from_millis(1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn adk_graph() {
    let step = |name: &'static str| {
        move |context: adk_graph::NodeContext| async move {
            let who = context.state["who"].clone();
            span(format!("in {name}")).input(who.clone()).scope(dawdle()).await;
            let in_task = span("in task").input(who.clone()).scope(dawdle());
            if name == "join" {
                pandaprobe_core::spawn(in_task).await.unwrap();
            }
            Ok(NodeOutput::new().with_update("who", who))
        }
    };
    let graph = StateGraph::with_channels(&["who"])
        .add_node_fn("a", step("a"))
        .add_node_fn("b", step("b"))
        .add_node_fn("join", step("join"))
        .add_edge(START, "a")
        .add_edge(START, "b")
        .add_edge("a", "join")
        .add_edge("b", "join")
        .add_conditional_edges("join", |_| END.to_owned(), [(END, END)]);
    // The handler of the nodes names somebody: whose a run is, is said by the run.
    let graph = Arc::new(LangGraphHandler::new().user_id("builder").graph(graph).compile().unwrap());
    let traces = crowd(|handler, who| {
        let graph = Arc::clone(&graph);
        async move {
            let input = State::from([("who".to_owned(), json!(who))]);
            let config = ExecutionConfig::new(&who);
            if who.ends_with('7') {
                let mut stream = handler.stream(&graph, input, config, StreamMode::Values);
                while let Some(event) = stream.next().await {
                    event.unwrap();
                }
            } else {
                handler.invoke(&graph, input, config).await.unwrap();
            }
        }
    })
    .await;
    assert_apart(&traces, &["LangGraph", "a", "b", "in a", "in b", "in join", "in task", "join", "route"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn langgraph() {
    let builder = LangGraphHandler::new().user_id("builder");
    let search = ClosureTool::new("search", "", |args| {
        span("in search").input(args.clone()).run(|_| std::thread::yield_now());
        Ok(args["who"].clone())
    });
    let search: Arc<dyn BaseTool> = builder.tool(Arc::new(search));
    let tools = Arc::new(ToolNode::new(vec![search]));
    let think = move |input: Value, config: RunnableConfig| {
        let tools = Arc::clone(&tools);
        async move {
            span("in think").input(input["who"].clone()).scope(dawdle()).await;
            // Runs its tools in tasks of its own.
            let ask = json!({"name": "search", "args": {"who": input["who"]}, "id": "c"});
            let messages =
                json!({"messages": [{"type": "ai", "content": "", "tool_calls": [ask.clone(), ask]}]});
            tools.ainvoke(&messages, &config).await?;
            Ok(json!({"who": input["who"]}))
        }
    };
    let mut graph = langgraph::graph::StateGraph::new(values(&["who"]));
    graph.add_node("think", builder.node(think)).unwrap();
    graph.add_edge(START, "think").unwrap().add_edge("think", END).unwrap();
    let graph = Arc::new(graph.compile().unwrap());
    let traces = crowd(|handler, who| {
        let graph = Arc::clone(&graph);
        async move {
            let (input, config) = (json!({"who": who}), thread(&who));
            if who.ends_with('7') || who.ends_with('8') {
                let mut parts = handler.astream(&graph, &input, &config, vec![Mode::Values]);
                while parts.next().await.is_some() {}
            } else {
                handler.ainvoke(&graph, &input, &config).await.unwrap();
            }
        }
    })
    .await;
    assert_apart(&traces, &["LangGraph", "in search", "in search", "in think", "search", "search", "think"]);
}

struct Work(&'static str);

#[async_trait::async_trait]
impl Task for Work {
    fn id(&self) -> &str {
        self.0
    }

    async fn run(&self, context: Context) -> graph_flow::Result<TaskResult> {
        let who = context.get::<String>("who").unwrap();
        span(format!("in {}", self.0)).input(who.clone()).scope(dawdle()).await;
        let next = if self.0 == "last" { NextAction::End } else { NextAction::ContinueAndExecute };
        Ok(TaskResult::new(Some(who), next))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn graph_flow() {
    let builder = LangGraphHandler::new().user_id("builder");
    let fan = builder
        .fan_out("fan", vec![Arc::new(Work("p1")), Arc::new(Work("p2"))])
        .with_next_action(NextAction::ContinueAndExecute);
    let graph = GraphBuilder::new("g")
        .add_task(Arc::new(fan))
        .add_task(builder.task(Arc::new(Work("last"))))
        .add_edge("fan", "last")
        .build()
        .unwrap();
    let storage: Arc<dyn SessionStorage> = Arc::new(InMemorySessionStorage::new());
    let runner = FlowRunner::new(Arc::new(graph), Arc::clone(&storage));
    let traces = crowd(|handler, who| {
        let (runner, storage) = (runner.clone(), Arc::clone(&storage));
        async move {
            let session = Session::new_from_task(who.clone(), "fan");
            session.context.set("who", &who).unwrap();
            storage.save(session).await.unwrap();
            handler.run(&runner, &who).await.unwrap();
        }
    })
    .await;
    assert_apart(&traces, &["LangGraph", "fan", "in last", "in p1", "in p2", "last", "p1", "p2"]);
}
