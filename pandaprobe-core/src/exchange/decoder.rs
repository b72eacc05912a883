//! An exchange as fields of a span.

use pandaprobe_wire::{Exchange, LlmRecord, MAX_BODY, Operation, Usage};
use serde_json::{Value, json};

use super::tool;
use crate::{
    model::{Object, SpanData, Timestamp, TokenUsage},
    pipeline::{Decode, Piece},
};

/// Decodes one exchange on the assembler thread.
pub(super) struct ExchangeDecoder {
    operation: Operation,
    path: String,
    /// What has come of a request that is sent in pieces.
    request: Vec<u8>,
    /// Bytes of that request.
    request_bytes: u64,
    exchange: Option<Exchange>,
    first_token: Option<Timestamp>,
    last_piece: Option<Timestamp>,
    ended: bool,
}

impl ExchangeDecoder {
    /// A decoder to which the request's body is fed.
    pub(super) fn new(operation: Operation, path: &str) -> Self {
        Self {
            operation,
            path: path.to_owned(),
            request: Vec::new(),
            request_bytes: 0,
            exchange: None,
            first_token: None,
            last_piece: None,
            ended: false,
        }
    }

    /// A decoder of an exchange whose request cannot be seen: a form, or a stream.
    pub(super) fn unread(
        operation: Operation,
        path: &str,
        content_type: Option<&str>,
        bytes: Option<u64>,
    ) -> Self {
        let exchange = Exchange::with_unread_request(operation, path, content_type, bytes);
        Self { exchange: Some(exchange), ..Self::new(operation, path) }
    }

    fn tell(&self, record: LlmRecord, span: &mut SpanData) {
        span.completion_start_time = self.first_token;
        describe(record, self.ended, span);
        // As the reference SDK has it: absent where there are none, but for chats.
        let is_chat = self.operation == Operation::Chat;
        span.model_parameters.take_if(|parameters| parameters.is_empty() && !is_chat);
    }

    fn collect(&mut self, part: &[u8]) {
        self.request_bytes += part.len() as u64;
        match self.request_bytes <= MAX_BODY as u64 {
            true => self.request.extend_from_slice(part),
            false => self.request = Vec::new(),
        }
    }

    /// The exchange as far as it has come.
    fn begun(&self) -> Exchange {
        match self.request_bytes <= MAX_BODY as u64 {
            true => Exchange::with_operation(self.operation, &self.path, &self.request),
            false => {
                Exchange::with_unread_request(self.operation, &self.path, None, Some(self.request_bytes))
            }
        }
    }
}

impl Decode for ExchangeDecoder {
    fn push(&mut self, piece: Piece, at: Timestamp) {
        self.last_piece = Some(at);
        match &piece {
            Piece::RequestPart(part) if self.exchange.is_none() => return self.collect(part),
            Piece::Request(body) => {
                self.exchange = Some(Exchange::with_operation(self.operation, &self.path, body));
            }
            _ => {}
        }
        if self.exchange.is_none() {
            self.exchange = Some(self.begun());
            self.request = Vec::new();
        }
        let Some(exchange) = &mut self.exchange else {
            return;
        };
        match piece {
            Piece::Response { status, content_type } => exchange.start(status, content_type.as_deref()),
            Piece::Body(bytes) => {
                let progress = exchange.push(&bytes);
                if progress.token {
                    self.first_token.get_or_insert(at);
                }
            }
            Piece::End => {
                exchange.end();
                self.ended = true;
            }
            _ => {}
        }
    }

    fn describe(&self, span: &mut SpanData) {
        let record = self.exchange.as_ref().map_or_else(|| self.begun().record(), Exchange::record);
        self.tell(record, span);
    }

    fn finish(&mut self, span: &mut SpanData) -> Vec<SpanData> {
        let record = self.exchange.take().unwrap_or_else(|| self.begun()).into_record();
        let steps = self.last_piece.map(|at| tool::steps(&record, at)).unwrap_or_default();
        self.tell(record, span);
        steps
    }

    fn is_stream(&self) -> bool {
        self.exchange.as_ref().is_some_and(Exchange::is_streaming)
    }

    fn is_terminal(&self) -> bool {
        self.exchange.as_ref().is_some_and(Exchange::is_terminal)
    }

    fn held_bytes(&self) -> usize {
        self.request.capacity() + self.exchange.as_ref().map_or(0, Exchange::held_bytes)
    }
}

fn describe(record: LlmRecord, ended: bool, span: &mut SpanData) {
    span.error = span.error.take().or_else(|| error(&record, ended));
    span.input = Some(messages(record.input));
    span.output = match record.output.is_empty() {
        true => record.body,
        false => Some(messages(record.output)),
    };
    span.model = record.model_responded.or(record.model_requested);
    span.model_parameters = Some(record.parameters);
    span.token_usage = record.usage.map(token_usage);
    note(&mut span.metadata, "finish_reason", record.finish_reason.map(Value::from));
    note(&mut span.metadata, "reasoning_summary", record.reasoning.map(Value::from));
    note(&mut span.metadata, "choices", (record.choices > 1).then(|| record.choices.into()));
    note(&mut span.metadata, "pandaprobe.notes", (!record.notes.is_empty()).then(|| record.notes.into()));
}

/// What the provider says went wrong, or what is wrong with its answer.
fn error(record: &LlmRecord, ended: bool) -> Option<String> {
    let unfinished = || {
        let why = record.notes.last().map_or("the answer ended before it was complete", String::as_str);
        (ended && !record.terminal).then(|| why.to_owned())
    };
    record.error.as_ref().map(ToString::to_string).or_else(unfinished)
}

fn messages(messages: Vec<Value>) -> Value {
    json!({ "messages": messages })
}

fn note(metadata: &mut Object, key: &str, value: Option<Value>) {
    metadata.extend(value.map(|value| (key.to_owned(), value)));
}

fn token_usage(usage: Usage) -> TokenUsage {
    TokenUsage {
        prompt_tokens: usage.prompt_tokens,
        completion_tokens: usage.completion_tokens,
        total_tokens: usage.total_tokens,
        reasoning_tokens: usage.reasoning_tokens,
        cache_read_tokens: usage.cache_read_tokens,
        cache_creation_tokens: usage.cache_creation_tokens,
        details: usage.details,
    }
}
