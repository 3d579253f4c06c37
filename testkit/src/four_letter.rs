//! ZooKeeper's four-letter words.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::background;

/// Sends `word` to the server at `addr` and returns its answer. A frozen server is an error after two seconds.
pub async fn ask(addr: SocketAddr, word: &str) -> io::Result<String> {
    let word = word.to_owned();
    background::blocking(move || ask_blocking(addr, &word)).await
}

/// The answer to `mntr` as a map.
pub async fn mntr(addr: SocketAddr) -> io::Result<BTreeMap<String, String>> {
    let answer = ask(addr, "mntr").await?;
    Ok(answer
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .collect())
}

/// What the server does: `standalone`, `leader`, `follower`, or `None` while it does not serve.
pub async fn mode(addr: SocketAddr) -> Option<String> {
    background::blocking(move || mode_blocking(addr)).await
}

/// `ruok` is no test for this: it says `imok` without a quorum too.
pub(crate) fn mode_blocking(addr: SocketAddr) -> Option<String> {
    let answer = ask_blocking(addr, "srvr").ok()?;
    answer
        .lines()
        .find_map(|line| line.strip_prefix("Mode: "))
        .map(|mode| mode.trim().to_owned())
}

pub(crate) fn ask_blocking(addr: SocketAddr, word: &str) -> io::Result<String> {
    const PATIENCE: Duration = Duration::from_secs(2);
    let mut stream = TcpStream::connect_timeout(&addr, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(word.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
