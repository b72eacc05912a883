use std::{
    convert::Infallible,
    fmt, io,
    net::{Ipv4Addr, TcpListener},
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Body,
    extract::{DefaultBodyLimit, State},
    http::{HeaderMap, Method, Response, Uri, header},
    routing::post,
};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use serde_json::Value;
use tokio::{runtime, sync::oneshot};
use uuid::Uuid;

use crate::{ChatRequest, Model, Travel, wire::ApiError, wire::Completion};

const PATH: &str = "/v1/chat/completions";

/// A running stand-in. It stops when dropped.
///
/// The server has a thread and a runtime of its own, so it also answers a caller that blocks its runtime.
#[must_use = "the server stops when this is dropped"]
pub struct StandInModel {
    base_url: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl StandInModel {
    /// Starts a server on a free loopback port that answers as `model`.
    ///
    /// # Errors
    ///
    /// If no loopback port can be bound or no thread can be started.
    pub async fn start(model: impl Model) -> io::Result<Self> {
        Self::spawn(model)
    }

    /// Starts a server that answers as [`Travel`].
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub async fn start_default() -> io::Result<Self> {
        Self::spawn(Travel)
    }

    /// [`start`](Self::start) for callers outside a runtime. It never blocks for long.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn spawn(model: impl Model) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let base_url = format!("http://{}/v1", listener.local_addr()?);
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("stand-in-model".to_owned())
            .spawn(move || runtime.block_on(serve(listener, Arc::new(model), stopped)))?;
        Ok(Self { base_url, stop: Some(stop), thread: Some(thread) })
    }

    /// The API root for clients, `http://127.0.0.1:PORT/v1`.
    #[must_use]
    pub fn base_url(&self) -> &str {
        &self.base_url
    }
}

impl fmt::Debug for StandInModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StandInModel").field("base_url", &self.base_url).finish_non_exhaustive()
    }
}

impl Drop for StandInModel {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the server's thread was printed by it and has no place in a destructor.
            let _ = thread.join();
        }
    }
}

async fn serve(listener: TcpListener, model: Arc<dyn Model>, stopped: oneshot::Receiver<()>) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("a listener of this runtime");
    let app = Router::new()
        .route(PATH, post(completions).fallback(wrong_method))
        .fallback(unknown_path)
        .layer(DefaultBodyLimit::disable())
        .with_state(model);
    tokio::select! {
        _ = axum::serve(listener, app) => {}
        _ = stopped => {}
    }
}

async fn completions(State(model): State<Arc<dyn Model>>, headers: HeaderMap, body: Bytes) -> Response<Body> {
    let started = Instant::now();
    let request = match authorised(&headers).and_then(|()| ChatRequest::parse(&body)) {
        Ok(request) => request,
        Err(error) => return refusal(&error),
    };
    let completion = Completion::new(&request, model.reply(&request));
    let response = if request.stream {
        response(200, "text/event-stream; charset=utf-8", events(&completion))
    } else {
        response(200, "application/json", Body::from(completion.whole().to_string()))
    };
    with_processing_time(response, started)
}

async fn unknown_path(method: Method, uri: Uri) -> Response<Body> {
    refusal(&ApiError::unknown_path(method.as_str(), uri.path()))
}

async fn wrong_method(method: Method, uri: Uri) -> Response<Body> {
    refusal(&ApiError::wrong_method(method.as_str(), uri.path()))
}

fn authorised(headers: &HeaderMap) -> Result<(), ApiError> {
    let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let key = value.and_then(|value| value.strip_prefix("Bearer ")).map(str::trim);
    match key {
        Some(key) if !key.is_empty() => Ok(()),
        _ => Err(ApiError::no_key()),
    }
}

/// Server-sent events, a few milliseconds apart, then the end marker.
fn events(completion: &Completion) -> Body {
    let chunks = completion.chunks();
    let data = chunks.iter().map(Value::to_string).chain(["[DONE]".to_owned()]);
    let events: Vec<String> = data.map(|data| format!("data: {data}\n\n")).collect();
    Body::from_stream(stream::iter(events).enumerate().then(|(index, event)| async move {
        tokio::time::sleep(delay(index)).await;
        Ok::<_, Infallible>(event)
    }))
}

fn delay(index: usize) -> Duration {
    Duration::from_millis(2 + index as u64 % 4)
}

fn refusal(error: &ApiError) -> Response<Body> {
    let response = response(error.status, "application/json", Body::from(error.body().to_string()));
    with_processing_time(response, Instant::now())
}

fn response(status: u16, content_type: &str, body: Body) -> Response<Body> {
    Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, content_type)
        .header("x-request-id", format!("req_{}", Uuid::new_v4().simple()))
        .header("openai-version", "2020-10-01")
        .body(body)
        .expect("a valid status and valid headers")
}

fn with_processing_time(mut response: Response<Body>, started: Instant) -> Response<Body> {
    let millis = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
    response.headers_mut().insert("openai-processing-ms", millis.into());
    response
}
