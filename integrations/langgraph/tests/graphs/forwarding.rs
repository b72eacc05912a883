//! A graph behaves the same wrapped and unwrapped.

use std::{pin::Pin, sync::Arc};

use adk_core::AgentCapabilities;
use adk_graph::{
    ExecutionConfig, GraphError, Interrupt, Node, NodeContext, NodeOutput, START, State, StateGraph,
    StreamEvent, StreamMode,
    checkpoint::{Checkpointer, MemoryCheckpointer},
    error::Result,
    graph::CompiledGraph,
    state::StateSchema,
};
use futures_util::{Stream, StreamExt};
use graph_flow::{Context, Graph, GraphBuilder, NextAction, Session, Task, TaskResult};
use langgraph::{
    checkpoint::{BaseCheckpointSaver, InMemorySaver, config::RunnableConfig},
    graph::CompiledStateGraph,
    prebuilt::{BaseChatModel, BaseTool, ClosureTool, Message, ToolDef, ToolError},
    runnable::{NodeFn1, RoutingFn, Runnable, RunnableError},
    types::StreamMode as Mode,
};
use pandaprobe_core::{Client, Config, MemoryExporter, Scope, testing::capture};
use pandaprobe_langgraph::LangGraphHandler;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::lang::{Scripted, thread, values};

/// What a node does.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Does {
    Writes,
    Leaps(usize),
    Emits,
    Waits,
    Fails,
    FailsOnce,
}

/// A graph: what each node does, and where it leads.
#[derive(Clone, Debug)]
struct Plan {
    nodes: Vec<(Does, Vec<usize>, bool)>,
    is_valid: bool,
}

fn plan() -> impl Strategy<Value = Plan> {
    let does = prop_oneof![
        4 => Just(Does::Writes),
        1 => (0..5_usize).prop_map(Does::Leaps),
        1 => Just(Does::Emits),
        1 => Just(Does::Waits),
        1 => Just(Does::Fails),
        1 => Just(Does::FailsOnce),
    ];
    let node = (does, proptest::collection::vec(0..5_usize, 0..3), any::<bool>());
    (proptest::collection::vec(node, 1..5), prop::bool::weighted(0.9)).prop_map(|(mut nodes, is_valid)| {
        let all = nodes.len();
        for (does, to, _) in &mut nodes {
            // Of what is not valid, edges may lead nowhere.
            to.iter_mut().filter(|_| is_valid).for_each(|to| *to %= all);
            if let Does::Leaps(to) = does {
                // One leap in five leads nowhere.
                *to = if *to == 4 { 4 } else { *to % all };
            }
        }
        Plan { nodes, is_valid }
    })
}

/// Runs `run` where everything is recorded.
fn recorded<F: Future>(run: F) -> F::Output {
    let client = Client::new(Config::new().exporter(MemoryExporter::default())).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(Scope::new().client(client).scope(run))
}

/// A node whose every method says something.
struct Probe {
    name: String,
    does: Does,
    is_valid: bool,
}

#[async_trait::async_trait]
impl Node for Probe {
    fn name(&self) -> &str {
        &self.name
    }

    fn description(&self) -> &str {
        "a probe"
    }

    fn capabilities(&self) -> AgentCapabilities {
        AgentCapabilities { handoff: true, shared_state: true, ..AgentCapabilities::default() }
    }

    async fn execute(&self, context: &NodeContext) -> Result<NodeOutput> {
        tokio::task::yield_now().await;
        let been = context.get("been").and_then(Value::as_u64).unwrap_or(0) + 1;
        let output = NodeOutput::new().with_update("been", been).with_update(&self.name, context.step);
        match self.does {
            Does::Writes => Ok(output),
            Does::Leaps(to) => Ok(output.with_goto([format!("n{to}")])),
            Does::Emits => Ok(output.with_event(StreamEvent::custom(&self.name, "said", json!(been)))),
            Does::Waits if context.get("answer").is_none() => {
                Ok(output
                    .with_interrupt(Interrupt::Dynamic { message: "ok?".into(), data: Some(json!(been)) }))
            }
            Does::FailsOnce if been > 2 => Ok(output),
            Does::Fails | Does::FailsOnce => Err(GraphError::Other(format!("{} fails", self.name))),
            Does::Waits => Ok(output),
        }
    }

