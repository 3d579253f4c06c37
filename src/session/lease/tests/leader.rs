//! Holds the clock against a model of the ensemble: whatever it says, the leader expires the session later.
//!
//! The client is connected to a follower. The leader pings the follower, whose answer says whether it has received
//! anything of the session since its answer before. Only that restarts the leader's count. All links keep the order
//! of messages; they are slow, and stall. The client's process stands still at times.

use std::collections::VecDeque;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::*;

/// The session timeout of the model, in its milliseconds.
const TIMEOUT: u64 = 2_000;
/// How far two messages on one link may drift apart.
const JITTER: u64 = TIMEOUT / 400;

/// What chance decides. Times in milliseconds since the start of the pass that opened the session.
#[derive(Clone, Debug)]
struct Fate {
    margin: u64,
    half_tick: u64,
    phase: u64,
    /// When the leader opened the session, and how long its answer took.
    opened: (u64, u64),
    /// After how long a silence the client pings.
    ping_gap: u64,
    client_link: u64,
    leader_link: u64,
    jitter: Vec<u64>,
    /// Of the link from the client to the follower: from when, how long.
    client_stall: (u64, u64),
    leader_stalls: Vec<(u64, u64)>,
    pauses: Vec<(u64, u64)>,
    /// Requests of the user: when they are sent.
    requests: Vec<u64>,
    /// Since when something is held, so that heartbeats are sent.
    held: Option<u64>,
}

/// Messages on their way, in order: when each arrives, and what it is.
#[derive(Debug)]
struct Link<M> {
    messages: VecDeque<(u64, M)>,
    delay: u64,
    stalls: Vec<(u64, u64)>,
}

impl<M> Link<M> {
    fn new(delay: u64, stalls: Vec<(u64, u64)>) -> Self {
        let messages = VecDeque::new();
        Self {
            messages,
            delay,
            stalls,
        }
    }

    fn send(&mut self, now: u64, jitter: u64, message: M) {
        let mut arrives = now + self.delay + jitter;
        for (from, length) in &self.stalls {
            if (*from..from + length).contains(&arrives) {
                arrives = from + length;
            }
        }
        let before = self.messages.back().map_or(0, |(at, _)| *at);
        self.messages.push_back((arrives.max(before), message));
    }

    fn receive(&mut self, now: u64) -> Option<M> {
        let (arrives, _) = self.messages.front()?;
        (*arrives <= now).then(|| self.messages.pop_front().unwrap().1)
    }
}

#[derive(Clone, Copy, Debug)]
enum Packet {
    Ping,
    Request { sent: u64 },
}

#[derive(Clone, Copy, Debug)]
enum ToLeader {
    Answer { got: bool },
    Request { sent: u64 },
}

#[derive(Clone, Copy, Debug)]
enum ToFollower {
    Ping,
    Commit { sent: u64 },
}

#[derive(Clone, Copy, Debug)]
enum ToClient {
    Pong,
    /// `heard` is when the leader had last heard of the session as the commit came to the follower: from then on it
    /// hears no more if the follower is cut off.
    Committed {
        sent: u64,
        heard: u64,
    },
}

struct Model<'a> {
    fate: &'a Fate,
    jitter: usize,
    to_follower: Link<Packet>,
    follower_to_leader: Link<ToLeader>,
    leader_to_follower: Link<ToFollower>,
    to_client: Link<ToClient>,
    /// Whether the follower has received anything of the client since its last answer.
    got: bool,
    heard: u64,
    clock: LeaseClock,
    sent: u64,
    pinging: bool,
    beating: Option<u64>,
    noted: u64,
    next_request: usize,
}

fn at(millis: u64) -> Moment {
    start() + ms(millis)
}

impl<'a> Model<'a> {
    fn new(fate: &'a Fate) -> Self {
        let timeout = ms(TIMEOUT);
        let silence = LeaseClock::client_silence(LeaseClock::connection_timeout(timeout), timeout);
        let known = fate.opened.0 + fate.opened.1;
        Self {
            fate,
            jitter: 0,
            to_follower: Link::new(fate.client_link, vec![fate.client_stall]),
            follower_to_leader: Link::new(fate.leader_link, fate.leader_stalls.clone()),
            leader_to_follower: Link::new(fate.leader_link, fate.leader_stalls.clone()),
            to_client: Link::new(fate.client_link, Vec::new()),
            got: false,
            heard: fate.opened.0,
            clock: LeaseClock::new(timeout, ms(fate.margin), silence, at(0)),
            sent: known,
            pinging: false,
            beating: None,
            noted: known,
            next_request: 0,
        }
    }

