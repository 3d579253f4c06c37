//! The same random scripts against this server and a real ZooKeeper: every reply, stat and watch event is the same.
//!
//! `cargo test -p zookeeper-embedded --features conformance --test conformance`

mod compare;
mod raw;
mod real;
mod script;
mod words;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use compare::Names;
use raw::{Body, RawClient, Reply, Welcome};
use real::RealServer;
use script::{Author, Step};
use zookeeper_embedded::Server;

const SCRIPTS: u64 = 220;
const STEPS: usize = 200;
const CLIENTS: usize = 3;

#[test]
fn random_scripts_get_the_same_replies_stats_and_events() {
    let real = RealServer::start(false);
    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    let embedded = runtime.block_on(embedded());
    let mut sides = [Side::new(embedded.address()), Side::new(real.address)];
    let number = |name, default| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or(default)
    };
    let (first, count) = (
        number("CONFORMANCE_FIRST_SEED", 0),
        number("CONFORMANCE_SCRIPTS", SCRIPTS),
    );
    let mut seen = Coverage::default();
    for seed in first..first + count {
        run(seed, &mut sides, &mut seen);
    }
    println!("{} steps, {} events, errors {:?}", seen.steps, seen.events, seen.errors);
    // Scripts that fail early everywhere would agree, too.
    assert!(seen.events as u64 > count * 10, "{seen:?}");
    for error in [
        -2, -5, -6, -8, -101, -102, -103, -108, -110, -111, -114, -115, -121, -123,
    ] {
        assert!(
            count < SCRIPTS || seen.errors.contains_key(&error),
            "no error {error}: {seen:?}"
        );
    }
}

/// What the scripts came across.
#[derive(Debug, Default)]
struct Coverage {
    steps: usize,
    events: usize,
    errors: BTreeMap<i32, usize>,
}

impl Coverage {
    fn note(&mut self, outcome: &str) {
        self.steps += 1;
        let words: Vec<&str> = outcome.split(' ').collect();
        for pair in words.windows(2) {
            if let Ok(error @ ..0) = pair[1].trim_end_matches(['|', ';']).parse() {
                *self.errors.entry(error).or_default() += usize::from(matches!(pair[0], "error" | "0"));
            }
        }
        self.errors.retain(|_, count| *count > 0);
    }
}

/// The counter of a parent at the end of its range, which no script reaches by itself.
#[test]
fn sequence_numbers_at_the_end_of_their_range() {
    let mut real = RealServer::start(false);
    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    let embedded = runtime.block_on(embedded());
    for start in [i32::MAX - 2, i32::MAX, i32::MIN, -5, -2] {
        let mut sides = [Side::new(embedded.address()), Side::new(real.address)];
        let parent = format!("/from{start}");
        call_both(&mut sides, 0, 1, &create(&parent, 0), "create the parent");
        embedded.faults().set_sequence(&parent, start);
        real.set_sequence(&parent, start);
        for index in 0..5 {
            for name in ["n-".to_owned(), format!("{index}-")] {
                call_both(
                    &mut sides,
                    0,
                    15,
                    &create(&format!("{parent}/{name}"), 2),
                    "create a child",
                );
                call_both(&mut sides, 0, 8, &Body::default().text(&parent).bool(false), "list");
            }
        }
        let pair = create(&format!("{parent}/m-"), 2);
        let part = Body::default().int(15).bool(false).int(-1).append(&pair);
        let multi = part.clone().append(&part).int(-1).bool(true).int(-1);
        call_both(&mut sides, 0, 14, &multi, "create two in a multi");
        call_both(&mut sides, 0, 12, &Body::default().text(&parent).bool(false), "list");
    }
}

async fn embedded() -> Server {
    Server::builder()
        .max_session_timeout(Duration::from_secs(60))
        .container_check_interval(Duration::from_secs(86_400))
        .start()
        .await
        .expect("started")
}

/// One of the two servers, with its clients.
struct Side {
    address: SocketAddr,
    clients: Vec<RawClient>,
    names: Names,
}

impl Side {
    fn new(address: SocketAddr) -> Self {
        let clients = (0..CLIENTS).map(|_| connect(address, None)).collect();
        let mut side = Self {
            address,
            clients,
            names: Names::new(0),
        };
        side.names = Names::new(side.zxid());
        side
    }

    /// The latest zxid.
    fn zxid(&mut self) -> i64 {
        match self.clients[0].call(11, &Body::default()) {
            Reply::Frame { zxid, .. } => zxid,
            Reply::Closed => panic!("closed"),
        }
    }

    fn call(&mut self, client: usize, op: i32, body: &Body) -> String {
        let reply = self.clients[client].call(op, body);
        let text = self.names.reply(op, &reply);
        if reply == Reply::Closed || op == 4711 || text.contains("error -115") {
            let session = self.clients[client].welcome.clone();
            return format!("{text}; then {}", self.come_back(client, &session));
        }
        text
    }

    fn come_back(&mut self, client: usize, session: &Welcome) -> String {
        self.clients[client] = connect(self.address, Some(session));
        self.welcome(client)
    }

    fn welcome(&mut self, client: usize) -> String {
        let welcome = &self.clients[client].welcome;
        format!("{} for {} ms", self.names.session(welcome.session), welcome.timeout)
    }

