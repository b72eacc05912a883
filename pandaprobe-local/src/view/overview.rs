//! What all traces add up to.

use std::collections::HashMap;

use axum::{extract::State, response::Html};
use maud::{Markup, html};

use super::{
    Shown,
    address::{Address, to},
    blocking,
    filter::{ranges, span_of_time},
    frame::{self, Place},
    html as answer,
    plot::{self, Row, Time},
    text, user,
};
use crate::{
    ModelUse, NameUse, Store, StoreError, TraceFilter, UserRow,
    server::Shared,
    store::{Step, viewing::ModelStep},
    time::Micros,
};

/// How many models have a colour of their own.
const MODELS: usize = 5;
const COLOURS: [&str; MODELS + 1] = ["s0", "s1", "s2", "s3", "s4", "s5"];

/// Traces over time.
pub(super) struct Series {
    time: Time,
    steps: Vec<Step>,
    models: Vec<ModelStep>,
}

impl Series {
    pub(super) fn read(store: &Store, mut filter: TraceFilter) -> Result<Self, StoreError> {
        let now = Micros::now().0;
        let from = filter.started_after.map(|time| time.0);
        let until = filter.started_before.map(|time| time.0).or(from.map(|_| now));
        let (from, until) = match (from, until) {
            (Some(from), Some(until)) => (from, until),
            _ => store.reach(&filter)?.unwrap_or((now, now)),
        };
        let time = Time::between(from, until.max(from));
        filter.started_after = filter.started_after.or(Some(Micros(from)));
        Ok(Self {
            time,
            steps: store.activity(&filter, time.length, 0)?,
            models: store.model_activity(&filter, time.length)?,
        })
    }

    fn row(&self, name: &str, class: &'static str, value: impl Fn(&Step) -> Option<f64>) -> Row {
        let mut values = vec![None; self.time.steps];
        for step in &self.steps {
            if let Some(slot) = self.time.place(step.number).and_then(|place| values.get_mut(place)) {
                *slot = value(step);
            }
        }
        Row { name: name.to_owned(), class, values }
    }

    /// The models with most tokens, which have a colour of their own.
    fn models(&self) -> Vec<&str> {
        let mut sums: HashMap<&str, (i64, f64)> = HashMap::new();
        for step in &self.models {
            let sum = sums.entry(&step.model).or_default();
            *sum = (sum.0.saturating_add(step.tokens), sum.1 + step.cost);
        }
        let mut sums: Vec<_> = sums.into_iter().collect();
        sums.sort_by(|(one, (a, x)), (other, (b, y))| b.cmp(a).then(y.total_cmp(x)).then(one.cmp(other)));
        sums.into_iter().take(MODELS).map(|(model, _)| model).collect()
    }

    /// A row for each of these models, and one for the others. Those without a value have none.
    fn by_model(&self, models: &[&str], value: impl Fn(&ModelStep) -> f64) -> Vec<Row> {
        let names = models.iter().copied().chain(["others"]);
        let empty = |(name, class): (&str, _)| Row {
            name: name.to_owned(),
            class,
            values: vec![None; self.time.steps],
        };
        let mut rows: Vec<Row> = names.zip(COLOURS).map(empty).collect();
        for step in self.models.iter().filter(|step| value(step) > 0.0) {
            let at = models.iter().position(|model| *model == step.model).unwrap_or(models.len());
            let slot = self.time.place(step.number).and_then(|place| rows.get_mut(at)?.values.get_mut(place));
            if let Some(slot) = slot {
                *slot = Some(slot.unwrap_or_default() + value(step));
            }
        }
        rows.retain(|row| row.values.iter().any(Option::is_some));
        rows
    }

    /// All of it.
    pub(super) fn plots(&self) -> Markup {
        let volume = [
            self.row("failed", "bad", |step| Some(float(step.errors))),
            self.row("fine", "s0", |step| Some(float(step.traces - step.errors))),
        ];
        let rate =
            [self.row("failed", "bad", |step| Some(float(step.errors) * 100.0 / float(step.traces.max(1))))];
        let latency = [
            self.row("p50", "s0", |step| Some(step.latency?.half)),
            self.row("p90", "s1", |step| Some(step.latency?.most)),
            self.row("p99", "s3", |step| Some(step.latency?.nearly_all)),
        ];
        let tokens = [
            self.row("prompt", "s1", |step| Some(float(step.prompt_tokens))),
            self.row("completion", "s0", |step| Some(float(step.completion_tokens))),
        ];
        let models = self.models();
        html! {
            div.plots {
                (plot::bars("Traces", self.time, &volume, short))
                (plot::lines("Error rate", self.time, &rate, percent))
                (plot::lines("Latency", self.time, &latency, duration))
                (plot::bars("Tokens", self.time, &tokens, short))
                (plot::bars("Tokens by model", self.time, &self.by_model(&models, |step| float(step.tokens)), short))
                (plot::bars("Cost by model", self.time, &self.by_model(&models, |step| step.cost), dollars))
            }
        }
    }