    fn run(mut self) -> Result<(), TestCaseError> {
        let (opened, answered) = self.fate.opened;
        self.check(opened)?;
        for now in opened..opened + answered + 5 * TIMEOUT {
            self.servers(now);
            if now < opened + answered || is_within(now, &self.fate.pauses) {
                continue;
            }
            self.client(now)?;
            if self.clock.is_lapsed(at(now)) || now >= self.heard + TIMEOUT {
                return Ok(());
            }
        }
        Ok(())
    }

    fn servers(&mut self, now: u64) {
        while let Some(packet) = self.to_follower.receive(now) {
            self.got = true;
            let jitter = self.jitter();
            match packet {
                Packet::Ping => self.to_client.send(now, jitter, ToClient::Pong),
                Packet::Request { sent } => self.follower_to_leader.send(now, jitter, ToLeader::Request { sent }),
            }
        }
        while let Some(message) = self.follower_to_leader.receive(now) {
            match message {
                ToLeader::Answer { got: true } => self.heard = now,
                ToLeader::Answer { got: false } => {}
                ToLeader::Request { sent } => {
                    let jitter = self.jitter();
                    self.leader_to_follower.send(now, jitter, ToFollower::Commit { sent });
                }
            }
        }
        if now % self.fate.half_tick == self.fate.phase % self.fate.half_tick {
            let jitter = self.jitter();
            self.leader_to_follower.send(now, jitter, ToFollower::Ping);
        }
        while let Some(message) = self.leader_to_follower.receive(now) {
            let jitter = self.jitter();
            match message {
                ToFollower::Ping => {
                    let got = std::mem::take(&mut self.got);
                    self.follower_to_leader.send(now, jitter, ToLeader::Answer { got });
                }
                ToFollower::Commit { sent } => {
                    let heard = self.heard;
                    self.to_client.send(now, jitter, ToClient::Committed { sent, heard });
                }
            }
        }
    }

    fn client(&mut self, now: u64) -> Result<(), TestCaseError> {
        while let Some(message) = self.to_client.receive(now) {
            match message {
                ToClient::Pong => self.pinging = false,
                ToClient::Committed { sent, heard } => {
                    self.clock.proved(at(sent), at(now));
                    self.beating = self.beating.filter(|beat| *beat != sent);
                    self.check(heard)?;
                }
            }
        }
        if now - self.noted >= TIMEOUT / 40 {
            self.clock.alive(at(now));
            self.noted = now;
        }
        if self.fate.held == Some(now) {
            self.clock.hold();
        }
        if self.fate.requests.get(self.next_request).is_some_and(|due| *due <= now) {
            self.next_request += 1;
            self.send(now, Packet::Request { sent: now });
        }
        let due = self.clock.heartbeat_due().is_some_and(|due| due <= at(now));
        if due && self.beating.is_none() && self.sent < now {
            self.clock.heartbeat_sent(at(now));
            self.beating = Some(now);
            self.send(now, Packet::Request { sent: now });
        }
        if now - self.sent >= self.fate.ping_gap && !self.pinging {
            self.pinging = true;
            self.send(now, Packet::Ping);
        }
        Ok(())
    }

    fn send(&mut self, now: u64, packet: Packet) {
        let jitter = self.jitter();
        self.to_follower.send(now, jitter, packet);
        self.sent = now;
    }

    /// Holds the lease against a leader that heard of the session at `heard`, and never again.
    fn check(&self, heard: u64) -> Result<(), TestCaseError> {
        let expires = at(heard + TIMEOUT);
        prop_assert!(
            self.clock.end <= expires,
            "the lease outlives the session by {:?}",
            self.clock.end - expires
        );
        Ok(())
    }

    fn jitter(&mut self) -> u64 {
        self.jitter = (self.jitter + 1) % self.fate.jitter.len();
        self.fate.jitter[self.jitter]
    }
}

fn is_within(now: u64, times: &[(u64, u64)]) -> bool {
    times.iter().any(|(from, length)| (*from..from + length).contains(&now))
}

/// Stalls of at most `longest`, so far apart that each is over before the next.
fn stalls(longest: u64) -> impl Strategy<Value = Vec<(u64, u64)>> {
    prop::collection::vec((0..TIMEOUT / 2, 0..=longest), 8).prop_map(|stalls| {
        (0..)
            .map(|n| n * TIMEOUT)
            .zip(stalls)
            .map(|(base, (from, length))| (base + from, length))
            .collect()
    })
}

