//! Who waits for whom, circles, and how one is broken.

use std::time::Duration;

use zookeeper_recipes::inspect::doctor::{Check, Doctor, Severity};
use zookeeper_recipes::inspect::{Confidence, Inspector};
use zookeeper_recipes::zookeeper_client::CreateMode;
use zookeeper_recipes::{Error, FencingToken, LossReason, MultiLock};
use zookeeper_testkit::{Fixture, Op, When, within};

use super::{UUID, connect_as, make};
use crate::support::{PATIENCE, acquire, connect, create, granted, join_line, lock, start, start_each};

#[tokio::test]
async fn a_cycle_of_three_is_found_and_broken() {
    let fixture = Fixture::new("a dead-lock of three").await;
    let zks = [
        connect_as(&fixture, "a:1").await,
        connect_as(&fixture, "b:2").await,
        connect_as(&fixture, "c:3").await,
    ];
    let paths = ["/t/1", "/t/2", "/t/3"];
    let mut held = Vec::new();
    for (zk, path) in zks.iter().zip(paths) {
        held.push(acquire(&lock(zk, path)).await);
    }
    let mut waiting = Vec::new();
    for (index, zk) in zks.iter().enumerate() {
        waiting.push(join_line(&fixture, &lock(zk, paths[(index + 1) % 3]), 2).await);
    }
    let operator = connect(&fixture).await;
    let inspector = Inspector::new(&operator);
    let graph = inspector.waits_for("/t").await.unwrap();
    let cycles = graph.cycles();
    assert_eq!((cycles.len(), cycles[0].members.len()), (1, 3));
    assert_eq!(cycles[0].confidence, Confidence::Likely);
    assert!(inspector.confirm(&cycles[0]).await.unwrap());
    assert!(graph.to_dot().contains("color=red") && graph.to_mermaid().contains("a:1"));

    let doctor = Doctor::new(&inspector).min_age(Duration::ZERO);
    let diagnosis = within(PATIENCE, "a diagnosis", doctor.diagnose("/t")).await.unwrap();
    let finding = &diagnosis.findings[0];
    assert_eq!(
        (finding.check, finding.severity),
        (Check::DeadLock, Severity::Error),
        "{diagnosis:?}"
    );
    assert!(
        finding
            .remedy
            .contains(&format!("zkr break /t/3 --token {}", held[2].token())),
        "{}",
        finding.remedy
    );
    let young = Doctor::new(&inspector).min_age(Duration::from_secs(3600));
    assert_eq!(
        young.diagnose("/t").await.unwrap().findings.len(),
        0,
        "it is too young to be told"
    );

    // The one who waits youngest, c, loses what it holds; so b is granted, then a, then c.
    let member = cycles[0].youngest().unwrap();
    assert_eq!(member.holds.token, held[2].token());
    assert_eq!(
        inspector.break_contender(&member.holds, held[2].token()).await,
        Ok(true)
    );
    assert_eq!(
        inspector.break_contender(&member.holds, held[2].token()).await,
        Ok(false),
        "it is gone"
    );
    assert_eq!(
        within(PATIENCE, "the loss", held[2].lost()).await,
        LossReason::NodeRemoved
    );
    assert!(!inspector.confirm(&cycles[0]).await.unwrap());
    let [a, b, c] = <[_; 3]>::try_from(waiting).unwrap();
    let b = granted(b).await;
    b.release().await.unwrap();
    held.remove(1).release().await.unwrap();
    granted(a).await.release().await.unwrap();
    held.remove(0).release().await.unwrap();
    granted(c).await.release().await.unwrap();
    drop(held);
    assert_eq!(inspector.waits_for("/t").await.unwrap().waits().len(), 0);
    fixture.assert_no_nodes_left(&["/t", "/t/1", "/t/2", "/t/3"]).await;
}

#[tokio::test]
async fn multi_locks_and_ordered_waits_form_no_cycle() {
    let (fixture, [one, other]) = start_each("no dead-lock").await;
    let both = MultiLock::new(&one, ["/t/1", "/t/2"]).unwrap().acquire().await.unwrap();
    let waiting = tokio::spawn({
        let both = MultiLock::new(&other, ["/t/2", "/t/1"]).unwrap();
        async move { both.acquire().await }
    });
    fixture.until_children("/t/1", 2).await;
    fixture.until_children("/t/2", 2).await;
    let graph = Inspector::new(&one).waits_for("/t").await.unwrap();
    assert_eq!((graph.processes().len(), graph.waits().len()), (2, 2));
    assert_eq!(graph.cycles().len(), 0);
    both.release().await.unwrap();
    granted(waiting).await.release().await.unwrap();
}

