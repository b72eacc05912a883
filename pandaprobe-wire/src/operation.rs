use serde::Serialize;
use serde_json::Value;

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
    /// Anything else: recorded as plain JSON or text.
    #[default]
    Unknown,
}

/// How the paths of the known endpoints end; the first that fits counts.
const ENDPOINTS: [(&str, Operation); 11] = [
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
];

/// Endpoints of other dialects whose requests carry `messages` too.
const FOREIGN: [&str; 7] = [
    "/messages",
    "/messages/count_tokens",
    "/api/chat",
    "/v2/chat",
    "/converse",
    "/converse-stream",
    "/invoke",
];

impl Operation {
    /// Detects the operation from a URL path. Query, fragment and trailing slashes do not count, nor
    /// does the HTTP method. Does not allocate.
    pub fn detect(path: &str) -> Self {
        let path = bare(path);
        let is_end =
            |end: &str| path.strip_suffix(end).is_some_and(|rest| rest.is_empty() || rest.ends_with('/'));
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
