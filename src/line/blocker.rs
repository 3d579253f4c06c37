//! Who is waited for.

use crate::znode::ChildName;

/// What a contender asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// The place alone.
    Exclusive,
    /// The place together with others who share it.
    Shared,
}

impl Mode {
    pub(crate) fn conflicts_with(self, other: Self) -> bool {
        self == Self::Exclusive || other == Self::Exclusive
    }
}

/// Where a contender stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing<'a> {
    /// It is not in the list: removed, or the list is older than its node.
    Missing,
    /// Nobody ahead conflicts: the place is granted.
    Granted,
    /// Granted once this contender is gone and nobody else ahead conflicts.
    Behind(&'a str),
}

/// Finds the *blocker* of `own`: the nearest contender ahead whose mode conflicts.
///
/// Nobody else needs to be watched: as long as the blocker is there, whoever stands further ahead does not matter.
/// Contenders with our own sequence number are not ahead: Curator gives a reader that was downgraded from a writer
/// the writer's number.
pub(crate) fn standing<'a>(
    own: &ChildName<'_>,
    mode: Mode,
    line: impl Iterator<Item = (ChildName<'a>, Mode)>,
) -> Standing<'a> {
    let mut listed = false;
    let mut blocker: Option<(i32, &'a str)> = None;
    for (other, other_mode) in line {
        let distance = other.sequence.distance_from(own.sequence);
        listed |= other.text == own.text;
        let nearer = blocker.is_none_or(|(nearest, _)| nearest < distance);
        if distance < 0 && nearer && mode.conflicts_with(other_mode) {
            blocker = Some((distance, other.text));
        }
    }
    match blocker {
        _ if !listed => Standing::Missing,
        None => Standing::Granted,
        Some((_, name)) => Standing::Behind(name),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::znode::Tag;

    const TAGS: [Tag; 2] = [Tag::Lock, Tag::KazooReadLock];

    fn name(number: i32, mode: Mode) -> String {
        match mode {
            Mode::Exclusive => format!("_c_x-lock-{number:010}"),
            Mode::Shared => format!("x__rlock__{number:010}"),
        }
    }

    fn parse(text: &str) -> (ChildName<'_>, Mode) {
        let name = ChildName::parse(text, TAGS).unwrap();
        let mode = if name.tag == Tag::Lock {
            Mode::Exclusive
        } else {
            Mode::Shared
        };
        (name, mode)
    }

    fn stand(own: &str, line: &[String]) -> Option<String> {
        let (own, mode) = parse(own);
        match standing(&own, mode, line.iter().map(|text| parse(text))) {
            Standing::Missing => Some("missing".into()),
            Standing::Granted => None,
            Standing::Behind(name) => Some(name.into()),
        }
    }

    #[test]
    fn an_exclusive_contender_waits_for_the_one_right_ahead() {
        let line: Vec<_> = [4, 2, 9, 3].map(|number| name(number, Mode::Exclusive)).into();
        assert_eq!(stand(&line[1], &line), None);
        assert_eq!(stand(&line[0], &line), Some(line[3].clone()));
        assert_eq!(stand(&line[2], &line), Some(line[0].clone()));
    }

    #[test]
    fn a_reader_passes_readers_and_waits_for_the_nearest_writer() {
        let line = [
            name(1, Mode::Exclusive),
            name(2, Mode::Exclusive),
            name(3, Mode::Shared),
            name(4, Mode::Shared),
        ];
        assert_eq!(stand(&line[3], &line), Some(line[1].clone()));
        assert_eq!(stand(&line[3], &line[2..]), None);
    }

    #[test]
    fn who_is_not_in_the_list_is_granted_nothing() {
        assert_eq!(stand(&name(1, Mode::Exclusive), &[]), Some("missing".into()));
    }

    #[test]
    fn an_equal_sequence_number_is_not_ahead() {
        let line = [name(7, Mode::Exclusive), name(7, Mode::Shared)];
        assert_eq!(stand(&line[1], &line), None);
    }

    proptest! {
        /// Granting whoever `standing` grants, and removing the granted one after the other, serves all contenders
        /// in order of creation, wherever the counter started, and never an exclusive one beside another.
        #[test]
        fn a_line_is_served_in_order(start: i32, modes in prop::collection::vec(prop::bool::ANY, 1..30), seed: u64) {
            let mut line: Vec<String> = modes.iter().enumerate().map(|(index, shared)| {
                let mode = if *shared { Mode::Shared } else { Mode::Exclusive };
                name(start.wrapping_add(i32::try_from(index).unwrap()), mode)
            }).collect();
            let order = line.clone();
            line.rotate_left((seed % modes.len() as u64) as usize);
            for next in &order {
                prop_assert_eq!(stand(next, &line), None, "the oldest is granted");
                let granted: Vec<_> = line.iter().filter(|text| stand(text, &line).is_none()).collect();
                let exclusive = granted.iter().filter(|text| parse(text).1 == Mode::Exclusive).count();
                prop_assert!(exclusive == 0 || granted.len() == 1);
                line.retain(|text| text != next);
            }
        }
    }
}
