//! The model calls of agents that a hook records, so that a traced transport does not record them again.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use memchr::memmem;
use pandaprobe_core::Span;
use rig_core::completion::{
    CompletionRequest,
    message::{Message, ToolResultContent, UserContent},
};

/// Calls that are about to be sent. A transport knows no run, only bytes; they are told apart by what the request says.
#[derive(Debug, Default)]
pub(crate) struct ModelCalls {
    /// Whether there is a transport that asks.
    is_watched: AtomicBool,
    next: AtomicU64,
    open: Mutex<Vec<ModelCall>>,
}

#[derive(Debug)]
struct ModelCall {
    number: u64,
    /// Pieces of its texts that stand in the body as they are, however that is written.
    marks: Vec<String>,
    span: Span,
}

impl ModelCalls {
    /// A transport will ask.
    pub(crate) fn watch(&self) {
        self.is_watched.store(true, Ordering::Release);
    }

    /// A hook records this call. The number it is known by, if anybody wants to know.
    pub(crate) fn announce(&self, request: &CompletionRequest, span: &Span) -> Option<u64> {
        if !self.is_watched.load(Ordering::Acquire) {
            return None;
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let marks = marks(request);
        self.open().push(ModelCall { number, marks, span: span.clone() });
        Some(number)
    }

    /// The span of the call whose body that is, once.
    pub(crate) fn claim(&self, body: &[u8]) -> Option<Span> {
        let mut open = self.open();
        let is_in = |mark: &String| memmem::find(body, mark.as_bytes()).is_some();
        let at = open.iter().position(|call| call.marks.iter().all(is_in))?;
        Some(open.remove(at).span)
    }

    /// The call was answered, or will not be.
    pub(crate) fn forget(&self, number: u64) {
        self.open().retain(|call| call.number != number);
    }

    fn open(&self) -> std::sync::MutexGuard<'_, Vec<ModelCall>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The system prompt, what was said last, and a tool.
fn marks(request: &CompletionRequest) -> Vec<String> {
    let last = request.chat_history.last().and_then(last_text);
    let tool = request.tools.first().map(|tool| tool.name.as_str());
    let texts = [request.system_instructions(), last, tool];
    texts.into_iter().flatten().filter_map(plain).collect()
}

fn last_text(message: &Message) -> Option<&str> {
    let Message::User { content } = message else {
        return None;
    };
    content.iter().rev().find_map(|part| match part {
        UserContent::Text(text) => Some(text.text.as_str()),
        UserContent::ToolResult(result) => result.content.iter().find_map(ToolResultContent::as_text),
        _ => None,
    })
}

/// The first long piece of a text that every encoder of JSON leaves as it is.
fn plain(text: &str) -> Option<String> {
    const ENOUGH: usize = 48;
    let pieces = text.split(|c: char| !(c.is_ascii_alphanumeric() || " .,_-".contains(c)));
    let mut longest = "";
    for piece in pieces {
        // A text may be trimmed on its way.
        let piece = piece.trim();
        if piece.len() > longest.len() {
            longest = piece;
        }
        if longest.len() >= ENOUGH {
            break;
        }
    }
    let end = longest.len().min(ENOUGH);
    (!longest.is_empty()).then(|| longest[..end].to_owned())
}
