//! Runs of a runner that is not wrapped: agents that follow each other by transfers, as one run.
//!
//! Such a runner shows itself to its agents alone. It starts the first, keeps the stream of that until the run is over, and
//! starts whomever it transfers to with the id of the first invocation.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak},
};

use adk_core::InvocationContext;
use serde_json::Value;

use crate::step::Step;

/// A run, as long as one of its agents has it.
#[derive(Debug)]
pub(crate) struct Run {
    step: Arc<Step>,
    /// Wrapped together, so that all say the same of whose they are.
    family: Family,
    root_invocation: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// To whom the last agent transferred.
    awaited: Option<String>,
    output: Option<Value>,
    end: End,
}

/// How the last agent ended.
#[derive(Clone, Debug, Default)]
pub(crate) enum End {
    /// It did not come to that.
    #[default]
    GivenUp,
    Done,
    Left,
    Failed(String),
    Panicked(Option<String>),
}

/// Agents that are wrapped together: one, and those that it may transfer to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Family(Arc<()>);

impl PartialEq for Family {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// Runs that wait for an agent, by their first invocation.
static WAITING: LazyLock<Mutex<HashMap<String, Weak<Run>>>> = LazyLock::new(Mutex::default);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Run {
    pub(crate) fn new(step: Arc<Step>, family: &Family, ctx: &dyn InvocationContext) -> Arc<Self> {
        let root_invocation = ctx.orchestration_root_invocation_id().to_owned();
        Arc::new(Self { step, family: family.clone(), root_invocation, state: Mutex::default() })
    }

    pub(crate) fn step(&self) -> &Step {
        &self.step
    }

    /// The run that waits for this agent.
    pub(crate) fn waiting(ctx: &dyn InvocationContext, agent: &str, family: &Family) -> Option<Arc<Self>> {
        let run = lock(&WAITING).get(ctx.orchestration_root_invocation_id())?.upgrade()?;
        let is_awaited =
            run.family == *family && lock(&run.state).awaited.take_if(|name| name == agent).is_some();
        is_awaited.then_some(run)
    }

    /// An agent of the run transfers to another.
    pub(crate) fn awaits(self: &Arc<Self>, agent: &str) {
        lock(&self.state).awaited = Some(agent.to_owned());
        lock(&WAITING).insert(self.root_invocation.clone(), Arc::downgrade(self));
    }

    /// An agent of the run has ended.
    pub(crate) fn agent_ended(&self, output: Option<&Value>, end: End) {
        let mut state = lock(&self.state);
        state.end = end;
        state.output = output.cloned().or_else(|| state.output.take());
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let mut waiting = lock(&WAITING);
        if waiting.get(&self.root_invocation).is_some_and(|run| run.strong_count() == 0) {
            waiting.remove(&self.root_invocation);
        }
        drop(waiting);
        let State { output, end, .. } = std::mem::take(&mut *lock(&self.state));
        let span = self.step.span.clone();
        output.into_iter().for_each(|output| span.set_output(output));
        match end {
            End::Panicked(message) => span.panicked(message),
            _ if std::thread::panicking() => span.panicked(None),
            End::Failed(error) => span.fail(error),
            End::GivenUp => span.cancel(),
            _ if self.step.is_interrupted() => span.cancel(),
            End::Left => span.stopped_by_reader(),
            End::Done => span.end(),
        }
    }
}
