//! Captures the arguments and values of decorated functions: through `Serialize` where a type has it, else `Debug`, else by
//! the name of its type. Which of them is decided where the function is written, by which method is nearest.

use std::{
    any::type_name_of_val,
    error::Error,
    fmt::{self, Debug, Display, Write as _},
    io,
    ops::Deref,
    panic::{AssertUnwindSafe, catch_unwind},
};

use serde::Serialize;
use serde_json::Value;

use crate::{
    error_text::{ByDeref, ByError, ErrorText, text_of},
    model::Object,
};

/// Bytes of one argument that are kept.
pub const MAX_ARGUMENT: usize = 64 << 10;

/// Types that are told by name alone: what reads them may wait for a lock.
const LOCKS: [&str; 7] =
    ["Mutex<", "RwLock<", "RefCell<", "OnceCell<", "OnceLock<", "LazyLock<", "LazyCell<"];

/// Something to be captured.
#[derive(Debug)]
pub struct Captured<'a, T: ?Sized>(pub &'a T);

/// The first choice.
pub trait BySerialize {
    /// What is recorded.
    fn pandaprobe_capture(&self) -> Value;
}

impl<T: Serialize + ?Sized> BySerialize for &&Captured<'_, T> {
    fn pandaprobe_capture(&self) -> Value {
        guarded(
            self.0,
            |kept| _ = serde_json::to_writer(kept, self.0),
            |text| serde_json::from_str(&text).unwrap_or(Value::String(text)),
        )
    }
}

/// The second choice.
pub trait ByDebug {
    /// What is recorded.
    fn pandaprobe_capture(&self) -> Value;
}

impl<T: Debug + ?Sized> ByDebug for &Captured<'_, T> {
    fn pandaprobe_capture(&self) -> Value {
        guarded(self.0, |kept| _ = write!(kept, "{:?}", self.0), Value::String)
    }
}

/// What is left.
pub trait ByName {
    /// What is recorded.
    fn pandaprobe_capture(&self) -> Value;
}

impl<T: ?Sized> ByName for Captured<'_, T> {
    fn pandaprobe_capture(&self) -> Value {
        format!("<{}>", type_name_of_val(self.0)).into()
    }
}

/// Whatever the value's own code does, the function goes on.
fn guarded<T: ?Sized>(value: &T, write: impl FnOnce(&mut Kept), made: impl FnOnce(String) -> Value) -> Value {
    let name = type_name_of_val(value);
    if LOCKS.iter().any(|lock| name.contains(lock)) {
        return format!("<{name}>").into();
    }
    let mut kept = Kept::default();
    match catch_unwind(AssertUnwindSafe(|| write(&mut kept))) {
        Err(_) => format!("<{name}: writing it panicked>").into(),
        Ok(()) if kept.is_full => kept.cut().into(),
        Ok(()) => made(kept.text()),
    }
}

/// Keeps what fits, and stops whoever writes more.
#[derive(Default)]
struct Kept {
    bytes: Vec<u8>,
    is_full: bool,
}

impl Kept {
    fn take(&mut self, bytes: &[u8]) -> bool {
        let fits = bytes.len().min(MAX_ARGUMENT - self.bytes.len());
        self.bytes.extend_from_slice(&bytes[..fits]);
        self.is_full |= fits < bytes.len();
        !self.is_full
    }

    fn text(self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    fn cut(mut self) -> String {
        while std::str::from_utf8(&self.bytes).is_err() && self.bytes.pop().is_some() {}
        format!("{}… [cut by pandaprobe: longer than {MAX_ARGUMENT} bytes]", self.text())
    }
}

impl io::Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.take(bytes) {
            true => Ok(bytes.len()),
            false => Err(io::ErrorKind::WriteZero.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Write for Kept {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.take(text.as_bytes()) { Ok(()) } else { Err(fmt::Error) }
    }
}

/// The arguments of a function, by name.
#[derive(Debug, Default)]
pub struct Arguments(Object);

impl Arguments {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One more.
    pub fn add(&mut self, name: &str, value: Value) {
        self.0.insert(name.to_owned(), value);
    }

    /// All of them.
    #[must_use]
    pub fn value(self) -> Value {
        Value::Object(self.0)
    }
}

/// An id that an attribute names, or none.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no id of a user or session",
    label = "a text, a number, a `Uuid`, a `UserId` or `SessionId`, or an `Option` of one is wanted",
    note = "name the part that is the id, such as `user_id = user.id`"
)]
pub trait Given {
    /// The id.
    fn given(&self) -> Option<String>;
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
}

impl<T: Given> Given for Option<T> {
    fn given(&self) -> Option<String> {
        self.as_ref().and_then(Given::given)
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

/// [`Given::given`].
pub fn given(id: &(impl Given + ?Sized)) -> Option<String> {
    id.given()
}

/// The value of a function.
#[derive(Debug)]
pub struct Returned<'a, T: ?Sized>(pub &'a T);

macro_rules! judges {
    ($($(#[$doc:meta])* $name:ident, $receiver:ty, $text:expr, [$($bound:tt)*];)*) => {$(
        $(#[$doc])*
        pub trait $name<'a> {
            /// What a success holds.
            type Value: ?Sized;

            /// The value, or the text of the error.
            fn pandaprobe_judge(&self) -> Result<&'a Self::Value, String>;
        }

        impl<'a, T, E> $name<'a> for $receiver
        where
            $($bound)*
        {
            type Value = T;

            fn pandaprobe_judge(&self) -> Result<&'a T, String> {
                self.0.as_ref().map_err($text)
            }
        }
    )*};
}

judges! {
    /// For results whose error is one.
    JudgeError, &&&&Returned<'a, Result<T, E>>, |error| text_of::<ByError>(error), [E: Error];
    /// For results whose error holds one.
    JudgeDeref, &&&Returned<'a, Result<T, E>>, |error| text_of::<ByDeref>(error), [E: Deref + ErrorText<ByDeref>];
    /// For results whose error is text.
    JudgeText, &&Returned<'a, Result<T, E>>, displayed, [E: Display];
    /// For results of any other error.
    JudgeAny, &Returned<'a, Result<T, E>>, |error| Captured(error).pandaprobe_capture().to_string(), [];
}

fn displayed(error: &impl Display) -> String {
    let text = catch_unwind(AssertUnwindSafe(|| error.to_string()));
    text.unwrap_or_else(|_| "an error whose text cannot be had: its Display panicked".to_owned())
}

/// For everything else: it is a success.
pub trait JudgeValue<'a> {
    /// What it is.
    type Value: ?Sized;

    /// The value.
    fn pandaprobe_judge(&self) -> Result<&'a Self::Value, String>;
}

impl<'a, T: ?Sized> JudgeValue<'a> for Returned<'a, T> {
    type Value = T;

    fn pandaprobe_judge(&self) -> Result<&'a T, String> {
        Ok(self.0)
    }
}
