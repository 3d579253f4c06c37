//! A blocking client that speaks raw frames and judges nothing. It shares no code with the server.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Appends jute values.
#[derive(Default, Clone)]
pub(crate) struct Body(pub(crate) Vec<u8>);

impl Body {
    pub(crate) fn bool(mut self, value: bool) -> Self {
        self.0.push(u8::from(value));
        self
    }

    pub(crate) fn int(mut self, value: i32) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    pub(crate) fn long(mut self, value: i64) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    pub(crate) fn bytes(self, bytes: Option<&[u8]>) -> Self {
        match bytes {
            None => self.int(-1),
            Some(bytes) => {
                let mut body = self.int(bytes.len() as i32);
                body.0.extend(bytes);
                body
            }
        }
    }

    pub(crate) fn text(self, text: &str) -> Self {
        self.bytes(Some(text.as_bytes()))
    }

    pub(crate) fn texts(self, texts: &[String]) -> Self {
        texts
            .iter()
            .fold(self.int(texts.len() as i32), |body, text| body.text(text))
    }

    pub(crate) fn append(mut self, other: &Body) -> Self {
        self.0.extend(&other.0);
        self
    }
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    Frame {
        zxid: i64,
        error: i32,
        body: Vec<u8>,
    },
    /// The server closed the connection.
    Closed,
}

/// What the server said to the handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Welcome {
    pub(crate) timeout: i32,
    pub(crate) session: i64,
    pub(crate) password: Vec<u8>,
}

pub(crate) struct RawClient {
    stream: TcpStream,
    next_xid: i32,
    /// Watch events since the last time they were taken, as raw bodies.
    pub(crate) events: Vec<Vec<u8>>,
    pub(crate) welcome: Welcome,
}

impl RawClient {
    /// `None` when the server closes the connection instead of answering.
    pub(crate) fn connect(address: SocketAddr, zxid: i64, session: Option<&Welcome>) -> Option<Self> {
        let mut stream = TcpStream::connect(address).expect("listening");
        stream.set_nodelay(true).expect("socket");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("socket");
        let (id, password) = session.map_or((0, vec![0; 16]), |old| (old.session, old.password.clone()));
        let hello = Body::default()
            .int(0)
            .long(zxid)
            .int(30_000)
            .long(id)
            .bytes(Some(&password))
            .bool(false);
        send(&mut stream, &hello.0).ok()?;
        let frame = receive(&mut stream).ok()?;
        let mut fields = Fields(&frame);
        let _version = fields.int();
        let welcome = Welcome {
            timeout: fields.int(),
            session: fields.long(),
            password: fields.bytes().unwrap_or_default(),
        };
        assert_eq!(fields.0, [0], "the read-only flag ends the welcome");
        Some(Self {
            stream,
            next_xid: 1,
            events: Vec::new(),
            welcome,
        })
    }

    pub(crate) fn call(&mut self, op: i32, body: &Body) -> Reply {
        let xid = match op {
            11 => -2,
            100 => -4,
            101 | 105 => -8,
            _ => {
                self.next_xid += 1;
                self.next_xid
            }
        };
        if send(&mut self.stream, &Body::default().int(xid).int(op).append(body).0).is_err() {
            return Reply::Closed;
        }
        loop {
            let Ok(frame) = receive(&mut self.stream) else {
                return Reply::Closed;
            };
            let mut fields = Fields(&frame);
            let (reply_xid, zxid, error) = (fields.int(), fields.long(), fields.int());
            if reply_xid == -1 {
                assert_eq!((zxid, error), (-1, 0));
                self.events.push(fields.0.to_vec());
                continue;
            }
            assert_eq!(reply_xid, xid);
            return Reply::Frame {
                zxid,
                error,
                body: fields.0.to_vec(),
            };
        }
    }
}

/// Values that the four-letter word `mntr` reports.
pub(crate) fn monitor(address: SocketAddr, keys: &[&str]) -> Vec<String> {
    let mut stream = TcpStream::connect(address).expect("listening");
    stream.write_all(b"mntr").expect("socket");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("answered");
    let find = |key: &&str| {
        text.lines()
            .find_map(|line| line.strip_prefix(*key)?.strip_prefix('\t').map(str::to_owned))
    };
    keys.iter().map(|key| find(key).unwrap_or_default()).collect()
}

/// Reads jute values; a test may panic at what is malformed.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl Fields<'_> {
    fn array<const N: usize>(&mut self) -> [u8; N] {
        let (head, rest) = self.0.split_at(N);
        self.0 = rest;
        head.try_into().expect("split at N")
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.array::<1>()[0]
    }

    pub(crate) fn int(&mut self) -> i32 {
        i32::from_be_bytes(self.array())
    }

    pub(crate) fn long(&mut self) -> i64 {
        i64::from_be_bytes(self.array())
    }

    pub(crate) fn bytes(&mut self) -> Option<Vec<u8>> {
        let len = usize::try_from(self.int()).ok()?;
        let (head, rest) = self.0.split_at(len);
        self.0 = rest;
        Some(head.to_vec())
    }

    pub(crate) fn text(&mut self) -> String {
        String::from_utf8(self.bytes().expect("not null")).expect("UTF-8")
    }

    pub(crate) fn texts(&mut self) -> Vec<String> {
        (0..self.int()).map(|_| self.text()).collect()
    }
}

fn send(stream: &mut TcpStream, frame: &[u8]) -> io::Result<()> {
    stream.write_all(&Body::default().bytes(Some(frame)).0)
}

fn receive(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut len = [0; 4];
    stream.read_exact(&mut len)?;
    let mut frame = vec![0; u32::from_be_bytes(len) as usize];
    stream.read_exact(&mut frame)?;
    Ok(frame)
}
