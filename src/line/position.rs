//! The contender that is waited for.

use std::fmt;

use super::order::CreationOrder;
use crate::znode::ChildName;

/// What a contender asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mode {
    /// The place alone.
    Exclusive,
    /// The place, shared with others.
    Shared,
}

/// `exclusive` or `shared`.
impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Exclusive => "exclusive",
            Self::Shared => "shared",
        })
    }
}

impl Mode {
    pub(crate) fn conflicts_with(self, other: Self) -> bool {
        self == Self::Exclusive || other == Self::Exclusive
    }
}

/// Where a contender stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Position<'a> {
    /// It is not in the list: removed, or the list is older than its node.
    Missing,
    /// No contender ahead conflicts: the place is granted.
    Granted,
    /// Granted once this contender is gone and no other one ahead conflicts.
    BlockedBy(&'a str),
}

/// Finds the *blocker* of `own`: the nearest contender ahead whose mode conflicts.
///
/// No other needs to be watched: as long as the blocker is there, the contenders further ahead do not matter.
/// Contenders with our own sequence number are not ahead: Curator gives a reader that was downgraded from a writer
/// the writer's number.
pub(crate) fn position_of<'a>(
    own: &ChildName<'_>,
    mode: Mode,
    line: impl Iterator<Item = (ChildName<'a>, Mode)>,
    creations: &CreationOrder,
) -> Position<'a> {
    const OWN: (i32, i64) = (0, 0);
    let mut listed = false;
    let mut blocker: Option<((i32, i64), &'a str)> = None;
    for (other, other_mode) in line {
        let Some(distance) = creations.distance(own, &other) else {
            continue;
        };
        listed |= other.text == own.text;
        let nearer = blocker.is_none_or(|(nearest, _)| nearest < distance);
        if distance < OWN && nearer && mode.conflicts_with(other_mode) {
            blocker = Some((distance, other.text));
        }
    }
    match blocker {
        _ if !listed => Position::Missing,
        None => Position::Granted,
        Some((_, name)) => Position::BlockedBy(name),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::znode::{Sequence, Tag};

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
        let line: Vec<_> = line.iter().map(|text| parse(text)).collect();
        // As on a server whose numbers wrap: the order of creation is theirs.
        let mut creations = CreationOrder::default();
        for (name, _) in &line {
            creations.add(name, i64::from(name.sequence.distance_from(Sequence::LAST)));
        }
        let (own, mode) = parse(own);
        match position_of(&own, mode, line.into_iter(), &creations) {
            Position::Missing => Some("missing".into()),
            Position::Granted => None,
            Position::BlockedBy(name) => Some(name.into()),
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
    fn a_mode_is_displayed_in_a_word() {
        let shown = [Mode::Exclusive, Mode::Shared].map(|mode| mode.to_string());
        assert_eq!(shown, ["exclusive", "shared"]);
    }

    #[test]
    fn who_is_not_in_the_list_is_granted_nothing() {
        assert_eq!(stand(&name(1, Mode::Exclusive), &[]), Some("missing".into()));
    }

    /// What the server's order of creation says when the numbers say nothing.
    #[test]
    fn among_spent_numbers_the_one_created_last_before_us_is_waited_for() {
        let line: Vec<String> = ["a", "b", "c", "d"]
            .map(|guid| format!("{guid}-lock-2147483647"))
            .into();
        let mut creations = CreationOrder::default();
        for (text, czxid) in line.iter().zip([9, 2, 5, 1]) {
            creations.add(&parse(text).0, czxid);
        }
        let stand = |own: &str| {
            let (own, mode) = parse(own);
            match position_of(&own, mode, line.iter().map(|text| parse(text)), &creations) {
                Position::BlockedBy(name) => Some(name.to_owned()),
                _ => None,
            }
        };
        assert_eq!(stand(&line[0]), Some(line[2].clone()));
        assert_eq!(stand(&line[2]), Some(line[1].clone()));
        assert_eq!(stand(&line[1]), Some(line[3].clone()));
        assert_eq!(stand(&line[3]), None);
    }

    #[test]
    fn an_equal_sequence_number_is_not_ahead() {
        let line = [name(7, Mode::Exclusive), name(7, Mode::Shared)];
        assert_eq!(stand(&line[1], &line), None);
    }

    proptest! {
        /// Granting what `standing` grants, and removing the granted one after the other, serves all contenders
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

    /// A contender as a client sees it: it looks when it joins and when the one that it watches is gone.
    #[derive(Clone, Debug)]
    struct ModelContender {
        name: String,
        watches: Option<String>,
    }

    /// A line as the server has it, in order, and what each contender believes of it.
    #[derive(Debug, Default)]
    struct LineModel {
        members: Vec<ModelContender>,
        looks: usize,
    }

    impl LineModel {
        fn look(&mut self, index: usize) {
            let line: Vec<String> = self.members.iter().map(|member| member.name.clone()).collect();
            self.looks += 1;
            self.members[index].watches = stand(&line[index], &line);
        }

        fn join(&mut self, name: String) {
            self.members.push(ModelContender { name, watches: None });
            self.look(self.members.len() - 1);
        }

        /// Puts `successor`, if there is one, in the place of a contender, and wakes its watchers.
        fn remove(&mut self, index: usize, successor: Option<String>) {
            let gone = self.members[index].name.clone();
            match successor {
                Some(name) => self.members[index] = ModelContender { name, watches: None },
                None => _ = self.members.remove(index),
            }
            for index in 0..self.members.len() {
                if self.members[index].watches.as_ref() == Some(&gone) {
                    self.look(index);
                }
            }
        }

        fn is_shared(&self, index: usize) -> bool {
            parse(&self.members[index].name).1 == Mode::Shared
        }

        /// How many at the head may hold together: all readers before the first writer, or one writer.
        fn compatible(&self) -> usize {
            let readers = (0..self.members.len())
                .take_while(|index| self.is_shared(*index))
                .count();
            readers.max(1.min(self.members.len()))
        }

        fn holders(&self) -> Vec<usize> {
            let holds = |index: &usize| self.members[*index].watches.is_none();
            (0..self.members.len()).filter(holds).collect()
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16_384))]

        /// Contenders join, release, give up waiting or go on as readers: those that believe to hold are
        /// always the compatible head of the line, the whole of it, so that no contender waits in vain.
        #[test]
        fn holders_are_the_compatible_head_of_the_line_and_no_wake_up_is_missed(
            start: i32,
            steps in prop::collection::vec((0..5_u8, prop::num::usize::ANY), 1..40),
        ) {
            let mut model = LineModel::default();
            let mut joined = 0_usize;
            for (step, choice) in steps {
                let len = model.members.len();
                match step {
                    0..=2 => {
                        let mode = if choice % 3 == 0 { Mode::Exclusive } else { Mode::Shared };
                        model.join(name(start.wrapping_add(i32::try_from(joined).unwrap()), mode));
                        joined += 1;
                    }
                    3 if len > 0 => model.remove(choice % len, None),
                    4 if len > 0 && !model.is_shared(0) => {
                        let writer = model.members[0].name.clone();
                        let number = writer.rsplit("lock-").next().unwrap();
                        model.remove(0, Some(format!("x__rlock__{number}")));
                    }
                    _ => {}
                }
                prop_assert_eq!(model.holders(), (0..model.compatible()).collect::<Vec<_>>(), "{:?}", model);
                for member in &model.members {
                    let watched = member.watches.as_ref();
                    let there = |name| model.members.iter().any(|member| &member.name == name);
                    prop_assert!(watched.is_none_or(there), "{:?} watches a node that is gone", member);
                }
            }
        }

        /// The release of a writer frees every reader behind it up to the next writer with one look each.
        #[test]
        fn a_writer_frees_its_readers_with_one_look_each(start: i32, readers in 1..40_usize, writer_behind: bool) {
            let number = |index: usize| start.wrapping_add(i32::try_from(index).unwrap());
            let mut model = LineModel::default();
            model.join(name(number(0), Mode::Exclusive));
            for reader in 1..=readers {
                model.join(name(number(reader), Mode::Shared));
            }
            if writer_behind {
                model.join(name(number(readers + 1), Mode::Exclusive));
            }
            model.looks = 0;
            model.remove(0, None);
            prop_assert_eq!((model.looks, model.holders().len()), (readers, readers));
        }
    }
}
