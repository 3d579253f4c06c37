//! What the names of a block's children say.

use std::fmt;

use uuid::Uuid;

const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// 16 letters: 80 bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Guid([u8; 16]);

impl Guid {
    pub(crate) fn random() -> Self {
        let bytes = Uuid::new_v4().into_bytes();
        // All but the bytes with the version and the variant are random.
        let random: Vec<u8> = bytes
            .iter()
            .enumerate()
            .filter(|(at, _)| *at != 6 && *at != 8)
            .map(|(_, byte)| *byte)
            .collect();
        Self::of_bits(&random)
    }

    /// The name of what is found by the hash of a text: FNV-1a of 128 bits.
    pub(crate) fn of_text(text: &str) -> Self {
        let hash = text
            .bytes()
            .fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128, |hash, byte| {
                (hash ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b)
            });
        Self::of_bits(&(hash ^ (hash >> 64)).to_be_bytes()[6..])
    }

    fn of_bits(bytes: &[u8]) -> Self {
        let mut bits = bytes
            .iter()
            .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1));
        Self(std::array::from_fn(|_| {
            let letter = (0..5).fold(0_usize, |letter, _| {
                letter << 1 | usize::from(bits.next().unwrap_or_default())
            });
            ALPHABET[letter]
        }))
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let guid: [u8; 16] = text.as_bytes().try_into().ok()?;
        guid.iter()
            .all(|letter| ALPHABET.contains(letter))
            .then_some(Self(guid))
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.0).unwrap_or_default())
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What kind of segment a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    /// The items of a push.
    Pushed,
    /// The item with this index, taken out of the segment with this sequence number.
    TakenOut(u8),
    /// The token of a group.
    Token(Guid),
}

/// The name of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SegmentName {
    /// First, because it is the place in line; then the index in `kind`.
    pub(crate) sequence: u32,
    pub(crate) kind: Kind,
    pub(crate) guid: Guid,
    pub(crate) count: u8,
    pub(crate) priority: u8,
    /// When it was pushed, by the pusher's idea of the ensemble's clock.
    pub(crate) time: i64,
}

impl SegmentName {
    /// What the server appends the sequence number to; the whole name but for it.
    pub(crate) fn prefix(&self) -> String {
        let Self {
            guid,
            count,
            priority,
            time,
            ..
        } = self;
        match self.kind {
            Kind::Pushed => format!("s-{guid}.{count}.{priority}.{time}-"),
            Kind::TakenOut(index) => format!("b-{guid}.1.{priority}.{time}.{index}-"),
            Kind::Token(group) => format!("g-{guid}.1.{priority}.{time}.{group}-"),
        }
    }

    fn parse(rest: &str, kind: &str) -> Option<Self> {
        let (rest, sequence) = rest.split_once('-')?;
        let mut parts = rest.split('.');
        let guid = Guid::parse(parts.next()?)?;
        let count: u8 = parts.next()?.parse().ok()?;
        let priority = parts.next()?.parse().ok()?;
        let time = parts.next()?.parse().ok()?;
        let kind = match kind {
            "s" => Kind::Pushed,
            "b" => Kind::TakenOut(parts.next()?.parse().ok().filter(|index| *index < 64)?),
            _ => Kind::Token(Guid::parse(parts.next()?)?),
        };
        let is_sequence = sequence.len() == 10 && sequence.bytes().all(|digit| digit.is_ascii_digit());
        let is_valid = parts.next().is_none() && is_sequence && (1..=64).contains(&count);
        let name = Self {
            sequence: sequence.parse().ok()?,
            kind,
            guid,
            count,
            priority,
            time,
        };
        (is_valid && (count == 1 || kind == Kind::Pushed)).then_some(name)
    }
}

impl fmt::Display for SegmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:010}", self.prefix(), self.sequence)
    }
}

/// A run of items of a segment: from the first to before the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Span {
    pub(crate) from: u8,
    pub(crate) to: u8,
}

/// A child of a block, beside its segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Child {
    Segment(SegmentName),
    /// The rest of a segment, from an index on, that was never claimed.
    Fresh {
        guid: Guid,
        from: u8,
    },
    /// A range that was claimed at least once, or cut off such a one.
    Opened {
        guid: Guid,
        span: Span,
    },
    /// Claim number `epoch` of a range, and when it may be taken over.
    Claimed {
        guid: Guid,
        span: Span,
        epoch: u32,
        deadline: Option<i64>,
    },
    /// An item of a group.
    Grouped(GroupedName),
}

impl Child {
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let (kind, rest) = name.split_once('-')?;
        if let "s" | "b" | "g" = kind {
            return SegmentName::parse(rest, kind).map(Self::Segment);
        }
        if kind == "i" {
            return GroupedName::parse(rest).map(Self::Grouped);
        }
        let mut parts = rest.split('.');
        let guid = Guid::parse(parts.next()?)?;
        let mut index = || parts.next()?.parse::<u8>().ok().filter(|index| *index <= 64);
        let from = index()?;
        if kind == "f" {
            return (from < 64 && parts.next().is_none()).then_some(Self::Fresh { guid, from });
        }
        let span = Span {
            from,
            to: index().filter(|to| *to > from)?,
        };
        let child = match kind {
            "o" => Self::Opened { guid, span },
            "c" => {
                let epoch = parts.next()?.parse().ok()?;
                let deadline = match parts.next() {
                    None => None,
                    Some(deadline) => Some(deadline.parse().ok()?),
                };
                Self::Claimed {
                    guid,
                    span,
                    epoch,
                    deadline,
                }
            }
            _ => return None,
        };
        parts.next().is_none().then_some(child)
    }
}

