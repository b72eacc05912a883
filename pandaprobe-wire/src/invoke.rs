//! Amazon Bedrock InvokeModel and InvokeModelWithResponseStream: requests and answers are those of the model's
//! maker, and in a stream each event is wrapped in a chunk.

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

use crate::{
    Usage, anthropic, converse,
    counts::{count, first, sum},
    dialect::{Answer, Decoder, Request},
    fields::{list, text},
    json as lenient,
    limits::Notes,
    media,
    openai::chat,
    reply::{Dialect, Reading, Reply},
    summary::Summary,
    texts, vectors,
};

/// Fields of requests that are their input.
const PROMPTS: [&str; 5] = ["prompt", "inputText", "texts", "message", "inputImage"];

/// Objects in requests that hold parameters.
const CONFIGS: [&str; 3] = ["textGenerationConfig", "imageGenerationConfig", "embeddingConfig"];

/// Reads a request in the dialect that its shape belongs to. The model is in the path.
pub(crate) fn request(mut map: Map<String, Value>) -> Request {
    let is_converse = |message: &Value| {
        let block = message.get("content").and_then(|content| content.get(0));
        block.is_some_and(|block| block.is_object() && block.get("type").is_none())
    };
    match map.get("messages").and_then(Value::as_array) {
        _ if map.contains_key("anthropic_version") => anthropic::request(map),
        Some(messages) if messages.iter().any(is_converse) => converse::request(map),
        Some(_) => chat::request(map),
        None => {
            let prompts = PROMPTS.iter().filter_map(|key| map.remove(*key));
            let input = prompts.flat_map(texts::messages).collect();
            let configs: Vec<Value> = CONFIGS.iter().filter_map(|key| map.remove(*key)).collect();
            let rest: Map<String, Value> =
                map.into_iter().map(|(key, value)| (key, media::reduce(value))).collect();
            let configs = configs.into_iter().filter_map(|config| config.as_object().cloned()).flatten();
            let parameters = rest.into_iter().chain(configs).collect();
            Request { choices: 1, input, parameters, ..Request::default() }
        }
    }
}

/// The decoder of an answer: that of the dialect that the first object belongs to.
#[derive(Debug)]
pub(crate) struct Invoke {
    capacity: usize,
    inner: Option<Box<dyn Decoder>>,
    /// What Bedrock counts itself, with the last chunk.
    counted: Option<Usage>,
    complete: bool,
}

impl Invoke {
    /// A decoder that keeps `capacity` bytes.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity, inner: None, counted: None, complete: false }
    }

    fn inner(&mut self, value: &Value) -> &mut Box<dyn Decoder> {
        let capacity = self.capacity;
        self.inner.get_or_insert_with(|| speaker(value, capacity))
    }
}

/// The decoder of the dialect that an answer, or the first event of a stream, belongs to.
fn speaker(value: &Value, capacity: usize) -> Box<dyn Decoder> {
    const CONVERSE: [&str; 4] = ["output", "messageStart", "contentBlockStart", "contentBlockDelta"];
    let has = |key: &str| value.get(key).is_some();
    let is_anthropic = has("content") || text(value, "type").is_some_and(|kind| kind.starts_with("message"));
    if is_anthropic {
        Box::new(Reading::new(anthropic::Messages::default(), capacity))
    } else if CONVERSE.iter().any(|key| value.get(*key).is_some_and(Value::is_object)) {
        Box::new(Reading::new(converse::Converse, capacity))
    } else if has("choices") {
        Box::new(chat::Chat::new(1, capacity))
    } else if has("embedding") || has("embeddings") {
        Box::new(Summary::new(vectors::summary, Text::usage))
    } else {
        Box::new(Reading::new(Text, capacity))
    }
}

impl Decoder for Invoke {
    fn whole(&mut self, value: &Value) {
        self.inner(value).whole(value);
    }

    fn event(&mut self, name: &str, value: &Value) -> bool {
        let value = if name == "error" { Some(Cow::Borrowed(value)) } else { unwrapped(value) };
        let Some(value) = value else {
            return false;
        };
        if let Some(metrics) = value.get("amazon-bedrock-invocationMetrics") {
            self.complete = true;
            self.counted = counted(metrics);
        }
        self.inner(&value).event(if name == "error" { name } else { "" }, &value)
    }

    fn error_text(&mut self, text: &[u8]) {
        self.inner(&Value::Null).error_text(text);
    }

