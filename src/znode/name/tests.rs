use proptest::prelude::*;

use super::*;

const TAGS: [Tag; 3] = [Tag::Lock, Tag::KazooLock, Tag::KazooReadLock];

fn parse(text: &str) -> Option<(Tag, i32)> {
    ChildName::parse(text, TAGS).map(|name| (name.tag, name.sequence.0))
}

#[test]
fn names_of_curator_kazoo_and_go_are_recognised() {
    let uuid = "2c3b1a4e-9f4b-4a57-8a58-7a1d2c9b0e11";
    assert_eq!(parse(&format!("_c_{uuid}-lock-0000000007")), Some((Tag::Lock, 7)));
    assert_eq!(parse("lock-0000000001"), Some((Tag::Lock, 1)));
    assert_eq!(
        parse("_c_0123456789abcdef0123456789abcdef-lock-0000000042"),
        Some((Tag::Lock, 42))
    );
    assert_eq!(
        parse("0123456789abcdef0123456789abcdef__lock__0000000003"),
        Some((Tag::KazooLock, 3))
    );
    assert_eq!(
        parse("0123456789abcdef0123456789abcdef__rlock__0000000004"),
        Some((Tag::KazooReadLock, 4))
    );
}

#[test]
fn negative_sequences_are_read_as_the_server_writes_them() {
    assert_eq!(parse("_c_x-lock--2147483648"), Some((Tag::Lock, i32::MIN)));
    assert_eq!(parse("_c_x-lock--000000001"), Some((Tag::Lock, -1)));
    assert_eq!(parse("x__lock__-2147483647"), Some((Tag::KazooLock, i32::MIN + 1)));
}

#[test]
fn a_name_tells_recipe_and_kind_of_node() {
    for (name, recipe) in [
        ("_c_x-lock-0000000001", "lock"),
        ("x__lock__0000000001", "lock"),
        ("_c_x-latch-0000000001", "election"),
        ("_c_x-__READ__0000000001", "rwlock"),
        ("_c_x-__WRIT__0000000001", "rwlock"),
        ("x__rlock__0000000001", "rwlock"),
        ("_c_x-lease-0000000001", "semaphore"),
        ("_c_x-other-0000000001", "other"),
        ("x", "other"),
    ] {
        assert_eq!(recipe_of(name), recipe, "{name}");
    }
    assert_eq!(Tag::Member.recipe(), "double_barrier");
    assert_eq!(Tag::Member.create_mode(), zk::CreateMode::Ephemeral);
    for tag in Tag::NUMBERED {
        assert_eq!(tag.create_mode(), zk::CreateMode::EphemeralSequential, "{tag:?}");
    }
}

#[test]
fn a_number_says_how_many_came_before() {
    assert!(Sequence(0).is_at_least(0));
    assert!(!Sequence(0).is_at_least(1));
    assert!(Sequence(7).is_at_least(7));
    assert!(!Sequence(7).is_at_least(8));
    assert!(Sequence(-1).is_at_least(usize::MAX), "the counter has wrapped");
    assert_eq!(Sequence(7).next(), 8);
    assert_eq!(Sequence::LAST.next(), i32::MIN);
}

/// What ZooKeeper gives out at the end, and what it gives while creates are in flight then.
#[test]
fn numbers_around_the_overflow_are_exhausted() {
    let after = i32::MIN + (1 << 16);
    for number in [i32::MAX, i32::MIN, after - 1] {
        assert!(Sequence(number).is_exhausted(), "{number}");
    }
    for number in [after, -1, 0, 1, i32::MAX - 1] {
        assert!(!Sequence(number).is_exhausted(), "{number}");
    }
}

