//! What compiles, and what it records when it runs: a file a case. What must not compile is in `ui`.

#![expect(
    unreachable_pub,
    clippy::multiple_bound_locations,
    clippy::unwrap_used,
    reason = "functions as users write them"
)]

mod support;

mod async_early_return;
mod attributes_and_visibility;
mod bare_span;
mod bare_trace;
mod both;
mod client_of_ones_own;
mod early_return;
mod empty_parentheses;
mod endless;
mod every_kind;
mod forbidden_lints;
mod generics;
mod ids_of_fields;
mod impl_trait_arguments;
mod impl_trait_returned;
mod kind_by_value;
mod methods;
mod mutable_arguments;
mod name_of_arguments;
mod named;
mod no_implicit_prelude;
mod no_output;
mod optional_ids;
mod question_mark;
mod recursion;
mod renamed;
mod skipped;
mod spawned;
mod tags_and_metadata;
mod trailing_comma;
mod unbounded_generic;