    fn is_complete(&self) -> bool {
        self.complete || self.inner.as_ref().is_some_and(|inner| inner.is_complete())
    }

    fn is_full(&self) -> bool {
        self.inner.as_ref().is_some_and(|inner| inner.is_full())
    }

    fn held_bytes(&self) -> usize {
        self.inner.as_ref().map_or(0, |inner| inner.held_bytes())
    }

    fn answer(&self) -> Answer {
        let answer = self.inner.as_ref().map(|inner| inner.answer()).unwrap_or_default();
        Answer { usage: answer.usage.clone().or_else(|| self.counted.clone()), ..answer }
    }
}

/// The event in a chunk; what is no chunk is an event itself. None where a chunk cannot be read.
fn unwrapped(value: &Value) -> Option<Cow<'_, Value>> {
    match value.get("bytes").and_then(Value::as_str) {
        None => Some(Cow::Borrowed(value)),
        Some(bytes) => {
            let bytes = STANDARD.decode(bytes).ok()?;
            lenient::parse(&bytes, &mut Notes::default()).ok().map(Cow::Owned)
        }
    }
}

fn counted(metrics: &Value) -> Option<Usage> {
    let read = count(metrics, "cacheReadInputTokenCount");
    let written = count(metrics, "cacheWriteInputTokenCount");
    let usage = Usage {
        prompt_tokens: sum(&[count(metrics, "inputTokenCount"), read, written]),
        completion_tokens: count(metrics, "outputTokenCount"),
        cache_read_tokens: read,
        cache_creation_tokens: written,
        ..Usage::default()
    };
    (usage.prompt_tokens.is_some() || usage.completion_tokens.is_some()).then_some(usage)
}

/// The reader of answers that are bare texts or images: those of Titan, Llama, Mistral, Command and others.
#[derive(Debug)]
struct Text;

impl Text {
    fn usage(value: &Value) -> Option<Usage> {
        let null = &Value::Null;
        let billed = value.get("meta").and_then(|meta| meta.get("billed_units")).unwrap_or(null);
        let results: Vec<Option<u64>> =
            list(value, "results").map(|result| count(result, "tokenCount")).collect();
        let completion = first(&[
            (value, "generation_token_count"),
            (value, "totalOutputTextTokenCount"),
            (billed, "output_tokens"),
        ]);
        let prompt =
            first(&[(value, "prompt_token_count"), (value, "inputTextTokenCount"), (billed, "input_tokens")]);
        let usage = Usage {
            prompt_tokens: prompt,
            completion_tokens: completion.or_else(|| sum(&results)),
            ..Usage::default()
        };
        (usage.prompt_tokens.is_some() || usage.completion_tokens.is_some()).then_some(usage)
    }
}

impl Dialect for Text {
    fn whole(&mut self, value: &Value, reply: &mut Reply) {
        self.event("", value, reply);
    }

    fn event(&mut self, _: &str, value: &Value, reply: &mut Reply) -> bool {
        const TEXTS: [&str; 4] = ["outputText", "generation", "text", "completion"];
        const REASONS: [&str; 3] = ["completionReason", "stop_reason", "finish_reason"];
        reply.envelope.id(value.get("id").or_else(|| value.get("generation_id")));
        reply.envelope.usage(Self::usage(value));
        let lists = ["results", "outputs", "generations"];
        let listed = lists.iter().find_map(|key| value.get(*key)?.as_array());
        let mut said = false;
        for (index, result) in listed.map_or(std::slice::from_ref(value), Vec::as_slice).iter().enumerate() {
            let piece = TEXTS.iter().find_map(|key| result.get(*key)?.as_str());
            let reason = REASONS.iter().find_map(|key| text(result, key));
            if piece.is_none() && reason.is_none() {
                continue;
            }
            if let Some((choice, room)) = reply.choice(index as u64) {
                said |= piece.is_some_and(|piece| choice.parts.text(0, piece, room));
                choice.finish(reason);
            }
        }
        said | images(value, reply)
    }
}

/// Takes images as parts of one message.
fn images(value: &Value, reply: &mut Reply) -> bool {
    let mut taken = false;
    for image in list(value, "images").filter_map(Value::as_str) {
        if let Some((choice, room)) = reply.choice(0) {
            let part = json!({"type": "image", "bytes": media::decoded_len(image)});
            let index = choice.parts.next();
            taken |= choice.parts.other(index, part, room);
        }
    }
    taken
}
