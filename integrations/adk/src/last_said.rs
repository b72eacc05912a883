//! What the model said last, of the events of a run.

use adk_core::{Content, Event, Part};
use pandaprobe_core::Messages;
use serde_json::Value;

use crate::answer::is_content_complete;

/// The last text of a model, also if it came in pieces. Pieces of several answers may be mixed.
#[derive(Debug, Default)]
pub(crate) struct LastSaid {
    whole: Option<String>,
    /// Answers that are not finished, by the id of their events. The last is the one that was heard last.
    pieces: Vec<(String, String)>,
}

impl LastSaid {
    pub(crate) fn hear(&mut self, event: &Event) {
        if event.tool_progress_stream().is_some() {
            return;
        }
        let text = event.content().and_then(text_of);
        if event.llm_response.partial {
            if let Some(text) = text {
                self.add_piece(&event.id, &text);
            }
            return;
        }
        let pieces = self.take_pieces(&event.id);
        let is_whole = is_content_complete(&event.llm_response);
        let said = match (pieces, text) {
            (Some(pieces), Some(text)) if !is_whole => Some(pieces + &text),
            (_, Some(text)) => Some(text),
            (pieces, None) => pieces.filter(|_| !is_whole),
        };
        self.whole = said.filter(|said| !said.is_empty()).or_else(|| self.whole.take());
    }

    fn add_piece(&mut self, id: &str, text: &str) {
        let (id, mut pieces) = match self.pieces.iter().position(|(other, _)| other == id) {
            Some(at) => self.pieces.remove(at),
            None => (id.to_owned(), String::new()),
        };
        pieces.push_str(text);
        self.pieces.push((id, pieces));
    }

    fn take_pieces(&mut self, id: &str) -> Option<String> {
        let at = self.pieces.iter().position(|(other, _)| other == id)?;
        Some(self.pieces.remove(at).1)
    }

    /// `{"messages": [...]}`, if something was said.
    pub(crate) fn take(&mut self) -> Option<Value> {
        let unfinished = self.pieces.pop().map(|(_, pieces)| pieces).filter(|pieces| !pieces.is_empty());
        let said = unfinished.or_else(|| self.whole.take())?;
        Some(Messages::new().assistant(said).into())
    }
}

/// The text of a model's content; `None` if it is somebody else's.
fn text_of(content: &Content) -> Option<String> {
    let is_model = matches!(content.role.as_str(), "model" | "assistant");
    let texts = content.parts.iter().filter_map(|part| match part {
        Part::Text { text } => Some(text.as_str()),
        _ => None,
    });
    is_model.then(|| texts.collect())
}
