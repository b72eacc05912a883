//! What an exchange may hold, and helpers that keep to it.

/// Bytes of a blocking answer, or of a request, that are held for decoding. A longer one is recorded
/// without its content, with a note. Of audio no more than a start is held.
pub const MAX_BODY: usize = 64 << 20;

/// Bytes of text merged from a stream (content, reasoning, tool arguments together). What comes
/// after is left out with a note; usage and finish reason are still read.
pub const MAX_TEXT: usize = 16 << 20;

/// Bytes of a request or an answer kept where the operation is unknown. Of a longer one
/// the start is kept as text.
pub const MAX_UNKNOWN_BODY: usize = 1 << 20;

/// Distinct notes kept per exchange.
const MAX_NOTES: usize = 16;

/// Room for text that is merged piece by piece.
#[derive(Debug)]
pub(crate) struct Room {
    left: usize,
    full: bool,
}

impl Room {
    pub(crate) fn new(bytes: usize) -> Self {
        Self { left: bytes, full: false }
    }

    pub(crate) fn unlimited() -> Self {
        Self::new(usize::MAX)
    }

    /// Appends what fits. After the first piece that does not fit, nothing does.
    pub(crate) fn append(&mut self, to: &mut String, piece: &str) {
        let fitting = head_bytes(piece, self.left);
        to.push_str(fitting);
        self.left -= fitting.len();
        self.close_if(fitting.len() < piece.len());
    }

    /// Takes room for something that is kept whole or not at all.
    pub(crate) fn take(&mut self, bytes: usize) -> bool {
        let fits = bytes <= self.left;
        if fits {
            self.left -= bytes;
        }
        self.close_if(!fits);
        fits
    }

    /// Gives back room that was taken, unless something was already left out.
    pub(crate) fn release(&mut self, bytes: usize) {
        if !self.full {
            self.left += bytes;
        }
    }

    /// How much of `capacity` is taken.
    pub(crate) fn taken(&self, capacity: usize) -> usize {
        capacity - self.left
    }

    /// Whether something was left out.
    pub(crate) fn is_full(&self) -> bool {
        self.full
    }

    fn close_if(&mut self, overflow: bool) {
        if overflow {
            self.full = true;
            self.left = 0;
        }
    }
}

/// Distinct notes, few of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notes(Vec<String>);

impl Notes {
    pub(crate) fn add(&mut self, note: impl Into<String>) {
        let note = note.into();
        if self.0.len() < MAX_NOTES && !self.0.contains(&note) {
            self.0.push(note);
        }
    }

    pub(crate) fn extend(&mut self, other: &Self) {
        other.0.iter().for_each(|note| self.add(note.as_str()));
    }

    pub(crate) fn into_vec(self) -> Vec<String> {
        self.0
    }
}

/// The longest start of `text` that has at most `limit` bytes.
pub(crate) fn head_bytes(text: &str, limit: usize) -> &str {
    let mut end = limit.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// `text`, or as much of it as `head` says, and that it was cut.
pub(crate) fn marked(head: &str, whole: u64) -> String {
    if head.len() as u64 == whole {
        head.to_owned()
    } else {
        format!("{head}… [cut by pandaprobe: {whole} bytes in all]")
    }
}

/// The first `limit` characters of `text`.
pub(crate) fn head_chars(text: &str, limit: usize) -> &str {
    text.char_indices().nth(limit).map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_after_a_piece_that_did_not_fit_is_left_out() {
        let (mut room, mut text) = (Room::new(4), String::new());
        for piece in ["a", "🐢", "b"] {
            room.append(&mut text, piece);
        }
        assert_eq!((text.as_str(), room.is_full(), room.take(1)), ("a", true, false));
    }

    #[test]
    fn what_fits_exactly_leaves_nothing_out() {
        let (mut room, mut text) = (Room::new(4), String::new());
        room.append(&mut text, "🐢");
        assert_eq!((text.as_str(), room.is_full(), room.taken(4)), ("🐢", false, 4));
    }

    #[test]
    fn room_is_given_back_until_something_was_left_out() {
        let mut room = Room::new(4);
        assert!(room.take(4));
        room.release(3);
        assert_eq!((room.taken(4), room.take(3), room.take(1)), (1, true, false));
        room.release(4);
        assert!(room.is_full() && !room.take(1));
    }

    #[test]
    fn notes_are_distinct_and_few() {
        let mut notes = Notes::default();
        (0..100).for_each(|n| notes.add(format!("note {}", n / 2)));
        let notes = notes.into_vec();
        assert_eq!((notes.len(), notes[1].as_str()), (MAX_NOTES, "note 1"));
    }
}
