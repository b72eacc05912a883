//! Runs.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_core::Stream;
use langgraph::{
    checkpoint::config::{RunnableConfig, RunnableConfigExt},
    graph::CompiledStateGraph,
    prebuilt::ReActAgent,
    runnable::{Runnable, RunnableError},
    stream::StreamPart,
    types::{Command, StreamMode},
};
use serde_json::Value;
use tokio::runtime::Handle;
use tokio_stream::{StreamExt, wrappers::ReceiverStream};

use super::told::Token;
use crate::{
    LangGraphHandler,
    current::run_in,
    recorder::{GraphRun, RunEnd, RunStart},
    threads::Thread,
    watch::{StreamEnd, Watch, WatchedStream},
};

/// The name of a graph to which none was given.
const UNNAMED: &str = "StateGraph";

impl LangGraphHandler {
    /// `graph.ainvoke(input, config)`, traced: a trace with a CHAIN span, or a part of what is recorded where the program is.
    /// Its session is the `thread_id` of `config`, unless somebody says another one. A run that is interrupted has not failed;
    /// the run that resumes its thread names it in `metadata["pandaprobe.resumes_trace_id"]`.
    ///
    /// What the graph calls is given `config` with one key more, `configurable.pandaprobe`, by which wrapped steps know
    /// where they belong.
    ///
    /// # Errors
    ///
    /// Those of the graph.
    pub async fn ainvoke(
        &self,
        graph: &CompiledStateGraph,
        input: &Value,
        config: &RunnableConfig,
    ) -> Result<Value, RunnableError> {
        let start = self.starts_on(graph.name(), kept_by(graph), input, config);
        let inner = |run: Option<&Arc<GraphRun>>| {
            let (token, told) = tell(run, config);
            async move {
                let _token = token;
                graph.ainvoke(input, told.as_ref().unwrap_or(config)).await
            }
        };
        GraphRun::record(self, start, inner, ended).await
    }

    /// `agent.ainvoke(input, config)` of a prebuilt agent, traced as [`ainvoke`](Self::ainvoke). Its nodes cannot be wrapped: its
    /// [model](Self::model) and [tools](Self::tool) can, and stand directly below the run.
    ///
    /// # Errors
    ///
    /// Those of the agent.
    pub async fn ainvoke_agent(
        &self,
        agent: &ReActAgent,
        input: &Value,
        config: &RunnableConfig,
    ) -> Result<Value, RunnableError> {
        let start = self.starts_on(UNNAMED, None, input, config);
        let inner = |run: Option<&Arc<GraphRun>>| {
            let (token, told) = tell(run, config);
            async move {
                let _token = token;
                agent.ainvoke(input, told.as_ref().unwrap_or(config)).await
            }
        };
        GraphRun::record(self, start, inner, ended).await
    }

    /// `graph.astream(input, config, modes)`, traced as [`ainvoke`](Self::ainvoke). The run begins, and belongs, where this is
    /// called.
    ///
    /// The graph runs on when the stream is dropped: that is how this runtime streams. The run then ends as
    /// `stopped_by_reader`, and what it still does is recorded below.
    ///
    /// # Panics
    ///
    /// As `graph.astream`: outside of a runtime of tokio.
    pub fn astream(
        &self,
        graph: &CompiledStateGraph,
        input: &Value,
        config: &RunnableConfig,
        modes: Vec<StreamMode>,
    ) -> TracedParts {
        let start = self.starts_on(graph.name(), kept_by(graph), input, config);
        let Some((run, within)) = GraphRun::begin(self, start) else {
            return TracedParts(Box::pin(graph.astream(input, config, modes)));
        };
        let (token, told) = Token::tell(&run, run.root(), config);
        let parts = run_in(&within, || run.root().run(|| graph.astream(input, &told, modes)));
        let parts = Parts { parts: Some(parts), runtime: Handle::try_current().ok(), token: Some(token) };
        let watch = RunWatch { run, output: None, error: None };
        TracedParts(Box::pin(WatchedStream::new(parts, watch)))
    }

