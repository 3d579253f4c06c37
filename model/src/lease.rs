//! One session and its lease: can the holder believe after the leader has expired the session?
//!
//! The client is connected to a follower. The leader pings the follower every half tick, and hears of the session by
//! the answer. Time goes by units of a twentieth of the session timeout. In each unit the adversary decides whether the
//! process runs, whether the link between client and follower carries packets, and whether the link between follower
//! and leader does. A link that does not carry packets keeps them, and delivers them later. The lease is the crate's.

use std::fmt;
use std::time::Duration;

use stateright::{Model, Property};
use zookeeper_recipes::model::ModelLease;

const T: u8 = 20;
/// Units between two pings of the leader: half a tick.
const HALF_TICK: u8 = 3;
/// The longest silence of the client in units: 3/20 of the timeout.
const SILENCE: u8 = 3;
/// How long a stall may be that no proof sees: less than the margin less half a tick.
const UNSEEN: u8 = 2;

/// What is taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Without {
    /// The margin.
    Margin,
    /// Counting from the send time: proofs count from their acknowledgement.
    SendTime,
    /// The answer: a heartbeat counts as a proof once it is sent.
    Answer,
    /// The lease: the holder believes as long as nothing tells it of the expiry.
    Lease,
    /// The note of pauses: a stopped process passes for one that pings.
    PauseNotes,
    /// The assumption that no long stall goes unseen by a proof.
    StallAssumption,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Weather {
    runs: bool,
    client_link: bool,
    quorum_link: bool,
}

const CALM: Weather = Weather {
    runs: true,
    client_link: true,
    quorum_link: true,
};

impl fmt::Debug for Weather {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let troubles = [
            (self.runs, "process stopped"),
            (self.client_link, "client's link stalled"),
            (self.quorum_link, "follower cut off"),
        ];
        let troubles: Vec<_> = troubles
            .iter()
            .filter(|(well, _)| !well)
            .map(|(_, name)| *name)
            .collect();
        f.write_str(if troubles.is_empty() { "calm" } else { "" })?;
        f.write_str(&troubles.join(" and "))
    }
}