#[tokio::test]
async fn a_process_that_waits_for_itself_is_told() {
    let (fixture, zk) = start("self-wait").await;
    let held = acquire(&lock(&zk, "/t/1")).await;
    let waiting = join_line(&fixture, &lock(&zk, "/t/1"), 2).await;
    let diagnosis = Doctor::new(&Inspector::new(&zk)).diagnose("/t").await.unwrap();
    assert_eq!(diagnosis.findings.len(), 1, "{diagnosis:?}");
    assert_eq!(
        (diagnosis.findings[0].check, diagnosis.findings[0].severity),
        (Check::SelfWait, Severity::Info)
    );
    held.release().await.unwrap();
    granted(waiting).await.release().await.unwrap();
}

#[tokio::test]
async fn only_the_contender_of_that_token_is_removed() {
    let (fixture, zk) = start("break by token").await;
    let inspector = Inspector::new(&zk);
    let held = acquire(&lock(&zk, "/t/1")).await;
    let line = inspector.line("/t/1").await.unwrap().unwrap();
    let holder = line.holders().next().unwrap();
    let other = FencingToken::from(held.token().as_i64() + 1);
    assert_eq!(inspector.break_contender(holder, other).await, Ok(false));
    assert!(held.is_held());

    // A node of the same path that was made anew is another one.
    held.release().await.unwrap();
    create(&fixture, &holder.path, CreateMode::Ephemeral).await;
    assert_eq!(inspector.break_contender(holder, holder.token).await, Ok(false));
    assert_eq!(fixture.children("/t/1").await.len(), 1);
    fixture.raw().delete(&holder.path, None).await.unwrap();

    // A persistent node belongs to no session.
    let persistent = format!("/t/1/_c_{UUID}-lock-0000000007");
    create(&fixture, &persistent, CreateMode::Persistent).await;
    let line = inspector.line("/t/1").await.unwrap().unwrap();
    let refused = inspector
        .break_contender(&line.contenders[0], line.contenders[0].token)
        .await;
    assert!(matches!(refused, Err(Error::Layout { .. })), "{refused:?}");
    fixture.raw().delete(&persistent, None).await.unwrap();
}

#[tokio::test]
async fn a_break_survives_its_lost_reply() {
    let (fixture, zk) = start("break, reply lost").await;
    let held = acquire(&lock(&zk, "/t/1")).await;
    let (proxy, servers) = fixture.proxied().await;
    let operator = crate::support::connect_to(&servers, crate::support::LONG).await;
    let inspector = Inspector::new(&operator);
    let holder = inspector.line("/t/1").await.unwrap().unwrap().contenders.remove(0);
    let fault = proxy.lose_reply(When::request(Op::Multi).path("lock-"));
    let broken = within(PATIENCE, "it is told", inspector.break_contender(&holder, holder.token)).await;
    assert_eq!(broken, Ok(true));
    assert!(fault.has_fired());
    assert_eq!(within(PATIENCE, "the loss", held.lost()).await, LossReason::NodeRemoved);
}

#[tokio::test]
async fn names_blind_to_each_other_are_told() {
    let (fixture, zk) = start("mixed layouts").await;
    make(
        &fixture,
        &[
            "/t",
            "/t/two",
            "/t/two/_c_U-lock-0000000000!",
            "/t/two/H__lock__0000000001!",
            "/t/java",
            "/t/java/_c_U-lock-0000000003!",
            "/t/java/0",
            "/t/fine",
            "/t/fine/_c_U-lock-0000000000!",
        ],
    )
    .await;
    let doctor = Doctor::new(&Inspector::new(&zk)).only([Check::MixedLayouts, Check::BlocksJava]);
    let diagnosis = doctor.diagnose("/t").await.unwrap();
    let told: Vec<_> = diagnosis
        .findings
        .iter()
        .map(|finding| (finding.check, &*finding.path))
        .collect();
    assert_eq!(
        told,
        [
            (Check::MixedLayouts, "/t/java"),
            (Check::MixedLayouts, "/t/two"),
            (Check::BlocksJava, "/t/java"),
        ]
    );
    assert_eq!(diagnosis.worst(), Some(Severity::Error));
}
