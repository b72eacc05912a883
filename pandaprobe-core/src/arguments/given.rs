//! Ids that an attribute names.

use crate::client::anything_enabled;

/// An id that an attribute names, or none.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no id of a user or session",
    label = "a text, a number, a `Uuid`, a `UserId` or `SessionId`, or an `Option` of one is wanted",
    note = "name the part that is the id, such as `user_id = user.id`"
)]
pub trait Given {
    /// The id.
    fn given(&self) -> Option<String>;

    /// Whether there is one.
    fn is_given(&self) -> bool {
        true
    }
}

impl Given for str {
    fn given(&self) -> Option<String> {
        Some(self.to_owned())
    }
}

impl Given for String {
    fn given(&self) -> Option<String> {
        Some(self.clone())
    }
}

impl<T: Given + ?Sized> Given for &T {
    fn given(&self) -> Option<String> {
        (**self).given()
    }

    fn is_given(&self) -> bool {
        (**self).is_given()
    }
}

impl<T: Given> Given for Option<T> {
    fn given(&self) -> Option<String> {
        self.as_ref().and_then(Given::given)
    }

    fn is_given(&self) -> bool {
        self.as_ref().is_some_and(Given::is_given)
    }
}

macro_rules! given {
    ($($id:ty),*) => {$(
        impl Given for $id {
            fn given(&self) -> Option<String> {
                Some(self.to_string())
            }
        }
    )*};
}
given!(
    crate::UserId,
    crate::SessionId,
    std::borrow::Cow<'_, str>,
    std::sync::Arc<str>,
    Box<str>,
    uuid::Uuid,
    u32,
    u64,
    i32,
    i64,
    usize
);

/// [`Given::given`]; where nothing is recorded, only whether there is one.
pub fn given(id: &(impl Given + ?Sized)) -> Option<String> {
    if anything_enabled() { id.given() } else { id.is_given().then(String::new) }
}
