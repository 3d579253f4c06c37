//! Revocation: how a contender asks another to give its place up, the way Curator's `Revoker` does it.
//!
//! The request is written into the data of the node that stands for the place, and that is watched by its owner
//! anyway. To Curator's contenders it is `__REVOKE__` and nothing else, which is all that they understand. Contenders
//! of ours, whom their guid tells apart, learn the name and the reason of the requester; their own data is kept behind it.

use std::sync::Arc;

use bytes::Bytes;
use futures::future;
use zookeeper_client as zk;

use super::ephemeral::Ephemeral;
use super::hold::Hold;
use super::name;
use super::request::read;
use crate::error::Error;
use crate::metrics;
use crate::session::{Coordinator, Interrupted, Lost, Reply, Retry, Session, refused};

/// What Curator writes: `LockInternals.REVOKE_MESSAGE`.
const REVOKE: &[u8] = b"__REVOKE__";

/// Another contender's wish that this place be given up.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Revocation {
    /// The requester: the [identity](crate::ConnectOptions::identity) of its session. Curator does not say.
    pub requester: Option<Bytes>,
    /// Why. Curator does not say.
    pub reason: Option<String>,
}

impl Hold {
    /// Waits until another contender asks for this place: through
    /// [`FairLock::request_revocation`](crate::FairLock::request_revocation), its like of the other locks, the election
    /// and the semaphore, or with Curator's `Revoker`. A request made before this is called is not missed, and one that was seen is seen again.
    ///
    /// Nothing happens by itself: the holder decides whether it gives the place up, and when. What it does not look
    /// at costs no request.
    ///
    /// # Errors
    /// [`Lost`] when the hold ends.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    ///
    /// # Cost
    /// One read for each change of the node's data.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(lock: zookeeper_recipes::FairLock) -> Result<(), Box<dyn std::error::Error>> {
    /// let guard = lock.acquire().await?;
    /// tokio::select! {
    ///     () = rebuild_the_index() => {}
    ///     revocation = guard.revocation() => println!("making way: {:?}", revocation?.reason),
    /// }
    /// guard.release().await?;
    /// # Ok(())
    /// # }
    /// # async fn rebuild_the_index() {}
    /// ```
    pub async fn revocation(&self) -> Result<Revocation, Lost> {
        let requests = self.nodes().map(|node| Box::pin(requested(node)));
        tokio::select! {
            biased;
            reason = self.lost() => Err(Lost { reason }),
            (revocation, ..) = future::select_all(requests) => {
                self.measured().received();
                Ok(revocation)
            }
        }
    }
}

/// Waits until the data of `node` is a request.
async fn requested(node: &Ephemeral) -> Revocation {
    let mut read_at = 0;
    loop {
        read_at = node.version().other_than(read_at).await;
        // Without the right to read it, or without the node, no request can come.
        let Ok(Some((data, _))) = read(node.session(), node.path()).await else {
            break;
        };
        if let Some(message) = Message::parse(&data) {
            return message.into();
        }
    }
    future::pending().await
}

/// Counts a request that has reached its node.
pub(crate) fn count_asked(zk: &Coordinator, recipe: &'static str, asked: bool) {
    if asked {
        let labels = [("recipe", recipe), ("outcome", "asked")];
        metrics::count(metrics::REVOCATIONS, Some(zk.metrics_name()), &labels, 1);
    }
}

/// Asks the owner of the node at `path` to give its place up; false if the node is gone.
pub(crate) async fn request(session: &Arc<Session>, path: &str, reason: &str) -> Result<bool, Interrupted> {
    let mut retry = Retry::new(session, path, reason.len());
    loop {
        let Some((data, stat)) = read(session, path).await? else {
            return Ok(false);
        };
        let message = match name::is_ours(path) {
            true => Message::new(session.identity(), reason, own_data(&data)).encode(),
            false => REVOKE.to_vec(),
        };
        if data == message {
            return Ok(true);
        }
        session.check_size(path, message.len())?;
        let (message, version) = (&message, Some(stat.version));
        let written = session.write(|client| async move { client.set_data(path, message, version).await });
        match written.await? {
            Reply::Answer(_) => return Ok(true),
            Reply::Refused(zk::Error::NoNode) => return Ok(false),
            // Another client wrote, or the reply of our own write was lost.
            Reply::Refused(zk::Error::BadVersion) => retry.raced().await?,
            Reply::Refused(source) => return Err(refused(path, source)),
            Reply::Unanswered(unanswered) => retry.after(unanswered).await?,
        }
    }
}

/// Refuses the node of another client whose owner would not read a request: it would only cost it its data.
pub(crate) fn check_listener(path: &str) -> Result<(), Error> {
    if name::is_ours(path) {
        return Ok(());
    }
    let reason = "it belongs to another client, which does not listen to requests here; ask its operator";
    Err(Error::layout(path, reason))
}

