//! One item on its way, in memory or on disk, whole or in parts.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::{
    export::{
        Envelope,
        retry::{Waits, waits},
    },
    pipeline::budget::Charge,
    spool::{Place, Spool},
};

/// An item and what delivery has come to so far.
pub(in crate::pipeline) struct Item {
    pub(in crate::pipeline) envelope: Envelope,
    /// What belongs to it and leaves after it, if it was too long to leave whole.
    rest: VecDeque<Envelope>,
    /// Where it stands on disk. Then it has its body only while it is under way.
    place: Option<Place>,
    pub(in crate::pipeline) first_attempt: Option<Instant>,
    /// There are none before it fails, so that one that only waits is small.
    waits: Option<Box<Waits>>,
    number: u64,
    /// It was not split.
    is_whole: bool,
    _charge: Charge,
}

impl Item {
    pub(super) fn new(number: u64, envelope: Envelope, place: Option<Place>, charge: Charge) -> Self {
        Self {
            envelope,
            rest: VecDeque::new(),
            place,
            first_attempt: None,
            waits: None,
            number,
            is_whole: true,
            _charge: charge,
        }
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn place(&self) -> Option<Place> {
        self.place
    }

    pub(super) fn len(&self) -> usize {
        self.envelope.body().len() + self.rest.iter().map(|part| part.body().len()).sum::<usize>()
    }

    /// What is to be sent; `None` if it was on disk and cannot be read any more.
    pub(in crate::pipeline) fn load(&mut self, spool: Option<&Spool>) -> Option<Envelope> {
        if let (Some(place), true) = (self.place, self.envelope.body().is_empty()) {
            self.envelope = spool?.read(place)?;
        }
        Some(self.envelope.clone())
    }

    /// Leaves to the disk what is there. Parts of it are not.
    pub(in crate::pipeline) fn unload(&mut self) {
        if self.is_spooled() && self.is_whole {
            self.envelope = self.envelope.without_body();
        }
    }

    pub(in crate::pipeline) fn is_spooled(&self) -> bool {
        self.place.is_some()
    }

    /// How long it waits after it failed again.
    pub(in crate::pipeline) fn next_wait(&mut self) -> Option<Duration> {
        self.waits.get_or_insert_with(|| Box::new(waits())).next()
    }

    /// Goes on to the next part; `false` if there is none.
    pub(in crate::pipeline) fn advance(&mut self) -> bool {
        self.rest.pop_front().map(|next| self.envelope = next).is_some()
    }

    /// Takes the place of the envelope at hand.
    pub(in crate::pipeline) fn replace(&mut self, parts: Vec<Envelope>) {
        self.is_whole = false;
        parts.into_iter().rev().for_each(|part| self.rest.push_front(part));
        self.advance();
    }
}
