//! Runs.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use adk_core::RunConfig;
use adk_graph::{
    CompiledGraph, ExecutionConfig, GraphError, State, StreamEvent, StreamMode, error::Result,
    executor::GraphOutcome,
};
use futures_core::Stream;
use serde_json::json;

use super::{interrupt_value, object};
use crate::{
    LangGraphHandler,
    current::{InRun, run_in},
    recorder::{GraphRun, RunEnd, RunStart},
    threads::Thread,
    watch::{StreamEnd, Watch, WatchedStream},
};

impl LangGraphHandler {
    /// [`CompiledGraph::invoke`], traced: a trace with a CHAIN span, or a part of what is recorded where the program is. Its
    /// session is the thread, unless somebody says another one. A run that is interrupted has not failed; the run that
    /// resumes its thread names it in `metadata["pandaprobe.resumes_trace_id"]`.
    ///
    /// # Errors
    ///
    /// Those of the graph.
    pub async fn invoke(
        &self,
        graph: &CompiledGraph,
        input: State,
        config: ExecutionConfig,
    ) -> Result<State> {
        let start = self.starts(graph, &input, &config);
        self.recorded(start, || graph.invoke(input, config), |state| state).await
    }

    /// [`CompiledGraph::invoke_with_run_config`], traced as [`invoke`](Self::invoke).
    ///
    /// # Errors
    ///
    /// Those of the graph.
    pub async fn invoke_with_run_config(
        &self,
        graph: &CompiledGraph,
        input: State,
        config: ExecutionConfig,
        run_config: RunConfig,
    ) -> Result<State> {
        let start = self.starts(graph, &input, &config);
        let invoke = || graph.invoke_with_run_config(input, config, run_config);
        self.recorded(start, invoke, |state| state).await
    }

    /// [`CompiledGraph::invoke_detailed`], traced as [`invoke`](Self::invoke).
    ///
    /// # Errors
    ///
    /// Those of the graph.
    pub async fn invoke_detailed(
        &self,
        graph: &CompiledGraph,
        input: State,
        config: ExecutionConfig,
    ) -> Result<GraphOutcome> {
        let start = self.starts(graph, &input, &config);
        self.recorded(start, || graph.invoke_detailed(input, config), |outcome| &outcome.state).await
    }

    /// [`CompiledGraph::invoke_detailed_with_run_config`], traced as [`invoke`](Self::invoke).
    ///
    /// # Errors
    ///
    /// Those of the graph.
    pub async fn invoke_detailed_with_run_config(
        &self,
        graph: &CompiledGraph,
        input: State,
        config: ExecutionConfig,
        run_config: RunConfig,
    ) -> Result<GraphOutcome> {
        let start = self.starts(graph, &input, &config);
        let invoke = || graph.invoke_detailed_with_run_config(input, config, run_config);
        self.recorded(start, invoke, |outcome| &outcome.state).await
    }

    /// [`CompiledGraph::stream`], traced as [`invoke`](Self::invoke). The run begins, and belongs, where this is called. A
    /// stream that is dropped early is `OK`, with `metadata["pandaprobe.end"]` set to `stopped_by_reader`.
    pub fn stream<'a>(
        &self,
        graph: &'a CompiledGraph,
        input: State,
        config: ExecutionConfig,
        mode: StreamMode,
    ) -> TracedGraphStream<'a> {
        let start = self.starts(graph, &input, &config);
        self.streamed(start, || graph.stream(input, config, mode))
    }

    /// [`CompiledGraph::stream_with_run_config`], traced as [`stream`](Self::stream).
    pub fn stream_with_run_config<'a>(
        &self,
        graph: &'a CompiledGraph,
        input: State,
        config: ExecutionConfig,
        mode: StreamMode,
        run_config: RunConfig,
    ) -> TracedGraphStream<'a> {
        let start = self.starts(graph, &input, &config);
        self.streamed(start, || graph.stream_with_run_config(input, config, mode, run_config))
    }

    fn starts(&self, graph: &CompiledGraph, input: &State, config: &ExecutionConfig) -> Option<RunStart> {
        self.handler.is_enabled().then(|| RunStart {
            name: None,
            input: Some(object(input)),
            thread: Some(Thread {
                id: config.thread_id.clone(),
                kept_by: graph.checkpointer().map_or(0, |saver| Arc::as_ptr(saver).cast::<()>().addr()),
            }),
            // This runtime goes on with whatever is saved of the thread.
            resumes: graph.checkpointer().is_some(),
        })
    }

    async fn recorded<T, F: Future<Output = Result<T>>>(
        &self,
        start: Option<RunStart>,
        invoke: impl FnOnce() -> F,
        state: impl FnOnce(&T) -> &State,
    ) -> Result<T> {
        GraphRun::record(
            self,
            start,
            |_| invoke(),
            |result| match result {
                Ok(done) => RunEnd { output: Some(object(state(done))), ..RunEnd::default() },
                Err(error) => failed(error),
            },
        )
        .await
    }

    fn streamed<'a, S>(&self, start: Option<RunStart>, stream: impl FnOnce() -> S) -> TracedGraphStream<'a>
    where
        S: Stream<Item = Result<StreamEvent>> + Send + 'a,
    {
        let Some((run, within)) = GraphRun::begin(self, start) else {
            return TracedGraphStream(Box::pin(stream()));
        };
        let inner = run_in(&within, || run.root().scope_stream(stream()));
        let watch = RunWatch { run, end: None };
        TracedGraphStream(Box::pin(WatchedStream::new(InRun::new(within, inner), watch)))
    }
}

fn failed(error: &GraphError) -> RunEnd {
    match error {
        GraphError::Interrupted(paused) => RunEnd {
            output: Some(object(&paused.state)),
            interrupt: Some(interrupt_value(&paused.interrupt)),
            ..RunEnd::default()
        },
        error => RunEnd { error: Some(error.to_string()), ..RunEnd::default() },
    }
}

/// The events of a run that is traced. Made by [`LangGraphHandler::stream`].
#[must_use = "streams do nothing unless polled"]
pub struct TracedGraphStream<'a>(Pin<Box<dyn Stream<Item = Result<StreamEvent>> + Send + 'a>>);

impl Stream for TracedGraphStream<'_> {
    type Item = Result<StreamEvent>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(context)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl fmt::Debug for TracedGraphStream<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TracedGraphStream")
    }
}

struct RunWatch {
    run: Arc<GraphRun>,
    end: Option<RunEnd>,
}

impl Watch<Result<StreamEvent>> for RunWatch {
    fn item(&mut self, item: &Result<StreamEvent>) {
        let end = match item {
            Ok(StreamEvent::Done { state, .. }) => {
                RunEnd { output: Some(object(state)), ..RunEnd::default() }
            }
            Ok(StreamEvent::Interrupted { node, message }) => {
                RunEnd { interrupt: Some(json!({"node": node, "message": message})), ..RunEnd::default() }
            }
            Ok(_) => return,
            Err(error) => failed(error),
        };
        self.end = Some(end);
    }

    fn end(self, how: StreamEnd) {
        self.run.end_of_stream(self.end, how);
    }
}
