//! Delivers to a PandaProbe backend.

use std::{
    collections::HashSet,
    time::{Duration, Instant, SystemTime},
};

use reqwest::{
    Method, StatusCode,
    header::{self, HeaderName, HeaderValue},
    redirect,
};
use serde_json::Value;
use uuid::Uuid;

use super::{Envelope, ExportError, ExportFuture, Exporter, Payload, retry::retry_after, window::Window};
use crate::{
    config::{Config, ConfigError, Target},
    error_text::ErrorText,
    sync::{Mutex, lock},
};

const USER_AGENT: &str = concat!("pandaprobe-rust/", env!("CARGO_PKG_VERSION"));
const SCORES: &str = "/evaluations/trace-scores";

/// Posts to a PandaProbe backend, over connections that are kept alive.
pub(crate) struct HttpExporter {
    http: reqwest::Client,
    target: Target,
    window: Mutex<Window>,
    /// Scores of which nobody knows whether they arrived. Each POST of one is stored as one more.
    uncertain: Mutex<HashSet<Uuid>>,
}

impl HttpExporter {
    pub(crate) fn new(target: Target, config: &Config) -> Result<Self, ConfigError> {
        let value =
            |text: &str| HeaderValue::from_str(text).map_err(|error| ConfigError::Http(error.to_string()));
        let mut key = value(target.api_key.expose())?;
        key.set_sensitive(true);
        let headers = [
            (HeaderName::from_static("x-api-key"), key),
            (HeaderName::from_static("x-project-name"), value(&target.project_name)?),
            (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        ];
        let http = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .default_headers(headers.into_iter().collect())
            .connect_timeout(config.connect_timeout)
            .timeout(config.request_timeout)
            .redirect(redirect::Policy::none())
            .build()
            .map_err(|error| ConfigError::Http(error.error_text()))?;
        Ok(Self {
            http,
            target,
            window: Mutex::new(Window::new(config.rate_limit_window)),
            uncertain: Mutex::default(),
        })
    }

    async fn post(&self, envelope: &Envelope) -> Result<(), ExportError> {
        let (method, path) = route(envelope);
        let request = self
            .http
            .request(method, format!("{}{path}", self.target.endpoint.as_str()))
            .header("x-request-id", envelope.request_id().to_string())
            .body(envelope.body().clone());
        if self.is_uncertain(envelope) && self.is_stored(envelope).await {
            self.is_settled(envelope);
            return Ok(());
        }
        let response = request.send().await.map_err(|error| {
            if !error.is_connect() {
                self.may_have_arrived(envelope);
            }
            self.without_key(unreachable_now(&error))
        })?;
        let status = response.status();
        let asked = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
        let asked = asked.and_then(|value| retry_after(value, SystemTime::now()));
        // The body is read to its end even if nobody needs it, so that the connection can be used again.
        let body = response.bytes().await.unwrap_or_default();
        let judged =
            judge(envelope.payload(), status, asked, &body, || lock(&self.window).refused(Instant::now()));
        match &judged {
            Ok(()) => {
                lock(&self.window).took(Instant::now());
                self.is_settled(envelope);
            }
            // So answers who stands between, about a backend that took its time.
            Err(_) if matches!(status.as_u16(), 408 | 502 | 504) => self.may_have_arrived(envelope),
            Err(ExportError::Retry { .. } | ExportError::Denied { .. }) => {}
            Err(_) => self.is_settled(envelope),
        }
        judged.map_err(|error| self.without_key(error))
    }

    fn may_have_arrived(&self, envelope: &Envelope) {
        const MOST: usize = 10_000;
        let mut uncertain = lock(&self.uncertain);
        if envelope.payload() == Payload::Score && uncertain.len() < MOST {
            uncertain.insert(envelope.request_id());
        }
    }

    fn is_uncertain(&self, envelope: &Envelope) -> bool {
        let is_tried = || envelope.is_inherited() || lock(&self.uncertain).contains(&envelope.request_id());
        envelope.payload() == Payload::Score && is_tried()
    }

    /// It is not sent again.
    fn is_settled(&self, envelope: &Envelope) {
        if envelope.payload() == Payload::Score {
            lock(&self.uncertain).remove(&envelope.request_id());
        }
    }

    /// Whether the backend has a score just like this one. If it does not say, it is sent once more.
    async fn is_stored(&self, envelope: &Envelope) -> bool {
        let url = format!("{}{SCORES}?trace_id={}", self.target.endpoint.as_str(), envelope.trace_id());
        let body = match self.http.get(url).send().await {
            Ok(response) if response.status().is_success() => response.bytes().await.unwrap_or_default(),
            _ => return false,
        };
        let stored: Value = serde_json::from_slice(&body).unwrap_or_default();
        let sent: Value = serde_json::from_slice(envelope.body()).unwrap_or_default();
        let same = |stored: &&Value| {
            ["name", "value", "data_type", "reason"].iter().all(|key| stored[key] == sent[key])
        };
        stored["items"].as_array().into_iter().flatten().any(|score| same(&score))
    }

    fn without_key(&self, mut error: ExportError) -> ExportError {
        let (ExportError::Retry { message, .. }
        | ExportError::Denied { message }
        | ExportError::TooLong { message }
        | ExportError::Rejected { message }) = &mut error;
        *message = message.replace(self.target.api_key.expose(), "(secret)");
        error
    }
}

impl Exporter for HttpExporter {
    fn export<'a>(&'a self, envelope: &'a Envelope) -> ExportFuture<'a> {
        Box::pin(self.post(envelope))
    }
}

fn route(envelope: &Envelope) -> (Method, String) {
    let id = envelope.trace_id();
    match envelope.payload() {
        Payload::Trace => (Method::POST, "/traces".to_owned()),
        Payload::Spans => (Method::POST, format!("/traces/{id}/spans")),
        Payload::Update => (Method::PATCH, format!("/traces/{id}")),
        Payload::Score => (Method::POST, SCORES.to_owned()),
    }
}

/// What an answer means.
fn judge(
    payload: Payload,
    status: StatusCode,
    asked: Option<Duration>,
    body: &[u8],
    window: impl FnOnce() -> Duration,
) -> Result<(), ExportError> {
    if status.is_success() {
        return Ok(());
    }
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    let message = format!("{} answered {status}: {}", name(payload), detail(&answer, body));
    let retry = |after, everything| Err(ExportError::Retry { message: message.clone(), after, everything });
    // The backend stores a trace some time after it took it; until then it knows nothing of it.
    let not_yet_stored = status == StatusCode::NOT_FOUND && payload != Payload::Trace;
    match status.as_u16() {
        // Two different answers: a rate limit, which passes, and a used-up quota, which does not.
        429 if answer.get("detail").is_none() => retry(Some(asked.unwrap_or_else(window)), true),
        401 | 403 | 429 => Err(ExportError::Denied { message }),
        413 => Err(ExportError::TooLong { message }),
        _ if not_yet_stored => retry(asked, false),
        // So it answers scores of traces that it has not stored yet, too.
        500 if payload == Payload::Score => retry(asked, false),
        408 | 425 | 500..=599 => retry(asked, true),
        _ => Err(ExportError::Rejected { message }),
    }
}

fn name(payload: Payload) -> &'static str {
    match payload {
        Payload::Trace => "POST /traces",
        Payload::Spans => "POST /traces/{id}/spans",
        Payload::Update => "PATCH /traces/{id}",
        Payload::Score => "POST /evaluations/trace-scores",
    }
}

