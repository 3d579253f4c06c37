//! The four-letter words and the program.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};

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
