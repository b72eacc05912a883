//! Plots over time, as SVG.

use maud::{Markup, html};

use super::text;
use crate::time::Micros;

const WIDTH: f64 = 480.0;
const HEIGHT: f64 = 165.0;
const LEFT: f64 = 52.0;
const RIGHT: f64 = 6.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 22.0;

/// How numbers of a plot are written.
pub(super) type Unit = fn(f64) -> String;

/// Steps of time of one length.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Time {
    /// The number of the first, counted from the beginning of 1970.
    pub(super) first: i64,
    pub(super) steps: usize,
    /// Their length in microseconds.
    pub(super) length: i64,
}

impl Time {
    const MINUTE: i64 = 60_000_000;
    const LENGTHS: [i64; 11] = [1, 2, 5, 15, 30, 60, 180, 360, 1_440, 10_080, 43_200];

    /// About 60 steps from one time to another.
    pub(super) fn between(from: i64, until: i64) -> Self {
        let whole = until.saturating_sub(from).max(1);
        let fits = |length: &i64| whole / length < 72;
        let lengths = Self::LENGTHS.map(|minutes| minutes * Self::MINUTE);
        let length = lengths.into_iter().find(fits).unwrap_or(whole / 60 + 1);
        let first = from / length;
        let steps = usize::try_from(until / length - first + 1).unwrap_or(1).clamp(1, 100);
        Self { first, steps, length }
    }

    /// The place of a step, if it is one of these.
    pub(super) fn place(&self, number: i64) -> Option<usize> {
        usize::try_from(number - self.first).ok().filter(|place| *place < self.steps)
    }

    fn at(&self, place: usize) -> Micros {
        let place = i64::try_from(place).unwrap_or_default();
        Micros(self.first.saturating_add(place).saturating_mul(self.length))
    }

    /// When a step begins, as short as its length allows.
    pub(super) fn label(&self, place: usize) -> String {
        let full = self.at(place).to_string();
        let is_within_day = self.steps_of(24 * 60) > 1.0 && self.length < 1_440 * Self::MINUTE;
        let part = if is_within_day { full.get(5..16) } else { full.get(..10) };
        part.unwrap_or(&full).replace('T', " ")
    }

    #[expect(clippy::cast_precision_loss, reason = "it is a ratio of lengths of time")]
    fn steps_of(&self, minutes: i64) -> f64 {
        (minutes * Self::MINUTE) as f64 / self.length as f64
    }
}

/// One row of values, one for each step.
pub(super) struct Row {
    pub(super) name: String,
    /// Its class, which is its colour.
    pub(super) class: &'static str,
    pub(super) values: Vec<Option<f64>>,
}

/// Rows on top of each other.
pub(super) fn bars(title: &str, time: Time, rows: &[Row], unit: Unit) -> Markup {
    let totals: Vec<f64> =
        (0..time.steps).map(|at| rows.iter().filter_map(|row| value(row, at)).sum()).collect();
    let scale = Scale::of(totals.iter().copied().fold(0.0, f64::max));
    let (slot, gap) = (width(time), if time.steps > 40 { 1.0 } else { 2.0 });
    let marks = html! {
        @for at in 0..time.steps {
            g {
                title { (tip(time, rows, at, unit)) }
                rect.hit x=(round(x(time, at))) y=(TOP) width=(round(slot)) height=(HEIGHT - TOP - BOTTOM) {}
                @for (row, (from, to)) in rows.iter().zip(stacked(rows, at)) {
                    @if to > from {
                        rect class=(row.class) x=(round(x(time, at) + gap / 2.0)) y=(round(scale.y(to)))
                            width=(round((slot - gap).max(0.5))) height=(round((scale.y(from) - scale.y(to)).max(0.75))) {}
                    }
                }
            }
        }
    };
    figure(title, time, rows, unit, &scale, &marks)
}

/// Rows as lines.
pub(super) fn lines(title: &str, time: Time, rows: &[Row], unit: Unit) -> Markup {
    let highest = rows.iter().flat_map(|row| &row.values).flatten().copied().fold(0.0, f64::max);
    let scale = Scale::of(highest);
    let middle = width(time) / 2.0;
    let marks = html! {
        @for row in rows {
            @for run in runs(row) {
                @let points: Vec<String> = run.iter()
                    .map(|(at, value)| format!("{},{}", round(x(time, *at) + middle), round(scale.y(*value)))).collect();
                polyline class=(row.class) points=(points.join(" ")) {}
                @if run.len() == 1 || time.steps < 32 {
                    @for (at, value) in &run {
                        circle class=(row.class) cx=(round(x(time, *at) + middle)) cy=(round(scale.y(*value))) r="2.2" {}
                    }
                }
            }
        }
        @for at in 0..time.steps {
            g {
                title { (tip(time, rows, at, unit)) }
                rect.hit x=(round(x(time, at))) y=(TOP) width=(round(width(time))) height=(HEIGHT - TOP - BOTTOM) {}
            }
        }
    };
    figure(title, time, rows, unit, &scale, &marks)
}

fn figure(title: &str, time: Time, rows: &[Row], unit: Unit, scale: &Scale, marks: &Markup) -> Markup {
    html! {
        figure.plot {
            figcaption {
                h3 { (title) }
                @for row in rows { span.legend { i class=(row.class) {} (text::name(&row.name, 40)) } }
            }
            svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(format!("{title} over time; the numbers follow as a table")) {
                @for tick in scale.ticks() {
                    line.grid x1=(LEFT) x2=(WIDTH - RIGHT) y1=(round(scale.y(tick))) y2=(round(scale.y(tick))) {}
                    text.y x=(LEFT - 6.0) y=(round(scale.y(tick) + 3.5)) text-anchor="end" { (unit(tick)) }
                }
                text.x x=(LEFT - 6.0) y=(HEIGHT - 6.0) text-anchor="end" { "UTC" }
                @for (at, anchor) in labels(time) {
                    text.x x=(round(x(time, at) + if anchor == "end" { width(time) } else { 0.0 })) y=(HEIGHT - 6.0) text-anchor=(anchor) { (time.label(at)) }
                }
                (marks)
            }
            (numbers(time, rows, unit))
        }
    }
}

