//! Requests that do not come through: how often they are sent again, and when that ends.

mod dead_link;
mod in_the_way;
mod poison;
mod throttled;

use std::future::Future;
use std::time::{Duration, Instant};

use zookeeper_testkit::{Proxy, eventually, within};

use crate::support::PATIENCE;

/// What a test takes for a storm: more than any assertion allows.
const STORM: usize = 40;

/// The end of `call`. A storm of what `count` counts ends the test at once, which would be a load on its neighbours
/// otherwise.
async fn without_storm<T>(proxy: &Proxy, count: impl Fn(&Proxy) -> usize, call: impl Future<Output = T>) -> T {
    let storm = eventually(2 * PATIENCE, "a storm", || {
        let is_storm = count(proxy) > STORM;
        async move { is_storm }
    });
    tokio::select! {
        biased;
        ended = within(PATIENCE, "the call ends", call) => ended,
        () = storm => panic!(
            "a storm: the call is pending after {} connections, {} of them in one second, and {:?}",
            proxy.accepted().len(),
            most_in_a_second(&proxy.accepted()),
            proxy.requests().by_op(),
        ),
    }
}

/// For [`without_storm`].
fn requests(proxy: &Proxy) -> usize {
    proxy.requests().total()
}

/// For [`without_storm`].
fn connections(proxy: &Proxy) -> usize {
    proxy.accepted().len()
}

/// How many of `times`, which are in order, lie in one second at most.
fn most_in_a_second(times: &[Instant]) -> usize {
    let within_a_second = |first: usize| {
        let end = times[first] + Duration::from_secs(1);
        times[first..].iter().take_while(|time| **time < end).count()
    };
    (0..times.len()).map(within_a_second).max().unwrap_or(0)
}

#[test]
fn the_busiest_second_is_found_anywhere() {
    let start = Instant::now();
    let times: Vec<Instant> = [0, 900, 1_100, 1_200, 1_850, 2_150]
        .map(|millis| start + Duration::from_millis(millis))
        .to_vec();
    assert_eq!(most_in_a_second(&times), 4);
    assert_eq!(most_in_a_second(&[]), 0);
}
