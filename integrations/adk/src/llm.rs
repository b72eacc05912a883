//! Models.

use std::sync::Arc;

use adk_core::{Llm, LlmRequest, LlmResponseStream, Result, SchemaAdapter};
use pandaprobe_core::{Handler, SpanKind};

use crate::{
    answer::Answer,
    follow::{Later, follow},
    place::What,
    request,
    step::Step,
};

/// A model whose calls are recorded.
pub(crate) struct TracedLlm<L: ?Sized> {
    inner: Arc<L>,
    handler: Handler,
}

impl<L: Llm + ?Sized> TracedLlm<L> {
    pub(crate) fn new(inner: Arc<L>, handler: &Handler) -> Self {
        Self { inner, handler: handler.clone() }
    }

    async fn ask(&self, request: LlmRequest, stream: bool) -> Result<LlmResponseStream> {
        let name = self.inner.name();
        // adk gives models nothing by which to know whose call it is.
        let what = What::new(SpanKind::Llm, name);
        let step = Step::begin(&self.handler, what, None, || request::call(name, &request));
        let Some(step) = step else {
            return self.inner.generate_content(request, stream).await;
        };
        follow(step, Answer::of(name), || self.inner.generate_content(request, stream)).await
    }
}

impl<L: Llm + ?Sized> Llm for TracedLlm<L> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn generate_content<'a, 'b>(
        &'a self,
        request: LlmRequest,
        stream: bool,
    ) -> Later<'b, Result<LlmResponseStream>>
    where
        'a: 'b,
        Self: 'b,
    {
        if !pandaprobe_core::is_enabled() {
            return self.inner.generate_content(request, stream);
        }
        Box::pin(self.ask(request, stream))
    }

    fn schema_adapter(&self) -> &dyn SchemaAdapter {
        self.inner.schema_adapter()
    }

    fn uses_interactions_api(&self) -> bool {
        self.inner.uses_interactions_api()
    }
}
