//! A contender that may be our own ghost: the node of a former session of this process, which has crashed and restarted.

use tracing::info;

use super::contender::Enrolled;
use crate::session::Interrupted;
use crate::znode::{own_data, read, split_reason};

impl Enrolled<'_> {
    /// Says in the log that the contender ahead looks like one of a former session of this process. It is waited for as any
    /// other one: neither taken over nor ended, since the process that looks dead may be frozen, and may work on.
    ///
    /// It costs a read, and is asked only where it can be: of a process with an identity of its own, early in its life.
    pub(super) async fn tell_of_ghost(&self, blocker: &str) -> Result<(), Interrupted> {
        let session = self.node.session();
        if !session.may_have_ghost() {
            return Ok(());
        }
        let (data, stat) = match read(session, blocker).await {
            Ok(Some(found)) => found,
            // Without the right to read it, nothing is known of it.
            Ok(None) | Err(Interrupted::Failed(_)) => return Ok(()),
            Err(lost) => return Err(lost),
        };
        let own = own_data(&data);
        let (end, _) = split_reason(blocker, own);
        let is_alike = own[..end] == *session.identity() || self.is_alike(own);
        if is_alike && !session.is_one_of_ours(stat.ephemeral_owner) {
            info!(
                node = self.node.path(),
                blocker,
                identity = %String::from_utf8_lossy(session.identity()),
                session = format_args!("{:#x}", stat.ephemeral_owner),
                timeout = ?session.timeout(),
                "waiting behind what looks like the former session of this process, until that expires; another process with \
                 this identity is waited for as long as it stays"
            );
        }
        Ok(())
    }
}
