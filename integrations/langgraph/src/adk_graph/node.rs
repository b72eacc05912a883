//! Nodes.

use std::{collections::HashMap, pin::Pin, sync::Arc};

use adk_core::AgentCapabilities;
use adk_graph::{
    GraphError, Node, NodeContext, NodeOutput, StreamEvent,
    error::Result,
    state::{State, StateSchema},
};
use async_trait::async_trait;
use futures_core::Stream;
use pandaprobe_core::{Run, SpanKind};
use serde_json::{Value, json};

use super::{interrupt_value, object};
use crate::{
    TracedNode,
    current::Here,
    step::{Step, StepEnd},
    watch::{StreamEnd, Watch, WatchedStream},
};

type EventStream<'a> = Pin<Box<dyn Stream<Item = Result<StreamEvent>> + Send + 'a>>;

/// A node that is shared already.
pub(super) struct AnyNode(pub(super) Arc<dyn Node>);

#[async_trait]
impl Node for AnyNode {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn description(&self) -> &str {
        self.0.description()
    }

    fn capabilities(&self) -> AgentCapabilities {
        self.0.capabilities()
    }

    async fn execute(&self, context: &NodeContext) -> Result<NodeOutput> {
        self.0.execute(context).await
    }

    fn validate_against(&self, parent: &StateSchema) -> Result<()> {
        self.0.validate_against(parent)
    }

    fn validate(&self) -> Result<()> {
        self.0.validate()
    }

    fn execute_stream<'a>(&'a self, context: &'a NodeContext) -> EventStream<'a> {
        self.0.execute_stream(context)
    }
}

#[async_trait]
impl<N: Node> Node for TracedNode<N> {
    fn name(&self) -> &str {
        self.node.name()
    }

    fn description(&self) -> &str {
        self.node.description()
    }

    fn capabilities(&self) -> AgentCapabilities {
        self.node.capabilities()
    }

    async fn execute(&self, context: &NodeContext) -> Result<NodeOutput> {
        let told = |span: &pandaprobe_core::Span, result: &Result<NodeOutput>| {
            let output = match result {
                Ok(output) => output,
                Err(error) => return failed(error),
            };
            if let Some(next) = output.goto.as_deref().or(self.next.as_deref()) {
                span.set_metadata("next", next);
            }
            match &output.interrupt {
                Some(interrupt) => StepEnd::Interrupted {
                    value: interrupt_value(interrupt),
                    output: (!output.updates.is_empty()).then(|| object(&output.updates)),
                },
                None => StepEnd::Done(object(&output.updates)),
            }
        };
        Step::record(self.started(context), |_| self.node.execute(context), told).await
    }

    fn validate_against(&self, parent: &StateSchema) -> Result<()> {
        self.node.validate_against(parent)
    }

    fn validate(&self) -> Result<()> {
        self.node.validate()
    }

    fn execute_stream<'a>(&'a self, context: &'a NodeContext) -> EventStream<'a> {
        let Some(step) = self.started(context) else {
            return self.node.execute_stream(context);
        };
        let stream = step.inside(|span| span.scope_stream(span.run(|| self.node.execute_stream(context))));
        let told = Told { next: self.next.as_deref().map(<[String]>::to_vec), ..Told::default() };
        Box::pin(WatchedStream::new(stream, NodeWatch { step, told }))
    }
}

impl<N: Node> TracedNode<N> {
    fn started(&self, context: &NodeContext) -> Option<Step> {
        let name = self.node.name();
        let at = std::ptr::from_ref(context).addr();
        let here = Here::current();
        let step = Step::start(&self.handler, here.clone(), (name, at), || {
            Run::new(name, SpanKind::Agent)
                .metadata("langgraph_node", name)
                .metadata("langgraph_step", context.step)
                .input(crate::messages::state(object(&context.state)))
        })?;
        if let Some(here) = here {
            here.run.called(here.parent.id(), name, step.span());
        }
        Some(step)
    }
}

/// A node that asks another one to run may be told that this one waits.
fn failed(error: &GraphError) -> StepEnd {
    match error {
        GraphError::Interrupted(paused) => {
            StepEnd::Interrupted { value: interrupt_value(&paused.interrupt), output: None }
        }
        error => StepEnd::Failed(error.to_string()),
    }
}

/// What the events of a streamed node said.
#[derive(Default)]
struct Told {
    updates: Option<State>,
    next: Option<Vec<String>>,
    interrupt: Option<Value>,
    failed: Option<StepEnd>,
}

struct NodeWatch {
    step: Step,
    told: Told,
}

impl Watch<Result<StreamEvent>> for NodeWatch {
    fn item(&mut self, item: &Result<StreamEvent>) {
        let told = &mut self.told;
        match item {
            Ok(StreamEvent::Updates { updates, .. }) => {
                told.updates.get_or_insert_with(HashMap::new).extend(updates.clone());
            }
            Ok(StreamEvent::RouteDispatched { targets, .. }) => told.next = Some(targets.clone()),
            Ok(StreamEvent::NodeInterrupt { message, data, .. }) => {
                told.interrupt = Some(match data {
                    Some(data) => json!({"message": message, "data": data}),
                    None => json!({"message": message}),
                });
            }
            Ok(StreamEvent::Message { .. }) => self.step.span().set_first_token(),
            Ok(_) => {}
            Err(error) => told.failed = Some(failed(error)),
        }
    }

    fn end(self, how: StreamEnd) {
        let Self { step, told } = self;
        if let Some(next) = told.next {
            step.span().set_metadata("next", next);
        }
        let output = told.updates.as_ref().map(object);
        let end = told.failed.or(match told.interrupt {
            Some(value) => Some(StepEnd::Interrupted { value, output }),
            None => output.map(StepEnd::Done),
        });
        match (end, how) {
            // The executor dropped it: for want of time, or with the whole run.
            (None, StreamEnd::Left) => step.cancelled(),
            (end, how) => step.end_of_stream(end, how),
        }
    }
}