/// The request to make way that the data of a node is, if it is one.
pub(crate) fn asked(data: &[u8]) -> Option<Revocation> {
    Message::parse(data).map(Revocation::from)
}

/// What the owner of a node wrote into it, whether or not it was asked to go since.
pub(crate) fn own_data(data: &[u8]) -> &[u8] {
    Message::parse(data).map_or(data, |message| message.replaced)
}

/// `now` with other data of the owner's; a request in it stays. `None` if it has none.
pub(super) fn behind_request(now: &[u8], own: &[u8]) -> Option<Vec<u8>> {
    let Message { requester, reason, .. } = Message::parse(now)?;
    Some(Message::new(requester, reason, own).encode())
}

/// `__REVOKE__`, and to one of us: a line with the lengths of what follows, the requester, the reason, and the data as it was.
#[derive(Debug, PartialEq, Eq)]
struct Message<'a> {
    requester: &'a [u8],
    reason: &'a str,
    replaced: &'a [u8],
}

impl<'a> Message<'a> {
    fn new(requester: &'a [u8], reason: &'a str, replaced: &'a [u8]) -> Self {
        Self {
            requester,
            reason,
            replaced,
        }
    }

    fn encode(&self) -> Vec<u8> {
        let lengths = format!("\n{} {}\n", self.requester.len(), self.reason.len());
        let reason = self.reason.as_bytes();
        [REVOKE, lengths.as_bytes(), self.requester, reason, self.replaced].concat()
    }

    fn parse(data: &'a [u8]) -> Option<Self> {
        let rest = data.strip_prefix(REVOKE)?;
        if rest.is_empty() {
            return Some(Self::new(&[], "", REVOKE));
        }
        let rest = rest.strip_prefix(b"\n")?;
        let end = rest.iter().position(|byte| *byte == b'\n')?;
        let (requester_len, reason_len) = std::str::from_utf8(&rest[..end]).ok()?.split_once(' ')?;
        let (requester, rest) = rest.get(end + 1..)?.split_at_checked(requester_len.parse().ok()?)?;
        let (reason, replaced) = rest.split_at_checked(reason_len.parse().ok()?)?;
        Some(Self::new(requester, std::str::from_utf8(reason).ok()?, replaced))
    }
}

impl From<Message<'_>> for Revocation {
    fn from(message: Message<'_>) -> Self {
        let requester = Some(message.requester).filter(|requester| !requester.is_empty());
        let reason = Some(message.reason).filter(|reason| !reason.is_empty());
        Self {
            requester: requester.map(Bytes::copy_from_slice),
            reason: reason.map(str::to_owned),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn curators_message_is_a_request_of_nobody_for_no_reason() {
        let revocation = Message::parse(b"__REVOKE__").map(Revocation::from);
        let expected = Revocation {
            requester: None,
            reason: None,
        };
        assert_eq!(revocation, Some(expected));
        assert_eq!(own_data(b"__REVOKE__"), b"__REVOKE__");
    }

    #[test]
    fn other_data_is_no_request() {
        for data in [
            &b""[..],
            b"127.0.0.1",
            b"__REVOKE",
            b"__REVOKE__D",
            b"__REVOKE__\n",
            b"__REVOKE__\n1 1\n",
            b"__REVOKE__\n1 1\na",
            b"__REVOKE__\n-1 1\nabc",
            b"__REVOKE__\n99999999999999999999 1\nabc",
            b"__REVOKE__\n0 1\n\xff",
        ] {
            assert_eq!(Message::parse(data), None, "{:?}", data.escape_ascii().to_string());
            assert_eq!(own_data(data), data);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(requester: Vec<u8>, reason: String, replaced: Vec<u8>) {
            let message = Message { requester: &requester, reason: &reason, replaced: &replaced };
            let data = message.encode();
            prop_assert_eq!(own_data(&data), &replaced[..]);
            prop_assert_eq!(Message::parse(&data), Some(message));
        }

        #[test]
        fn other_data_of_the_owner_leaves_a_request_as_it_is(requester: Vec<u8>, reason: String, own: Vec<u8>) {
            for now in [REVOKE.to_vec(), Message { requester: &requester, reason: &reason, replaced: b"a" }.encode()] {
                let after = behind_request(&now, &own).unwrap();
                prop_assert_eq!(own_data(&after), &own[..]);
                let asked = |data| Message::parse(data).map(Revocation::from);
                prop_assert_eq!(asked(&after), asked(&now));
            }
            prop_assert_eq!(behind_request(b"127.0.0.1", &own), None);
        }

        #[test]
        fn no_data_panics(tail: Vec<u8>) {
            Message::parse(&[REVOKE, b"\n", &tail].concat());
        }
    }
}
