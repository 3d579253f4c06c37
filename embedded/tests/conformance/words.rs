//! The four-letter words: the same keys as the real server's, whatever the values.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::raw::{Body, RawClient};
use crate::real::RealServer;
use crate::{connect, create, embedded};

/// Without `stmk`, which takes an argument.
const WORDS: [&str; 18] = [
    "conf", "cons", "crst", "dirs", "dump", "envi", "gtmk", "hash", "isro", "mntr", "orst", "ruok", "srst", "srvr",
    "stat", "wchc", "wchp", "wchs",
];

/// Of `mntr`, where the real server adds some 500 numbers of its insides.
const MONITORED: [&str; 26] = [
    "zk_version",
    "zk_server_state",
    "zk_ephemerals_count",
    "zk_num_alive_connections",
    "zk_avg_latency",
    "zk_outstanding_requests",
    "zk_znode_count",
    "zk_global_sessions",
    "zk_non_mtls_remote_conn_count",
    "zk_last_client_response_size",
    "zk_packets_sent",
    "zk_packets_received",
    "zk_max_client_response_size",
    "zk_connection_drop_probability",
    "zk_watch_count",
    "zk_auth_failed_count",
    "zk_min_latency",
    "zk_max_file_descriptor_count",
    "zk_approximate_data_size",
    "zk_open_file_descriptor_count",
    "zk_local_sessions",
    "zk_uptime",
    "zk_max_latency",
    "zk_outstanding_tls_handshake",
    "zk_min_client_response_size",
    "zk_non_mtls_local_conn_count",
];

fn ask(address: SocketAddr, word: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("listening");
    stream.write_all(word.as_bytes()).expect("socket");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("answered");
    text
}

/// What names a value: all before `=`, `:` or a tab, in lines and in lists between commas. Ids, numbers and times in a key
/// are not compared.
fn keys(text: &str) -> BTreeSet<String> {
    let key = |part: &str| {
        let end = part.find(['=', ':', '\t']).unwrap_or(part.len());
        let name = part[..end].trim();
        let name = name.split_once(" at ").map_or(name, |(name, _)| name);
        match name.strip_prefix("0x") {
            Some(_) => "id".to_owned(),
            None => name.replace(|c: char| c.is_ascii_digit(), ""),
        }
    };
    let parts = text.split(['\n', ',', '(']).map(str::trim_start);
    // When the server was built stands behind its version.
    let parts = parts.filter(|part| !part.trim().is_empty() && !part.starts_with("built "));
    parts.map(key).collect()
}

/// A client with a session, an ephemeral node, and a watch.
fn busy_client(address: SocketAddr) -> RawClient {
    let mut client = connect(address, None);
    client.call(1, &create("/words", 1));
    client.call(4, &Body::default().text("/words").bool(true));
    client
}

#[test]
fn four_letter_words_have_the_keys_of_the_real_server() {
    let real = RealServer::start(false);
    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    let embedded = runtime.block_on(embedded());
    let _busy = [busy_client(embedded.address()), busy_client(real.address)];
    let mut compared = 0;
    for word in WORDS {
        let [ours, theirs] = [embedded.address(), real.address].map(|address| keys(&ask(address, word)));
        if word == "mntr" {
            let monitored: BTreeSet<String> = MONITORED.map(str::to_owned).into();
            let theirs: BTreeSet<String> = theirs.intersection(&monitored).cloned().collect();
            assert_eq!(ours, theirs, "{word}\n(left: embedded, right: real)");
        } else {
            assert_eq!(ours, theirs, "{word}\n(left: embedded, right: real)");
        }
        compared += theirs.len();
        println!("{word}: {} keys", theirs.len());
    }
    assert!(compared > 80, "only {compared} keys were compared");
}
