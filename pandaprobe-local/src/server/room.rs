//! How much of what clients send may be in memory at once.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{Request, State},
    http::{StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use tokio::{sync::Semaphore, time::timeout};

use super::{MAX_BODY_BYTES, answer};

/// What is counted, in bytes. There is room for one body that is as long as one may be, or for many that are shorter.
const UNIT: usize = 1 << 10;

/// A body that is no longer has room in any case.
const SHORT: usize = 1 << 20;

/// How long a request waits for room.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a request may take, from its head to its answer.
const LONGEST: Duration = Duration::from_secs(120);

/// The room for bodies.
#[derive(Clone)]
pub(super) struct Room(Arc<Semaphore>);

impl Default for Room {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_BODY_BYTES / UNIT)))
    }
}

/// Lets a request with a long body wait until there is room for it.
pub(super) async fn wait(State(Room(room)): State<Room>, request: Request, next: Next) -> Response {
    let Some(length) = length(&request).filter(|length| *length > SHORT) else {
        return next.run(request).await;
    };
    let units = u32::try_from(length.min(MAX_BODY_BYTES) / UNIT).unwrap_or(u32::MAX);
    let Ok(Ok(_place)) = timeout(PATIENCE, room.acquire_many(units)).await else {
        let later = [(header::RETRY_AFTER, "1")];
        return (later, answer::detail(StatusCode::SERVICE_UNAVAILABLE, "too much is sent at once"))
            .into_response();
    };
    match timeout(LONGEST, next.run(request)).await {
        Ok(response) => response,
        Err(_) => answer::detail(StatusCode::REQUEST_TIMEOUT, "the request takes too long"),
    }
}

/// How long the body is, or may be if the request does not say; none if there is none.
fn length(request: &Request) -> Option<usize> {
    let headers = request.headers();
    let stated = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    stated.or_else(|| headers.contains_key(header::TRANSFER_ENCODING).then_some(MAX_BODY_BYTES))
}
