//! Turns and results in calm weather.

use std::time::Duration;

use zookeeper_recipes::bytes::Bytes;
use zookeeper_recipes::{FencingToken, TryAcquireError};
use zookeeper_testkit::{Fixture, eventually};

use super::{PATH, RESULT, complete, finish, join, join_line, relay, start_relays, told};
use crate::support::{LONG, PATIENCE, connect, elapsed, granted};

#[tokio::test]
async fn each_turn_gets_the_result_before_it() {
    let (fixture, relays) = start_relays::<2>("chain").await;
    assert_eq!(relays[0].path(), PATH);
    assert_eq!(relays[0].latest().await.unwrap(), None);
    let mut before: Option<String> = None;
    let mut token = FencingToken::from_i64(0);
    for step in 0..40 {
        let turn = join(&relays[step % 2]).await;
        assert_eq!(told(&turn), (before.as_ref().map(String::as_bytes), false, step as u64));
        assert!(turn.is_held() && turn.token() > token);
        token = turn.token();
        let result = format!("result {step}");
        complete(turn, &result).await;
        assert_eq!(relays[1].latest().await.unwrap().unwrap(), result);
        before = Some(result);
    }
    finish(&fixture, &relays[0]).await;
}

#[tokio::test]
async fn any_bytes_are_a_result_even_none() {
    let fixture = Fixture::new("bytes").await;
    let relay = relay(&connect(&fixture).await);
    let results: [Vec<u8>; 3] = [vec![], (0..=255).collect(), vec![]];
    let mut before: Option<&Vec<u8>> = None;
    for result in &results {
        let turn = join(&relay).await;
        assert_eq!(turn.previous().map(AsRef::as_ref), before.map(Vec::as_slice));
        turn.complete(result.clone()).await.unwrap();
        before = Some(result);
    }
    assert_eq!(fixture.raw().get_data(RESULT).await.unwrap().0, b"");
    assert_eq!(relay.latest().await.unwrap(), Some(Bytes::new()));
    finish(&fixture, &relay).await;
}

#[tokio::test]
async fn turns_are_granted_singly_in_joining_order() {
    let (fixture, relays) = start_relays::<2>("line").await;
    let mut turn = join(&relays[0]).await;
    let mut joining = Vec::new();
    for place in 2..6 {
        joining.push(join_line(&fixture, &relays[place % 2], place).await);
    }
    assert_eq!(relays[1].try_join().await.unwrap_err(), TryAcquireError::Contended);
    let after = Duration::from_millis(100);
    assert_eq!(elapsed(relays[1].join_timeout(after).await), Some(after));
    let contenders = relays[0].contenders().await.unwrap();
    assert_eq!(contenders.len(), 5, "who gave up has left the line");
    for (number, next) in joining.into_iter().enumerate() {
        assert!(!next.is_finished());
        assert_eq!(turn.token(), contenders[number].token);
        complete(turn, &number.to_string()).await;
        turn = granted(next).await;
        assert_eq!(
            told(&turn),
            (Some(number.to_string().as_bytes()), false, number as u64 + 1)
        );
    }
    complete(turn, "last").await;
    let turn = relays[1].try_join().await.unwrap();
    assert_eq!(told(&turn), (Some(&b"last"[..]), false, 5));
    complete(turn, "tried").await;
    let turn = relays[1].join_timeout(LONG).await.unwrap();
    assert_eq!(told(&turn), (Some(&b"tried"[..]), false, 6));
    turn.complete("").await.unwrap();
    finish(&fixture, &relays[0]).await;
}

/// The directory of the line is a container, which the server removes while nobody is there; the results stay.
#[tokio::test]
async fn the_chain_goes_on_after_a_reaped_directory() {
    let fixture = Fixture::new("reaped").await;
    let relay = relay(&connect(&fixture).await);
    for (step, before) in [None, Some("a"), Some("a")].into_iter().enumerate() {
        let turn = join(&relay).await;
        assert_eq!(told(&turn), (before.map(str::as_bytes), false, step as u64));
        complete(turn, "a").await;
        eventually(PATIENCE, "the line is reaped", || async {
            fixture.children(PATH).await == ["result", "turn"]
        })
        .await;
    }
    finish(&fixture, &relay).await;
}
