//! Faults at each request of a call in turn, whatever requests it has.

use std::future::Future;
use std::sync::Arc;

use futures::stream::{self, StreamExt as _};
use zookeeper_embedded::{LoggedRequest, Op, Rule, RuleBuilder};
use zookeeper_recipes::Coordinator;
use zookeeper_testkit::{Fixture, within};

use crate::support::{PATIENCE, connect, faults, session_id};

/// How many are struck side by side: most of them wait until a client comes back, or an item is due again.
const AT_A_TIME: usize = 8;

/// Requests that are part of a call, not of the connection.
fn is_call(request: &LoggedRequest) -> bool {
    !matches!(
        request.op,
        Op::Ping | Op::Connect | Op::SetWatches | Op::SetWatches2 | Op::CloseSession
    )
}

/// Runs `play` once in calm weather and then once for each of its requests, and some more, with that one struck: its
/// reply lost, then the connection cut before it. `play` gets the session that is struck and a path of its own, and others
/// play beside it.
pub(crate) async fn strike_each_request<F: Future<Output = ()>>(
    name: &str,
    play: impl Fn(Arc<Fixture>, Coordinator, String) -> F,
) {
    type Strike = fn(RuleBuilder) -> Rule;
    let strikes: [(&str, Strike); 2] = [
        ("lost reply", RuleBuilder::drop_after_apply),
        ("cut before", RuleBuilder::drop_before_apply),
    ];
    let fixture = Arc::new(Fixture::with_embedded_server(name).await);
    let server = fixture.server().embedded().unwrap();
    let calm = connect(&fixture).await;
    let session = session_id(&calm).await;
    server.reset_requests();
    play(Arc::clone(&fixture), calm.clone(), "/calm".to_owned()).await;
    let requests = server.requests().session(session).matching(is_call);
    let ops: Vec<Op> = requests.iter().map(|request| request.op).collect();
    println!("{name}: {ops:?}");
    assert!(ops.len() >= 2, "{ops:?}");

    let ops = &ops;
    let rounds = strikes
        .into_iter()
        .flat_map(|strike| (1..=ops.len() + 3).map(move |nth| (strike, nth)));
    let struck = stream::iter(rounds).map(async |((kind, strike), nth)| {
        let zk = connect(&fixture).await;
        let session = session_id(&zk).await;
        let rule = strike(faults(&fixture).on_any().session(session).matching(is_call).nth(nth));
        let path = format!("/{}-{nth}", kind.replace(' ', "-"));
        let played = play(Arc::clone(&fixture), zk.clone(), path);
        within(2 * PATIENCE, format!("{name}: {kind} at {nth} of {ops:?}"), played).await;
        let now = session_id(&zk).await;
        assert_eq!(
            now, session,
            "{name}: {kind} at {nth} of {ops:?}: the session is still the same"
        );
        let hits = rule.hits();
        rule.remove();
        zk.close().await;
        hits
    });
    let struck: usize = struck
        .buffer_unordered(AT_A_TIME)
        .fold(0, async |sum, hits| sum + hits)
        .await;
    println!("{name}: {struck} requests struck");
    assert!(struck >= ops.len(), "{struck} of {}", ops.len());
    fixture.assert_no_nodes_left(&[]).await;
}
