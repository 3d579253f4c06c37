//! Times, as their median and 95th percentile.

use std::time::Duration;

pub(crate) struct Quantiles {
    median: Duration,
    p95: Duration,
}

impl Quantiles {
    pub(crate) fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let at = |percent: usize| times[times.len() * percent / 100];
        Self {
            median: at(50),
            p95: at(95),
        }
    }

    pub(crate) fn ratio(&self, base: &Self) -> f64 {
        self.median.as_secs_f64() / base.median.as_secs_f64()
    }

    pub(crate) fn print(&self, what: &str, base: &Self) {
        let micros = |time: Duration| format!("{} us", time.as_micros());
        let (median, p95, ratio) = (micros(self.median), micros(self.p95), self.ratio(base));
        println!("{what:<28} {median:>10} {p95:>10} {ratio:>8.2}");
    }
}
