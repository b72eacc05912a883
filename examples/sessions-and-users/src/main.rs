//! Every way to say whose activity something is, and to which session it belongs.
//!
//! What is said explicitly (on a handler or a trace) beats the innermost scope; a scope beats the default
//! that `set_user` and `set_session` set for the whole process. The two ids are looked up one by one.
#![expect(clippy::print_stdout, reason = "this program shows which form leads to which user and session")]

use std::{error::Error, future::Future, time::Duration};

use async_openai::{
    Client,
    config::OpenAIConfig,
    types::chat::{ChatCompletionRequestUserMessage, CreateChatCompletionRequestArgs},
};
use futures_util::future::join_all;
use pandaprobe::{Config, ConsoleExporter, InCurrentScope, OpenAiHandler, Scope};

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Outcome {
    let _guard = pandaprobe::init(Config::from_env_or((
        ConsoleExporter::default(),
        pandaprobe::local::exporter(".pandaprobe/traces.db"),
    ))?)?;
    stand_in_model::viewer_hint();
    let endpoint = stand_in_model::endpoint();
    let config = OpenAIConfig::new().with_api_base(&endpoint.base_url).with_api_key(&endpoint.api_key);
    let plain = Client::with_config(config);
    let model = Model { client: OpenAiHandler::new().wrap(plain.clone()), name: endpoint.model };

    show("set_user and set_session in main: the default of this process", defaults(&model)).await?;
    show("on a handler: a clone for each conversation", handlers(&model, plain)).await?;
    show("a scope; an inner one changes the user and keeps the session", scopes(&model)).await?;
    show("set_user inside a scope: the user is known only after the log-in", late_login(&model)).await?;
    show("on a trace, whatever the scopes say", explicit_trace(&model)).await?;
    show("handed over to spawned tasks", spawned(&model)).await?;
    show("many users at once in one task: a scope for each", joined(&model)).await?;
    show("synchronous code and threads", threads()).await
}

/// The process default. Only `main` may set it: in a task it could land on others, so it is refused there.
async fn defaults(model: &Model) -> Outcome {
    pandaprobe::set_user("worker-7");
    pandaprobe::set_session("night-run");
    model.ask("What is the plan?").await
}

/// A value on a handler is explicit. Clones share everything else, so making one for a request is cheap.
async fn handlers(model: &Model, plain: Client<OpenAIConfig>) -> Outcome {
    let handler = OpenAiHandler::new().tags(["demo"]);
    for (user, session) in [("ada", "conversation-1"), ("grace", "conversation-2")] {
        let client = handler.clone().user_id(user).session_id(session).wrap(plain.clone());
        Model { client, ..model.clone() }.ask("Hello!").await?;
    }
    Ok(())
}

/// Scopes nest and combine.
async fn scopes(model: &Model) -> Outcome {
    let meeting = async {
        model.ask("Who is here?").await?;
        pandaprobe::user("grace").tag("guest").scope(model.ask("May I join?")).await
    };
    pandaprobe::session("meeting").user("ada").scope(meeting).await
}

/// Inside a scope, `set_*` changes that scope, across awaits, until it ends. Nothing outside of it changes.
async fn late_login(model: &Model) -> Outcome {
    let request = async {
        tokio::task::yield_now().await; // looks up the token of the request
        pandaprobe::set_user("ada");
        model.ask("What is on my list?").await
    };
    pandaprobe::session("checkout").scope(request).await
}

/// A trace says it for everything inside of it.
async fn explicit_trace(model: &Model) -> Outcome {
    let report = pandaprobe::trace("nightly-report")
        .user_id("grace")
        .session_id("report-2025")
        .try_scope(|_trace| model.ask("Sum up the day."));
    pandaprobe::user("ada").scope(report).await
}

/// A spawned task knows nothing of the one that spawned it, unless it is told. What is carried is a copy.
async fn spawned(model: &Model) -> Outcome {
    let fan_out = pandaprobe::trace("fan-out").try_scope(|_trace| async {
        let (one, two) = (model.clone(), model.clone());
        let one = pandaprobe::spawn(async move { one.ask("First half?").await });
        // The same with tokio's own spawn, or with a JoinSet.
        let two = tokio::spawn(async move { two.ask("Second half?").await }.in_current_scope());
        one.await??;
        two.await?
    });
    pandaprobe::session("batch").user("ada").scope(fan_out).await
}

/// Futures that are polled in one task share its scope. With scopes of their own they never mix.
async fn joined(model: &Model) -> Outcome {
    let users = ["ada", "grace", "alan"];
    let requests = users.map(|user| {
        let session = format!("{user}-1");
        pandaprobe::user(user).session(session).scope(model.ask("Anything new?"))
    });
    join_all(requests).await.into_iter().collect()
}

/// `run` is the form for closures. [`Scope::current`] is what a thread or an actor needs to be told.
async fn threads() -> Outcome {
    let scope = pandaprobe::session("import").user("ada").run(|| {
        pandaprobe::trace("parse").run(|_trace| { /* synchronous work */ });
        Scope::current()
    });
    let thread = std::thread::spawn(move || {
        scope.run(|| pandaprobe::trace("index").run(|_trace| { /* more of it, in the same session */ }));
    });
    thread.join().map_err(|_| "the thread panicked")?;

    // For the rest of a block without awaits there is a guard.
    let _inside = pandaprobe::user("alan").session("clean-up").enter();
    pandaprobe::trace("sweep").run(|_trace| ());
    Ok(())
}

#[derive(Clone)]
struct Model {
    client: Client<OpenAIConfig>,
    name: String,
}

impl Model {
    async fn ask(&self, question: &str) -> Outcome {
        let request = CreateChatCompletionRequestArgs::default()
            .model(&self.name)
            .messages([ChatCompletionRequestUserMessage::from(question).into()])
            .max_completion_tokens(64_u32)
            .build()?;
        self.client.chat().create(request).await?;
        Ok(())
    }
}

/// Prints what is shown, and the traces of it once they are delivered.
async fn show(what: &str, story: impl Future<Output = Outcome>) -> Outcome {
    println!("\n# {what}");
    story.await?;
    let _ = pandaprobe::flush_async(Duration::from_secs(2)).await;
    Ok(())
}
