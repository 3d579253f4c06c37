use proptest::prelude::*;

use super::*;

const UUID: &str = "2c3b1a4e-9f4b-4a57-8a58-7a1d2c9b0e11";
const HEX: &str = "2c3b1a4e9f4b4a578a587a1d2c9b0e11";

fn names(names: &[&str]) -> Vec<String> {
    let filled = names.iter().map(|name| name.replace('U', UUID).replace('H', HEX));
    filled.collect()
}

/// What is seen, with a `?` where it is not certain.
fn seen(children: &[&str], data: &str) -> String {
    let recognised = recognise(&names(children), data.as_bytes());
    let doubt = if recognised.certain { "" } else { "?" };
    format!("{}{doubt}", recognised.kind)
}

#[test]
fn each_recipe_is_known_by_its_names() {
    for (children, data, kind) in [
        (&["_c_U-lock-0000000001", "_c_U-lock-0000000002"][..], "", "lock"),
        (&["_c_U-lock-0000000001", "H__lock__0000000002"], "", "lock"),
        (&["_c_H-lock-0000000001"], "", "lock"),
        (&["H-lock-0000000001"], "", "lock"),
        (&["_c_U-lock--2147483648"], "", "lock"),
        (&["lock-0000000001"], "", "lock?"),
        (&["_c_U-__READ__0000000001", "_c_U-__WRIT__0000000001"], "", "rwlock"),
        (&["H__rlock__0000000001", "H__lock__0000000002"], "", "rwlock"),
        (&["_c_U-latch-0000000001"], "", "election"),
        (&["locks", "leases"], "", "semaphore"),
        (&["locks"], "3", "semaphore"),
        (&["locks"], "", "node"),
        (&["line", "turn"], "", "relay"),
        (&["count-a", "open"], "3 0", "latch"),
        (&[], "3 3", "latch"),
        (
            &["anything"],
            "zookeeper-recipes work queue 2\norder strict\n",
            "queue/2",
        ),
        (&["anything"], "zookeeper-recipes work queue 9", "queue/9"),
        (&["qn-0000000001", "qn-0000000007"], "", "fifo"),
        (&["U", "U", "ready"], "", "double-barrier"),
        (&["H"], "", "double-barrier?"),
        (&["entry-100-0000000001"], "", "kazoo queue"),
        (&["entries", "taken"], "", "kazoo locking queue"),
        (&["queue-0000000001"], "", "Curator queue"),
        (&["queue-|a|0000000001", "queue-0000000001"], "", "Curator queue"),
        (&["H__party__"], "", "group"),
        (&["x-72057594037927936-0000000001"], "", "lock?"),
        (&["n_0000000001"], "", "election?"),
        (&["72057594037927936-core_node1-n_0000000001"], "", "election?"),
        (&["foo-0000000001", "foo-0000000002"], "", "line?"),
        (&["foo-0000000001", "bar-0000000002"], "", "mixed?"),
        (&["_c_U-lock-0000000001", "_c_U-latch-0000000002"], "", "mixed?"),
        (&["_c_U-lock-0000000001", "_c_U-__READ__0000000002"], "", "mixed?"),
        (&["_c_U-lock-0000000001", "config"], "", "mixed?"),
        (&["block-0000000001"], "", "line?"),
        (&["a", "b"], "some bytes", "node"),
        (&[], "", "node"),
    ] {
        assert_eq!(seen(children, data), kind, "{children:?} with {data:?}");
    }
}

#[test]
fn a_number_in_force_follows_the_agreed_one() {
    for (data, number) in [
        ("3", Some(3)),
        ("3 5", Some(5)),
        ("", None),
        ("3 5 7", None),
        ("x", None),
    ] {
        assert_eq!(permits(data.as_bytes()), number, "{data:?}");
    }
}

proptest! {
    #[test]
    fn no_name_and_no_data_panics(names: Vec<String>, data: Vec<u8>) {
        recognise(&names, &data);
        permits(&data);
    }

    /// What another client put into a lock's directory must never make it look free or certain.
    #[test]
    fn a_stranger_in_a_line_leaves_no_certainty(stranger in "[a-z]{1,12}") {
        let recognised = recognise(&names(&["_c_U-lock-0000000001", &stranger]), b"");
        prop_assert_eq!((recognised.kind, recognised.certain), (PlaceKind::Mixed, false));
    }
}
