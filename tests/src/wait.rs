use std::time::{Duration, Instant};

const PAUSE: Duration = Duration::from_millis(2);

/// Asks until `done` or until `timeout` has passed; says which.
pub(crate) fn until(timeout: Duration, mut done: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + timeout;
    loop {
        if done() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(PAUSE);
    }
}

/// [`until`] off the caller's runtime, so that it also counts real time where the runtime's clock is paused.
pub(crate) async fn until_async(timeout: Duration, done: impl FnMut() -> bool + Send + 'static) -> bool {
    tokio::task::spawn_blocking(move || until(timeout, done)).await.expect("the condition does not panic")
}
