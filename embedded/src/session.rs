//! Sessions and when they end. Pure: the clock is the caller's.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

/// A session's id, as clients show it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub i64);

impl From<i64> for SessionId {
    fn from(id: i64) -> Self {
        Self(id)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({:#x})", self.0)
    }
}

/// The length of the password that proves a session to be one's own.
const PASSWORD_LEN: usize = 16;

/// All living sessions.
///
/// Times are milliseconds of a clock that never goes back. Sessions end in batches, at multiples of the tick: never
/// before their timeout is over, up to a tick later.
#[derive(Debug)]
pub(crate) struct Sessions {
    tick: i64,
    next_id: i64,
    secret: i64,
    sessions: HashMap<i64, Session>,
    expiries: BTreeMap<i64, BTreeSet<i64>>,
}

#[derive(Debug)]
struct Session {
    timeout: i32,
    expires_at: i64,
}

impl Sessions {
    /// `seed` keeps the ids of servers apart.
    pub(crate) fn new(tick: i64, seed: i64) -> Self {
        Self {
            tick: tick.max(1),
            // The top byte is the server's number, of which a single server has none.
            next_id: ((seed << 24) as u64 >> 8) as i64 | 1,
            secret: seed.wrapping_mul(0x5851_f42d_4c95_7f2d) ^ 0x14_0577_b7ef,
            sessions: HashMap::new(),
            expiries: BTreeMap::new(),
        }
    }

    pub(crate) fn open(&mut self, timeout: i32, now: i64) -> i64 {
        let id = self.next_id;
        self.next_id += 1;
        let expires_at = self.expiry(timeout, now);
        self.sessions.insert(id, Session { timeout, expires_at });
        self.expiries.entry(expires_at).or_default().insert(id);
        id
    }

    /// Notes a sign of life; false if there is no such session.
    pub(crate) fn touch(&mut self, id: i64, now: i64) -> bool {
        let timeout = self.sessions.get(&id).map(|session| session.timeout);
        timeout.is_some_and(|timeout| self.renew(id, timeout, now))
    }

    /// Notes a sign of life and a new timeout; false if there is no such session.
    pub(crate) fn renew(&mut self, id: i64, timeout: i32, now: i64) -> bool {
        let expires_at = self.expiry(timeout, now);
        let Some(session) = self.sessions.get_mut(&id) else {
            return false;
        };
        session.timeout = timeout;
        let before = std::mem::replace(&mut session.expires_at, expires_at);
        if before != expires_at {
            self.unschedule(id, before);
            self.expiries.entry(expires_at).or_default().insert(id);
        }
        true
    }

    /// Notes a sign of life of all.
    pub(crate) fn renew_all(&mut self, now: i64) {
        let all: Vec<i64> = self.sessions.keys().copied().collect();
        for id in all {
            self.touch(id, now);
        }
    }

    /// Ends a session; false if there is no such session.
    pub(crate) fn close(&mut self, id: i64) -> bool {
        match self.sessions.remove(&id) {
            Some(session) => {
                self.unschedule(id, session.expires_at);
                true
            }
            None => false,
        }
    }

    /// The sessions that have to end by now, in the order of their ends.
    pub(crate) fn due(&self, now: i64) -> Vec<i64> {
        self.expiries
            .range(..=now)
            .flat_map(|(_, ids)| ids.iter().copied())
            .collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Living sessions with their timeouts, by the time at which they end unless they show life.
    pub(crate) fn by_expiry(&self) -> impl Iterator<Item = (i64, i64, i32)> {
        self.expiries.iter().flat_map(|(at, ids)| {
            ids.iter()
                .filter_map(|id| self.sessions.get(id).map(|session| (*at, *id, session.timeout)))
        })
    }

    /// The password of a session; it takes no memory per session.
    pub(crate) fn password(&self, id: i64) -> [u8; PASSWORD_LEN] {
        let mut state = (id ^ self.secret) as u64;
        let mut password = [0; PASSWORD_LEN];
        for chunk in password.chunks_mut(8) {
            // SplitMix64.
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut word = state;
            word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            chunk.copy_from_slice(&(word ^ (word >> 31)).to_be_bytes());
        }
        password
    }

    fn expiry(&self, timeout: i32, now: i64) -> i64 {
        (now.saturating_add(i64::from(timeout)) / self.tick + 1).saturating_mul(self.tick)
    }

    fn unschedule(&mut self, id: i64, at: i64) {
        if let Some(ids) = self.expiries.get_mut(&at) {
            ids.remove(&id);
            if ids.is_empty() {
                self.expiries.remove(&at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expiry_is_rounded_up_to_a_tick_and_never_early() {
        for now in [0, 1, 499, 500, 501, 999] {
            let mut sessions = Sessions::new(500, 1);
            let id = sessions.open(1000, now);
            let (at, ..) = sessions.by_expiry().next().unwrap();
            assert_eq!(at % 500, 0);
            assert!(at > now + 1000 && at <= now + 1500, "{now} {at}");
            assert_eq!(sessions.due(at - 1), []);
            assert_eq!(sessions.due(at), [id]);
        }
    }

    #[test]
    fn a_sign_of_life_moves_the_end() {
        let mut sessions = Sessions::new(10, 1);
        let id = sessions.open(100, 0);
        assert!(sessions.touch(id, 95));
        assert_eq!(sessions.due(190), []);
        assert_eq!(sessions.due(200), [id]);
        assert!(sessions.close(id));
        assert!(!sessions.touch(id, 100));
        assert_eq!(sessions.due(i64::MAX), []);
    }

    #[test]
    fn passwords_differ_by_session_and_by_server() {
        let (a, b) = (Sessions::new(10, 1), Sessions::new(10, 2));
        assert_eq!(a.password(7), a.password(7));
        assert_ne!(a.password(7), a.password(8));
        assert_ne!(a.password(7), b.password(7));
    }
}
