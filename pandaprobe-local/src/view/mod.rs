//! The viewer: pages about what is stored, made here, with a little JavaScript for the tree and for what is live.
//!
//! Whatever was recorded may be hostile. It reaches a page as text, escaped by `maud`, cut where it is long; the policy that the
//! server sends with each page lets no script run that is not one of the assets.

mod address;
mod assets;
mod filter;
mod frame;
mod json;
mod message;
mod overview;
mod plot;
mod session;
mod span;
mod text;
mod trace;
mod traces;
mod tree;
mod user;
mod value;

use axum::{
    Router,
    http::StatusCode,
    response::{Html, IntoResponse, Redirect, Response},
    routing::get,
};
use maud::Markup;
use uuid::Uuid;

use crate::{
    StoreError,
    server::{Shared, blocking},
};

/// The pages of the viewer.
pub(crate) fn routes() -> Router<Shared> {
    let home = || async { Redirect::temporary("/ui/traces") };
    Router::new()
        .route("/", get(home))
        .route("/ui", get(home))
        .route("/ui/", get(home))
        .route("/ui/traces", get(traces::page))
        .route("/ui/traces/rows", get(traces::rows))
        .route("/ui/traces/{trace_id}", get(trace::page))
        .route("/ui/traces/{trace_id}/overview", get(trace::overview))
        .route("/ui/traces/{trace_id}/raw", get(trace::raw))
        .route("/ui/traces/{trace_id}/spans.json", get(tree::columns))
        .route("/ui/traces/{trace_id}/spans/{span_id}", get(span::fragment))
        .route("/ui/traces/{trace_id}/spans/{span_id}/raw", get(span::raw))
        .route("/ui/sessions", get(session::list))
        .route("/ui/session", get(session::page))
        .route("/ui/users", get(user::list))
        .route("/ui/user", get(user::page))
        .route("/ui/overview", get(overview::page))
        .route("/ui/assets/{name}", get(assets::asset))
        .route("/favicon.ico", get(assets::icon))
        .route("/ui/{*rest}", get(|| async { Miss::Absent("page") }))
}

/// Why there is no page.
#[derive(Debug)]
enum Miss {
    /// There is no such thing.
    Absent(&'static str),
    /// The store cannot be read.
    Unreadable,
}

type Shown<T> = Result<T, Miss>;

impl IntoResponse for Miss {
    fn into_response(self) -> Response {
        let (status, title, text) = match self {
            Self::Absent(what) => (
                StatusCode::NOT_FOUND,
                format!("No such {what}"),
                "It may have been deleted, or pruned, or not have arrived yet.",
            ),
            Self::Unreadable => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "The store cannot be read now".to_owned(),
                "Another program may hold it. Load the page again in a moment.",
            ),
        };
        (status, html(frame::notice(&title, text))).into_response()
    }
}

fn html(page: Markup) -> Html<String> {
    Html(page.into_string())
}

impl From<StoreError> for Miss {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "the store failed");
        Self::Unreadable
    }
}

fn id(text: &str, what: &'static str) -> Shown<Uuid> {
    text.parse().map_err(|_| Miss::Absent(what))
}
