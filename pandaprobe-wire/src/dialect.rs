//! What every dialect provides.

use std::fmt::Debug;

use serde_json::{Map, Value};

use crate::{
    Operation, ToolItem, Usage, WireError,
    content::weight,
    media,
    openai::{chat, embeddings, responses},
};

/// What a dialect read from a request.
#[derive(Debug, Default)]
pub(crate) struct Request {
    pub(crate) model: Option<String>,
    pub(crate) streaming: bool,
    /// How many choices were asked for.
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

/// Reads the answer of one exchange: one whole value, or the events of a stream.
pub(crate) trait Decoder: Debug + Send {
    /// Reads a blocking answer.
    fn whole(&mut self, value: &Value);

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

/// Reads a request.
pub(crate) fn read_request(operation: Operation, request: Value) -> Request {
    match operation {
        Operation::Chat => chat::request(request),
        Operation::Responses => responses::request(request),
        Operation::Embeddings => embeddings::request(request),
        Operation::Unknown => unknown_request(request),
    }
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
        Operation::Chat => Some(Box::new(chat::Chat::new(request.choices, text))),
        Operation::Responses => Some(Box::new(responses::Responses::new(text))),
        Operation::Embeddings => Some(Box::<embeddings::Embeddings>::default()),
        Operation::Unknown => None,
    }
}
