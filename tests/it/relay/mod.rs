//! The relay: one turn after the other, each with the result of the one before; and what its successor is told of one that
//! was lost.

mod bad_input;
mod basics;
mod budget;
mod cancel;
mod history;
mod loss;
mod replies;

use zookeeper_recipes::{Coordinator, Relay, Turn};
use zookeeper_testkit::{Fixture, within};

use crate::support::{PATIENCE, Pending, stand_in_line, start_each};

const PATH: &str = "/settlement/chain";
const LINE: &str = "/settlement/chain/line";
const TURN: &str = "/settlement/chain/turn";
const RESULT: &str = "/settlement/chain/result";

fn relay(zk: &Coordinator) -> Relay {
    Relay::new(zk, PATH).unwrap()
}

/// A fresh chroot, and the same relay in several sessions.
async fn start_relays<const N: usize>(name: &str) -> (Fixture, [Relay; N]) {
    let (fixture, sessions) = start_each(name).await;
    (fixture, sessions.map(|zk| relay(&zk)))
}

async fn join(relay: &Relay) -> Turn {
    let joined = within(PATIENCE, "a turn", relay.join()).await;
    joined.unwrap_or_else(|err| panic!("no turn: {err}"))
}

async fn complete(turn: Turn, result: &str) {
    let completed = within(PATIENCE, "completed", turn.complete(result.to_owned())).await;
    completed.unwrap_or_else(|err| panic!("{result} not completed: {err}"));
}

/// Begins to join in a task, and returns when it stands in line as number `place`.
async fn join_line(fixture: &Fixture, relay: &Relay, place: usize) -> Pending<Turn> {
    let relay = relay.clone();
    stand_in_line(fixture, LINE, place, async move { relay.join().await }).await
}

/// What a turn is told: the result, whether its predecessor was lost, and its number.
fn told(turn: &Turn) -> (Option<&[u8]>, bool, u64) {
    (turn.previous().map(AsRef::as_ref), turn.predecessor_lost(), turn.step())
}

async fn finish(fixture: &Fixture, relay: &Relay) {
    fixture.assert_no_nodes_left(&[LINE]).await;
    relay.remove().await.unwrap();
    fixture.assert_no_nodes_left(&["/settlement"]).await;
}
