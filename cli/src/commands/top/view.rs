//! [`View`]: what a user has chosen to see.

use std::time::Duration;

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
    pub(super) open: Option<Overlay>,
    pub(super) colors: bool,
    pub(super) unicode: bool,
    pub(super) utc: bool,
}

impl View {
    /// The path of the selected row.
    pub(super) fn target(&self, board: &Board) -> Option<String> {
        self.paths(board).into_iter().nth(self.selected)
    }

    /// The selected row of a panel; none in the other panels.
    pub(super) fn selected_in(&self, panel: Panel) -> Option<usize> {
        (self.panel == panel).then_some(self.selected)
    }

    /// Keeps the selection inside the panel.
    pub(super) fn clamp(&mut self, board: &Board) {
        let rows = self.paths(board).len();
        self.selected = self.selected.min(rows.saturating_sub(1));
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
