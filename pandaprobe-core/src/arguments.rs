//! Captures the arguments and values of decorated functions: through `Serialize` where a type has it, else `Debug`, else by
//! the name of its type. Which of them is decided where the function is written, by which method is nearest.

mod given;
mod judge;
mod kept;
mod mend;

use std::{
    any::type_name_of_val,
    fmt::{Debug, Display, Write as _},
    panic::{AssertUnwindSafe, catch_unwind},
};

pub use given::{Given, given};
pub use judge::{JudgeAny, JudgeDebug, JudgeDeref, JudgeError, JudgeText, JudgeValue, Returned};
use kept::Kept;
use mend::mend;
use serde::Serialize;
use serde_json::Value;

use crate::model::Object;

/// Bytes of one argument that are kept.
pub const MAX_ARGUMENT: usize = 64 << 10;

/// Bytes of an argument that are kept if it is a conversation: what counts of it, its last message, comes at its end.
pub const MAX_CONVERSATION: usize = 1 << 20;

/// Types that are told by name alone: what reads them may wait for a lock.
const LOCKS: [&str; 10] = [
    "Mutex<",
    "RwLock<",
    "ReentrantLock<",
    "DashMap<",
    "DashSet<",
    "RefCell<",
    "OnceCell<",
    "OnceLock<",
    "LazyLock<",
    "LazyCell<",
];

/// Something to be captured, and how many bytes of it.
#[derive(Debug)]
pub struct Captured<'a, T: ?Sized>(pub &'a T, pub usize);

/// The first choice.
pub trait BySerialize {
    /// What is recorded.
    fn pandaprobe_capture(&self) -> Value;
}

impl<T: Serialize + ?Sized> BySerialize for &&Captured<'_, T> {
    fn pandaprobe_capture(&self) -> Value {
        guarded(
            self.0,
            Kept::new(self.1),
            |kept| serde_json::to_writer(kept, self.0),
            |text, cut| match cut {
                Some(mark) => mend(text, mark),
                None => serde_json::from_str(text).ok(),
            },
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
        guarded(self.0, Kept::new(self.1), |kept| write!(kept, "{:?}", self.0), |_, _| None)
    }
}

/// What is left.
pub trait ByName {
    /// What is recorded.
    fn pandaprobe_capture(&self) -> Value;
}

impl<T: ?Sized> ByName for Captured<'_, T> {
    fn pandaprobe_capture(&self) -> Value {
        named(self.0).into()
    }
}

fn named<T: ?Sized>(value: &T) -> String {
    format!("<{}>", type_name_of_val(value))
}

/// Whatever the value's own code does, the function goes on.
fn guarded<T: ?Sized, E: Display>(
    value: &T,
    mut kept: Kept,
    write: impl FnOnce(&mut Kept) -> Result<(), E>,
    read: impl FnOnce(&str, Option<&str>) -> Option<Value>,
) -> Value {
    let name = type_name_of_val(value);
    if LOCKS.iter().any(|lock| name.contains(lock)) {
        return named(value).into();
    }
    // The text of its error is the value's own code as well.
    let written = || write(&mut kept).map_err(|error| error.to_string());
    match catch_unwind(AssertUnwindSafe(written)) {
        Err(_) => format!("<{name}: writing it panicked>").into(),
        Ok(_) if kept.is_full => kept.cut(read),
        Ok(Ok(())) => kept.whole(read),
        Ok(Err(error)) => format!("<{name}: it cannot be written: {error}>").into(),
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
