use crate::{
    LlmRecord, MAX_BODY, MAX_TEXT, MAX_UNKNOWN_BODY, Operation,
    content::weight,
    dialect::{self, Answer, Decoder, Request},
    json,
    limits::{Notes, head_chars},
    operation::Place,
    stream::{Shape, Stream},
    whole::{Whole, text_or_size},
};

/// One exchange with a provider: request in, answer in, in pieces; record out.
///
/// Any bytes are accepted in any order of calls; what cannot be read is said in
/// [`LlmRecord::notes`]. The request is decoded at once and its bytes are not kept; an event stream
/// is decoded as it arrives; speech is counted and not held; any other answer is held, up to [`MAX_BODY`],
/// until [`Exchange::end`].
///
/// ```
/// use pandaprobe_wire::Exchange;
///
/// let request = br#"{"model":"m","messages":[{"role":"user","content":"hi"}],"stream":true}"#;
/// let mut exchange = Exchange::new("/v1/chat/completions", request);
/// exchange.start(200, Some("text/event-stream"));
/// let progress = exchange.push(b"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hel");
/// assert!(!progress.token);
/// let progress = exchange.push(b"lo\"},\"finish_reason\":\"stop\"}]}\n\n");
/// assert!(progress.token && progress.terminal);
/// assert_eq!(exchange.record().output[0]["content"], "Hello");
/// ```
#[derive(Debug)]
pub struct Exchange {
    operation: Operation,
    request: Request,
    request_bytes: usize,
    status: Option<u16>,
    /// The content type of the answer without its parameters, in lower case.
    media_type: Option<String>,
    body: Body,
    ended: bool,
    notes: Notes,
}

/// What a piece of the answer brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The piece completed an event with output of the model: text, reasoning, refusal, a tool
    /// call's name or arguments, audio, an image or the draft of one. Never true for an answer that is not
    /// a stream.
    pub token: bool,
    /// The answer is complete, as [`Exchange::is_terminal`] says.
    pub terminal: bool,
}

#[derive(Debug)]
enum Body {
    /// Too little has arrived to tell what it is.
    Start(Vec<u8>),
    Whole(Whole),
    Stream(Stream),
    /// A whole body that was decoded when it ended.
    Read {
        answer: Box<Answer>,
        complete: bool,
    },
}

impl Exchange {
    /// Begins an exchange. The operation is detected from the URL path, else from the shape of the
    /// request body: `messages` with roles mean chat, `contents` with parts Gemini, an `anthropic_version`
    /// Anthropic.
    pub fn new(path: &str, request: &[u8]) -> Self {
        let mut notes = Notes::default();
        let value = parse_request(request, &mut notes);
        let operation = Operation::detect_with(path, value.as_ref());
        Self::begin(operation, path, request, value, notes)
    }

    /// Begins an exchange whose operation the caller knows. The path may still name the model, and say that
    /// the answer is a stream.
    pub fn with_operation(operation: Operation, path: &str, request: &[u8]) -> Self {
        let mut notes = Notes::default();
        let value = parse_request(request, &mut notes);
        Self::begin(operation, path, request, value, notes)
    }

    /// Begins an exchange whose request body was not seen, as a multipart form or a stream is not: its kind
    /// and, where it is known, its size stand for the input.
    ///
    /// ```
    /// use pandaprobe_wire::{Exchange, Operation};
    ///
    /// let form = Some("multipart/form-data; boundary=x");
    /// let exchange = Exchange::with_unread_request(
    ///     Operation::Transcription,
    ///     "/v1/audio/transcriptions",
    ///     form,
    ///     Some(90_000),
    /// );
    /// assert_eq!(exchange.record().input[0]["content"][0]["type"], "multipart");
    /// ```
    pub fn with_unread_request(
        operation: Operation,
        path: &str,
        content_type: Option<&str>,
        bytes: Option<u64>,
    ) -> Self {
        let request = dialect::unseen_request(content_type, bytes);
        Self::with_request(operation, path, request, Notes::default())
    }

    /// Takes the head of the answer. A non-2xx status makes the answer an error.
    pub fn start(&mut self, status: u16, content_type: Option<&str>) {
        self.status = Some(status);
        self.media_type = content_type.and_then(essence);
    }

    /// Takes the next piece of the answer's body, cut anywhere. Does nothing after [`Exchange::end`].
    pub fn push(&mut self, bytes: &[u8]) -> Progress {
        let token = !self.ended && self.take(bytes);
        Progress { token, terminal: self.is_terminal() }
    }

