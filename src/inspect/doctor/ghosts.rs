//! Sessions that have contenders and no connection.

use std::collections::HashSet;
use std::time::Duration;

use super::Doctor;
use super::findings::{Check, Diagnosis, Finding, Severity};
use crate::error::Error;

impl Diagnosis {
    /// Makes the check [`Check::Ghost`]: tells of sessions that have contenders and are not among `connected`.
    ///
    /// Ask *all* servers for the sessions that are connected, before and after the look: a session that came or went meanwhile
    /// is no ghost. Nothing is told if the doctor was to make other checks alone.
    ///
    /// ```no_run
    /// # async fn example(doctor: zookeeper_recipes::inspect::doctor::Doctor) -> Result<(), zookeeper_recipes::Error> {
    /// # fn connected() -> std::collections::HashSet<i64> { Default::default() }
    /// let before = connected();
    /// let mut diagnosis = doctor.diagnose("/accounts").await?;
    /// diagnosis.tell_ghosts(&before | &connected());
    /// // A minute later, where no session may last longer than 40 seconds: what is there still should not be.
    /// # use std::time::Duration;
    /// let (later, longest) = (Duration::from_secs(60), Duration::from_secs(40));
    /// doctor.confirm_ghosts(&mut diagnosis, &connected(), later, Some(longest)).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn tell_ghosts(&mut self, connected: HashSet<i64>) {
        if !self.was_skipped(Check::Ghost) {
            return;
        }
        for (session, contender) in &self.owners {
            if connected.contains(session) {
                continue;
            }
            let message = format!(
                "{}: no server has a connection of {} (session {session:#x})",
                contender.path,
                String::from_utf8_lossy(&contender.identity)
            );
            let remedy = "its process is dead or cut off, and the node goes with the session's timeout";
            let finding = Finding::new(Check::Ghost, Severity::Warn, &contender.path, message, remedy);
            self.findings.push(finding.about(contender));
        }
        self.sort();
    }
}

impl Doctor {
    /// Looks a second time at what [`Diagnosis::tell_ghosts`] told, `after` so long.
    ///
    /// A node that is gone, and a session that is among `connected` by now, are told no more. What is there still becomes
    /// an [error](Severity::Error) once `after` is at least `longest`, in which a dead process goes by itself: the longest
    /// timeout that sessions may have there, and two ticks, since servers end sessions late. It stays a
    /// [warning](Severity::Warn) where that is not known.
    ///
    /// # Cost
    /// A sync, and one read for each session that was told.
    ///
    /// # Errors
    /// An [`Error`] that retrying would not help.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the diagnosis as it was.
    pub async fn confirm_ghosts(
        &self,
        diagnosis: &mut Diagnosis,
        connected: &HashSet<i64>,
        after: Duration,
        longest: Option<Duration>,
    ) -> Result<(), Error> {
        let ghosts = diagnosis.findings.iter().filter(|one| one.check == Check::Ghost);
        let paths: Vec<String> = ghosts.map(|one| one.path.clone()).collect();
        let Some(first) = paths.first() else {
            return Ok(());
        };
        let reader = &self.inspector.reader;
        let before = reader.requests();
        reader.sync(first).await?;
        let nodes = reader.read_all(paths).await?;
        diagnosis.requests += reader.requests() - before;
        let is_there = |one: &Finding| {
            let contender = one.contenders.first();
            contender.is_some_and(|contender| {
                let is_same = |czxid| czxid == contender.token.as_i64();
                let stands = nodes
                    .iter()
                    .any(|node| node.path == contender.path && is_same(node.stat.czxid));
                stands && !connected.contains(&contender.session_id)
            })
        };
        diagnosis
            .findings
            .retain(|one| one.check != Check::Ghost || is_there(one));
        for ghost in diagnosis.findings.iter_mut().filter(|one| one.check == Check::Ghost) {
            ghost.message = format!("{}, and again {} s later", ghost.message, after.as_secs_f32());
            ghost.remedy = match longest {
                None => "its process is dead or cut off; no server says how long a session may last here".to_owned(),
                Some(longest) if after < longest => format!(
                    "its process is dead or cut off; its session may last {} s here, so look again after that time",
                    longest.as_secs_f32()
                ),
                Some(_) => {
                    ghost.severity = Severity::Error;
                    "the ensemble should have ended the session: report it with the log of the leader".to_owned()
                }
            };
        }
        diagnosis.sort();
        Ok(())
    }
}
