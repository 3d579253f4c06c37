//! Leader election: succession, loss, what bystanders see, and Curator's known mistakes (`LeaderLatch`,
//! `LeaderSelector`), which are named after their issue.

mod backoff;
mod budget;
mod curator_bugs;
mod history;
mod observe;
mod overflow;
mod rank;
mod ready;
mod revocation;
mod run;
mod spreading;
mod succession;

use zookeeper_recipes::{Coordinator, ElectionLayout, LeaderElection, Leadership, Participant};
use zookeeper_testkit::within;

use crate::support::{PATIENCE, Pending, granted};

const LEADER: &str = "/leader";
/// Where leaders and candidates say what does not belong into the line.
const MARKS: &str = "/leader-__election__";
const LAYOUTS: [ElectionLayout; 2] = [ElectionLayout::LeaderLatch, ElectionLayout::LeaderSelector];

fn election(zk: &Coordinator, layout: ElectionLayout) -> LeaderElection {
    LeaderElection::builder(zk, LEADER).layout(layout).build().unwrap()
}

async fn lead(election: &LeaderElection, value: &str) -> Leadership {
    within(PATIENCE, "elected", election.campaign(value.to_owned()))
        .await
        .unwrap()
}

/// A candidate that waits in a task of its own.
fn stand(election: &LeaderElection, value: &str) -> Pending<Leadership> {
    let (election, value) = (election.clone(), value.to_owned());
    tokio::spawn(async move { election.campaign(value).await })
}

async fn elected(candidate: Pending<Leadership>) -> Leadership {
    granted(candidate).await
}

async fn values(election: &LeaderElection) -> Vec<String> {
    let participants = election.participants().await.unwrap();
    participants.iter().map(value).collect()
}

fn value(participant: &Participant) -> String {
    String::from_utf8(participant.value.to_vec()).unwrap()
}

fn leads(who: &str) -> impl Fn(&Option<Participant>) -> bool {
    move |leader| leader.as_ref().is_some_and(|leader| value(leader) == who)
}
