//! Agents.

use std::{any::type_name, sync::Arc};

use adk_core::{
    Agent, AgentCapabilities, AgentInteractionMode, AgentTopology, AgentTransferDecision,
    AgentTransferRequest, Event, EventStream, InvocationContext, Result, RunConfig,
};
use pandaprobe_core::{Handler, Run as Begun, SpanKind};
use serde_json::Value;

use crate::{
    follow::{Later, Reader, follow},
    last_said::LastSaid,
    message,
    place::What,
    run::{End, Family, Run},
    step::{AdkIds, Found, Step},
};

/// How an agent of adk hands over: a tool that it never runs.
const TRANSFER: &str = "transfer_to_agent";

/// An agent whose runs are recorded.
pub(crate) struct TracedAgent<A: ?Sized> {
    inner: Arc<A>,
    handler: Handler,
    family: Family,
    /// Where adk looks for whom to transfer to.
    sub_agents: Vec<Arc<dyn Agent>>,
}

impl<A: Agent + ?Sized + 'static> TracedAgent<A> {
    pub(crate) fn new(inner: Arc<A>, handler: &Handler) -> Self {
        Self::of_family(inner, handler, &Family::default())
    }

    fn of_family(inner: Arc<A>, handler: &Handler, family: &Family) -> Self {
        let wrapped = |agent: &Arc<dyn Agent>| -> Arc<dyn Agent> {
            Arc::new(TracedAgent::of_family(Arc::clone(agent), handler, family))
        };
        let sub_agents = inner.sub_agents().iter().map(wrapped).collect();
        Self { inner, handler: handler.clone(), family: family.clone(), sub_agents }
    }

    async fn run_traced(&self, ctx: Arc<dyn InvocationContext>) -> Result<EventStream> {
        let Some((step, run)) = self.begin(ctx.as_ref()) else {
            return self.inner.run(ctx).await;
        };
        let reader = Events {
            author: self.inner.name().to_owned(),
            ctx: Arc::clone(&ctx),
            said: LastSaid::default(),
            run,
            has_transferred: false,
        };
        follow(step, reader, || self.inner.run(ctx)).await
    }

    /// Begins a step of a run, and the run if there is none. `None`: it is not recorded.
    fn begin(&self, ctx: &dyn InvocationContext) -> Option<(Arc<Step>, Option<Arc<Run>>)> {
        let what = What::new(SpanKind::Agent, self.inner.name());
        let agent = || self.step(ctx);
        match Step::inside(what, agent) {
            Found::Step(step) => return Some((step, None)),
            Found::Nothing => return None,
            Found::Outside => {}
        }
        let ids = AdkIds { session: ctx.session_id(), user: ctx.user_id() };
        if let Some(run) = Run::waiting(ctx, self.inner.name(), &self.family) {
            let step = run.step().below(&self.handler, what, ids, agent)?;
            return Some((step, Some(run)));
        }
        let app = What::new(SpanKind::Chain, ctx.app_name());
        let chain = Step::begin(&self.handler, app, Some(ids), || {
            Begun::new(ctx.app_name(), SpanKind::Chain)
                .input(message::conversation([ctx.user_content()]))
                .metadata("adk.invocation_id", ctx.invocation_id())
        })?;
        let run = Run::new(chain, &self.family, ctx);
        let Found::Step(step) = run.step().enter(|| Step::inside(what, agent)) else {
            // It does not fit: the run ends, and its agent is not seen.
            run.agent_ended(None, End::Done);
            return None;
        };
        Some((step, Some(run)))
    }

    fn step(&self, ctx: &dyn InvocationContext) -> Begun {
        let mut step = Begun::new(self.inner.name(), SpanKind::Agent)
            .input(message::conversation([ctx.user_content()]))
            .metadata("adk.invocation_id", ctx.invocation_id());
        if let Some(name) = type_of::<A>() {
            step = step.metadata("adk.agent_type", name);
        }
        match ctx.branch() {
            "" => step,
            branch => step.metadata("adk.branch", branch),
        }
    }
}

/// `LlmAgent`, `SequentialAgent`, … ; `None` of an agent whose type was forgotten before it came here.
fn type_of<A: ?Sized>() -> Option<&'static str> {
    let name = type_name::<A>();
    let path = name.split('<').next().unwrap_or(name);
    (!path.starts_with("dyn ")).then(|| path.rsplit("::").next().unwrap_or(path))
}

impl<A: Agent + ?Sized + 'static> Agent for TracedAgent<A> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn description(&self) -> &str {
        self.inner.description()
    }

    fn sub_agents(&self) -> &[Arc<dyn Agent>] {
        &self.sub_agents
    }

    fn interaction_mode(&self) -> AgentInteractionMode {
        self.inner.interaction_mode()
    }

    fn supports_agent_transfer(&self) -> bool {
        self.inner.supports_agent_transfer()
    }

    fn capabilities(&self) -> AgentCapabilities {
        self.inner.capabilities()
    }

    fn topology(&self) -> Option<AgentTopology> {
        self.inner.topology()
    }

    fn configure_run(&self, agent_name: &str, config: &mut RunConfig) {
        self.inner.configure_run(agent_name, config);
    }

    fn transfer_targets_for(&self, agent_name: &str) -> Option<Vec<String>> {
        self.inner.transfer_targets_for(agent_name)
    }

    fn strict_transfer_policy(&self) -> bool {
        self.inner.strict_transfer_policy()
    }

    fn govern_transfer<'a, 'r, 'b>(
        &'a self,
        request: &'r AgentTransferRequest,
    ) -> Later<'b, Result<AgentTransferDecision>>
    where
        'a: 'b,
        'r: 'b,
        Self: 'b,
    {
        self.inner.govern_transfer(request)
    }

    fn run<'a, 'b>(&'a self, ctx: Arc<dyn InvocationContext>) -> Later<'b, Result<EventStream>>
    where
        'a: 'b,
        Self: 'b,
    {
        if !pandaprobe_core::is_enabled() {
            return self.inner.run(ctx);
        }
        Box::pin(self.run_traced(ctx))
    }
}

/// Reads the events of an agent.
struct Events {
    author: String,
    ctx: Arc<dyn InvocationContext>,
    said: LastSaid,
    /// Unless a wrapped runner, or another agent, has it.
    run: Option<Arc<Run>>,
    has_transferred: bool,
}

impl Reader<Event> for Events {
    fn read(&mut self, event: &Event, step: &Step) {
        self.said.hear(event);
        // Events of other agents pass by here too.
        let target = event.actions.transfer_to_agent.as_ref().filter(|_| event.author == self.author);
        if let Some(target) = target {
            self.has_transferred = true;
            let arguments = Value::from_iter([("agent_name", target.as_str())]);
            step.span.span(TRANSFER).kind(SpanKind::Tool).input(arguments).start().end();
            self.run.iter().for_each(|run| run.awaits(target));
        }
    }

    fn conclude(&mut self, step: &Step, end: &End) -> Option<String> {
        let said = self.said.take();
        self.run.iter().for_each(|run| run.agent_ended(said.as_ref(), end.clone()));
        said.into_iter().for_each(|said| step.span.set_output(said));
        None
    }

    fn over(&mut self) {
        // Else it goes on: whoever runs agents has the stream of this one until that is over.
        if !self.has_transferred {
            self.run = None;
        }
    }

    fn is_complete(&self) -> bool {
        self.has_transferred
    }

    fn is_cancelled(&self) -> bool {
        self.ctx.is_cancelled()
    }
}
