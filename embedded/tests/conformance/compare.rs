//! Decodes replies whole and renames what may differ: zxids by an offset, session ids by order, times away.

use std::collections::HashMap;
use std::fmt::Write as _;

use crate::raw::{Fields, Reply};

/// The names of one server's numbers.
pub(crate) struct Names {
    zxid_base: i64,
    sessions: HashMap<i64, usize>,
}

impl Names {
    pub(crate) fn new(zxid_base: i64) -> Self {
        Self {
            zxid_base,
            sessions: HashMap::new(),
        }
    }

    pub(crate) fn session(&mut self, id: i64) -> String {
        if id == 0 {
            return "none".to_owned();
        }
        let next = self.sessions.len();
        format!("session {}", self.sessions.entry(id).or_insert(next))
    }

    fn zxid(&self, zxid: i64) -> String {
        if zxid <= 0 {
            zxid.to_string()
        } else {
            format!("z{:+}", zxid - self.zxid_base)
        }
    }

    pub(crate) fn reply(&mut self, op: i32, reply: &Reply) -> String {
        let Reply::Frame { zxid, error, body } = reply else {
            return "closed".to_owned();
        };
        let mut fields = Fields(body);
        let mut text = format!("zxid {} error {error}", self.zxid(*zxid));
        if *error == 0 {
            let _ = write!(text, " {}", self.body(op, &mut fields));
        }
        assert!(fields.0.is_empty(), "op {op}: {} bytes after the reply", fields.0.len());
        text
    }

    fn body(&mut self, op: i32, fields: &mut Fields<'_>) -> String {
        match op {
            1 | 9 => fields.text(),
            15 | 19 | 21 => format!("{} {}", fields.text(), self.stat(fields)),
            2 | 11 | 13 | 17 | 18 | 100 | 101 | 105 | -11 => String::new(),
            3 | 5 | 7 => self.stat(fields),
            4 => format!("{:?} {}", fields.bytes(), self.stat(fields)),
            6 => format!("{} {}", acls(fields), self.stat(fields)),
            8 | 103 => sorted(fields.texts()),
            12 => format!("{} {}", sorted(fields.texts()), self.stat(fields)),
            104 | 106 => fields.int().to_string(),
            107 => sorted(
                (0..fields.int())
                    .map(|_| format!("{} {}", fields.text(), fields.text()))
                    .collect(),
            ),
            14 | 22 => {
                let mut text = String::new();
                loop {
                    let (kind, done, error) = (fields.int(), fields.byte(), fields.int());
                    let _ = write!(text, "| {kind} {done} {error} ");
                    match (kind, done) {
                        (_, 1) => return text,
                        (-1, _) => text += &fields.int().to_string(),
                        (kind, _) => text += &self.body(kind, fields),
                    }
                }
            }
            op => panic!("op {op} has no reply without error"),
        }
    }

    fn stat(&mut self, fields: &mut Fields<'_>) -> String {
        let (czxid, mzxid, ctime, mtime) = (fields.long(), fields.long(), fields.long(), fields.long());
        assert!(
            ctime <= mtime && (ctime == mtime || czxid != mzxid),
            "times follow zxids"
        );
        assert!(ctime == 0 || ctime > 1_500_000_000_000, "times are in milliseconds");
        let (version, cversion, aversion) = (fields.int(), fields.int(), fields.int());
        let owner = self.session(fields.long());
        let (data_length, num_children) = (fields.int(), fields.int());
        let [czxid, mzxid, pzxid] = [czxid, mzxid, fields.long()].map(|zxid| self.zxid(zxid));
        format!(
            "[c {czxid} m {mzxid} p {pzxid} has time {} version {version} cversion {cversion} aversion {aversion} \
             owner {owner} length {data_length} children {num_children}]",
            ctime != 0
        )
    }
}

/// An event, readable.
pub(crate) fn event(body: &[u8]) -> String {
    let mut fields = Fields(body);
    let text = format!("event {} state {} {}", fields.int(), fields.int(), fields.text());
    assert!(fields.0.is_empty());
    text
}

/// Sorted: the scheme `auth` stands for a set of identities.
fn acls(fields: &mut Fields<'_>) -> String {
    sorted(
        (0..fields.int())
            .map(|_| format!("{} {} {}", fields.int(), fields.text(), fields.text()))
            .collect(),
    )
}

fn sorted(mut texts: Vec<String>) -> String {
    texts.sort_unstable();
    format!("{texts:?}")
}
