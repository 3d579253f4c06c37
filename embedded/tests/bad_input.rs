//! Whatever a peer sends: it costs that peer its connection at most, memory stays bounded and others go on.
//!
//! A binary with a single test, because it measures the memory of its process.

#![allow(clippy::unwrap_used, reason = "a test may panic, its helpers too")]

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rand::prelude::*;
use zookeeper_client::{Acls, Client, CreateMode};
use zookeeper_embedded::{Server, SessionId};

/// Far above what a handful of connections need, far below what is announced to the server.
const MEMORY_BOUND: usize = 64 << 20;

#[test]
fn bad_input_costs_only_the_connection_that_sends_it() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    // Long sessions: a machine that stands still for seconds is not what is tested.
    let patient = Duration::from_secs(120);
    let server = runtime
        .block_on(Server::builder().max_session_timeout(patient).start())
        .unwrap();
    let connector = Client::connector().with_session_timeout(patient);
    let bystander = runtime.block_on(connector.connect(&server.connect_string())).unwrap();
    let options = CreateMode::Ephemeral.with_acls(Acls::anyone_all());
    runtime.block_on(bystander.create("/bystander", b"", &options)).unwrap();
    let before = resident_memory();

    for attack in [
        random_bytes,
        truncated_frames,
        impossible_lengths,
        hungry_frames,
        many_connections,
    ] {
        attack(server.address());
        assert!(runtime.block_on(bystander.check_stat("/bystander")).unwrap().is_some());
        let grown = resident_memory().saturating_sub(before);
        assert!(grown < MEMORY_BOUND, "grew by {grown} bytes");
    }

    let deaf = deaf_reader(server.address());
    let grown = resident_memory().saturating_sub(before);
    assert!(grown < MEMORY_BOUND, "grew by {grown} bytes");
    assert_eq!(server.faults().cut(SessionId(deaf.0)), 1);
    // The bystander's and the one that asks.
    await_connections(server.address(), 1 + 1);
    assert!(runtime.block_on(bystander.check_stat("/bystander")).unwrap().is_some());
    assert!(server.sessions().contains(&bystander.session_id().0.into()));
}

fn random_bytes(server: SocketAddr) {
    let mut random = StdRng::seed_from_u64(1);
    for round in 0..500 {
        let mut bytes = vec![0; random.random_range(1..2000)];
        random.fill(&mut bytes[..]);
        let mut peer = connect(server);
        if round % 2 == 0 {
            // Behind a plausible length, so that the rest is looked at.
            let body = (bytes.len() as u32 - 1).to_be_bytes();
            let _ = peer.write_all(&body);
        }
        let _ = peer.write_all(&bytes);
        assert!(end_of(peer) < 10_000);
    }
}

fn truncated_frames(server: SocketAddr) {
    let hello = hello();
    for len in 0..hello.len() {
        let mut peer = connect(server);
        peer.write_all(&hello[..len]).unwrap();
        assert_eq!(end_of(peer), 0);
    }
    // Within a session: the frame is whole, the header in it is not; then a frame that never ends.
    for garbage in [
        &[0, 0, 0, 3, 1, 2, 3][..],
        &[0, 0, 0, 0],
        &[0, 0, 1, 0, 1, 2, 3],
        &[0, 0],
    ] {
        let mut peer = shake_hands(server);
        peer.write_all(garbage).unwrap();
        assert_eq!(end_of(peer), 0);
    }
}

fn impossible_lengths(server: SocketAddr) {
    for len in [0x7fff_ffff, -1, i32::MIN, 0x10_0000] {
        let mut peer = connect(server);
        peer.write_all(&len.to_be_bytes()).unwrap();
        // Closed by the server: this side still holds its own open.
        let mut rest = Vec::new();
        assert_eq!(peer.read_to_end(&mut rest).unwrap_or(0), 0, "length {len}");
    }
}

/// Each announces the most that is allowed and sends little.
fn hungry_frames(server: SocketAddr) {
    let peers: Vec<TcpStream> = (0..200)
        .map(|_| {
            let mut peer = connect(server);
            peer.write_all(&0xf_ffffu32.to_be_bytes()).unwrap();
            peer.write_all(&[0; 100]).unwrap();
            peer
        })
        .collect();
    let mut probe = connect(server);
    probe.write_all(b"ruok").unwrap();
    let mut answer = String::new();
    probe.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "imok");
    drop(peers);
}

fn many_connections(server: SocketAddr) {
    for _ in 0..10_000 / 100 {
        let peers: Vec<TcpStream> = (0..100).map(|_| connect(server)).collect();
        drop(peers);
        // Both ends live in this process, whose file descriptors are few.
        await_connections(server, 50);
    }
}

/// Waits until no more than so many connections are open.
fn await_connections(server: SocketAddr, most: usize) {
    let end = Instant::now() + Duration::from_secs(30);
    while open_connections(server) > most {
        assert!(Instant::now() < end, "connections are not got rid of");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// This one included.
fn open_connections(server: SocketAddr) -> usize {
    let mut peer = connect(server);
    peer.write_all(b"mntr").unwrap();
    let mut answer = String::new();
    peer.read_to_string(&mut answer).unwrap();
    let count = answer
        .lines()
        .find_map(|line| line.strip_prefix("zk_num_alive_connections\t"));
    count.unwrap().parse().unwrap()
}

/// Asks for much and reads nothing; its session and its connection, which stays open.
fn deaf_reader(server: SocketAddr) -> (i64, TcpStream) {
    let mut peer = connect(server);
    let session = shake_hands_on(&mut peer);
    peer.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let path = "x".repeat(100_000);
    let mut sync = Vec::new();
    sync.extend((8 + 4 + path.len() as u32).to_be_bytes());
    sync.extend([1i32, 9, path.len() as i32].into_iter().flat_map(i32::to_be_bytes));
    sync.extend(path.as_bytes());
    // The server stops reading once its replies pile up; 100 MB would not fit.
    let accepted = (0..1000).take_while(|_| peer.write_all(&sync).is_ok()).count();
    assert!(accepted < 1000, "{accepted}");
    (session, peer)
}

fn connect(server: SocketAddr) -> TcpStream {
    let peer = TcpStream::connect(server).unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    peer
}

fn hello() -> Vec<u8> {
    let mut body = vec![0; 4 + 8];
    body.extend(100_000i32.to_be_bytes());
    body.extend([0; 8]);
    body.extend(16i32.to_be_bytes());
    body.extend([0; 16 + 1]);
    let mut frame = (body.len() as u32).to_be_bytes().to_vec();
    frame.extend(body);
    frame
}

fn shake_hands(server: SocketAddr) -> TcpStream {
    let mut peer = connect(server);
    shake_hands_on(&mut peer);
    peer
}

fn shake_hands_on(peer: &mut TcpStream) -> i64 {
    peer.write_all(&hello()).unwrap();
    let mut welcome = [0; 4 + 37];
    peer.read_exact(&mut welcome).unwrap();
    i64::from_be_bytes(*welcome[12..].first_chunk().unwrap())
}

/// Ends this side and counts what the server still says before it ends its own.
fn end_of(mut peer: TcpStream) -> usize {
    let _ = peer.shutdown(Shutdown::Write);
    let mut rest = Vec::new();
    match peer.read_to_end(&mut rest) {
        Ok(len) => len,
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => rest.len(),
        Err(error) => panic!("the server neither answers nor closes: {error}"),
    }
}

#[cfg(target_os = "linux")]
fn resident_memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse::<usize>().unwrap() << 10
}

#[cfg(not(target_os = "linux"))]
fn resident_memory() -> usize {
    0
}
