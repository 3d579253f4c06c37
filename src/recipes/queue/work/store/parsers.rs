//! What reads names and data from the ensemble, for a fuzzer.

use bytes::Bytes;

use super::codec::{decode_items, decode_text, encode_items};
use super::header::Header;
use super::item::{ItemId, Origin};
use super::names::{Child, Guid};
use super::paths::Lane;
use super::picture::Picture;
use super::records::{ClaimData, DeadData, Level, Outcome, decode_forgotten, encode_forgotten};
use super::tally::Tally;

/// Each takes anything. What it reads, it writes so that it reads the same again.
pub(crate) const PARSERS: &[fn(&[u8])] = &[
    |data| {
        if let Some(items) = decode_items(&Bytes::copy_from_slice(data)) {
            assert_eq!(decode_items(&encode_items(&items)), Some(items));
        }
    },
    |data| _ = decode_text(data),
    |data| {
        if let Some(outcome) = Outcome::decode(&Bytes::copy_from_slice(data)) {
            assert_eq!(Outcome::decode(&outcome.encode()), Some(outcome));
        }
    },
    |data| {
        if let Some(claim) = ClaimData::decode(data) {
            let again = ClaimData::decode(&claim.encode());
            assert_eq!(again.map(|again| again.progress), Some(claim.progress));
        }
    },
    |data| _ = DeadData::decode(&Bytes::copy_from_slice(data)),
    |data| {
        if let Some(all) = decode_forgotten(data) {
            assert_eq!(decode_forgotten(&encode_forgotten(&all)), Some(all));
        }
    },
    |data| {
        if let Some(level) = Level::decode(data) {
            let _ = level.room();
            assert_eq!(Level::decode(&level.encode()), Some(level));
        }
    },
    |data| {
        if let Some(tally) = Tally::decode(data) {
            assert_eq!(Tally::decode(&tally.encode()), Some(tally));
        }
    },
    |data| _ = Header::parse("/queue", data, 0),
    |data| {
        let text = String::from_utf8_lossy(data);
        let _ = (Guid::parse(&text), Lane::parse(&text), text.parse::<ItemId>());
        if let Some(origin) = Origin::parse(&text) {
            assert_eq!(Origin::parse(&origin.to_string()), Some(origin));
        }
        if let Some(child) = Child::parse(&text) {
            assert_eq!(Child::parse(&child.to_string()), Some(child));
        }
    },
    |data| {
        let names: Vec<String> = String::from_utf8_lossy(data).lines().map(str::to_owned).collect();
        let picture = Picture::of(&names);
        picture.ranges.iter().for_each(|range| {
            let _ = (range.len(), range.is_free_at(0), range.place());
        });
    },
];
