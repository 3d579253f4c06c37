//! The double barrier: all begin together and all end together, whoever dies, gives up or comes late.

mod basics;
mod budget;
mod cancel;
mod curator_bugs;
mod history;
mod loss;
mod replies;

use zookeeper_recipes::{Coordinator, DoubleBarrier, Entered, ReleaseError};
use zookeeper_testkit::{Fixture, eventually, within};

use crate::support::{PATIENCE, Pending, granted};

const PATH: &str = "/phases/one";
const READY: &str = "/phases/one/ready";

fn barrier(zk: &Coordinator, parties: usize) -> DoubleBarrier {
    DoubleBarrier::new(zk, PATH, parties).unwrap()
}

/// Begins to enter, and returns when as many members are there.
async fn enter(zk: &Coordinator, parties: usize, members: usize) -> Pending<Entered> {
    let barrier = barrier(zk, parties);
    let task = barrier.clone();
    let entering = tokio::spawn(async move { task.enter().await });
    eventually(PATIENCE, format!("{members} members"), || async {
        barrier.members().await.unwrap() >= members
    })
    .await;
    entering
}

async fn entered(entering: Pending<Entered>) -> Entered {
    granted(entering).await
}

fn leave(entered: Entered) -> Pending<(), ReleaseError> {
    tokio::spawn(entered.leave())
}

async fn left(leaving: Pending<(), ReleaseError>) {
    within(PATIENCE, "left", leaving).await.unwrap().unwrap();
}

/// Lets this many members in.
async fn all_inside(sessions: &[Coordinator]) -> Vec<Entered> {
    let mut entering = Vec::new();
    for zk in sessions {
        entering.push(enter(zk, sessions.len(), 0).await);
    }
    let mut inside = Vec::new();
    for one in entering {
        inside.push(entered(one).await);
    }
    inside
}

async fn all_leave(inside: impl IntoIterator<Item = Entered>) {
    for leaving in inside.into_iter().map(leave).collect::<Vec<_>>() {
        left(leaving).await;
    }
}

async fn is_ready(fixture: &Fixture) -> bool {
    fixture.raw().check_stat(READY).await.unwrap().is_some()
}