    fn sums(&self) -> Markup {
        let sum = |value: fn(&Step) -> i64| self.steps.iter().map(value).fold(0, i64::saturating_add);
        let (traces, errors) = (sum(|step| step.traces), sum(|step| step.errors));
        let tokens = sum(|step| step.prompt_tokens.saturating_add(step.completion_tokens));
        let cost: f64 = self.steps.iter().map(|step| step.cost).sum();
        html! {
            dl.facts.big {
                (frame::fact("Traces", Some(html! { (text::count(traces)) })))
                (frame::fact("Failed", Some(html! { (text::some(errors)) " " span.faint { (text::share(errors, traces)) } })))
                (frame::fact("Tokens", Some(html! { (text::some(tokens)) })))
                (frame::fact("Cost", Some(html! { (text::cost(cost)) })))
            }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "it is drawn")]
fn float(number: i64) -> f64 {
    number as f64
}

fn short(number: f64) -> String {
    match number.abs() {
        n if n >= 1e9 => format!("{}G", trimmed(number / 1e9)),
        n if n >= 1e6 => format!("{}M", trimmed(number / 1e6)),
        n if n >= 1e4 => format!("{}k", trimmed(number / 1e3)),
        _ => trimmed(number),
    }
}

fn trimmed(number: f64) -> String {
    format!("{number:.2}").trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn percent(number: f64) -> String {
    format!("{} %", trimmed((number * 10.0).round() / 10.0))
}

fn duration(number: f64) -> String {
    match number {
        0.0 => "0".to_owned(),
        n if (1e3..6e4).contains(&n) => format!("{} s", trimmed(n / 1e3)),
        n => text::millis(n),
    }
}

fn dollars(number: f64) -> String {
    match number {
        0.0 => "0".to_owned(),
        n if n < 0.1 => format!("${}", format!("{n:.6}").trim_end_matches('0')),
        n => format!("${}", short(n)),
    }
}

pub(super) async fn page(State(shared): State<Shared>, address: Address) -> Shown<Html<String>> {
    let (after, before) = span_of_time(&address, &mut Vec::new());
    let filter = TraceFilter { started_after: after, started_before: before, ..TraceFilter::default() };
    let read = blocking(move || {
        let store = shared.store;
        Ok((
            store.busiest_users(&filter, 10)?,
            store.models(&filter, 10)?,
            store.steps(&filter, "TOOL", 10)?,
            Series::read(&store, filter)?,
        ))
    });
    let (users, models, tools, series) = read.await?;
    let body = html! {
        div.title { h1 { "Overview" } (ranges("/ui/overview", &address)) }
        (series.sums())
        (series.plots())
        div.tops { (top_models(&models)) (top_tools(&tools)) (top_users(&users)) }
    };
    Ok(answer(frame::page("Overview", Place::Overview, "page.js", &body)))
}

fn top(title: &str, columns: &[&str], rows: &Markup, is_empty: bool) -> Markup {
    html! {
        section aria-label=(title) {
            h2 { (title) }
            @if is_empty { p.nothing { "None in this time." } } @else {
                div.scroll tabindex="0" {
                    table.plain {
                        thead { tr { @for (at, column) in columns.iter().enumerate() {
                            th class=[(at > 0).then_some("number")] scope="col" { (column) }
                        } } }
                        tbody { (rows) }
                    }
                }
            }
        }
    }
}

fn top_models(models: &[ModelUse]) -> Markup {
    let rows = html! {
        @for model in models {
            tr {
                th scope="row" { a href=(to("/ui/traces", "model", &model.model)) { (text::name(&model.model, 60)) } }
                td.number { (text::count(model.call_count)) }
                td.number { (text::some(model.total_tokens)) }
                td.number { (text::cost(model.total_cost)) }
            }
        }
    };
    top("Models", &["Model", "Calls", "Tokens", "Cost"], &rows, models.is_empty())
}

fn top_tools(tools: &[NameUse]) -> Markup {
    let rows = html! {
        @for tool in tools {
            tr {
                th scope="row" { (text::name(&tool.name, 60)) }
                td.number { (text::count(tool.count)) }
                td.number { (text::some(tool.errors)) }
                td.number { (text::share(tool.errors, tool.count)) }
            }
        }
    };
    top("Tools", &["Tool", "Calls", "Failed", "Rate"], &rows, tools.is_empty())
}

fn top_users(users: &[UserRow]) -> Markup {
    let rows = html! {
        @for user in users {
            tr {
                th scope="row" { (user::link(&user.project, Some(&user.user_id), 60)) }
                td.number { (text::count(user.trace_count)) }
                td.number { (text::some(user.total_tokens)) }
                td.number { (text::cost(user.total_cost)) }
            }
        }
    };
    top("Users", &["User", "Traces", "Tokens", "Cost"], &rows, users.is_empty())
}
