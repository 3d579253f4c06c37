//! A byte stream cut into frames, each read as a handshake and as a request of every kind.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use zookeeper_embedded::wire::frame::{MAX_FRAME, next_frame};
use zookeeper_embedded::wire::{ConnectRequest, Op, Request, RequestHeader};

fuzz_target!(|stream: &[u8]| {
    // All at once and byte by byte must come to the same frames.
    let mut whole = BytesMut::from(stream);
    let mut dribble = BytesMut::new();
    let mut rest = stream.iter();
    loop {
        let frame = next_frame(&mut whole, MAX_FRAME);
        let dribbled = loop {
            match next_frame(&mut dribble, MAX_FRAME) {
                Ok(None) => match rest.next() {
                    Some(byte) => dribble.extend_from_slice(&[*byte]),
                    None => break Ok(None),
                },
                result => break result,
            }
        };
        assert_eq!(frame, dribbled);
        let Ok(Some(frame)) = frame else { break };
        assert!(frame.len() <= MAX_FRAME);
        read(&frame);
    }
    // What is behind the length prefix of a stream that never completes its frame is worth a look, too.
    read(stream);
});

fn read(frame: &[u8]) {
    let _ = ConnectRequest::read(frame);
    let Ok((header, body)) = RequestHeader::split(frame) else {
        return;
    };
    for op in [header.op].into_iter().chain((-1..=110).map(Op::from_code)) {
        if let Ok(request) = Request::read(op, body) {
            // Nothing is made up: all that was read came out of the frame.
            let len: usize = request.paths().iter().map(|path| path.len()).sum();
            assert!(len <= 3 * body.len());
        }
    }
}
