//! [`NodePath`]: a path that a server accepts.

use std::fmt;
use std::sync::Arc;

use crate::error::Error;

/// An absolute path of a node below the chroot, checked once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct NodePath(Arc<str>);

impl NodePath {
    /// Checks `path` by the rules of ZooKeeper's `PathUtils`; the chroot itself is refused, since nodes are made
    /// *in* the path.
    pub(crate) fn new(path: &str) -> Result<Self, Error> {
        match problem(path) {
            None => Ok(Self(path.into())),
            Some(reason) => Err(invalid(path, reason)),
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The path of a child whose name comes from outside: one part of a path.
    pub(crate) fn named_child(&self, name: &str) -> Result<Self, Error> {
        match name {
            "" => Err(invalid(name, "a name must not be empty")),
            _ if name.contains('/') => Err(invalid(name, "a name is one part of a path and has no '/'")),
            _ => Self::new(&self.child(name)),
        }
    }

    /// The directory, unless that is the root.
    pub(crate) fn parent(&self) -> Option<Self> {
        match self.0.rfind('/') {
            Some(0) | None => None,
            Some(slash) => Some(Self(self.0[..slash].into())),
        }
    }

    /// A node below this one, at a relative path of our own making.
    pub(crate) fn descendant(&self, relative: &str) -> Self {
        Self(self.child(relative).into())
    }

    /// The path of a child.
    pub(crate) fn child(&self, name: &str) -> String {
        format!("{}/{name}", self.0)
    }
}

impl fmt::Display for NodePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The longest path, in bytes: far below what a server takes as a request (`jute.maxbuffer`, 1 MiB by default).
const LENGTH_LIMIT: usize = 16 * 1024;

fn invalid(path: &str, reason: &'static str) -> Error {
    let path = path.to_owned();
    Error::InvalidPath { path, reason }
}

fn problem(path: &str) -> Option<&'static str> {
    if path.len() > LENGTH_LIMIT {
        return Some("a path is at most 16 KiB long");
    }
    let Some(relative) = path.strip_prefix('/') else {
        return Some("a path starts with '/'");
    };
    if relative.is_empty() {
        return Some("the root cannot be used; choose a node below it");
    }
    for part in relative.split('/') {
        match part {
            "" => return Some("a path has no empty parts and does not end with '/'"),
            "." | ".." => return Some("a path has no '.' or '..' parts"),
            _ => {}
        }
    }
    if path.chars().any(is_refused) {
        return Some("a path has no control or private-use characters and none from U+FFF0 on, as emoji are");
    }
    None
}

/// The ranges that `PathUtils.validatePath` refuses. It looks at UTF-16, where all beyond the basic plane are surrogates.
fn is_refused(c: char) -> bool {
    matches!(u32::from(c), 0x00..=0x1f | 0x7f..=0x9f | 0xd800..=0xf8ff | 0xfff0..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_paths_pass() {
        for path in ["/a", "/a/b", "/payments/account-17", "/a.b/..c/d..", "/路径", "/a b"] {
            assert_eq!(NodePath::new(path).map(|p| p.as_str().to_owned()), Ok(path.to_owned()));
        }
    }

    #[test]
    fn bad_paths_are_refused_with_the_path_in_the_error() {
        for path in [
            "",
            "a",
            "a/b",
            "/",
            "//",
            "/a/",
            "/a//b",
            "/.",
            "/a/..",
            "/a/./b",
            "/a\0",
            "/\u{1}",
            "/\u{f000}",
            "/\u{fff0}",
            "/🔒",
        ] {
            match NodePath::new(path) {
                Err(Error::InvalidPath { path: named, .. }) => assert_eq!(named, path),
                other => unreachable!("{path:?} gave {other:?}"),
            }
        }
    }

    #[test]
    fn a_child_is_below_its_parent() {
        assert_eq!(NodePath::new("/a/b").unwrap().child("c"), "/a/b/c");
    }
}
