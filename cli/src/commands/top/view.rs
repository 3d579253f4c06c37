//! [`View`]: what a user has chosen to see.

use std::time::Duration;

use zookeeper_recipes::FencingToken;

use super::board::{Board, Order};

/// A part of the screen whose rows can be selected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Panel {
    #[default]
    Lines,
    Queues,
    Holds,
}

impl Panel {
    const ALL: [Self; 3] = [Self::Lines, Self::Queues, Self::Holds];

    /// The one with this number, from 1.
    pub(super) fn of(digit: char) -> Option<Self> {
        let index = digit.to_digit(10)?.checked_sub(1)?;
        Self::ALL.get(usize::try_from(index).ok()?).copied()
    }

    pub(super) fn next(self) -> Self {
        match self {
            Self::Lines => Self::Queues,
            Self::Queues => Self::Holds,
            Self::Holds => Self::Lines,
        }
    }

    pub(super) fn previous(self) -> Self {
        self.next().next()
    }
}

/// What lies over the panels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Overlay {
    /// Who stands at a place.
    Place(String),
    Findings,
    Help,
}

/// What a user has chosen.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    pub(super) title: String,
    pub(super) state: String,
    pub(super) every: Duration,
    pub(super) order: Order,
    pub(super) filter: String,
    pub(super) typing: bool,
    pub(super) paused: bool,
    pub(super) panel: Panel,
    /// The row of the panel.
    pub(super) selected: usize,
    /// Its path: rows change places from look to look.
    pub(super) chosen: Option<String>,
    pub(super) open: Option<Overlay>,
    /// So many lines of what is open are above the screen.
    pub(super) scroll: usize,
    pub(super) colors: bool,
    pub(super) unicode: bool,
    pub(super) utc: bool,
}

impl View {
    /// Opens something, from its first line on.
    pub(super) fn show(&mut self, overlay: Overlay) {
        self.open = Some(overlay);
        self.scroll = 0;
    }

    /// The path that a key acts on: what is open, or the selected row.
    pub(super) fn target(&self) -> Option<String> {
        match &self.open {
            Some(Overlay::Place(path)) => Some(path.clone()),
            Some(_) => None,
            None => self.chosen.clone(),
        }
    }

    /// The holders that are shown at the place that a key acts on.
    pub(super) fn holders(&self, board: &Board, path: &str) -> Vec<FencingToken> {
        if self.open.is_none() && self.panel == Panel::Holds {
            let held = board.holds(&self.filter);
            let selected = held.get(self.selected).filter(|(row, _)| row.place.path == path);
            return selected.map(|(_, one)| one.token).into_iter().collect();
        }
        let all = board.row(path).map_or(&[][..], |row| &row.place.contenders);
        all.iter().filter(|one| one.is_holder).map(|one| one.token).collect()
    }

    /// The selected row of a panel; none in the other panels.
    pub(super) fn selected_in(&self, panel: Panel) -> Option<usize> {
        (self.panel == panel).then_some(self.selected)
    }

    /// Keeps to the selected path, wherever its row stands by now.
    pub(super) fn follow(&mut self, board: &Board) {
        let paths = self.paths(board);
        // One path may have several rows.
        if paths.get(self.selected) == self.chosen.as_ref() {
            return;
        }
        let place = paths.iter().position(|path| Some(path) == self.chosen.as_ref());
        self.selected = place.unwrap_or(self.selected);
        self.choose(&paths);
    }

    /// Selects a row, the last one at most.
    pub(super) fn select(&mut self, board: &Board, row: usize) {
        self.selected = row;
        self.choose(&self.paths(board));
    }

    fn choose(&mut self, paths: &[String]) {
        self.selected = self.selected.min(paths.len().saturating_sub(1));
        self.chosen = paths.get(self.selected).cloned();
    }

    fn paths(&self, board: &Board) -> Vec<String> {
        let path = |row: &super::board::Row| row.place.path.clone();
        match self.panel {
            Panel::Lines => board.lines(self.order, &self.filter).into_iter().map(path).collect(),
            Panel::Queues => board.queues(&self.filter).iter().map(|(row, _)| path(row)).collect(),
            Panel::Holds => board.holds(&self.filter).iter().map(|(row, _)| path(row)).collect(),
        }
    }
}
