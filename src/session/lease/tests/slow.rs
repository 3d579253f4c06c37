//! Simulates the heartbeats of one hold: on a link with constant latency, and over a stall of the server.

use std::collections::VecDeque;

use super::*;

/// The resolution.
const STEP: u64 = 20;
const IDLE: u64 = 50_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    /// The schedule of the clock.
    Vouchers,
    /// The rules that it replaced: a heartbeat only T/5 after the latest proof, a grant with more than T/5 left, and
    /// pings that are less frequent.
    Regular,
}

impl Rule {
    fn clock(self, margin: Duration) -> LeaseClock {
        match self {
            Self::Vouchers => with_margin(margin, start()),
            // With the unnoticed pause, 30 % of T.
            Self::Regular => LeaseClock::new(T, margin, T / 4, start()),
        }
    }

    fn due(self, clock: &LeaseClock) -> Moment {
        match self {
            Self::Vouchers => clock.heartbeat_due().unwrap(),
            Self::Regular => clock.latest + T / 5,
        }
    }

    fn may_grant(self, clock: &mut LeaseClock, now: Moment) -> bool {
        match self {
            Self::Vouchers => clock.may_grant(now),
            Self::Regular => clock.remaining(now) > T / 5,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Link {
    latency: u64,
    /// From when to when no request is answered.
    stall: (u64, u64),
    /// When the process stands still.
    pause: (u64, u64),
    /// Whether proofs are sent during the idle time as well.
    warm: bool,
}

impl Link {
    fn slow(latency: u64) -> Self {
        Self {
            latency,
            stall: (0, 0),
            pause: (0, 0),
            warm: false,
        }
    }

    fn answers(&self, sent: u64) -> u64 {
        let answered = sent + self.latency;
        let (from, until) = self.stall;
        if sent < until && answered > from {
            answered.max(until + self.latency)
        } else {
            answered
        }
    }
}

/// What became of a hold.
#[derive(Debug, Default)]
struct Course {
    granted: Option<u64>,
    lost: bool,
    heartbeats: Vec<u64>,
}

impl Course {
    /// The most heartbeats in any time T.
    fn most_heartbeats(&self) -> usize {
        let within = |from: u64| {
            self.heartbeats
                .iter()
                .filter(|at| (from..from + 10_000).contains(*at))
                .count()
        };
        self.heartbeats.iter().map(|from| within(*from)).max().unwrap_or(0)
    }
}

/// One session: idle for 5 T, then it creates a node and holds it once that is granted.
struct Run {
    rule: Rule,
    link: Link,
    clock: LeaseClock,
    /// Proofs on their way: when each was sent, and when its answer is there.
    in_flight: VecDeque<(u64, u64)>,
    noted: u64,
    warmed: u64,
    begun: Option<u64>,
    course: Course,
}

fn at(millis: u64) -> Moment {
    start() + ms(millis)
}

/// What becomes of a hold within `length` of its create.
fn hold(rule: Rule, margin: Duration, link: Link, length: u64) -> Course {
    let mut run = Run {
        rule,
        link,
        clock: rule.clock(margin),
        in_flight: VecDeque::new(),
        noted: 0,
        warmed: 0,
        begun: None,
        course: Course::default(),
    };
    let (from, until) = link.pause;
    let mut now = 0;
    while now < IDLE + length && !run.course.lost {
        if !(from..until).contains(&now) {
            run.step(now);
        }
        now += STEP;
    }
    run.course
}

impl Run {
    fn step(&mut self, now: u64) {
        if now - self.noted >= 240 {
            self.clock.alive(at(now));
            self.noted = now;
        }
        while let Some((sent, _)) = self.in_flight.front().filter(|(_, answered)| *answered <= now) {
            self.clock.proved(at(*sent), at(now));
            self.in_flight.pop_front();
        }
        match self.begun {
            Some(begun) => self.confirm(begun, now),
            None if now >= IDLE => {
                self.clock.await_grant();
                self.send(now);
                self.begun = Some(now);
            }
            None if self.link.warm && now >= self.warmed + 2_000 => {
                self.send(now);
                self.warmed = now;
            }
            None => {}
        }
    }

    fn confirm(&mut self, begun: u64, now: u64) {
        let is_waiting = self.course.granted.is_none() && self.clock.latest >= at(begun);
        if is_waiting && self.rule.may_grant(&mut self.clock, at(now)) {
            self.clock.grant_ended();
            self.clock.hold();
            self.course.granted = Some(now);
        }
        self.course.lost = self.clock.is_lapsed(at(now));
        if self.in_flight.is_empty() && self.rule.due(&self.clock) <= at(now) {
            self.clock.heartbeat_sent(at(now));
            self.course.heartbeats.push(now);
            self.send(now);
        }
    }

    fn send(&mut self, now: u64) {
        self.in_flight.push_back((now, self.link.answers(now)));
    }
}

fn default_margin() -> Duration {
    LeaseClock::default_margin(T)
}

#[test]
fn a_slow_link_keeps_a_hold() {
    for latency in [20, 100, 300, 500, 800] {
        let course = hold(Rule::Vouchers, default_margin(), Link::slow(latency), 100_000);
        assert!(course.granted.is_some() && !course.lost, "{latency}: {course:?}");
        // Granted with the create's own proof: no wait.
        assert!(course.granted <= Some(IDLE + latency + STEP), "{latency}: {course:?}");
    }
}

#[test]
fn the_rule_before_lost_holds_on_slow_links() {
    let course = hold(Rule::Regular, default_margin(), Link::slow(600), 100_000);
    assert!(course.lost, "{course:?}");
}

#[test]
fn a_hold_on_a_hopeless_link_is_not_granted() {
    let course = hold(Rule::Vouchers, default_margin(), Link::slow(1_600), 100_000);
    assert_eq!((course.granted, course.lost), (None, false));
}

/// How many of 200 holds are lost to a stall of `length`, one for each phase, half of them of busy sessions.
fn lost_to_stalls(rule: Rule, length: u64) -> usize {
    let lost = |phase: u64, warm: bool| {
        let from = IDLE - 3_000 + 130 * phase;
        let stall = (from, from + length);
        let link = Link {
            stall,
            warm,
            ..Link::slow(20)
        };
        hold(rule, default_margin(), link, 25_000).lost
    };
    (0..100)
        .map(|phase| usize::from(lost(phase, false)) + usize::from(lost(phase, true)))
        .sum()
}

#[test]
fn a_stall_of_a_quarter_keeps_every_hold() {
    for length in [1_000, 2_000, 2_500] {
        assert_eq!(lost_to_stalls(Rule::Vouchers, length), 0, "{length}");
    }
    assert!(lost_to_stalls(Rule::Regular, 2_500) > 20);
}

#[test]
fn heartbeats_stay_within_their_budget() {
    for margin in (0..=3_000).step_by(100) {
        for latency in [0, 20, 100, 300, 800] {
            for warm in [false, true] {
                let link = Link {
                    warm,
                    ..Link::slow(latency)
                };
                let course = hold(Rule::Vouchers, ms(margin), link, 50_000);
                let most = course.most_heartbeats();
                assert!(most <= 8, "{most} with margin {margin}, latency {latency}, {warm}");
            }
        }
    }
}

#[test]
fn requests_of_the_user_add_no_heartbeats() {
    let mut clock = clock(start());
    clock.hold();
    let mut heartbeats = Vec::new();
    for now in (20..60_000).step_by(20) {
        let at = start() + ms(now);
        clock.alive(at);
        if clock.heartbeat_due().unwrap() <= at {
            clock.heartbeat_sent(at);
            heartbeats.push(now);
            clock.proved(at, at + ms(10));
        } else if now < 20_000 && now % 520 == 0 {
            clock.proved(at, at + ms(10));
        }
    }
    let course = Course {
        lost: clock.lapsed,
        heartbeats,
        ..Course::default()
    };
    assert!(course.most_heartbeats() <= 8 && !course.lost, "{course:?}");
}

#[test]
fn few_heartbeats_go_out_after_a_pause() {
    for resumed in (0..=5_000).step_by(100) {
        let until = IDLE - 4_900 + resumed;
        let link = Link {
            pause: (until - 5_000, until),
            ..Link::slow(20)
        };
        let course = hold(Rule::Vouchers, default_margin(), link, 40_000);
        let granted = course.granted.unwrap();
        let before = course.heartbeats.iter().filter(|at| **at <= granted).count();
        assert!(before <= 8 && !course.lost, "{before} heartbeats, {course:?}");
    }
}