/// What the adversary does in the next unit of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    Unit(Weather),
    /// The client's connection breaks, and it goes to the leader.
    Reconnect,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Hold {
    Idle,
    Awaited,
    Held,
    Lost,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    now: u8,
    weather: Weather,
    changes: u8,
    ping_phase: u8,
    granted_from: u8,
    at_leader: bool,
    lease: ModelLease,
    hold: Hold,
    last_sent: u8,
    in_flight: Option<u8>,
    unseen: u8,
    /// Packets on their way: `None` is a ping, `Some` a proof and when it was sent.
    to_follower: Vec<Option<u8>>,
    to_leader: Vec<u8>,
    to_client: Vec<u8>,
    ping_on_its_way: bool,
    heard: bool,
    deadline: u8,
    expired: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct LeaseModel {
    pub(crate) horizon: u8,
    /// How often the adversary may change the weather.
    pub(crate) changes: u8,
    pub(crate) without: Option<Without>,
}

fn at(units: u8) -> Duration {
    Duration::from_secs(units.into())
}

impl LeaseModel {
    fn lacks(&self, safeguard: Without) -> bool {
        self.without == Some(safeguard)
    }

    fn proved(&self, state: &mut State, sent: u8) {
        let sent = if self.lacks(Without::SendTime) { state.now } else { sent };
        state.lease.proved(at(sent), at(state.now));
    }

    fn believes(&self, state: &State) -> bool {
        if self.lacks(Without::Lease) {
            return state.hold == Hold::Held;
        }
        state.hold == Hold::Held && !state.lease.clone().is_lapsed(at(state.now))
    }

    /// The process takes its turn: signs of life, the end of the lease, the grant, heartbeats and pings.
    fn client_acts(&self, state: &mut State, ran_before: bool) {
        if ran_before {
            state.lease.alive(at(state.now) - Duration::from_millis(500));
        }
        state.lease.alive(at(state.now));
        if state.hold == Hold::Held && !self.believes(state) {
            state.hold = Hold::Lost;
        }
        if state.hold == Hold::Idle && state.now >= state.granted_from {
            state.hold = Hold::Awaited;
            state.lease.await_grant();
        }
        let due = state.lease.heartbeat_due().is_some_and(|due| due <= at(state.now));
        if due && state.in_flight.is_none() {
            state.lease.heartbeat_sent(at(state.now));
            state.in_flight = Some(state.now);
            state.last_sent = state.now;
            state.to_follower.push(Some(state.now));
            if self.lacks(Without::Answer) {
                self.proved(state, state.now);
            }
        } else if state.now - state.last_sent >= SILENCE {
            state.last_sent = state.now;
            state.to_follower.push(None);
        }
    }

    /// Packets and pings pass, in the order that is worst for the session.
    fn network_acts(&self, state: &mut State) {
        let quorum = state.weather.quorum_link || state.at_leader;
        // A ping of the leader that meets a stalled link arrives, and is answered, once that carries packets again.
        state.ping_on_its_way |= state.now % HALF_TICK == state.ping_phase;
        if state.ping_on_its_way && quorum {
            state.ping_on_its_way = false;
            self.leader_hears(state);
        }
        if state.weather.client_link && !state.to_follower.is_empty() {
            state.heard = true;
            let arrived = std::mem::take(&mut state.to_follower);
            state.to_leader.extend(arrived.into_iter().flatten());
        }
        if state.at_leader {
            self.leader_hears(state);
        }
        if quorum && !state.expired {
            state.to_client.append(&mut state.to_leader);
        }
        state.expired |= state.now >= state.deadline;
    }

    fn leader_hears(&self, state: &mut State) {
        if state.heard && !state.expired {
            state.deadline = state.now + T;
        }
        state.heard = false;
    }

    fn client_hears(&self, state: &mut State) {
        let quorum = state.weather.quorum_link || state.at_leader;
        if state.weather.client_link && quorum {
            for sent in std::mem::take(&mut state.to_client) {
                state.in_flight = None;
                self.proved(state, sent);
            }
            if self.lacks(Without::Lease) && state.expired {
                state.hold = Hold::Lost;
            }
        }
        if state.hold == Hold::Awaited && state.lease.may_grant(at(state.now)) {
            state.lease.grant_ended();
            state.lease.hold();
            state.hold = Hold::Held;
        }
    }

    fn unit(&self, state: &mut State, weather: Weather) {
        let ran_before = state.weather.runs;
        state.changes -= u8::from(weather != state.weather && weather != CALM);
        state.weather = weather;
        state.now += 1;
        if weather.runs {
            self.client_acts(state, ran_before);
        } else if self.lacks(Without::PauseNotes) {
            state.lease.alive(at(state.now) - Duration::from_millis(500));
            state.lease.alive(at(state.now));
        }
        let unseen = !weather.client_link && state.in_flight.is_none();
        state.unseen = if unseen { state.unseen + 1 } else { 0 };
        self.network_acts(state);
        if weather.runs {
            self.client_hears(state);
        }
    }

    fn reconnect(&self, state: &mut State) {
        state.changes -= 1;
        state.at_leader = true;
        state.to_follower.clear();
        state.to_leader.clear();
        state.to_client.clear();
        state.in_flight = None;
        state.heard = false;
        if state.expired {
            state.hold = Hold::Lost;
        } else {
            state.deadline = state.now + T;
        }
    }
}

impl Model for LeaseModel {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let margin = match self.without {
            Some(Without::Margin) => Duration::ZERO,
            _ => ModelLease::default_margin(at(T)),
        };
        let lease = ModelLease::new(at(T), margin, ModelLease::client_silence(at(T)), at(0));
        let starts = (0..HALF_TICK).flat_map(|phase| [0, 12].map(|granted_from| (phase, granted_from)));
        let states = starts.map(|(ping_phase, granted_from)| State {
            now: 0,
            weather: CALM,
            changes: self.changes,
            ping_phase,
            granted_from,
            at_leader: false,
            lease: lease.clone(),
            hold: Hold::Idle,
            last_sent: 0,
            in_flight: None,
            unseen: 0,
            to_follower: Vec::new(),
            to_leader: Vec::new(),
            to_client: Vec::new(),
            ping_on_its_way: false,
            heard: false,
            deadline: T,
            expired: false,
        });
        states.collect()
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.now >= self.horizon || state.hold == Hold::Lost {
            return;
        }
        for bits in 0..8_u8 {
            let weather = Weather {
                runs: bits & 1 == 0,
                client_link: bits & 2 == 0,
                quorum_link: bits & 4 == 0,
            };
            let free = weather == state.weather || weather == CALM;
            let unseen = !weather.client_link && state.in_flight.is_none() && state.unseen >= UNSEEN;
            let assumed = !unseen || self.lacks(Without::StallAssumption);
            if (free || state.changes > 0) && assumed {
                actions.push(Action::Unit(weather));
            }
        }
        if state.changes > 0 && !state.at_leader && state.weather.runs {
            actions.push(Action::Reconnect);
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        match action {
            Action::Unit(weather) => self.unit(&mut next, weather),
            Action::Reconnect => self.reconnect(&mut next),
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::<Self>::always("no belief after the expiry", |model, state| {
                !(state.expired && model.believes(state))
            }),
            Property::<Self>::always("a calm ensemble costs no hold", |model, state| {
                state.changes < model.changes || state.hold != Hold::Lost
            }),
            Property::<Self>::sometimes("a hold is granted", |_, state| state.hold == Hold::Held),
            Property::<Self>::sometimes("a hold lives to the end", |model, state| {
                state.now == model.horizon && model.believes(state)
            }),
            Property::<Self>::sometimes("a lease lapses", |_, state| state.hold == Hold::Lost),
        ]
    }
}
