//! What a process hears from the director that has started it: lines on its standard input.

use std::io;

use tokio::io::{AsyncBufReadExt, BufReader, Lines, Stdin, stdin};

#[derive(Debug)]
pub struct Commands(Lines<BufReader<Stdin>>);

impl Commands {
    pub fn listen() -> Self {
        Self(BufReader::new(stdin()).lines())
    }

    /// The next command, or `None` when the process is to end: also when there is no director any more.
    pub async fn next(&mut self) -> io::Result<Option<String>> {
        self.0.next_line().await
    }

    /// Waits until the process is to end.
    pub async fn end(&mut self) {
        while let Ok(Some(_)) = self.next().await {}
    }
}
