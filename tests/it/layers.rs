//! Arrows between the layers only point down.

use std::fs;
use std::path::{Path, PathBuf};

/// From the bottom up. A folder may name those before it, never those after it.
const LAYERS: [&str; 4] = ["session", "znode", "line", "recipes"];

/// Files that every layer may use, and that therefore use none but the bottom's errors.
const BESIDE: [&str; 2] = ["error.rs", "observer.rs"];

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn sources(dir: &Path) -> Vec<PathBuf> {
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

fn identifier(text: &str) -> String {
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
fn no_floor_of_the_work_queue_names_a_higher_one() {
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
fn the_scan_sees_every_way_to_name_a_module() {
    let file = std::env::temp_dir().join(format!("layers-{}.rs", std::process::id()));
    let text = "use crate::line::Line;\nuse crate::{error::Error, znode::{Hold, list},\n    recipes};\n\
                fn f(_: crate::session::Lost) {} // crate::comment\n";
    fs::write(&file, text).unwrap();
    let named = named_modules(&file);
    fs::remove_file(&file).unwrap();
    assert_eq!(named, ["line", "error", "znode", "recipes", "session"]);
}
