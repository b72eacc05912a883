//! Ready rules of what must not leave.

use std::{borrow::Cow, ops::Range};

use regex::{Captures, Regex};
use serde_json::Value;
use serde_json_path::JsonPath;

use super::Redact;

mod judge;
mod patterns;

/// Ready rules, and patterns and JSON paths of your own (feature `redact`).
///
/// What a rule finds is replaced by `[redacted: RULE]`.
///
/// ```
/// use pandaprobe_core::{Client, Config, MemoryExporter, Redactor};
/// use std::time::Duration;
///
/// let redactor = Redactor::new().api_keys().emails().pattern("ticket", r"TICKET-\d+")?.json_path("$.patient.name")?;
/// let kept = MemoryExporter::default();
/// let client = Client::new(Config::new().exporter(kept.clone()).redact(redactor))?;
/// client.trace("mail").input("ada@example.com asks about TICKET-12").run(|_| ());
/// client.flush(Duration::from_secs(5))?;
/// assert_eq!(kept.traces()[0].input, Some("[redacted: email] asks about [redacted: ticket]".into()));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "it is to be given to a configuration"]
pub struct Redactor {
    rules: Vec<Rule>,
    /// Keys whose values are secrets, and how to tell.
    keys: Vec<(Regex, IsSecret)>,
    paths: Vec<JsonPath>,
}

/// A pattern or path that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{rule}: {why}")]
pub struct InvalidRule {
    rule: String,
    why: String,
}

#[derive(Clone, Debug)]
struct Rule {
    name: String,
    pattern: Regex,
    meant: Meant,
}

/// Which parts of what a pattern found in a text are what the rule is about.
type Meant = fn(&str, Range<usize>) -> Vec<Range<usize>>;

/// Whether the value of a key is a secret.
type IsSecret = fn(&str) -> bool;

const API_KEY: &str = "api_key";

impl Redactor {
    /// No rules yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// All ready rules.
    pub fn standard() -> Self {
        Self::new().api_keys().emails().phone_numbers().cards()
    }

    /// Keys and tokens of well-known services, private keys, JSON web tokens, passwords in URLs, and whatever stands after words
    /// such as `password=` or `Authorization:` or is the value of such a key in JSON.
    ///
    /// Not a word that stands in a schema (`"password": "string"`). What is only called `token`, `secret`, `bearer` or `basic`
    /// is meant if it has 12 characters and looks like chance: with digits, or a capital letter in its midst.
    pub fn api_keys(mut self) -> Self {
        self.keys.extend(patterns::KEYS.iter().filter_map(|(pattern, is_secret)| {
            let whole = format!("(?i)(?:{})$", patterns::filled(pattern));
            Some((Regex::new(&whole).ok()?, *is_secret))
        }));
        self.ready(API_KEY, patterns::API_KEYS)
    }

    /// E-mail addresses, with letters of Latin, Greek or Cyrillic before the `@`, and after it of any script.
    pub fn emails(self) -> Self {
        self.ready("email", patterns::EMAILS)
    }

    /// Numbers of payment cards: 13 to 19 digits, with or without spaces or hyphens, whose check digit is right.
    pub fn cards(self) -> Self {
        self.ready("card", patterns::CARDS)
    }

    /// Phone numbers with a country code (`+44 20 7946 0958`) or in the form of North America (`(555) 010-9999`).
    pub fn phone_numbers(self) -> Self {
        self.ready("phone", patterns::PHONES)
    }

    /// Whatever matches a regular expression, in the syntax of the crate `regex`. With a group called `secret`, only that.
    ///
    /// # Errors
    ///
    /// When it is no regular expression.
    pub fn pattern(mut self, name: impl Into<String>, pattern: &str) -> Result<Self, InvalidRule> {
        let name = name.into();
        let pattern = Regex::new(pattern)
            .map_err(|error| InvalidRule { rule: name.clone(), why: error.to_string() })?;
        self.rules.push(Rule { name, pattern, meant: judge::all });
        Ok(self)
    }

    /// Whatever a JSON path (RFC 9535) finds in an input, an output, or in metadata or model parameters: each is a
    /// document of its own.
    ///
    /// A path is searched for on the client's own thread. One with several `..` takes a time that grows with that power of the
    /// size of what it searches.
    ///
    /// # Errors
    ///
    /// When it is no JSON path.
    pub fn json_path(mut self, path: &str) -> Result<Self, InvalidRule> {
        let parsed = JsonPath::parse(path)
            .map_err(|error| InvalidRule { rule: path.to_owned(), why: error.to_string() })?;
        self.paths.push(parsed);
        Ok(self)
    }

    fn ready(mut self, name: &str, patterns: &[(&str, Meant)]) -> Self {
        let rules = patterns.iter().filter_map(|(pattern, meant)| {
            let pattern = Regex::new(&patterns::filled(pattern)).ok()?;
            Some(Rule { name: name.to_owned(), pattern, meant: *meant })
        });
        self.rules.extend(rules);
        self
    }

    /// Redacts the values of keys that say that theirs are secret.
    fn named(&self, value: &mut Value) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(|item| self.named(item)),
            Value::Object(fields) => {
                for (key, value) in fields {
                    if let Some((_, is_secret)) = self.keys.iter().find(|(pattern, _)| pattern.is_match(key))
                    {
                        hide(value, *is_secret);
                    }
                    self.named(value);
                }
            }
            _ => {}
        }
    }
}

/// What is in an object is not the secret itself: it may be the schema of one.
fn hide(value: &mut Value, is_secret: IsSecret) {
    let hidden = match value {
        Value::String(text) => !text.is_empty() && is_secret(text),
        Value::Number(number) => is_secret(&number.to_string()),
        Value::Array(items) => {
            items.iter_mut().for_each(|item| hide(item, is_secret));
            false
        }
        Value::Null | Value::Bool(_) | Value::Object(_) => false,
    };
    if hidden {
        *value = mark(API_KEY).into();
    }
}

fn mark(rule: &str) -> String {
    format!("[redacted: {rule}]")
}

impl Redact for Redactor {
    fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.rules.iter().fold(Cow::Borrowed(text), |text, rule| match rule.apply(&text) {
            Some(redacted) => Cow::Owned(redacted),
            None => text,
        })
    }

    fn value(&self, value: &mut Value) {
        for path in &self.paths {
            let found: Vec<String> =
                path.query_located(value).locations().map(|location| location.to_json_pointer()).collect();
            for pointer in found {
                if let Some(found) = value.pointer_mut(&pointer) {
                    *found = mark("json_path").into();
                }
            }
        }
        if !self.keys.is_empty() {
            self.named(value);
        }
    }
}

impl Rule {
    /// The text without what the rule is about; `None` if there is nothing of it.
    fn apply(&self, text: &str) -> Option<String> {
        let mut redacted = String::new();
        let mut end = 0;
        let found = self.pattern.captures_iter(text).filter_map(|captures| secret(&captures));
        for secret in found.flat_map(|found| (self.meant)(text, found)).filter(|secret| !secret.is_empty()) {
            redacted.push_str(&text[end..secret.start]);
            redacted.push_str(&mark(&self.name));
            end = secret.end;
        }
        (end > 0).then(|| redacted + &text[end..])
    }
}

/// What a pattern found: the group that says it, else all of it.
fn secret(captures: &Captures<'_>) -> Option<Range<usize>> {
    let group = ["secret", "quoted", "single", "escaped"].iter().find_map(|name| captures.name(name));
    group.or_else(|| captures.get(0)).map(|found| found.range())
}
