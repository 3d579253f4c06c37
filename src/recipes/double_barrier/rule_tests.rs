//! The rules against a model of the ensemble: processes whose looks are split in two and are old when they are acted
//! on, in any order, with deaths and cancellations anywhere.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::rule::{Arrival, Enter, Leave, Ready, enter, leave};

/// What the ensemble knows, and what is true of it.
#[derive(Debug, Default)]
struct Ensemble {
    zxid: i64,
    fence: i32,
    ready: Option<Ready>,
    members: BTreeMap<String, i64>,
    /// Every change of `ready`, for the members that watch it.
    ready_changes: u64,
    /// The members inside of each opening, by the czxid of its `ready`. Never forgets one.
    inside: BTreeMap<i64, BTreeSet<String>>,
}

impl Ensemble {
    fn tick(&mut self) -> i64 {
        self.zxid += 1;
        self.zxid
    }

    fn set_ready(&mut self, ready: Option<Ready>) {
        self.ready = ready;
        self.ready_changes += 1;
    }

    fn remove(&mut self, name: &str) {
        self.tick();
        self.members.remove(name);
    }

    /// All members that are there now are inside.
    fn all_are_inside(&mut self, opening: i64) {
        let names = self.members.keys().cloned();
        self.inside.entry(opening).or_default().extend(names);
    }

    fn left_inside(&self, opening: i64) -> Vec<&String> {
        let inside = self.inside.get(&opening).into_iter().flatten();
        inside.filter(|name| self.members.contains_key(*name)).collect()
    }
}

/// Where a process stands.
#[derive(Clone, Debug)]
enum Process {
    Outside,
    /// Waits to be let in, with what it has seen.
    Entering {
        own: String,
        czxid: i64,
        look: Look,
    },
    Inside {
        own: String,
        opening: Ready,
    },
    Leaving {
        own: Option<String>,
        opening: Ready,
        look: Look,
    },
}

#[derive(Clone, Debug, Default)]
struct Look {
    /// The version of the directory's data before anything else was read.
    fence: i32,
    ready: Option<(Option<Ready>, u64)>,
    members: Option<Vec<(String, i64)>>,
    asleep: Option<Sleep>,
}

/// What wakes it.
#[derive(Clone, Debug)]
struct Sleep {
    ready_changes: u64,
    member: Option<String>,
}

struct World {
    ensemble: Ensemble,
    processes: Vec<Process>,
    parties: usize,
    names: u64,
    openings: usize,
}

impl World {
    fn new(processes: usize, parties: usize, stale: bool) -> Self {
        let mut ensemble = Ensemble::default();
        if stale {
            let zxid = ensemble.tick();
            ensemble.set_ready(Some(Ready {
                czxid: zxid,
                mzxid: zxid,
                version: 0,
            }));
        }
        Self {
            ensemble,
            processes: vec![Process::Outside; processes],
            parties,
            names: 0,
            openings: 0,
        }
    }

    fn begin(&mut self, index: usize) {
        match self.processes[index].clone() {
            Process::Outside => {
                // Names are in no order of time.
                self.names += 1;
                let own = format!("{:04}", (self.names * 7_919) % 10_007);
                let czxid = self.ensemble.tick();
                self.ensemble.members.insert(own.clone(), czxid);
                // The list comes with the create, before anything else.
                let look = Look {
                    members: Some(self.listed()),
                    ..Look::default()
                };
                self.processes[index] = Process::Entering { own, czxid, look };
            }
            Process::Inside { own, opening } => {
                let look = Look::default();
                self.processes[index] = Process::Leaving {
                    own: Some(own),
                    opening,
                    look,
                };
            }
            _ => {}
        }
    }

    /// The process is gone, or has given up: its node is removed, and it is not heard of again.
    fn die(&mut self, index: usize) {
        let own = match std::mem::replace(&mut self.processes[index], Process::Outside) {
            Process::Entering { own, .. } | Process::Inside { own, .. } => Some(own),
            Process::Leaving { own, .. } => own,
            Process::Outside => None,
        };
        if let Some(own) = own {
            self.ensemble.remove(&own);
        }
    }

