//! HTTP exchanges with model providers as spans: what integrations that see such exchanges share.
//!
//! [`Call`] starts the span of a request, [`answered`] takes the head of the response, and [`Tapped`] sees its body
//! while it is read. Nothing is parsed on the thread that calls: bodies go to the client's assembler thread as
//! reference-counted bytes.

mod body;
mod decoder;
mod headers;
mod reqwest;
mod tool;

use bytes::Bytes;
use http::{
    HeaderMap, Method, StatusCode,
    header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE},
};
pub use pandaprobe_wire::{Operation, WireError};

pub use self::{
    body::{RequestBody, Tapped},
    reqwest::{ResponseBody, body_of, changed, tapped},
};
use crate::{
    handler::{Handler, Run},
    model::SpanKind,
    pipeline::Piece,
    trace::Span,
};
use decoder::ExchangeDecoder;

/// Any error, as `tower` has it.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The head of a request to a provider.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// What it is about. [`Operation::Unknown`] is not recorded.
    pub operation: Operation,
    /// The server: scheme, host and port, without the path.
    pub server: &'a str,
    /// The path of the URL.
    pub path: &'a str,
    /// The headers of the request.
    pub headers: &'a HeaderMap,
}

/// The body of a request.
#[derive(Clone, Debug)]
pub enum Sent {
    /// All of it.
    Whole(Bytes),
    /// It comes later, in pieces: [`RequestBody`] hands them on.
    Later,
    /// It cannot be seen: its kind and size are recorded. So they are of every form and of what is compressed.
    Unseen,
}

impl Call<'_> {
    /// Starts the span of the call in the current scope. None if it is of no kind that is recorded.
    pub fn start(self, handler: &Handler, body: Sent) -> Option<Span> {
        let (name, kind) = recorded_as(self.operation)?;
        let is_form = text(self.headers, CONTENT_TYPE).is_some_and(|kind| kind.starts_with("multipart/"));
        let is_compressed = self.headers.contains_key(CONTENT_ENCODING);
        let is_unseen = matches!(body, Sent::Unseen) || is_form || is_compressed;
        let decoder = match is_unseen {
            false => ExchangeDecoder::new(self.operation, self.path),
            true => {
                let bytes = text(self.headers, CONTENT_LENGTH).and_then(|length| length.parse().ok());
                ExchangeDecoder::unread(self.operation, self.path, text(self.headers, CONTENT_TYPE), bytes)
            }
        };
        let mut run = Run::new(name, kind).decoder(decoder);
        if kind == SpanKind::Llm && self.operation.has_turns() {
            run = run.turn_of_loop(&format!("{}{}", self.server, Operation::base(self.path)));
        }
        let span = handler.start(run);
        if let (Sent::Whole(body), false) = (body, is_unseen) {
            span.feed(Piece::Request(body));
        }
        Some(span)
    }
}

/// What a request is about, by its method and path. Only those that ask a model for something are known.
pub fn operation(method: &Method, path: &str) -> Operation {
    match *method {
        Method::POST => Operation::detect(path),
        _ => Operation::Unknown,
    }
}

/// Takes the head of the response. Says whether its body can be read: one that is compressed cannot.
pub fn answered(span: &Span, status: StatusCode, headers: &HeaderMap) -> bool {
    headers::record(headers, span);
    let content_type = text(headers, CONTENT_TYPE).map(str::to_owned);
    span.feed(Piece::Response { status: status.as_u16(), content_type });
    let encoding =
        text(headers, CONTENT_ENCODING).filter(|encoding| !encoding.eq_ignore_ascii_case("identity"));
    if let Some(encoding) = encoding {
        let note = format!("the answer was not read: it was still compressed ({encoding}) here");
        span.set_metadata("pandaprobe.notes", vec![note]);
    }
    encoding.is_none()
}

/// The model that a request names, in its body or its path.
pub fn requested_model(operation: Operation, path: &str, body: &[u8]) -> Option<String> {
    pandaprobe_wire::Exchange::with_operation(operation, path, body).record().model_requested
}

/// The text of an error without the query of the request's URL, which may hold a key.
pub fn without_query(text: String, query: Option<&str>) -> String {
    match query.filter(|query| !query.is_empty()) {
        Some(query) => text.replace(query, "…"),
        None => text,
    }
}

fn text(headers: &HeaderMap, name: http::HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// The name and kind of the span of a call; none if it is of no kind that is recorded.
fn recorded_as(operation: Operation) -> Option<(&'static str, SpanKind)> {
    match operation {
        Operation::Chat => Some(("openai-chat", SpanKind::Llm)),
        Operation::Responses => Some(("openai-response", SpanKind::Llm)),
        Operation::Embeddings => Some(("openai-embedding", SpanKind::Embedding)),
        Operation::Completions => Some(("openai-completion", SpanKind::Llm)),
        Operation::Images => Some(("openai-image", SpanKind::Llm)),
        Operation::Speech => Some(("openai-speech", SpanKind::Llm)),
        Operation::Transcription => Some(("openai-transcription", SpanKind::Llm)),
        Operation::Moderation => Some(("openai-moderation", SpanKind::Other)),
        Operation::AnthropicMessages => Some(("anthropic-messages", SpanKind::Llm)),
        Operation::GeminiGenerate => Some(("gemini-generate", SpanKind::Llm)),
        Operation::GeminiEmbed => Some(("gemini-embedding", SpanKind::Embedding)),
        Operation::BedrockConverse => Some(("bedrock-converse", SpanKind::Llm)),
        Operation::BedrockInvoke => Some(("bedrock-invoke-model", SpanKind::Llm)),
        Operation::CohereChat => Some(("cohere-chat", SpanKind::Llm)),
        Operation::CohereEmbed => Some(("cohere-embedding", SpanKind::Embedding)),
        Operation::Rerank => Some(("rerank", SpanKind::Retriever)),
        Operation::OllamaChat => Some(("ollama-chat", SpanKind::Llm)),
        Operation::OllamaGenerate => Some(("ollama-generate", SpanKind::Llm)),
        Operation::OllamaEmbed => Some(("ollama-embedding", SpanKind::Embedding)),
        _ => None,
    }
}
