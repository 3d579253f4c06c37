//! What a queue is made with, and what its node may hold.

use super::*;

#[test]
fn what_is_written_is_read() {
    let options = Options {
        order: Order::Window(16),
        max_attempts: 3,
        retry: RetryPolicy::exponential(Duration::from_secs(1), Duration::from_secs(60)),
        claim_timeout: Some(Duration::from_secs(5)),
        retention: Duration::from_secs(7),
        dedupe: Duration::from_secs(8),
        capacity: Some(10),
        aging: Some(Duration::from_secs(9)),
        all_outcomes: true,
    };
    for options in [options, Options::default()] {
        let header = Header {
            paused: true,
            unknown: vec!["later 7".to_owned()],
            ..Header::new(options)
        };
        let read = Header::parse("/q", &header.data(), 3);
        assert_eq!(read, Ok(Header { version: 3, ..header }));
    }
}

#[test]
fn what_is_asked_for_is_what_a_queue_is_made_with() {
    let asked = Asked {
        max_attempts: Some(7),
        retention: Some(Duration::from_secs(9)),
        ..Asked::default()
    };
    let options = asked.options();
    let expected = Options {
        max_attempts: 7,
        retention: Duration::from_secs(9),
        // Keys are known as long as results, unless something else is asked for.
        dedupe: Duration::from_secs(9),
        ..Options::default()
    };
    assert_eq!(options, expected);
    assert_eq!(asked.check("/q", &options), Ok(()));
}

#[test]
fn a_queue_made_with_other_options_is_refused() {
    let agreed = Asked::default().options();
    let asked = Asked {
        dedupe: Some(agreed.dedupe + Duration::from_secs(1)),
        ..Asked::default()
    };
    let refused = asked.check("/q", &agreed);
    assert!(
        matches!(&refused, Err(Error::OptionMismatch { option, .. }) if option == "dedupe"),
        "{refused:?}"
    );
    // Who asks for a retention alone leaves the rest to the queue.
    let agreed = Options {
        dedupe: agreed.dedupe + Duration::from_secs(1),
        ..agreed
    };
    let asked = Asked {
        retention: Some(agreed.retention),
        ..Asked::default()
    };
    assert_eq!(asked.check("/q", &agreed), Ok(()));
}

#[test]
fn a_pause_is_kept_in_lines_of_its_own() {
    let mut header = Header::new(Options::default());
    header.pause(b"ops:1", " deploy\npaused 0\n");
    let read = Header::parse("/q", &header.data(), 0).unwrap();
    assert_eq!(read, header);
    assert_eq!(read.pause_reason.as_deref(), Some("deploy paused 0"));
    header.pause(b"", "");
    assert_eq!(
        (header.paused, header.paused_by.clone(), header.pause_reason.clone()),
        (true, None, None)
    );
    header.resume();
    assert_eq!(header, Header::new(Options::default()));
}

#[test]
fn what_is_no_header_is_an_error() {
    for (foreign, reason) in [
        ("", "something else"),
        ("127.0.0.1", "something else"),
        ("zookeeper-recipes work queue 1", "another format"),
        ("zookeeper-recipes work queue 3", "another format"),
        ("zookeeper-recipes work queue 2\nrequires time travel", "newer version"),
        ("zookeeper-recipes work queue 2\norder chaos", "cannot be read"),
    ] {
        let error = Header::parse("/q", foreign.as_bytes(), 0).unwrap_err().to_string();
        assert!(error.contains(reason), "{foreign}: {error}");
    }
}

#[test]
fn an_option_that_differs_is_named_with_both_values() {
    let agreed = Options::default();
    assert_eq!(Asked::default().check("/q", &agreed), Ok(()));
    let asked = Asked {
        max_attempts: Some(7),
        ..Asked::default()
    };
    let error = asked.check("/q", &agreed).unwrap_err().to_string();
    assert!(
        error.contains("max_attempts") && error.contains('7') && error.contains('5'),
        "{error}"
    );
}
