use serde_json::Value;

use crate::ChatRequest;

/// What decides the answers of a stand-in.
///
/// Any closure `Fn(&ChatRequest) -> Reply` is a model.
pub trait Model: Send + Sync + 'static {
    /// The answer to one request. It runs on the server's thread and should not block.
    fn reply(&self, request: &ChatRequest) -> Reply;
}

impl<F> Model for F
where
    F: Fn(&ChatRequest) -> Reply + Send + Sync + 'static,
{
    fn reply(&self, request: &ChatRequest) -> Reply {
        self(request)
    }
}

/// One answer of a model: text, tool calls, or both.
#[derive(Clone, Debug, Default, PartialEq)]
#[must_use = "a reply does nothing until a model returns it"]
pub struct Reply {
    pub(crate) content: Option<String>,
    pub(crate) tool_calls: Vec<(String, Value)>,
}

impl Reply {
    /// An answer of text alone.
    pub fn text(content: impl Into<String>) -> Self {
        Self { content: Some(content.into()), tool_calls: Vec::new() }
    }

    /// An answer that asks for tools: a name and its arguments for each call, all in parallel.
    pub fn tool_calls<N: Into<String>>(calls: impl IntoIterator<Item = (N, Value)>) -> Self {
        Self::default().and_tool_calls(calls)
    }

    /// The same answer with these tool calls added.
    pub fn and_tool_calls<N: Into<String>>(mut self, calls: impl IntoIterator<Item = (N, Value)>) -> Self {
        self.tool_calls.extend(calls.into_iter().map(|(name, arguments)| (name.into(), arguments)));
        self
    }
}