    fn starts_on(
        &self,
        name: &str,
        kept_by: Option<usize>,
        input: &Value,
        config: &RunnableConfig,
    ) -> Option<RunStart> {
        self.handler.is_enabled().then(|| RunStart {
            name: run_name(config).or_else(|| (name != UNNAMED).then(|| name.to_owned())),
            input: Some(input.clone()),
            thread: config
                .get_thread_id()
                .map(|id| Thread { id: id.to_owned(), kept_by: kept_by.unwrap_or_default() }),
            resumes: kept_by.is_some() && resumes(input),
        })
    }
}

/// The address of what saves the graph's threads.
fn kept_by(graph: &CompiledStateGraph) -> Option<usize> {
    graph.checkpointer().map(|saver| Arc::as_ptr(saver).cast::<()>().addr())
}

fn run_name(config: &RunnableConfig) -> Option<String> {
    config.get("run_name")?.as_str().map(str::to_owned)
}

/// Whether the runtime goes on where the thread was left: for a command that says so, or for no input at all.
fn resumes(input: &Value) -> bool {
    let is_command = input.get("resume").is_some_and(|value| !value.is_null());
    input.is_null() || is_command && serde_json::from_value::<Command>(input.clone()).is_ok()
}

fn tell(run: Option<&Arc<GraphRun>>, config: &RunnableConfig) -> (Option<Token>, Option<RunnableConfig>) {
    match run {
        Some(run) => {
            let (token, config) = Token::tell(run, run.root(), config);
            (Some(token), Some(config))
        }
        None => (None, None),
    }
}

fn ended(result: &Result<Value, RunnableError>) -> RunEnd {
    match result {
        Ok(output) => RunEnd { output: Some(output.clone()), ..RunEnd::default() },
        Err(error) => RunEnd { error: Some(error.to_string()), ..RunEnd::default() },
    }
}

/// The parts of a run that is traced. Made by [`LangGraphHandler::astream`].
#[must_use = "streams do nothing unless polled"]
pub struct TracedParts(Pin<Box<dyn Stream<Item = StreamPart> + Send>>);

impl Stream for TracedParts {
    type Item = StreamPart;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(context)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl fmt::Debug for TracedParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TracedParts")
    }
}

/// What the task of the runtime sends. The place of the run is told until that task is over.
struct Parts {
    parts: Option<ReceiverStream<StreamPart>>,
    runtime: Option<Handle>,
    token: Option<Token>,
}

impl Stream for Parts {
    type Item = StreamPart;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<StreamPart>> {
        let Some(parts) = &mut self.parts else {
            return Poll::Ready(None);
        };
        let polled = Pin::new(parts).poll_next(context);
        if let Poll::Ready(None) = polled {
            // The task is over.
            (self.parts, self.token) = (None, None);
        }
        polled
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.parts.as_ref().map_or((0, Some(0)), Stream::size_hint)
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        let (Some(mut parts), Some(token), Some(runtime)) =
            (self.parts.take(), self.token.take(), self.runtime.take())
        else {
            return;
        };
        runtime.spawn(async move {
            let _token = token;
            while parts.next().await.is_some() {}
        });
    }
}

struct RunWatch {
    run: Arc<GraphRun>,
    output: Option<Value>,
    error: Option<String>,
}

impl Watch<StreamPart> for RunWatch {
    fn item(&mut self, part: &StreamPart) {
        match part.mode {
            StreamMode::Values => self.output = Some(part.data.clone()),
            // So the runtime says that a run failed, whatever modes were asked for.
            StreamMode::Debug => {
                self.error = part.data.get("error").and_then(Value::as_str).map(str::to_owned);
            }
            _ => {}
        }
    }

    fn end(self, how: StreamEnd) {
        let Self { run, output, error } = self;
        let has_ended = error.is_some() || matches!(how, StreamEnd::Finished);
        // The task of the runtime dies of a panic and tells nobody.
        let how = match run.panic().filter(|_| has_ended && error.is_none()) {
            Some(message) => StreamEnd::Panicked(message),
            None => how,
        };
        run.end_of_stream(has_ended.then_some(RunEnd { output, error, interrupt: None }), how);
    }
}
