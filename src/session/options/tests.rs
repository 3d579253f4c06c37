use super::*;

#[test]
fn an_identity_is_text_or_bytes() {
    let text = "node-7";
    let identities = [
        ConnectOptions::new().identity(text),
        ConnectOptions::new().identity(text.to_owned()),
        ConnectOptions::new().identity(text.as_bytes()),
        ConnectOptions::new().identity(b"node-7"),
        ConnectOptions::new().identity(text.as_bytes().to_vec()),
        ConnectOptions::new().identity(Bytes::from_static(b"node-7")),
    ];
    for options in identities {
        assert_eq!(options.identity.as_ref(), b"node-7");
    }
}