    /// Says that the body has reached its end. A blocking answer is decoded here.
    pub fn end(&mut self) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        if let Body::Start(start) = &mut self.body {
            let start = std::mem::take(start);
            let shape = self.known(&start).unwrap_or_else(|| self.declared());
            self.open(shape, start);
        }
        match &mut self.body {
            Body::Stream(stream) => stream.end(),
            Body::Whole(whole) => {
                let decoder = blocking_decoder(self.operation, &self.request);
                let (answer, complete) =
                    whole.read(decoder, failed(self.status), self.media_type.as_deref(), &mut self.notes);
                self.body = Body::Read { answer: Box::new(answer), complete };
            }
            Body::Start(_) | Body::Read { .. } => {}
        }
    }

    /// Whether the request asked for a stream, or the answer is an event stream.
    pub fn is_streaming(&self) -> bool {
        let declared = self.declared().is_some();
        let answered = match self.body {
            Body::Stream(_) => true,
            Body::Start(_) => declared,
            Body::Whole(_) | Body::Read { .. } => declared && self.operation == Operation::Unknown,
        };
        self.request.streaming || answered
    }

    /// Whether the answer is complete: a stream has said `[DONE]`, given a finish reason for each choice
    /// asked for, sent the last event of a response, of audio or of each image asked for, or failed where
    /// it ends with that; any other answer has ended and could be read.
    pub fn is_terminal(&self) -> bool {
        match &self.body {
            Body::Stream(stream) => stream.is_terminal(),
            Body::Read { complete, .. } => *complete,
            Body::Start(_) | Body::Whole(_) => false,
        }
    }

    /// Approximate bytes of memory held.
    pub fn held_bytes(&self) -> usize {
        let body = match &self.body {
            Body::Start(start) => start.capacity(),
            Body::Whole(whole) => whole.held_bytes(),
            Body::Stream(stream) => stream.held_bytes(),
            Body::Read { answer, .. } => answer.weight(),
        };
        self.request_bytes + body
    }

    /// What is known so far. May be called at any time; before [`Exchange::end`] a blocking answer
    /// is parsed by each call.
    pub fn record(&self) -> LlmRecord {
        let mut notes = self.notes.clone();
        let answer = self.answer(&mut notes);
        self.told(self.request.clone(), answer, notes)
    }

    /// [`record`](Self::record) without a copy of what is held.
    pub fn into_record(mut self) -> LlmRecord {
        let mut notes = std::mem::take(&mut self.notes);
        let answer = match &mut self.body {
            Body::Read { answer, .. } => std::mem::take(&mut **answer),
            _ => self.answer(&mut notes),
        };
        let request = std::mem::take(&mut self.request);
        self.request.streaming = request.streaming;
        self.told(request, answer, notes)
    }

    fn told(&self, request: Request, answer: Answer, notes: Notes) -> LlmRecord {
        LlmRecord {
            operation: self.operation,
            streaming: self.is_streaming(),
            status: self.status,
            terminal: self.is_terminal(),
            model_requested: request.model,
            model_responded: answer.model,
            input: request.input,
            parameters: request.parameters,
            output: answer.output,
            tools: answer.tools,
            reasoning: answer.reasoning,
            refusal: answer.refusal,
            usage: answer.usage,
            finish_reason: answer.finish_reason,
            choices: answer.choices,
            error: answer.error,
            response_id: answer.id,
            body: answer.body,
            notes: notes.into_vec(),
        }
    }

    fn begin(
        operation: Operation,
        path: &str,
        bytes: &[u8],
        value: Option<serde_json::Value>,
        mut notes: Notes,
    ) -> Self {
        let request = match value {
            Some(value) if operation != Operation::Unknown => dialect::read_request(operation, value),
            Some(value) if bytes.len() <= MAX_UNKNOWN_BODY => dialect::unknown_request(value),
            _ => unread_request(operation, bytes, &mut notes),
        };
        Self::with_request(operation, path, request, notes)
    }

    fn with_request(operation: Operation, path: &str, mut request: Request, notes: Notes) -> Self {
        let place = Place::of(path);
        request.model = request.model.or(place.model);
        request.streaming |= place.streaming;
        let request_bytes = request.input.iter().chain(request.parameters.values()).map(weight).sum();
        Self {
            operation,
            request,
            request_bytes,
            status: None,
            media_type: None,
            body: Body::Start(Vec::new()),
            ended: false,
            notes,
        }
    }

    fn take(&mut self, bytes: &[u8]) -> bool {
        match &mut self.body {
            Body::Stream(stream) => stream.push(bytes),
            Body::Whole(whole) => {
                whole.push(bytes);
                false
            }
            Body::Start(start) => {
                start.extend_from_slice(bytes);
                let start = std::mem::take(start);
                self.sniff(start)
            }
            Body::Read { .. } => false,
        }
    }

    fn sniff(&mut self, mut start: Vec<u8>) -> bool {
        // White space may be audio, or all that there is of an unknown answer.
        if !matches!(self.operation, Operation::Speech | Operation::Unknown) && !self.is_declared_raw() {
            start.drain(..blank_len(&start));
        }
        match self.known(&start) {
            Some(shape) => self.open(shape, start),
            None => {
                self.body = Body::Start(start);
                false
            }
        }
    }

    /// The shape of a body that starts with `start`: some stream, or none where it is one value. Nothing while that
    /// cannot be told.
    fn known(&self, start: &[u8]) -> Option<Option<Shape>> {
        match self.operation {
            Operation::Unknown => Some(None),
            _ if self.is_declared_raw() => Some(None),
            _ => self.shape(start),
        }
    }

    /// The shape that the content type says the body has.
    fn declared(&self) -> Option<Shape> {
        self.media_type.as_deref().and_then(Shape::of_media_type)
    }

    /// The shape of a body, by its start and else by its content type.
    fn shape(&self, start: &[u8]) -> Option<Option<Shape>> {
        let declared = self.declared();
        let is_json = start.starts_with(b"{") || start.starts_with(b"[");
        let fits = |shape: &Shape| match shape {
            Shape::Events => false,
            Shape::Values => is_json,
            // They begin with their length, and none is that long.
            Shape::Frames => start.starts_with(&[0]),
        };
        let of_operation = Shape::of_operation(self.operation).filter(|_| self.request.streaming);
        match [declared, of_operation].into_iter().flatten().find(fits) {
            Some(shape) => Some(Some(shape)),
            None => looks_like_events(start, declared == Some(Shape::Events))
                .map(|is_stream| is_stream.then_some(Shape::Events)),
        }
    }

    /// Whether the answer is said to be audio or plain text. Such bytes may start like an event stream
    /// or JSON, so the content type decides.
    fn is_declared_raw(&self) -> bool {
        let is_raw = matches!(self.operation, Operation::Speech | Operation::Transcription);
        let is_other = |media_type: &str| media_type != EVENT_STREAM && !media_type.ends_with("json");
        is_raw && self.media_type.as_deref().is_some_and(is_other)
    }

    fn open(&mut self, shape: Option<Shape>, start: Vec<u8>) -> bool {
        let stream = shape.and_then(|shape| {
            Some(Stream::new(shape, dialect::decoder(self.operation, &self.request, MAX_TEXT)?))
        });
        let Some(mut stream) = stream else {
            self.body = Body::Whole(Whole::new(self.operation, start));
            return false;
        };
        let token = stream.push(&start);
        self.body = Body::Stream(stream);
        token
    }

    fn answer(&self, notes: &mut Notes) -> Answer {
        match &self.body {
            Body::Read { answer, .. } => (**answer).clone(),
            Body::Stream(stream) => stream.answer(failed(self.status), notes),
            Body::Whole(whole) => {
                let decoder = blocking_decoder(self.operation, &self.request);
                whole.read(decoder, failed(self.status), self.media_type.as_deref(), notes).0
            }
            Body::Start(start) => Answer {
                error: failed(self.status).map(|status| crate::error::of_answer(status, start)),
                ..Answer::default()
            },
        }
    }
}