fn labels(time: Time) -> Vec<(usize, &'static str)> {
    match time.steps {
        1 => vec![(0, "start")],
        2..=7 => vec![(0, "start"), (time.steps - 1, "end")],
        steps => vec![(0, "start"), (steps / 3, "start"), (steps * 2 / 3, "start"), (steps - 1, "end")],
    }
}

/// The same for those who cannot see it.
fn numbers(time: Time, rows: &[Row], unit: Unit) -> Markup {
    html! {
        details {
            summary { "As a table" }
            div.scroll tabindex="0" {
                table.plain {
                    thead { tr { th scope="col" { "From (UTC)" } @for row in rows { th.number scope="col" { (text::name(&row.name, 40)) } } } }
                    tbody {
                        @for at in (0..time.steps).filter(|at| rows.iter().any(|row| value(row, *at).is_some_and(|value| value != 0.0))) {
                            tr {
                                th scope="row" { (time.label(at)) }
                                @for row in rows { td.number { (value(row, at).map_or_else(|| text::NONE.to_owned(), unit)) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn tip(time: Time, rows: &[Row], at: usize, unit: Unit) -> String {
    let values = rows
        .iter()
        .filter_map(|row| Some(format!("{}: {}", text::cut(&row.name, 40), unit(value(row, at)?))));
    std::iter::once(format!("{} UTC", time.label(at))).chain(values).collect::<Vec<_>>().join("\n")
}

fn value(row: &Row, at: usize) -> Option<f64> {
    row.values.get(at).copied().flatten().filter(|value| value.is_finite())
}

/// From where to where each row goes in a stack.
fn stacked(rows: &[Row], at: usize) -> Vec<(f64, f64)> {
    let mut below = 0.0;
    let parts = rows.iter().map(|row| {
        let from = below;
        below += value(row, at).unwrap_or_default().max(0.0);
        (from, below)
    });
    parts.collect()
}

/// Neighbours that have a value.
fn runs(row: &Row) -> Vec<Vec<(usize, f64)>> {
    let mut runs: Vec<Vec<(usize, f64)>> = Vec::new();
    for at in 0..row.values.len() {
        let Some(value) = value(row, at) else {
            continue;
        };
        match runs.last_mut().filter(|run| run.last().is_some_and(|(last, _)| last + 1 == at)) {
            Some(run) => run.push((at, value)),
            None => runs.push(vec![(at, value)]),
        }
    }
    runs
}

#[expect(clippy::cast_precision_loss, reason = "there are few steps")]
fn x(time: Time, at: usize) -> f64 {
    LEFT + at as f64 * width(time)
}

#[expect(clippy::cast_precision_loss, reason = "there are few steps")]
fn width(time: Time) -> f64 {
    (WIDTH - LEFT - RIGHT) / time.steps as f64
}

fn round(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}

/// From zero to a round number.
struct Scale {
    step: f64,
    top: f64,
}

impl Scale {
    fn of(highest: f64) -> Self {
        if !(highest.is_finite() && highest > 0.0) {
            return Self { step: 1.0, top: 1.0 };
        }
        let rough = highest / 3.0;
        let power = 10f64.powf(rough.log10().floor());
        let step =
            [1.0, 2.0, 2.5, 5.0, 10.0].map(|times| times * power).into_iter().find(|step| *step >= rough);
        let step = step.unwrap_or(10.0 * power);
        Self { step, top: (highest / step).ceil().max(1.0) * step }
    }

    fn ticks(&self) -> Vec<f64> {
        (0..=4).map(|number| f64::from(number) * self.step).filter(|tick| *tick <= self.top * 1.001).collect()
    }

    fn y(&self, value: f64) -> f64 {
        TOP + (HEIGHT - TOP - BOTTOM) * (1.0 - (value / self.top).clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::{Row, Scale, Time, bars, lines};

    #[test]
    fn time_has_few_steps() {
        for (from, until) in
            [(0, 0), (0, 3_600_000_000), (-5, 5), (i64::MIN, i64::MAX), (0, 86_400_000_000 * 400)]
        {
            let time = Time::between(from, until);
            assert!((1..=100).contains(&time.steps), "{from} {until} {time:?}");
        }
        let hour = Time::between(0, 3_600_000_000);
        assert_eq!((hour.steps, hour.length), (61, 60_000_000));
        assert_eq!(hour.place(60), Some(60));
        assert_eq!(hour.label(5), "01-01 00:05");
    }

    #[test]
    fn scales_are_round() {
        assert_eq!(Scale::of(7.0).ticks(), [0.0, 2.5, 5.0, 7.5]);
        assert_eq!(Scale::of(0.0).ticks(), [0.0, 1.0]);
        assert_eq!(Scale::of(f64::NAN).ticks(), [0.0, 1.0]);
    }

    #[test]
    fn names_are_escaped() {
        let time = Time::between(0, 3_600_000_000);
        let row =
            Row { name: "<script>".to_owned(), class: "s0", values: vec![Some(1.0), None, Some(f64::NAN)] };
        let rows = [row];
        for page in [bars("T", time, &rows, |n| n.to_string()), lines("T", time, &rows, |n| n.to_string())] {
            assert!(!page.into_string().contains("<script>"));
        }
    }
}
