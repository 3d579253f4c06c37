//! `zkr top`: on a terminal, and for a pipe.

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use zookeeper_recipes::{FairLock, connect};
use zookeeper_testkit::{Fixture, within};

use crate::harness::{PATIENCE, Scratch, end, kill, on_terminal, signal, start, zkr_ok};
use crate::looking::a_line;
use crate::screen::{press, until_shown};

#[tokio::test]
async fn a_terminal_of_80_columns_shows_all_panels() {
    let fixture = Fixture::new("a_terminal_of_80_columns_shows_all_panels").await;
    let scratch = Scratch::new();
    let line = a_line(&fixture, &scratch).await;
    zkr_ok(&fixture, &["queue", "push", "/pay/orders", "a"]).await;
    let mut top = on_terminal(&fixture, (80, 24), "$zkr top / --every 200ms");
    let mut bytes = Vec::new();
    let panels = [
        "LINES",
        "QUEUES",
        "OLDEST HOLDS",
        "/pay/l",
        "/pay/orders",
        "web-3:4711",
        "[ok]",
        "FINDINGS  none",
        "p50 ",
        "q quit",
        "d doctor",
    ];
    let screen = until_shown(&mut top, &mut bytes, 24, &panels).await;
    assert!(screen.widest <= 80, "{}", screen.text());
    press(&mut top, "\r").await;
    until_shown(&mut top, &mut bytes, 24, &["esc closes", "batch-1:812", "nightly"]).await;
    press(&mut top, "\x1b").await;
    // The terminal's own library waits for what may follow an escape.
    until_shown(&mut top, &mut bytes, 24, &["OLDEST HOLDS"]).await;
    press(&mut top, "s").await;
    until_shown(&mut top, &mut bytes, 24, &["by wait"]).await;
    press(&mut top, "/nothing\r").await;
    let screen = until_shown(&mut top, &mut bytes, 24, &["filter nothing"]).await;
    assert!(!screen.text().contains("/pay/l "), "{}", screen.text());
    assert!(screen.widest <= 80, "{}", screen.text());
    press(&mut top, "q").await;
    let done = end(top).await;
    assert_eq!(done.status, 0, "{done:?}");
    assert!(
        done.out.contains("\x1b[?1049l"),
        "the terminal was not given back: {done:?}"
    );
    for child in line.into_iter().rev() {
        signal(&child, "TERM");
        let _ = end(child).await;
    }
}

#[tokio::test]
async fn small_terminals_show_what_fits() {
    let fixture = Fixture::new("small_terminals_show_what_fits").await;
    let scratch = Scratch::new();
    let line = a_line(&fixture, &scratch).await;
    for (size, wanted) in [
        ((60, 15), &["/pay/l", "QUEUES", "OLDEST HOLDS"][..]),
        ((20, 5), &["LINES", ">"]),
        ((3, 2), &["zkr"]),
    ] {
        let mut top = on_terminal(&fixture, size, "$zkr top / --every 200ms");
        let mut bytes = Vec::new();
        let screen = until_shown(&mut top, &mut bytes, usize::from(size.1), wanted).await;
        assert!(screen.widest <= usize::from(size.0), "{}", screen.text());
        press(&mut top, "q").await;
        let done = end(top).await;
        assert_eq!(done.status, 0, "{done:?}");
    }
    for child in line.into_iter().rev() {
        signal(&child, "TERM");
        let _ = end(child).await;
    }
}

#[tokio::test]
async fn a_signal_gives_the_terminal_back() {
    let fixture = Fixture::new("a_signal_gives_the_terminal_back").await;
    let scratch = Scratch::new();
    let file = scratch.file("pid").display().to_string();
    let command = format!("sh -c 'echo $$ > {file}; exec $zkr top /'");
    let mut top = on_terminal(&fixture, (80, 24), &command);
    let mut bytes = Vec::new();
    until_shown(&mut top, &mut bytes, 24, &["[ok]"]).await;
    let pid = scratch.text("pid").trim().parse().expect("an id");
    kill(pid, "TERM");
    let done = end(top).await;
    assert_eq!(done.status, 143, "{done:?}");
    assert!(done.out.contains("\x1b[?1049l"), "{done:?}");
}

#[tokio::test]
async fn a_pipe_gets_one_plain_snapshot() {
    let fixture = Fixture::new("a_pipe_gets_one_plain_snapshot").await;
    let scratch = Scratch::new();
    let line = a_line(&fixture, &scratch).await;
    zkr_ok(&fixture, &["queue", "push", "/pay/orders", "a"]).await;
    let text = zkr_ok(&fixture, &["top", "/pay"]).await;
    for wanted in ["LINES", "QUEUES", "OLDEST HOLDS", "/pay/l", "/pay/orders", "web-3:4711"] {
        assert!(text.contains(wanted), "{text}");
    }
    assert!(!text.contains('\x1b'), "{text}");
    for child in line.into_iter().rev() {
        signal(&child, "TERM");
        let _ = end(child).await;
    }
}

#[tokio::test]
async fn each_look_is_an_object() {
    let fixture = Fixture::new("each_look_is_an_object").await;
    let scratch = Scratch::new();
    let line = a_line(&fixture, &scratch).await;
    let mut top = start(&fixture, &["--json", "top", "/pay", "--every", "200ms"]);
    let mut lines = BufReader::new(top.stdout.take().expect("it is piped")).lines();
    for _ in 0..3 {
        let look = within(PATIENCE, "a look", lines.next_line()).await;
        let look: Value = serde_json::from_str(&look.expect("it can be read").expect("a line")).expect("it is JSON");
        crate::schema::check(&look);
        assert_eq!(look["places"][0]["waiting"], 1, "{look}");
    }
    signal(&top, "TERM");
    assert_eq!(end(top).await.status, 143);
    for child in line.into_iter().rev() {
        signal(&child, "TERM");
        let _ = end(child).await;
    }
}

#[tokio::test]
async fn a_tree_above_the_budget_is_shown_as_well() {
    let fixture = Fixture::new("a_tree_above_the_budget_is_shown_as_well").await;
    let zk = connect(&fixture.connect_string()).await.expect("it serves");
    let mut guards = Vec::new();
    for number in 0..40 {
        let lock = FairLock::new(&zk, &format!("/many/{number}")).expect("a path");
        guards.push(lock.acquire().await.expect("it serves"));
    }
    let mut top = start(
        &fixture,
        &["--json", "top", "/many", "--every", "200ms", "--budget", "10"],
    );
    let mut lines = BufReader::new(top.stdout.take().expect("it is piped")).lines();
    let mut requests = Vec::new();
    for _ in 0..3 {
        let look = within(PATIENCE, "a look", lines.next_line()).await;
        let look: Value = serde_json::from_str(&look.expect("it can be read").expect("a line")).expect("it is JSON");
        assert_eq!(look["places"].as_array().map(Vec::len), Some(40), "{look}");
        requests.push(look["requests"].as_u64().expect("a number"));
    }
    // The last place may begin below the budget.
    assert!(
        requests[0] > 40 && requests[1..].iter().all(|sent| *sent <= 14),
        "{requests:?}"
    );
    signal(&top, "TERM");
    let _ = end(top).await;
    for guard in guards {
        guard.release().await.expect("it is held");
    }
    zk.close().await;
}
