//! What is printed: results to standard output, everything else to standard error.

use std::io::{self, IsTerminal as _, Write as _};

use base64::Engine as _;
use serde_json::{Value, json};

/// How results are printed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    pub(crate) json: bool,
    pub(crate) utc: bool,
    pub(crate) quiet: bool,
    pub(crate) verbose: u8,
    pub(crate) colors: bool,
}

impl Output {
    /// Prints an object in one line and flushes it.
    pub(crate) fn object(&self, kind: &str, mut value: Value) {
        if let Some(object) = value.as_object_mut() {
            object.insert("schema".to_owned(), json!("zkr/1"));
            object.insert("kind".to_owned(), json!(kind));
        }
        write_out(format!("{value}\n").as_bytes());
    }

    /// Prints a line of text.
    pub(crate) fn line(&self, text: &str) {
        write_out(format!("{text}\n").as_bytes());
    }

    /// Prints a line of text, which on a narrow terminal becomes several.
    pub(crate) fn prose(&self, text: &str) {
        match width() {
            Some(width) => wrap(text, width).iter().for_each(|line| self.line(line)),
            None => self.line(text),
        }
    }

    /// Prints text behind a label, all of it: what does not fit on a narrow terminal goes on below.
    pub(crate) fn labelled(&self, label: &str, text: &str) {
        let room = width().map(|width| width.saturating_sub(label.len()).max(8));
        let (mut label, mut line, mut length) = (label.to_owned(), String::new(), 0);
        for c in text.chars() {
            if Some(length) == room {
                self.line(&format!("{label}{line}"));
                label = " ".repeat(label.len());
                (line, length) = (String::new(), 0);
            }
            line.push(c);
            length += 1;
        }
        self.line(&format!("{label}{line}"));
    }

    /// Says something on standard error, unless told to be quiet.
    pub(crate) fn say(&self, text: &str) {
        if !self.quiet {
            eprintln!("zkr: {text}");
        }
    }

    /// Says what only `-v` wants to know.
    pub(crate) fn detail(&self, text: &str) {
        if self.verbose > 0 {
            self.say(text);
        }
    }
}

/// Writes to standard output; ends the program as `cat` ends at a closed pipe.
pub(crate) fn write_out(bytes: &[u8]) {
    let mut out = io::stdout().lock();
    if let Err(error) = out.write_all(bytes).and_then(|()| out.flush()) {
        end_at(&error);
    }
}

fn end_at(error: &io::Error) -> ! {
    #[cfg(unix)]
    if error.kind() == io::ErrorKind::BrokenPipe {
        let _ = signal_hook::low_level::emulate_default_handler(signal_hook::consts::SIGPIPE);
    }
    eprintln!("zkr: cannot write to standard output: {error}");
    std::process::exit(74)
}

/// Bytes as JSON: text where they are text.
pub(crate) fn bytes(data: &[u8]) -> Value {
    match std::str::from_utf8(data) {
        Ok(text) => json!({ "text": text }),
        Err(_) => json!({ "base64": base64::engine::general_purpose::STANDARD.encode(data) }),
    }
}

/// A session id, as ZooKeeper prints it.
pub(crate) fn session(id: i64) -> String {
    format!("{id:#x}")
}

/// Text of others: control characters shown, so that the data of a node cannot drive the terminal.
pub(crate) fn clean(data: &[u8]) -> String {
    let mut text = String::new();
    for c in String::from_utf8_lossy(data).chars() {
        if c.is_control() {
            text.push_str(&format!("\\x{:02x}", c as u32));
        } else {
            text.push(c);
        }
    }
    text
}

/// A number of things: `1 place`, `2 places`.
pub(crate) fn counted(number: usize, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        _ => format!("{number} {noun}s"),
    }
}

/// Cut to a length, with the end of it kept.
pub(crate) fn shorten(text: &str, most: usize) -> String {
    let length = text.chars().count();
    if length <= most || most < 5 {
        return text.to_owned();
    }
    let head = (most - 3) / 2;
    let tail = most - 3 - head;
    let start: String = text.chars().take(head).collect();
    let end: String = text.chars().skip(length - tail).collect();
    format!("{start}...{end}")
}

/// Lines of at most `width` characters, broken at blanks; what is longer without a blank loses its middle.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    const INDENT: usize = 4;
    let blanks = text.len() - text.trim_start().len();
    let (mut lines, mut line) = (Vec::new(), " ".repeat(blanks));
    let mut is_begun = false;
    for word in text.trim_start().split(' ') {
        let gap = usize::from(is_begun);
        if is_begun && line.chars().count() + gap + word.chars().count() > width {
            lines.push(std::mem::replace(&mut line, " ".repeat(blanks + INDENT)));
            is_begun = false;
        }
        if is_begun {
            line.push(' ');
        }
        let room = width.saturating_sub(line.chars().count()).max(8);
        line.push_str(&shorten(word, room));
        is_begun = true;
    }
    lines.push(line);
    lines
}

/// The width of the terminal; none where output is piped.
pub(crate) fn width() -> Option<usize> {
    if !io::stdout().is_terminal() {
        return None;
    }
    let columns = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
    Some(terminal_columns().or(columns).unwrap_or(80))
}

fn terminal_columns() -> Option<usize> {
    #[cfg(unix)]
    {
        let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
        (size.ws_col > 0).then_some(usize::from(size.ws_col))
    }
    #[cfg(not(unix))]
    None
}

/// Rows under a header, two blanks between columns. `elastic` is the column that gives way on a narrow terminal.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>], elastic: &[usize]) -> String {
    let mut widths: Vec<usize> = header.iter().map(|cell| cell.len()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    if let Some(most) = width() {
        for &column in elastic {
            let total = widths.iter().sum::<usize>() + 2 * (widths.len().saturating_sub(1));
            let excess = total.saturating_sub(most);
            let least = header[column].len().max(12);
            widths[column] = widths[column].saturating_sub(excess).max(least.min(widths[column]));
        }
    }
    let mut text = String::new();
    let header: Vec<String> = header.iter().map(|&cell| cell.to_owned()).collect();
    for row in std::iter::once(&header).chain(rows) {
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(row) {
            let cell = shorten(cell, *width);
            line.push_str(&cell);
            let pad = width.saturating_sub(cell.chars().count()) + 2;
            line.extend(std::iter::repeat_n(' ', pad));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown() {
        assert_eq!(clean(b"a\x1b[2Jb\n\xff"), "a\\x1b[2Jb\\x0a\u{fffd}");
    }

    #[test]
    fn long_lines_are_broken_at_blanks() {
        assert_eq!(wrap("  one two three", 10), ["  one two", "      three"]);
        assert_eq!(wrap("short", 10), ["short"]);
        assert_eq!(wrap("/a/long/path/of/one/word", 10), ["/a/...word"]);
        assert_eq!(wrap("a  b", 10), ["a  b"]);
    }

    #[test]
    fn long_text_keeps_both_ends() {
        assert_eq!(shorten("/accounts/settlement/17", 14), "/acco...ent/17");
        assert_eq!(shorten("/a", 14), "/a");
    }
}
