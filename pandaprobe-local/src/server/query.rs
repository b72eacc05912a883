//! What is asked in the address.

use std::fmt::Display;

use axum::{extract::FromRequestParts, http::request::Parts};
use uuid::Uuid;

use super::answer::{Answer, Failure};
use crate::{
    exporter::DEFAULT_PROJECT,
    time::Micros,
    wire::{MAX_ID, Refused},
};

/// The names and values of a query, in order. A name may be there more than once.
pub(crate) struct Asked(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Asked {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        Ok(Self::parse(parts.uri.query().unwrap_or_default()))
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

    /// Yes or no, as people write it.
    pub(crate) fn flag(&self, name: &str) -> Answer<Option<bool>> {
        self.read(name, |text| match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" | "t" | "y" => Some(true),
            "false" | "0" | "no" | "off" | "f" | "n" => Some(false),
            _ => None,
        })
    }

    /// One of these.
    pub(crate) fn one_of(&self, name: &str, words: &[&str]) -> Answer<Option<String>> {
        self.read(name, |word| words.contains(&word).then(|| word.to_owned()))
    }

    /// Which part of a list.
    pub(crate) fn part(&self) -> Answer<(i64, i64)> {
        self.part_of(50, 200)
    }

    /// Which part of a list, with so many in it, or at most so many.
    pub(crate) fn part_of(&self, usual: i64, most: i64) -> Answer<(i64, i64)> {
        let limit = self.parsed("limit")?.unwrap_or(usual);
        let offset = self.parsed("offset")?.unwrap_or(0);
        if !(1..=most).contains(&limit) {
            return Err(refused("limit", format!("Input should be between 1 and {most}")));
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

/// The project that a client names, if it names one. What it then asks for is of that project, or is not there.
pub(crate) struct Project(Option<String>);

impl<S: Send + Sync> FromRequestParts<S> for Project {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let Some(name) = parts.headers.get("x-project-name") else {
            return Ok(Self(None));
        };
        let name = String::from_utf8_lossy(name.as_bytes()).trim().to_owned();
        let is_inner = |c: char| c.is_ascii_alphanumeric() || " _.'-".contains(c);
        let ends = [name.chars().next(), name.chars().next_back()];
        let is_name = name.len() <= MAX_ID && name.chars().all(is_inner);
        match ends.into_iter().flatten().all(|c| c.is_ascii_alphanumeric()) && is_name {
            true if name.is_empty() => Ok(Self(None)),
            true => Ok(Self(Some(name))),
            false => Err(Failure::Refused("X-Project-Name is no name of a project".to_owned())),
        }
    }
}

impl Project {
    /// Its name, for what is asked.
    pub(crate) fn asked(self) -> Option<String> {
        self.0
    }

    /// Its name, for what is new.
    pub(crate) fn or_default(self) -> String {
        self.0.unwrap_or_else(|| DEFAULT_PROJECT.to_owned())
    }

    /// Whether what is of that project may be meant.
    pub(crate) fn has(&self, project: &str) -> bool {
        self.0.as_deref().is_none_or(|own| own == project)
    }
}
