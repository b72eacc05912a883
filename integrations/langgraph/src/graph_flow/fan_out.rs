//! Tasks that run side by side.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use graph_flow::{Context, FanOutTask, NextAction, Result, Task, TaskResult};
use pandaprobe_core::{Handler, Scope};

use super::task::{TracedTask, ended, started};
use crate::{
    LangGraphHandler,
    current::{InRun, Within, run_in},
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
    fn task(&self, step: Option<&Step>) -> Arc<FanOutTask> {
        let children = self.children.iter().map(|child| self.child(step, child)).collect();
        let mut task = FanOutTask::new(self.id.clone(), children);
        if let Some(prefix) = &self.prefix {
            task = task.with_prefix(prefix.clone());
        }
        if let Some(next) = &self.next_action {
            task = task.with_next_action(next.clone());
        }
        task
    }

    fn child(&self, step: Option<&Step>, child: &Arc<dyn Task>) -> Arc<dyn Task> {
        let Some(step) = step else {
            return Arc::clone(child);
        };
        let place = step.span().run(|| Scope::shared().open());
        let within = Within { place: Some(Arc::new(place)), ..step.within().clone() };
        let task = Arc::new(TracedTask { task: Arc::clone(child), handler: self.handler.clone() });
        Arc::new(Placed { task, within })
    }
}

#[async_trait]
impl Task for TracedFanOut {
    fn id(&self) -> &str {
        &self.id
    }

    async fn run(&self, context: Context) -> Result<TaskResult> {
        let step = started(&self.handler, &self.id, &context);
        let inner = |step: Option<&Step>| {
            let task = self.task(step);
            async move { task.run(context).await }
        };
        Step::record(step, inner, ended).await
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
    task: Arc<TracedTask>,
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
