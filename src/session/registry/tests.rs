use super::*;

fn sent() -> NodeLocation {
    NodeLocation::ByGuid {
        parent: "/a".into(),
        guid: "g".into(),
    }
}

#[test]
fn a_node_registered_after_the_end_is_lost_from_the_start() {
    let registry = Registry::new(0, EPHEMERAL_BYTES);
    registry.end_all(LossReason::SessionExpired);
    let end = Arc::new(End::new());
    registry.insert(sent(), None, Arc::clone(&end)).unwrap();
    assert_eq!(end.reason(), Some(LossReason::SessionExpired));
}

#[test]
fn no_more_nodes_than_a_session_may_own() {
    let registry = Registry::new(10, 200);
    let insert = || registry.insert(NodeLocation::Path("/a/b".into()), None, Arc::new(End::new()));
    let keys: Vec<_> = std::iter::from_fn(|| insert().ok()).collect();
    assert_eq!(keys.len(), 200 / (10 + 4 + 4));
    let refused = insert().unwrap_err();
    assert!(
        matches!(
            &refused,
            Error::TooManyEphemerals {
                nodes: 11,
                bytes: 198,
                limit: 200,
                ..
            }
        ),
        "{refused}"
    );
    registry.remove(keys[0]);
    insert().unwrap();
}

#[test]
fn no_more_is_placed_than_may_be_owned() {
    let registry = Registry::new(0, 1_000);
    assert!(registry.reserve(600));
    let node = NodeLocation::Path("n".repeat(300 - NODE_OVERHEAD));
    let key = registry.insert(node, None, Arc::new(End::new())).unwrap();
    let left = 1_000 - 1_000 / UNRESERVED - 900;
    assert!(!registry.reserve(left + 1) && registry.reserve(left));
    registry.give_back(600 + left);
    assert!(!registry.close_if_idle());
    registry.remove(key);
    assert!(registry.close_if_idle());
    assert!(!registry.reserve(1));
}

#[test]
fn a_node_that_is_held_stays_when_the_session_ends() {
    let registry = Registry::new(0, EPHEMERAL_BYTES);
    let [held, loose] = [(); 2].map(|()| registry.insert(sent(), None, Arc::new(End::new())).unwrap());
    registry.set_held(held, true);
    assert_eq!(registry.end_all(LossReason::LeaseLapsed), [loose]);
}

#[test]
fn a_node_is_in_a_directory() {
    assert_eq!(NodeLocation::Path("/a/b/c".into()).directory(), "/a/b/");
    assert_eq!(NodeLocation::Path("/a".into()).directory(), "/");
    assert_eq!(sent().directory(), "/a/");
}

#[tokio::test]
async fn a_removal_is_finished_when_the_last_node_is_gone() {
    let registry = Registry::new(0, EPHEMERAL_BYTES);
    let (cleanup, mut removal) = CleanupWait::new();
    let key = registry.insert(sent(), Some(cleanup), Arc::new(End::new())).unwrap();
    tokio::select! {
        biased;
        () = removal.finished() => unreachable!("a node is left"),
        () = std::future::ready(()) => {}
    }
    registry.remove(key);
    removal.finished().await;
}
