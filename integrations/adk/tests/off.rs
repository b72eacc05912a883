//! Switched off, wrapping costs nothing. Whether anything is on is the process's, so this is one test in a process of its
//! own.
#![expect(clippy::unwrap_used, reason = "a test fails where it stops")]

#[path = "adk/context.rs"]
mod context;
#[path = "adk/kit.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod kit;

use std::{
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use adk_core::{Llm, LlmRequest, LlmResponse, LlmResponseStream, Result, Tool};
use async_trait::async_trait;
use futures_util::StreamExt;
use pandaprobe_adk::AdkHandler;
use serde_json::json;

struct Silent;

#[async_trait]
impl Llm for Silent {
    fn name(&self) -> &str {
        "silent"
    }

    async fn generate_content(&self, _: LlmRequest, _: bool) -> Result<LlmResponseStream> {
        Ok(Box::pin(futures_util::stream::iter([Ok(LlmResponse::default())])))
    }
}

fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("nothing here waits"),
    }
}

/// What is allocated by a call of each.
fn allocated(model: &dyn Llm, tool: &dyn Tool) -> u64 {
    let context = context::tool_context("ada");
    let used = allocation_counter::measure(|| {
        for _ in 0..10 {
            let answer = ready(model.generate_content(LlmRequest::new("silent", Vec::new()), true)).unwrap();
            assert_eq!(ready(answer.count()), 1);
            ready(tool.execute(Arc::clone(&context), json!(null))).unwrap();
        }
    });
    used.count_total
}

#[test]
fn nothing_is_allocated_when_nothing_is_recorded() {
    let handler = AdkHandler::new().user_id("user-abc").tags(["one"]);
    let (model, tool) = (Arc::new(Silent), kit::tool("tool", |_, arguments| async { Ok(arguments) }));
    let (wrapped_model, wrapped_tool) = (handler.llm(Arc::clone(&model)), handler.tool(Arc::clone(&tool)));
    // The first call looks at the environment, which has no key.
    allocated(wrapped_model.as_ref(), wrapped_tool.as_ref());
    let plain = allocated(model.as_ref(), tool.as_ref());
    assert!(plain > 0);
    assert_eq!(allocated(wrapped_model.as_ref(), wrapped_tool.as_ref()), plain);

    // A whole run, whose ids are as long each time.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let run = |handler: Option<&AdkHandler>| {
        let agent = Arc::new(adk_agent::LlmAgentBuilder::new("a").model(model.clone()).build().unwrap());
        let agent = match handler {
            Some(handler) => handler.agent(agent),
            None => agent,
        };
        let runner = runtime.block_on(kit::plain_runner(agent, &["ada"]));
        let wrapped = handler.unwrap_or(&AdkHandler::new()).runner(runner);
        let used = allocation_counter::measure(|| {
            let run = async {
                let (user, session) = ("ada".try_into().unwrap(), "session-of-ada".try_into().unwrap());
                let words = kit::question("Hello!");
                let events = match handler {
                    Some(_) => wrapped.run(user, session, words).await,
                    None => adk_runner::Runner::run(&wrapped, user, session, words).await,
                };
                events.unwrap().count().await
            };
            assert!(runtime.block_on(run) > 0);
        });
        used.count_total
    };
    run(None);
    // The order of a map's entries is another each time, and so is how often something grows.
    let least = |handler| (0..8).map(|_| run(handler)).min();
    assert_eq!(least(Some(&handler)), least(None));
}
