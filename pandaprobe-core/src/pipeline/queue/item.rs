//! One item on its way, in memory or on disk, whole or in parts.

use std::{collections::VecDeque, io, time::Instant};

use crate::{
    export::{
        Envelope,
        retry::{Waits, waits},
    },
    pipeline::budget::Charge,
    spool::{Place, Spool},
};

/// Attempts that failed.
pub(in crate::pipeline) struct Tries {
    /// When the first that counts began.
    pub(in crate::pipeline) since: Instant,
    /// When the last began.
    pub(in crate::pipeline) last: Instant,
    pub(in crate::pipeline) waits: Waits,
}

/// An item and what delivery has come to so far.
pub(in crate::pipeline) struct Item {
    pub(in crate::pipeline) envelope: Envelope,
    /// What belongs to it and leaves after it, if it was too long to leave whole.
    rest: VecDeque<Envelope>,
    /// Where it stands on disk. Then it has its body only while it is under way.
    place: Option<Place>,
    /// There are none before it fails, so that one that only waits is small.
    tries: Option<Box<Tries>>,
    number: u64,
    /// It was not split.
    is_whole: bool,
    _charge: Charge,
}

impl Item {
    pub(super) fn new(number: u64, envelope: Envelope, place: Option<Place>, charge: Charge) -> Self {
        Self { envelope, rest: VecDeque::new(), place, tries: None, number, is_whole: true, _charge: charge }
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

    /// What is to be sent; `None` if it was on disk and is not there any more.
    pub(in crate::pipeline) fn load(&mut self, spool: Option<&Spool>) -> io::Result<Option<Envelope>> {
        if let (Some(place), Some(spool), true) = (self.place, spool, self.envelope.body().is_empty()) {
            let Some(envelope) = spool.read(place)? else {
                return Ok(None);
            };
            self.envelope = envelope;
        }
        Ok(Some(self.envelope.clone()))
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

    /// It failed again.
    pub(in crate::pipeline) fn failed(&mut self, attempt: Instant) -> &mut Tries {
        self.tries.get_or_insert_with(|| Box::new(Tries { since: attempt, last: attempt, waits: waits() }))
    }

    /// Its failures were not its own.
    pub(in crate::pipeline) fn forgive(&mut self) {
        self.tries = None;
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
