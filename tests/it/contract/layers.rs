//! Arrows between the layers only point down.

use std::fs;
use std::path::{Path, PathBuf};

/// From the bottom up. A folder may name those before it, never those after it.
pub(super) const LAYERS: [&str; 5] = ["session", "znode", "line", "recipes", "inspect"];

/// Files that every layer may use, and that therefore use none but the bottom's errors.
const BESIDE: [&str; 3] = ["causes.rs", "metrics.rs", "observer.rs"];

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// All Rust files below a folder.
pub(crate) fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap_or_else(|err| panic!("{}: {err}", dir.display())) {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// The modules of the crate's root that the file names in code, by `crate::`, in whatever way it is written.
fn named_modules(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap();
    let code: String = text
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect();
    let mut modules = Vec::new();
    for rest in code.split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            Some(group) => modules.extend(first_parts(group)),
            None => modules.push(identifier(rest)),
        }
    }
    modules
}

pub(super) fn identifier(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// The first part of every path in a group, up to its closing brace.
fn first_parts(group: &str) -> Vec<String> {
    let (mut depth, mut parts, mut at_start) = (0, Vec::new(), true);
    for (index, c) in group.char_indices() {
        match c {
            '}' if depth == 0 => break,
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => at_start = true,
            c if c.is_whitespace() => {}
            _ if at_start && depth == 0 => {
                parts.push(identifier(&group[index..]));
                at_start = false;
            }
            _ => {}
        }
    }
    parts
}

fn violations(files: &[PathBuf], forbidden: &[&str]) -> Vec<String> {
    let name = |file: &Path| file.strip_prefix(src()).unwrap_or(file).display().to_string();
    let named = files
        .iter()
        .flat_map(|file| named_modules(file).into_iter().map(move |module| (file, module)));
    named
        .filter(|(_, module)| forbidden.contains(&module.as_str()))
        .map(|(file, module)| format!("src/{} names crate::{module}", name(file)))
        .collect()
}

#[test]
fn no_layer_names_a_higher_one() {
    let mut found = Vec::new();
    for (index, layer) in LAYERS.iter().enumerate() {
        let files = sources(&src().join(layer));
        assert!(!files.is_empty(), "src/{layer} has moved: adapt this test");
        found.extend(violations(&files, &LAYERS[index + 1..]));
    }
    let beside: Vec<PathBuf> = BESIDE.iter().map(|file| src().join(file)).collect();
    found.extend(violations(&beside, &LAYERS));
    assert!(found.is_empty(), "arrows that point up:\n  {}", found.join("\n  "));
}

/// `crate::error` lists the errors of all layers; a layer takes from it what every layer may use.
#[test]
fn no_layer_takes_another_layers_error() {
    const COMMON: [&str; 6] = [
        "Classify",
        "Error",
        "Nature",
        "TimeoutError",
        "WaitTimeoutError",
        "classify",
    ];
    let mut found = Vec::new();
    for file in LAYERS.iter().flat_map(|layer| sources(&src().join(layer))) {
        let text = fs::read_to_string(&file).unwrap();
        for rest in text.split("crate::error::").skip(1) {
            let names = match rest.strip_prefix('{') {
                Some(group) => first_parts(group),
                None => vec![identifier(rest)],
            };
            let other = names.into_iter().filter(|name| !COMMON.contains(&name.as_str()));
            found.extend(other.map(|name| format!("{} takes crate::error::{name}", file.display())));
        }
    }
    assert!(found.is_empty(), "errors of other layers:\n  {}", found.join("\n  "));
}

/// What two recipes share belongs into a lower layer.
#[test]
fn recipes_do_not_import_each_other() {
    let folder = src().join("recipes");
    let recipes: Vec<String> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| {
            entry
                .unwrap()
                .path()
                .file_stem()
                .unwrap()
                .to_string_lossy()
                .into_owned()
        })
        .filter(|name| name != "mod")
        .collect();
    let mut found = Vec::new();
    for recipe in &recipes {
        let file = folder.join(format!("{recipe}.rs"));
        let (files, is_folder) = if file.exists() {
            (vec![file], false)
        } else {
            (sources(&folder.join(recipe)), true)
        };
        for file in files {
            let text = fs::read_to_string(&file).unwrap();
            for other in recipes.iter().filter(|other| *other != recipe) {
                // Within a folder, `super` is the recipe itself.
                let sibling = if is_folder { "super::super::" } else { "super::" };
                for name in [format!("{sibling}{other}"), format!("crate::recipes::{other}")] {
                    if text.contains(&name) {
                        found.push(format!("{} names {name}", file.display()));
                    }
                }
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// The work queue has three floors: what stands in ZooKeeper, what runs in this process, what users see.
#[test]
fn no_floor_of_a_queue_names_a_higher() {
    let queue = src().join("recipes/queue/work");
    let mut found = Vec::new();
    for (floor, may_name) in [("store", &[][..]), ("tasks", &["store", "errors"][..])] {
        for file in sources(&queue.join(floor)) {
            let text = fs::read_to_string(&file).unwrap();
            let code: String = text
                .lines()
                .map(|line| line.split("//").next().unwrap_or_default())
                .collect();
            // Unit tests are a module deeper.
            let own = sources(&queue.join(floor));
            let is_own = |module: &str| {
                own.iter()
                    .any(|file| file.file_stem().is_some_and(|stem| stem == module))
            };
            for rest in code.split("super::super::").skip(1) {
                let module = identifier(rest);
                if !may_name.contains(&module.as_str()) && !is_own(&module) && module != "super" {
                    found.push(format!("{} names {module}", file.display()));
                }
            }
            if code.contains("recipes::queue") || code.contains("crate::queue") {
                found.push(format!("{} names the queue from outside", file.display()));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn the_scan_sees_every_module_name() {
    let file = std::env::temp_dir().join(format!("layers-{}.rs", std::process::id()));
    let text = "use crate::line::Line;\nuse crate::{error::Error, znode::{Hold, list},\n    recipes};\n\
                fn f(_: crate::session::Lost) {} // crate::comment\n";
    fs::write(&file, text).unwrap();
    let named = named_modules(&file);
    fs::remove_file(&file).unwrap();
    assert_eq!(named, ["line", "error", "znode", "recipes", "session"]);
}

/// The code of a file: without comments, and without its unit tests, which come last.
fn code(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap();
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    text.lines()
        .map(|line| line.split("//").next().unwrap_or_default().trim_end().to_owned() + "\n")
        .collect()
}

/// All files of the crate but those that hold unit tests alone, by their names below `src`, with their code.
pub(super) fn codes() -> Vec<(String, String)> {
    let files = sources(&src()).into_iter();
    let files = files.map(|file| (file.strip_prefix(src()).unwrap().display().to_string(), code(&file)));
    let holds_tests = |name: &str| name.ends_with("tests.rs") || name.contains("/tests/");
    files.filter(|(name, _)| !holds_tests(name)).collect()
}

fn is_in_core(file: &str) -> bool {
    file.starts_with("session/")
}

/// Every request passes the core, which alone tells apart how a transaction can fail.
#[test]
fn only_the_core_names_multi_write_error() {
    let codes = codes().into_iter();
    let found: Vec<_> = codes
        .filter(|(file, code)| file != "session/request.rs" && code.contains("MultiWriteError"))
        .map(|(file, _)| format!("src/{file} names MultiWriteError; use Session::commit"))
        .collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// The bodies of all `select!`s, up to the brace that closes each of them.
fn selects(code: &str) -> Vec<&str> {
    let bodies = code.split("select! {").skip(1);
    let end = |body: &str| {
        let mut depth = 1;
        body.find(|c| {
            depth += i32::from(c == '{') - i32::from(c == '}');
            depth == 0
        })
    };
    bodies.map(|body| &body[..end(body).unwrap_or(body.len())]).collect()
}

/// A wait that ends with its session is written once, as `Session::while_alive`. The end of a coordinator, `zk.ended()`,
/// is a value and no wait.
fn waits_for_the_end_of_a_session(select: &str) -> bool {
    let mut calls = select.match_indices(".ended()");
    calls.any(|(at, _)| identifier_before(&select[..at]) != "zk")
}

fn identifier_before(text: &str) -> &str {
    let start = text.rfind(|c: char| !c.is_alphanumeric() && c != '_');
    &text[start.map_or(0, |start| start + 1)..]
}

#[test]
fn only_the_core_selects_on_a_sessions_end() {
    let mut found = Vec::new();
    for (file, code) in codes().iter().filter(|(file, _)| !is_in_core(file)) {
        let waits = selects(code)
            .into_iter()
            .filter(|select| waits_for_the_end_of_a_session(select));
        found.extend(waits.map(|select| format!("src/{file}: use Session::while_alive, not select! {{{select}}}")));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn the_scan_sees_sessions_end_in_selects() {
    let code = "select! { a = b => { c } _ = self.session.ended() => {} } d.ended(); select! { e => zk.ended() }";
    let found: Vec<_> = selects(code).into_iter().map(waits_for_the_end_of_a_session).collect();
    assert_eq!(found, [true, false]);
}

/// Where something sleeps outside the core, how often, and why that is no loop around a request of its own: those pause
/// in `session/retry.rs` alone.
const SLEEPS: [(&str, usize, &str); 8] = [
    (
        "recipes/schedule/",
        1,
        "a job is waited for until it is due; no request is repeated",
    ),
    (
        "inspect/observing.rs",
        1,
        "a view of a busy place looks at it a few times a second at most; no request is repeated",
    ),
    (
        "line/contender.rs",
        1,
        "a timer: a wait that takes long is warned of, with one read each time, and no request is repeated",
    ),
    (
        "znode/observe.rs",
        1,
        "a read was refused, which only a change of ACLs can mend: no retry of a lost answer",
    ),
    (
        "znode/ephemeral/guardian.rs",
        2,
        "a short hold shall cost no watch; and a watch was refused, which only a change of ACLs can mend",
    ),
    (
        "recipes/group/membership.rs",
        2,
        "a create was refused, which only a change of ACLs, of the tree or of other places can mend",
    ),
    (
        "recipes/election",
        2,
        "timers: the pause of a leader whose work has failed, and the hold-down before a leader makes way to a higher rank",
    ),
    QUEUE_SLEEP,
];

const QUEUE_SLEEP: (&str, usize, &str) = (
    "recipes/queue/work",
    4,
    "a consumer waits for the next deadline, and after a look that was in vain; what is left over is collected before it is cleared away; a watch of a busy \
     block is set again ten times a second",
);

/// Any `sleep(` counts, whether it is in a loop or in something that a loop calls.
#[test]
fn only_the_core_sleeps_between_requests() {
    let mut found: Vec<(String, usize)> = Vec::new();
    for (file, code) in codes().into_iter().filter(|(file, _)| !is_in_core(file)) {
        let place = SLEEPS.iter().find(|(place, ..)| file.starts_with(place));
        let place = place.map_or(file.as_str(), |(place, ..)| place);
        let count = code.matches("sleep(").count();
        match found.iter_mut().find(|(known, _)| known == place) {
            Some((_, known)) => *known += count,
            None if count > 0 => found.push((place.to_owned(), count)),
            None => {}
        }
    }
    found.sort();
    let mut allowed: Vec<_> = SLEEPS
        .iter()
        .map(|(place, count, _)| ((*place).to_owned(), *count))
        .collect();
    allowed.sort();
    assert_eq!(
        found, allowed,
        "sleeps outside the core, found and allowed: use Retry, or give a reason in SLEEPS"
    );
}
