use percent_encoding::percent_decode_str;
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
/// assert_eq!(Operation::detect("/model/amazon.nova-lite-v1%3A0/converse"), Operation::BedrockConverse);
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
    /// Gemini embeddings of one content or several.
    GeminiEmbed,
    /// Amazon Bedrock `Converse` and `ConverseStream`.
    BedrockConverse,
    /// Amazon Bedrock `InvokeModel` and `InvokeModelWithResponseStream`, in the dialect of the model's maker.
    BedrockInvoke,
    /// Cohere's chat, version 2.
    CohereChat,
    /// Cohere's embeddings.
    CohereEmbed,
    /// Reranking as Cohere began it, or a server that copies it.
    Rerank,
    /// Ollama's own chat.
    OllamaChat,
    /// Ollama's own endpoint for bare prompts.
    OllamaGenerate,
    /// Ollama's own embeddings.
    OllamaEmbed,
    /// Anything else: recorded as plain JSON or text.
    #[default]
    Unknown,
}

/// How the paths of the known endpoints end; the first that fits counts.
const ENDPOINTS: [(&str, Operation); 19] = [
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
    ("api/embed", Operation::OllamaEmbed),
    ("v1/embed", Operation::CohereEmbed),
    ("v2/embed", Operation::CohereEmbed),
    ("rerank", Operation::Rerank),
];

/// Endpoints that are none of these, though their requests carry `messages` or `contents` too.
const FOREIGN: [&str; 6] =
    ["/count_tokens", "/converse", "/converse-stream", "/invoke", ":countTokens", "/batches"];

/// Methods of models whose paths name model and method: `MODEL:METHOD` at Google, `model/MODEL/METHOD` at Amazon.
/// The operation of a raw prediction is that of the model's publisher.
const METHODS: [(&str, Option<Operation>, bool); 10] = [
    (":generateContent", Some(Operation::GeminiGenerate), false),
    (":streamGenerateContent", Some(Operation::GeminiGenerate), true),
    (":embedContent", Some(Operation::GeminiEmbed), false),
    (":batchEmbedContents", Some(Operation::GeminiEmbed), false),
    (":rawPredict", None, false),
    (":streamRawPredict", None, true),
    ("/converse", Some(Operation::BedrockConverse), false),
    ("/converse-stream", Some(Operation::BedrockConverse), true),
    ("/invoke", Some(Operation::BedrockInvoke), false),
    ("/invoke-with-response-stream", Some(Operation::BedrockInvoke), true),
];

impl Operation {
    /// Detects the operation from a URL path. Query, fragment and trailing slashes do not count, nor
    /// does the HTTP method. Does not allocate.
    pub fn detect(path: &str) -> Self {
        let path = bare(path);
        if let Some(operation) = Method::of(path).and_then(|method| method.operation) {
            return operation;
        }
        let known = ENDPOINTS.iter().find(|(end, _)| before(path, end).is_some());
        known.map_or(Self::Unknown, |(_, operation)| *operation)
    }

    /// Whether it is a conversation with a model, of which one request may continue another: it has messages, and
    /// the answer may call tools.
    pub fn has_turns(self) -> bool {
        matches!(
            self,
            Self::Chat
                | Self::Responses
                | Self::AnthropicMessages
                | Self::GeminiGenerate
                | Self::BedrockConverse
                | Self::BedrockInvoke
                | Self::CohereChat
                | Self::OllamaChat
        )
    }

    /// What of a path comes before the endpoint: the same for all operations of a server.
    ///
    /// ```
    /// use pandaprobe_wire::Operation;
    ///
    /// assert_eq!(Operation::base("/api/v1/chat/completions"), "/api/v1");
    /// assert_eq!(Operation::base("/v1beta/models/g:generateContent"), "/v1beta");
    /// assert_eq!(Operation::base("/model/amazon.nova-lite-v1%3A0/converse"), "");
    /// assert_eq!(Operation::base("/v1/files/"), "/v1/files");
    /// ```
    pub fn base(path: &str) -> &str {
        let path = bare(path);
        let end = match Method::of(path) {
            Some(_) => ["/models/", "/model/"].iter().find_map(|word| path.find(word)).unwrap_or(0),
            None => {
                let known = ENDPOINTS.iter().find_map(|(end, _)| before(path, end));
                known.map_or(path.len(), str::len)
            }
        };
        path[..end].trim_end_matches('/')
    }

    /// Detects by path, then by the shape of the request, unless the path belongs to another endpoint.
    pub(crate) fn detect_with(path: &str, request: Option<&Value>) -> Self {
        match (Self::detect(path), request) {
            (Self::Unknown, Some(request)) if !is_foreign(path) => of_shape(path, request),
            (detected, _) => detected,
        }
    }
}

/// A method of a model in a path.
struct Method<'a> {
    model: &'a str,
    operation: Option<Operation>,
    streaming: bool,
}

impl<'a> Method<'a> {
    fn of(path: &'a str) -> Option<Self> {
        let (rest, (method, operation, streaming)) =
            METHODS.iter().find_map(|known| Some((path.strip_suffix(known.0)?, known)))?;
        let model = match method.starts_with(':') {
            true => rest.rsplit('/').next()?,
            // The name of a profile has slashes.
            false => rest.strip_prefix("model/").or_else(|| Some(rest.split_once("/model/")?.1))?,
        };
        let is_anthropic = rest.contains("publishers/anthropic/");
        let published = is_anthropic.then_some(Operation::AnthropicMessages);
        Some(Self { model, operation: operation.or(published), streaming: *streaming })
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
    /// Reads a path: a method of a model, or a deployment at Azure.
    pub(crate) fn of(path: &str) -> Self {
        let path = bare(path);
        let deployment = path.split_once("deployments/").and_then(|(_, rest)| rest.split('/').next());
        let method = Method::of(path);
        let model = method.as_ref().map(|method| method.model).or(deployment);
        let model = model.map(|model| percent_decode_str(model).decode_utf8_lossy());
        Self {
            model: model
                .map(|model| head_chars(&model, MAX_MODEL).to_owned())
                .filter(|model| !model.is_empty()),
            streaming: method.is_some_and(|method| method.streaming),
        }
    }
}

/// Characters kept of a model's name.
const MAX_MODEL: usize = 500;

/// What of a path comes before an endpoint, if it ends with that.
fn before<'a>(path: &'a str, end: &str) -> Option<&'a str> {
    path.strip_suffix(end).filter(|rest| rest.is_empty() || rest.ends_with('/'))
}

fn bare(path: &str) -> &str {
    let end = path.find(['?', '#']).unwrap_or(path.len());
    path[..end].trim_end_matches('/')
}

fn is_foreign(path: &str) -> bool {
    let path = bare(path);
    FOREIGN.iter().any(|end| path.ends_with(end))
}

/// What a request is about, by what it alone has: the version of Anthropic's protocol, contents made of parts,
/// messages with roles.
fn of_shape(path: &str, request: &Value) -> Operation {
    let first = |list: &str, key: &str| request.get(list)?.get(0)?.get(key);
    let is_chat = first("messages", "role").is_some_and(Value::is_string);
    if request.get("anthropic_version").is_some() || (is_chat && bare(path).ends_with("/messages")) {
        Operation::AnthropicMessages
    } else if first("contents", "parts").is_some() {
        Operation::GeminiGenerate
    } else if is_chat {
        Operation::Chat
    } else {
        Operation::Unknown
    }
}