    fn validate_against(&self, parent: &StateSchema) -> Result<()> {
        if parent.channels.contains_key("forbidden") {
            Err(GraphError::Other("channel".into()))
        } else {
            Ok(())
        }
    }

    fn validate(&self) -> Result<()> {
        if self.is_valid { Ok(()) } else { Err(GraphError::InvalidGraph(self.name.clone())) }
    }

    fn execute_stream<'a>(
        &'a self,
        context: &'a NodeContext,
    ) -> Pin<Box<dyn Stream<Item = Result<StreamEvent>> + Send + 'a>> {
        // Not what the default does: token by token.
        let words = ["one", "two"].map(|word| Ok(StreamEvent::message(&self.name, word, false)));
        let last = futures_util::stream::once(async move {
            let output = self.execute(context).await?;
            Ok(match output.interrupt {
                Some(Interrupt::Dynamic { message, data }) => {
                    StreamEvent::node_interrupt(&self.name, &message, data)
                }
                _ => StreamEvent::updates(&self.name, output.updates),
            })
        });
        Box::pin(futures_util::stream::iter(words).chain(last))
    }
}

fn adk_graph(plan: &Plan, channels: &[&str]) -> StateGraph {
    let mut graph = StateGraph::with_channels(channels).add_edge(START, "n0");
    for (at, (does, to, asks)) in plan.nodes.iter().enumerate() {
        let name = format!("n{at}");
        graph = graph.add_node(Probe { name: name.clone(), does: *does, is_valid: plan.is_valid });
        let to: Vec<String> = to.iter().map(|to| format!("n{to}")).collect();
        if *asks && let Some(first) = to.first().cloned() {
            let targets = [("n0", "n0"), ("end", adk_graph::END)];
            let route = move |state: &State| if state.len() > 3 { "end".to_owned() } else { first.clone() };
            graph = graph.add_conditional_edges(&name, route, targets);
        } else {
            graph = to.iter().fold(graph, |graph, to| graph.add_edge(&name, to));
        }
    }
    graph
}

/// All that a run of `graph` shows: what each mode says, what is saved, what comes out.
async fn adk_shows(graph: CompiledGraph, handler: Option<&LangGraphHandler>) -> Vec<String> {
    let mut shown = Vec::new();
    for (index, mode) in
        [StreamMode::Values, StreamMode::Updates, StreamMode::Messages, StreamMode::Custom, StreamMode::Debug]
            .into_iter()
            .enumerate()
    {
        for input in [State::new(), State::from([("answer".to_owned(), json!(1))])] {
            let config = || ExecutionConfig::new(&format!("t{index}")).with_recursion_limit(12);
            let mut events: Pin<Box<dyn Stream<Item = Result<StreamEvent>> + Send>> = match handler {
                Some(handler) => Box::pin(handler.stream(&graph, input.clone(), config(), mode)),
                None => Box::pin(graph.stream(input.clone(), config(), mode)),
            };
            while let Some(event) = events.next().await {
                shown.push(event.map_or_else(|error| steady(&error), |event| steady_event(&event)));
            }
        }
    }
    let config = ExecutionConfig::new("invoked").with_recursion_limit(12);
    let out = match handler {
        Some(handler) => handler.invoke(&graph, State::new(), config).await,
        None => graph.invoke(State::new(), config).await,
    };
    shown.push(out.map_or_else(|error| steady(&error), |state| text(&json!(state))));
    for thread in ["t0", "t4", "invoked"] {
        shown.push(text(&json!(graph.get_state(thread).await.unwrap())));
    }
    shown
}

/// What was wrong with a graph. Of several things, the runtimes name any one.
fn kind(error: &impl ToString) -> String {
    let text = error.to_string();
    text.split([':', '\'']).next().unwrap_or_default().to_owned()
}

/// The same text for the same value, in whatever order its keys are.
fn text(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let fields: std::collections::BTreeMap<_, _> =
                fields.iter().map(|(key, value)| (key, text(value))).collect();
            format!("{fields:?}")
        }
        Value::Array(items) => format!("{:?}", items.iter().map(text).collect::<Vec<_>>()),
        plain => plain.to_string(),
    }
}

/// Without what is random in each run.
fn steady(error: &GraphError) -> String {
    match error {
        GraphError::Interrupted(paused) => {
            format!("{:?} {} {}", paused.interrupt, paused.step, text(&json!(paused.state)))
        }
        error => error.to_string(),
    }
}

