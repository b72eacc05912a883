//! The model calls of agents that a hook records, so that a traced transport does not record them again.

use std::sync::{
    Mutex,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use memchr::memmem;
use pandaprobe_core::Span;
use rig_core::completion::{
    CompletionRequest,
    message::{Message, ToolResultContent, UserContent},
};

use crate::lock;

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
    /// Nobody knows where it is sent.
    is_exposed: bool,
    is_claimed: bool,
}

/// Who records a call.
pub(crate) enum Claimed {
    By(Span),
    /// One of those that say the same, or one that was claimed already.
    ByOneOfSeveral,
}

impl ModelCalls {
    /// A transport will ask.
    pub(crate) fn watch(&self) {
        self.is_watched.store(true, Ordering::Release);
    }

    /// A hook records this call. The number it is known by, if anybody wants to know.
    pub(crate) fn announce(&self, request: &CompletionRequest, span: &Span, is_exposed: bool) -> Option<u64> {
        if !self.is_watched.load(Ordering::Acquire) {
            return None;
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (marks, span) = (marks(request), span.clone());
        lock(&self.open).push(ModelCall { number, marks, span, is_exposed, is_claimed: false });
        Some(number)
    }

    /// The call whose body that is.
    pub(crate) fn claim(&self, body: &[u8]) -> Option<Claimed> {
        let mut open = lock(&self.open);
        let is_in = |mark: &String| memmem::find(body, mark.as_bytes()).is_some();
        let mut its = open.iter_mut().filter(|call| !call.marks.is_empty() && call.marks.iter().all(is_in));
        let call = its.next()?;
        // Those that are claimed stay: of calls that say the same, none is the last one by exclusion.
        if its.next().is_some() || std::mem::replace(&mut call.is_claimed, true) {
            return Some(Claimed::ByOneOfSeveral);
        }
        Some(Claimed::By(call.span.clone()))
    }

    /// Whether a call may be that of a run that is somewhere else.
    pub(crate) fn is_any_exposed(&self) -> bool {
        lock(&self.open).iter().any(|call| call.is_exposed && !call.is_claimed)
    }

    /// The call was answered, or will not be.
    pub(crate) fn forget(&self, number: u64) {
        lock(&self.open).retain(|call| call.number != number);
    }
}

/// The system prompt, what was said last, and a tool.
fn marks(request: &CompletionRequest) -> Vec<String> {
    let last = request.chat_history.last().and_then(last_said);
    let tool = request.tools.first().map(|tool| tool.name.as_str());
    let whole = request.system_instructions().and_then(whole);
    [whole, last, tool.and_then(self::whole)].into_iter().flatten().collect()
}

fn last_said(message: &Message) -> Option<String> {
    let Message::User { content } = message else {
        return None;
    };
    content.iter().rev().find_map(|part| match part {
        UserContent::Text(text) => whole(&text.text),
        // Some providers are told JSON as JSON.
        UserContent::ToolResult(result) => {
            result.content.iter().find_map(ToolResultContent::as_text).and_then(piece)
        }
        _ => None,
    })
}

const ENOUGH: usize = 48;

/// Every encoder of JSON leaves it as it is.
fn is_plain(c: char) -> bool {
    !(c.is_control() || c == '"' || c == '\\')
}

/// A short text in its quotes, or a piece of it.
fn whole(text: &str) -> Option<String> {
    let is_short = text.len() < ENOUGH && text.trim().len() == text.len() && !text.is_empty();
    if is_short && text.chars().all(is_plain) { Some(format!("\"{text}\"")) } else { piece(text) }
}

/// The first long piece of a text that every encoder leaves as it is.
fn piece(text: &str) -> Option<String> {
    let mut longest = "";
    // A text may be trimmed on its way.
    for piece in text.split(|c| !is_plain(c)).map(str::trim) {
        if piece.len() > longest.len() {
            longest = piece;
        }
        if longest.len() >= ENOUGH {
            break;
        }
    }
    let end = longest.floor_char_boundary(ENOUGH);
    (end > 0).then(|| longest[..end].to_owned())
}
