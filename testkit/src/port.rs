//! Free ports that stay ours while a server is down.

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Mutex;

use crate::lock;

/// A port on 127.0.0.1 on which no process listens now and that this process was not given before. Another process may take it
/// before it is used: be ready to try again.
///
/// It lies below the range from which Linux picks source ports. A port of that range could be given away while its
/// server is down, even to a client that connects to that very port and then talks to itself.
pub fn free() -> u16 {
    const FIRST: u16 = 11_000;
    const COUNT: u16 = 20_000;
    static GIVEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);
    let mut given = lock(&GIVEN);
    let given = given.get_or_insert_default();
    for _ in 0..1_000 {
        let random = uuid::Uuid::new_v4().as_u128();
        let port = FIRST + u16::try_from(random % u128::from(COUNT)).unwrap_or(0);
        if TcpListener::bind(local(port)).is_ok() && given.insert(port) {
            return port;
        }
    }
    panic!("no free port between {FIRST} and {}", FIRST + COUNT);
}

/// `port` on this machine. Tests dial nothing else.
pub(crate) fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}
