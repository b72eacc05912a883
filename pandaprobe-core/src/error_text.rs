//! The text of an error with its causes.

use std::{
    error::Error,
    ops::Deref,
    panic::{AssertUnwindSafe, catch_unwind},
};

/// Errors whose text can be recorded: every [`std::error::Error`], boxed ones (`Box<dyn Error>`,
/// `anyhow::Error`, `eyre::Report`), and plain text. The parameter tells these apart and is always inferred.
pub trait ErrorText<How> {
    /// The error and its sources, joined by `: `.
    fn error_text(&self) -> String;
}

/// For [`std::error::Error`].
#[derive(Debug)]
pub struct ByError;
/// For what dereferences to `dyn Error`.
#[derive(Debug)]
pub struct ByDeref;
/// For text.
#[derive(Debug)]
pub struct ByText;

impl<E: Error> ErrorText<ByError> for E {
    fn error_text(&self) -> String {
        chain(self.to_string(), self.source())
    }
}

/// `dyn Error`, in the forms that boxes hold.
trait Erased {
    fn chain(&self) -> String;
}

macro_rules! erased {
    ($($form:ty),*) => {$(
        impl Erased for $form {
            fn chain(&self) -> String {
                chain(self.to_string(), self.source())
            }
        }
    )*};
}
erased!(dyn Error + 'static, dyn Error + Send + 'static, dyn Error + Send + Sync + 'static);

impl<E> ErrorText<ByDeref> for E
where
    E: Deref,
    E::Target: Erased,
{
    fn error_text(&self) -> String {
        self.deref().chain()
    }
}

impl ErrorText<ByText> for String {
    fn error_text(&self) -> String {
        self.clone()
    }
}

impl ErrorText<ByText> for &str {
    fn error_text(&self) -> String {
        (*self).to_owned()
    }
}

/// The text of an error, whatever its `Display` does.
pub fn text_of<How>(error: &impl ErrorText<How>) -> String {
    let text = catch_unwind(AssertUnwindSafe(|| error.error_text()));
    text.unwrap_or_else(|_| "an error whose text cannot be had: its Display panicked".to_owned())
}

fn chain(mut text: String, mut source: Option<&(dyn Error + 'static)>) -> String {
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Some errors already say what their source says.
        if !text.ends_with(&cause_text) {
            text += ": ";
            text += &cause_text;
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] std::fmt::Error);

    fn text<E: ErrorText<How>, How>(error: E) -> String {
        error.error_text()
    }

    #[test]
    fn every_form_of_an_error_gives_its_text_with_its_sources() {
        let whole = "outer: an error occurred when formatting an argument";
        assert_eq!(text(Outer(std::fmt::Error)), whole);
        assert_eq!(text(Box::<dyn Error>::from(Outer(std::fmt::Error))), whole);
        assert_eq!(text(Box::<dyn Error + Send + Sync>::from(Outer(std::fmt::Error))), whole);
        assert_eq!(text("plain"), "plain");
        assert_eq!(text(String::from("plain")), "plain");
    }
}
