//! Books that are sound, and are not once a line of them is changed.

use super::*;

/// Facts from lines of `who event subject token`.
fn facts(lines: &[&str]) -> Vec<Fact> {
    let parse = |line: &&str| {
        let [who, event, subject, token] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        Fact::parse(&format!("{who} /path {event} {subject} {token} .")).unwrap_or_else(|| panic!("{line}"))
    };
    lines.iter().map(parse).collect()
}

/// The books are sound, and are not once one of `changes` is made to the line of that index.
fn assert_sound_until_changed(lines: &[&str], changes: &[(usize, &str, &str)]) -> Sum {
    let sum = audit(&facts(lines)).unwrap_or_else(|violations| panic!("{violations:#?}"));
    for (index, change, expected) in changes {
        let mut lines = lines.to_vec();
        match *change {
            "" => _ = lines.remove(*index),
            change if *index == lines.len() => lines.push(change),
            change => lines[*index] = change,
        }
        let violations = audit(&facts(&lines)).expect_err(expected);
        assert!(
            violations.iter().any(|violation| violation.contains(expected)),
            "{expected}: {violations:#?}"
        );
    }
    sum
}

#[test]
fn an_item_of_a_work_queue_is_done_once_by_its_last_delivery() {
    let lines = [
        "p Pushing p.1 0",
        "p Pushed p.1 0",
        "p Pushing p.2 0",
        "c Delivered p.1 10",
        "c NotAcked p.1 10",
        "d Delivered p.1 11",
        "d Acked p.1 11",
        "z Done p.1 11",
    ];
    let sum = assert_sound_until_changed(
        &lines,
        &[
            (7, "", "was lost"),
            (7, "z Dead p.1 0", "acknowledged in vain"),
            (7, "z Done p.1 10", "acknowledged in vain"),
            (7, "z Done p.1 10", "given back or lost"),
            (7, "z Done p.1 10", "delivered after it was done"),
            (7, "z Done p.1 12", "a delivery that nobody was given"),
            (8, "z Done p.1 11", "done or dead twice"),
            (8, "z Done p.3 11", "pushed by nobody"),
            (8, "e Delivered p.1 11", "twice with one token"),
            (8, "e Delivered p.1 12", "delivered after it was done"),
        ],
    );
    assert_eq!((sum.done, sum.deliveries, sum.pushes_in_doubt), (1, 2, 1));
    // Those that nobody knows to have done it may have.
    for doubted in [None, Some("d AckDoubted p.1 11")] {
        let lines: Vec<_> = lines[..6]
            .iter()
            .copied()
            .chain(doubted)
            .chain(["z Done p.1 11"])
            .collect();
        assert_sound_until_changed(&lines, &[]);
    }
}

#[test]
fn an_item_of_a_fifo_queue_is_popped_once_or_lost_with_a_process() {
    let lines = [
        "p Pushing p.1 0",
        "p Pushed p.1 0",
        "p Pushing p.2 0",
        "c Popping - 0",
        "c Popped p.1 0",
        "d Popping - 0",
        "d PopDoubted p.2 0",
    ];
    let sum = assert_sound_until_changed(
        &lines,
        &[
            (4, "c NotPopped - 0", "was lost"),
            (4, "c PopDropped - 0", "was lost"),
            (6, "d Popped p.1 0", "popped twice"),
            (6, "d Popped p.3 0", "pushed by nobody"),
        ],
    );
    assert_eq!((sum.popped, sum.pops_in_doubt, sum.lost, sum.may_be_lost), (1, 1, 0, 0));
    let killed: Vec<_> = lines.iter().copied().filter(|line| *line != "c Popped p.1 0").collect();
    let sum = assert_sound_until_changed(&killed, &[(6, "p Pushed p.3 0", "no more than 1 may be")]);
    assert_eq!((sum.lost, sum.may_be_lost), (1, 1));
}

#[test]
fn items_of_one_producer_leave_a_fifo_queue_in_order() {
    let lines = [
        "p Pushing p.1 0",
        "p Pushing p.2 0",
        "c Popping - 0",
        "c Popped p.2 0",
        "c Popping - 0",
        "c PopDropped - 0",
        "c Popping - 0",
        "c Popped p.1 0",
    ];
    assert_sound_until_changed(&lines, &[(5, "c NotPopped - 0", "popped after a younger one")]);
}

#[test]
fn a_turn_is_given_the_result_of_the_one_before() {
    let lines = [
        "a Began 0:0 10",
        "a Completed 1:10 10",
        "b Began 1:10 11",
        "b NotCompleted - 11",
        "c BeganAfterLoss 1:10 12",
        "c CompletionDoubted 2:12 12",
        "z Began 2:12 13",
    ];
    let sum = assert_sound_until_changed(
        &lines,
        &[
            (2, "b Began 0:0 11", "past the result of 10"),
            (2, "b BeganAfterLoss 0:0 11", "past the result of 10"),
            (4, "c Began 1:10 12", "with no word of 11"),
            (3, "b Completed 2:11 11", "past the result of 11"),
            (5, "c CompletionDoubted 3:12 12", "not the result of that turn"),
            (5, "c NotCompleted - 12", "was not completed"),
            (6, "z Began 3:12 13", "not the result of that turn"),
            (6, "z Began 3:12 13", "the chain has gaps"),
            (6, "z Began 2:9 13", "a turn that nobody had"),
            (6, "z Began nonsense 13", "is no result"),
            (7, "z Began 2:12 13", "two turns of one token"),
        ],
    );
    assert_eq!((sum.completed, sum.not_completed, sum.told_of_loss), (2, 1, 1));
    // A process that was killed has completed its turn or not.
    let lines = [
        "a Began 0:0 10",
        "b Began 1:10 11",
        "b NotCompleted - 11",
        "z BeganAfterLoss 1:10 12",
    ];
    let sum = assert_sound_until_changed(&lines, &[(1, "b Began 2:10 11", "another result of that turn")]);
    assert_eq!((sum.completed, sum.not_completed), (1, 1));
}