fn steady_event(event: &StreamEvent) -> String {
    let mut event = serde_json::to_value(event).unwrap();
    if event.get("duration_ms").is_some() {
        event["duration_ms"] = json!(0);
    }
    text(&event)
}

#[derive(Clone)]
struct Step(Does, usize, Vec<usize>);

#[async_trait::async_trait]
impl Task for Step {
    fn id(&self) -> &str {
        ["n0", "n1", "n2", "n3"][self.1]
    }

    async fn run(&self, context: Context) -> graph_flow::Result<TaskResult> {
        tokio::task::yield_now().await;
        let been = context.get::<u64>("been").unwrap_or(0) + 1;
        context.set("been", been)?;
        let next = match self.0 {
            Does::Writes | Does::Emits if self.2.is_empty() => NextAction::End,
            Does::Writes => NextAction::ContinueAndExecute,
            Does::Emits => NextAction::Continue,
            Does::Leaps(to) => NextAction::GoTo(format!("n{to}")),
            Does::Waits => NextAction::WaitForInput,
            Does::FailsOnce if been > 2 => NextAction::End,
            Does::Fails | Does::FailsOnce => {
                return Err(graph_flow::GraphError::TaskExecutionFailed(format!("n{} fails", self.1)));
            }
        };
        Ok(TaskResult::new_with_status(Some(been.to_string()), next, Some(format!("status {been}"))))
    }
}

fn flow_graph(plan: &Plan, handler: Option<&LangGraphHandler>) -> graph_flow::Result<Graph> {
    let mut graph = GraphBuilder::new("g").with_max_execution_steps(12);
    for (at, (does, to, asks)) in plan.nodes.iter().enumerate() {
        let task: Arc<dyn Task> = Arc::new(Step(*does, at, to.clone()));
        graph = graph.add_task(match handler {
            Some(handler) => handler.task(task),
            None => task,
        });
        match (*asks, to.as_slice()) {
            (true, [yes, no]) => {
                let often = |context: &Context| context.get::<u64>("been").unwrap_or(0).is_multiple_of(2);
                graph =
                    graph.add_conditional_edge(format!("n{at}"), often, format!("n{yes}"), format!("n{no}"));
            }
            (_, to) => {
                graph = to.iter().fold(graph, |graph, to| graph.add_edge(format!("n{at}"), format!("n{to}")))
            }
        }
    }
    graph.build()
}

async fn flow_shows(graph: &Graph, handler: Option<&LangGraphHandler>) -> Vec<String> {
    let mut shown = Vec::new();
    let mut session = Session::new_from_task("s".to_owned(), "n0");
    for _ in 0..4 {
        let result = match handler {
            Some(handler) => handler.execute_session(graph, &mut session).await,
            None => graph.execute_session(&mut session).await,
        };
        shown.push(result.map_or_else(|error| error.to_string(), |result| format!("{result:?}")));
        shown.push(text(&serde_json::to_value(&session).unwrap()));
    }
    shown
}

fn lang_graph(
    plan: &Plan,
    handler: Option<&LangGraphHandler>,
) -> std::result::Result<CompiledStateGraph, String> {
    let names: Vec<String> = (0..plan.nodes.len()).map(|at| format!("n{at}")).collect();
    let channels: Vec<&str> = names.iter().map(String::as_str).chain(["x"]).collect();
    let mut graph = langgraph::graph::StateGraph::new(values(&channels));
    for (at, (does, ..)) in plan.nodes.iter().enumerate() {
        let does = *does;
        let node = NodeFn1(move |input: &Value| match does {
            Does::Fails | Does::FailsOnce => Err(RunnableError::Node(format!("n{at} fails"))),
            Does::Waits => match langgraph::types::interrupt(json!(at)) {
                Ok(answer) => Ok(json!({format!("n{at}"): answer})),
                Err(waits) => Err(RunnableError::Interrupt(waits.into())),
            },
            _ => Ok(json!({format!("n{at}"): input["x"]})),
        });
        match handler {
            Some(handler) => graph.add_node(names[at].clone(), handler.node(node)),
            None => graph.add_node(names[at].clone(), node),
        }
        .map_err(|error| error.to_string())?;
    }
    graph.add_edge("__start__", "n0").unwrap();
    for (at, (_, to, asks)) in plan.nodes.iter().enumerate() {
        // One way on, so that the order in which the runtime takes nodes, which is none, does not show.
        let Some(to) = to.first() else { continue };
        let route = {
            let to = format!("n{to}");
            RoutingFn(move |_: &Value| to.clone())
        };
        match (asks, handler) {
            (false, _) => graph.add_edge(names[at].clone(), format!("n{to}")),
            (true, Some(handler)) => {
                graph.add_conditional_edges(names[at].clone(), handler.edge(route), None)
            }
            (true, None) => graph.add_conditional_edges(names[at].clone(), route, None),
        }
        .map_err(|error| error.to_string())?;
    }
    let saver: Arc<dyn BaseCheckpointSaver> = Arc::new(InMemorySaver::new());
    let saver = handler.map_or_else(|| Arc::clone(&saver), |handler| handler.saver(Arc::clone(&saver)));
    graph
        .compile_builder()
        .name("named")
        .recursion_limit(8)
        .checkpointer(saver)
        .build()
        .map_err(|e| e.to_string())
}

