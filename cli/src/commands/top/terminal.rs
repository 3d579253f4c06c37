//! Keys, the terminal, and the loop between them.

use std::cell::RefCell;
use std::time::Duration;

use nix::sys::signal::Signal;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;
use zookeeper_recipes::Coordinator;

use super::board::Board;
use super::scan::Scanner;
use super::screen::{View, draw};
use super::{LEAST, TopArgs};
use crate::failure::Failure;
use crate::globals::Globals;
use crate::hold::signals::{Signals, die_of};

/// The screen is drawn again at least so often: ages grow.
const REDRAW: Duration = Duration::from_secs(1);

/// Not slower than that.
const MOST: Duration = Duration::from_secs(60);

/// What a key or a signal asks the loop for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Nothing,
    Quit,
    Stop,
}

/// How fast is looked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pace {
    every: Duration,
    paused: bool,
}

pub(super) async fn run(globals: &Globals, args: &TopArgs, zk: &Coordinator) -> Result<u8, Failure> {
    let failed = |error: std::io::Error| Failure::usage(format!("cannot use the terminal: {error}; give --once"));
    // A signal must not find the terminal changed and no handler in place.
    let signals = Signals::ending().map_err(failed)?;
    let mut terminal = ratatui::try_init().map_err(failed)?;
    let shown = show(globals, args, zk, &mut terminal, signals).await;
    ratatui::restore();
    shown
}

async fn show(
    globals: &Globals,
    args: &TopArgs,
    zk: &Coordinator,
    terminal: &mut DefaultTerminal,
    mut signals: Signals,
) -> Result<u8, Failure> {
    let failed = |error: std::io::Error| Failure::internal(format!("cannot use the terminal: {error}"));
    let mut view = View {
        title: format!("{} {}", globals.cluster()?, args.tree),
        every: args.every.max(LEAST),
        colors: globals.output().colors,
        unicode: is_unicode(),
        utc: globals.output().utc,
        ..View::default()
    };
    let (board, looked, mut states) = (RefCell::new(Board::default()), Notify::new(), zk.states());
    let (pace, paces) = watch::channel(pace_of(&view));
    let scanning = scan(
        globals,
        Scanner::new(zk, &args.tree, args.budget),
        &board,
        &looked,
        paces,
    );
    let mut keys = keys();
    let mut stopped = signal(SignalKind::from_raw(Signal::SIGTSTP as i32)).map_err(failed)?;
    tokio::pin!(scanning);
    loop {
        view.state = states.current_and_update().to_string();
        terminal
            .draw(|frame| draw(frame, &board.borrow(), &view))
            .map_err(failed)?;
        let wish = tokio::select! {
            () = &mut scanning => Wish::Quit,
            () = looked.notified() => Wish::Nothing,
            _ = states.changed() => Wish::Nothing,
            key = keys.recv() => match key {
                Some(Event::Key(key)) if key.kind != KeyEventKind::Release => press(&mut view, &board.borrow(), key),
                Some(_) => Wish::Nothing,
                None => Wish::Quit,
            },
            signal = signals.recv() => {
                ratatui::restore();
                return Ok(die_of(signal as i32));
            }
            _ = stopped.recv() => Wish::Stop,
            () = tokio::time::sleep(REDRAW) => Wish::Nothing,
        };
        match wish {
            Wish::Nothing => {}
            Wish::Quit => return Ok(0),
            Wish::Stop => *terminal = stop().map_err(failed)?,
        }
        pace.send_replace(pace_of(&view));
    }
}

fn pace_of(view: &View) -> Pace {
    Pace {
        every: view.every,
        paused: view.paused,
    }
}

/// Looks for ever. A look that fails is told on the screen.
async fn scan(
    globals: &Globals,
    mut scanner: Scanner,
    board: &RefCell<Board>,
    looked: &Notify,
    mut paces: watch::Receiver<Pace>,
) {
    loop {
        if let Err(failure) = globals.bounded(scanner.look(board)).await {
            board.borrow_mut().problem = Some(failure.message);
        }
        looked.notify_one();
        let began = Instant::now();
        loop {
            let pace = *paces.borrow_and_update();
            let pause = tokio::time::sleep_until(began + pace.every);
            tokio::select! {
                () = pause, if !pace.paused => break,
                changed = paces.changed() => if changed.is_err() { return },
            }
        }
    }
}

/// Keys, from a thread that ends with the process: a read of a terminal cannot be taken back.
fn keys() -> mpsc::UnboundedReceiver<Event> {
    let (sender, receiver) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        while let Ok(event) = event::read() {
            if sender.send(event).is_err() {
                return;
            }
        }
    });
    receiver
}

fn press(view: &mut View, board: &Board, key: KeyEvent) -> Wish {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        KeyCode::Char('c') if control => return Wish::Quit,
        KeyCode::Char('z') if control => return Wish::Stop,
        code if view.typing => {
            match code {
                KeyCode::Enter => view.typing = false,
                KeyCode::Esc => (view.typing, view.filter) = (false, String::new()),
                KeyCode::Backspace => drop(view.filter.pop()),
                KeyCode::Char(c) => view.filter.push(c),
                _ => {}
            }
            return Wish::Nothing;
        }
        KeyCode::Esc if view.open.is_some() => view.open = None,
        KeyCode::Esc | KeyCode::Char('q') => return Wish::Quit,
        KeyCode::Char('s') => view.order = view.order.next(),
        KeyCode::Char('/') => view.typing = true,
        KeyCode::Char('p') => view.paused = !view.paused,
        KeyCode::Char('+') => view.every = (view.every / 2).max(LEAST),
        KeyCode::Char('-') => view.every = (view.every * 2).min(MOST),
        KeyCode::Up | KeyCode::Char('k') => view.selected = view.selected.saturating_sub(1),
        KeyCode::Down | KeyCode::Char('j') => view.selected += 1,
        KeyCode::Enter => {
            let rows = board.lines(view.order, &view.filter);
            view.open = rows.get(view.selected).map(|row| row.place.path.clone());
        }
        _ => {}
    }
    let rows = board.lines(view.order, &view.filter).len();
    view.selected = view.selected.min(rows.saturating_sub(1));
    Wish::Nothing
}

/// Stops as the terminal's own key would, with the screen given back, and goes on with a new one.
fn stop() -> std::io::Result<DefaultTerminal> {
    ratatui::restore();
    nix::sys::signal::raise(Signal::SIGSTOP)?;
    ratatui::try_init()
}

/// Whether the terminal shows block characters.
fn is_unicode() -> bool {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let locale = set("LC_ALL").or_else(|| set("LC_CTYPE")).or_else(|| set("LANG"));
    let is_dumb = set("TERM").is_some_and(|term| term == "dumb");
    !is_dumb && locale.is_some_and(|locale| locale.to_uppercase().replace('-', "").contains("UTF8"))
}
