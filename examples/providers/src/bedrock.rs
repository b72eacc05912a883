//! Amazon Bedrock with its SDK, whose HTTP client lets a layer in.

use aws_sdk_bedrockruntime::{
    Client,
    config::{
        Builder, HttpClient, Region, RuntimeComponents, SharedHttpClient, Token,
        http::{HttpRequest, HttpResponse},
    },
    types::{ContentBlock, ConversationRole, ConverseStreamOutput, Message},
};
use aws_smithy_http_client::tls;
use aws_smithy_runtime_api::client::{
    http::{HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector},
    result::ConnectorError,
};
use aws_smithy_types::body::SdkBody;
use pandaprobe::{
    HttpHandler,
    http::{HttpLayer, RequestBody},
};
use tower::{Layer, ServiceExt};

use crate::{BoxError, Server};

/// Asks a model of Bedrock, and reads its answer as it comes. Each attempt of a call is a span.
///
/// # Errors
///
/// If the request fails or is refused.
pub async fn ask(server: &Server, handler: HttpHandler, question: &str) -> Result<String, BoxError> {
    // With `aws-config`: `aws_config::from_env().http_client(traced(&handler)).load().await`.
    let config = Builder::new()
        .behavior_version_latest()
        .region(Region::new("us-east-1"))
        .token_provider(Token::new(server.key.clone(), None))
        .endpoint_url(&server.url)
        .http_client(traced(&handler))
        .build();
    let message = Message::builder()
        .role(ConversationRole::User)
        .content(ContentBlock::Text(question.to_owned()))
        .build()?;
    let call =
        Client::from_conf(config).converse_stream().model_id("amazon.nova-lite-v1:0").messages(message);
    let mut events = call.send().await?.stream;
    let mut answer = String::new();
    while let Some(event) = events.recv().await? {
        if let ConverseStreamOutput::ContentBlockDelta(delta) = event {
            let text = delta.delta.as_ref().and_then(|delta| delta.as_text().ok());
            answer += text.map_or("", String::as_str);
        }
    }
    Ok(answer)
}

/// The SDK's usual HTTP client, traced.
pub fn traced(handler: &HttpHandler) -> SharedHttpClient {
    let mode = tls::rustls_provider::CryptoMode::AwsLc;
    let inner =
        aws_smithy_http_client::Builder::new().tls_provider(tls::Provider::Rustls(mode)).build_https();
    SharedHttpClient::new(Traced { inner, layer: handler.layer() })
}

#[derive(Debug)]
struct Traced<C> {
    inner: C,
    layer: HttpLayer,
}

impl HttpClient for Traced<SharedHttpClient> {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let inner = self.inner.http_connector(settings, components);
        SharedHttpConnector::new(Traced { inner, layer: self.layer.clone() })
    }
}

impl HttpConnector for Traced<SharedHttpConnector> {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (inner, layer) = (self.inner.clone(), self.layer.clone());
        let send = tower::service_fn(move |request: http::Request<RequestBody<SdkBody>>| {
            let inner = inner.clone();
            async move {
                let request = HttpRequest::try_from(request.map(SdkBody::from_body_1_x)).map_err(other)?;
                inner.call(request).await?.try_into_http1x().map_err(other)
            }
        });
        HttpConnectorFuture::new(async move {
            let request = request.try_into_http1x().map_err(other)?;
            let response = layer.layer(send).oneshot(request).await.map_err(told)?;
            HttpResponse::try_from(response.map(SdkBody::from_body_1_x)).map_err(other)
        })
    }
}

/// What the connector says of an error decides whether the SDK tries again.
fn told(error: BoxError) -> ConnectorError {
    match error.downcast::<ConnectorError>() {
        Ok(error) => *error,
        Err(error) => ConnectorError::other(error, None),
    }
}

fn other(error: impl Into<BoxError>) -> ConnectorError {
    ConnectorError::other(error.into(), None)
}
