//! Jute, ZooKeeper's encoding: big-endian integers, length-prefixed buffers, strings and vectors.

use bytes::{BufMut, Bytes, BytesMut};

/// A record that ends too early or has an impossible length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed record")]
pub struct Malformed;

/// Reads jute values from a slice, front to back.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the front of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What has not been read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (head, rest) = self.rest.split_at_checked(len).ok_or(Malformed)?;
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.take(N)?.try_into().map_err(|_| Malformed)
    }

    /// A boolean: any byte but 0 and 1 is malformed in theory, true in every implementation.
    pub fn bool(&mut self) -> Result<bool, Malformed> {
        Ok(self.array::<1>()? != [0])
    }

    /// A 32-bit integer.
    pub fn i32(&mut self) -> Result<i32, Malformed> {
        self.array().map(i32::from_be_bytes)
    }

    /// A 64-bit integer.
    pub fn i64(&mut self) -> Result<i64, Malformed> {
        self.array().map(i64::from_be_bytes)
    }

    /// A buffer; length -1 stands for null.
    pub fn buffer(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        match self.i32()? {
            -1 => Ok(None),
            len => self.take(usize::try_from(len).map_err(|_| Malformed)?).map(Some),
        }
    }

    /// A buffer, copied: what is stored must not keep a whole frame alive.
    pub fn bytes(&mut self) -> Result<Option<Bytes>, Malformed> {
        Ok(self.buffer()?.map(Bytes::copy_from_slice))
    }

    /// A string that may be null. Bytes that are not UTF-8 are replaced, as Java does.
    pub fn nullable_string(&mut self) -> Result<Option<String>, Malformed> {
        Ok(self.buffer()?.map(|bytes| String::from_utf8_lossy(bytes).into_owned()))
    }

    /// A string; null counts as malformed.
    pub fn string(&mut self) -> Result<String, Malformed> {
        self.nullable_string()?.ok_or(Malformed)
    }

    /// A vector; null and negative lengths read as empty.
    ///
    /// Grows with what is really there, never by the announced length.
    pub fn vector<T>(&mut self, item: impl Fn(&mut Self) -> Result<T, Malformed>) -> Result<Vec<T>, Malformed> {
        let len = self.i32()?;
        let mut items = Vec::new();
        for _ in 0..len.max(0) {
            items.push(item(self)?);
        }
        Ok(items)
    }
}

/// Writes jute values.
#[derive(Debug, Default)]
pub struct Writer {
    buf: BytesMut,
}

impl Writer {
    /// Starts a frame: the length is filled in by [`Writer::into_frame`].
    pub fn frame() -> Self {
        let mut buf = BytesMut::with_capacity(128);
        buf.put_i32(0);
        Self { buf }
    }

    /// Ends a frame begun with [`Writer::frame`].
    pub fn into_frame(mut self) -> Bytes {
        let len = i32::try_from(self.buf.len().saturating_sub(4)).unwrap_or(i32::MAX);
        if let Some(head) = self.buf.first_chunk_mut::<4>() {
            *head = len.to_be_bytes();
        }
        self.buf.freeze()
    }

    /// A boolean.
    pub fn bool(&mut self, value: bool) -> &mut Self {
        self.buf.put_u8(u8::from(value));
        self
    }

    /// A 32-bit integer.
    pub fn i32(&mut self, value: i32) -> &mut Self {
        self.buf.put_i32(value);
        self
    }

    /// A 64-bit integer.
    pub fn i64(&mut self, value: i64) -> &mut Self {
        self.buf.put_i64(value);
        self
    }

    /// The length of a buffer, string or vector.
    pub fn len(&mut self, len: usize) -> &mut Self {
        self.i32(i32::try_from(len).unwrap_or(i32::MAX))
    }

    /// A buffer; `None` is null.
    pub fn buffer(&mut self, bytes: Option<&[u8]>) -> &mut Self {
        match bytes {
            None => self.i32(-1),
            Some(bytes) => {
                self.len(bytes.len());
                self.buf.put_slice(bytes);
                self
            }
        }
    }

    /// A string.
    pub fn string(&mut self, text: &str) -> &mut Self {
        self.buffer(Some(text.as_bytes()))
    }

    /// A vector of strings.
    pub fn strings<S: AsRef<str>>(&mut self, items: &[S]) -> &mut Self {
        self.len(items.len());
        for item in items {
            self.string(item.as_ref());
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_announced_longer_than_the_frame_is_malformed_and_allocates_nothing() {
        let mut frame = i32::MAX.to_be_bytes().to_vec();
        frame.extend([0, 0, 0, 1, b'a']);
        assert_eq!(Reader::new(&frame).vector(Reader::string), Err(Malformed));
    }

    #[test]
    fn null_and_negative_lengths() {
        assert_eq!(Reader::new(&(-1i32).to_be_bytes()).buffer(), Ok(None));
        assert_eq!(Reader::new(&(-2i32).to_be_bytes()).buffer(), Err(Malformed));
        assert_eq!(Reader::new(&(-1i32).to_be_bytes()).vector(Reader::i32), Ok(vec![]));
    }

    #[test]
    fn a_frame_starts_with_its_length() {
        let mut writer = Writer::frame();
        writer.string("ab").bool(true);
        assert_eq!(&writer.into_frame()[..], [0, 0, 0, 7, 0, 0, 0, 2, b'a', b'b', 1]);
    }
}
