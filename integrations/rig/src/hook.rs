//! The hook of rig's agents: what happens in a run, told to the run's record.

use rig_agent::agent::{
    AgentHook, DispatchAction, DispatchEvent, HookContext, InvalidToolCallAction, InvalidToolCallContext,
    ObservationAction, OutcomeAction, OutcomeEvent, ReasoningDelta, RunSettled, RunStart, RunStartAction,
    StepEventKind, TextDelta, ToolCallDelta,
};
use rig_core::effect::EffectKind;

use crate::{
    RigHandler,
    run::{Found, Run},
};

/// It observes, and never steers.
impl AgentHook for RigHandler {
    fn name(&self) -> Option<String> {
        Some("pandaprobe".to_owned())
    }

    async fn on_run_start(&self, context: &HookContext, event: RunStart<'_>) -> RunStartAction {
        if let Some(run) = self.run(context) {
            run.prompted(event.prompt, event.history);
        }
        RunStartAction::Continue
    }

    async fn on_dispatch(&self, context: &HookContext, event: DispatchEvent<'_>) -> DispatchAction {
        if let Some(run) = self.run(context) {
            match event.kind {
                EffectKind::Completion { request, .. } => run.asks_model(event.id, request, event.turn),
                EffectKind::ToolCall { name, args } => {
                    run.calls_tool(context, event.id, name, args, event.call_id, event.turn)
                }
                other => run.calls(event.id, other),
            }
        }
        DispatchAction::Proceed
    }

    async fn on_outcome(&self, context: &HookContext, event: OutcomeEvent<'_>) -> OutcomeAction {
        if let Some(run) = self.run(context) {
            run.came_out(&event);
        }
        OutcomeAction::Proceed
    }

    async fn on_text_delta(&self, context: &HookContext, event: TextDelta<'_>) -> ObservationAction {
        if let Some(run) = self.run(context) {
            run.token(event.delta);
        }
        ObservationAction::Continue
    }

    async fn on_reasoning_delta(&self, context: &HookContext, _: ReasoningDelta<'_>) -> ObservationAction {
        if let Some(run) = self.run(context) {
            run.token("");
        }
        ObservationAction::Continue
    }

    async fn on_tool_call_delta(&self, context: &HookContext, _: ToolCallDelta<'_>) -> ObservationAction {
        if let Some(run) = self.run(context) {
            run.token("");
        }
        ObservationAction::Continue
    }

    async fn on_invalid_tool_call(
        &self,
        context: &HookContext,
        event: &InvalidToolCallContext,
    ) -> Option<InvalidToolCallAction> {
        if let Some(run) = self.run(context) {
            run.invalid_call(event);
        }
        None
    }

    async fn on_run_settled(&self, context: &HookContext, event: RunSettled<'_>) {
        if let Some(run) = self.run(context) {
            run.settled(event.outcome);
        }
    }

    fn observes(&self, kind: StepEventKind) -> bool {
        // What is dispatched, and its outcome, say the same.
        !matches!(kind, StepEventKind::CompletionCall | StepEventKind::ModelTurnFinished)
    }
}

impl RigHandler {
    /// The record of the run, if it is this hook that keeps it.
    fn run(&self, context: &HookContext) -> Option<Found> {
        // Hooks live behind a pointer of the agent's or the request's own.
        Run::of(context, self, std::ptr::from_ref(self).addr())
    }
}