#[test]
fn our_own_names_are_told_from_those_of_others() {
    for tag in [Tag::Lock, Tag::Read, Tag::Write, Tag::KazooLock] {
        let name = tag.new_name(GuidPrefix::new()).prefix;
        assert!(is_ours(&format!("/a/b/{name}0000000001")), "{name}");
    }
    for other in [
        "",
        "/a",
        "lock-0000000001",
        "_c_2c3b1a4e-9f4b-4a57-8a58-7a1d2c9b0e11-lock-0000000007",
        "_c_2c3b1a4e-9f4b-1a57-8a58-7a1d2c9b0e11-lock-0000000007",
        "2c3b1a4e9f4b4a578a587a1d2c9b0e11__lock__0000000003",
    ] {
        assert!(!is_ours(other), "{other}");
    }
}

/// What Curator 5.4.0 and kazoo 2.11.0 wrote on ZooKeeper 3.8.0 with their default settings.
const WRITTEN_BY_OTHERS: &[(&str, Tag, i32)] = &[
    // InterProcessMutex and LeaderSelector; the gate of InterProcessSemaphoreV2
    ("_c_0b0c2b6e-6c63-4f9c-9d9b-2f1f2c0f6f5e-lock-0000000000", Tag::Lock, 0),
    ("_c_6d1f8a55-95b1-4c33-8d1a-3ad0f8d1a0b7-lock-0000000001", Tag::Lock, 1),
    // InterProcessReadWriteLock; the last but one a downgraded writer since 5.5.0, with that writer's number
    (
        "_c_6a7e1d0c-0a5b-4a0c-8c53-0e8ff5b7b4a1-__WRIT__0000000000",
        Tag::Write,
        0,
    ),
    (
        "_c_92d6dbb0-5d8c-4e59-b2a4-3f3a3b1c9d6e-__READ__0000000001",
        Tag::Read,
        1,
    ),
    (
        "_c_92d6dbb0-5d8c-4e59-b2a4-3f3a3b1c9d6e-__READ__0000000000",
        Tag::Read,
        0,
    ),
    (
        "_c_d3a4c8d2-3b1e-4b7b-9a0d-5c0d7a4e2f10-__READ__0000000002",
        Tag::Read,
        2,
    ),
    // InterProcessSemaphoreV2
    (
        "_c_f1b9a7d4-1f0c-4c1a-8a6e-7d9b4f2e6c35-lease-0000000000",
        Tag::Lease,
        0,
    ),
    // LeaderLatch
    (
        "_c_27f0c5d1-4b3e-4d5c-9e2b-8c6a1b7d3f42-latch-0000000001",
        Tag::Latch,
        1,
    ),
    // Lock and WriteLock, ReadLock
    ("4b2f6ad80c1e4f7f8e0d3a9b5c6d7e8f__lock__0000000003", Tag::KazooLock, 3),
    (
        "9c8b7a6f5e4d4c3b8a291807f6e5d4c3__rlock__0000000004",
        Tag::KazooReadLock,
        4,
    ),
    // Any of them after 2^31 creates
    (
        "_c_0b0c2b6e-6c63-4f9c-9d9b-2f1f2c0f6f5e-lock-2147483647",
        Tag::Lock,
        i32::MAX,
    ),
    (
        "_c_0b0c2b6e-6c63-4f9c-9d9b-2f1f2c0f6f5e-lock--2147483648",
        Tag::Lock,
        i32::MIN,
    ),
    (
        "4b2f6ad80c1e4f7f8e0d3a9b5c6d7e8f__lock__-2147483647",
        Tag::KazooLock,
        i32::MIN + 1,
    ),
];

/// As above, of recipes that have no line.
const NO_CONTENDERS_OF_OTHERS: &[&str] = &[
    "5d2f1c9a-7b3e-4c6d-8f0a-1b2c3d4e5f60",
    "5d2f1c9a7b3e4c6d8f0a1b2c3d4e5f60",
    "ready",
    "me",
    "5d2f1c9a7b3e4c6d8f0a1b2c3d4e5f60__party__",
    "lease_holder",
    "_c_5d2f1c9a-7b3e-4c6d-8f0a-1b2c3d4e5f60-n-0000000000",
    "touch",
    "queue-0000000000",
    "queue-|id_1_2|0000000000",
    "queue-1000000050000000000",
    "queue-0FFFFFFFB0000000001",
    "queue-|18BCFE56800|0000000000",
    "qn-0000000000",
    "entry-100-0000000000",
];

