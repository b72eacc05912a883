//! Runners.

use std::{fmt, ops::Deref, sync::Arc};

use adk_core::{
    Agent, AgentInvoker, Content, Event, EventStream, InvocationId, Result, RunConfig, SessionId, UserId,
};
use adk_runner::Runner;
use pandaprobe_core::{Handler, Run, SpanKind};

use crate::{
    AdkHandler,
    follow::{Later, Reader, follow},
    last_said::LastSaid,
    message,
    run::End,
    step::{AdkIds, Step},
};

/// A [`Runner`] each of whose runs is a trace. Made by [`AdkHandler::runner`]; everything else that a runner can do is
/// reached through [`Deref`].
///
/// The trace begins when a run is asked for and ends with its stream: as an error if the last item of that is one, as
/// cancelled if the run is [interrupted](Runner::interrupt), and with `metadata["pandaprobe.end"] = "stopped_by_reader"`
/// if the stream is dropped before its end.
#[derive(Clone)]
pub struct TracedRunner {
    runner: Arc<Runner>,
    handler: Handler,
}

impl TracedRunner {
    pub(crate) fn new(runner: Arc<Runner>, handler: &Handler) -> Self {
        Self { runner, handler: handler.clone() }
    }

    /// The same runner, with runs that are recorded by `handler`: for one user's request.
    ///
    /// ```
    /// use pandaprobe_adk::{AdkHandler, TracedRunner};
    ///
    /// fn for_user(runner: &TracedRunner, handler: &AdkHandler, user: &str) -> TracedRunner {
    ///     runner.traced_by(&handler.clone().user_id(user))
    /// }
    /// ```
    #[must_use]
    pub fn traced_by(&self, handler: &AdkHandler) -> Self {
        Self::new(Arc::clone(&self.runner), &handler.handler)
    }

    /// As [`Runner::run`].
    ///
    /// # Errors
    ///
    /// Those of the runner.
    pub async fn run(
        &self,
        user_id: UserId,
        session_id: SessionId,
        user_content: Content,
    ) -> Result<EventStream> {
        self.run_with_config(user_id, session_id, user_content, None).await
    }

    /// As [`Runner::run_str`].
    ///
    /// # Errors
    ///
    /// Those of the runner. Ids that are none begin no run, and no trace.
    pub async fn run_str(
        &self,
        user_id: &str,
        session_id: &str,
        user_content: Content,
    ) -> Result<EventStream> {
        let (user_id, session_id) = (UserId::try_from(user_id)?, SessionId::try_from(session_id)?);
        self.run(user_id, session_id, user_content).await
    }

    /// As [`Runner::run_with_config`].
    ///
    /// # Errors
    ///
    /// Those of the runner.
    pub async fn run_with_config(
        &self,
        user_id: UserId,
        session_id: SessionId,
        user_content: Content,
        run_config: Option<RunConfig>,
    ) -> Result<EventStream> {
        if !pandaprobe_core::is_enabled() {
            return self.runner.run_with_config(user_id, session_id, user_content, run_config).await;
        }
        let invocation = self.start_with_config(user_id, session_id, user_content, run_config).await?;
        Ok(invocation.into_events())
    }

    /// As [`Runner::start_with_config`].
    ///
    /// # Errors
    ///
    /// Those of the runner.
    pub async fn start_with_config(
        &self,
        user_id: UserId,
        session_id: SessionId,
        user_content: Content,
        run_config: Option<RunConfig>,
    ) -> Result<TracedInvocation> {
        let Some(step) = self.begin(user_id.as_ref(), session_id.as_ref(), &user_content) else {
            let run = self.runner.start_with_config(user_id, session_id, user_content, run_config);
            let run = run.await?;
            return Ok(TracedInvocation {
                invocation_id: run.invocation_id().clone(),
                events: run.into_events(),
            });
        };
        let mut invocation_id = None;
        let (span, id) = (step.span.clone(), &mut invocation_id);
        let start = move || async move {
            let run = self.runner.start_with_config(user_id, session_id, user_content, run_config).await?;
            span.set_metadata("adk.invocation_id", run.invocation_id().as_ref());
            *id = Some(run.invocation_id().clone());
            Ok(run.into_events())
        };
        let events = follow(step, Events::default(), start).await?;
        match invocation_id {
            Some(invocation_id) => Ok(TracedInvocation { invocation_id, events }),
            None => Err(adk_core::AdkError::agent("a run without an id")),
        }
    }

    fn begin(&self, user: &str, session: &str, content: &Content) -> Option<Arc<Step>> {
        let name = self.runner.app_name();
        Step::run(&self.handler, name, AdkIds { session, user }, || {
            Run::new(name, SpanKind::Chain).input(message::conversation([content]))
        })
    }
}

impl Deref for TracedRunner {
    type Target = Runner;

    fn deref(&self) -> &Runner {
        &self.runner
    }
}

impl AgentInvoker for TracedRunner {
    fn agent(&self) -> Option<Arc<dyn Agent>> {
        self.runner.agent()
    }

    fn invoke<'a, 'u, 's, 'b>(
        &'a self,
        user_id: &'u str,
        session_id: &'s str,
        content: Content,
    ) -> Later<'b, Result<EventStream>>
    where
        'a: 'b,
        'u: 'b,
        's: 'b,
        Self: 'b,
    {
        if !pandaprobe_core::is_enabled() {
            return self.runner.invoke(user_id, session_id, content);
        }
        Box::pin(async move {
            let Some(step) = self.begin(user_id, session_id, &content) else {
                return self.runner.invoke(user_id, session_id, content).await;
            };
            follow(step, Events::default(), || self.runner.invoke(user_id, session_id, content)).await
        })
    }
}

impl fmt::Debug for TracedRunner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TracedRunner")
            .field("app_name", &self.runner.app_name())
            .field("handler", &self.handler)
            .finish_non_exhaustive()
    }
}

/// A run that has an id and was not read yet, as adk's `RunnerInvocation`. Made by [`TracedRunner::start_with_config`].
#[must_use = "a run does nothing until its events are read"]
pub struct TracedInvocation {
    invocation_id: InvocationId,
    events: EventStream,
}

impl TracedInvocation {
    /// The id of the run.
    pub fn invocation_id(&self) -> &InvocationId {
        &self.invocation_id
    }

    /// The events of the run.
    pub fn into_events(self) -> EventStream {
        self.events
    }
}

impl fmt::Debug for TracedInvocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TracedInvocation").field("invocation_id", &self.invocation_id).finish_non_exhaustive()
    }
}

/// Reads the events of a run.
#[derive(Debug, Default)]
struct Events {
    said: LastSaid,
}

impl Reader<Event> for Events {
    fn read(&mut self, event: &Event, _: &Step) {
        self.said.hear(event);
    }

    fn conclude(&mut self, step: &Step, _: &End) -> Option<String> {
        self.said.take().into_iter().for_each(|said| step.span.set_output(said));
        None
    }

    fn is_complete(&self) -> bool {
        false
    }
}
