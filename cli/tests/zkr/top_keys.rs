//! `zkr top`: panels, overlays, and what leaves the screen.

use tokio::process::Child;
use zookeeper_recipes::{FairLock, connect};
use zookeeper_testkit::{Fixture, eventually};

use crate::harness::{PATIENCE, Scratch, end, on_terminal, signal, zkr_json, zkr_ok};
use crate::looking::a_line;
use crate::screen::{press, until_shown};

async fn quit(mut top: Child, line: [Child; 2]) {
    press(&mut top, "q").await;
    assert_eq!(end(top).await.status, 0);
    for child in line.into_iter().rev() {
        signal(&child, "TERM");
        let _ = end(child).await;
    }
}

/// Asks the holder of what is chosen; it makes way, as it was started to.
async fn ask(top: &mut Child, bytes: &mut Vec<u8>, holder: Child) {
    press(top, "a").await;
    until_shown(top, bytes, 24, &["web-3:4711", "Why?"]).await;
    press(top, "deploy\n").await;
    until_shown(top, bytes, 24, &["asked web-3:4711", "Enter goes back"]).await;
    assert_ne!(end(holder).await.status, 0);
    press(top, "\n").await;
}

fn start_top(fixture: &Fixture) -> Child {
    on_terminal(fixture, (80, 24), "$zkr top / --every 200ms")
}

#[tokio::test]
async fn rows_of_each_panel_are_chosen_and_opened() {
    let fixture = Fixture::new("rows_of_each_panel_are_chosen_and_opened").await;
    let scratch = Scratch::new();
    let line = a_line(&fixture, &scratch).await;
    zkr_ok(&fixture, &["queue", "push", "/pay/orders", "a"]).await;
    let (mut top, mut bytes) = (start_top(&fixture), Vec::new());
    until_shown(&mut top, &mut bytes, 24, &["> /pay/l", "| /pay/orders"]).await;
    press(&mut top, "2").await;
    until_shown(&mut top, &mut bytes, 24, &["  /pay/l", "> /pay/orders"]).await;
    press(&mut top, "\r").await;
    until_shown(&mut top, &mut bytes, 24, &["ready 1  claimed 0  dead 0", "esc closes"]).await;
    press(&mut top, "q").await;
    until_shown(&mut top, &mut bytes, 24, &["OLDEST HOLDS", "> /pay/orders"]).await;
    press(&mut top, "\t").await;
    let screen = until_shown(&mut top, &mut bytes, 24, &["> /pay/l", "| /pay/orders"]).await;
    let holds = screen.text();
    let holds = holds.split("OLDEST HOLDS").nth(1).expect("it is shown");
    assert!(holds.contains("> /pay/l"), "{holds}");
    press(&mut top, "\r").await;
    until_shown(&mut top, &mut bytes, 24, &["batch-1:812", "nightly", "esc closes"]).await;
    press(&mut top, "q?").await;
    until_shown(&mut top, &mut bytes, 24, &["remove a contender", "keys (esc closes)"]).await;
    press(&mut top, "q").await;
    until_shown(&mut top, &mut bytes, 24, &["OLDEST HOLDS"]).await;
    quit(top, line).await;
}

#[tokio::test]
async fn findings_are_shown_below_and_in_full() {
    let fixture = Fixture::new("findings_are_shown_below_and_in_full").await;
    let scratch = Scratch::new();
    let line = a_line(&fixture, &scratch).await;
    zkr_ok(&fixture, &["queue", "push", "/pay/orders", "a"]).await;
    let (mut top, mut bytes) = (start_top(&fixture), Vec::new());
    until_shown(&mut top, &mut bytes, 24, &["FINDINGS  none"]).await;
    zkr_ok(&fixture, &["queue", "pause", "/pay/orders"]).await;
    press(&mut top, "d").await;
    let wanted = ["what the doctor finds", "the queue is paused", "zkr queue resume"];
    until_shown(&mut top, &mut bytes, 24, &wanted).await;
    press(&mut top, "q").await;
    let wanted = ["FINDINGS  error 0  warn 1   queue /pay/orders: the queue is paused"];
    let screen = until_shown(&mut top, &mut bytes, 24, &wanted).await;
    assert!(screen.widest <= 80, "{}", screen.text());
    quit(top, line).await;
}

