//! Tools.

use std::sync::Arc;

use async_trait::async_trait;
use langgraph::{
    checkpoint::config::RunnableConfig,
    prebuilt::{BaseTool, ToolDef, ToolError},
};
use pandaprobe_core::{Handler, Run, SpanKind};
use serde_json::Value;

use super::{
    node::{interrupt_value, tell},
    told,
};
use crate::{
    LangGraphHandler,
    step::{Step, StepEnd},
};

impl LangGraphHandler {
    /// The same tool, with each call of it traced: a TOOL span with its arguments and its result, below the node that calls it,
    /// also from the tasks in which a `ToolNode` runs its tools.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use langgraph::prebuilt::{ClosureTool, ToolNode};
    /// use pandaprobe_langgraph::LangGraphHandler;
    ///
    /// let search = ClosureTool::new("search", "Searches.", |args| Ok(format!("nothing about {args}").into()));
    /// let tools = ToolNode::new(vec![LangGraphHandler::new().tool(Arc::new(search))]);
    /// ```
    pub fn tool(&self, tool: Arc<dyn BaseTool>) -> Arc<dyn BaseTool> {
        Arc::new(TracedTool { tool, handler: self.handler.clone() })
    }
}

struct TracedTool {
    tool: Arc<dyn BaseTool>,
    handler: Handler,
}

impl TracedTool {
    fn started(&self, args: &Value, config: &RunnableConfig) -> Option<Step> {
        let call = (self.tool.name(), std::ptr::from_ref(args).addr());
        Step::start(&self.handler, told::place(config), call, || {
            Run::new(self.tool.name(), SpanKind::Tool).input(args.clone())
        })
    }
}

#[async_trait]
impl BaseTool for TracedTool {
    fn name(&self) -> &str {
        self.tool.name()
    }

    fn description(&self) -> &str {
        self.tool.description()
    }

    fn parameters(&self) -> Option<&Value> {
        self.tool.parameters()
    }

    fn invoke(&self, args: &Value, config: &RunnableConfig) -> Result<Value, ToolError> {
        let step = self.started(args, config);
        let (_token, told) = tell(step.as_ref(), config);
        let config = told.as_ref().unwrap_or(config);
        Step::run(step, || self.tool.invoke(args, config), |_, result| ended(result))
    }

    async fn ainvoke(&self, args: &Value, config: &RunnableConfig) -> Result<Value, ToolError> {
        let inner = |step: Option<&Step>| {
            let (token, told) = tell(step, config);
            async move {
                let _token = token;
                self.tool.ainvoke(args, told.as_ref().unwrap_or(config)).await
            }
        };
        Step::record(self.started(args, config), inner, |_, result| ended(result)).await
    }

    fn to_tool_def(&self) -> ToolDef {
        self.tool.to_tool_def()
    }
}

fn ended(result: &Result<Value, ToolError>) -> StepEnd {
    match result {
        Ok(output) => StepEnd::Done(output.clone()),
        Err(ToolError::Interrupt(interrupt)) => {
            StepEnd::Interrupted { value: interrupt_value(interrupt), output: None }
        }
        Err(error) => StepEnd::Failed(error.to_string()),
    }
}
