//! What a frame on the wire says, as far as tests ask.

use std::fmt;

use super::Op;

/// A request as the proxy saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The operation.
    pub op: Op,
    /// The path, or of a multi those of all its operations, in order. Relative to the chroot that the proxy knows.
    pub paths: Vec<String>,
    /// The operations within a multi.
    pub inner: Vec<Op>,
    /// How long it is on the wire, without the four bytes that say so.
    pub bytes: usize,
    pub(super) xid: i32,
}

impl Request {
    /// Whether this is a multi of nothing but checks: the heartbeat that commits through the quorum and changes nothing.
    pub fn is_heartbeat(&self) -> bool {
        self.op == Op::Multi && self.inner.iter().all(|op| *op == Op::Check)
    }

    /// Whether one of the paths is `dir` or lies below it.
    pub fn is_under(&self, dir: &str) -> bool {
        let dir = dir.trim_end_matches('/');
        let under = |path: &String| {
            path.strip_prefix(dir)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.paths.iter().any(under)
    }

    /// Parses a frame without its length. `None` if it is too short for a header.
    pub(super) fn parse(frame: &[u8], chroot: &str) -> Option<Self> {
        let mut fields = Fields(frame);
        let xid = fields.int()?;
        let op = Op::from(fields.int()?);
        let mut request = Self {
            op,
            paths: Vec::new(),
            inner: Vec::new(),
            bytes: frame.len(),
            xid,
        };
        match op {
            Op::Multi | Op::MultiRead => request.parse_inner(fields).unwrap_or_default(),
            Op::Ping | Op::Auth | Op::Sasl | Op::SetWatches | Op::SetWatches2 | Op::CloseSession | Op::WhoAmI => {}
            _ => request.paths.extend(fields.string()),
        }
        for path in &mut request.paths {
            if let Some(rest) = path
                .strip_prefix(chroot)
                .filter(|rest| rest.is_empty() || rest.starts_with('/'))
            {
                *path = if rest.is_empty() {
                    "/".to_owned()
                } else {
                    rest.to_owned()
                };
            }
        }
        Some(request)
    }

    fn parse_inner(&mut self, mut fields: Fields<'_>) -> Option<()> {
        loop {
            let op = Op::from(fields.int()?);
            let done = fields.byte()? != 0;
            fields.int()?;
            if done {
                return Some(());
            }
            self.inner.push(op);
            self.paths.push(fields.string()?);
            match op {
                _ if op.is_create() => {
                    fields.buffer()?;
                    for _ in 0..fields.int()? {
                        fields.int()?;
                        fields.buffer()?;
                        fields.buffer()?;
                    }
                    fields.int()?;
                    if op == Op::CreateTtl {
                        fields.take(8)?;
                    }
                }
                Op::SetData => {
                    fields.buffer()?;
                    fields.int()?;
                }
                Op::Delete | Op::Check => _ = fields.int()?,
                Op::GetData | Op::GetChildren => _ = fields.byte()?,
                _ => return None,
            }
        }
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.op)?;
        if !self.inner.is_empty() {
            write!(f, "{:?}", self.inner)?;
        }
        write!(f, " {}", self.paths.join(" "))
    }
}

/// The xid of a reply, without its length. Notifications have -1, pings -2.
pub(super) fn reply_xid(frame: &[u8]) -> Option<i32> {
    Fields(frame).int()
}

struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        Some(self.take(1)?[0])
    }

    fn int(&mut self) -> Option<i32> {
        Some(i32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    /// A null buffer, of length -1, is an empty one here.
    fn buffer(&mut self) -> Option<&'a [u8]> {
        let len = self.int()?.max(0);
        self.take(usize::try_from(len).ok()?)
    }

    fn string(&mut self) -> Option<String> {
        Some(String::from_utf8_lossy(self.buffer()?).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(text: &str) -> Vec<u8> {
        [&(text.len() as i32).to_be_bytes()[..], text.as_bytes()].concat()
    }

    fn ints(ints: &[i32]) -> Vec<u8> {
        ints.iter().flat_map(|int| int.to_be_bytes()).collect()
    }

    #[test]
    fn a_path_is_relative_to_the_chroot() {
        let parse = |path: &str| {
            let frame = [ints(&[7, 15]), string(path), string("data")].concat();
            Request::parse(&frame, "/t-1").unwrap()
        };
        assert_eq!(parse("/t-1/a/b").paths, ["/a/b"]);
        assert_eq!(parse("/t-1").paths, ["/"]);
        assert_eq!(parse("/t-10/a").paths, ["/t-10/a"]);
        assert_eq!(parse("/t-1/a").op, Op::Create2);
        assert_eq!(parse("/t-1/a").xid, 7);
    }

    #[test]
    fn a_multi_names_all_its_operations() {
        let header = |op: i32, done: bool| [&ints(&[op])[..], &[u8::from(done)], &ints(&[-1])].concat();
        let acl = [ints(&[1, 31]), string("world"), string("anyone")].concat();
        let frame = [
            ints(&[1, 14]),
            header(13, false),
            [string("/a"), ints(&[3])].concat(),
            header(1, false),
            [string("/b"), string("x"), acl, ints(&[0])].concat(),
            header(5, false),
            [string("/c"), ints(&[-1]), ints(&[2])].concat(),
            header(-1, true),
        ]
        .concat();
        let request = Request::parse(&frame, "").unwrap();
        assert_eq!(request.inner, [Op::Check, Op::Create, Op::SetData]);
        assert_eq!(request.paths, ["/a", "/b", "/c"]);
        assert!(!request.is_heartbeat());

        let frame = [
            ints(&[1, 14]),
            header(13, false),
            string("/a"),
            ints(&[3]),
            header(-1, true),
        ]
        .concat();
        assert!(Request::parse(&frame, "").unwrap().is_heartbeat());
    }

    #[test]
    fn below_a_directory_is_not_beside_it() {
        let request = Request {
            op: Op::Delete,
            paths: vec!["/a/b".to_owned()],
            inner: Vec::new(),
            bytes: 0,
            xid: 1,
        };
        assert!(request.is_under("/a") && request.is_under("/a/b") && request.is_under("/"));
        assert!(!request.is_under("/a/") || request.is_under("/a"));
        assert!(!request.is_under("/a/bc") && !request.is_under("/ab"));
    }
}
