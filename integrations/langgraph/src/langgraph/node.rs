//! Nodes and conditional edges.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use langgraph::{
    checkpoint::config::RunnableConfig,
    constants::CONFIG_KEY_SCRATCHPAD,
    runnable::{IntoNodeFunction, Runnable, RunnableError},
    types::GraphInterrupt,
};
use pandaprobe_core::{Handler, Outcome, Run, Span, SpanKind, catching, watched};
use serde_json::Value;

use super::told::{self, Token};
use crate::{
    LangGraphHandler, TracedNode,
    current::{Here, InRun, Within, run_in},
    messages,
    step::{Step, StepEnd, dropped},
};

type Ran = Result<Value, RunnableError>;

impl<N: IntoNodeFunction> IntoNodeFunction for TracedNode<N> {
    fn into_runnable(self, name: &str) -> Arc<dyn Runnable> {
        let node = self.node.into_runnable(name);
        Arc::new(TracedRunnable { node, name: name.to_owned(), handler: self.handler })
    }
}

/// A node that has its name.
struct TracedRunnable {
    node: Arc<dyn Runnable>,
    name: String,
    handler: Handler,
}

#[async_trait]
impl Runnable for TracedRunnable {
    fn invoke(&self, input: &Value, config: &RunnableConfig) -> Ran {
        let step = self.started(input, config);
        let (_token, told) = tell(step.as_ref(), config);
        let config = told.as_ref().unwrap_or(config);
        Step::run(step, || self.node.invoke(input, config), |_, result| ended(result))
    }

    async fn ainvoke(&self, input: &Value, config: &RunnableConfig) -> Ran {
        let inner = |step: Option<&Step>| {
            let (token, told) = tell(step, config);
            async move {
                let _token = token;
                self.node.ainvoke(input, told.as_ref().unwrap_or(config)).await
            }
        };
        Step::record(self.started(input, config), inner, |_, result| ended(result)).await
    }

    fn name(&self) -> &str {
        self.node.name()
    }
}

impl TracedRunnable {
    fn started(&self, input: &Value, config: &RunnableConfig) -> Option<Step> {
        let here = told::place(config);
        let at = std::ptr::from_ref(input).addr();
        let step = Step::start(&self.handler, here.clone(), (&self.name, at), || {
            let run = Run::new(&self.name, SpanKind::Agent).metadata("langgraph_node", self.name.clone());
            let run = match superstep(config) {
                Some(step) => run.metadata("langgraph_step", step),
                None => run,
            };
            run.input(messages::state(input.clone()))
        })?;
        if let Some(here) = here {
            here.run.called(here.parent.id(), &self.name, step.span());
        }
        Some(step)
    }
}

/// The configuration for what a step calls: it leads there, also from a task of the runtime's own.
pub(super) fn tell(step: Option<&Step>, config: &RunnableConfig) -> (Option<Token>, Option<RunnableConfig>) {
    match step.and_then(|step| Some((step, step.graph_run()?))) {
        Some((step, run)) => {
            let (token, config) = Token::tell(run, step.span(), config);
            (Some(token), Some(config))
        }
        None => (None, None),
    }
}

fn superstep(config: &RunnableConfig) -> Option<u64> {
    config.get("configurable")?.get(CONFIG_KEY_SCRATCHPAD)?.get("step")?.as_u64()
}

fn ended(result: &Ran) -> StepEnd {
    match result {
        Ok(output) => StepEnd::Done(output.clone()),
        Err(RunnableError::Interrupt(interrupt)) => {
            StepEnd::Interrupted { value: interrupt_value(interrupt), output: None }
        }
        Err(error) => StepEnd::Failed(error.to_string()),
    }
}

/// The value of an interrupt, or the values of several.
pub(super) fn interrupt_value(interrupt: &GraphInterrupt) -> Value {
    match interrupt.interrupts.as_slice() {
        [one] => one.value.clone(),
        several => several.iter().map(|interrupt| interrupt.value.clone()).collect(),
    }
}

/// The path of a conditional edge, with each question to it traced. Made by [`LangGraphHandler::edge`].
pub struct TracedEdge<P> {
    path: P,
}

impl LangGraphHandler {
    /// The same path of a conditional edge, with each question to it traced: an AGENT span `route` below the node that it leads
    /// away from.
    ///
    /// ```
    /// use langgraph::prelude::*;
    /// use pandaprobe_langgraph::LangGraphHandler;
    ///
    /// # fn example(graph: &mut StateGraph, handler: &LangGraphHandler) -> Result<(), Box<dyn std::error::Error>> {
    /// let route = RoutingFn(|output: &JsonValue| match output["done"].as_bool() {
    ///     Some(true) => END.to_owned(),
    ///     _ => "tools".to_owned(),
    /// });
    /// graph.add_conditional_edges("agent", handler.edge(route), None)?;
    /// # Ok(()) }
    /// ```
    pub fn edge<P: IntoNodeFunction>(&self, path: P) -> TracedEdge<P> {
        TracedEdge { path }
    }
}

impl<P: IntoNodeFunction> IntoNodeFunction for TracedEdge<P> {
    fn into_runnable(self, name: &str) -> Arc<dyn Runnable> {
        // The runtime names an edge after its source.
        let source = name.strip_prefix("branch:").unwrap_or(name).to_owned();
        Arc::new(Route { path: self.path.into_runnable(name), source })
    }
}

impl<P> fmt::Debug for TracedEdge<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TracedEdge")
    }
}

struct Route {
    path: Arc<dyn Runnable>,
    source: String,
}

impl Route {
    fn started(&self, input: &Value, config: &RunnableConfig) -> Option<(Here, Span)> {
        let here = told::place(config).filter(|here| here.parent.is_recorded())?;
        let span = here.run.edge(&here.parent, &self.source, input.clone());
        Some((here, span))
    }
}

#[async_trait]
impl Runnable for Route {
    fn invoke(&self, input: &Value, config: &RunnableConfig) -> Ran {
        let Some((here, span)) = self.started(input, config) else {
            return self.path.invoke(input, config);
        };
        let within = Within { run: Some(here.run), call: None, place: here.place };
        let chosen = catching(
            || run_in(&within, || span.run(|| self.path.invoke(input, config))),
            |message| span.clone().panicked(message),
        );
        led(span, &chosen);
        chosen
    }

    async fn ainvoke(&self, input: &Value, config: &RunnableConfig) -> Ran {
        let Some((here, span)) = self.started(input, config) else {
            return self.path.ainvoke(input, config).await;
        };
        let within = Within { run: Some(here.run), call: None, place: here.place };
        let path = run_in(&within, || span.scope(self.path.ainvoke(input, config)));
        watched(InRun::new(within, path), |outcome| match outcome {
            Outcome::Returned(chosen) => led(span, chosen),
            Outcome::Panicked(message) => span.panicked(message),
            _ => dropped(span),
        })
        .await
    }

    fn name(&self) -> &str {
        self.path.name()
    }
}

fn led(span: Span, chosen: &Ran) {
    match chosen {
        Ok(target) => {
            span.set_output(target.clone());
            span.end();
        }
        Err(error) => span.fail(error.to_string()),
    }
}
