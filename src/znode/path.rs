//! [`NodePath`]: a path that a server accepts.

use std::fmt::{self, Write as _};
use std::ops::Deref;
use std::str::FromStr;
use std::sync::Arc;

use crate::error::Error;

/// An absolute path of a node below the chroot, checked once. It dereferences to `str`, which every recipe takes.
///
/// # Examples
/// ```
/// # fn main() -> Result<(), zookeeper_recipes::Error> {
/// use zookeeper_recipes::NodePath;
///
/// let files = NodePath::new("/locks/files")?;
/// // A name from outside, whatever it contains, is one segment.
/// assert_eq!(files.join("reports/2026")?.as_str(), "/locks/files/reports%2F2026");
/// assert_eq!("/locks/files".parse::<NodePath>()?, files);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodePath(Arc<str>);

impl NodePath {
    /// Checks `path` by the rules of ZooKeeper's `PathUtils`; the chroot itself is refused, since nodes are made
    /// *in* the path.
    ///
    /// # Errors
    /// [`Error::InvalidPath`].
    pub fn new(path: &str) -> Result<Self, Error> {
        match problem(path) {
            None => Ok(Self(path.into())),
            Some(reason) => Err(invalid(path, reason)),
        }
    }

    /// Returns the path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the path of the child that stands for `name`, whatever that contains: one [`segment`](Self::segment).
    ///
    /// # Errors
    /// [`Error::InvalidPath`] if the path becomes too long.
    pub fn join(&self, name: &str) -> Result<Self, Error> {
        Self::new(&self.child(&Self::segment(name)))
    }

    /// Escapes any text into one segment of a path: an id, a file name, an address. Different texts become different
    /// segments; [`unescape`](Self::unescape) gives the text back.
    ///
    /// What ZooKeeper does not accept in a segment, and `%`, become `%` and two hexadecimal digits for each byte of UTF-8;
    /// the empty text becomes `%`.
    ///
    /// ```
    /// use zookeeper_recipes::NodePath;
    ///
    /// assert_eq!(NodePath::segment("a/b"), "a%2Fb");
    /// assert_eq!(NodePath::segment(".."), "%2E%2E");
    /// assert_eq!(NodePath::segment("account-17"), "account-17");
    /// ```
    pub fn segment(text: &str) -> String {
        if text.is_empty() {
            return "%".to_owned();
        }
        let is_dots = matches!(text, "." | "..");
        let mut segment = String::with_capacity(text.len());
        for c in text.chars() {
            if is_dots || matches!(c, '/' | '%') || is_refused(c) {
                for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                    // Writing into a string does not fail.
                    let _ = write!(segment, "%{byte:02X}");
                }
            } else {
                segment.push(c);
            }
        }
        segment
    }

    /// Returns the text that was [escaped](Self::segment) into `segment`; `None` if none was.
    ///
    /// ```
    /// use zookeeper_recipes::NodePath;
    ///
    /// assert_eq!(NodePath::unescape("a%2Fb").as_deref(), Some("a/b"));
    /// assert_eq!(NodePath::unescape("100%"), None);
    /// ```
    pub fn unescape(segment: &str) -> Option<String> {
        if segment == "%" {
            return Some(String::new());
        }
        let (mut bytes, mut rest) = (Vec::with_capacity(segment.len()), segment.as_bytes());
        while let [first, after @ ..] = rest {
            rest = after;
            if *first != b'%' {
                bytes.push(*first);
                continue;
            }
            let (digits, after) = after.split_at_checked(2)?;
            bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
            rest = after;
        }
        let text = String::from_utf8(bytes).ok()?;
        // One text has one segment.
        (Self::segment(&text) == segment).then_some(text)
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

impl Deref for NodePath {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for NodePath {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl FromStr for NodePath {
    type Err = Error;

    fn from_str(path: &str) -> Result<Self, Error> {
        Self::new(path)
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
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_text_is_one_segment_and_comes_back(text in any::<String>()) {
            let segment = NodePath::segment(&text);
            let parent = NodePath::new("/a").unwrap();
            prop_assert_eq!(parent.named_child(&segment).unwrap(), parent.join(&text).unwrap());
            prop_assert_eq!(NodePath::unescape(&segment), Some(text));
        }

        #[test]
        fn two_texts_are_two_segments(segment in "[%0-9A-Fa-z./]{0,8}") {
            if let Some(text) = NodePath::unescape(&segment) {
                prop_assert_eq!(NodePath::segment(&text), segment);
            }
        }
    }

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
