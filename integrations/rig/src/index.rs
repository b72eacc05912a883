//! Indexes whose retrievals are recorded.

use std::{
    fmt,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use pandaprobe_core::{
    ErrorText, Outcome, Run as Step, Scope, Scoped, Span, SpanKind, is_enabled, is_withheld, watched,
};
use rig_core::{
    vector_store::{
        VectorSearchIdResult, VectorSearchRequest, VectorSearchResult, VectorStoreError, VectorStoreIndex,
    },
    wasm_compat::WasmCompatSend,
};
use serde::{Deserialize, Deserializer, de::DeserializeOwned, de::Error as _};
use serde_json::{Value, json};

use crate::{RigHandler, lock, run::Run};

/// Runs that may be looking something up for their next call of a model, which rig does unseen.
#[derive(Debug, Default)]
pub(crate) struct Retrievals {
    /// Whether there is an index that asks.
    is_watched: AtomicBool,
    next: AtomicU64,
    waiting: Arc<Mutex<Vec<Waiting>>>,
}

#[derive(Debug)]
struct Waiting {
    number: u64,
    query: String,
    run: Weak<Run>,
    /// It may ask wherever other runs are.
    is_exposed: bool,
}

/// Who asks an index something.
enum Asking {
    /// Whoever the place says.
    Here,
    Run(Arc<Run>),
    /// It could be one of several, whose users may be others.
    Unclear,
}

/// A run is waiting as long as this lives.
#[derive(Debug)]
pub(crate) struct Announced {
    number: u64,
    waiting: Arc<Mutex<Vec<Waiting>>>,
}

impl Drop for Announced {
    fn drop(&mut self) {
        lock(&self.waiting).retain(|waiting| waiting.number != self.number);
    }
}

impl Retrievals {
    /// Whether anybody wants to know what such a run may look up.
    pub(crate) fn wants(&self, is_exposed: bool) -> bool {
        is_exposed || self.is_watched.load(Ordering::Acquire)
    }

    /// The run may look that up.
    pub(crate) fn announce(&self, query: String, run: &Arc<Run>, is_exposed: bool) -> Announced {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        lock(&self.waiting).push(Waiting { number, query, run: Arc::downgrade(run), is_exposed });
        Announced { number, waiting: Arc::clone(&self.waiting) }
    }

    /// Whether what is looked up here may be for a run that is somewhere else.
    pub(crate) fn is_any_exposed(&self) -> bool {
        lock(&self.waiting).iter().any(|waiting| waiting.is_exposed)
    }

    /// Who asks that, if tools ask nothing where they do not belong.
    fn asking(&self, query: &str) -> Asking {
        let waiting = lock(&self.waiting);
        let mut asking = waiting.iter().filter(|waiting| waiting.query == query);
        if !is_withheld() {
            // Here is what asks, unless a run that could be anywhere does.
            return if asking.any(|waiting| waiting.is_exposed) { Asking::Unclear } else { Asking::Here };
        }
        match (asking.next(), asking.next()) {
            (None, _) => Asking::Here,
            (Some(only), None) => only.run.upgrade().map_or(Asking::Unclear, Asking::Run),
            _ => Asking::Unclear,
        }
    }
}

/// An index whose retrievals are recorded; made by [`RigHandler::index`].
#[derive(Clone)]
pub struct TracedIndex<I> {
    inner: I,
    handler: RigHandler,
}

impl<I> TracedIndex<I> {
    pub(crate) fn new(inner: I, handler: RigHandler) -> Self {
        handler.shared.retrievals.is_watched.store(true, Ordering::Release);
        Self { inner, handler }
    }

    /// Records `search`, which is what `retrieve` makes of the index.
    async fn record<T, F>(
        &self,
        input: Value,
        query: &str,
        search: F,
        told: impl Fn(&T) -> Value,
    ) -> Result<T, VectorStoreError>
    where
        F: Future<Output = Result<T, VectorStoreError>>,
    {
        let (span, search) = self.begin(input, query, search);
        let finish = |outcome: Outcome<'_, Result<T, VectorStoreError>>| {
            let Some(span) = span else { return };
            match outcome {
                Outcome::Returned(Ok(found)) => {
                    span.set_output(told(found));
                    span.end();
                }
                Outcome::Returned(Err(error)) => span.fail(error.error_text()),
                Outcome::Panicked(message) => span.panicked(message),
                _ => span.cancel(),
            }
        };
        watched(search, finish).await
    }

    /// The search where it belongs, and its span, if it is not a hook that ends that.
    fn begin<F: Future>(&self, input: Value, query: &str, search: F) -> (Option<Span>, Scoped<F>) {
        let step = Step::new("retrieve", SpanKind::Retriever).input(input);
        let shared = &self.handler.shared;
        let asking = match shared.retrievals.asking(query) {
            Asking::Run(_) if shared.unplaced.load(Ordering::Acquire) > 0 => Asking::Unclear,
            asking => asking,
        };
        match asking {
            Asking::Here => self.begin_here(step, search),
            Asking::Unclear => Scope::nowhere().run(|| self.begin_here(step, search)),
            Asking::Run(run) => {
                let known = run.retrieving();
                let span = known.clone().unwrap_or_else(|| run.step(step));
                let search = run.place().run(|| span.scope(search));
                (known.is_none().then_some(span), search)
            }
        }
    }

    fn begin_here<F: Future>(&self, step: Step, search: F) -> (Option<Span>, Scoped<F>) {
        let span = self.handler.handler.start(step);
        let search = span.scope(search);
        (Some(span), search)
    }
}

