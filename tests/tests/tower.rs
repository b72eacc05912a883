//! The layer around web services: each request is its user's, from its first poll to the last byte of its response.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    convert::Infallible,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use axum::{
    Extension, Router,
    body::{Body, Bytes},
    extract::{ConnectInfo, MatchedPath, Request},
    http::{HeaderMap, HeaderValue, StatusCode, header::CONTENT_LENGTH},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{any, get},
};
use futures_util::{Stream, StreamExt, future::join_all, stream};
use http_body::Frame;
use pandaprobe::{
    Client, Config, MemoryExporter, PandaProbeLayer, ReportKind, TraceData, TraceStatus, set_user, span,
    testing::capture, trace,
};
use tokio::sync::{Barrier, Notify};
use tower::{BoxError, Layer, ServiceBuilder, ServiceExt, service_fn};

/// A client of its own, whose traces are kept.
struct Kept {
    exporter: MemoryExporter,
    client: Client,
}

impl Kept {
    fn new() -> Self {
        let exporter = MemoryExporter::default();
        let client = Client::new(Config::new().exporter(exporter.clone())).unwrap();
        Self { exporter, client }
    }

    fn layer(&self) -> PandaProbeLayer {
        PandaProbeLayer::new().client(self.client.clone())
    }

    /// What was recorded, once that are `count` traces. Servers end a request a little after their client has it.
    async fn traces(&self, count: usize) -> Vec<TraceData> {
        let begun = Instant::now();
        loop {
            self.client.flush_async(Duration::from_secs(10)).await.unwrap();
            let traces = if self.client.stats().open == 0 { self.exporter.traces() } else { Vec::new() };
            if traces.len() >= count {
                assert_eq!(traces.len(), count, "{traces:#?}");
                return traces;
            }
            assert!(begun.elapsed() < Duration::from_secs(10), "not {count} traces: {traces:#?}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn trace(&self) -> TraceData {
        self.traces(1).await.remove(0)
    }

    /// The users of the traces, in the order in which these ended.
    async fn users(&self, count: usize) -> Vec<Option<String>> {
        self.traces(count).await.into_iter().map(|trace| trace.user_id).collect()
    }

    fn reported(&self, kind: ReportKind) -> u64 {
        self.client.stats().reports.get(&kind).copied().unwrap_or_default()
    }
}

async fn serve(app: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(axum::serve(listener, app).into_future());
    url
}

/// Records something, and answers with the port of the connection.
async fn answer(ConnectInfo(peer): ConnectInfo<SocketAddr>) -> String {
    tokio::task::yield_now().await;
    trace("answer").run(|_| ());
    peer.port().to_string()
}

fn answering() -> Router {
    Router::new().route("/", any(answer))
}

fn some(user: &str) -> Option<String> {
    Some(user.to_owned())
}

fn text(value: &Option<String>) -> Option<&str> {
    value.as_deref()
}

fn ended(trace: &TraceData) -> (TraceStatus, Option<&str>, Option<&str>) {
    let said = |key| trace.metadata.get(key).and_then(|value| value.as_str());
    (trace.status, said("pandaprobe.error"), said("pandaprobe.end"))
}

#[tokio::test]
async fn headers_say_whose_a_request_is() {
    let kept = Kept::new();
    let layer = kept.layer().user_header("X-User-Id").session_header("x-session-id").tag("http");
    let url = serve(answering().layer(layer.metadata("service", "chat"))).await;
    let http = reqwest::Client::new();
    let request = http.get(&url).header("x-user-id", "ada").header("x-session-id", "ada-1");
    request.send().await.unwrap().text().await.unwrap();
    let answer = kept.trace().await;
    assert_eq!((text(&answer.user_id), text(&answer.session_id)), (Some("ada"), Some("ada-1")));
    assert_eq!(
        (answer.tags.as_slice(), &answer.metadata["service"]),
        (&["http".to_owned()][..], &"chat".into())
    );
}

#[tokio::test]
async fn a_request_that_says_nothing_is_nobodys_also_after_one_that_did() {
    let kept = Kept::new();
    let url = serve(answering().layer(kept.layer().user_header("x-user-id"))).await;
    let http = reqwest::Client::new();
    let mut ports = BTreeSet::new();
    for user in [Some("ada"), None, Some("grace"), None] {
        let request =
            user.into_iter().fold(http.get(&url), |request, user| request.header("x-user-id", user));
        ports.insert(request.send().await.unwrap().text().await.unwrap());
    }
    assert_eq!(ports.len(), 1, "one connection");
    assert_eq!(kept.users(4).await, [some("ada"), None, some("grace"), None]);
}

#[derive(Clone)]
struct Claims {
    subject: Option<String>,
}

#[tokio::test]
async fn the_first_source_that_gives_an_id_counts() {
    let kept = Kept::new();
    let layer = kept
        .layer()
        .user_extension(|claims: &Claims| claims.subject.clone())
        .user_header("x-user-id")
        .user_header("no header has such a name")
        .user(|parts| Some(parts.uri.query()?.strip_prefix("user=")?.to_owned()));
    let claims = |subject: Option<&str>| Extension(Claims { subject: subject.map(str::to_owned) });
    let app = Router::new()
        .nest("/claimed", answering().layer(layer.clone()).layer(claims(Some("by extension"))))
        .nest("/unclaimed", answering().layer(layer.clone()).layer(claims(None)))
        .merge(answering().layer(layer));
    let url = serve(app).await;
    let http = reqwest::Client::new();
    let asked = [
        http.get(format!("{url}/claimed")).header("x-user-id", "by header"),
        http.get(format!("{url}/unclaimed")).header("x-user-id", "by header"),
        http.get(format!("{url}/?user=by%20closure")).header("x-user-id", "by header"),
        http.get(format!("{url}/?user=closure")),
        http.get(format!("{url}/")),
    ];
    for request in asked {
        assert!(request.send().await.unwrap().status().is_success());
    }
    let expected = [some("by extension"), some("by header"), some("by header"), some("closure"), None];
    assert_eq!(kept.users(5).await, expected);
}

#[tokio::test]
async fn an_id_that_is_none_blocks_and_never_falls_through() {
    let kept = Kept::new();
    let inner = PandaProbeLayer::new().user_header("x-user-id").user(|_| some("fallback"));
    let url = serve(answering().layer(inner).layer(kept.layer().user(|_| some("outer")))).await;
    let http = reqwest::Client::new();
    let long = HeaderValue::from_str(&"x".repeat(256)).unwrap();
    let invalid = [HeaderValue::from_static(""), long, HeaderValue::from_bytes(b"ad\xff").unwrap()];
    for value in invalid {
        http.get(&url).header("x-user-id", value).send().await.unwrap();
    }
    let twice = http.get(&url).header("x-user-id", "ada").header("x-user-id", "grace");
    twice.send().await.unwrap();
    http.get(&url)
        .header("x-user-id", HeaderValue::from_bytes("zoë".as_bytes()).unwrap())
        .send()
        .await
        .unwrap();
    http.get(&url).send().await.unwrap();
    assert_eq!(kept.users(6).await, [None, None, None, None, some("zoë"), some("fallback")]);
    assert_eq!(kept.reported(ReportKind::InvalidId), 4);
}

#[tokio::test]
async fn a_closure_that_panics_costs_the_user_and_not_the_request() {
    let kept = Kept::new();
    let layer = kept.layer().user(|_| panic!("no such tenant")).user(|_| some("fallback"));
    let layer = layer.trace(true).route(|_| panic!("no route"));
    let url = serve(Router::new().route("/", get(|| async {})).layer(layer)).await;
    assert!(reqwest::get(&url).await.unwrap().status().is_success());
    let request = kept.trace().await;
    assert_eq!((request.name.as_str(), text(&request.user_id)), ("GET /", None));
}

/// A middleware further in that authenticates.
async fn authenticated(headers: HeaderMap, request: Request, next: Next) -> Response {
    tokio::task::yield_now().await;
    if let Some(user) = headers.get("authorization") {
        set_user(user.to_str().unwrap());
    }
    next.run(request).await
}

#[tokio::test]
async fn set_user_in_a_middleware_changes_that_request_alone() {
    let kept = Kept::new();
    let layer = kept.layer().root_trace(|_| "request");
    let app = answering().layer(middleware::from_fn(authenticated)).layer(layer);
    let url = serve(app).await;
    let http = reqwest::Client::new();
    let mut ports = BTreeSet::new();
    for user in [Some("ada"), None, Some("grace")] {
        let request =
            user.into_iter().fold(http.get(&url), |request, user| request.header("authorization", user));
        ports.insert(request.send().await.unwrap().text().await.unwrap());
    }
    assert_eq!(ports.len(), 1, "one connection");
    let mut users: BTreeMap<String, Vec<Option<String>>> = BTreeMap::new();
    for trace in kept.traces(6).await {
        users.entry(trace.name).or_default().push(trace.user_id);
    }
    let expected = vec![some("ada"), None, some("grace")];
    assert_eq!(users["request"], expected, "the trace of a request learns its user late");
    assert_eq!(users["answer"], expected);
    assert_eq!(kept.reported(ReportKind::IdentityRefused), 0);
    assert_eq!(kept.reported(ReportKind::IdentityChangedWhileOpen), 0);
}

/// What the handler of the next test said: the owner of each trace of a request, and of each connection's requests.
#[derive(Default)]
struct Book {
    owners: HashMap<String, String>,
    ports: HashMap<u16, BTreeSet<String>>,
}

const NOBODY: &str = "nobody";

fn owner(headers: &HeaderMap) -> String {
    headers.get("authorization").map_or(NOBODY, |user| user.to_str().unwrap()).to_owned()
}

async fn turn(
    Extension((book, gate)): Extension<(Arc<Mutex<Book>>, Arc<Barrier>)>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> Body {
    if headers.contains_key("x-first") {
        gate.wait().await;
    }
    let owner = owner(&headers);
    let root = pandaprobe::current_trace_id().unwrap().to_string();
    {
        let mut book = book.lock().unwrap();
        book.owners.insert(root, owner.clone());
        book.ports.entry(peer.port()).or_default().insert(owner.clone());
    }
    tokio::task::yield_now().await;
    let spawned = owner.clone();
    trace("turn")
        .input(owner.as_str())
        .scope(|_| async {
            tokio::task::yield_now().await;
            span("step").scope(tokio::task::yield_now()).await;
            let task = async move {
                tokio::task::yield_now().await;
                trace("spawned").input(spawned).run(|_| ());
            };
            pandaprobe::spawn(task).await.unwrap();
        })
        .await;
    tokio::task::yield_now().await;
    if headers.contains_key("x-stream") { Body::from_stream(words(owner)) } else { Body::from(owner) }
}

/// A body that records while it is read.
fn words(owner: String) -> impl Stream<Item = Result<String, Infallible>> {
    stream::iter(0..3).then(move |n| {
        let owner = owner.clone();
        async move {
            tokio::task::yield_now().await;
            if n == 1 {
                trace("body").input(owner).run(|_| ());
            }
            Ok(format!("{n} "))
        }
    })
}

/// How many connections a process may hold both ends of.
fn connections() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let files =
        limits.lines().find_map(|line| line.strip_prefix("Max open files")?.split_whitespace().next());
    let files = files.and_then(|soft| soft.parse().ok()).unwrap_or(256_usize);
    (files.saturating_sub(200) / 2).min(500)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn hundreds_of_keep_alive_connections_with_users_in_turn_are_never_mixed_up() {
    const ROUNDS: usize = 8;
    const USERS: usize = 50;
    let connections = connections();
    let kept = Kept::new();
    let book: Arc<Mutex<Book>> = Arc::default();
    let gate = Arc::new(Barrier::new(connections));
    let app = Router::new()
        .route("/", get(turn))
        .layer(Extension((Arc::clone(&book), gate)))
        .layer(middleware::from_fn(authenticated))
        .layer(kept.layer().root_trace(|_| "request"));
    let url = serve(app).await;
    let http = reqwest::Client::new();
    for round in 0..ROUNDS {
        let asks = (0..connections).map(|n| {
            let mut request = http.get(&url);
            // In the first round all wait for each other, so that there are as many connections.
            if round == 0 {
                request = request.header("x-first", "1");
            }
            let user = (n * 7 + round * 13) % (USERS + 10);
            if user < USERS {
                request = request.header("authorization", format!("u{user}"));
            }
            if n % 2 == 0 {
                request = request.header("x-stream", "1");
            }
            tokio::spawn(async move { request.send().await.unwrap().text().await.unwrap() })
        });
        for ask in join_all(asks).await {
            ask.unwrap();
        }
    }
    let requests = connections * ROUNDS;
    let traces = kept.traces(requests * 3 + requests.div_ceil(2)).await;
    let users: HashMap<String, &Option<String>> =
        traces.iter().map(|trace| (trace.trace_id.to_string(), &trace.user_id)).collect();
    let book = book.lock().unwrap();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for trace in &traces {
        let input = trace.input.as_ref().and_then(|input| input.as_str());
        let owner = input.unwrap_or_else(|| &book.owners[&trace.trace_id.to_string()]);
        let owner = Some(owner).filter(|owner| *owner != NOBODY);
        assert_eq!(text(&trace.user_id), owner, "a trace landed on another user: {trace:?}");
        if let Some(parent) = trace.metadata.get("pandaprobe.parent_trace_id") {
            let parent = users[parent.as_str().unwrap()];
            assert_eq!(parent, &trace.user_id, "it was begun in another person's trace");
        }
        *counts.entry(&trace.name).or_default() += 1;
    }
    assert_eq!((counts["request"], counts["turn"], counts["spawned"]), (requests, requests, requests));
    assert!(book.ports.len() >= connections, "{} connections", book.ports.len());
    let shared = book.ports.values().filter(|owners| owners.len() > 1).count();
    assert!(shared > connections / 2, "{shared} connections served several");
    assert_eq!(kept.client.stats().dropped_total(), 0);
    assert!(kept.client.stats().reports.is_empty(), "{:?}", kept.client.stats().reports);
}

/// Records when it is dropped.
struct Farewell(&'static str);

impl Drop for Farewell {
    fn drop(&mut self) {
        trace(self.0).run(|_| ());
    }
}

async fn streamed() -> Body {
    let farewell = Farewell("dropped");
    Body::from_stream(stream::iter(0..3).then(move |n| {
        let _ = &farewell;
        async move {
            tokio::task::yield_now().await;
            match n {
                0 => trace("before").run(|_| ()),
                1 => set_user("grace"),
                _ => trace("after").run(|_| ()),
            }
            Ok::<_, Infallible>(Bytes::from_static(b"data: x\n\n"))
        }
    }))
}

#[tokio::test]
async fn the_body_of_a_response_is_sent_and_dropped_in_the_scope_of_its_request() {
    let kept = Kept::new();
    let url =
        serve(Router::new().route("/", get(streamed)).layer(kept.layer().user_header("x-user-id"))).await;
    let http = reqwest::Client::new();
    for user in ["ada", ""] {
        let request = http.get(&url).header("x-user-id", user);
        assert_eq!(request.send().await.unwrap().text().await.unwrap().len(), 27);
    }
    let traces = kept.traces(6).await;
    let who: Vec<_> = traces.iter().map(|trace| (trace.name.as_str(), text(&trace.user_id))).collect();
    let hers = [("before", Some("ada")), ("after", Some("grace")), ("dropped", Some("grace"))];
    let blocked = [("before", None), ("after", Some("grace")), ("dropped", Some("grace"))];
    assert_eq!(who, [hers, blocked].concat());
}

#[tokio::test]
async fn a_client_that_hangs_up_in_the_middle_of_a_body_stops_reading() {
    let kept = Kept::new();
    let endless = async || {
        let farewell = Farewell("dropped");
        let endless = stream::iter([Ok::<_, Infallible>("data: x\n\n")]).chain(stream::pending());
        Body::from_stream(endless.inspect(move |_| {
            let _ = &farewell;
        }))
    };
    let layer = kept.layer().user_header("x-user-id").trace(true);
    let url = serve(Router::new().route("/", get(endless)).layer(layer)).await;
    let mut response = reqwest::Client::new().get(&url).header("x-user-id", "ada").send().await.unwrap();
    assert!(response.chunk().await.unwrap().is_some());
    drop(response);
    let traces = kept.traces(2).await;
    let request = traces.iter().find(|trace| trace.name == "GET /").unwrap();
    assert_eq!(ended(request), (TraceStatus::Completed, None, Some("stopped_by_reader")));
    assert_eq!(request.metadata["http.status_code"], 200);
    let dropped = traces.iter().find(|trace| trace.name == "dropped").unwrap();
    assert_eq!(text(&dropped.user_id), Some("ada"));
    assert_eq!(dropped.metadata["pandaprobe.parent_trace_id"], request.trace_id.to_string());
}

#[tokio::test]
async fn a_client_that_hangs_up_before_the_answer_cancels_its_request() {
    let kept = Kept::new();
    let begun = Arc::new(Notify::new());
    let begins = Arc::clone(&begun);
    let forever = async move || {
        let _farewell = Farewell("dropped");
        begins.notify_one();
        std::future::pending::<()>().await;
    };
    let layer = kept.layer().user_header("x-user-id").trace(true);
    let url = serve(Router::new().route("/", get(forever)).layer(layer)).await;
    let request = reqwest::Client::new().get(&url).header("x-user-id", "ada").send();
    tokio::select! {
        _ = request => panic!("it never answers"),
        () = begun.notified() => {}
    }
    let traces = kept.traces(2).await;
    let request = traces.iter().find(|trace| trace.name == "GET /").unwrap();
    assert_eq!(ended(request), (TraceStatus::Error, Some("cancelled"), Some("cancelled")));
    assert!(!request.metadata.contains_key("http.status_code"));
    let dropped = traces.iter().find(|trace| trace.name == "dropped").unwrap();
    assert_eq!(text(&dropped.user_id), Some("ada"));
}

#[tokio::test]
async fn a_panic_ends_the_trace_of_its_request_and_goes_on() {
    let kept = Kept::new();
    let late = async || {
        let broken = stream::iter([true, false]).map(|fine| {
            assert!(fine, "late trouble");
            Ok::<_, Infallible>("x")
        });
        Body::from_stream(broken)
    };
    let early = async || -> () { panic!("early trouble") };
    let app = Router::new().route("/early", get(early)).route("/late", get(late)).route("/", get(answer));
    let url = serve(app.layer(kept.layer().user_header("x-user-id").trace(true))).await;
    let http = reqwest::Client::new();
    let ask = async |path: &str| {
        http.get(format!("{url}{path}")).header("x-user-id", "ada").send().await?.text().await
    };
    assert!(ask("/early").await.is_err());
    assert!(ask("/late").await.is_err());
    http.get(&url).send().await.unwrap();
    let traces = kept.traces(4).await;
    let of = |name: &str| traces.iter().find(|trace| trace.name == name).unwrap();
    assert_eq!(ended(of("GET /early")), (TraceStatus::Error, Some("panicked: early trouble"), None));
    assert_eq!(ended(of("GET /late")), (TraceStatus::Error, Some("panicked: late trouble"), None));
    assert_eq!((text(&of("GET /").user_id), ended(of("GET /")).0), (None, TraceStatus::Completed));
}

async fn in_pieces(announced: bool, last: Result<&'static str, io::Error>) -> Response {
    // Such a body does not know its length, nor its end before it was asked once more.
    let body = Body::from_stream(stream::iter([Ok("one"), last]));
    let mut response = body.into_response();
    if announced {
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("6"));
    }
    response
}

#[tokio::test]
async fn the_trace_of_a_request_says_how_it_was_answered() {
    let kept = Kept::new();
    let app = Router::new()
        .route("/empty", get(|| async { StatusCode::NO_CONTENT }))
        .route("/text", get(|| async { "text" }))
        .route("/users/{id}", get(|| async { "user" }))
        .route("/pieces", get(|| in_pieces(false, Ok("two"))))
        .route("/announced", get(|| in_pieces(true, Ok("two"))))
        .route("/broken", get(|| in_pieces(false, Err(io::Error::other("the disk is gone")))))
        .route("/refused", get(|| async { (StatusCode::FORBIDDEN, "no") }))
        .route("/failed", get(|| async { (StatusCode::SERVICE_UNAVAILABLE, "later") }))
        .layer(
            kept.layer()
                .trace(true)
                .route(|parts| Some(parts.extensions.get::<MatchedPath>()?.as_str().to_owned())),
        );
    let url = serve(app).await;
    let http = reqwest::Client::new();
    for path in
        ["empty", "text", "users/7?token=secret", "pieces", "announced", "refused", "failed", "broken"]
    {
        if let Ok(response) = http.get(format!("{url}/{path}")).send().await {
            let _ = response.text().await;
        }
    }
    http.head(format!("{url}/pieces")).send().await.unwrap();
    http.head(format!("{url}/text")).send().await.unwrap();
    let traces = kept.traces(10).await;
    let fine = (TraceStatus::Completed, None, None);
    let expected = [
        ("GET /empty", 204, fine),
        ("GET /text", 200, fine),
        ("GET /users/{id}", 200, fine),
        ("GET /pieces", 200, fine),
        ("GET /announced", 200, fine),
        ("GET /refused", 403, fine),
        ("GET /failed", 503, (TraceStatus::Error, Some("503 Service Unavailable"), None)),
        ("GET /broken", 200, (TraceStatus::Error, Some("the disk is gone"), None)),
        ("HEAD /pieces", 200, fine),
        ("HEAD /text", 200, fine),
    ];
    for (name, status, how) in expected {
        let request =
            traces.iter().find(|trace| trace.name == name).unwrap_or_else(|| panic!("{name}: {traces:#?}"));
        assert_eq!(ended(request), how, "{name}");
        assert_eq!(request.metadata["http.status_code"], status, "{name}");
        assert_eq!(request.metadata["http.method"], name.split(' ').next().unwrap());
        assert_eq!(request.metadata["http.route"], name.split(' ').nth(1).unwrap());
        assert!(!request.metadata.contains_key("http.path"));
        assert_eq!((&request.input, &request.output), (&None, &None));
    }
    assert!(!format!("{traces:?}").contains("secret"));
}

#[tokio::test]
async fn without_a_route_the_path_is_recorded_and_never_the_query() {
    let kept = Kept::new();
    let url = serve(answering().fallback(answer).layer(kept.layer().trace(true))).await;
    reqwest::get(format!("{url}/users/7?token=secret")).await.unwrap();
    let traces = kept.traces(2).await;
    let request = traces.iter().find(|trace| trace.name == "GET /users/7").unwrap();
    assert_eq!(
        (request.metadata["http.path"].as_str(), request.metadata.get("http.route")),
        (Some("/users/7"), None)
    );
    assert!(!format!("{traces:?}").contains("secret"));
}

#[tokio::test]
async fn the_time_of_the_body_is_time_of_the_request() {
    let kept = Kept::new();
    let slow = async || {
        Body::from_stream(stream::iter(0..2).then(|_| async {
            tokio::time::sleep(Duration::from_millis(40)).await;
            span("read").run(|_| ());
            Ok::<_, Infallible>("x")
        }))
    };
    let url = serve(Router::new().route("/", get(slow)).layer(kept.layer().trace(true))).await;
    reqwest::get(&url).await.unwrap().text().await.unwrap();
    let request = kept.trace().await;
    assert_eq!(request.spans.len(), 2, "what the body records is a part of it");
    let ended_at = request.ended_at.unwrap();
    assert!(ended_at.since(request.started_at) >= Duration::from_millis(80));
}

#[tokio::test]
async fn layers_nest_as_scopes_do() {
    let kept = Kept::new();
    let outer = kept.layer().session_header("x-session-id").user_header("x-user-id").tag("outer").trace(true);
    let inner = PandaProbeLayer::new().user_header("x-tenant-id").tag("inner");
    let url = serve(answering().route_layer(inner).layer(outer)).await;
    let http = reqwest::Client::new();
    http.get(&url).header("x-session-id", "s").header("x-tenant-id", "t").send().await.unwrap();
    let traces = kept.traces(2).await;
    let answer = traces.iter().find(|trace| trace.name == "answer").unwrap();
    assert_eq!((text(&answer.session_id), text(&answer.user_id)), (Some("s"), Some("t")));
    assert_eq!(answer.tags, ["outer", "inner"]);
    let request = traces.iter().find(|trace| trace.name == "GET /").unwrap();
    assert_eq!(text(&request.user_id), Some("t"), "it learns from the inner layer whose it is");
    assert_eq!(answer.metadata["pandaprobe.parent_trace_id"], request.trace_id.to_string());
}

#[tokio::test]
async fn a_layer_without_settings_opens_an_empty_scope() {
    let app = Router::new()
        .route(
            "/",
            get(|| async {
                trace("before").run(|_| ());
                set_user("ada");
                trace("after").run(|_| ());
            }),
        )
        .layer(PandaProbeLayer::new());
    let captured = capture(|| async {
        let request = Request::new(Body::empty());
        let Ok(response) = app.oneshot(request).await;
        assert!(response.status().is_success());
        drop(response);
        trace("outside").run(|_| ());
    })
    .await;
    assert_eq!(captured.tree(), "before COMPLETED\nafter COMPLETED user=ada\noutside COMPLETED\n");
}

#[tokio::test]
async fn a_client_that_is_switched_off_changes_nothing_and_records_nothing() {
    let exporter = MemoryExporter::default();
    let client = Client::new(Config::new().exporter(exporter.clone()).enabled(false)).unwrap();
    let layer = PandaProbeLayer::new().client(client).user_header("x-user-id").trace(true);
    let url = serve(answering().route("/stream", get(streamed)).layer(layer)).await;
    let http = reqwest::Client::new();
    let response = http.get(&url).header("x-user-id", "ada").send().await.unwrap();
    let announced = response.headers()[CONTENT_LENGTH].to_str().unwrap().to_owned();
    assert_eq!(announced, response.text().await.unwrap().len().to_string());
    let streamed = http.get(format!("{url}/stream")).send().await.unwrap();
    assert_eq!(streamed.text().await.unwrap().len(), 27);
    assert!(exporter.envelopes().is_empty());
}

/// A body as gRPC has it: data, then trailers.
struct WithTrailers(Vec<Frame<Bytes>>);

impl http_body::Body for WithTrailers {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Poll::Ready(self.0.pop().map(Ok))
    }
}

#[tokio::test]
async fn any_service_of_http_fits_and_frames_pass_as_they_are() {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let frames = move || vec![Frame::trailers(trailers.clone()), Frame::data(Bytes::from_static(b"message"))];
    let grpc = service_fn(move |request: axum::http::Request<&'static str>| {
        let body = WithTrailers(frames());
        let name = *request.body();
        async move {
            trace(name).run(|_| ());
            Ok::<_, BoxError>(axum::http::Response::new(body))
        }
    });
    let captured = capture(|| async {
        let service = ServiceBuilder::new().layer(PandaProbeLayer::new().trace(true)).service(grpc);
        let response = service.oneshot(axum::http::Request::new("unary")).await.unwrap();
        let mut body = std::pin::pin!(response.into_body());
        let mut frame =
            async || std::future::poll_fn(|cx| http_body::Body::poll_frame(body.as_mut(), cx)).await;
        assert_eq!(frame().await.unwrap().unwrap().into_data().unwrap(), "message");
        assert_eq!(frame().await.unwrap().unwrap().into_trailers().unwrap()["grpc-status"], "0");
        assert!(frame().await.is_none());
        assert!(frame().await.is_none());
    })
    .await;
    assert_eq!(captured.trace("GET /").status, TraceStatus::Completed);
    assert_eq!(captured.traces.len(), 2);
}

#[tokio::test]
async fn a_grpc_call_ended_as_its_trailers_say() {
    let status = |code: &str| {
        HeaderMap::from_iter([(axum::http::HeaderName::from_static("grpc-status"), code.parse().unwrap())])
    };
    // With a message the code comes after it, without one it is in the head.
    let service = service_fn(move |request: axum::http::Request<(&'static str, bool)>| {
        let (code, in_trailers) = *request.body();
        let mut frames = vec![Frame::data(Bytes::from_static(b"message"))];
        if in_trailers {
            frames.insert(0, Frame::trailers(status(code)));
        }
        let mut response = axum::http::Response::new(WithTrailers(frames));
        if !in_trailers {
            *response.headers_mut() = status(code);
        }
        std::future::ready(Ok::<_, BoxError>(response))
    });
    for (code, error) in [("0", None), ("5", None), ("13", Some("gRPC status 13 INTERNAL")), ("x", None)] {
        for in_trailers in [true, false] {
            let captured = capture(|| async {
                let service = PandaProbeLayer::new().trace(true).layer(service);
                let response = service.oneshot(axum::http::Request::new((code, in_trailers))).await.unwrap();
                let mut body = std::pin::pin!(response.into_body());
                while std::future::poll_fn(|cx| http_body::Body::poll_frame(body.as_mut(), cx))
                    .await
                    .is_some()
                {}
            })
            .await;
            let trace = captured.trace("GET /");
            let status = if error.is_some() { TraceStatus::Error } else { TraceStatus::Completed };
            assert_eq!(ended(trace), (status, error, None), "{code} {in_trailers}");
            assert_eq!(trace.metadata["rpc.grpc.status_code"], code);
        }
    }
}

#[tokio::test]
async fn an_error_of_the_service_is_the_error_of_the_trace() {
    let failing = service_fn(async |_: axum::http::Request<()>| {
        Err::<axum::http::Response<String>, BoxError>("overloaded".into())
    });
    let captured = capture(|| async {
        let service = PandaProbeLayer::new().root_trace(|parts| parts.uri.path().to_owned()).layer(failing);
        let error = service.oneshot(axum::http::Request::new(())).await.unwrap_err();
        assert_eq!(error.to_string(), "overloaded");
    })
    .await;
    assert_eq!(ended(captured.trace("/")), (TraceStatus::Error, Some("overloaded"), None));
}

/// One whose text is a bug.
#[derive(Debug)]
struct Unspeakable;

impl std::fmt::Display for Unspeakable {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // `to_string` panics on it.
        Err(std::fmt::Error)
    }
}

impl std::error::Error for Unspeakable {}

#[tokio::test]
async fn an_error_whose_text_panics_does_not_panic_the_request() {
    let failing =
        service_fn(async |_: axum::http::Request<()>| Err::<axum::http::Response<String>, _>(Unspeakable));
    let captured = capture(|| async {
        let service = PandaProbeLayer::new().root_trace(|_| "job".to_owned()).layer(failing);
        let Err(Unspeakable) = service.oneshot(axum::http::Request::new(())).await else {
            panic!("an answer of one that has none");
        };
    })
    .await;
    assert_eq!(ended(captured.trace("job")).1, Some("an error whose text panicked"));
}

#[tokio::test]
async fn a_body_that_nobody_reads_ends_its_request() {
    let app = Router::new()
        .route("/", get(|| in_pieces(false, Ok("two"))))
        .layer(PandaProbeLayer::new().trace(true));
    let captured = capture(|| async {
        let Ok(response) = app.oneshot(Request::new(Body::empty())).await;
        drop(response);
    })
    .await;
    assert_eq!(ended(captured.trace("GET /")), (TraceStatus::Completed, None, Some("stopped_by_reader")));
}
