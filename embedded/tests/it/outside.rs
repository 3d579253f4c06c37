//! The four-letter words and the program.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use zookeeper_client::CreateMode;

use crate::support::{connect, create, quick_server};

fn ask(address: SocketAddr, word: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(word.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn value(monitor: &str, key: &str) -> u64 {
    monitor
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix('\t')?.parse().ok())
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn four_letter_words_tell_what_goes_on() {
    let server = quick_server().await;
    let address = server.address();
    let before = value(&ask(address, "mntr"), "zk_packets_received");
    let client = connect(&server).await;
    create(&client, "/e", CreateMode::Ephemeral).await;
    let (_, _, _watcher) = client.get_and_watch_data("/e").await.unwrap();

    let monitor = ask(address, "mntr");
    // The handshake, a create, a read and this word; the client may have sent a ping.
    assert!(value(&monitor, "zk_packets_received") >= before + 4);
    assert_eq!(value(&monitor, "zk_znode_count"), 6);
    assert_eq!(value(&monitor, "zk_ephemerals_count"), 1);
    assert_eq!(value(&monitor, "zk_watch_count"), 1);
    assert_eq!(value(&monitor, "zk_num_alive_connections"), 2);

    assert_eq!(ask(address, "ruok"), "imok");
    assert!(ask(address, "srvr").contains("\nMode: standalone\n"));
    let session = client.session_id().to_string();
    assert!(ask(address, "cons").contains(&format!("sid={session},lop=GetData,")));
    let dump = ask(address, "dump");
    assert!(dump.contains(&session) && dump.contains("\t/e\n"), "{dump}");
}

#[tokio::test(flavor = "multi_thread")]
async fn words_about_watches_name_sessions_and_paths() {
    let server = quick_server().await;
    let address = server.address();
    let client = connect(&server).await;
    create(&client, "/e", CreateMode::Ephemeral).await;
    let (_, _, _data) = client.get_and_watch_data("/e").await.unwrap();
    let (_, _, _children) = client.get_and_watch_children("/").await.unwrap();

    let session = client.session_id().to_string();
    assert_eq!(
        ask(address, "wchs"),
        "1 connections watching 2 paths\nTotal watches:2\n"
    );
    assert_eq!(ask(address, "wchc"), format!("{session}\n\t/\n\t/e\n\n"));
    assert_eq!(ask(address, "wchp"), format!("/\n\t{session}\n/e\n\t{session}\n\n"));
}

/// kazoo's `server_version()` reads `envi`, and its transactions ask for the version.
#[tokio::test(flavor = "multi_thread")]
async fn words_about_the_server_are_all_answered() {
    let server = quick_server().await;
    let address = server.address();
    let _client = connect(&server).await;

    let environment = ask(address, "envi");
    assert!(environment.contains("\nzookeeper.version=3.8.0-"), "{environment}");
    assert!(ask(address, "conf").contains("\nmaxSessionTimeout="));
    let statistics = ask(address, "stat");
    assert!(statistics.contains("\nClients:\n /127.0.0.1:"), "{statistics}");
    assert!(statistics.ends_with("Node count: 5\n"), "{statistics}");
    assert_eq!(ask(address, "isro"), "rw");
    for word in ["dirs", "gtmk", "stmk", "crst", "srst"] {
        assert!(!ask(address, word).is_empty(), "{word}");
    }
    assert!(value(&ask(address, "mntr"), "zk_packets_received") <= 2);
}

/// A client that speaks TLS sends what can be no frame.
#[tokio::test(flavor = "multi_thread")]
async fn a_tls_greeting_closes_the_connection_at_once() {
    let server = quick_server().await;
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream.write_all(&[0x16, 3, 1, 0, 0xfb, 1, 0, 0, 0xf7, 3, 3]).unwrap();
    let mut answer = Vec::new();
    // An end or a reset; not a silence until the timeout.
    let closed = stream.read_to_end(&mut answer);
    assert!(closed.map_or_else(|error| error.kind() == ErrorKind::ConnectionReset, |read| read == 0));
}

/// A step of SASL is no silent success, as it is with a real server that has no users.
#[tokio::test(flavor = "multi_thread")]
async fn sasl_is_refused_and_the_connection_closed() {
    let server = quick_server().await;
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let hello = [
        &[0; 12][..],
        &10_000_i32.to_be_bytes(),
        &[0; 8],
        &16_i32.to_be_bytes(),
        &[0; 17],
    ]
    .concat();
    let sasl = [&7_i32.to_be_bytes()[..], &102_i32.to_be_bytes(), &0_i32.to_be_bytes()].concat();
    for frame in [hello, sasl] {
        let length = u32::try_from(frame.len()).unwrap().to_be_bytes();
        stream.write_all(&[&length[..], &frame].concat()).unwrap();
    }
    let mut answers = Vec::new();
    stream.read_to_end(&mut answers).unwrap();
    // The last frame: length, xid, zxid, error.
    let (_, refusal) = answers.split_at(answers.len() - 20);
    assert_eq!(refusal[4..8], 7_i32.to_be_bytes());
    assert_eq!(refusal[16..], (-115_i32).to_be_bytes());
}

#[cfg(unix)]
#[test]
fn the_program_says_when_it_is_ready_and_ends_when_told_to() {
    let mut program = Command::new(env!("CARGO_BIN_EXE_zookeeper-embedded"))
        .arg("127.0.0.1:0")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(program.stdout.take().unwrap()).lines();
    let ready = lines.next().unwrap().unwrap();
    let address = ready
        .strip_prefix("ready: connect to ")
        .unwrap()
        .split(' ')
        .next()
        .unwrap();
    assert_eq!(ask(address.parse().unwrap(), "ruok"), "imok");
    let told = Command::new("kill").arg(program.id().to_string()).status().unwrap();
    assert!(told.success());
    assert!(program.wait().unwrap().success());
    assert_eq!(lines.next().unwrap().unwrap(), "stopped");
}

#[test]
fn the_program_names_an_address_it_cannot_serve_on() {
    let output = Command::new(env!("CARGO_BIN_EXE_zookeeper-embedded"))
        .arg("nonsense")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot serve on nonsense"));
    let output = Command::new(env!("CARGO_BIN_EXE_zookeeper-embedded"))
        .arg("--help")
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("usage"));
}
