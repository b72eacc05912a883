//! Identifiers: of traces and spans, which this library makes, and of users and sessions, which the
//! application brings.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The longest user or session id that the backend takes, in characters.
pub const MAX_ID_CHARS: usize = 255;

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A fresh random id (UUID version 4). Ids are global keys on the backend, so they are never
            /// derived from anything.
            pub fn random() -> Self {
                Self(Uuid::new_v4())
            }

            /// The id as a UUID.
            pub fn as_uuid(&self) -> Uuid {
                self.0
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(text).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

uuid_id! {
    /// The id of a trace. Keep it to score the trace later.
    TraceId
}
uuid_id! {
    /// The id of a span within a trace.
    SpanId
}

/// A user or session id that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidId {
    /// The id has no characters.
    #[error("the id is empty")]
    Empty,
    /// The id has more than [`MAX_ID_CHARS`] characters.
    #[error("the id has {chars} characters, the limit is {MAX_ID_CHARS}")]
    TooLong {
        /// How many characters it has.
        chars: usize,
    },
    /// The id holds a NUL character, which the backend accepts and then loses together with the trace.
    #[error("the id holds a NUL character")]
    Nul,
}

fn checked(id: impl Into<String>) -> Result<Arc<str>, InvalidId> {
    let id: String = id.into();
    // Bytes bound characters from above, so that a common short id is not counted.
    let chars = if id.len() <= MAX_ID_CHARS { id.len() } else { id.chars().count() };
    match chars {
        0 => Err(InvalidId::Empty),
        _ if chars > MAX_ID_CHARS => Err(InvalidId::TooLong { chars }),
        _ if id.contains('\0') => Err(InvalidId::Nul),
        _ => Ok(id.into()),
    }
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks an id.
            ///
            /// # Errors
            ///
            /// When the id is empty, longer than [`MAX_ID_CHARS`] characters or holds a NUL. It is never cut:
            /// two ids could become one.
            pub fn new(id: impl Into<String>) -> Result<Self, InvalidId> {
                checked(id).map(Self)
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0.as_ref().to_owned()
            }
        }
    };
}

text_id! {
    /// Whose activity something is: an end user, account or tenant, in the application's own terms.
    UserId
}
text_id! {
    /// Which agent lifecycle something belongs to: a conversation, a job, a ticket.
    SessionId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_checked_and_never_cut() {
        assert_eq!(UserId::new(""), Err(InvalidId::Empty));
        assert_eq!(UserId::new("a\0b"), Err(InvalidId::Nul));
        assert_eq!(SessionId::new("ä".repeat(256)), Err(InvalidId::TooLong { chars: 256 }));
        assert_eq!(SessionId::new("ä".repeat(255)).unwrap().as_str().chars().count(), 255);
        assert_eq!(String::from(UserId::new("ada").unwrap()), "ada");
    }
}
