//! Where tests lie, and what they are called: a folder per recipe, and names that are read at a glance.

use std::fs;
use std::path::{Path, PathBuf};

use super::layers::sources;

const MOST_WORDS: usize = 8;
const MOST_LINES: usize = 400;

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it")
}

/// The names of the tests in a file: the function after each attribute that ends in `test`, with or without arguments.
fn test_names(code: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut is_test = false;
    for line in code.lines().map(str::trim_start) {
        if let Some(attribute) = line.strip_prefix("#[") {
            let path = attribute.split(['(', ']']).next().unwrap_or_default();
            is_test |= path.rsplit("::").next() == Some("test");
        } else if let Some((_, rest)) = line.split_once("fn ") {
            names.extend(rest.split('(').next().filter(|_| is_test));
            is_test = false;
        }
    }
    names
}

#[test]
fn test_names_have_at_most_eight_words() {
    let mut seen = 0;
    let mut long = Vec::new();
    for file in sources(&tests()) {
        let code = fs::read_to_string(&file).unwrap();
        let names = test_names(&code);
        seen += names.len();
        let too_long = names.iter().filter(|name| name.split('_').count() > MOST_WORDS);
        long.extend(too_long.map(|name| format!("{}: {name}", file.display())));
    }
    assert!(seen > 700, "only {seen} tests were seen");
    assert!(long.is_empty(), "say it in {MOST_WORDS} words: {long:#?}");
}

#[test]
fn the_scan_sees_every_test() {
    let code = "#[test]\nfn a() {}\n#[tokio::test(flavor = \"x\")]\n#[ignore]\n// Why.\nasync fn b_c() {}\nfn d() {}\n\
                #[cfg(test)]\nfn e() {}\n    #[tokio::test]\n    pub(super) async fn f() {}\n";
    assert_eq!(test_names(code), ["a", "b_c", "f"]);
}

/// What tests share lies in `support`.
#[test]
fn tests_lie_in_folders() {
    let entries = fs::read_dir(tests()).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<_> = entries.filter(|path| !path.is_dir()).collect();
    assert_eq!(
        files,
        [tests().join("main.rs")],
        "move these into the folder of their recipe"
    );
}

#[test]
fn test_files_stay_short() {
    for file in sources(&tests()) {
        let lines = fs::read_to_string(&file).unwrap().lines().count();
        assert!(lines <= MOST_LINES, "{} has {lines} lines", file.display());
    }
}
