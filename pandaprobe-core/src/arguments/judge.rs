//! Whether the value of a decorated function is a success, and what text its error has. Which of the traits does it is
//! decided where the function is written, by which method is nearest.

use std::{
    error::Error,
    fmt::{self, Debug, Display},
    ops::Deref,
    panic::{AssertUnwindSafe, catch_unwind},
};

use super::named;
use crate::error_text::{ByDeref, ByError, ErrorText, text_of};

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
    JudgeError, &&&&&Returned<'a, Result<T, E>>, |error| text_of::<ByError>(error), [E: Error];
    /// For results whose error holds one.
    JudgeDeref, &&&&Returned<'a, Result<T, E>>, |error| text_of::<ByDeref>(error), [E: Deref + ErrorText<ByDeref>];
    /// For results whose error is text.
    JudgeText, &&&Returned<'a, Result<T, E>>, |error| shown(format_args!("{error}")), [E: Display];
    /// For results whose error can be printed for its author.
    JudgeDebug, &&Returned<'a, Result<T, E>>, |error| shown(format_args!("{error:?}")), [E: Debug];
    /// For results of any other error.
    JudgeAny, &Returned<'a, Result<T, E>>, |error| named(error), [];
}

fn shown(error: fmt::Arguments<'_>) -> String {
    let text = catch_unwind(AssertUnwindSafe(|| error.to_string()));
    text.unwrap_or_else(|_| "an error whose text cannot be had: it panicked".to_owned())
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
