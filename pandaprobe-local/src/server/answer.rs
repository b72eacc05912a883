//! Answers, in the shape of the PandaProbe API.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::json;

use crate::{StoreError, wire::Refused};

/// What is answered instead of what was asked for.
#[derive(Debug)]
pub(crate) enum Failure {
    NotFound(&'static str),
    Conflict(&'static str),
    Invalid(Vec<Refused>),
    Refused(String),
    Unreadable(String),
    Store,
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        match self {
            Self::NotFound(what) => detail(StatusCode::NOT_FOUND, &format!("{what} not found")),
            Self::Conflict(why) => detail(StatusCode::CONFLICT, why),
            Self::Refused(why) => detail(StatusCode::UNPROCESSABLE_ENTITY, &why),
            Self::Unreadable(why) => detail(StatusCode::BAD_REQUEST, &why),
            Self::Invalid(errors) => {
                let errors: Vec<_> = errors
                    .into_iter()
                    .map(|error| json!({"field": error.field, "message": error.message}))
                    .collect();
                let body = json!({"detail": "Validation error", "errors": errors});
                (StatusCode::UNPROCESSABLE_ENTITY, Json(body)).into_response()
            }
            Self::Store => detail(StatusCode::INTERNAL_SERVER_ERROR, "the store cannot do that now"),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        // Not for the answer: what SQLite says may name a file of this machine.
        tracing::error!(%error, "the store failed");
        Self::Store
    }
}

impl From<Refused> for Failure {
    fn from(error: Refused) -> Self {
        Self::Invalid(vec![error])
    }
}

/// An answer that says one thing.
pub(super) fn detail(status: StatusCode, detail: &str) -> Response {
    (status, Json(json!({"detail": detail}))).into_response()
}

/// An answer, or why there is none.
pub(crate) type Answer<T> = Result<T, Failure>;

pub(crate) fn json<T: Serialize>(value: T) -> Json<T> {
    Json(value)
}

pub(crate) async fn not_found() -> Response {
    Failure::NotFound("The page").into_response()
}
