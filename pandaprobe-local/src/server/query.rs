//! What is asked in the address.

use std::fmt::Display;

use axum::{
    extract::{FromRequestParts, OptionalFromRequestParts},
    http::{HeaderMap, request::Parts},
};
use uuid::Uuid;

use super::answer::{Answer, Failure};
use crate::{time::Micros, wire::Refused};

/// The names and values of a query, in order. A name may be there more than once.
pub(crate) struct Asked(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Asked {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        Ok(Self::parse(parts.uri.query().unwrap_or_default()))
    }
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for Asked {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Failure> {
        Ok(parts.uri.query().map(Self::parse))
    }
}

impl Asked {
    pub(crate) fn parse(query: &str) -> Self {
        Self(form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    /// The value, if there is one that is not empty.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        let found = self.0.iter().find(|(key, value)| key == name && !value.is_empty());
        found.map(|(_, value)| value.clone())
    }

    pub(crate) fn all(&self, name: &str) -> Vec<String> {
        let found = self.0.iter().filter(|(key, value)| key == name && !value.is_empty());
        found.map(|(_, value)| value.clone()).collect()
    }

    /// What `read` makes of the value; an error that names it, if it makes nothing of it.
    pub(crate) fn read<T>(&self, name: &str, read: impl FnOnce(&str) -> Option<T>) -> Answer<Option<T>> {
        let Some(text) = self.text(name) else {
            return Ok(None);
        };
        match read(&text) {
            Some(value) => Ok(Some(value)),
            None => Err(refused(name, format!("Input should be a valid value, not {text:?}"))),
        }
    }

    pub(crate) fn parsed<T: std::str::FromStr>(&self, name: &str) -> Answer<Option<T>> {
        self.read(name, |text| text.parse().ok())
    }

    pub(crate) fn time(&self, name: &str) -> Answer<Option<Micros>> {
        self.read(name, Micros::parse)
    }

    /// One of some words.
    pub(crate) fn word<T: serde::de::DeserializeOwned>(&self, name: &str) -> Answer<Option<T>> {
        self.read(name, |text| serde_json::from_value(text.into()).ok())
    }

    /// Which part of a list.
    pub(crate) fn part(&self) -> Answer<(i64, i64)> {
        let limit = self.parsed("limit")?.unwrap_or(50);
        let offset = self.parsed("offset")?.unwrap_or(0);
        if !(1..=200).contains(&limit) {
            return Err(refused("limit", "Input should be between 1 and 200"));
        }
        if offset < 0 {
            return Err(refused("offset", "Input should be greater than or equal to 0"));
        }
        Ok((limit, offset))
    }
}

fn refused(field: &str, message: impl Display) -> Failure {
    Failure::Invalid(vec![Refused { field: format!("query -> {field}"), message: message.to_string() }])
}

/// An id in the address.
pub(crate) fn id(text: &str) -> Answer<Uuid> {
    text.parse().map_err(|_| {
        Failure::Invalid(vec![Refused {
            field: "path".to_owned(),
            message: "Input should be a valid UUID".to_owned(),
        }])
    })
}

/// The project that a client names, if it names one.
pub(crate) fn project(headers: &HeaderMap) -> Option<String> {
    let name = headers.get("x-project-name")?.to_str().ok()?.trim();
    (!name.is_empty()).then(|| name.to_owned())
}