    fn listed(&self) -> Vec<(String, i64)> {
        self.ensemble
            .members
            .iter()
            .map(|(name, czxid)| (name.clone(), *czxid))
            .collect()
    }

    /// One read or one transaction. False if the process sleeps or has nothing to do.
    fn step(&mut self, index: usize) -> bool {
        let mut process = self.processes[index].clone();
        let (Process::Entering { look, .. } | Process::Leaving { look, .. }) = &mut process else {
            return false;
        };
        if let Some(sleep) = &look.asleep {
            let member_is_there = sleep
                .member
                .as_ref()
                .is_none_or(|name| self.ensemble.members.contains_key(name));
            if sleep.ready_changes == self.ensemble.ready_changes && member_is_there {
                return false;
            }
            *look = Look::default();
        }
        if look.ready.is_none() {
            if look.members.is_none() || look.fence == 0 {
                look.fence = self.ensemble.fence;
            }
            look.ready = Some((self.ensemble.ready, self.ensemble.ready_changes));
        } else if look.members.is_none() {
            look.members = Some(self.listed());
        } else {
            process = self.act(process);
        }
        self.processes[index] = process;
        true
    }

    fn act(&mut self, process: Process) -> Process {
        match process {
            Process::Entering { own, czxid, look } => self.act_entering(own, czxid, look),
            Process::Leaving { own, opening, look } => self.act_leaving(own, opening, look),
            other => other,
        }
    }

    fn act_entering(&mut self, own: String, czxid: i64, look: Look) -> Process {
        let (ready, seen_changes) = look.ready.unwrap();
        let listed = look.members.clone().unwrap();
        let others: Vec<_> = members(&listed, &own);
        let mut next = Look::default();
        match (enter(czxid, self.parties, ready, &others), ready) {
            (Enter::Pass, Some(opening)) => {
                // The own node is still there: it is asked for.
                if self.ensemble.members.contains_key(&own) {
                    let inside = &self.ensemble.inside[&opening.czxid];
                    assert!(inside.contains(&own), "passed without having been let in");
                    return Process::Inside { own, opening };
                }
            }
            (Enter::Join(inside), Some(seen)) => {
                let is_there = self.ensemble.members.contains_key(inside);
                let unchanged = |now: &Ready| is_there && now.version == seen.version;
                if let Some(now) = self.ensemble.ready.filter(unchanged) {
                    assert!(
                        !self.ensemble.left_inside(now.czxid).is_empty(),
                        "joined an empty opening"
                    );
                    let mzxid = self.ensemble.tick();
                    self.ensemble.set_ready(Some(Ready {
                        mzxid,
                        version: now.version + 1,
                        ..now
                    }));
                    self.ensemble.all_are_inside(now.czxid);
                }
            }
            (Enter::Clear, Some(seen)) => self.clear(look.fence, seen),
            (Enter::Open(others), _) => {
                let all_there = others.iter().all(|name| self.ensemble.members.contains_key(*name))
                    && self.ensemble.members.contains_key(&own);
                if look.fence == self.ensemble.fence && self.ensemble.ready.is_none() && all_there {
                    let there = self.ensemble.members.len();
                    assert!(there >= self.parties, "opened for {there} of {}", self.parties);
                    let zxid = self.ensemble.tick();
                    self.ensemble.fence += 1;
                    self.ensemble.set_ready(Some(Ready {
                        czxid: zxid,
                        mzxid: zxid,
                        version: 0,
                    }));
                    self.ensemble.all_are_inside(zxid);
                    self.openings += 1;
                }
            }
            (Enter::Wait, _) => {
                next = look;
                next.asleep = Some(Sleep {
                    ready_changes: seen_changes,
                    member: None,
                });
            }
            (step, None) => unreachable!("{step:?} without ready"),
        }
        Process::Entering { own, czxid, look: next }
    }