fn blocking_decoder(operation: Operation, request: &Request) -> Option<Box<dyn Decoder>> {
    dialect::decoder(operation, request, usize::MAX)
}

fn parse_request(bytes: &[u8], notes: &mut Notes) -> Option<serde_json::Value> {
    if bytes.is_empty() || bytes.len() > MAX_BODY {
        return None;
    }
    json::parse(bytes, notes).ok()
}

/// A request that is not JSON or too long, kept as text.
fn unread_request(operation: Operation, bytes: &[u8], notes: &mut Notes) -> Request {
    let head = &bytes[..bytes.len().min(MAX_UNKNOWN_BODY)];
    if head.len() < bytes.len() {
        notes.add(format!("request of {} bytes was cut", bytes.len()));
    } else if operation != Operation::Unknown && !bytes.is_empty() {
        notes.add("request is not JSON");
    }
    let input = text_or_size(head, bytes.len() as u64).into_iter().collect();
    Request { input, ..Request::default() }
}

fn failed(status: Option<u16>) -> Option<u16> {
    status.filter(|status| !(200..300).contains(status))
}

/// A content type without its parameters; none where it is empty.
fn essence(content_type: &str) -> Option<String> {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    let essence = head_chars(essence, MAX_MEDIA_TYPE);
    (!essence.is_empty()).then(|| essence.to_ascii_lowercase())
}

const EVENT_STREAM: &str = "text/event-stream";

/// Characters kept of a content type.
const MAX_MEDIA_TYPE: usize = 200;

const BOM: &[u8] = b"\xEF\xBB\xBF";

/// Bytes of white space and byte order marks that a body starts with.
fn blank_len(body: &[u8]) -> usize {
    let mut rest = body.trim_ascii_start();
    while let Some(more) = rest.strip_prefix(BOM) {
        rest = more.trim_ascii_start();
    }
    body.len() - rest.len()
}

/// Whether a body is an event stream, by its start and else by its content type; none while that cannot be told.
fn looks_like_events(start: &[u8], declared: bool) -> Option<bool> {
    const FIELDS: [&[u8]; 5] = [b":", b"data:", b"event:", b"id:", b"retry:"];
    if FIELDS.iter().any(|field| start.starts_with(field)) {
        return Some(true);
    }
    if start.starts_with(b"{") || start.starts_with(b"[") || start.starts_with(b"<") {
        return Some(false);
    }
    let undecided = FIELDS.iter().chain([&BOM]).any(|word| word.starts_with(start));
    (!undecided).then_some(declared)
}
