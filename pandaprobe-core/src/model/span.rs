//! A span: one step of an agent.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Cost, Object, SpanId, Timestamp, TokenUsage};

/// What kind of step a span is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum SpanKind {
    /// An agent or sub-agent.
    Agent,
    /// A tool call.
    Tool,
    /// A call of a language model.
    Llm,
    /// A retrieval of documents.
    Retriever,
    /// A chain, graph or workflow.
    Chain,
    /// An embedding call.
    Embedding,
    /// Anything else.
    #[default]
    Other,
}

impl SpanKind {
    /// The kind as the API writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "AGENT",
            Self::Tool => "TOOL",
            Self::Llm => "LLM",
            Self::Retriever => "RETRIEVER",
            Self::Chain => "CHAIN",
            Self::Embedding => "EMBEDDING",
            Self::Other => "OTHER",
        }
    }
}

impl fmt::Display for SpanKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A word that is no kind of span.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no kind of span is called {0:?}")]
pub struct UnknownKind(String);

impl FromStr for SpanKind {
    type Err = UnknownKind;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        let kinds =
            [Self::Agent, Self::Tool, Self::Llm, Self::Retriever, Self::Chain, Self::Embedding, Self::Other];
        let found = kinds.into_iter().find(|k| k.as_str().eq_ignore_ascii_case(word));
        found.ok_or_else(|| UnknownKind(word.to_owned()))
    }
}

/// How a span ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum SpanStatus {
    /// It has not ended, or nobody knows.
    #[default]
    Unset,
    /// It did what it should.
    Ok,
    /// It failed.
    Error,
}

/// A span as it goes over the wire. Fields that are absent are left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SpanData {
    /// The span's id.
    pub span_id: SpanId,
    /// The span it is a step of; none at the root level of its trace.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub parent_span_id: Option<SpanId>,
    /// Its name, 1 to 512 characters.
    pub name: String,
    /// What kind of step it is.
    #[serde(default)]
    pub kind: SpanKind,
    /// How it ended.
    #[serde(default)]
    pub status: SpanStatus,
    /// What went in.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub input: Option<Value>,
    /// What came out.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub output: Option<Value>,
    /// The model that answered.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub model: Option<String>,
    /// The tokens it took.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub token_usage: Option<TokenUsage>,
    /// Anything else worth knowing.
    #[serde(skip_serializing_if = "Object::is_empty", default)]
    pub metadata: Object,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ended_at: Option<Timestamp>,
    /// What went wrong.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub error: Option<String>,
    /// When the first token arrived.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub completion_start_time: Option<Timestamp>,
    /// Temperature and the like.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub model_parameters: Option<Object>,
    /// What it cost.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cost: Option<Cost>,
}

impl SpanData {
    /// A span that has just begun.
    pub fn new(name: impl Into<String>, started_at: Timestamp) -> Self {
        Self {
            span_id: SpanId::random(),
            parent_span_id: None,
            name: name.into(),
            kind: SpanKind::Other,
            status: SpanStatus::Unset,
            input: None,
            output: None,
            model: None,
            token_usage: None,
            metadata: Object::new(),
            started_at,
            ended_at: None,
            error: None,
            completion_start_time: None,
            model_parameters: None,
            cost: None,
        }
    }
}
