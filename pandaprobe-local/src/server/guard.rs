//! Who may ask.
//!
//! A browser lets any page that its user visits send requests to this machine. So a request must name this server as its host,
//! or a name that was made to lead here by whoever owns that name would be let in, and a request that a page of another origin
//! sends is refused.

use std::{net::IpAddr, sync::Arc};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::Next,
    response::Response,
};

use super::{ServerConfig, ServerError, answer};

/// The name of the cookie that carries the token of the viewer.
const COOKIE: &str = "pandaprobe_local";

/// What is checked of each request.
#[derive(Debug)]
pub(super) struct Guard {
    token: Option<String>,
    /// Whether the server listens on this machine alone.
    is_loopback: bool,
}

pub(super) fn of(config: &ServerConfig) -> Result<Guard, ServerError> {
    let is_loopback = config.address.is_loopback();
    match &config.token {
        None if !is_loopback => Err(ServerError::Open(config.address)),
        Some(token) if token.len() < 16 => Err(ServerError::ShortToken),
        token => Ok(Guard { token: token.clone(), is_loopback }),
    }
}

pub(super) async fn check(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    if let Err(why) = guard.admit(request.headers()) {
        return answer::detail(StatusCode::FORBIDDEN, why);
    }
    let shown = guard.shown(&request);
    if guard.token.is_some() && shown == Shown::Nothing && request.uri().path() != "/health" {
        return answer::detail(StatusCode::UNAUTHORIZED, "Missing credentials.");
    }
    let mut response = next.run(request).await;
    protect(response.headers_mut());
    // A link with the token opens the viewer; from then on its cookie does.
    if let (Shown::InAddress, Some(token)) = (shown, &guard.token) {
        let cookie = format!("{COOKIE}={token}; Path=/; HttpOnly; SameSite=Strict");
        if let Ok(cookie) = HeaderValue::from_str(&cookie) {
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
    }
    response
}

/// How a request shows the token.
#[derive(Clone, Copy, PartialEq)]
enum Shown {
    Nothing,
    InHeader,
    InAddress,
}

impl Guard {
    fn admit(&self, headers: &HeaderMap) -> Result<(), &'static str> {
        let text = |name: header::HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
        let host = text(header::HOST).unwrap_or_default();
        if self.is_loopback && !is_this_machine(host) {
            return Err("this server answers to its own address alone");
        }
        // Browsers say from which page a request comes; what is no browser says nothing.
        if let Some(origin) = text(header::ORIGIN)
            && origin != format!("http://{host}")
        {
            return Err("this server answers to its own pages alone");
        }
        let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
        let is_page = headers.get("sec-fetch-mode").is_some_and(|mode| mode.as_bytes() == b"navigate");
        match site {
            // A link on another page may lead here. It only reads.
            Some(b"cross-site" | b"same-site") if !is_page => {
                Err("this server answers to its own pages alone")
            }
            _ => Ok(()),
        }
    }

    fn shown(&self, request: &Request) -> Shown {
        let Some(token) = &self.token else {
            return Shown::Nothing;
        };
        let headers = request.headers();
        let value = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let bearer = value("authorization").and_then(|value| value.strip_prefix("Bearer "));
        let cookies = value("cookie").unwrap_or_default().split(';');
        let cookie =
            cookies.filter_map(|cookie| cookie.trim().strip_prefix(COOKIE)?.strip_prefix('=')).next();
        if [value("x-api-key"), bearer, cookie].into_iter().flatten().any(|shown| is_same(shown, token)) {
            return Shown::InHeader;
        }
        let query = request.uri().query().unwrap_or_default();
        let in_address = form_urlencoded::parse(query.as_bytes())
            .any(|(name, value)| name == "token" && is_same(&value, token));
        if in_address { Shown::InAddress } else { Shown::Nothing }
    }
}

/// Compares in a time that does not tell how much is right.
fn is_same(one: &str, other: &str) -> bool {
    one.len() == other.len() && one.bytes().zip(other.bytes()).fold(0, |all, (a, b)| all | (a ^ b)) == 0
}

/// Whether a `Host` is a loopback address or `localhost`, with any port.
fn is_this_machine(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// What a browser is told of all that is sent to it.
fn protect(headers: &mut HeaderMap) {
    for (name, value) in [
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
             form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    for (name, value) in
        [("cross-origin-opener-policy", "same-origin"), ("cross-origin-resource-policy", "same-origin")]
    {
        headers.insert(header::HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}

#[cfg(test)]
mod tests {
    use super::{is_same, is_this_machine};

    #[test]
    fn hosts_of_this_machine() {
        for host in ["localhost", "LOCALHOST:4100", "127.0.0.1:4100", "127.0.0.1", "[::1]:4100", "127.1.2.3"]
        {
            assert!(is_this_machine(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example:4100",
            "192.168.0.1",
            "0.0.0.0:4100",
            "[::2]",
            "127.0.0.1.nip.io",
        ] {
            assert!(!is_this_machine(host), "{host}");
        }
    }

    #[test]
    fn tokens_are_compared_whole() {
        assert!(is_same("abc", "abc"));
        assert!(!is_same("abc", "abd") && !is_same("abc", "abcd") && !is_same("", "a"));
    }
}
