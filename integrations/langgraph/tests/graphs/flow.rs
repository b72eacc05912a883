//! `graph-flow`.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use graph_flow::{
    Context, FlowRunner, Graph, GraphBuilder, GraphError, InMemorySessionStorage, NextAction, Session,
    SessionStorage, Task, TaskResult,
};
use pandaprobe_core::{SpanKind, span as open_span, testing::capture};
use pandaprobe_langgraph::LangGraphHandler;
use serde_json::json;

use crate::kit::{Fault, one, span};

type Does = dyn Fn(&Context) -> graph_flow::Result<TaskResult> + Send + Sync;

/// A task that does what it is told.
struct Do(&'static str, Box<Does>);

#[async_trait]
impl Task for Do {
    fn id(&self) -> &str {
        self.0
    }

    async fn run(&self, context: Context) -> graph_flow::Result<TaskResult> {
        open_span(format!("in {}", self.0)).scope(tokio::time::sleep(Duration::from_millis(2))).await;
        (self.1)(&context)
    }
}

pub(crate) fn does(
    id: &'static str,
    f: impl Fn(&Context) -> graph_flow::Result<TaskResult> + Send + Sync + 'static,
) -> Arc<dyn Task> {
    Arc::new(Do(id, Box::new(f)))
}

pub(crate) fn says(id: &'static str, text: &'static str, next: NextAction) -> Arc<dyn Task> {
    does(id, move |_| Ok(TaskResult::new(Some(text.to_owned()), next.clone())))
}

/// A task that runs a flow of its own.
pub(crate) fn nested(graph: Graph) -> Arc<dyn Task> {
    struct Nested(Graph);
    #[async_trait]
    impl Task for Nested {
        fn id(&self) -> &str {
            "nested"
        }
        async fn run(&self, _: Context) -> graph_flow::Result<TaskResult> {
            let mut session = Session::new_from_task("inner".to_owned(), "agent");
            LangGraphHandler::new().execute_session(&self.0, &mut session).await?;
            Ok(TaskResult::new(None, NextAction::GoTo("end".to_owned())))
        }
    }
    Arc::new(Nested(graph))
}

pub(crate) async fn stored(start: &str) -> Arc<dyn SessionStorage> {
    let storage = Arc::new(InMemorySessionStorage::new());
    let session = Session::new_from_task("s1".to_owned(), start);
    session.context.add_user_message("weather in Paris?".to_owned());
    session.context.set("k", 1).unwrap();
    storage.save(session).await.unwrap();
    storage
}

fn react(handler: &LangGraphHandler) -> Graph {
    react_with(handler, Fault::None)
}

pub(crate) fn react_with(handler: &LangGraphHandler, fault: Fault) -> Graph {
    let fails = |text: &str| Err(GraphError::TaskExecutionFailed(text.to_owned()));
    let agent = does("agent", move |context| {
        let model = open_span("chat").kind(SpanKind::Llm).model("scripted");
        model.try_run(|_| match context.get::<String>("weather") {
            _ if fault == Fault::Model => fails("boom"),
            None => Ok(TaskResult::move_to_next_direct()),
            Some(_) => Ok(TaskResult::new(Some("It is sunny.".to_owned()), NextAction::End)),
        })
    });
    let tools = does("tools", move |context| {
        if fault == Fault::Node {
            return fails("node exploded");
        }
        let found = open_span("get_weather")
            .kind(SpanKind::Tool)
            .try_run(|_| if fault == Fault::Tool { Err("no such city") } else { Ok("sunny") });
        context.set("weather", found.unwrap_or_else(|error| error))?;
        Ok(TaskResult::move_to_next_direct())
    });
    GraphBuilder::new("weather")
        .add_task(handler.task(agent))
        .add_task(handler.task(tools))
        .add_edge("agent", "tools")
        .add_edge("tools", "agent")
        .build()
        .unwrap()
}

const REACT: &str = "   ├─ AGENT agent OK
   │  ├─ OTHER in agent OK
   │  └─ LLM chat scripted OK
   ├─ AGENT tools OK
   │  ├─ OTHER in tools OK
   │  └─ TOOL get_weather OK
   └─ AGENT agent OK
      ├─ OTHER in agent OK
      └─ LLM chat scripted OK
";

#[tokio::test]
async fn a_react_graph_has_its_tasks_models_and_tools() {
    let captured = capture(|| async {
        let handler = LangGraphHandler::new();
        let graph = react(&handler);
        let storage = handler.storage(stored("agent").await);
        let runner = FlowRunner::new(Arc::new(graph), Arc::clone(&storage));
        let handler = handler.user_id("ada");
        let result = handler.run(&runner, "s1").await.unwrap();
        assert_eq!(result.response.as_deref(), Some("It is sunny."));
        let mut session = Session::new_from_task("s2".to_owned(), "agent");
        handler.execute_session(&react(&handler), &mut session).await.unwrap();
    })
    .await;
    captured.assert_tree(&format!(
        "LangGraph COMPLETED session=s1 user=ada\n└─ CHAIN LangGraph OK\n{REACT}\
         weather COMPLETED session=s2 user=ada\n└─ CHAIN weather OK\n{REACT}"
    ));
    let trace = captured.trace("LangGraph");
    assert_eq!(trace.input, Some(json!({"messages": [{"role": "user", "content": "weather in Paris?"}]})));
    let root = span(trace, "LangGraph");
    assert_eq!(root.input.as_ref().unwrap()["k"], 1);
    assert_eq!(root.output, Some(json!({"response": "It is sunny.", "status": "completed"})));
    assert_eq!((&root.metadata["checkpoint_id"], &root.metadata["checkpoints"]), (&json!("s1@2"), &json!(1)));
    let tools = span(trace, "tools");
    assert_eq!(tools.metadata["next_action"], "ContinueAndExecute");
    assert_eq!(captured.reports.len(), 0, "{:?}", captured.reports);
}

#[tokio::test(flavor = "multi_thread")]
async fn branches_side_by_side_and_a_flow_inside_of_a_task() {
    let captured = capture(|| async {
        let handler = LangGraphHandler::new().user_id("ada");
        let nested = nested(react(&handler));
        let children = vec![says("p1", "1", NextAction::End), handler.task(says("p2", "2", NextAction::End))];
        let fan = handler
            .fan_out("fan", children)
            .with_prefix("f")
            .with_next_action(NextAction::ContinueAndExecute);
        let graph = GraphBuilder::new("g")
            .add_task(handler.task(Arc::new(fan)))
            .add_task(handler.task(nested))
            .add_task(says("end", "", NextAction::End))
            .add_edge("fan", "nested")
            .build()
            .unwrap();
        let mut session = Session::new_from_task("s1".to_owned(), "fan");
        handler.execute_session(&graph, &mut session).await.unwrap();
        assert_eq!(session.context.get::<String>("f.p2.response").as_deref(), Some("2"));
    })
    .await;
    let trace = one(&captured);
    assert_eq!((trace.user_id.as_deref(), trace.session_id.as_deref()), (Some("ada"), Some("s1")));
    let parent = |of: &str| {
        let parent = span(trace, of).parent_span_id;
        trace.spans.iter().find(|span| Some(span.span_id) == parent).map(|span| span.name.as_str())
    };
    assert_eq!(parent("fan"), Some("g"));
    assert_eq!((parent("p1"), parent("p2")), (Some("fan"), Some("fan")));
    assert_eq!((parent("in p1"), parent("in p2")), (Some("p1"), Some("p2")));
    assert_eq!(
        (parent("nested"), parent("weather"), parent("tools")),
        (Some("g"), Some("nested"), Some("weather"))
    );
    assert_eq!(span(trace, "nested").metadata["next"], json!(["end"]));
    let (p1, p2) = (span(trace, "p1"), span(trace, "p2"));
    assert!(p1.started_at < p2.ended_at.unwrap() && p2.started_at < p1.ended_at.unwrap(), "side by side");
    let root = span(trace, "g");
    assert_eq!(root.output.as_ref().unwrap()["status"], json!({"paused": {"next_task_id": "end"}}));
}

#[tokio::test]
async fn a_task_that_fails_fails_the_run() {
    let captured = capture(|| async {
        let handler = LangGraphHandler::new();
        let fails = does("n", |_| Err(GraphError::TaskExecutionFailed("exploded".to_owned())));
        let graph = GraphBuilder::new("g").add_task(handler.task(fails)).build().unwrap();
        let runner = FlowRunner::new(Arc::new(graph), stored("n").await);
        handler.run(&runner, "s1").await.unwrap_err();
        handler.run(&runner, "missing").await.unwrap_err();
    })
    .await;
    captured.assert_tree(
        "LangGraph ERROR session=s1\n\
         └─ CHAIN LangGraph ERROR: Task execution failed: Task 'n' failed: Task execution failed: exploded\n\
         \u{20}  └─ AGENT n ERROR: Task execution failed: exploded\n\
         \u{20}     └─ OTHER in n OK\n\
         LangGraph ERROR session=missing\n\
         └─ CHAIN LangGraph ERROR: Session not found: missing\n",
    );
}

#[tokio::test]
async fn a_run_that_waits_for_input_is_no_error_and_the_next_one_names_it() {
    let captured = capture(|| async {
        let handler = LangGraphHandler::new();
        let ask = does("ask", |context| match context.get::<String>("answer") {
            None => Ok(TaskResult::new(Some("ok?".to_owned()), NextAction::WaitForInput)),
            Some(answer) => Ok(TaskResult::new(Some(answer), NextAction::End)),
        });
        let graph = GraphBuilder::new("g").add_task(handler.task(ask)).build().unwrap();
        let storage = stored("ask").await;
        let runner = FlowRunner::new(Arc::new(graph), Arc::clone(&storage));
        handler.run(&runner, "s1").await.unwrap();
        let session = storage.get("s1").await.unwrap().unwrap();
        session.context.set("answer", "yes").unwrap();
        storage.save(session).await.unwrap();
        handler.run(&runner, "s1").await.unwrap();
    })
    .await;
    let run = "LangGraph COMPLETED session=s1\n└─ CHAIN LangGraph OK\n   └─ AGENT ask OK\n      └─ OTHER in ask OK\n";
    captured.assert_tree(&format!("{run}{run}"));
    let [first, resumed] = captured.traces.as_slice() else { panic!() };
    assert_eq!(span(first, "LangGraph").metadata["interrupts"], json!(["ok?"]));
    assert_eq!(resumed.metadata["pandaprobe.resumes_trace_id"], json!(first.trace_id.to_string()));
}

#[tokio::test]
async fn a_run_that_is_dropped_is_cancelled() {
    let captured = capture(|| async {
        struct Hangs;
        #[async_trait]
        impl Task for Hangs {
            fn id(&self) -> &str {
                "hangs"
            }
            async fn run(&self, _: Context) -> graph_flow::Result<TaskResult> {
                std::future::pending().await
            }
        }
        let handler = LangGraphHandler::new();
        let graph = GraphBuilder::new("g").add_task(handler.task(Arc::new(Hangs))).build().unwrap();
        let mut session = Session::new_from_task("s1".to_owned(), "hangs");
        let run = handler.execute_session(&graph, &mut session);
        tokio::time::timeout(Duration::from_millis(10), run).await.unwrap_err();
        let quick = GraphBuilder::new("timed out")
            .add_task(handler.task(Arc::new(Hangs)))
            .with_task_timeout(Duration::from_millis(5))
            .build()
            .unwrap();
        handler.execute_session(&quick, &mut session).await.unwrap_err();
    })
    .await;
    captured.assert_tree(
        "g ERROR session=s1\n\
         └─ CHAIN g ERROR: cancelled (cancelled)\n\
         \u{20}  └─ AGENT hangs ERROR: cancelled (cancelled)\n\
         timed out ERROR session=s1\n\
         └─ CHAIN timed out ERROR: Task execution failed: Task 'hangs' timed out after 5ms\n\
         \u{20}  └─ AGENT hangs ERROR: cancelled (cancelled)\n",
    );
}

#[tokio::test]
async fn a_task_of_the_same_name_in_a_flow_of_its_own_is_another_call() {
    let captured = capture(|| async {
        struct Inner(Graph);
        #[async_trait]
        impl Task for Inner {
            fn id(&self) -> &str {
                "start"
            }
            async fn run(&self, _: Context) -> graph_flow::Result<TaskResult> {
                // Not by a handler.
                self.0.execute_session(&mut Session::new_from_task("inner".to_owned(), "start")).await?;
                Ok(TaskResult::new(None, NextAction::End))
            }
        }
        let handler = LangGraphHandler::new();
        let one = |task: Arc<dyn Task>| {
            let twice = handler.task(handler.task(task));
            GraphBuilder::new("g").add_task(twice).build().unwrap()
        };
        let graph = one(Arc::new(Inner(one(says("start", "", NextAction::End)))));
        let mut session = Session::new_from_task("s1".to_owned(), "start");
        handler.execute_session(&graph, &mut session).await.unwrap();
    })
    .await;
    captured.assert_tree(
        "g COMPLETED session=s1\n\
         └─ CHAIN g OK\n\
         \u{20}  └─ AGENT start OK\n\
         \u{20}     └─ AGENT start OK\n\
         \u{20}        └─ OTHER in start OK\n",
    );
}
