use std::collections::BTreeSet;

use proptest::prelude::*;

use super::super::item::{ItemId, Origin};
use super::*;

const GUID: &str = "0123456789abcdef0123456789abcdef";

/// An item of a rank that no other has, because of its number.
fn item(number: usize, (due, arrival, size): (i64, i64, usize)) -> Item {
    let origin = Origin {
        lane: Lane::Ready(100),
        block: 0,
        guid: GUID,
    };
    Item {
        id: ItemId::new(&origin, number),
        priority: 100,
        due,
        arrival,
        attempt: 0,
        key: None,
        payload: vec![0; size].into(),
    }
}

/// Segments of items that were due and came at whatever time.
fn segments(size: impl Strategy<Value = usize>) -> impl Strategy<Value = Vec<(Segment, Vec<Item>)>> {
    let items = prop::collection::vec((0_i64..5, 0_i64..5, size), 0..40);
    (items, any::<u64>()).prop_map(|(items, seed)| {
        let mut segments: Vec<(Segment, Vec<Item>)> = Vec::new();
        for (number, attributes) in items.into_iter().enumerate() {
            if segments.is_empty() || (seed >> (number % 64)) & 1 == 1 {
                let block = NodePath::new("/q/ready/100/0").unwrap();
                let name = format!("1-{GUID}-{number:010}");
                segments.push((Segment { block, name }, Vec::new()));
            }
            segments.last_mut().unwrap().1.push(item(number, attributes));
        }
        segments
    })
}

fn names<'a>(items: impl IntoIterator<Item = &'a Item>) -> BTreeSet<String> {
    items.into_iter().map(|item| item.id.to_string()).collect()
}

proptest! {
    #[test]
    fn the_first_items_are_taken_and_no_item_is_lost(found in segments(0_usize..100), wanted in 0_usize..50) {
        let all: Vec<Item> = found.iter().flat_map(|(_, items)| items.clone()).collect();
        let mut front = Front::default();
        choose(found.clone(), wanted, 5, &mut front);
        let mut ranked: Vec<&Item> = all.iter().collect();
        ranked.sort_by_key(|item| item.rank());
        let first = names(ranked.into_iter().take(wanted));
        prop_assert_eq!(names(front.takes.iter().flat_map(|take| &take.taken)), first);
        for take in &front.takes {
            prop_assert!(!take.taken.is_empty());
            let (_, whole) = found.iter().find(|(segment, _)| segment.path() == take.segment.path()).unwrap();
            prop_assert_eq!(names(take.taken.iter().chain(&take.left)), names(whole));
            prop_assert_eq!(take.taken.len() + take.left.len(), whole.len());
        }
    }

    #[test]
    fn not_too_much_is_taken_at_once_but_always_something(found in segments(0_usize..200_000), wanted in 1_usize..50) {
        let all: Vec<Item> = found.iter().flat_map(|(_, items)| items.clone()).collect();
        let mut front = Front::default();
        choose(found, wanted, 5, &mut front);
        let taken: Vec<&Item> = front.takes.iter().flat_map(|take| &take.taken).collect();
        let bytes: usize = taken.iter().map(|item| item.payload.len()).sum();
        prop_assert!(bytes <= TAKE_BYTES || taken.len() == 1);
        prop_assert_eq!(taken.is_empty(), all.is_empty());
        // And these are the first ones.
        let last = taken.iter().map(|item| item.rank()).max();
        let ahead = all.iter().filter(|item| last.is_some_and(|last| item.rank() <= last)).count();
        prop_assert_eq!(ahead, taken.len());
    }
}

#[test]
fn an_item_is_taken_alone_for_its_last_attempt() {
    let segment = |items| {
        let block = NodePath::new("/q/ready/100/0").unwrap();
        let name = format!("1-{GUID}-0000000000");
        vec![(Segment { block, name }, items)]
    };
    let taken = |attempts: [u32; 3]| {
        let items = attempts.iter().zip(0_i64..).map(|(attempt, due)| Item {
            attempt: *attempt,
            ..item(usize::try_from(due).unwrap(), (due, 1, 1))
        });
        let mut front = Front::default();
        choose(segment(items.collect()), 3, 5, &mut front);
        (front.len(), front.cut)
    };
    assert_eq!(taken([0, 3, 0]), (3, false));
    assert_eq!(taken([4, 0, 0]), (1, true));
    assert_eq!(taken([0, 4, 0]), (1, true));
}