/// One stall of the client's link, and whether a request is on its way meanwhile. Without one, the clock does not
/// learn of the stall: only a short one is sure to do no harm.
fn client_stall(spare: u64) -> impl Strategy<Value = ((u64, u64), bool)> {
    let length = prop_oneof![
        (0..=spare).prop_map(|length| (length, false)),
        (TIMEOUT / 20..=TIMEOUT * 3 / 10).prop_map(|length| (length, true)),
    ];
    (0..5 * TIMEOUT, length).prop_map(|(from, (length, is_seen))| ((from, length), is_seen))
}

fn pauses() -> impl Strategy<Value = Vec<(u64, u64)>> {
    let length = prop_oneof![
        4 => 0..=TIMEOUT / 20,
        1 => 0..TIMEOUT,
    ];
    prop::collection::vec((0..6 * TIMEOUT, length), 0..6)
}

/// Fates with the margin that `margin` finds for half a tick.
fn fates(half_tick: impl Strategy<Value = u64>, margin: fn(u64, bool) -> u64) -> impl Strategy<Value = Fate> {
    let margins = (half_tick, any::<bool>()).prop_map(move |(half_tick, small)| (half_tick, margin(half_tick, small)));
    margins.prop_flat_map(|(half_tick, margin)| {
        // What the margin allows for beside half a tick: one stall of each link.
        let spare = margin.saturating_sub(half_tick + 2 * JITTER) / 2;
        let links = (
            0..TIMEOUT / 30,
            0..TIMEOUT / 200,
            prop::collection::vec(0..=JITTER, 1..8),
            client_stall(spare),
            stalls(spare),
        );
        let client = (
            (0..TIMEOUT / 2, prop_oneof![0..TIMEOUT / 20, 0..TIMEOUT / 2]),
            TIMEOUT / 20..=TIMEOUT * 3 / 20,
            pauses(),
            prop::collection::vec(0..6 * TIMEOUT, 0..12),
            prop::option::of(0..4 * TIMEOUT),
        );
        (0..half_tick, links, client).prop_map(move |(phase, links, client)| {
            let (client_link, leader_link, jitter, (client_stall, is_seen), leader_stalls) = links;
            let (opened, ping_gap, pauses, mut requests, held) = client;
            requests.extend(is_seen.then_some(client_stall.0));
            requests.sort_unstable();
            Fate {
                margin,
                half_tick,
                phase,
                opened,
                ping_gap,
                client_link,
                leader_link,
                jitter,
                client_stall,
                leader_stalls,
                pauses,
                requests,
                held,
            }
        })
    })
}

/// The default margin, or the smallest that the docs call enough.
fn enough(half_tick: u64, small: bool) -> u64 {
    if small {
        half_tick + TIMEOUT / 100
    } else {
        TIMEOUT * 26 / 100
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(3_000) })]

    #[test]
    fn no_lease_outlives_its_session(fate in fates(TIMEOUT / 20..=TIMEOUT / 4, enough)) {
        Model::new(&fate).run()?;
    }
}

#[test]
fn a_margin_below_half_a_tick_is_caught() {
    let config = ProptestConfig {
        failure_persistence: None,
        max_shrink_iters: 0,
        ..ProptestConfig::with_cases(1_500)
    };
    let fates = fates(TIMEOUT / 5..=TIMEOUT / 4, |_, _| TIMEOUT / 20);
    let found = TestRunner::new(config).run(&fates, |fate| Model::new(&fate).run());
    let error = found.unwrap_err().to_string();
    assert!(error.contains("the lease outlives the session"), "{error}");
}

/// The limit of what pings can tell, as the docs of the clock have it.
#[test]
fn a_stall_that_no_proof_saw_may_escape() {
    let fate = |stall| Fate {
        margin: 520,
        half_tick: 500,
        phase: 0,
        opened: (0, 0),
        ping_gap: 300,
        client_link: 0,
        leader_link: 0,
        jitter: vec![0],
        client_stall: (4_050, stall),
        leader_stalls: Vec::new(),
        pauses: Vec::new(),
        requests: vec![4_999],
        held: None,
    };
    assert!(Model::new(&fate(449)).run().is_ok());
    assert!(Model::new(&fate(460)).run().is_err());
}