#[tokio::test]
async fn holders_are_asked_for_a_reason_alone() {
    let fixture = Fixture::new("holders_are_asked_for_a_reason_alone").await;
    let scratch = Scratch::new();
    let [holder, waiter] = a_line(&fixture, &scratch).await;
    let (mut top, mut bytes) = (start_top(&fixture), Vec::new());
    until_shown(&mut top, &mut bytes, 24, &["> /pay/l", "[ok]"]).await;
    press(&mut top, "a").await;
    until_shown(&mut top, &mut bytes, 24, &["web-3:4711", "Why?"]).await;
    press(&mut top, "\n").await;
    until_shown(&mut top, &mut bytes, 24, &["Enter goes back"]).await;
    let who = zkr_json(&fixture, &["who", "/pay/l"], 0).await;
    assert!(who["contenders"][0]["asked"].is_null(), "{who}");
    press(&mut top, "\n").await;
    until_shown(&mut top, &mut bytes, 24, &["OLDEST HOLDS", "> /pay/l", "q quit"]).await;
    ask(&mut top, &mut bytes, holder).await;
    until_shown(&mut top, &mut bytes, 24, &["OLDEST HOLDS", "q quit"]).await;
    press(&mut top, "q").await;
    assert_eq!(end(top).await.status, 0);
    assert_eq!(end(waiter).await.status, 0);
}

#[tokio::test]
async fn one_key_breaks_nothing() {
    let fixture = Fixture::new("one_key_breaks_nothing").await;
    let scratch = Scratch::new();
    let [holder, waiter] = a_line(&fixture, &scratch).await;
    let who = zkr_json(&fixture, &["who", "/pay/l"], 0).await;
    let token = who["contenders"][1]["token"].to_string();
    let (mut top, mut bytes) = (start_top(&fixture), Vec::new());
    until_shown(&mut top, &mut bytes, 24, &["> /pay/l", "[ok]"]).await;
    for (typed, told) in [("\n", "Enter goes back"), ("none\n", "is no token")] {
        press(&mut top, "b").await;
        until_shown(&mut top, &mut bytes, 24, &["web-3:4711", "Its token?"]).await;
        press(&mut top, typed).await;
        until_shown(&mut top, &mut bytes, 24, &[told, "Enter goes back"]).await;
        press(&mut top, "\n").await;
        until_shown(&mut top, &mut bytes, 24, &["OLDEST HOLDS", "> /pay/l", "q quit"]).await;
    }
    assert_eq!(fixture.children("/pay/l").await.len(), 2);
    press(&mut top, "b").await;
    until_shown(&mut top, &mut bytes, 24, &["Its token?"]).await;
    press(&mut top, &format!("{token}\n")).await;
    until_shown(&mut top, &mut bytes, 24, &["waits, 1 ahead", "digits of the token"]).await;
    let digits = &token[token.len().saturating_sub(4)..];
    press(&mut top, &format!("{digits}\n")).await;
    until_shown(&mut top, &mut bytes, 24, &["removed;", "Enter goes back"]).await;
    // The waiter joins again, at the tail.
    eventually(PATIENCE, "the waiter has a new node", async || {
        let who = zkr_json(&fixture, &["who", "/pay/l"], 0).await;
        who["contenders"][1]["token"]
            .as_i64()
            .is_some_and(|new| new.to_string() != token)
    })
    .await;
    press(&mut top, "\n").await;
    until_shown(&mut top, &mut bytes, 24, &["OLDEST HOLDS", "q quit"]).await;
    quit(top, [holder, waiter]).await;
}

