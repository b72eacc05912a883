use serde::Serialize;
use serde_json::Value;

use crate::limits::head_chars;

/// What an exchange is about.
///
/// ```
/// use pandaprobe_wire::Operation;
///
/// assert_eq!(Operation::detect("/v1/chat/completions"), Operation::Chat);
/// assert_eq!(Operation::detect("/openai/deployments/x/chat/completions?api-version=1"), Operation::Chat);
/// assert_eq!(Operation::detect("/v1/responses"), Operation::Responses);
/// assert_eq!(Operation::detect("/v1/embeddings"), Operation::Embeddings);
/// assert_eq!(Operation::detect("/v1/completions"), Operation::Completions);
/// assert_eq!(Operation::detect("/v1/images/edits"), Operation::Images);
/// assert_eq!(Operation::detect("/v1/audio/speech"), Operation::Speech);
/// assert_eq!(Operation::detect("/v1/audio/translations"), Operation::Transcription);
/// assert_eq!(Operation::detect("/v1/moderations"), Operation::Moderation);
/// assert_eq!(Operation::detect("/v1/messages"), Operation::AnthropicMessages);
/// assert_eq!(Operation::detect("/v1beta/models/g:generateContent"), Operation::GeminiGenerate);
/// assert_eq!(Operation::detect("/api/chat"), Operation::OllamaChat);
/// assert_eq!(Operation::detect("/v1/files"), Operation::Unknown);
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// OpenAI Chat Completions, or a server that copies it.
    Chat,
    /// OpenAI Responses, or a server that copies it.
    Responses,
    /// OpenAI Embeddings, or a server that copies it.
    Embeddings,
    /// OpenAI Completions, the legacy endpoint for bare prompts, or a server that copies it.
    Completions,
    /// OpenAI image generations, edits and variations, or a server that copies them.
    Images,
    /// OpenAI speech, or a server that copies it.
    Speech,
    /// OpenAI transcriptions and translations of audio, or a server that copies them.
    Transcription,
    /// OpenAI Moderations, or a server that copies it.
    Moderation,
    /// Anthropic Messages, wherever it is served.
    AnthropicMessages,
    /// Gemini `generateContent` and `streamGenerateContent`, at AI Studio and Vertex.
    GeminiGenerate,
    /// Cohere's chat, version 2.
    CohereChat,
    /// Ollama's own chat.
    OllamaChat,
    /// Ollama's own endpoint for bare prompts.
    OllamaGenerate,
    /// Anything else: recorded as plain JSON or text.
    #[default]
    Unknown,
}

/// How the paths of the known endpoints end; the first that fits counts.
const ENDPOINTS: [(&str, Operation); 15] = [
    ("chat/completions", Operation::Chat),
    ("responses", Operation::Responses),
    ("embeddings", Operation::Embeddings),
    ("completions", Operation::Completions),
    ("images/generations", Operation::Images),
    ("images/edits", Operation::Images),
    ("images/variations", Operation::Images),
    ("audio/speech", Operation::Speech),
    ("audio/transcriptions", Operation::Transcription),
    ("audio/translations", Operation::Transcription),
    ("moderations", Operation::Moderation),
    ("v1/messages", Operation::AnthropicMessages),
    ("api/chat", Operation::OllamaChat),
    ("v2/chat", Operation::CohereChat),
    ("api/generate", Operation::OllamaGenerate),
];

/// Endpoints of other dialects whose requests carry `messages` too.
const FOREIGN: [&str; 5] =
    ["/messages", "/messages/count_tokens", "/converse", "/converse-stream", "/invoke"];

impl Operation {
    /// Detects the operation from a URL path. Query, fragment and trailing slashes do not count, nor
    /// does the HTTP method. Does not allocate.
    pub fn detect(path: &str) -> Self {
        let path = bare(path);
        let is_end =
            |end: &str| path.strip_suffix(end).is_some_and(|rest| rest.is_empty() || rest.ends_with('/'));
        if let Some(operation) = method(path).and_then(|(_, method)| of_method(path, method)) {
            return operation;
        }
        let known = ENDPOINTS.iter().find(|(end, _)| is_end(end));
        known.map_or(Self::Unknown, |(_, operation)| *operation)
    }

    /// Detects by path, then by the shape of the request: `messages` with roles mean chat,
    /// unless the path belongs to another dialect.
    pub(crate) fn detect_with(path: &str, request: Option<&Value>) -> Self {
        match Self::detect(path) {
            Self::Unknown if !is_foreign(path) && request.is_some_and(is_chat) => Self::Chat,
            detected => detected,
        }
    }
}

/// The methods of Google's models whose paths name the model.
const METHODS: [&str; 4] = ["generateContent", "streamGenerateContent", "rawPredict", "streamRawPredict"];

/// Model and method of a path that ends in `MODEL:METHOD`.
fn method(path: &str) -> Option<(&str, &str)> {
    let last = path.rsplit('/').next()?.rsplit_once(':');
    last.filter(|(_, method)| METHODS.contains(method))
}

/// What a method is about. A raw prediction is in the dialect of the model's publisher.
fn of_method(path: &str, method: &str) -> Option<Operation> {
    match method {
        "generateContent" | "streamGenerateContent" => Some(Operation::GeminiGenerate),
        _ if path.contains("publishers/anthropic/") => Some(Operation::AnthropicMessages),
        _ => None,
    }
}

/// What a path says that the requests of other dialects say themselves.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// The model that is asked.
    pub(crate) model: Option<String>,
    /// Whether a stream is asked for.
    pub(crate) streaming: bool,
}

impl Place {
    /// Reads a path of Google's models.
    pub(crate) fn of(path: &str) -> Self {
        method(bare(path)).map_or_else(Self::default, |(model, method)| Self {
            model: Some(head_chars(model, MAX_MODEL).to_owned()).filter(|model| !model.is_empty()),
            streaming: method.starts_with("stream"),
        })
    }
}

/// Characters kept of a model's name.
const MAX_MODEL: usize = 500;

fn bare(path: &str) -> &str {
    let end = path.find(['?', '#']).unwrap_or(path.len());
    path[..end].trim_end_matches('/')
}

fn is_foreign(path: &str) -> bool {
    let path = bare(path);
    FOREIGN.iter().any(|end| path.ends_with(end))
}

fn is_chat(request: &Value) -> bool {
    let first = request.get("messages").and_then(|messages| messages.get(0));
    first.and_then(|message| message.get("role")).is_some_and(Value::is_string)
}
