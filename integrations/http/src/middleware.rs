//! The middleware of `reqwest-middleware`.

use http::Extensions;
use pandaprobe_core::exchange::Operation;
use pandaprobe_core::{ErrorText, Outcome, exchange, watched};
use reqwest::{Request, Response};
use reqwest_middleware::{Middleware, Next, Result};

use crate::HttpHandler;

#[async_trait::async_trait]
impl Middleware for HttpHandler {
    async fn handle(
        &self,
        mut request: Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> Result<Response> {
        let operation = self.operation(request.method(), request.url().path());
        if operation == Operation::Unknown {
            return next.run(request, extensions).await;
        }
        let body = exchange::body_of(&mut request);
        let url = request.url().clone();
        let server = url.origin().ascii_serialization();
        let Some(span) = self.start(operation, &server, url.path(), request.headers(), body) else {
            return next.run(request, extensions).await;
        };
        let watching = span.clone();
        let answer = watched(next.run(request, extensions), move |outcome| match outcome {
            Outcome::Panicked(message) => watching.panicked(message),
            Outcome::Dropped => watching.cancel(),
            _ => {}
        });
        match answer.await {
            Ok(response) => Ok(exchange::tapped(response, span)),
            Err(error) => {
                span.fail(exchange::without_query(error.error_text(), url.query()));
                Err(error)
            }
        }
    }
}
