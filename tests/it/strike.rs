//! Faults at each request of a call in turn, whatever requests it has.

use std::future::Future;

use zookeeper_embedded::{LoggedRequest, Op, Rule, RuleBuilder};
use zookeeper_recipes::Coordinator;
use zookeeper_testkit::{Fixture, within};

use crate::support::{PATIENCE, connect, faults, session_id};

/// Requests that are part of a call, not of the connection.
fn is_call(request: &LoggedRequest) -> bool {
    !matches!(
        request.op,
        Op::Ping | Op::Connect | Op::SetWatches | Op::SetWatches2 | Op::CloseSession
    )
}

/// Runs `play` once in calm weather and then once for each of its requests, and some more, with that one struck: its
/// reply lost, then the connection cut before it. `play` gets the session that is struck and a path of its own.
pub(crate) async fn strike_each_request<F: Future<Output = ()>>(
    name: &str,
    play: impl Fn(std::sync::Arc<Fixture>, Coordinator, String) -> F,
) {
    type Strike = fn(RuleBuilder) -> Rule;
    let strikes: [(&str, Strike); 2] = [
        ("lost reply", RuleBuilder::drop_after_apply),
        ("cut before", RuleBuilder::drop_before_apply),
    ];
    let fixture = std::sync::Arc::new(Fixture::with_embedded_server(name).await);
    let server = fixture.server().embedded().unwrap();
    let calm = connect(&fixture).await;
    let session = session_id(&calm).await;
    server.reset_requests();
    play(std::sync::Arc::clone(&fixture), calm.clone(), "/calm".to_owned()).await;
    let requests = server.requests().session(session).matching(is_call);
    let ops: Vec<Op> = requests.iter().map(|request| request.op).collect();
    println!("{name}: {ops:?}");
    assert!(ops.len() >= 2, "{ops:?}");

    let mut struck = 0;
    for (kind, strike) in strikes {
        for nth in 1..=ops.len() + 3 {
            let zk = connect(&fixture).await;
            let session = session_id(&zk).await;
            let rule = strike(faults(&fixture).on_any().session(session).matching(is_call).nth(nth));
            let path = format!("/{}-{nth}", kind.replace(' ', "-"));
            let played = play(std::sync::Arc::clone(&fixture), zk.clone(), path);
            within(2 * PATIENCE, format!("{name}: {kind} at {nth} of {ops:?}"), played).await;
            let now = session_id(&zk).await;
            assert_eq!(
                now, session,
                "{name}: {kind} at {nth} of {ops:?}: the session is still the same"
            );
            struck += rule.hits();
            rule.remove();
            zk.close().await;
        }
    }
    println!("{name}: {struck} requests struck");
    assert!(struck >= ops.len(), "{struck} of {}", ops.len());
    fixture.assert_no_nodes_left(&[]).await;
}