#[test]
fn what_others_wrote_we_read_and_would_write_alike() {
    use Tag::{KazooLock, KazooReadLock, Latch, Lease, Lock, Read, Write};
    let every_tag = [Lock, Latch, Read, Write, Lease, KazooLock, KazooReadLock];
    for (text, tag, number) in WRITTEN_BY_OTHERS {
        let parsed = ChildName::parse(text, every_tag).map(|name| (name.tag, name.sequence));
        assert_eq!(parsed, Some((*tag, Sequence(*number))), "{text}");
        let own = tag.new_name(GuidPrefix::new());
        let guid_at = own.prefix.find(&own.guid).unwrap();
        let theirs = &text[guid_at..guid_at + own.guid.len()];
        assert_eq!(
            format!("{}{}", own.prefix.replace(&own.guid, theirs), Sequence(*number)),
            *text
        );
        assert!(!is_ours(text), "{text}");
    }
    for text in NO_CONTENDERS_OF_OTHERS {
        assert_eq!(ChildName::parse(text, every_tag), None, "{text}");
    }
}

#[test]
fn foreign_names_are_not_contenders() {
    for name in [
        "0",
        "zzz",
        "",
        "lock-",
        "lock-notanumber",
        "_c_x-lock-99",
        "_c_x-lock-00000000001",
        "_c_x-lock-+000000001",
        "_c_x-lock-9999999999",
        "_c_x-lock-0000000001x",
        "_c_x-latch-0000000001",
        "lock-0000000001-",
    ] {
        assert_eq!(parse(name), None, "{name:?}");
    }
}

#[test]
fn order_holds_across_the_overflow() {
    let [before, last, first, after] = [i32::MAX - 1, i32::MAX, i32::MIN, i32::MIN + 1].map(Sequence);
    assert!(before.distance_from(last) < 0);
    assert!(last.distance_from(first) < 0);
    assert!(first.distance_from(after) < 0);
    assert!(after.distance_from(before) > 0);
    assert_eq!(Sequence::oldest([first, after, before, last]), Some(before));
    assert_eq!(Sequence::oldest([Sequence(5)]), Some(Sequence(5)));
    assert_eq!(Sequence::oldest([]), None);
}

proptest! {
    #[test]
    fn what_we_write_we_read(number: i32, tag in prop::sample::select(&TAGS[..])) {
        let name = tag.new_name(GuidPrefix::new());
        let text = format!("{}{number:010}", name.prefix);
        prop_assert!(text.contains(&name.guid));
        prop_assert_eq!(parse(&text), Some((tag, number)));
    }

    #[test]
    fn a_number_is_read_only_as_the_server_writes_it(text in "[-+]?(0{0,10}[0-9]{0,11})") {
        let written = text.parse::<i32>().ok().filter(|number| format!("{number:010}") == text);
        prop_assert_eq!(Sequence::parse(&text), written.map(Sequence));
    }

    #[test]
    fn a_run_of_creates_is_ordered_wherever_it_starts(start: i32, steps in prop::collection::vec(1_i32..1_000_000, 1..50)) {
        let mut run = vec![Sequence(start)];
        for step in steps {
            run.push(Sequence(run[run.len() - 1].0.wrapping_add(step)));
        }
        prop_assert_eq!(Sequence::oldest(run.iter().rev().copied()), Some(run[0]));
        for pair in run.windows(2) {
            prop_assert!(pair[0].distance_from(pair[1]) < 0);
        }
    }

    #[test]
    fn no_name_panics(text in ".{0,60}", tail in "(lock-|__lock__)?-?[0-9]{0,12}") {
        parse(&format!("{text}{tail}"));
    }
}