async fn lang_shows(graph: &CompiledStateGraph, handler: Option<&LangGraphHandler>) -> Vec<String> {
    let mut shown = vec![graph.name().to_owned(), format!("{:?}", graph.node_names().len())];
    let resume = serde_json::to_value(langgraph::types::Command::resume(json!("yes"))).unwrap();
    for input in [json!({"x": 1}), resume, Value::Null] {
        let config = thread("t");
        let out = match handler {
            Some(handler) => handler.ainvoke(graph, &input, &config).await,
            None => graph.ainvoke(&input, &config).await,
        };
        shown.push(out.map_or_else(|error| error.to_string(), |out| text(&out)));
        shown.push(text(&graph.get_state(&config).unwrap().values));
    }
    let modes = vec![Mode::Values, Mode::Updates, Mode::Tasks, Mode::Debug, Mode::Custom];
    let (input, config) = (json!({"x": 2}), thread("streamed"));
    let mut parts: Pin<Box<dyn Stream<Item = langgraph::stream::StreamPart> + Send>> = match handler {
        Some(handler) => Box::pin(handler.astream(graph, &input, &config, modes)),
        None => Box::pin(graph.astream(&input, &config, modes)),
    };
    while let Some(part) = parts.next().await {
        shown.push(text(&serde_json::to_value(&part).unwrap()));
    }
    shown
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn graphs_of_adk_graph(plan in plan(), forbidden in prop::bool::weighted(0.1)) {
        let channels: &[&str] = if forbidden { &["been", "forbidden"] } else { &["been"] };
        recorded(async {
            let handler = LangGraphHandler::new();
            let plain = adk_graph(&plan, channels);
            let wrapped = handler.graph(adk_graph(&plan, channels));
            for (name, node) in &plain.nodes {
                let other = &wrapped.nodes[name];
                assert_eq!((node.name(), node.description()), (other.name(), other.description()));
                assert_eq!(format!("{:?}", node.capabilities()), format!("{:?}", other.capabilities()));
            }
            match (plain.compile(), wrapped.compile()) {
                (Err(plain), Err(wrapped)) => assert_eq!(kind(&plain), kind(&wrapped)),
                (Ok(plain), Ok(wrapped)) => {
                    let plain = plain.with_checkpointer(MemoryCheckpointer::new());
                    let wrapped = wrapped.with_checkpointer(handler.checkpointer(MemoryCheckpointer::new()));
                    let plain = adk_shows(plain, None).await;
                    assert_eq!(plain, adk_shows(wrapped, Some(&handler)).await);
                }
                (plain, wrapped) => panic!("{:?} {:?}", plain.err(), wrapped.err()),
            }
        });
    }

    #[test]
    fn graphs_of_langgraph(plan in plan()) {
        recorded(async {
            let handler = LangGraphHandler::new();
            match (lang_graph(&plan, None), lang_graph(&plan, Some(&handler))) {
                (Err(plain), Err(wrapped)) => assert_eq!(kind(&plain), kind(&wrapped)),
                (Ok(plain), Ok(wrapped)) => {
                    assert_eq!(lang_shows(&plain, None).await, lang_shows(&wrapped, Some(&handler)).await);
                }
                (plain, wrapped) => panic!("{:?} {:?}", plain.err(), wrapped.err()),
            }
        });
    }

    #[test]
    fn graphs_of_graph_flow(plan in plan()) {
        recorded(async {
            let handler = LangGraphHandler::new();
            match (flow_graph(&plan, None), flow_graph(&plan, Some(&handler))) {
                (Err(plain), Err(wrapped)) => assert_eq!(kind(&plain), kind(&wrapped)),
                (Ok(plain), Ok(wrapped)) => {
                    assert_eq!(flow_shows(&plain, None).await, flow_shows(&wrapped, Some(&handler)).await);
                }
                (plain, wrapped) => panic!("{:?} {:?}", plain.err(), wrapped.err()),
            }
        });
    }
}

