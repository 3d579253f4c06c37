//! A [`WaitGraph`] as text for Graphviz and Mermaid.

use std::collections::{BTreeSet, HashSet};
use std::fmt::Write;

use super::graph::{Wait, WaitGraph};

/// A graph of more processes is cut down to its circles and their neighbours.
const DRAWN: usize = 200;

impl WaitGraph {
    /// Draws the graph for Graphviz: circles red, waits behind other waiters dashed. Of more than 200 processes only those
    /// in circles and their neighbours are drawn.
    pub fn to_dot(&self) -> String {
        let drawn = self.drawn();
        let mut text = "digraph waits { rankdir=LR;\n".to_owned();
        self.note(&drawn, &mut text, " // ");
        for process in &drawn.processes {
            let label = escaped_dot(&self.label(*process));
            let session = self.session(*process);
            let _ = writeln!(text, " s{process} [label=\"{label}\\n{session:#x}\"];");
        }
        for (index, wait) in self.drawn_waits(&drawn) {
            let color = if drawn.red.contains(&index) { ",color=red" } else { "" };
            let style = if wait.is_hard() { "solid" } else { "dashed" };
            let path = escaped_dot(&wait.path);
            let _ = writeln!(
                text,
                " s{} -> s{} [label=\"{path}\",style={style}{color}];",
                wait.from, wait.to
            );
        }
        text.push_str("}\n");
        text
    }

    /// Draws the graph for Mermaid: circles red, waits behind other waiters dotted. As large as [`to_dot`](Self::to_dot).
    pub fn to_mermaid(&self) -> String {
        let drawn = self.drawn();
        let mut text = "flowchart LR\n".to_owned();
        self.note(&drawn, &mut text, " %% ");
        for process in &drawn.processes {
            let _ = writeln!(text, " s{process}[\"{}\"]", escaped_mermaid(&self.label(*process)));
        }
        let mut red = Vec::new();
        for (number, (index, wait)) in self.drawn_waits(&drawn).enumerate() {
            let arrow = if wait.is_hard() { "-->" } else { "-.->" };
            let path = escaped_mermaid(&wait.path);
            let _ = writeln!(text, " s{} {arrow}|\"{path}\"| s{}", wait.from, wait.to);
            if drawn.red.contains(&index) {
                red.push(number.to_string());
            }
        }
        if !red.is_empty() {
            let _ = writeln!(text, " linkStyle {} stroke:red", red.join(","));
        }
        text
    }

    fn label(&self, process: usize) -> String {
        self.processes()
            .get(process)
            .map(super::graph::WaitingProcess::label)
            .unwrap_or_default()
    }

    fn session(&self, process: usize) -> i64 {
        let sessions = self.processes().get(process).map(|process| &process.sessions);
        sessions.and_then(BTreeSet::first).copied().unwrap_or_default()
    }

    fn drawn(&self) -> Drawn {
        let red = self.circular();
        if self.processes().len() <= DRAWN {
            let processes = (0..self.processes().len()).collect();
            return Drawn { processes, red };
        }
        let in_circles: HashSet<usize> = red.iter().map(|index| self.waits()[*index].from).collect();
        let near = self
            .waits()
            .iter()
            .filter(|wait| in_circles.contains(&wait.from) || in_circles.contains(&wait.to));
        let processes = near.flat_map(|wait| [wait.from, wait.to]).collect();
        Drawn { processes, red }
    }

    fn drawn_waits(&self, drawn: &Drawn) -> impl Iterator<Item = (usize, &Wait)> {
        let is_drawn = |wait: &Wait| drawn.processes.contains(&wait.from) && drawn.processes.contains(&wait.to);
        self.waits().iter().enumerate().filter(move |(_, wait)| is_drawn(wait))
    }

    fn note(&self, drawn: &Drawn, text: &mut String, comment: &str) {
        let (all, shown) = (self.processes().len(), drawn.processes.len());
        if shown < all {
            let _ = writeln!(
                text,
                "{comment}{shown} of {all} processes: circles and their neighbours"
            );
        }
    }
}

/// What is drawn of a graph.
struct Drawn {
    processes: BTreeSet<usize>,
    /// Waits in circles.
    red: HashSet<usize>,
}

fn escaped_dot(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace(['\n', '\r'], " ")
}

/// Quotes, pipes, angle brackets and the like by their numbers.
fn escaped_mermaid(text: &str) -> String {
    let escaped = text.chars().map(|c| match c {
        '"' | '|' | '<' | '>' | '#' | '&' | '[' | ']' | '{' | '}' | '(' | ')' | ';' | '`' | '\\' => {
            format!("#{};", u32::from(c))
        }
        c if c.is_control() => " ".to_owned(),
        c => c.to_string(),
    });
    escaped.collect()
}
