//! Ready rules of what must not leave.

use std::borrow::Cow;

use regex::{Captures, Regex};
use serde_json::Value;
use serde_json_path::JsonPath;

use super::Redact;

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
    /// Whether what the pattern finds is what the rule is about.
    is_meant: fn(&str) -> bool,
}

/// Keys and tokens of well-known services, private keys, JSON web tokens, and what is called a password or token.
const API_KEYS: [&str; 10] = [
    // OpenAI, Anthropic, OpenRouter, DeepSeek, Stripe, PandaProbe and others.
    r"\b(?:sk|pk|rk|xai|gsk|r8|nvapi|pplx)[-_][A-Za-z0-9_-]{16,}",
    r"\bAIza[0-9A-Za-z_-]{30,}",
    r"\b(?:AKIA|ASIA|ABIA|ACCA)[0-9A-Z]{16}\b",
    r"\b(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}|glpat-[A-Za-z0-9_-]{20,})",
    r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}",
    r"\b(?:hf_[A-Za-z0-9]{20,}|npm_[A-Za-z0-9]{30,}|pypi-[A-Za-z0-9_-]{30,}|SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,})",
    r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*",
    r"(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\z)",
    r"(?i)\b(?:bearer|basic)\s+(?P<secret>[A-Za-z0-9._~+/-]{12,}=*)",
    r#"(?i)\b(?:api[_-]?key|access[_-]?key|secret[_-]?key|client[_-]?secret|auth[_-]?token|access[_-]?token|refresh[_-]?token|password|passwd|pwd)\b\\*["']?\s*[:=]\s*\\*["']?(?P<secret>[^\s"',;&}{\\]{4,})"#,
];

const EMAILS: [&str; 1] = [r"(?i)\b[a-z0-9._%+'-]+@[a-z0-9-]+(?:\.[a-z0-9-]+)*\.[a-z]{2,}\b"];

const CARDS: [&str; 1] = [r"\b\d(?:[ -]?\d){12,18}\b"];

/// With a country code, or in the form of North America.
const PHONES: [&str; 2] =
    [r"\+\d{1,3}(?:[ .-]?\(?\d{1,4}\)?){2,5}\b", r"(?:\(\d{3}\) ?|\b\d{3}[ .-])\d{3}[ .-]\d{4}\b"];

impl Redactor {
    /// No rules yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// All ready rules.
    pub fn standard() -> Self {
        Self::new().api_keys().emails().phone_numbers().cards()
    }

    /// Keys and tokens of well-known services, private keys, JSON web tokens, and whatever follows words such as `password=`.
    pub fn api_keys(self) -> Self {
        self.ready("api_key", &API_KEYS, |_| true)
    }

    /// E-mail addresses.
    pub fn emails(self) -> Self {
        self.ready("email", &EMAILS, |_| true)
    }

    /// Numbers of payment cards: 13 to 19 digits, with or without spaces or hyphens, whose check digit is right.
    pub fn cards(self) -> Self {
        self.ready("card", &CARDS, is_card)
    }

    /// Phone numbers with a country code (`+44 20 7946 0958`) or in the form of North America (`(555) 010-9999`).
    pub fn phone_numbers(self) -> Self {
        self.ready("phone", &PHONES, |found| (8..=15).contains(&digits(found).count()))
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
        self.rules.push(Rule { name, pattern, is_meant: |_| true });
        Ok(self)
    }

    /// Whatever a JSON path (RFC 9535) finds in an input, an output, or in metadata or model parameters: each is a
    /// document of its own.
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

    fn ready(mut self, name: &str, patterns: &[&str], is_meant: fn(&str) -> bool) -> Self {
        // A word begins and ends as in ASCII: between a letter of Chinese and a Latin one there is no other boundary, and
        // with one of Unicode a text that is not ASCII takes twenty times as long.
        let ascii = |pattern: &&str| pattern.replace(r"\b", r"(?-u:\b)");
        let rules = patterns.iter().filter_map(|pattern| Regex::new(&ascii(pattern)).ok());
        self.rules.extend(rules.map(|pattern| Rule { name: name.to_owned(), pattern, is_meant }));
        self
    }
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
                    *found = "[redacted: json_path]".into();
                }
            }
        }
    }
}

impl Rule {
    /// The text without what the rule is about; `None` if there is nothing of it.
    fn apply(&self, text: &str) -> Option<String> {
        let mut redacted = String::new();
        let mut end = 0;
        for found in self.pattern.captures_iter(text).filter_map(|captures| self.secret(&captures)) {
            redacted.push_str(&text[end..found.start]);
            redacted.push_str(&format!("[redacted: {}]", self.name));
            end = found.end;
        }
        (end > 0).then(|| redacted + &text[end..])
    }

    fn secret(&self, captures: &Captures<'_>) -> Option<std::ops::Range<usize>> {
        let found = captures.name("secret").or_else(|| captures.get(0))?;
        let is_secret = !found.is_empty() && (self.is_meant)(found.as_str());
        is_secret.then(|| found.range())
    }
}

fn digits(text: &str) -> impl DoubleEndedIterator<Item = u32> {
    text.chars().filter_map(|c| c.to_digit(10))
}

/// Whether it begins and ends as the number of a card does: the number of a large issuer (ISO/IEC 7812-1), and the check
/// digit that its annex B asks for. So times and ids in digits stay.
fn is_card(text: &str) -> bool {
    let number: String = digits(text).filter_map(|digit| char::from_digit(digit, 10)).collect();
    let of_issuer = match number.as_bytes() {
        [b'4', ..] => matches!(number.len(), 13 | 16 | 19),
        [b'5', b'1'..=b'5', ..] | [b'2', b'2'..=b'7', ..] => number.len() == 16,
        [b'3', b'4' | b'7', ..] => number.len() == 15,
        [b'3', b'0' | b'6' | b'8', ..] => number.len() == 14,
        [b'3', b'5', ..] | [b'6', ..] => (16..=19).contains(&number.len()),
        _ => false,
    };
    of_issuer && has_check_digit(text)
}

fn has_check_digit(text: &str) -> bool {
    let doubled = |(place, digit): (usize, u32)| match place % 2 {
        0 => digit,
        _ if digit > 4 => digit * 2 - 9,
        _ => digit * 2,
    };
    digits(text).rev().enumerate().map(doubled).sum::<u32>().is_multiple_of(10)
}
