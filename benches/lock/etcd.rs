//! etcd's lock service, asked as its own clients ask it: gRPC on one connection, one lease for all locks. The few
//! messages are written by hand, which spares the bench a compiler of protocol buffers.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use h2::client::SendRequest;
use tokio::net::TcpStream;
use uuid::Uuid;

use crate::Failure;

/// No bench takes longer, so it is not kept alive.
const LEASE_SECONDS: u64 = 3_600;
const PATIENCE: Duration = Duration::from_secs(20);
const WINDOW: u32 = 1 << 24;

/// A server of its own, whose writes wait for the disk; dropping it ends it.
pub(crate) struct Etcd {
    locker: Locker,
    _server: Server,
}

struct Server {
    process: Child,
    data: PathBuf,
}

impl Etcd {
    /// Starts Debian's `etcd-server`, and takes a lease.
    pub(crate) async fn start() -> Result<Self, Failure> {
        let [client, peer] = [free_port()?, free_port()?];
        let data = std::env::temp_dir().join(format!("bench-etcd-{}", Uuid::new_v4()));
        let urls = [client, peer].map(|port| format!("http://127.0.0.1:{port}"));
        let process = Command::new("etcd")
            .arg("--data-dir")
            .arg(&data)
            .args(["--listen-client-urls", &urls[0], "--advertise-client-urls", &urls[0]])
            .args([
                "--listen-peer-urls",
                &urls[1],
                "--initial-advertise-peer-urls",
                &urls[1],
            ])
            .args(["--initial-cluster", &format!("default={}", urls[1])])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("etcd: {error}; apt-get install etcd-server"))?;
        let authority = format!("127.0.0.1:{client}");
        let server = Server { process, data };
        let requests = connect(&authority).await?;
        let mut locker = Locker {
            authority,
            requests,
            lease: 0,
        };
        let mut grant = BytesMut::new();
        put_number(&mut grant, 1, LEASE_SECONDS);
        let granted = locker.ask("etcdserverpb.Lease/LeaseGrant", grant).await?;
        locker.lease = number(&granted, 2).ok_or("no lease")?;
        Ok(Self {
            locker,
            _server: server,
        })
    }

    /// For one task; all share the connection.
    pub(crate) fn locker(&self) -> Locker {
        self.locker.clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It ends without being asked twice, and what is left lies in the system's directory for temporary files.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.data);
    }
}

/// Takes and gives back locks.
#[derive(Clone)]
pub(crate) struct Locker {
    authority: String,
    requests: SendRequest<Bytes>,
    lease: u64,
}

impl Locker {
    pub(crate) async fn cycle(&self, name: &str) -> Result<(), Failure> {
        let mut lock = BytesMut::new();
        put_bytes(&mut lock, 1, name.as_bytes());
        put_number(&mut lock, 2, self.lease);
        let locked = self.ask("v3lockpb.Lock/Lock", lock).await?;
        let key = bytes(&locked, 2).ok_or("no key")?;
        let mut unlock = BytesMut::new();
        put_bytes(&mut unlock, 1, &key);
        self.ask("v3lockpb.Lock/Unlock", unlock).await?;
        Ok(())
    }

    /// One call: a message there, a message back.
    async fn ask(&self, method: &str, message: BytesMut) -> Result<Bytes, Failure> {
        let request = http::Request::post(format!("http://{}/{method}", self.authority))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())?;
        let mut frame = BytesMut::with_capacity(message.len() + 5);
        frame.put_u8(0);
        frame.put_u32(u32::try_from(message.len())?);
        frame.put(message);
        let requests = self.requests.clone().ready().await?;
        let (response, mut body) = { requests }.send_request(request, false)?;
        body.send_data(frame.freeze(), true)?;
        let mut body = response.await?.into_body();
        let mut answer = BytesMut::new();
        while let Some(part) = body.data().await {
            let part = part?;
            body.flow_control().release_capacity(part.len())?;
            answer.put(part);
        }
        match answer.len() {
            0..5 => Err(format!("{method}: no answer: {:?}", body.trailers().await).into()),
            _ => Ok(answer.split_off(5).freeze()),
        }
    }
}

fn free_port() -> Result<u16, Failure> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

async fn connect(authority: &str) -> Result<SendRequest<Bytes>, Failure> {
    let started = std::time::Instant::now();
    let stream = loop {
        match TcpStream::connect(authority).await {
            Ok(stream) => break stream,
            Err(error) if started.elapsed() > PATIENCE => return Err(error.into()),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    stream.set_nodelay(true)?;
    let (requests, connection) = h2::client::Builder::new()
        .initial_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .handshake(stream)
        .await?;
    // It ends with the server.
    tokio::spawn(connection);
    Ok(requests)
}

fn put_varint(message: &mut BytesMut, mut number: u64) {
    while number > 0x7f {
        message.put_u8((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    message.put_u8(number as u8);
}

fn put_number(message: &mut BytesMut, field: u64, number: u64) {
    put_varint(message, field << 3);
    put_varint(message, number);
}

fn put_bytes(message: &mut BytesMut, field: u64, bytes: &[u8]) {
    put_varint(message, field << 3 | 2);
    put_varint(message, bytes.len() as u64);
    message.put_slice(bytes);
}

/// One field of a message.
enum Field {
    Number(u64),
    Bytes(Bytes),
}

fn number(message: &Bytes, wanted: u64) -> Option<u64> {
    match find(message, wanted)? {
        Field::Number(number) => Some(number),
        Field::Bytes(_) => None,
    }
}

fn bytes(message: &Bytes, wanted: u64) -> Option<Bytes> {
    match find(message, wanted)? {
        Field::Bytes(bytes) => Some(bytes),
        Field::Number(_) => None,
    }
}

fn find(message: &Bytes, wanted: u64) -> Option<Field> {
    let mut at = 0;
    loop {
        let tag = varint(message, &mut at)?;
        let field = match tag & 7 {
            0 => Field::Number(varint(message, &mut at)?),
            2 => {
                let length = usize::try_from(varint(message, &mut at)?).ok()?;
                let end = at.checked_add(length).filter(|end| *end <= message.len())?;
                let bytes = message.slice(at..end);
                at = end;
                Field::Bytes(bytes)
            }
            _ => return None,
        };
        if tag >> 3 == wanted {
            return Some(field);
        }
    }
}

fn varint(message: &Bytes, at: &mut usize) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = *message.get(*at)?;
        *at += 1;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}