impl fmt::Display for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Segment(name) => write!(f, "{name}"),
            Self::Grouped(name) => write!(f, "{name}"),
            Self::Fresh { guid, from } => write!(f, "f-{guid}.{from}"),
            Self::Opened {
                guid,
                span: Span { from, to },
            } => write!(f, "o-{guid}.{from}.{to}"),
            Self::Claimed {
                guid,
                span: Span { from, to },
                epoch,
                deadline,
            } => match deadline {
                None => write!(f, "c-{guid}.{from}.{to}.{epoch}"),
                Some(deadline) => write!(f, "c-{guid}.{from}.{to}.{epoch}.{deadline}"),
            },
        }
    }
}

/// The name of an item of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct GroupedName {
    pub(crate) sequence: u32,
    pub(crate) guid: Guid,
    pub(crate) priority: u8,
    pub(crate) time: i64,
}

impl GroupedName {
    pub(crate) fn prefix(&self) -> String {
        format!("i-{}.{}.{}-", self.guid, self.priority, self.time)
    }

    fn parse(rest: &str) -> Option<Self> {
        let (rest, sequence) = rest.split_once('-')?;
        let mut parts = rest.split('.');
        let guid = Guid::parse(parts.next()?)?;
        let (priority, time) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let is_sequence = sequence.len() == 10 && sequence.bytes().all(|digit| digit.is_ascii_digit());
        let name = Self {
            sequence: sequence.parse().ok()?,
            guid,
            priority,
            time,
        };
        (is_sequence && parts.next().is_none()).then_some(name)
    }
}

impl fmt::Display for GroupedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:010}", self.prefix(), self.sequence)
    }
}
#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn children() -> impl Strategy<Value = Child> {
        (0_u8..8, 0_u8..63, 1_u8..=64, any::<u32>(), any::<u8>(), 0_i64..i64::MAX).prop_map(
            |(kind, from, to, number, priority, time)| {
                let guid = Guid::of_text(&number.to_string());
                let span = Span {
                    from,
                    to: to.max(from + 1),
                };
                let deadline = (time % 2 == 0).then_some(time);
                let segment = |kind, count| {
                    Child::Segment(SegmentName {
                        sequence: number,
                        kind,
                        guid,
                        count,
                        priority,
                        time,
                    })
                };
                match kind {
                    0 => segment(Kind::Pushed, to),
                    1 => segment(Kind::TakenOut(from), 1),
                    2 => segment(Kind::Token(Guid::random()), 1),
                    3 => Child::Fresh { guid, from },
                    4 => Child::Opened { guid, span },
                    5 => Child::Grouped(GroupedName {
                        sequence: number,
                        guid,
                        priority,
                        time,
                    }),
                    _ => Child::Claimed {
                        guid,
                        span,
                        epoch: number,
                        deadline,
                    },
                }
            },
        )
    }

    #[test]
    fn foreign_names_are_no_children() {
        let guid = Guid::random();
        for foreign in [
            String::new(),
            "lock".to_owned(),
            format!("s-{guid}.65.100.1-0000000000"),
            format!("s-{guid}.0.100.1-0000000000"),
            format!("s-{guid}.1.256.1-0000000000"),
            format!("b-{guid}.2.100.1.3-0000000000"),
            format!("b-{guid}.1.100.1.64-0000000000"),
            format!("s-{guid}.1.100.1-00000"),
            format!("s-{guid}.1.100.1-+000000001"),
            format!("i-{guid}.100.1-00000"),
            format!("i-{guid}.100.1-+000000001"),
            format!("i-{guid}.100.1.7-0000000000"),
            format!("o-{guid}.3.3"),
            format!("o-{guid}.3.4.5"),
            format!("c-{guid}.3.4"),
            format!("f-{guid}.64"),
            "f-0123456789abcdef.1".to_owned(),
        ] {
            assert_eq!(Child::parse(&foreign), None, "{foreign}");
        }
    }

    #[test]
    fn guids_differ() {
        assert_ne!(Guid::random(), Guid::random());
        assert_ne!(Guid::of_text("a"), Guid::of_text("b"));
        assert_eq!(Guid::of_text("a"), Guid::of_text("a"));
    }

    /// All programs that share a queue find a key under one name.
    #[test]
    fn the_guid_of_a_text_stays_what_it_is() {
        for (text, guid) in [("", "afba5wqglnss5rgp"), ("order-42", "tmnwm6vytwtczu5x")] {
            assert_eq!(format!("{:?}", Guid::of_text(text)), guid, "{text}");
        }
    }

    #[test]
    fn each_letter_of_a_random_guid_is_random() {
        let guids: Vec<Guid> = (0..2_000).map(|_| Guid::random()).collect();
        for at in 0..16 {
            let letters: BTreeSet<u8> = guids.iter().map(|guid| guid.0[at]).collect();
            assert_eq!(letters.len(), ALPHABET.len(), "letter {at}");
        }
    }

    proptest! {
        #[test]
        fn a_name_that_is_written_is_read(child in children()) {
            prop_assert_eq!(Child::parse(&child.to_string()), Some(child));
        }

        #[test]
        fn no_name_panics(name in ".{0,60}") {
            let _ = Child::parse(&name);
        }
    }
}