/// What a tool and a model say of themselves and answer.
async fn parts_show(tool: &dyn BaseTool, model: &dyn BaseChatModel) -> Vec<String> {
    let config: RunnableConfig = thread("t");
    let mut shown = vec![
        tool.name().to_owned(),
        tool.description().to_owned(),
        format!("{:?}", tool.parameters()),
        format!("{:?}", tool.to_tool_def()),
        model.name().to_owned(),
    ];
    for args in [json!({"city": "Paris"}), json!({}), json!(null)] {
        shown.push(format!("{:?}", tool.invoke(&args, &config)));
        shown.push(format!("{:?}", tool.ainvoke(&args, &config).await));
    }
    let asked = [vec![Message::human("q")], vec![], vec![Message::tool_result("1", "r")]];
    for messages in &asked {
        let bound = model.bind_tools(vec![ToolDef {
            name: "t".into(),
            description: String::new(),
            parameters: json!({}),
        }]);
        shown.push(format!("{:?}", model.invoke(messages, &config)));
        shown.push(format!("{:?}", bound.ainvoke(messages, &config).await));
        let streamed: Vec<_> = model.astream(messages, &config).collect().await;
        shown.push(format!("{streamed:?}"));
    }
    shown
}

#[test]
fn models_and_tools_of_langgraph() {
    let tool = || {
        let search = |args: &Value| match args["city"].as_str() {
            Some(city) => Ok(json!(city)),
            None => Err(ToolError::InvalidArgs("city".into())),
        };
        ClosureTool::new("search", "Searches.", search).with_parameters(json!({"type": "object"}))
    };
    recorded(async {
        let handler = LangGraphHandler::new();
        let wrapped =
            parts_show(&*handler.tool(Arc::new(tool())), &*handler.model(Arc::new(Scripted::default())))
                .await;
        assert_eq!(wrapped, parts_show(&tool(), &Scripted::default()).await);
    });
}

#[test]
fn a_state_of_thirty_megabytes_goes_through() {
    let captured = recorded(capture(|| async {
        let handler = LangGraphHandler::new();
        let graph = StateGraph::with_channels(&["x"])
            .add_node_fn("n", |context| async move {
                let size = context.state["x"].as_str().map_or(0, str::len);
                Ok(NodeOutput::new().with_update("size", size))
            })
            .add_edge(START, "n");
        let graph = handler.graph(graph).compile().unwrap();
        let input = State::from([("x".to_owned(), json!("x".repeat(30 << 20)))]);
        handler.invoke(&graph, input, ExecutionConfig::new("t")).await.unwrap()
    }));
    assert_eq!(captured.output["size"], 30 << 20);
    captured.assert_tree("LangGraph COMPLETED session=t\n└─ CHAIN LangGraph OK\n   └─ AGENT n OK\n");
    // The same state went in three times, which is more than is buffered: what did not fit was counted.
    assert!(captured.stats.dropped_total() > 0);
}

/// Of a checkpointer, everything is forwarded.
#[tokio::test]
async fn checkpointers_of_adk_graph() {
    use adk_graph::{checkpoint::RetentionPolicy, state::Checkpoint};
    let handler = LangGraphHandler::new();
    let saver = handler.checkpointer(MemoryCheckpointer::new());
    let mut ids = Vec::new();
    for step in 0..3 {
        let checkpoint = Checkpoint::new("t", State::new(), step, vec!["n".into()]);
        ids.push(saver.save(&checkpoint).await.unwrap());
    }
    assert_eq!(saver.load("t").await.unwrap().unwrap().step, 2);
    assert_eq!(saver.load_by_id(&ids[0]).await.unwrap().unwrap().step, 0);
    assert_eq!(saver.list("t").await.unwrap().len(), 3);
    assert_eq!(saver.prune("t", &RetentionPolicy::keep_last(1)).await.unwrap(), 2);
    saver.delete("t").await.unwrap();
    assert!(saver.load("t").await.unwrap().is_none());
}
