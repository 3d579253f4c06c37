//! Random scripts: the same seed gives the same script.

use rand::prelude::*;

use crate::raw::Body;

/// One thing a client does.
#[derive(Clone)]
pub(crate) enum Step {
    Call {
        op: i32,
        body: Body,
        about: String,
    },
    /// Ends the session and opens another one.
    CloseAndReopen,
    /// Loses the connection and comes back to the session.
    Reconnect,
    /// Tries to come back to the session with a wrong password, on a connection of its own.
    WrongPassword,
    /// Ends the session from a second connection that took it over.
    TakeOverAndClose,
    /// Sets watches as after a reconnect that missed so many transactions.
    SetWatches {
        behind: i64,
        lists: Vec<Vec<String>>,
    },
}

/// Makes up steps, from paths that exist more often than not.
pub(crate) struct Author {
    random: StdRng,
    root: String,
    known: Vec<String>,
}

const NAMES: [&str; 4] = ["a", "b", "c", "d"];
const ODD_PATHS: [&str; 11] = [
    "",
    "x",
    "/x/",
    "//",
    "/a//b",
    "/.",
    "/a/..",
    "/\u{1}",
    "/\u{e000}",
    "/zookeeper/config",
    "/",
];

impl Author {
    pub(crate) fn new(seed: u64) -> Self {
        let root = format!("/script-{seed}");
        Self {
            random: StdRng::seed_from_u64(seed),
            known: vec![root.clone()],
            root,
        }
    }

    pub(crate) fn root(&self) -> &str {
        &self.root
    }

    /// Tells of a node that exists for sure.
    pub(crate) fn learn(&mut self, path: String) {
        if self.known.len() > 30 {
            let index = self.random.random_range(1..self.known.len());
            self.known.swap_remove(index);
        }
        self.known.push(path);
    }

    pub(crate) fn slot(&mut self, slots: usize) -> usize {
        self.random.random_range(0..slots)
    }

    pub(crate) fn step(&mut self) -> Step {
        match self.random.random_range(0..100) {
            0..30 => self.write(),
            30..40 => self.multi(),
            40..70 => self.read(),
            70..80 => self.watch(),
            80..88 => self.about_the_session(),
            88..91 => self.multi_read(),
            91..93 => Step::CloseAndReopen,
            93..95 => Step::Reconnect,
            95 => Step::WrongPassword,
            96 => Step::TakeOverAndClose,
            97 => self.set_watches(),
            _ => self.odd(),
        }
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.random.random_range(0..100) < percent
    }

    fn existing(&mut self) -> String {
        self.known.choose(&mut self.random).cloned().unwrap_or_default()
    }

    fn path(&mut self) -> String {
        if self.chance(3) {
            return (*ODD_PATHS.choose(&mut self.random).expect("not empty")).to_owned();
        }
        match self.random.random_range(0..10) {
            0..6 => self.existing(),
            _ => self.child(),
        }
    }

    fn child(&mut self) -> String {
        let parent = if self.chance(60) {
            self.root.clone()
        } else {
            self.existing()
        };
        let name = NAMES.choose(&mut self.random).expect("not empty");
        if parent == "/" {
            format!("/{name}")
        } else {
            format!("{parent}/{name}")
        }
    }

    fn version(&mut self) -> i32 {
        *[-1, -1, -1, 0, 0, 1, 2, -2]
            .choose(&mut self.random)
            .expect("not empty")
    }

    fn data(&mut self) -> Option<Vec<u8>> {
        match self.random.random_range(0..10) {
            0 => None,
            1 => Some(Vec::new()),
            _ => Some(
                (0..self.random.random_range(1..20))
                    .map(|_| self.random.random())
                    .collect(),
            ),
        }
    }

