//! Runs.

use graph_flow::{ExecutionResult, ExecutionStatus, FlowRunner, Graph, Result, Session};
use serde_json::json;

use super::context_value;
use crate::{
    LangGraphHandler,
    recorder::{GraphRun, RunEnd, RunStart},
    threads::Thread,
};

impl LangGraphHandler {
    /// `runner.run(session_id)`, traced: a trace with a CHAIN span, or a part of what is recorded where the program is. Its session
    /// is that of the runtime, unless somebody says another one.
    ///
    /// A call runs one task, and those to which it leads with `ContinueAndExecute`. Calls of one session are traces of one session;
    /// put a [trace](pandaprobe_core::trace) around them to have them in one. A run that waits for input has not failed; the next
    /// run of its session names it in `metadata["pandaprobe.resumes_trace_id"]`.
    ///
    /// # Errors
    ///
    /// Those of the runner.
    pub async fn run(&self, runner: &FlowRunner, session_id: &str) -> Result<ExecutionResult> {
        let start = self.handler.is_enabled().then(|| RunStart { thread: on(session_id), ..starts() });
        GraphRun::record(self, start, |_| runner.run(session_id), ended).await
    }

    /// `graph.execute_session(session)`, traced as [`run`](Self::run), under the graph's id.
    ///
    /// # Errors
    ///
    /// Those of the graph.
    pub async fn execute_session(&self, graph: &Graph, session: &mut Session) -> Result<ExecutionResult> {
        let start = self.handler.is_enabled().then(|| RunStart {
            name: Some(graph.id.clone()),
            input: Some(context_value(&session.context)),
            thread: on(&session.id),
            ..starts()
        });
        GraphRun::record(self, start, |_| graph.execute_session(session), ended).await
    }
}

fn starts() -> RunStart {
    // What waits on a session is what runs next there.
    RunStart { resumes: true, ..RunStart::default() }
}

fn on(session_id: &str) -> Option<Thread> {
    Some(Thread { id: session_id.to_owned(), kept_by: 0 })
}

fn ended(result: &Result<ExecutionResult>) -> RunEnd {
    match result {
        Ok(done) => RunEnd {
            output: Some(json!({"response": done.response, "status": status(&done.status)})),
            interrupt: matches!(done.status, ExecutionStatus::WaitingForInput).then(|| json!(done.response)),
            error: None,
        },
        Err(error) => RunEnd { error: Some(error.to_string()), ..RunEnd::default() },
    }
}

fn status(status: &ExecutionStatus) -> serde_json::Value {
    match status {
        ExecutionStatus::Paused { next_task_id, .. } => json!({"paused": {"next_task_id": next_task_id}}),
        ExecutionStatus::WaitingForInput => json!("waiting_for_input"),
        ExecutionStatus::Completed => json!("completed"),
    }
}
