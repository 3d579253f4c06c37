//! Bad paths, and values that are too large.

use zookeeper_recipes::zookeeper_client::{Acls, CreateMode};
use zookeeper_recipes::{Error, SharedValue, SharedValueError};
use zookeeper_testkit::within;

use super::{VALUE, clean, get, value};
use crate::support::{PATIENCE, start};

#[tokio::test]
async fn bad_input_is_an_error_naming_the_path() {
    let (fixture, zk) = start("value bad input").await;
    assert!(matches!(SharedValue::new(&zk, "value"), Err(Error::InvalidPath { .. })));
    let large = vec![b'x'; 1024 * 1024 + 1];
    let error = value(&zk).set(large).await.unwrap_err();
    assert!(
        matches!(&error, SharedValueError::Error(Error::TooLarge { path, .. }) if path == VALUE),
        "{error}"
    );
    let below_ephemeral = SharedValue::new(&zk, "/eph/value").unwrap();
    let options = CreateMode::Ephemeral.with_acls(Acls::anyone_all());
    fixture.raw().create("/eph", b"", &options).await.unwrap();
    let error = within(PATIENCE, "refused", below_ephemeral.set("x")).await.unwrap_err();
    assert!(
        matches!(&error, SharedValueError::Error(Error::Layout { .. })),
        "{error}"
    );
    fixture.raw().delete("/eph", None).await.unwrap();
    assert_eq!(get(&value(&zk)).await, None);
    clean(&fixture).await;
}