    fn acl(&mut self) -> Body {
        let entry = |perms: i32, scheme: &str, id: &str| Body::default().int(perms).text(scheme).text(id);
        let open = || Body::default().int(1).append(&entry(31, "world", "anyone"));
        if self.chance(75) {
            return open();
        }
        let one = |entry: Body| Body::default().int(1).append(&entry);
        match self.random.random_range(0..14) {
            0 => one(entry(31, "auth", "")),
            1 => one(entry(31, "digest", "alice:yMM8Rsn8Hb4Sk5Ht5IGPfV5Ymhs=")),
            2 => one(entry(1, "world", "anyone")),
            3 => one(entry(27, "world", "anyone")),
            4 => Body::default().int(0),
            5 => Body::default().int(-1),
            6 => one(entry(31, "world", "nobody")),
            7 => one(entry(31, "ip", "127.0.0.1")),
            8 => one(entry(31, "ip", "127.0.0.0/8")),
            9 => one(entry(31, "ip", "no address")),
            10 => one(entry(31, "digest", "no-colon")),
            11 => one(entry(31, "unknown", "x")),
            12 => Body::default()
                .int(2)
                .append(&entry(1, "world", "anyone"))
                .append(&entry(31, "auth", "")),
            _ => Body::default()
                .int(2)
                .append(&entry(31, "world", "anyone"))
                .append(&entry(31, "world", "anyone")),
        }
    }

    /// An operation that a multi may hold, too.
    fn plain_write(&mut self) -> (i32, Body, String) {
        match self.random.random_range(0..10) {
            0..5 => {
                let op = *[1, 1, 15, 15, 19, 21].choose(&mut self.random).expect("not empty");
                let path = if self.chance(80) { self.child() } else { self.path() };
                let flags = match op {
                    19 => *[4, 4, 4, 0, 2].choose(&mut self.random).expect("not empty"),
                    21 => *[5, 5, 6, 6].choose(&mut self.random).expect("not empty"),
                    _ => *[0, 0, 0, 1, 1, 2, 3, 3, 4, 5, 7, -1]
                        .choose(&mut self.random)
                        .expect("not empty"),
                };
                let data = self.data();
                let acl = self.acl();
                let mut body = Body::default()
                    .text(&path)
                    .bytes(data.as_deref())
                    .append(&acl)
                    .int(flags);
                if op == 21 {
                    let ttl = *[1_000_000, 1_000_000, 0xff_ffff_ffff, 0, -1, i64::MAX]
                        .choose(&mut self.random)
                        .expect("");
                    body = body.long(ttl);
                }
                (op, body, format!("create {path} flags {flags}"))
            }
            5..7 => {
                let (path, version) = (self.path(), self.version());
                (
                    2,
                    Body::default().text(&path).int(version),
                    format!("delete {path} version {version}"),
                )
            }
            7..9 => {
                let (path, data, version) = (self.path(), self.data(), self.version());
                let body = Body::default().text(&path).bytes(data.as_deref()).int(version);
                (5, body, format!("set {path} version {version}"))
            }
            _ => {
                let (path, version) = (self.path(), self.version());
                (
                    13,
                    Body::default().text(&path).int(version),
                    format!("check {path} version {version}"),
                )
            }
        }
    }

    fn write(&mut self) -> Step {
        if self.chance(10) {
            let (path, acl, version) = (self.path(), self.acl(), self.version());
            let body = Body::default().text(&path).append(&acl).int(version);
            return Step::Call {
                op: 7,
                body,
                about: format!("setACL {path} version {version}"),
            };
        }
        loop {
            let (op, body, about) = self.plain_write();
            // Outside of a multi the real server has no reply for a check.
            if op != 13 {
                return Step::Call { op, body, about };
            }
        }
    }

    fn multi(&mut self) -> Step {
        let mut body = Body::default();
        let mut about = "multi".to_owned();
        for _ in 0..self.random.random_range(0..6) {
            let (op, part, text) = self.plain_write();
            body = body.int(op).bool(false).int(-1).append(&part);
            about += &format!(" | {text}");
        }
        Step::Call {
            op: 14,
            body: body.int(-1).bool(true).int(-1),
            about,
        }
    }

