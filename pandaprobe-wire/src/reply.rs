use std::{collections::BTreeMap, fmt::Debug};

use serde_json::Value;

use crate::{
    dialect::{Answer, Decoder},
    envelope::Envelope,
    error,
    fields::word,
    limits::Room,
    parts::Parts,
};

/// Bytes charged for a choice beside its parts.
const COST: usize = 512;

/// How a dialect is read into a [`Reply`].
pub(crate) trait Dialect: Debug + Send {
    /// What stands between two parts of reasoning.
    const BETWEEN_REASONING: &str = "\n\n";

    /// Reads a blocking answer.
    fn whole(&mut self, value: &Value, reply: &mut Reply);

    /// Reads an event of a stream. Says whether it carried output of the model.
    fn event(&mut self, name: &str, value: &Value, reply: &mut Reply) -> bool;
}

/// An answer that is made of choices, and these of parts.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) envelope: Envelope,
    /// Whether the dialect has said that the answer is complete.
    pub(crate) complete: bool,
    /// Why there is no choice.
    blocked: Option<String>,
    choices: BTreeMap<u64, Choice>,
    room: Room,
    capacity: usize,
}

/// One choice.
#[derive(Debug, Default)]
pub(crate) struct Choice {
    pub(crate) parts: Parts,
    finish: Option<String>,
}

/// The decoder of a dialect whose answers are replies.
#[derive(Debug)]
pub(crate) struct Reading<D> {
    dialect: D,
    reply: Reply,
}

impl Reply {
    /// The choice of an index, made where there is none yet and there is room.
    pub(crate) fn choice(&mut self, index: u64) -> Option<(&mut Choice, &mut Room)> {
        if !self.choices.contains_key(&index) && !self.room.take(COST) {
            return None;
        }
        Some((self.choices.entry(index).or_default(), &mut self.room))
    }

    /// Takes the reason why there is no answer.
    pub(crate) fn block(&mut self, reason: &str) {
        self.blocked = Some(word(reason));
        self.complete = true;
    }

    /// How many choices are finished.
    pub(crate) fn finished(&self) -> u64 {
        self.choices.values().filter(|choice| choice.finish.is_some()).count() as u64
    }
}

impl Choice {
    /// The last finish reason counts.
    pub(crate) fn finish(&mut self, reason: Option<&str>) {
        if let Some(reason) = reason.filter(|reason| !reason.is_empty()) {
            self.finish = Some(word(reason));
        }
    }
}

impl<D: Dialect> Reading<D> {
    /// A decoder that keeps `capacity` bytes.
    pub(crate) fn new(dialect: D, capacity: usize) -> Self {
        let reply = Reply {
            envelope: Envelope::default(),
            complete: false,
            blocked: None,
            choices: BTreeMap::new(),
            room: Room::new(capacity),
            capacity,
        };
        Self { dialect, reply }
    }
}

impl<D: Dialect> Decoder for Reading<D> {
    fn whole(&mut self, value: &Value) {
        self.reply.envelope.fail(error::inside(value));
        self.dialect.whole(value, &mut self.reply);
    }

    fn event(&mut self, name: &str, value: &Value) -> bool {
        let error = if name == "error" { Some(error::of_event(value)) } else { error::inside(value) };
        self.reply.envelope.fail(error);
        self.dialect.event(name, value, &mut self.reply)
    }

    fn error_text(&mut self, text: &[u8]) {
        self.reply.envelope.fail(Some(error::of_text(text)));
    }

    fn is_complete(&self) -> bool {
        self.reply.complete || self.reply.envelope.has_failed()
    }

    fn is_full(&self) -> bool {
        self.reply.room.is_full()
    }

    fn held_bytes(&self) -> usize {
        self.reply.room.taken(self.reply.capacity)
    }

    fn answer(&self) -> Answer {
        let choices = &self.reply.choices;
        let first = choices.values().next();
        Answer {
            output: choices.values().map(|choice| choice.parts.message()).collect(),
            tools: first.map(|choice| choice.parts.tools().collect()).unwrap_or_default(),
            reasoning: first.and_then(|choice| choice.parts.all_reasoning(D::BETWEEN_REASONING)),
            finish_reason: first
                .and_then(|choice| choice.finish.clone())
                .or_else(|| self.reply.blocked.clone()),
            choices: choices.len(),
            ..self.reply.envelope.answer()
        }
    }
}
