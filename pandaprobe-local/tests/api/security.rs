//! Who is let in.

use std::net::{IpAddr, Ipv4Addr};

use pandaprobe_local::{LocalServer, ServerConfig, ServerError};
use reqwest::{Client, StatusCode, redirect::Policy};

use crate::kit::{Folder, Local, trace};

#[tokio::test(flavor = "multi_thread")]
async fn other_hosts_and_origins_are_refused() {
    let local = Local::start();
    let url = local.server.url();
    let own = url.clone();
    for (name, value, admitted) in [
        ("host", "evil.example", false),
        ("host", "evil.example:4100", false),
        ("host", "localhost:4100", true),
        ("origin", own.as_str(), true),
        ("origin", "http://evil.example", false),
        ("origin", "null", false),
        ("origin", "http://localhost:1", false),
        ("sec-fetch-site", "cross-site", false),
        ("sec-fetch-site", "same-site", false),
        ("sec-fetch-site", "same-origin", true),
        ("sec-fetch-site", "none", true),
    ] {
        let asked = local.http.get(format!("{url}/traces")).header(name, value).send().await.unwrap();
        assert_eq!(asked.status().is_success(), admitted, "GET with {name}: {value}");
        let posted = local.http.post(format!("{url}/traces")).header(name, value).json(&trace("t"));
        assert_eq!(posted.send().await.unwrap().status().is_success(), admitted, "POST with {name}: {value}");
    }
    // A link on another page may lead to the viewer, and to nothing that changes anything.
    let link = |method| {
        let request = local.http.request(method, format!("{url}/health"));
        request.header("sec-fetch-site", "cross-site").header("sec-fetch-mode", "navigate")
    };
    assert!(link(reqwest::Method::GET).send().await.unwrap().status().is_success());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_tells_the_browser_to_be_careful() {
    let local = Local::start();
    for path in ["/traces", "/nothing", "/health"] {
        let answer = local.http.get(format!("{}{path}", local.server.url())).send().await.unwrap();
        let policy = answer.headers()["content-security-policy"].to_str().unwrap().to_owned();
        assert!(policy.contains("default-src 'none'") && policy.contains("script-src 'self'"));
        assert!(!policy.contains("unsafe"));
        assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
        let text = answer.text().await.unwrap();
        assert!(!text.contains(local.folder.0.to_str().unwrap()), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn others_are_let_in_with_the_token_alone() {
    let folder = Folder::new();
    let config = || ServerConfig::new(folder.0.join("traces.db")).port(0);
    let open = config().address(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    assert!(matches!(LocalServer::start_with(open.clone()), Err(ServerError::Open(_))));
    assert!(matches!(LocalServer::start_with(open.clone().token("short")), Err(ServerError::ShortToken)));
    let token = "a-token-nobody-guesses";
    let server = LocalServer::start_with(open.token(token)).unwrap();
    let url = format!("http://127.0.0.1:{}", server.address().port());
    let http = Client::builder().redirect(Policy::none()).build().unwrap();
    let status = async |header: Option<(&str, String)>, path: &str| {
        let mut request = http.get(format!("{url}{path}"));
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        request.send().await.unwrap().status()
    };
    assert_eq!(status(None, "/traces").await, StatusCode::UNAUTHORIZED);
    assert_eq!(status(None, "/").await, StatusCode::UNAUTHORIZED);
    assert_eq!(status(None, "/health").await, StatusCode::OK);
    assert_eq!(
        status(Some(("x-api-key", "another-token-nobody-g".to_owned())), "/traces").await,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(status(Some(("x-api-key", token.to_owned())), "/traces").await, StatusCode::OK);
    assert_eq!(status(Some(("authorization", format!("Bearer {token}"))), "/traces").await, StatusCode::OK);
    assert_eq!(
        status(Some(("cookie", format!("x=1; pandaprobe_local={token}"))), "/traces").await,
        StatusCode::OK
    );
    let opened = http.get(format!("{url}/traces?token={token}")).send().await.unwrap();
    let cookie = opened.headers()["set-cookie"].to_str().unwrap();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_too_long_is_refused() {
    let local = Local::start();
    let stream = std::iter::repeat_n(vec![b' '; 8 << 20], 40);
    let body = reqwest::Body::wrap_stream(futures_util::stream::iter(stream.map(Ok::<_, std::io::Error>)));
    let sent = local.http.post(format!("{}/traces", local.server.url())).body(body).send().await;
    // Whether the refusal is read, or the connection is gone before all was sent, is the network's.
    assert!(sent.is_err() || sent.unwrap().status() == StatusCode::PAYLOAD_TOO_LARGE);
    assert!(
        local.http.get(format!("{}/health", local.server.url())).send().await.unwrap().status().is_success()
    );
}

#[test]
fn the_next_port_is_taken_if_one_is_not_free() {
    let folder = Folder::new();
    let config = || ServerConfig::new(folder.0.join("traces.db"));
    let first = LocalServer::start_with(config().port(0)).unwrap();
    let second = LocalServer::start_with(config().port(first.address().port())).unwrap();
    assert!(second.address().port() > first.address().port());
}
