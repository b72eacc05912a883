//! Where a request says whose it is.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use http::{HeaderName, HeaderValue, request::Parts};

/// What looks at the head of a request.
pub(crate) type Look = Arc<dyn Fn(&Parts) -> Option<String> + Send + Sync>;

/// Sources of an id, in the order in which they are asked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources(Vec<Source>);

#[derive(Clone)]
enum Source {
    Header(HeaderName),
    Closure(Look),
}

/// What is no id, so that its slot is blocked.
const NO_ID: &str = "";

impl Sources {
    pub(crate) fn header(&mut self, name: impl TryInto<HeaderName>) {
        self.0.extend(name.try_into().ok().map(Source::Header));
    }

    pub(crate) fn closure(&mut self, id: impl Fn(&Parts) -> Option<String> + Send + Sync + 'static) {
        self.0.push(Source::Closure(Arc::new(id)));
    }

    /// What the first source says that says anything, id or not.
    pub(crate) fn find(&self, parts: &Parts) -> Option<String> {
        self.0.iter().find_map(|source| source.find(parts))
    }
}

impl Source {
    fn find(&self, parts: &Parts) -> Option<String> {
        match self {
            Self::Header(name) => {
                let mut values = parts.headers.get_all(name).iter();
                let first = values.next()?;
                let id = if values.next().is_none() { text(first) } else { None };
                Some(id.unwrap_or(NO_ID).to_owned())
            }
            Self::Closure(look) => asked(look, parts).unwrap_or_else(|()| Some(NO_ID.to_owned())),
        }
    }
}

fn text(value: &HeaderValue) -> Option<&str> {
    std::str::from_utf8(value.as_bytes()).ok()
}

/// What a closure of the application says; an error if it panicked, which must not cost the request.
pub(crate) fn asked(look: &Look, parts: &Parts) -> Result<Option<String>, ()> {
    catch_unwind(AssertUnwindSafe(|| look(parts))).map_err(drop)
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(f, "{name}"),
            Self::Closure(_) => f.write_str("closure"),
        }
    }
}
