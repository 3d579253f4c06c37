//! What a terminal shows, read from what a program writes to it.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Child;
use zookeeper_testkit::within;

use crate::harness::PATIENCE;

/// What a terminal shows of the bytes that it has got.
pub(crate) struct Screen {
    cells: Vec<Vec<char>>,
    pub(crate) widest: usize,
}

impl Screen {
    fn of(bytes: &[u8], rows: usize) -> Self {
        let text: Vec<char> = String::from_utf8_lossy(bytes).chars().collect();
        let mut screen = Self {
            cells: vec![Vec::new(); rows],
            widest: 0,
        };
        let (mut row, mut column, mut at) = (0, 0, 0);
        while at < text.len() {
            match text[at] {
                '\x1b' if text.get(at + 1) == Some(&'[') => {
                    let Some(end) = (at + 2..text.len()).find(|&end| text[end].is_alphabetic()) else {
                        break;
                    };
                    let sequence: String = text[at + 2..end].iter().collect();
                    let mut numbers = sequence.split(';').map(|number| number.parse().unwrap_or(1));
                    match text[end] {
                        'H' => (row, column) = (numbers.next().unwrap_or(1) - 1, numbers.next().unwrap_or(1) - 1),
                        'J' => screen.cells.iter_mut().for_each(Vec::clear),
                        // The other screen of the terminal.
                        'h' | 'l' if sequence == "?1049" => {
                            screen.cells.iter_mut().for_each(Vec::clear);
                            (row, column) = (0, 0);
                        }
                        _ => {}
                    }
                    at = end;
                }
                '\x1b' => {}
                '\r' => column = 0,
                '\n' if row + 1 == rows => {
                    screen.cells.remove(0);
                    screen.cells.push(Vec::new());
                    column = 0;
                }
                '\n' => (row, column) = (row + 1, 0),
                c => {
                    let line = &mut screen.cells[row];
                    line.resize(line.len().max(column + 1), ' ');
                    line[column] = c;
                    column += 1;
                    screen.widest = screen.widest.max(column);
                }
            }
            at += 1;
        }
        screen
    }

    pub(crate) fn text(&self) -> String {
        let lines = self.cells.iter().map(|line| line.iter().collect::<String>());
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// Reads what the terminal gets until it shows all of these.
pub(crate) async fn until_shown(child: &mut Child, bytes: &mut Vec<u8>, rows: usize, wanted: &[&str]) -> Screen {
    let out = child.stdout.as_mut().expect("it is piped");
    let shown = async {
        loop {
            let screen = Screen::of(bytes, rows);
            let text = screen.text();
            if wanted.iter().all(|wanted| text.contains(wanted)) {
                return screen;
            }
            let read = out.read_buf(bytes).await.expect("it can be read");
            assert!(read > 0, "it ended without {wanted:?}: {text}");
        }
    };
    within(PATIENCE, format!("the screen shows {wanted:?}"), shown).await
}

pub(crate) async fn press(child: &mut Child, keys: &str) {
    let input = child.stdin.as_mut().expect("it is piped");
    input.write_all(keys.as_bytes()).await.expect("it reads");
    input.flush().await.expect("it reads");
}
