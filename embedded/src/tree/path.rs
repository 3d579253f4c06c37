//! Rules for paths.

/// The root node. Requests and parents spell it also as the empty path.
pub(crate) const ROOT: &str = "/";

/// Whether ZooKeeper takes this path for a node.
pub(crate) fn is_valid(path: &str) -> bool {
    if path == ROOT {
        return true;
    }
    let Some(relative) = path.strip_prefix('/') else {
        return false;
    };
    relative.split('/').all(|name| !matches!(name, "" | "." | "..")) && relative.chars().all(is_valid_char)
}

/// Whether the server made this node and keeps it.
pub(crate) fn is_special(path: &str) -> bool {
    matches!(path, ROOT | "/zookeeper" | "/zookeeper/quota" | "/zookeeper/config")
}

/// Splits a path into its parent and its last name; `None` without any slash.
///
/// The parent of a child of the root is the empty path, which [`normal`] turns into `/`.
pub(crate) fn split(path: &str) -> Option<(&str, &str)> {
    path.rsplit_once('/')
}

/// The key under which a node is kept.
pub(crate) fn normal(path: &str) -> &str {
    if path.is_empty() { ROOT } else { path }
}

/// The path itself and everything above it, upwards.
pub(crate) fn self_and_ancestors(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors((!path.is_empty()).then_some(path), |path| {
        if *path == ROOT {
            None
        } else {
            split(path).map(|(parent, _)| normal(parent))
        }
    })
}

// Java judges UTF-16 units: a character beyond the basic plane is a pair of surrogates, which are refused.
fn is_valid_char(c: char) -> bool {
    !matches!(u32::from(c), 0..=0x1f | 0x7f..=0x9f | 0xd800..=0xf8ff | 0xfff0..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_and_invalid_paths() {
        for path in ["/", "/a", "/a/b", "/a.b", "/...", "/ä", "/a b"] {
            assert!(is_valid(path), "{path:?}");
        }
        for path in [
            "",
            "a",
            "a/b",
            "/a/",
            "//",
            "//a",
            "/a//b",
            "/.",
            "/a/..",
            "/./b",
            "/\0",
            "/a\u{1f}",
            "/\u{1f600}",
        ] {
            assert!(!is_valid(path), "{path:?}");
        }
    }

    #[test]
    fn ancestors_end_at_the_root() {
        assert_eq!(self_and_ancestors("/a/b").collect::<Vec<_>>(), ["/a/b", "/a", "/"]);
        assert_eq!(self_and_ancestors("/").collect::<Vec<_>>(), ["/"]);
        assert_eq!(self_and_ancestors("").count(), 0);
        assert_eq!(self_and_ancestors("a").collect::<Vec<_>>(), ["a"]);
    }
}
