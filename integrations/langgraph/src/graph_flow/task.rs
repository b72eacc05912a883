//! Tasks, which are the nodes of this runtime.

use std::sync::Arc;

use async_trait::async_trait;
use graph_flow::{Context, NextAction, Result, Task, TaskResult};
use pandaprobe_core::{Handler, Run, Span, SpanKind};
use serde_json::{Value, json};

use super::{action, context_value};
use crate::{
    LangGraphHandler,
    current::Here,
    messages,
    step::{Step, StepEnd},
};

impl LangGraphHandler {
    /// The same task, with each run of it traced: an AGENT span with the context it got and what it answered. What it records is
    /// below.
    ///
    /// The span is a part of the run that runs the task, whosever that is.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use graph_flow::{Context, Graph, GraphBuilder, NextAction, Task, TaskResult};
    /// use pandaprobe_langgraph::LangGraphHandler;
    ///
    /// struct Greet;
    ///
    /// #[async_trait::async_trait]
    /// impl Task for Greet {
    ///     fn id(&self) -> &str {
    ///         "greet"
    ///     }
    ///
    ///     async fn run(&self, _: Context) -> graph_flow::Result<TaskResult> {
    ///         Ok(TaskResult::new(Some("Hello!".to_owned()), NextAction::End))
    ///     }
    /// }
    ///
    /// # fn example() -> graph_flow::Result<Graph> {
    /// let handler = LangGraphHandler::new();
    /// GraphBuilder::new("greetings").add_task(handler.task(Arc::new(Greet))).build()
    /// # }
    /// ```
    pub fn task(&self, task: Arc<dyn Task>) -> Arc<dyn Task> {
        Arc::new(TracedTask { task, handler: self.handler.clone() })
    }
}

pub(super) struct TracedTask {
    pub(super) task: Arc<dyn Task>,
    pub(super) handler: Handler,
}

#[async_trait]
impl Task for TracedTask {
    fn id(&self) -> &str {
        self.task.id()
    }

    async fn run(&self, context: Context) -> Result<TaskResult> {
        // What is wrapped twice is called by the wrapper around it.
        let (at, inside) = (std::ptr::from_ref(self).addr(), Arc::as_ptr(&self.task).cast::<()>().addr());
        let step = started(&self.handler, (self.task.id(), at, inside), &context);
        Step::record(step, |_| self.task.run(context), ended).await
    }
}

/// Starts the run of a task. What tells a call is which task is called: by the wrapper, and by what that has inside.
pub(super) fn started(
    own: &Handler,
    (id, at, inside): (&str, usize, usize),
    context: &Context,
) -> Option<Step> {
    let here = Here::current();
    Step::start_calling(own, here.clone(), (id, at, inside), || {
        let input = context_value(context);
        if let Some(here) = here {
            here.run.takes(None, || input.clone());
        }
        Run::new(id, SpanKind::Agent).metadata("langgraph_node", id).input(messages::state(input))
    })
}

pub(super) fn ended(span: &Span, result: &Result<TaskResult>) -> StepEnd {
    let result = match result {
        Ok(result) => result,
        Err(error) => return StepEnd::Failed(error.to_string()),
    };
    span.set_metadata("next_action", action(&result.next_action));
    if let NextAction::GoTo(target) = &result.next_action {
        span.set_metadata("next", json!([target]));
    }
    let output = answer(result);
    match result.next_action {
        NextAction::WaitForInput => {
            StepEnd::Interrupted { value: json!(result.response), output: Some(output) }
        }
        _ => StepEnd::Done(output),
    }
}

fn answer(result: &TaskResult) -> Value {
    match &result.status_message {
        Some(status) => json!({"response": result.response, "status_message": status}),
        None => json!({"response": result.response}),
    }
}