#[tokio::test]
async fn an_open_place_is_asked_by_one_key() {
    let fixture = Fixture::new("an_open_place_is_asked_by_one_key").await;
    let scratch = Scratch::new();
    let [holder, waiter] = a_line(&fixture, &scratch).await;
    let (mut top, mut bytes) = (start_top(&fixture), Vec::new());
    until_shown(&mut top, &mut bytes, 24, &["> /pay/l", "[ok]"]).await;
    press(&mut top, "\r").await;
    until_shown(&mut top, &mut bytes, 24, &["batch-1:812", "esc closes"]).await;
    ask(&mut top, &mut bytes, holder).await;
    until_shown(&mut top, &mut bytes, 24, &["esc closes", "q quit"]).await;
    press(&mut top, "qq").await;
    assert_eq!(end(top).await.status, 0);
    assert_eq!(end(waiter).await.status, 0);
}

#[tokio::test]
async fn an_interrupt_leaves_each_question() {
    let fixture = Fixture::new("an_interrupt_leaves_each_question").await;
    let scratch = Scratch::new();
    let line = a_line(&fixture, &scratch).await;
    let who = zkr_json(&fixture, &["who", "/pay/l"], 0).await;
    let token = format!("{}\n", who["contenders"][1]["token"]);
    for (typed, question) in [("", "Its token?"), (token.as_str(), "digits of the token")] {
        let (mut top, mut bytes) = (start_top(&fixture), Vec::new());
        until_shown(&mut top, &mut bytes, 24, &["> /pay/l", "[ok]"]).await;
        press(&mut top, "b").await;
        until_shown(&mut top, &mut bytes, 24, &["Its token?"]).await;
        press(&mut top, typed).await;
        until_shown(&mut top, &mut bytes, 24, &[question]).await;
        press(&mut top, "\x03").await;
        // Else what is typed would end, and the question with it.
        let keys = top.stdin.take();
        let done = end(top).await;
        assert_eq!(done.status, 130, "{question}: {done:?}");
        drop(keys);
    }
    assert_eq!(fixture.children("/pay/l").await.len(), 2);
    for child in line.into_iter().rev() {
        signal(&child, "TERM");
        let _ = end(child).await;
    }
}

#[tokio::test]
async fn a_long_overlay_tells_and_scrolls() {
    const WAITERS: usize = 30;
    let fixture = Fixture::new("a_long_overlay_tells_and_scrolls").await;
    let zk = connect(&fixture.connect_string()).await.expect("it serves");
    let lock = FairLock::new(&zk, "/pay/l").expect("a path");
    let held = lock.acquire().await.expect("it serves");
    let wait = |_| {
        let lock = FairLock::new(&zk, "/pay/l").expect("a path");
        tokio::spawn(async move { lock.acquire().await })
    };
    let waiting: Vec<_> = (0..WAITERS).map(wait).collect();
    fixture.until_children("/pay/l", WAITERS + 1).await;
    let (mut top, mut bytes) = (start_top(&fixture), Vec::new());
    until_shown(&mut top, &mut bytes, 24, &["> /pay/l", "[ok]"]).await;
    press(&mut top, "\r").await;
    let screen = until_shown(&mut top, &mut bytes, 24, &["esc closes", "13 lines below: down"]).await;
    assert!(screen.widest <= 80, "{}", screen.text());
    press(&mut top, "j").await;
    until_shown(&mut top, &mut bytes, 24, &["1 above, 12 lines below: up, down"]).await;
    // The end, and no further.
    press(&mut top, "\x1b[6~\x1b[6~\x1b[6~").await;
    until_shown(&mut top, &mut bytes, 24, &["13 lines above: up", " 30 "]).await;
    press(&mut top, "k").await;
    until_shown(&mut top, &mut bytes, 24, &["12 above, 1 line below: up, down"]).await;
    press(&mut top, "qq").await;
    assert_eq!(end(top).await.status, 0);
    waiting.iter().for_each(tokio::task::JoinHandle::abort);
    held.release().await.expect("it is held");
    zk.close().await;
}