/// What the backend says of its refusal: which field is wrong, if it names any, but never its value. What stands in any other
/// form may be from anybody in between, and repeat what was sent.
fn detail(answer: &Value, body: &[u8]) -> String {
    const MOST: usize = 300;
    let text = |key: &str| answer[key].as_str().map(str::to_owned);
    let said = text("detail").or_else(|| text("error"));
    let said = said.unwrap_or_else(|| format!("a body of {} bytes", body.len()));
    let errors = answer["errors"].as_array().into_iter().flatten();
    let fields: Vec<&str> = errors.filter_map(|error| error["field"].as_str()).collect();
    let mut line: String = said.chars().take(MOST).collect();
    if !fields.is_empty() {
        line += &format!(" ({})", fields.join(", "));
    }
    line
}

fn unreachable_now(error: &reqwest::Error) -> ExportError {
    ExportError::Retry { message: error.error_text(), after: None, everything: true }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(payload: Payload, status: u16, body: &str) -> Result<(), ExportError> {
        judge(payload, StatusCode::from_u16(status).unwrap(), None, body.as_bytes(), || {
            Duration::from_secs(60)
        })
    }

    #[test]
    fn each_answer_of_the_backend_means_what_it_should() {
        let retried = |result| matches!(result, Err(ExportError::Retry { everything: false, .. }));
        let paced =
            |result| matches!(result, Err(ExportError::Retry { everything: true, after: Some(_), .. }));
        let denied = |result| matches!(result, Err(ExportError::Denied { .. }));
        let rejected = |result| matches!(result, Err(ExportError::Rejected { .. }));
        assert_eq!(answer(Payload::Trace, 202, "{}"), Ok(()));
        assert!(paced(answer(Payload::Trace, 429, r#"{"error":"Rate limit exceeded: 100 per 1 minute"}"#)));
        assert!(paced(answer(Payload::Trace, 429, "not JSON")));
        assert!(denied(answer(Payload::Trace, 429, r#"{"detail":"You've reached the traces limit"}"#)));
        for status in [408, 425, 500, 502, 503, 504] {
            let held_up = answer(Payload::Trace, status, "Internal Server Error");
            assert!(
                matches!(held_up, Err(ExportError::Retry { everything: true, after: None, .. })),
                "{status}"
            );
        }
        assert!(retried(answer(Payload::Score, 500, "Internal Server Error")));
        for status in [401, 403] {
            assert!(denied(answer(Payload::Trace, status, "{}")), "{status}");
        }
        let too_long = answer(Payload::Trace, 413, "");
        assert!(matches!(too_long, Err(ExportError::TooLong { .. })), "{too_long:?}");
        for status in [301, 400, 404, 409, 422] {
            assert!(rejected(answer(Payload::Trace, status, "{}")), "{status}");
        }
        assert!(retried(answer(Payload::Spans, 404, r#"{"detail":"Trace not found"}"#)));
        assert!(retried(answer(Payload::Update, 404, "{}")));
    }

    #[test]
    fn a_refusal_names_the_field_but_not_its_value() {
        let body = r#"{"detail":"Validation error","errors":[{"field":"spans -> 0 -> name","message":"m","input":"SECRET"}]}"#;
        let error = answer(Payload::Trace, 422, body).unwrap_err().to_string();
        assert!(error.contains("spans -> 0 -> name") && !error.contains("SECRET"), "{error}");
        for body in ["X-API-Key: SECRET", r#"{"other":"SECRET"}"#] {
            let error = answer(Payload::Trace, 400, body).unwrap_err().to_string();
            assert!(error.contains("a body of ") && !error.contains("SECRET"), "{error}");
        }
    }
}
