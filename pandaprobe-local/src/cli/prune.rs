//! What is kept.

use std::{
    io::{self, Write},
    time::Duration,
};

use clap::Args;
use serde_json::json;

use super::{Done, wait};
use crate::{Retention, Store};

/// What goes.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Old {
    /// Removes traces that began longer ago: 30d, 12h, 45m.
    #[arg(long, value_parser = age, value_name = "AGE")]
    older_than: Option<Duration>,
    /// Removes the oldest traces until what is stored takes no more: 500MB, 2GB.
    #[arg(long, value_parser = size, value_name = "SIZE")]
    max_size: Option<u64>,
}

impl Old {
    pub(super) fn retention(self) -> Retention {
        Retention { max_age: self.older_than, max_bytes: self.max_size }
    }
}

#[derive(Debug, Args)]
pub(super) struct Prune {
    #[command(flatten)]
    old: Old,
    /// The result as JSON.
    #[arg(long)]
    json: bool,
}

impl Prune {
    pub(super) fn run(self, store: &Store) -> Done {
        let before = store.bytes()?;
        let pruned = wait(store.prune(self.old.retention()))?;
        let after = store.bytes()?;
        let mut out = io::stdout().lock();
        if self.json {
            writeln!(out, "{}", json!({"traces": pruned.traces, "bytes_before": before, "bytes": after}))?;
        } else {
            writeln!(
                out,
                "{} traces were removed; the store takes {after} bytes, and took {before}",
                pruned.traces
            )?;
        }
        Ok(())
    }
}

/// A number and a unit, each of which stands for so much.
fn with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let at = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(at);
    let (_, factor) = units.iter().find(|(name, _)| unit.trim().eq_ignore_ascii_case(name))?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

fn age(text: &str) -> Result<Duration, &'static str> {
    let units = [("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400), ("w", 604_800)];
    with_unit(text, &units).map(Duration::from_secs).ok_or("a number and s, m, h, d or w, as 30d")
}

fn size(text: &str) -> Result<u64, &'static str> {
    let units =
        [("B", 1), ("KB", 1_000), ("MB", 1_000_000), ("GB", 1_000_000_000), ("TB", 1_000_000_000_000)];
    with_unit(text, &units).ok_or("a number and B, KB, MB, GB or TB, as 500MB")
}

#[cfg(test)]
mod tests {
    use super::{age, size};

    #[test]
    fn numbers_with_units() {
        assert_eq!(age("30d").unwrap().as_secs(), 2_592_000);
        assert_eq!(age("12h").unwrap().as_secs(), 43_200);
        assert_eq!(size("500MB"), Ok(500_000_000));
        assert_eq!(size("2 gb"), Ok(2_000_000_000));
        for wrong in ["", "30", "d", "-1d", "1y", "99999999999999999999d", "18446744073709551615w"] {
            assert!(age(wrong).is_err(), "{wrong}");
        }
    }
}