    fn act_leaving(&mut self, own: Option<String>, mut opening: Ready, look: Look) -> Process {
        let (ready, seen_changes) = look.ready.unwrap();
        if let Some(ready) = ready.filter(|ready| ready.czxid == opening.czxid) {
            opening = ready;
        }
        let listed = look.members.clone().unwrap();
        let others = members(&listed, own.as_deref().unwrap_or_default());
        let mut next = Look::default();
        let mut own = own;
        match leave(own.as_deref(), opening, ready, &others) {
            Leave::Done => {
                assert_eq!(own, None);
                let left = self.ensemble.left_inside(opening.czxid);
                assert!(left.is_empty(), "done while {left:?} are inside");
                return Process::Outside;
            }
            Leave::Close(version) => {
                if self.ensemble.ready.is_some_and(|now| now.version == version) {
                    self.ensemble.remove(own.as_deref().unwrap());
                    self.ensemble.set_ready(None);
                    let left = self.ensemble.left_inside(opening.czxid);
                    assert!(left.is_empty(), "closed while {left:?} are inside");
                    return Process::Outside;
                }
            }
            Leave::Withdraw => {
                self.ensemble.remove(&own.take().unwrap());
            }
            Leave::Clear => self.clear(look.fence, opening),
            Leave::Watch(member) => {
                let member = Some(member.to_owned());
                next = look;
                next.asleep = Some(Sleep {
                    ready_changes: seen_changes,
                    member,
                });
            }
        }
        Process::Leaving {
            own,
            opening,
            look: next,
        }
    }

    fn clear(&mut self, fence: i32, seen: Ready) {
        let unchanged = |now: &Ready| now.version == seen.version && fence == self.ensemble.fence;
        if let Some(now) = self.ensemble.ready.filter(unchanged) {
            let left = self.ensemble.left_inside(now.czxid);
            assert!(left.is_empty(), "cleared while {left:?} are inside");
            self.ensemble.tick();
            self.ensemble.set_ready(None);
        }
    }

    /// Lets all members go on until none can.
    fn settle(&mut self) {
        for _ in 0..10_000 {
            let mut moved = false;
            for index in 0..self.processes.len() {
                moved |= self.step(index);
            }
            if !moved {
                return;
            }
        }
        panic!("no end to it: {:?}", self.processes);
    }

    /// No member is left waiting for what is the case.
    fn check_settled(&self) {
        let entering = self.count(|process| matches!(process, Process::Entering { .. }));
        let inside = self.count(|process| matches!(process, Process::Inside { .. }));
        assert!(inside == 0 || entering == 0, "those inside are joined");
        assert!(entering < self.parties.max(1), "{entering} wait for {}", self.parties);
        if entering > 0 {
            assert_eq!(
                self.ensemble.ready, None,
                "a stale one is cleared by the members that come"
            );
        }
        for process in &self.processes {
            if let Process::Leaving { own, opening, .. } = process {
                let left = self.ensemble.left_inside(opening.czxid);
                assert!(
                    left.iter().any(|name| Some(*name) != own.as_ref()),
                    "no member is left to wait for"
                );
            }
        }
    }

    fn count(&self, is: impl Fn(&Process) -> bool) -> usize {
        self.processes.iter().filter(|process| is(process)).count()
    }
}

