//! What every dialect provides.

use std::fmt::Debug;

use serde_json::{Map, Value, json};

use crate::{
    Operation, ToolItem, Usage, WireError, anthropic, cohere,
    content::weight,
    converse,
    fields::name,
    gemini, invoke, media, ollama,
    openai::{chat, completions, embeddings, images, moderation, responses, speech, transcription},
    reply::Reading,
    rerank,
    summary::Summary,
    vectors,
};

/// What a dialect read from a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Request {
    pub(crate) model: Option<String>,
    pub(crate) streaming: bool,
    /// How many choices, or images, were asked for.
    pub(crate) choices: u64,
    pub(crate) input: Vec<Value>,
    pub(crate) parameters: Map<String, Value>,
}

/// What a dialect read from an answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    pub(crate) model: Option<String>,
    pub(crate) id: Option<String>,
    pub(crate) output: Vec<Value>,
    pub(crate) tools: Vec<ToolItem>,
    pub(crate) reasoning: Option<String>,
    pub(crate) refusal: Option<String>,
    pub(crate) usage: Option<Usage>,
    pub(crate) finish_reason: Option<String>,
    pub(crate) choices: usize,
    pub(crate) error: Option<WireError>,
    pub(crate) body: Option<Value>,
}

impl Answer {
    /// Approximate bytes held.
    pub(crate) fn weight(&self) -> usize {
        let tools = self.tools.iter().flat_map(|tool| [Some(&tool.input), tool.output.as_ref()]).flatten();
        self.output.iter().chain(&self.body).chain(tools).map(weight).sum()
    }
}

/// A blocking answer as it came.
#[derive(Debug)]
pub(crate) struct Raw<'a> {
    /// Its start, or all of it.
    pub(crate) head: &'a [u8],
    /// How many bytes all of it has.
    pub(crate) bytes: u64,
    pub(crate) media_type: Option<&'a str>,
}

/// Reads the answer of one exchange: one whole value, or the events of a stream.
pub(crate) trait Decoder: Debug + Send {
    /// Reads a blocking answer.
    fn whole(&mut self, value: &Value);

    /// Takes a blocking answer as it came, where it is a JSON object after that was read. Says whether it was
    /// read as something other than JSON.
    fn raw(&mut self, _raw: &Raw<'_>) -> bool {
        false
    }

    /// Reads an event of a stream. Says whether it carried a piece of the model's output.
    fn event(&mut self, name: &str, value: &Value) -> bool;

    /// Reads an event called `error` that is not JSON.
    fn error_text(&mut self, text: &[u8]);

    /// Whether the stream has said that the answer is complete.
    fn is_complete(&self) -> bool;

    /// Whether text was left out for want of room.
    fn is_full(&self) -> bool;

    /// Approximate bytes held.
    fn held_bytes(&self) -> usize;

    /// What was read so far.
    fn answer(&self) -> Answer;
}

impl Request {
    /// Reads the fields that most dialects have; of the others those that are `recorded` are its parameters.
    pub(crate) fn read(request: Map<String, Value>, input: Vec<Value>, recorded: &[&str]) -> Self {
        Self {
            model: name(request.get("model")),
            streaming: request.get("stream") == Some(&Value::Bool(true)),
            choices: request.get("n").and_then(Value::as_u64).unwrap_or(1),
            input,
            parameters: request.into_iter().filter(|(key, _)| recorded.contains(&key.as_str())).collect(),
        }
    }
}

/// Reads a request. One that is not a JSON object is kept as it is.
pub(crate) fn read_request(operation: Operation, request: Value) -> Request {
    let Value::Object(request) = request else {
        return unknown_request(request);
    };
    match operation {
        Operation::Chat => chat::request(request),
        Operation::Responses => responses::request(request),
        Operation::Embeddings => embeddings::request(request),
        Operation::Completions => completions::request(request),
        Operation::Images => images::request(request),
        Operation::Speech => speech::request(request),
        Operation::Transcription => transcription::request(request),
        Operation::Moderation => moderation::request(request),
        Operation::AnthropicMessages => anthropic::request(request),
        Operation::BedrockConverse => converse::request(request),
        Operation::BedrockInvoke => invoke::request(request),
        Operation::CohereChat => cohere::request(request),
        Operation::CohereEmbed => cohere::embed_request(request),
        Operation::GeminiGenerate => gemini::request(request),
        Operation::GeminiEmbed => gemini::embed_request(request),
        Operation::OllamaChat | Operation::OllamaGenerate => ollama::request(request),
        Operation::OllamaEmbed => ollama::embed_request(request),
        Operation::Rerank => rerank::request(request),
        Operation::Unknown => unknown_request(Value::Object(request)),
    }
}

/// A request whose body was not seen: its kind and size are its only input.
pub(crate) fn unseen_request(content_type: Option<&str>, bytes: Option<u64>) -> Request {
    let is_multipart = content_type.and_then(|name| name.trim_start().get(..10));
    let is_multipart = is_multipart.is_some_and(|start| start.eq_ignore_ascii_case("multipart/"));
    let mut part = Map::new();
    part.insert("type".into(), Value::from(if is_multipart { "multipart" } else { "body" }));
    part.extend(bytes.map(|bytes| ("bytes".to_owned(), Value::from(bytes))));
    Request { choices: 1, input: vec![json!({"role": "user", "content": [part]})], ..Request::default() }
}

/// Keeps a request of unknown meaning as the only input.
pub(crate) fn unknown_request(request: Value) -> Request {
    Request {
        model: request.get("model").and_then(Value::as_str).map(str::to_owned),
        streaming: request.get("stream") == Some(&Value::Bool(true)),
        choices: 1,
        input: vec![media::reduce(request)],
        parameters: Map::new(),
    }
}

/// A decoder for the answer to `request`, with room for `text` bytes; none where the operation is unknown.
pub(crate) fn decoder(operation: Operation, request: &Request, text: usize) -> Option<Box<dyn Decoder>> {
    match operation {
        Operation::Chat | Operation::Completions => Some(Box::new(chat::Chat::new(request.choices, text))),
        Operation::Responses => Some(Box::new(responses::Responses::new(text))),
        Operation::Embeddings => Some(Box::new(embeddings::decoder())),
        Operation::Images => Some(Box::new(images::Images::new(request, text))),
        Operation::Speech => Some(Box::<speech::Speech>::default()),
        Operation::Transcription => Some(Box::new(transcription::Transcription::new(text))),
        Operation::Moderation => Some(Box::new(moderation::decoder())),
        Operation::BedrockConverse => Some(Box::new(Reading::new(converse::Converse, text))),
        Operation::BedrockInvoke => Some(Box::new(invoke::Invoke::new(text))),
        Operation::CohereEmbed => Some(Box::new(Summary::new(vectors::summary, cohere::embed_usage))),
        Operation::GeminiEmbed => Some(Box::new(Summary::new(vectors::summary, gemini::embed_usage))),
        Operation::OllamaEmbed => Some(Box::new(Summary::new(vectors::summary, ollama::read_usage))),
        Operation::Rerank => Some(Box::new(Summary::new(rerank::summary, rerank::usage))),
        Operation::CohereChat => Some(Box::new(Reading::new(cohere::Cohere, text))),
        Operation::GeminiGenerate => Some(Box::new(Reading::new(gemini::Gemini::new(request.choices), text))),
        Operation::AnthropicMessages => Some(Box::new(Reading::new(anthropic::Messages::default(), text))),
        Operation::OllamaChat | Operation::OllamaGenerate => {
            Some(Box::new(Reading::new(ollama::Ollama, text)))
        }
        Operation::Unknown => None,
    }
}
