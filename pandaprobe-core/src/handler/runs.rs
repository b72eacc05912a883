//! The runs that a handler knows: which of them an event is about, and how long they are remembered.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::{Duration, Instant},
};

use super::RunId;
use crate::{config::DEFAULT_LINGER, identity::Ids, trace::Span};

/// How a run ends that has not started yet.
pub(super) type EarlyEnd = Box<dyn FnOnce(Span) + Send>;

/// Whose event it is: frameworks count their runs from one again and again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Who {
    /// By the handler's clone.
    pub(super) explicit: Ids,
    /// By that, else by scopes.
    pub(super) effective: Ids,
}

/// What a start came to.
pub(super) enum Begun {
    Open,
    /// Its end came before.
    EndsAtOnce(Span, EarlyEnd),
    Twice,
}

/// What an end finds.
pub(super) enum End {
    Open(Span),
    /// Nothing yet; another that waited for longer is given up.
    Early(Option<RunId>),
    Again,
    /// Several runs, and nothing says which. A guess could be another user's.
    Unclear,
}

/// The runs of all clones of a handler.
#[derive(Default)]
pub(super) struct Runs {
    known: HashMap<RunId, Vec<Entry>>,
    /// Ends that came before their starts, oldest first.
    early: VecDeque<Early>,
    /// Runs that ended lately, oldest first: children may still start below them.
    ended: VecDeque<(RunId, u64)>,
    next: u64,
    tidied: Option<Instant>,
}

pub(super) struct Entry {
    pub(super) number: u64,
    who: Who,
    pub(super) span: Span,
    parent: Option<u64>,
    /// A child named it before it started.
    pub(super) made_up: bool,
    is_open: bool,
    since: Instant,
}

struct Early {
    run: RunId,
    who: Who,
    since: Instant,
    end: EarlyEnd,
}

impl Entry {
    /// Whether an event of `who` can be about this run.
    fn can_be_of(&self, who: &Who) -> bool {
        let same = self.who.explicit == who.explicit && !self.who.effective.differ(&who.effective);
        same && !self.span.is_of_another(&who.effective)
    }
}

impl Runs {
    /// How many ends may wait for their start, and how many ended runs are remembered.
    const REMEMBERED: usize = 1024;
    const TIDY_EVERY: Duration = Duration::from_secs(5);

    /// The run of that id that is `who`'s own, else the only one that can be.
    fn pick(&self, id: &RunId, who: &Who, wanted: impl Fn(&Entry) -> bool) -> Result<Option<&Entry>, ()> {
        let entries = || self.known.get(id).into_iter().flatten().filter(|entry| wanted(entry));
        if let Some(own) = entries().rev().find(|entry| entry.who == *who && entry.can_be_of(who)) {
            return Ok(Some(own));
        }
        let mut possible = entries().filter(|entry| entry.can_be_of(who));
        match (possible.next(), possible.next()) {
            (only, None) => Ok(only),
            _ => Err(()),
        }
    }

    pub(super) fn find_open(&self, id: &RunId, who: &Who) -> Option<&Entry> {
        self.pick(id, who, |entry| entry.is_open).ok().flatten()
    }

    /// An open run, else one that ended lately.
    pub(super) fn find(&self, id: &RunId, who: &Who) -> Option<&Entry> {
        self.find_open(id, who).or_else(|| self.pick(id, who, |_| true).ok().flatten())
    }

    pub(super) fn insert(
        &mut self,
        id: RunId,
        who: &Who,
        parent: Option<u64>,
        span: Span,
        made_up: bool,
    ) -> u64 {
        let number = self.next;
        self.next += 1;
        let entries = self.known.entry(id).or_default();
        // An id that is used again is a new run.
        entries.retain(|entry| entry.is_open || entry.who != *who);
        let (who, since) = (who.clone(), Instant::now());
        entries.push(Entry { number, who, span, parent, made_up, is_open: true, since });
        number
    }

    fn entry(&mut self, id: &RunId, number: u64) -> Option<&mut Entry> {
        self.known.get_mut(id)?.iter_mut().find(|entry| entry.number == number)
    }

    pub(super) fn comes_true(&mut self, id: &RunId, number: u64, parent: Option<u64>) {
        if let Some(entry) = self.entry(id, number) {
            (entry.made_up, entry.parent) = (false, parent);
        }
    }

