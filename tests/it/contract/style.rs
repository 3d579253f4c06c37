//! Names and lengths in the sources of the crate.

use std::collections::BTreeMap;

use super::layers::{LAYERS, codes, identifier};

/// The name of the type that a line declares. Associated types are indented, others need not be.
fn declared_type(line: &str) -> Option<&str> {
    let words = line.trim_start();
    let words = match words.strip_prefix("pub") {
        Some(rest) if rest.starts_with('(') => rest.split_once(')')?.1.trim_start(),
        Some(rest) if rest.starts_with(' ') => rest.trim_start(),
        _ => words,
    };
    let (keyword, rest) = words.split_once(' ')?;
    let declares = match keyword {
        "struct" | "enum" | "union" | "trait" => true,
        "type" => !line.starts_with(' '),
        _ => false,
    };
    let end = rest
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(rest.len());
    (declares && end > 0).then(|| &rest[..end])
}

#[test]
fn no_type_name_is_used_twice() {
    let mut declared: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (file, code) in codes() {
        for name in code.lines().filter_map(declared_type) {
            declared.entry(name.to_owned()).or_default().push(format!("src/{file}"));
        }
    }
    assert!(declared.len() > 100, "the scan finds no types: adapt this test");
    declared.retain(|_, files| files.len() > 1);
    assert!(declared.is_empty(), "type names that are used twice: {declared:#?}");
}

/// The longest function, in lines, of the layers below the recipes.
const FUNCTION_LINES: usize = 70;

/// Name and length of each function: up to the line that closes it, which is indented as its first one is.
fn functions(code: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = code.lines().collect();
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let Some((front, rest)) = line.split_once("fn ") else {
            continue;
        };
        let is_declaration = front
            .split_whitespace()
            .all(|word| word.starts_with("pub") || word.ends_with(')') || matches!(word, "async" | "const" | "in"));
        if !is_declaration {
            continue;
        }
        let ends = |end: &&str| (end.trim() == "}" || end.ends_with(';')) && indent(end) == indent(line);
        if line.ends_with('}') {
            found.push((identifier(rest), 1));
            continue;
        }
        let length = lines[start..].iter().position(ends).map_or(0, |end| end + 1);
        found.push((identifier(rest), length));
    }
    found
}

#[test]
fn functions_below_the_recipes_fit_on_a_screen() {
    let mut seen = 0;
    let mut found = Vec::new();
    for (file, code) in codes()
        .iter()
        .filter(|(file, _)| LAYERS[..3].iter().any(|layer| file.starts_with(layer)))
    {
        let functions = functions(code);
        seen += functions.len();
        let long = functions.into_iter().filter(|(_, lines)| *lines > FUNCTION_LINES);
        found.extend(long.map(|(name, lines)| format!("src/{file}: {name} has {lines} lines")));
    }
    assert!(seen > 200, "the scan finds {seen} functions: adapt this test");
    assert!(
        found.is_empty(),
        "functions of more than {FUNCTION_LINES} lines:\n{}",
        found.join("\n")
    );
}
