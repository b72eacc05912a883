//! Who an activity belongs to: the two slots of a trace, and when a value differs from one.

use std::sync::Arc;

use crate::model::{InvalidId, SessionId, UserId};

/// One slot, session or user, of a scope, a handler or a trace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Slot {
    /// Nobody said.
    #[default]
    Unset,
    /// Somebody said.
    Set(Arc<str>),
    /// Somebody said something that is no id. It must not fall through to another value, which could be
    /// somebody else's.
    Blocked(Refusal),
}

/// Why an id that somebody said is not kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub(crate) enum Refusal {
    #[error(transparent)]
    Invalid(#[from] InvalidId),
    /// Kept ids are copies, and where nothing is recorded nothing is copied.
    #[error("it was said while nothing was recorded")]
    SwitchedOff,
}

impl Slot {
    pub(crate) fn user(id: impl Into<String>) -> Self {
        Self::of(UserId::new(id).map(|id| id.as_str().into()))
    }

    pub(crate) fn session(id: impl Into<String>) -> Self {
        Self::of(SessionId::new(id).map(|id| id.as_str().into()))
    }

    fn of(id: Result<Arc<str>, InvalidId>) -> Self {
        match id {
            Ok(id) => Self::Set(id),
            Err(error) => Self::Blocked(error.into()),
        }
    }

    pub(crate) fn is_unset(&self) -> bool {
        *self == Self::Unset
    }

    /// This, or `outer` where nothing is set here.
    pub(crate) fn or(&self, outer: impl FnOnce() -> Self) -> Self {
        if self.is_unset() { outer() } else { self.clone() }
    }

    pub(crate) fn value(&self) -> Option<String> {
        match self {
            Self::Set(id) => Some(id.as_ref().to_owned()),
            Self::Unset | Self::Blocked(_) => None,
        }
    }

    /// Whether `later` belongs to somebody else than what fills this slot. An unset value never differs.
    pub(crate) fn differs(&self, later: &Self) -> bool {
        !self.is_unset() && !later.is_unset() && self != later
    }
}

/// Both slots.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Ids {
    pub(crate) session: Slot,
    pub(crate) user: Slot,
}

impl Ids {
    /// These, or `outer` slot by slot where nothing is set here.
    pub(crate) fn or(&self, outer: &Self) -> Self {
        Self { session: self.session.or(|| outer.session.clone()), user: self.user.or(|| outer.user.clone()) }
    }

    /// Of `others`, those for whose slot nothing is set here.
    pub(crate) fn unset_of(&self, others: &Self) -> Self {
        let missing = |here: &Slot, other: &Slot| if here.is_unset() { other.clone() } else { Slot::Unset };
        Self { session: missing(&self.session, &others.session), user: missing(&self.user, &others.user) }
    }

    pub(crate) fn is_unset(&self) -> bool {
        self.session.is_unset() && self.user.is_unset()
    }

    /// Whether somebody was named by something that is no id.
    pub(crate) fn is_blocked(&self) -> bool {
        let is_blocked = |slot: &Slot| matches!(slot, Slot::Blocked(_));
        is_blocked(&self.session) || is_blocked(&self.user)
    }

    /// These without what is the same in `before`.
    pub(crate) fn changed_since(&self, before: &Self) -> Self {
        let changed = |now: &Slot, before: &Slot| if now == before { Slot::Unset } else { now.clone() };
        Self { session: changed(&self.session, &before.session), user: changed(&self.user, &before.user) }
    }

    /// Whether an activity with the identity `later` belongs to somebody else.
    pub(crate) fn differ(&self, later: &Self) -> bool {
        self.session.differs(&later.session) || self.user.differs(&later.user)
    }
}