    pub(super) fn take_early(&mut self, id: &RunId, who: &Who) -> Option<EarlyEnd> {
        let at = self.early.iter().position(|early| early.run == *id && early.who == *who)?;
        self.early.remove(at).map(|early| early.end)
    }

    /// Keeps a run that ends for children that start late.
    pub(super) fn close(&mut self, id: &RunId, number: u64) -> Option<Span> {
        let entry = self.entry(id, number)?;
        entry.is_open = false;
        let weakened = entry.span.weakened();
        let span = std::mem::replace(&mut entry.span, weakened);
        self.ended.push_back((id.clone(), number));
        if self.ended.len() > Self::REMEMBERED
            && let Some((id, number)) = self.ended.pop_front()
        {
            self.remove(&id, number);
        }
        Some(span)
    }

    fn remove(&mut self, id: &RunId, number: u64) -> Option<Entry> {
        let entries = self.known.get_mut(id)?;
        let at = entries.iter().position(|entry| entry.number == number)?;
        let entry = entries.remove(at);
        if entries.is_empty() {
            self.known.remove(id);
        }
        Some(entry)
    }

    pub(super) fn end(&mut self, id: &RunId, who: &Who, end: &mut Option<EarlyEnd>) -> End {
        let open = match self.pick(id, who, |entry| entry.is_open) {
            Ok(open) => open.map(|entry| (entry.number, entry.span.clone())),
            Err(()) => return End::Unclear,
        };
        if let Some((number, span)) = open
            && span.admits(&who.effective)
            && let Some(span) = self.close(id, number)
        {
            return End::Open(span);
        }
        if self.known.get(id).is_some_and(|entries| entries.iter().any(|entry| entry.who == *who)) {
            return End::Again;
        }
        let since = Instant::now();
        self.early.extend(end.take().map(|end| Early { run: id.clone(), who: who.clone(), since, end }));
        let full = self.early.len() > Self::REMEMBERED;
        End::Early(full.then(|| self.early.pop_front()).flatten().map(|early| early.run))
    }

    pub(super) fn remove_tree(&mut self, root: &RunId, who: &Who) -> Vec<Span> {
        let mut numbers: Vec<u64> = self.find_open(root, who).map(|entry| entry.number).into_iter().collect();
        let mut at = 0;
        while let Some(above) = numbers.get(at).copied() {
            let open = self.known.values().flatten().filter(|entry| entry.is_open);
            numbers.extend(open.filter(|entry| entry.parent == Some(above)).map(|entry| entry.number));
            at += 1;
        }
        let ids: HashMap<u64, RunId> = self
            .known
            .iter()
            .flat_map(|(id, entries)| entries.iter().map(|entry| (entry.number, id.clone())))
            .collect();
        // Children end before their parents.
        let removed = numbers.iter().rev().filter_map(|number| self.remove(ids.get(number)?, *number));
        removed.map(|entry| entry.span).collect()
    }

    /// Lets go of runs that will never end (parents that never started, and what is older than any trace) and
    /// of ends that will never have a start.
    pub(super) fn tidy(&mut self) -> (Vec<Span>, Vec<RunId>) {
        let now = Instant::now();
        if self.tidied.is_some_and(|last| now.duration_since(last) < Self::TIDY_EVERY) {
            return Default::default();
        }
        self.tidied = Some(now);
        let parents: HashSet<u64> = self.known.values().flatten().filter_map(|entry| entry.parent).collect();
        let is_lost = |entry: &Entry| {
            let (linger, age) = entry.span.patience();
            let patience = if entry.made_up && !parents.contains(&entry.number) { linger } else { age };
            entry.is_open && now.duration_since(entry.since) >= patience
        };
        let mut lost = Vec::new();
        self.known.retain(|_, entries| {
            lost.extend(entries.extract_if(.., |entry| is_lost(entry)).map(|entry| entry.span));
            !entries.is_empty()
        });
        let too_long =
            self.early.iter().take_while(|early| now.duration_since(early.since) >= DEFAULT_LINGER).count();
        (lost, self.early.drain(..too_long).map(|early| early.run).collect())
    }
}
