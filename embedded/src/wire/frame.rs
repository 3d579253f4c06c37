//! Splits the byte stream of a connection into frames.

use bytes::{Buf, Bytes, BytesMut};

/// The longest frame that is taken by default, as in ZooKeeper's `jute.maxbuffer`.
pub const MAX_FRAME: usize = 0xf_ffff;

/// A length prefix that no peer may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("frame length {0} is negative or above the limit")]
pub struct BadLength(pub i32);

/// Takes the next whole frame off the front of `buf`, without its length prefix.
///
/// `Ok(None)` asks for more bytes. The length is held against `limit` before the body arrives.
pub fn next_frame(buf: &mut BytesMut, limit: usize) -> Result<Option<Bytes>, BadLength> {
    let Some(prefix) = buf.first_chunk::<4>() else {
        return Ok(None);
    };
    let announced = i32::from_be_bytes(*prefix);
    let len = usize::try_from(announced).map_err(|_| BadLength(announced))?;
    if len > limit {
        return Err(BadLength(announced));
    }
    if buf.len() < 4 + len {
        return Ok(None);
    }
    buf.advance(4);
    Ok(Some(buf.split_to(len).freeze()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_taken_one_by_one_and_the_tail_waits() {
        let mut buf = BytesMut::from(&[0, 0, 0, 1, b'a', 0, 0, 0, 0, 0, 0, 0, 2, b'b'][..]);
        assert_eq!(next_frame(&mut buf, MAX_FRAME), Ok(Some(Bytes::from_static(b"a"))));
        assert_eq!(next_frame(&mut buf, MAX_FRAME), Ok(Some(Bytes::new())));
        assert_eq!(next_frame(&mut buf, MAX_FRAME), Ok(None));
        buf.extend_from_slice(b"c");
        assert_eq!(next_frame(&mut buf, MAX_FRAME), Ok(Some(Bytes::from_static(b"bc"))));
    }

    #[test]
    fn impossible_lengths_are_refused_before_the_body_arrives() {
        for length in [-1, i32::MIN, i32::MAX, MAX_FRAME as i32 + 1] {
            let mut buf = BytesMut::from(&length.to_be_bytes()[..]);
            assert_eq!(next_frame(&mut buf, MAX_FRAME), Err(BadLength(length)));
        }
        let mut buf = BytesMut::from(&(MAX_FRAME as i32).to_be_bytes()[..]);
        assert_eq!(next_frame(&mut buf, MAX_FRAME), Ok(None));
        assert_eq!(next_frame(&mut buf, MAX_FRAME - 1), Err(BadLength(MAX_FRAME as i32)));
    }
}