fn members<'a>(listed: &'a [(String, i64)], own: &str) -> Vec<Arrival<'a>> {
    let others = listed.iter().filter(|(name, _)| name != own);
    others.map(|(name, czxid)| Arrival { name, czxid: *czxid }).collect()
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Step(usize),
    Begin(usize),
    Die(usize),
    Settle,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        12 => (0_usize..6).prop_map(Event::Step),
        5 => (0_usize..6).prop_map(Event::Begin),
        1 => (0_usize..6).prop_map(Event::Die),
        1 => Just(Event::Settle),
    ];
    prop::collection::vec(event, 1..150)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8_000))]

    #[test]
    fn whoever_enters_leaves_dies_or_gives_up_whenever(
        events in events(),
        processes in 1_usize..6,
        parties in 1_usize..5,
        stale: bool,
    ) {
        let mut world = World::new(processes, parties, stale);
        for event in events {
            match event {
                Event::Step(index) => _ = world.step(index % processes),
                Event::Begin(index) => world.begin(index % processes),
                Event::Die(index) => world.die(index % processes),
                Event::Settle => {
                    world.settle();
                    world.check_settled();
                }
            }
        }
        world.settle();
        world.check_settled();
        // All members inside can leave, and nothing is left of the opening.
        for index in 0..processes {
            if matches!(world.processes[index], Process::Inside { .. }) {
                world.begin(index);
            }
        }
        world.settle();
        world.check_settled();
        prop_assert_eq!(world.count(|process| matches!(process, Process::Inside { .. } | Process::Leaving { .. })), 0);
        if world.openings > 0 && world.ensemble.members.is_empty() {
            // Unless the last ones died, with no member there to notice.
            world.begin(0);
            world.settle();
            world.check_settled();
        }
    }
}

const INSIDE: Ready = Ready {
    czxid: 10,
    mzxid: 12,
    version: 1,
};

fn member(name: &str, czxid: i64) -> Arrival<'_> {
    Arrival { name, czxid }
}

#[test]
fn the_last_to_come_opens_and_the_others_wait() {
    let others = [member("b", 0), member("c", 0)];
    assert_eq!(enter(9, 4, None, &others), Enter::Wait);
    assert_eq!(enter(9, 3, None, &others), Enter::Open(vec!["b", "c"]));
    assert_eq!(
        enter(9, 2, None, &others),
        Enter::Open(vec!["b"]),
        "no more than there have to be"
    );
    assert_eq!(enter(9, 0, None, &[]), Enter::Open(vec![]));
}

#[test]
fn a_ready_that_is_newer_than_the_member_lets_it_pass_whoever_has_left() {
    assert_eq!(enter(11, 4, Some(INSIDE), &[]), Enter::Pass);
}

#[test]
fn a_ready_that_is_older_is_joined_if_somebody_is_inside_and_cleared_if_nobody_is() {
    assert_eq!(
        enter(13, 1, Some(INSIDE), &[member("x", 14), member("y", 11)]),
        Enter::Join("y")
    );
    assert_eq!(enter(13, 1, Some(INSIDE), &[member("x", 14)]), Enter::Clear);
}

#[test]
fn the_lowest_stays_until_it_is_the_last_and_the_others_wait_for_it() {
    let others = [member("c", 0), member("b", 0), member("d", 0)];
    assert_eq!(leave(Some("a"), INSIDE, Some(INSIDE), &others), Leave::Watch("d"));
    assert_eq!(leave(Some("c"), INSIDE, Some(INSIDE), &others), Leave::Withdraw);
    assert_eq!(leave(None, INSIDE, Some(INSIDE), &others), Leave::Watch("b"));
    assert_eq!(leave(Some("a"), INSIDE, Some(INSIDE), &[]), Leave::Close(1));
    assert_eq!(leave(None, INSIDE, Some(INSIDE), &[]), Leave::Clear);
}

#[test]
fn those_who_came_after_the_opening_was_over_are_not_waited_for() {
    let next = Ready {
        czxid: 20,
        mzxid: 20,
        version: 0,
    };
    for ready in [None, Some(next)] {
        let others = [member("a", 15), member("b", 11), member("c", 11)];
        assert_eq!(leave(Some("x"), INSIDE, ready, &others), Leave::Withdraw);
        assert_eq!(leave(None, INSIDE, ready, &others), Leave::Watch("b"));
        assert_eq!(leave(None, INSIDE, ready, &others[..1]), Leave::Done);
    }
}
