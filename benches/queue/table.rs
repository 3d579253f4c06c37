//! The rates of all variants, round by round, and how they compare.

use std::time::Duration;

/// Items per second.
#[derive(Clone, Copy)]
pub(crate) struct Rates {
    pub(crate) push: f64,
    pub(crate) consume: f64,
}

impl Rates {
    pub(crate) fn of(items: usize, push: Duration, consume: Duration) -> Self {
        let rate = |time: Duration| items as f64 / time.as_secs_f64();
        Self {
            push: rate(push),
            consume: rate(consume),
        }
    }
}

/// One row for each variant, in the order in which they came first.
#[derive(Default)]
pub(crate) struct Table {
    rows: Vec<(String, Vec<Rates>)>,
}

impl Table {
    pub(crate) fn note(&mut self, name: &str, rates: Rates) {
        match self.rows.iter_mut().find(|(known, _)| known == name) {
            Some((_, rounds)) => rounds.push(rates),
            None => self.rows.push((name.to_owned(), vec![rates])),
        }
    }

    /// The medians of all rounds.
    pub(crate) fn rates(&self, name: &str) -> Option<Rates> {
        let (_, rounds) = self.rows.iter().find(|(known, _)| known == name)?;
        Some(Rates {
            push: median(rounds.iter().map(|rates| rates.push)),
            consume: median(rounds.iter().map(|rates| rates.consume)),
        })
    }

    /// Prints all rates, and each in terms of those of `base`.
    pub(crate) fn print(&self, ratio: &str, base: &str) {
        println!(
            "{:<44} {:>10} {:>8} {:>12} {:>8}",
            "items per second", "push", ratio, "pop + ack", ratio
        );
        let base = self.rates(base);
        for (name, _) in &self.rows {
            let Some(rates) = self.rates(name) else { continue };
            let ratio = |of: fn(&Rates) -> f64| {
                base.map_or_else(|| "-".to_owned(), |base| format!("{:.2}", of(&rates) / of(&base)))
            };
            println!(
                "{name:<44} {:>10.0} {:>8} {:>12.0} {:>8}",
                rates.push,
                ratio(|rates| rates.push),
                rates.consume,
                ratio(|rates| rates.consume)
            );
        }
    }
}

pub(crate) fn micros(seconds: f64) -> String {
    format!("{:.0} us", seconds * 1e6)
}

pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
