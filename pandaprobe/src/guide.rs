//! Whose activity it is, in every way a Rust program runs code.
//!
//! A scope belongs to a future, stream or closure, not to a thread: it is current whenever that is polled, run or dropped,
//! and nowhere else. What runs elsewhere is handed the scope, as a copy.
//!
//! # Tasks: `tokio::spawn`
//!
//! A spawned task starts without a scope. [`spawn`](crate::spawn) hands over the one that is current, with trace and span;
//! [`in_current_scope`](crate::InCurrentScope::in_current_scope) does it for any other executor. A scope that is written
//! around the future goes along as it is.
//!
//! ```
//! # use pandaprobe::{InCurrentScope, testing::capture};
//! # async fn work() { pandaprobe::trace("work").run(|_| ()); }
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! # let captured = capture(|| async {
//! pandaprobe::user("ada").scope(async {
//!     let one = pandaprobe::spawn(work());
//!     let two = tokio::spawn(work().in_current_scope());
//! #   let three = pandaprobe::spawn(pandaprobe::user("ada").scope(work()));
//!     let _ = (one.await, two.await);
//! #   let _ = three.await;
//! })
//! .await;
//! # }).await;
//! # captured.assert_user(Some("ada"));
//! # assert_eq!(captured.traces.len(), 3);
//! # }
//! ```
//!
//! # Branches of one task: `join!`, `select!`
//!
//! Branches share the scope around them, also what `set_user` changes in it. Those that work for different users get a scope
//! each. What `select!` drops is cancelled in its own scope.
//!
//! ```
//! # use pandaprobe::testing::capture;
//! # use std::time::Duration;
//! # async fn answer() { pandaprobe::trace("answer").scope(|_| tokio::time::sleep(Duration::from_millis(5))).await; }
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! # let captured = capture(|| async {
//! tokio::join!(pandaprobe::user("ada").scope(answer()), pandaprobe::user("grace").scope(answer()));
//! tokio::select! {
//!     () = pandaprobe::user("ada").scope(answer()) => {}
//!     () = tokio::time::sleep(Duration::from_millis(1)) => {}
//! }
//! # }).await;
//! # assert_eq!(captured.traces.iter().filter(|trace| trace.user_id.as_deref() == Some("ada")).count(), 2);
//! # assert_eq!(captured.traces[2].metadata["pandaprobe.end"], "cancelled");
//! # }
//! ```
//!
//! # Blocking code and threads: `spawn_blocking`, `std::thread`, pools
//!
//! [`spawn_blocking`](crate::spawn_blocking) hands the scope over. For threads of your own, and pools such as rayon's, take
//! [`Scope::current`](crate::Scope::current) along and run inside of it.
//!
//! ```
//! # use pandaprobe::{Scope, testing::capture};
//! # fn resize() { pandaprobe::trace("resize").run(|_| ()); }
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! # let captured = capture(|| async {
//! pandaprobe::user("ada").scope(async {
//!     let _ = pandaprobe::spawn_blocking(resize).await;
//!     let here = Scope::current();
//!     let _ = std::thread::spawn(move || here.run(resize)).join();
//! })
//! .await;
//! # }).await;
//! # captured.assert_user(Some("ada"));
//! # assert_eq!(captured.traces.len(), 2);
//! # }
//! ```
//!
//! # Streams
//!
//! A stream has the scope current in each poll, and when it is dropped; who reads it does not.
//!
//! ```
//! # use futures_util::{StreamExt, stream};
//! # use pandaprobe::testing::capture;
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! # let captured = capture(|| async {
//! let pages = stream::iter(1..3).map(|page| pandaprobe::trace("page").run(|_| page));
//! let mut pages = pandaprobe::user("ada").scope_stream(pages);
//! while let Some(_page) = pages.next().await {
//!     pandaprobe::trace("reader").run(|_| ());
//! }
//! # }).await;
//! # let of = |name: &str| captured.traces.iter().find(|trace| trace.name == name).and_then(|trace| trace.user_id.clone());
//! # assert_eq!((of("page").as_deref(), of("reader")), (Some("ada"), None));
//! # }
//! ```
//!
//! # Channels and actors
//!
//! An actor works for whoever sent the message: the message carries the scope.
//!
//! ```
//! # use pandaprobe::{Scope, testing::capture};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! # let captured = capture(|| async {
//! let (send, mut receive) = tokio::sync::mpsc::channel::<(Scope, String)>(8);
//! // The actor itself has no user.
//! let actor = async move {
//!     while let Some((whose, question)) = receive.recv().await {
//!         whose.scope(async { pandaprobe::trace("answer").input(question).run(|_| ()) }).await;
//!     }
//! };
//! # let actor = pandaprobe::spawn(actor);
//! for user in ["ada", "grace"] {
//!     let ask = async { send.send((Scope::current(), format!("{user} asks"))).await };
//!     let _ = pandaprobe::user(user).scope(ask).await;
//! }
//! # drop(send);
//! # let _ = actor.await;
//! # }).await;
//! # let users: Vec<_> = captured.traces.iter().map(|trace| trace.user_id.as_deref()).collect();
//! # assert_eq!(users, [Some("ada"), Some("grace")]);
//! # }
//! ```
//!
//! # Web handlers
//!
//! A layer opens a scope for each request (feature `tower`); `set_user` further in, in a middleware for example, changes that
//! request and no other. Streamed bodies stay in it.
//!
//! ```
//! # #[cfg(feature = "tower")]
//! # {
//! use pandaprobe::PandaProbeLayer;
//!
//! let layer = PandaProbeLayer::new().user_header("x-user-id").trace(true);
//! // axum::Router::new().route(…).layer(layer)
//! # drop(layer);
//! # }
//! ```
//!
//! # Late and wrong values
//!
//! `set_user` inside of a scope changes that scope until it ends. Outside of any scope it sets the default of the process, in
//! `main` alone; in a task or on another thread it changes nothing, is counted, and `on_error` hears of it. An id that is
//! empty or too long leaves its slot empty, whatever scopes further out say.
