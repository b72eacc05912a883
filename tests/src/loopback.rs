//! A server on a free loopback port whose handlers can break the connection they answer on.

use std::{
    future::Future,
    io,
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    thread::JoinHandle,
    time::Instant,
};

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, Request, connect_info::Connected},
    response::Response,
    serve::{IncomingStream, Listener},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    runtime,
    sync::oneshot,
};

/// A port where nobody listens yet, and which nobody else is given for a while.
///
/// # Panics
///
/// If there is none.
#[must_use]
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("its address").port()
}

/// The URL of a server on a port.
#[must_use]
pub fn url_at(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

/// A running server with a thread and a runtime of its own. It stops when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts a server that answers every request with `handler`, on any free port if `port` is 0.
    pub(crate) fn start<H, F>(port: u16, handler: H) -> Self
    where
        H: Fn(Peer, Request) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response> + Send,
    {
        let listener =
            std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("a free loopback port");
        listener.set_nonblocking(true).expect("a listener that does not block");
        let address = listener.local_addr().expect("a bound listener has an address");
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("loopback".to_owned())
            .spawn(move || run(listener, handler, stopped))
            .expect("a thread for the server");
        Self { address, stop: Some(stop), thread: Some(thread) }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // The thread printed its panic, if it had one.
            let _ = thread.join();
        }
    }
}

/// The client's side of a request's connection.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) port: u16,
    pub(crate) connection: Arc<Connection>,
}

/// What handlers may do to a connection, and what they can learn of it.
#[derive(Debug, Default)]
pub(crate) struct Connection {
    state: Mutex<State>,
}

impl Connection {
    /// Closes the connection with a reset instead of sending the answer that follows.
    pub(crate) fn reset(&self) {
        self.set(Ending::Reset);
    }

    /// Sends what is no HTTP instead of the answer that follows, and closes the connection.
    pub(crate) fn garble(&self) {
        self.set(Ending::Garbled);
    }

    /// Closes the connection after the answer that follows, which does not announce it.
    pub(crate) fn close_after_answer(&self) {
        self.set(Ending::Announced { written: false });
    }

    /// When the client closed the connection, if it has.
    pub(crate) fn client_closed(&self) -> Option<Instant> {
        self.state().client_closed
    }

    fn set(&self, ending: Ending) {
        let mut state = self.state();
        state.ending = ending;
        if let Some(waker) = state.reader.take() {
            waker.wake();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn saw_client_close(&self) {
        self.state().client_closed.get_or_insert_with(Instant::now);
    }
}

#[derive(Debug, Default)]
struct State {
    ending: Ending,
    reader: Option<Waker>,
    client_closed: Option<Instant>,
}

#[derive(Clone, Copy, Debug, Default)]
enum Ending {
    #[default]
    None,
    /// To close once something was written and flushed.
    Announced {
        written: bool,
    },
    /// To say nonsense, and close.
    Garbled,
    Closed,
    Reset,
}

/// What a server says that is none of HTTP.
const NONSENSE: &[u8] = b"\x15\x03\x01\x00\x02\x02\x50 no such thing\r\n\r\n";

fn run<H, F>(listener: std::net::TcpListener, handler: H, stopped: oneshot::Receiver<()>)
where
    H: Fn(Peer, Request) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response> + Send,
{
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime for the server").block_on(async {
        let listener = TcpListener::from_std(listener).expect("a listener of this runtime");
        let respond = move |ConnectInfo(peer): ConnectInfo<Peer>, request: Request| {
            let handler = handler.clone();
            async move { handler(peer, request).await }
        };
        let service = Router::new().fallback(respond).into_make_service_with_connect_info::<Peer>();
        tokio::select! {
            _ = axum::serve(Observed(listener), service) => {}
            _ = stopped => {}
        }
    });
}

struct Observed(TcpListener);

impl Listener for Observed {
    type Io = Stream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Stream, SocketAddr) {
        let (inner, address) = Listener::accept(&mut self.0).await;
        // Events must leave when they are written, not when Nagle's algorithm lets them.
        let _ = inner.set_nodelay(true);
        let connection = Arc::default();
        (Stream { inner, connection }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

impl Connected<IncomingStream<'_, Observed>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Observed>) -> Self {
        Self { port: stream.remote_addr().port(), connection: Arc::clone(&stream.io().connection) }
    }
}

struct Stream {
    inner: TcpStream,
    connection: Arc<Connection>,
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let ending = self.connection.state().ending;
        match ending {
            Ending::Closed => return Poll::Ready(Ok(())),
            Ending::Reset => return Poll::Ready(Err(self.refuse())),
            Ending::None | Ending::Announced { .. } | Ending::Garbled => {}
        }
        let before = buf.filled().len();
        let poll = Pin::new(&mut self.inner).poll_read(cx, buf);
        match &poll {
            Poll::Pending => self.connection.state().reader = Some(cx.waker().clone()),
            Poll::Ready(Ok(())) if buf.filled().len() > before => {}
            Poll::Ready(_) => self.connection.saw_client_close(),
        }
        poll
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let ending = self.connection.state().ending;
        match ending {
            Ending::Reset => return Poll::Ready(Err(self.refuse())),
            Ending::Garbled => {
                let poll = Pin::new(&mut self.inner).poll_write(cx, NONSENSE);
                return poll.map_ok(|_| {
                    self.connection.set(Ending::Announced { written: true });
                    buf.len()
                });
            }
            _ => {}
        }
        let poll = Pin::new(&mut self.inner).poll_write(cx, buf);
        match &poll {
            Poll::Ready(Ok(_)) => self.note_write(),
            Poll::Ready(Err(_)) => self.connection.saw_client_close(),
            Poll::Pending => {}
        }
        poll
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.inner).poll_flush(cx);
        let answered = matches!(self.connection.state().ending, Ending::Announced { written: true });
        if poll.is_ready() && answered {
            self.connection.set(Ending::Closed);
        }
        poll
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

impl Stream {
    /// Makes the coming close a reset and is the error that brings it about.
    fn refuse(&self) -> io::Error {
        let _ = self.inner.set_zero_linger();
        io::ErrorKind::ConnectionReset.into()
    }

    fn note_write(&self) {
        if let Ending::Announced { written } = &mut self.connection.state().ending {
            *written = true;
        }
    }
}

/// An answer with a body known in advance.
pub(crate) fn respond(status: u16, headers: &[(String, String)], body: impl Into<Body>) -> Response {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(name, value);
    }
    response.body(body.into()).expect("a valid status and valid headers")
}
