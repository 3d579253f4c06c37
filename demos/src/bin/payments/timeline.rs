//! The time line: the holders of the lock of the stalled worker's account, and for how long that worker could be sure of it.

use std::fmt::{self, Write as _};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use zookeeper_recipes::FencingToken;

/// Columns of a terminal, less those of a row's name.
const COLUMNS: usize = 48;
/// What is shown before the stalled worker's grant and after its end.
const MARGIN: Duration = Duration::from_millis(300);
const GRANTS: usize = 4;

/// One grant of the lock.
#[derive(Clone, Debug)]
struct Grant {
    worker: String,
    token: FencingToken,
    from: Duration,
    /// When the lease of the worker that stands still is over.
    sure_until: Option<Duration>,
    to: Option<Duration>,
    is_refused: bool,
}

/// The grants of one account's lock.
#[derive(Debug)]
pub(crate) struct Timeline {
    account: String,
    start: Instant,
    grants: Mutex<Vec<Grant>>,
}

/// What of the grants is drawn.
struct Window {
    from: Duration,
    to: Duration,
    grants: Vec<Grant>,
}

impl Timeline {
    pub(crate) fn new(account: &str, start: Instant) -> Self {
        Self {
            account: account.to_owned(),
            start,
            grants: Mutex::default(),
        }
    }

    pub(crate) fn granted(&self, account: &str, worker: &str, token: FencingToken) {
        if account == self.account {
            self.grants().push(Grant {
                worker: worker.to_owned(),
                token,
                from: self.start.elapsed(),
                sure_until: None,
                to: None,
                is_refused: false,
            });
        }
    }

    /// The holder of this token stands still, and its lease has so much left.
    pub(crate) fn stalled(&self, token: FencingToken, remaining: Duration) {
        let until = self.start.elapsed() + remaining;
        self.change(token, |grant| grant.sure_until = Some(until));
    }

    pub(crate) fn ended(&self, token: FencingToken, is_refused: bool) {
        let now = self.start.elapsed();
        self.change(token, |grant| {
            grant.to = Some(now);
            grant.is_refused |= is_refused;
        });
    }

    fn change(&self, token: FencingToken, change: impl FnOnce(&mut Grant)) {
        if let Some(grant) = self.grants().iter_mut().find(|grant| grant.token == token) {
            change(grant);
        }
    }

    fn grants(&self) -> MutexGuard<'_, Vec<Grant>> {
        self.grants.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The stalled grant, and those beside it.
    fn window(&self) -> Option<Window> {
        let grants = self.grants();
        let at = grants.iter().position(|grant| grant.sure_until.is_some())?;
        let stalled = grants.get(at)?;
        // One before it, and those that come while it believes that it holds the lock, or right after.
        let shown = grants.get(at.saturating_sub(1)..)?;
        Some(Window {
            from: stalled.from.saturating_sub(MARGIN),
            to: stalled.to? + MARGIN,
            grants: shown.iter().take(GRANTS).cloned().collect(),
        })
    }

    /// Draws it as SVG.
    pub(crate) fn svg(&self) -> Option<String> {
        let window = self.window()?;
        let height = 70 + 34 * window.grants.len();
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 760 {height}\" font-family=\"sans-serif\" \
             font-size=\"13\">\n<rect width=\"760\" height=\"{height}\" fill=\"#fff\"/>\n\
             <text x=\"16\" y=\"24\" font-size=\"15\">Who held the lock of {}</text>\n",
            self.account
        );
        for (row, grant) in window.grants.iter().enumerate() {
            window.draw(&mut svg, row, grant);
        }
        let _ = writeln!(
            svg,
            "<text x=\"16\" y=\"{}\" fill=\"#555\">{:.1} s to {:.1} s. Green: sure of the lock. Amber: the lease is over, \
             the guard says lost. Cross: a late write, refused.</text>\n</svg>",
            height - 14,
            window.from.as_secs_f64(),
            window.to.as_secs_f64()
        );
        Some(svg)
    }
}

impl Window {
    /// Where a time is, of so many places.
    fn place(&self, time: Duration, places: usize) -> usize {
        let whole = (self.to - self.from).as_secs_f64();
        let part = time.saturating_sub(self.from).as_secs_f64() / whole;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss
        )]
        let place = (part * places as f64) as usize;
        place.min(places)
    }

    fn row(&self, grant: &Grant) -> String {
        let from = self.place(grant.from, COLUMNS - 1);
        let to = grant.to.map_or(COLUMNS - 1, |to| self.place(to, COLUMNS - 1));
        let sure = grant.sure_until.map_or(to, |until| self.place(until, COLUMNS - 1));
        let mark = |column: usize| match column {
            _ if column < from || column > to => ' ',
            _ if column == to && grant.is_refused => 'X',
            _ if column <= sure => '=',
            _ => '.',
        };
        (0..COLUMNS).map(mark).collect()
    }

    fn draw(&self, svg: &mut String, row: usize, grant: &Grant) {
        let y = 40 + 34 * row;
        let x = |time: Duration| 180 + self.place(time, 560);
        let (from, to) = (x(grant.from), grant.to.map_or(740, x).max(x(grant.from) + 3));
        let sure = grant.sure_until.map_or(to, x).min(to);
        let _ = writeln!(
            svg,
            "<text x=\"16\" y=\"{}\">{}, token {}</text>\n<rect x=\"{from}\" y=\"{y}\" width=\"{}\" height=\"22\" \
             fill=\"#2e8b57\"/>\n<rect x=\"{sure}\" y=\"{y}\" width=\"{}\" height=\"22\" fill=\"#e0a030\"/>",
            y + 16,
            grant.worker,
            grant.token,
            sure - from,
            to - sure
        );
        if grant.is_refused {
            let _ = writeln!(
                svg,
                "<path d=\"M{} {y}l14 22m0 -22l-14 22\" stroke=\"#b00\" stroke-width=\"3\"/>",
                to + 3
            );
        }
    }
}

/// As text, of at most 80 columns.
impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(window) = self.window() else {
            return write!(f, "no worker stood still, so there is no time line");
        };
        let (from, to) = (window.from.as_secs_f64(), window.to.as_secs_f64());
        writeln!(
            f,
            "who held the lock of {}, from {from:.1} s to {to:.1} s:",
            self.account
        )?;
        for grant in &window.grants {
            let name = format!("{}, token {}", grant.worker, grant.token);
            writeln!(f, "  {name:<24} |{}|", window.row(grant))?;
        }
        write!(
            f,
            "  = sure of it   . lease over, the guard says lost   X late write, refused"
        )
    }
}
