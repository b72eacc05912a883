//! What is asked in the address, and addresses that ask it.

use std::convert::Infallible;

use axum::{extract::FromRequestParts, http::request::Parts};
use form_urlencoded::Serializer;

/// The names and values of a query, without those that are empty.
#[derive(Clone, Debug, Default)]
pub(super) struct Address(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Address {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::parse(parts.uri.query().unwrap_or_default()))
    }
}

impl Address {
    pub(super) fn parse(query: &str) -> Self {
        let pairs = form_urlencoded::parse(query.as_bytes()).into_owned();
        // The token of a link does not travel on into other links.
        Self(pairs.filter(|(name, value)| !value.is_empty() && name != "token").collect())
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The query with another value, or without one.
    pub(super) fn with(&self, name: &str, value: Option<&str>) -> Self {
        let mut pairs: Vec<_> = self.0.iter().filter(|(key, _)| key != name).cloned().collect();
        pairs.extend(value.map(|value| (name.to_owned(), value.to_owned())));
        Self(pairs)
    }

    /// Which page of a list: 1 or more.
    pub(super) fn page(&self) -> i64 {
        let page = self.get("page").and_then(|page| page.parse().ok()).unwrap_or(1);
        i64::clamp(page, 1, 1_000_000)
    }

    /// An address on this server.
    pub(super) fn on(&self, path: &str) -> String {
        if self.0.is_empty() {
            return path.to_owned();
        }
        format!("{path}?{}", Serializer::new(String::new()).extend_pairs(&self.0).finish())
    }
}

/// An address that asks one thing.
pub(super) fn to(path: &str, name: &str, value: &str) -> String {
    Address::default().with(name, Some(value)).on(path)
}

#[cfg(test)]
mod tests {
    use super::{Address, to};

    #[test]
    fn what_was_asked_is_asked_again() {
        let address = Address::parse("q=a+b&tags=x&tags=y&name=&token=secret&page=3");
        assert_eq!(address.get("q"), Some("a b"));
        assert_eq!(address.all("tags").collect::<Vec<_>>(), ["x", "y"]);
        assert_eq!(address.page(), 3);
        assert_eq!(address.with("page", Some("4")).on("/ui"), "/ui?q=a+b&tags=x&tags=y&page=4");
        assert_eq!(to("/ui/user", "id", "\"&<é"), "/ui/user?id=%22%26%3C%C3%A9");
    }
}