    fn step(&mut self, client: usize, step: &Step) -> String {
        match step {
            Step::Call { op, body, .. } => self.call(client, *op, body),
            Step::CloseAndReopen => {
                let closed = self.call(client, -11, &Body::default());
                let events = std::mem::take(&mut self.clients[client].events);
                self.clients[client] = connect(self.address, None);
                self.clients[client].events = events;
                format!("{closed}; then {}", self.welcome(client))
            }
            Step::Reconnect => {
                let session = self.clients[client].welcome.clone();
                self.come_back(client, &session)
            }
            Step::WrongPassword => {
                let session = self.clients[client].welcome.clone();
                let wrong = Welcome {
                    password: vec![7; 16],
                    ..session.clone()
                };
                let refused = connect(self.address, Some(&wrong));
                assert!(refused.welcome.session == 0 && refused.welcome.password == [0; 16]);
                self.come_back(client, &session)
            }
            Step::TakeOverAndClose => {
                let session = self.clients[client].welcome.clone();
                let mut twin = connect(self.address, Some(&session));
                let reply = twin.call(-11, &Body::default());
                let closed = self.names.reply(-11, &reply);
                assert_eq!(self.clients[client].call(11, &Body::default()), Reply::Closed);
                let back = self.come_back(client, &session);
                self.clients[client] = connect(self.address, None);
                format!("{closed}; then {back}; then {}", self.welcome(client))
            }
            Step::SetWatches { behind, lists } => {
                let zxid = self.zxid() - behind;
                let body = lists
                    .iter()
                    .fold(Body::default().long(zxid), |body, list| body.texts(list));
                self.call(client, if lists.len() == 3 { 101 } else { 105 }, &body)
            }
        }
    }

    /// The events since the last call, before the latest reply.
    fn events(&mut self, client: usize) -> Vec<String> {
        self.clients[client]
            .events
            .drain(..)
            .map(|body| compare::event(&body))
            .collect()
    }
}

fn run(seed: u64, sides: &mut [Side; 2], seen: &mut Coverage) {
    let mut author = Author::new(seed);
    let root = author.root().to_owned();
    call_both(sides, 0, 1, &create(&root, 0), "create the root of the script");
    call_both(
        sides,
        0,
        1,
        &create(&format!("{root}/keep"), 0),
        "keep the root from being deleted",
    );
    // Which client may find the events of an ended session in its queue: they have no order among themselves.
    let mut unordered = [false; CLIENTS];
    let mut history = History(Vec::new());
    for number in 0..STEPS {
        let client = author.slot(CLIENTS);
        let step = author.step();
        let about = match &step {
            Step::Call { about, .. } => about.clone(),
            Step::CloseAndReopen => "close and reopen".to_owned(),
            Step::Reconnect => "reconnect".to_owned(),
            Step::WrongPassword => "wrong password".to_owned(),
            Step::TakeOverAndClose => "take over and close".to_owned(),
            Step::SetWatches { behind, lists } => format!("set watches {behind} {lists:?}"),
        };
        if let Step::CloseAndReopen | Step::TakeOverAndClose = step {
            unordered = [true; CLIENTS];
        }
        let outcomes = sides.each_mut().map(|side| side.step(client, &step));
        let context = format!("script {seed}, step {number}, client {client}: {about}");
        history.0.push(format!("{context}\n  -> {}", outcomes[0]));
        assert_eq!(outcomes[0], outcomes[1], "{context}\n(left: embedded, right: real)");
        seen.note(&outcomes[0]);
        seen.events += sides[0].clients[client].events.len();
        compare_events(sides, client, std::mem::take(&mut unordered[client]), &context);
        if let Step::Call {
            op: 1 | 15 | 19 | 21, ..
        } = step
        {
            if let Some(path) = outcomes[0].split(' ').find(|word| word.starts_with('/')) {
                author.learn(path.to_owned());
            }
        }
    }
    for client in 0..CLIENTS {
        let context = format!("script {seed}, end, client {client}");
        call_both(sides, client, 11, &Body::default(), &context);
    }
    let counts = sides.each_ref().map(|side| raw::monitor(side.address, &COUNTS));
    assert_eq!(
        counts[0], counts[1],
        "{COUNTS:?} after script {seed}\n(left: embedded, right: real)"
    );
}

/// What both servers count alike.
const COUNTS: [&str; 4] = [
    "zk_packets_received",
    "zk_znode_count",
    "zk_watch_count",
    "zk_ephemerals_count",
];

/// What happened so far; shown when the script fails.
struct History(Vec<String>);

impl Drop for History {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.0.join("\n"));
        }
    }
}

fn compare_events(sides: &mut [Side; 2], client: usize, unordered: bool, context: &str) {
    let mut events = sides.each_mut().map(|side| side.events(client));
    if unordered {
        events.iter_mut().for_each(|events| events.sort_unstable());
    }
    assert_eq!(
        events[0], events[1],
        "events before the reply of {context}\n(left: embedded, right: real)"
    );
}

fn call_both(sides: &mut [Side; 2], client: usize, op: i32, body: &Body, about: &str) {
    let outcomes = sides.each_mut().map(|side| side.call(client, op, body));
    assert_eq!(outcomes[0], outcomes[1], "{about}\n(left: embedded, right: real)");
    compare_events(sides, client, true, about);
}

fn create(path: &str, flags: i32) -> Body {
    let acl = Body::default().int(1).int(31).text("world").text("anyone");
    Body::default().text(path).bytes(Some(b"")).append(&acl).int(flags)
}

fn connect(address: SocketAddr, session: Option<&Welcome>) -> RawClient {
    RawClient::connect(address, 0, session).expect("welcomed")
}
