use std::{io, time::Duration};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use serde_json::Value;

use crate::loopback::{Connection, respond};

/// How long a broken body waits before it breaks, so that what was sent before is on its way.
const BEFORE_CUT: Duration = Duration::from_millis(5);

/// One scripted answer.
///
/// A body is a sequence of pieces: one for each event of [`sse`](Self::sse), one in all otherwise, or those that
/// [`pieces_of`](Self::pieces_of) makes. The options that count pieces count these.
#[derive(Clone, Debug)]
#[must_use = "an exchange does nothing until a provider plays it"]
pub struct Exchange {
    status: u16,
    headers: Vec<(String, String)>,
    pieces: Vec<Bytes>,
    streamed: bool,
    delay: Duration,
    ending: Ending,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Ending {
    Whole,
    Cut(usize),
    Hang(usize),
    /// No answer, not even a head.
    Silence,
    Reset,
}

impl Exchange {
    /// A JSON answer.
    pub fn json(status: u16, body: Value) -> Self {
        Self::raw(status, "application/json", body.to_string())
    }

    /// An answer of these bytes.
    pub fn raw(status: u16, content_type: &str, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            headers: vec![("content-type".to_owned(), content_type.to_owned())],
            pieces: vec![body.into()],
            streamed: false,
            delay: Duration::ZERO,
            ending: Ending::Whole,
        }
    }

    /// A 200 with these server-sent events, each sent as it comes.
    ///
    /// A string is sent as it is (`"[DONE]"`), an object with exactly the keys `event` and `data` as a named event,
    /// any other value as the data of an event without a name.
    pub fn sse(events: impl IntoIterator<Item = Value>) -> Self {
        Self {
            pieces: events.into_iter().map(|event| event_text(&event).into()).collect(),
            streamed: true,
            ..Self::raw(200, "text/event-stream", "")
        }
    }

    /// The `response` of a recorded scenario's exchange; `None` if its shape is not known.
    #[must_use]
    pub fn golden(response: &Value) -> Option<Self> {
        let status = u16::try_from(response["status"].as_u64()?).ok()?;
        let mut exchange = if let Some(events) = response["sse"].as_array() {
            Self::sse(events.iter().cloned())
        } else if let Some(hex) = response["raw_hex"].as_str() {
            Self::raw(status, "application/vnd.amazon.eventstream", decode_hex(hex)?)
        } else {
            Self::json(status, response.get("body")?.clone())
        };
        exchange.status = status;
        if response["note"].as_str().is_some_and(|note| note.contains("cut after the last")) {
            let events = exchange.pieces.len();
            exchange = exchange.cut_after(events);
        }
        for (name, value) in response["headers"].as_object()? {
            exchange = exchange.header(name, value.as_str()?);
        }
        Some(exchange)
    }

    /// No answer: the connection stays open until the client closes it.
    pub fn hang() -> Self {
        Self { ending: Ending::Silence, ..Self::raw(200, "text/plain", "") }
    }

    /// No answer: the connection is reset.
    pub fn reset() -> Self {
        Self { ending: Ending::Reset, ..Self::raw(200, "text/plain", "") }
    }

    /// The same answer with this status.
    pub fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// The same answer with this header, in place of any of the same name.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(key, _)| !key.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same answer with this pause before each piece.
    pub fn chunk_delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self.streamed = true;
        self
    }

    /// The same bytes in pieces of this many, wherever that cuts them.
    ///
    /// # Panics
    ///
    /// If `bytes` is 0.
    pub fn pieces_of(mut self, bytes: usize) -> Self {
        let whole = self.pieces.concat();
        self.pieces = whole.chunks(bytes).map(Bytes::copy_from_slice).collect();
        self.streamed = true;
        self
    }

    /// The same answer, whose connection breaks after this many pieces: to the client, a transport error in the body.
    pub fn cut_after(mut self, pieces: usize) -> Self {
        self.ending = Ending::Cut(pieces);
        self.streamed = true;
        self
    }

    /// The same answer, which stops after this many pieces and stays open until the client closes the connection.
    ///
    /// [`Recorded::client_closed`](crate::Recorded::client_closed) then says when that was.
    pub fn hang_after(mut self, pieces: usize) -> Self {
        self.ending = Ending::Hang(pieces);
        self.streamed = true;
        self
    }

    /// Carries the exchange out, up to the head of its answer.
    pub(super) async fn play(self, connection: &Connection) -> Played {
        match self.ending {
            Ending::Silence => std::future::pending().await,
            Ending::Reset => {
                connection.reset();
                Played { response: respond(200, &[], Body::empty()), status: None }
            }
            Ending::Whole | Ending::Cut(_) | Ending::Hang(_) => {
                let (status, headers) = (self.status, self.headers.clone());
                Played { response: respond(status, &headers, self.body()), status: Some(status) }
            }
        }
    }

    fn body(self) -> Body {
        if !self.streamed {
            return Body::from(self.pieces.concat());
        }
        let sent = match self.ending {
            Ending::Cut(pieces) | Ending::Hang(pieces) => pieces,
            _ => self.pieces.len(),
        };
        let delay = self.delay;
        let pieces = stream::iter(self.pieces.into_iter().take(sent)).then(move |piece| async move {
            pause(delay).await;
            Ok(piece)
        });
        let ending = self.ending;
        let last = stream::once(async move { end(ending).await }).filter_map(async |last| last);
        Body::from_stream(pieces.chain(last.map(Err)))
    }
}

/// What became of an exchange.
pub(super) struct Played {
    pub(super) response: Response,
    pub(super) status: Option<u16>,
}

/// Even without a delay the body yields between pieces, which makes each a write of its own.
async fn pause(delay: Duration) {
    if delay.is_zero() {
        tokio::task::yield_now().await;
    } else {
        tokio::time::sleep(delay).await;
    }
}

async fn end(ending: Ending) -> Option<io::Error> {
    match ending {
        Ending::Cut(_) => {
            tokio::time::sleep(BEFORE_CUT).await;
            Some(io::Error::other("scripted end of the connection"))
        }
        Ending::Hang(_) => std::future::pending().await,
        _ => None,
    }
}

fn event_text(event: &Value) -> String {
    if let Value::String(text) = event {
        return format!("data: {text}\n\n");
    }
    let named = event.as_object().filter(|event| event.len() == 2);
    let parts = named.and_then(|event| Some((event.get("event")?.as_str()?, event.get("data")?)));
    match parts {
        Some((name, Value::String(data))) => format!("event: {name}\ndata: {data}\n\n"),
        Some((name, data)) => format!("event: {name}\ndata: {data}\n\n"),
        None => format!("data: {event}\n\n"),
    }
}

fn decode_hex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}