impl<I: VectorStoreIndex> VectorStoreIndex for TracedIndex<I> {
    type Filter = I::Filter;

    async fn top_n<T: DeserializeOwned + WasmCompatSend>(
        &self,
        request: VectorSearchRequest<Self::Filter>,
    ) -> Result<Vec<VectorSearchResult<T>>, VectorStoreError> {
        if !is_enabled() {
            return self.inner.top_n(request).await;
        }
        let (input, query) = (asked(&request), request.query().to_owned());
        let told = |found: &Vec<VectorSearchResult<Seen<T>>>| {
            found
                .iter()
                .map(|found| document(&found.id, found.score, Some(found.document.value.clone())))
                .collect()
        };
        let found = self.record(input, &query, self.inner.top_n::<Seen<T>>(request), told).await?;
        let unseen = |VectorSearchResult { score, id, document }: VectorSearchResult<Seen<T>>| {
            VectorSearchResult { score, id, document: document.document }
        };
        Ok(found.into_iter().map(unseen).collect())
    }

    async fn top_n_ids(
        &self,
        request: VectorSearchRequest<Self::Filter>,
    ) -> Result<Vec<VectorSearchIdResult>, VectorStoreError> {
        if !is_enabled() {
            return self.inner.top_n_ids(request).await;
        }
        let (input, query) = (asked(&request), request.query().to_owned());
        let told = |found: &Vec<VectorSearchIdResult>| {
            found.iter().map(|found| document(&found.id, found.score, None)).collect()
        };
        self.record(input, &query, self.inner.top_n_ids(request), told).await
    }
}

impl<I> fmt::Debug for TracedIndex<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TracedIndex").field("handler", &self.handler).finish_non_exhaustive()
    }
}

/// What goes into a retrieval.
pub(crate) fn asked<F>(request: &VectorSearchRequest<F>) -> Value {
    let mut input = json!({"query": request.query(), "samples": request.samples()});
    if let Some(threshold) = request.threshold() {
        input["threshold"] = threshold.into();
    }
    input
}

/// One of the documents that come out of it.
pub(crate) fn document(id: &str, score: f64, document: Option<Value>) -> Value {
    match document {
        Some(document) => json!({"id": id, "score": score, "document": document}),
        None => json!({"id": id, "score": score}),
    }
}

/// A document, and what it was read from.
struct Seen<T> {
    value: Value,
    document: T,
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Seen<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let document = T::deserialize(&value).map_err(D::Error::custom)?;
        Ok(Self { value, document })
    }
}
