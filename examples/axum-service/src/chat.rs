//! `POST /chat`: one message in, one answer out, whole or streamed.

use async_openai::{
    Client,
    config::OpenAIConfig,
    error::OpenAIError,
    types::chat::{
        ChatCompletionRequestUserMessage, ChatCompletionResponseStream, ChatCompletionStreamOptions,
        CreateChatCompletionRequest, CreateChatCompletionRequestArgs,
    },
};
use axum::{
    Json,
    body::Body,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use futures_util::{Stream, TryStreamExt, stream};
use pandaprobe::{Messages, Trace};
use serde::Deserialize;

#[derive(Clone)]
pub(crate) struct Model {
    pub(crate) client: Client<OpenAIConfig>,
    pub(crate) name: String,
}

#[derive(Deserialize)]
pub(crate) struct Question {
    message: String,
    #[serde(default)]
    stream: bool,
}

pub(crate) async fn chat(State(model): State<Model>, Json(question): Json<Question>) -> Response {
    let answer =
        if question.stream { streamed(&model, question).await } else { whole(&model, question).await };
    answer.unwrap_or_else(|error| (StatusCode::BAD_GATEWAY, error.to_string()).into_response())
}

/// The answer ends with this function, so the trace is a block.
async fn whole(model: &Model, question: Question) -> Result<Response, OpenAIError> {
    pandaprobe::trace("chat")
        .input(Messages::new().user(question.message.as_str()))
        .try_scope(|trace| async move {
            let answer = model.client.chat().create(model.request(&question)?).await?;
            let choice = answer.choices.into_iter().next();
            let text = choice.and_then(|choice| choice.message.content).unwrap_or_default();
            trace.set_output(Messages::new().assistant(text.as_str()));
            Ok(text.into_response())
        })
        .await
}

/// The answer outlives this function, so the trace is a handle that goes with it.
async fn streamed(model: &Model, question: Question) -> Result<Response, OpenAIError> {
    let request = model.request(&question)?;
    let trace = pandaprobe::trace("chat").input(Messages::new().user(question.message)).start();
    match trace.scope(model.client.chat().create_stream(request)).await {
        Ok(chunks) => Ok(Body::from_stream(texts(chunks, trace)).into_response()),
        Err(error) => {
            trace.fail(&error);
            Err(error)
        }
    }
}

/// The texts of an answer. The trace ends with them: well, with the error that broke the answer off, or, if the
/// caller hangs up, when axum drops the body. The span of the call then keeps what was read.
fn texts(
    chunks: ChatCompletionResponseStream,
    trace: Trace,
) -> impl Stream<Item = Result<String, OpenAIError>> {
    stream::try_unfold((chunks, String::new(), trace), async |(mut chunks, mut answer, trace)| {
        match chunks.try_next().await {
            Ok(Some(chunk)) => {
                let choice = chunk.choices.into_iter().next();
                let text = choice.and_then(|choice| choice.delta.content).unwrap_or_default();
                answer += &text;
                Ok(Some((text, (chunks, answer, trace))))
            }
            Ok(None) => {
                trace.set_output(Messages::new().assistant(answer));
                Ok(None)
            }
            Err(error) => {
                trace.fail(&error);
                Err(error)
            }
        }
    })
}

impl Model {
    fn request(&self, question: &Question) -> Result<CreateChatCompletionRequest, OpenAIError> {
        let mut request = CreateChatCompletionRequestArgs::default();
        request
            .model(&self.name)
            .messages([ChatCompletionRequestUserMessage::from(question.message.as_str()).into()])
            .max_completion_tokens(128_u32);
        if question.stream {
            // Without this a streamed answer does not say how many tokens it took.
            let options =
                ChatCompletionStreamOptions { include_usage: Some(true), include_obfuscation: None };
            request.stream_options(options);
        }
        request.build()
    }
}