    fn read(&mut self) -> Step {
        let path = self.path();
        let watch = self.chance(50);
        let op = *[3, 3, 4, 4, 8, 12, 12, 6, 9, 104]
            .choose(&mut self.random)
            .expect("not empty");
        let body = Body::default().text(&path);
        let body = if matches!(op, 3 | 4 | 8 | 12) {
            body.bool(watch)
        } else {
            body
        };
        Step::Call {
            op,
            body,
            about: format!("read {op} {path} watch {watch}"),
        }
    }

    fn multi_read(&mut self) -> Step {
        let mut body = Body::default();
        for _ in 0..self.random.random_range(0..4) {
            let op = *[4, 8].choose(&mut self.random).expect("not empty");
            let path = self.path();
            let watch = self.chance(30);
            body = body.int(op).bool(false).int(-1).text(&path).bool(watch);
        }
        Step::Call {
            op: 22,
            body: body.int(-1).bool(true).int(-1),
            about: "multiRead".to_owned(),
        }
    }

    fn watch(&mut self) -> Step {
        // Looking for watches on a relative path makes the real server stumble over its own path iterator.
        let path = Some(self.path())
            .filter(|path| path.starts_with('/'))
            .unwrap_or_else(|| self.root.clone());
        let (op, argument) = match self.random.random_range(0..10) {
            0..6 => (106, *[0, 0, 1, 1, 2].choose(&mut self.random).expect("not empty")),
            6..8 => (17, self.random.random_range(1..6)),
            _ => (18, self.random.random_range(1..6)),
        };
        let body = Body::default().text(&path).int(argument);
        Step::Call {
            op,
            body,
            about: format!("watch {op} {path} {argument}"),
        }
    }

    fn about_the_session(&mut self) -> Step {
        match self.random.random_range(0..6) {
            0 => Step::Call {
                op: 11,
                body: Body::default(),
                about: "ping".to_owned(),
            },
            1 => Step::Call {
                op: 107,
                body: Body::default(),
                about: "whoami".to_owned(),
            },
            2 | 3 => {
                let user = *["alice:secret", "bob:secret", "carol"]
                    .choose(&mut self.random)
                    .expect("not empty");
                let body = Body::default().int(0).text("digest").bytes(Some(user.as_bytes()));
                Step::Call {
                    op: 100,
                    body,
                    about: format!("auth {user}"),
                }
            }
            _ => {
                let prefix = match self.random.random_range(0..4) {
                    0 => "/".to_owned(),
                    1 => String::new(),
                    _ => self.path(),
                };
                Step::Call {
                    op: 103,
                    body: Body::default().text(&prefix),
                    about: format!("ephemerals {prefix}"),
                }
            }
        }
    }

    fn set_watches(&mut self) -> Step {
        let behind = self.random.random_range(0..40);
        let kinds = if self.chance(50) { 3 } else { 5 };
        let lists = (0..kinds)
            .map(|_| (0..self.random.random_range(0..3)).map(|_| self.path()).collect())
            .collect();
        Step::SetWatches { behind, lists }
    }

    /// Requests no sane client sends.
    fn odd(&mut self) -> Step {
        let path = self.path();
        let call = |op, body, about: &str| Step::Call {
            op,
            body,
            about: about.to_owned(),
        };
        match self.random.random_range(0..8) {
            0 => call(4711, Body::default(), "unknown op"),
            1 => call(1, Body::default().text(&path), "truncated create"),
            2 => call(4, Body::default().int(1000), "truncated getData"),
            3 => call(
                14,
                Body::default().int(1).bool(false).int(-1).int(1000),
                "truncated multi",
            ),
            4 => call(
                14,
                Body::default().int(7).bool(false).int(-1).text(&path),
                "setACL in a multi",
            ),
            5 => call(
                100,
                Body::default().int(0).text("unknown").bytes(Some(b"x")),
                "unknown auth scheme",
            ),
            6 => call(106, Body::default().text(&path), "truncated addWatch"),
            _ => call(16, Body::default().text("").text("").text("").long(-1), "reconfig"),
        }
    }
}
