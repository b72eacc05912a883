//! Tools, and what gives tools.

use std::sync::Arc;

use adk_core::{LlmRequest, ReadonlyContext, Result, Tool, ToolContext, Toolset};
use pandaprobe_core::{Handler, Run, SpanKind};
use serde_json::Value;

use crate::{
    follow::Later,
    message::tool_result,
    place::What,
    step::{AdkIds, Step},
};

/// A tool whose calls are recorded.
pub(crate) struct TracedTool<T: ?Sized> {
    inner: Arc<T>,
    handler: Handler,
}

impl<T: Tool + ?Sized> TracedTool<T> {
    pub(crate) fn new(inner: Arc<T>, handler: &Handler) -> Self {
        Self { inner, handler: handler.clone() }
    }

    async fn call(&self, ctx: Arc<dyn ToolContext>, arguments: Value) -> Result<Value> {
        let Some(step) = self.begin(ctx.as_ref(), &arguments) else {
            return self.inner.execute(ctx, arguments).await;
        };
        let result = step.watch(|| self.inner.execute(ctx, arguments)).await;
        let span = step.span.clone();
        match &result {
            Ok(value) => {
                if !value.is_null() {
                    span.set_output(tool_result(value));
                }
                span.end();
            }
            Err(error) => span.fail(error),
        }
        result
    }

    fn begin(&self, ctx: &dyn ToolContext, arguments: &Value) -> Option<Arc<Step>> {
        let name = self.inner.name();
        let ids = AdkIds { session: ctx.session_id(), user: ctx.user_id() };
        Step::begin(&self.handler, What::new(SpanKind::Tool, name), Some(ids), || {
            Run::new(name, SpanKind::Tool)
                .input(arguments.clone())
                .metadata("call_id", ctx.function_call_id())
        })
    }
}

impl<T: Tool + ?Sized> Tool for TracedTool<T> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn description(&self) -> &str {
        self.inner.description()
    }

    fn declaration(&self) -> Value {
        self.inner.declaration()
    }

    fn enhanced_description(&self) -> String {
        self.inner.enhanced_description()
    }

    fn is_long_running(&self) -> bool {
        self.inner.is_long_running()
    }

    fn is_builtin(&self) -> bool {
        self.inner.is_builtin()
    }

    fn parameters_schema(&self) -> Option<Value> {
        self.inner.parameters_schema()
    }

    fn response_schema(&self) -> Option<Value> {
        self.inner.response_schema()
    }

    fn required_scopes(&self) -> &[&str] {
        self.inner.required_scopes()
    }

    fn is_read_only(&self) -> bool {
        self.inner.is_read_only()
    }

    fn is_concurrency_safe(&self) -> bool {
        self.inner.is_concurrency_safe()
    }

    fn is_agent_delegation(&self) -> bool {
        self.inner.is_agent_delegation()
    }

    fn execute<'a, 'b>(&'a self, ctx: Arc<dyn ToolContext>, args: Value) -> Later<'b, Result<Value>>
    where
        'a: 'b,
        Self: 'b,
    {
        if !pandaprobe_core::is_enabled() {
            return self.inner.execute(ctx, args);
        }
        Box::pin(self.call(ctx, args))
    }
}

/// A toolset whose tools are wrapped as it gives them.
pub(crate) struct TracedToolset<T: ?Sized> {
    inner: Arc<T>,
    handler: Handler,
}

impl<T: Toolset + ?Sized> TracedToolset<T> {
    pub(crate) fn new(inner: Arc<T>, handler: &Handler) -> Self {
        Self { inner, handler: handler.clone() }
    }
}

impl<T: Toolset + ?Sized> Toolset for TracedToolset<T> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn tools<'a, 'b>(&'a self, ctx: Arc<dyn ReadonlyContext>) -> Later<'b, Result<Vec<Arc<dyn Tool>>>>
    where
        'a: 'b,
        Self: 'b,
    {
        // adk asks again before each turn.
        if !pandaprobe_core::is_enabled() {
            return self.inner.tools(ctx);
        }
        Box::pin(async {
            let tools = self.inner.tools(ctx).await?;
            let wrapped = |tool| -> Arc<dyn Tool> { Arc::new(TracedTool::new(tool, &self.handler)) };
            Ok(tools.into_iter().map(wrapped).collect())
        })
    }

    fn process_llm_request<'a, 'r, 'b>(
        &'a self,
        ctx: Arc<dyn ReadonlyContext>,
        request: &'r mut LlmRequest,
    ) -> Later<'b, Result<()>>
    where
        'a: 'b,
        'r: 'b,
        Self: 'b,
    {
        self.inner.process_llm_request(ctx, request)
    }
}
