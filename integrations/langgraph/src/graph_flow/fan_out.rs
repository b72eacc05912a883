//! Tasks that run side by side.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use graph_flow::{Context, FanOutTask, NextAction, Result, Task, TaskResult};
use pandaprobe_core::{Handler, Scope};

use super::task::{TracedTask, ended, started};
use crate::{
    LangGraphHandler,
    current::{InRun, Within, run_in, within},
    step::Step,
};

/// A `FanOutTask` whose children are traced, below it. Made by [`LangGraphHandler::fan_out`].
#[must_use = "a task does nothing until it is added to a graph"]
#[derive(Clone)]
pub struct TracedFanOut {
    id: String,
    children: Vec<Arc<dyn Task>>,
    prefix: Option<String>,
    next_action: Option<NextAction>,
    handler: Handler,
}

impl LangGraphHandler {
    /// A task that runs `children` side by side, as `FanOutTask` does, and traces it and them.
    ///
    /// `FanOutTask` runs its children in tasks of tokio, where they cannot know of which run they are: children of its own that
    /// are wrapped are traces of their own.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use graph_flow::{GraphBuilder, Task};
    /// use pandaprobe_langgraph::LangGraphHandler;
    ///
    /// # fn example(handler: &LangGraphHandler, weather: Arc<dyn Task>, news: Arc<dyn Task>) -> GraphBuilder {
    /// let gather = handler.fan_out("gather", vec![weather, news]).with_prefix("gathered");
    /// GraphBuilder::new("briefing").add_task(Arc::new(gather))
    /// # }
    /// ```
    pub fn fan_out(&self, id: impl Into<String>, children: Vec<Arc<dyn Task>>) -> TracedFanOut {
        TracedFanOut {
            id: id.into(),
            children,
            prefix: None,
            next_action: None,
            handler: self.handler.clone(),
        }
    }
}

impl TracedFanOut {
    /// As `FanOutTask::with_prefix`.
    pub fn with_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = Some(prefix.into());
        self
    }

    /// As `FanOutTask::with_next_action`.
    pub fn with_next_action(mut self, next: NextAction) -> Self {
        self.next_action = Some(next);
        self
    }

    /// The task of the runtime, with children that know where they are run.
    fn task(&self) -> Arc<FanOutTask> {
        let here = within().map(|within| {
            let place = Scope::shared().open();
            Within { place: Some(Arc::new(place)), ..within }
        });
        let child = |child: &Arc<dyn Task>| -> Arc<dyn Task> {
            match &here {
                Some(within) => Arc::new(Placed {
                    task: TracedTask { task: Arc::clone(child), handler: self.handler.clone() },
                    within: within.clone(),
                }),
                None => Arc::clone(child),
            }
        };
        let mut task = FanOutTask::new(self.id.clone(), self.children.iter().map(child).collect());
        if let Some(prefix) = &self.prefix {
            task = task.with_prefix(prefix.clone());
        }
        if let Some(next) = &self.next_action {
            task = task.with_next_action(next.clone());
        }
        task
    }
}

#[async_trait]
impl Task for TracedFanOut {
    fn id(&self) -> &str {
        &self.id
    }

    async fn run(&self, context: Context) -> Result<TaskResult> {
        let at = std::ptr::from_ref(self).addr();
        let step = started(&self.handler, (&self.id, at, 0), &context);
        // Where the step is current, or the one of a wrapper around this one.
        Step::record(step, |_| async { self.task().run(context).await }, ended).await
    }
}

impl fmt::Debug for TracedFanOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let children: Vec<&str> = self.children.iter().map(|child| child.id()).collect();
        f.debug_struct("TracedFanOut")
            .field("id", &self.id)
            .field("children", &children)
            .finish_non_exhaustive()
    }
}

/// A task that runs where it belongs, whoever polls it.
struct Placed {
    task: TracedTask,
    within: Within,
}

#[async_trait]
impl Task for Placed {
    fn id(&self) -> &str {
        self.task.id()
    }

    async fn run(&self, context: Context) -> Result<TaskResult> {
        let inner = run_in(&self.within, || self.task.run(context));
        InRun::new(self.within.clone(), inner).await
    }
}
