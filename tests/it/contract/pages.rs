//! What users read: each public item has an example, and each example is short.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::layers::sources;

/// What fits on a screen.
const EXAMPLE_LINES: usize = 70;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The identifier at the start of the text.
fn identifier(text: &str) -> &str {
    let end = text
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(text.len());
    &text[..end]
}

/// The type whose methods follow a line such as `impl<T> Delivery<T> {`; none of a trait's.
fn implemented(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("impl")?;
    let rest = match rest.strip_prefix('<') {
        Some(generics) => {
            let mut depth = 1;
            let end = generics.find(|c| {
                depth += i32::from(c == '<') - i32::from(c == '>');
                depth == 0
            })?;
            &generics[end + 1..]
        }
        None => rest,
    };
    (!line.contains(" for ")).then(|| identifier(rest.trim_start()))
}

/// The method that a line of an `impl` declares.
fn method(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("    pub ")?;
    let rest = rest.strip_prefix("const ").unwrap_or(rest);
    let rest = rest.strip_prefix("async ").unwrap_or(rest);
    rest.strip_prefix("fn ").map(identifier)
}

fn declared(line: &str) -> Option<&str> {
    let rest = ["pub struct ", "pub enum ", "pub trait "];
    rest.iter().find_map(|start| line.strip_prefix(start)).map(identifier)
}

/// Types that have an example, and methods that have none.
#[derive(Default)]
struct Docs {
    shown: BTreeSet<String>,
    bare: Vec<(String, String)>,
}

impl Docs {
    fn read(&mut self, code: &str) {
        let (mut has_example, mut of) = (false, None);
        for line in code.lines() {
            let text = line.trim_start();
            if text.starts_with("///") {
                has_example |= text.contains("```");
                continue;
            }
            if text.starts_with("#[") || text.starts_with("//") {
                continue;
            }
            if let Some(name) = declared(line).filter(|_| has_example) {
                self.shown.insert(name.to_owned());
            }
            if line.starts_with("impl") {
                of = implemented(line);
            }
            if let (Some(of), Some(name), false) = (of, method(line), has_example) {
                self.bare.push((of.to_owned(), name.to_owned()));
            }
            has_example = false;
        }
    }

    /// The methods of the named types that stand in no example's docs.
    fn without_example(&self, public: &BTreeSet<&str>) -> Vec<String> {
        let bare = self
            .bare
            .iter()
            .filter(|(of, _)| public.contains(of.as_str()) && !self.shown.contains(of));
        bare.map(|(of, name)| format!("{of}::{name}")).collect()
    }
}

/// What `src/lib.rs` exports, and the words beside it.
fn exported(lib: &str) -> BTreeSet<&str> {
    let words = lib.split(|c: char| !c.is_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with(char::is_uppercase)).collect()
}

#[test]
fn public_methods_have_an_example() {
    let mut docs = Docs::default();
    for file in sources(&root().join("src")) {
        docs.read(&fs::read_to_string(file).unwrap());
    }
    let lib = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let missing = docs.without_example(&exported(&lib));
    assert!(
        missing.is_empty(),
        "neither these nor their types have an example: {missing:#?}"
    );
}

#[test]
fn the_scan_sees_a_missing_example() {
    let mut docs = Docs::default();
    docs.read("/// ```\npub struct Shown;\nimpl<T: Into<Vec<u8>>> Shown<T> {\n    pub fn a() {}\n}\n");
    docs.read("/// No example.\npub struct Bare;\nimpl Bare {\n    /// None.\n    pub async fn b(&self) {}\n}\n");
    assert_eq!(docs.without_example(&BTreeSet::from(["Shown", "Bare"])), ["Bare::b"]);
}

#[test]
fn examples_fit_on_a_screen() {
    let mut examples = sources(&root().join("examples"));
    // For its dependencies, one lives with the demos.
    examples.push(root().join("demos/src/bin/http_payment.rs"));
    assert!(examples.len() > 12, "only {} examples", examples.len());
    for file in examples {
        let lines = fs::read_to_string(&file).unwrap().lines().count();
        assert!(lines <= EXAMPLE_LINES, "{} has {lines} lines", file.display());
    }
}

/// The names in backticks in a cell of a table.
fn names(cell: &str) -> impl Iterator<Item = &str> {
    let quoted = cell.split('`').skip(1).step_by(2);
    quoted.map(|name| name.rsplit("::").next().unwrap_or(name))
}

#[test]
fn recipes_are_found_by_their_peers_names() {
    let files: Vec<_> = sources(&root().join("src"))
        .iter()
        .map(|file| fs::read_to_string(file).unwrap())
        .collect();
    let lib = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let (mut seen, mut missing) = (0, Vec::new());
    for row in lib.lines().filter(|line| line.starts_with("//! | ")) {
        let cells: Vec<_> = row.split(" | ").collect();
        let [_, _, recipe, curator, kazoo] = cells[..] else {
            continue;
        };
        let recipe = names(recipe).next();
        for peer in names(curator).chain(names(kazoo)) {
            seen += 1;
            let alias = format!("#[doc(alias = \"{peer}\")]");
            if recipe != Some(peer) && !files.iter().any(|text| text.contains(&alias)) {
                missing.push((recipe, peer));
            }
        }
    }
    assert!(seen > 20, "the table of recipes was not read: {seen} names");
    assert!(
        missing.is_empty(),
        "recipes without the alias of a peer's class: {missing:?}"
    );
}

#[test]
fn the_readme_stays_short() {
    let lines = fs::read_to_string(root().join("README.md")).unwrap().lines().count();
    assert!(lines < 200, "{lines} lines: details belong into docs/");
}

/// The subject of a sentence has a name. What is left are names of commands, and people.
#[test]
fn sentences_name_their_subjects() {
    const NAMELESS: [&str; 5] = ["who", "whoever", "somebody", "nobody", "anew"];
    let mut pages: Vec<_> = sources(&root().join("src"));
    let docs = fs::read_dir(root().join("docs"))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    pages.extend(docs.filter(|path| path.is_file()));
    pages.push(root().join("README.md"));
    let mut found = Vec::new();
    for page in &pages {
        let text = fs::read_to_string(page).unwrap().to_lowercase();
        let words = text.split(|c: char| !c.is_alphanumeric() && c != '_');
        let nameless = words.filter(|word| NAMELESS.contains(word));
        found.extend(nameless.map(|word| format!("{}: {word}", page.display())));
    }
    assert!(found.len() < 40, "give these subjects a name: {found:#?}");
}
