//! Ends of a process that no guard sees.

use std::{panic, sync::Once, time::Duration};

use crate::client;

/// Has each panic deliver what has ended so far, before it goes on: at most for `timeout`, on the thread that panics. The hook that
/// was there before runs first. A second call changes nothing.
///
/// It is for programs that are compiled with `panic = "abort"`: nothing is dropped there, so no
/// [`ClientGuard`](crate::ClientGuard) is, and what is open is ended here as well. Where panics unwind, the guard in `main` does its
/// work, and a panic that a server catches need not wait for anything; there a hook helps only threads whose panic ends the
/// process in another way.
///
/// ```no_run
/// # fn main() -> Result<(), pandaprobe_core::ConfigError> {
/// let _guard = pandaprobe_core::init(pandaprobe_core::Config::from_env()?)?;
/// pandaprobe_core::flush_on_panic(std::time::Duration::from_secs(2));
/// # Ok(())
/// # }
/// ```
pub fn flush_on_panic(timeout: Duration) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            before(panic);
            let _ = if cfg!(panic = "abort") { client::shutdown(timeout) } else { client::flush(timeout) };
        }));
    });
}

/// Waits until the process is asked to end: by `SIGTERM`, as from `docker stop`, Kubernetes and systemd, or by Ctrl-C (feature `signal`).
///
/// A server stops taking requests then, and the guard in `main` delivers what they recorded:
///
/// ```no_run
/// # async fn serve(stop: impl Future) {}
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), pandaprobe_core::ConfigError> {
/// let _guard = pandaprobe_core::init(pandaprobe_core::Config::from_env()?)?;
/// // axum::serve(listener, app).with_graceful_shutdown(pandaprobe::terminated()).await?;
/// serve(pandaprobe_core::terminated()).await;
/// # Ok(())
/// # }
/// ```
///
/// From its first poll on, these signals no longer end the process by themselves. It needs a tokio runtime with I/O. Where the system
/// does not let a signal be heard, it waits for the others.
#[cfg(feature = "signal")]
pub async fn terminated() {
    let interrupted = async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    #[cfg(unix)]
    {
        use std::{future::poll_fn, pin::pin, task::Poll};

        let terminate = async {
            match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
                Ok(mut signal) => drop(signal.recv().await),
                Err(_) => std::future::pending().await,
            }
        };
        let (mut interrupted, mut terminate) = (pin!(interrupted), pin!(terminate));
        poll_fn(|cx| match (interrupted.as_mut().poll(cx), terminate.as_mut().poll(cx)) {
            (Poll::Pending, Poll::Pending) => Poll::Pending,
            _ => Poll::Ready(()),
        })
        .await;
    }
    #[cfg(not(unix))]
    interrupted.await;
}
