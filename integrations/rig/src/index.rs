//! Indexes whose retrievals are recorded.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use pandaprobe_core::{ErrorText, Outcome, Run as Step, Scope, Scoped, Span, SpanKind, is_enabled, watched};
use rig_core::{
    vector_store::{
        VectorSearchIdResult, VectorSearchRequest, VectorSearchResult, VectorStoreError, VectorStoreIndex,
    },
    wasm_compat::WasmCompatSend,
};
use serde::{Deserialize, Deserializer, de::DeserializeOwned, de::Error as _};
use serde_json::{Value, json};

use crate::{RigHandler, run::Run};

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
    /// The run may look that up.
    pub(crate) fn announce(&self, query: String, run: &Arc<Run>) -> Option<Announced> {
        if !self.is_watched.load(Ordering::Acquire) {
            return None;
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        lock(&self.waiting).push(Waiting { number, query, run: Arc::downgrade(run) });
        Some(Announced { number, waiting: Arc::clone(&self.waiting) })
    }

    /// The only run that may be asking this. If two could be, none is: their users may be two.
    fn asking(&self, query: &str) -> Option<Arc<Run>> {
        let waiting = lock(&self.waiting);
        let mut asking = waiting.iter().filter(|waiting| waiting.query == query);
        match (asking.next(), asking.next()) {
            (Some(only), None) => only.run.upgrade(),
            _ => None,
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
        let finish = |outcome: Outcome<'_, Result<T, VectorStoreError>>| match outcome {
            Outcome::Returned(Ok(found)) => {
                span.set_output(told(found));
                span.end();
            }
            Outcome::Returned(Err(error)) => span.fail(error.error_text()),
            Outcome::Panicked(message) => span.panicked(message),
            _ => span.cancel(),
        };
        watched(search, finish).await
    }

    fn begin<F: Future>(&self, input: Value, query: &str, search: F) -> (Span, Scoped<F>) {
        let step = Step::new("retrieve", SpanKind::Retriever).input(input);
        // Runs poll each other's retrievals. What is current then is another's, perhaps.
        if !self.handler.shared.strays.is_polled_here() {
            let span = self.handler.handler.start(step);
            let search = span.scope(search);
            return (span, search);
        }
        match self.handler.shared.retrievals.asking(query) {
            Some(run) => {
                let span = run.step(step);
                let search = run.place().run(|| span.scope(search));
                (span, search)
            }
            None => Scope::nowhere().run(|| {
                let span = self.handler.handler.start(step);
                let search = span.scope(search);
                (span, search)
            }),
        }
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
