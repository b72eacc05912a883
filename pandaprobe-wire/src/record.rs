use std::{collections::BTreeMap, fmt};

use serde::Serialize;
use serde_json::{Map, Value};

use crate::Operation;

/// One LLM exchange, whatever the provider.
///
/// Messages are normalised: `{"role","content","tool_calls"}`, with the roles `system`, `user`,
/// `assistant` and `tool`; text parts are joined, images, audio and files are references without
/// their bytes, `arguments` of a tool call is the provider's own string.
#[non_exhaustive]
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LlmRecord {
    /// What the exchange is about.
    pub operation: Operation,
    /// Whether the request asked for a stream, or the answer is one.
    pub streaming: bool,
    /// HTTP status of the answer, once there is one.
    pub status: Option<u16>,
    /// Whether the answer is complete.
    pub terminal: bool,
    /// The model that the request names.
    pub model_requested: Option<String>,
    /// The model that the answer names.
    pub model_responded: Option<String>,
    /// Request messages, normalised; texts and prompts are messages of the user. The whole request where the
    /// operation is unknown.
    pub input: Vec<Value>,
    /// Request parameters that shape the answer, values as given.
    pub parameters: Map<String, Value>,
    /// One normalised assistant message per choice, in index order. All images of an answer are parts of one
    /// message; speech and transcriptions are one message; embeddings, reranking and moderation have none.
    pub output: Vec<Value>,
    /// Tools of the answer, in order: for Responses those that the caller must run and those that the
    /// provider ran, for Anthropic, Gemini and Bedrock those that the provider ran; empty for other operations.
    /// Calls of the caller's tools are in `output` as well.
    pub tools: Vec<ToolItem>,
    /// Visible reasoning of the first choice.
    pub reasoning: Option<String>,
    /// Refusal of the first choice.
    pub refusal: Option<String>,
    /// Token counts, as far as the provider gave them.
    pub usage: Option<Usage>,
    /// Finish reason of the first choice, in the provider's own word. For Responses why the answer is
    /// incomplete, else its status.
    pub finish_reason: Option<String>,
    /// How many choices the answer has; for Responses one, or none where nothing was said; only a chat
    /// and completions have choices beside it.
    pub choices: usize,
    /// A non-2xx answer, or an error inside of a 2xx one.
    pub error: Option<WireError>,
    /// The provider's id of the answer.
    pub response_id: Option<String>,
    /// The answer as JSON or text, capped, where the operation is unknown; for embeddings `count` and
    /// `dimensions` of the vectors; for reranking `results`, each with `index` and `relevance_score`; for moderation `results`, each with `flagged` and the `categories` that
    /// apply; for a transcription `duration` and `language`, where the answer has them; else absent.
    pub body: Option<Value>,
    /// What could not be read: malformed JSON, cut events, a cap that was reached.
    pub notes: Vec<String>,
}

/// A tool item of an answer: a call that the caller must run, or a tool that the provider ran.
///
/// Base64 is reduced to its size in every field.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ToolItem {
    /// The `call_id` where the item has one, else the item's own id.
    pub id: Option<String>,
    /// The item's type: `function_call`, `web_search_call`, `mcp_call`, `server_tool_use` and so on.
    pub kind: String,
    /// The name that the item gives: of a function, or of a tool of an MCP server. Else its type without
    /// `_call`: `web_search`, `file_search`, `code_interpreter` and so on.
    pub name: String,
    /// Arguments, parsed (as text where they are cut off or no JSON); for items that have none, the fields
    /// that are not told elsewhere here, such as `action`, `queries` or `code`.
    pub input: Value,
    /// Results, where the item holds them.
    pub output: Option<Value>,
    /// The item's status, in the provider's own word.
    pub status: Option<String>,
    /// Whether the provider ran the tool itself. False for what the caller must run.
    pub executed: bool,
    /// Why the tool failed.
    pub error: Option<String>,
}

/// Token counts. Absent means that the provider did not say.
///
/// `prompt_tokens` includes cached tokens and `completion_tokens` includes reasoning.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Tokens of the request, cached ones included.
    pub prompt_tokens: Option<u64>,
    /// Tokens of the answer, reasoning included.
    pub completion_tokens: Option<u64>,
    /// The provider's own total, where it is positive.
    pub total_tokens: Option<u64>,
    /// Tokens spent on reasoning.
    pub reasoning_tokens: Option<u64>,
    /// Tokens read from the provider's prompt cache.
    pub cache_read_tokens: Option<u64>,
    /// Tokens written to the provider's prompt cache.
    pub cache_creation_tokens: Option<u64>,
    /// Further positive counts under the provider's own names, such as `accepted_prediction_tokens`.
    pub details: BTreeMap<String, u64>,
}

/// An error as the provider worded it.
///
/// ```
/// use pandaprobe_wire::WireError;
///
/// let error = WireError {
///     status: Some(429),
///     message: "limit reached".into(),
///     kind: Some("requests".into()),
///     code: Some("rate_limit_exceeded".into()),
/// };
/// assert_eq!(error.to_string(), "429: limit reached (type: requests, code: rate_limit_exceeded)");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct WireError {
    /// HTTP status; absent for an error inside of a 2xx answer.
    pub status: Option<u16>,
    /// The provider's message, else the start of the body; empty where there is neither.
    pub message: String,
    /// The provider's `type`.
    pub kind: Option<String>,
    /// The provider's `code`, numbers as text.
    pub code: Option<String>,
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.status, self.message.as_str()) {
            (Some(status), "") => write!(f, "HTTP {status}")?,
            (Some(status), message) => write!(f, "{status}: {message}")?,
            (None, "") => f.write_str("unknown error")?,
            (None, message) => f.write_str(message)?,
        }
        match (&self.kind, &self.code) {
            (Some(kind), Some(code)) => write!(f, " (type: {kind}, code: {code})"),
            (Some(kind), None) => write!(f, " (type: {kind})"),
            (None, Some(code)) => write!(f, " (code: {code})"),
            (None, None) => Ok(()),
        }
    }
}

impl std::error::Error for WireError {}
