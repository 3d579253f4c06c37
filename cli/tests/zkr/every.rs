//! What holds of every command: wrong input, missing rights, closed pipes, and that nothing is left.

use std::process::Stdio;

use futures::future::join_all;
use serde_json::Value;
use tokio::io::AsyncReadExt as _;
use zookeeper_recipes::zookeeper_client::{Acl, Acls, AuthId, CreateMode, Permission};
use zookeeper_testkit::Fixture;

use crate::harness::{Done, Scratch, end, signal, start, zkr, zkr_at, zkr_ok};
use crate::looking::a_line;

/// Each command that talks to an ensemble; `PATH` stands for a path.
const COMMANDS: [&str; 29] = [
    "lock PATH -- true",
    "read PATH -- true",
    "write PATH -- true",
    "permit PATH --of 2 -- true",
    "elect PATH -- true",
    "lock PATH --hold",
    "ls PATH",
    "who PATH",
    "watch PATH",
    "top PATH --once",
    "ask PATH --reason deploy",
    "break PATH --token 7 --yes",
    "doctor PATH",
    "leader PATH",
    "group PATH",
    "value get PATH",
    "value set PATH 1",
    "value watch PATH",
    "barrier status PATH",
    "barrier set PATH --yes",
    "barrier lift PATH --yes",
    "barrier wait PATH --wait 1s",
    "queue push PATH a",
    "queue pop PATH -n",
    "queue stats PATH",
    "queue dead PATH",
    "queue purge PATH --all --yes",
    "queue pause PATH",
    "queue resume PATH",
];

fn words<'a>(command: &'a str, path: &'a str) -> Vec<&'a str> {
    command
        .split(' ')
        .map(|word| if word == "PATH" { path } else { word })
        .collect()
}

async fn run_at(connect: &str, arguments: &[&str]) -> Done {
    end(zkr_at(connect, arguments).spawn().expect("zkr was built")).await
}

#[tokio::test]
async fn no_command_hangs_without_a_server() {
    for commands in COMMANDS.chunks(6) {
        let all = commands.iter().map(async |command| {
            let mut arguments = vec!["--json", "-t", "1s"];
            arguments.extend(words(command, "/p"));
            let done = run_at("127.0.0.1:1", &arguments).await;
            assert_eq!((done.status, done.out.as_str()), (69, ""), "{command}: {done:?}");
            let error: Value = serde_json::from_str(done.err.lines().last().unwrap_or_default()).expect("it is JSON");
            crate::schema::check(&error);
        });
        join_all(all).await;
    }
}

#[tokio::test]
async fn no_command_takes_a_wrong_path() {
    for commands in COMMANDS.chunks(6) {
        let all = commands.iter().map(async |command| {
            let done = run_at("127.0.0.1:1", &words(command, "/a//b")).await;
            assert_eq!(done.status, 64, "{command}: {done:?}");
            assert!(done.err.contains("did you mean /a/b?"), "{command}: {done:?}");
        });
        join_all(all).await;
    }
}

#[tokio::test]
async fn missing_rights_are_named_by_each_command() {
    let fixture = Fixture::new("missing_rights_are_named_by_each_command").await;
    let nobody = [Acl::new(Permission::ALL, AuthId::new("digest", "nobody:x"))];
    let options = CreateMode::Persistent.with_acls(Acls::new(&nobody));
    fixture.raw().create("/p", b"", &options).await.expect("it is new");
    for command in COMMANDS {
        // These show what they are not allowed to see, or need no right of the node itself.
        let shows = ["ls", "top", "doctor"].iter().any(|verb| command.starts_with(verb));
        if shows || command.starts_with("barrier") {
            continue;
        }
        let done = zkr(&fixture, &words(command, "/p")).await;
        assert_eq!(done.status, 77, "{command}: {done:?}");
        assert!(done.err.contains("/p"), "{command}: {done:?}");
    }
    let listed = zkr_ok(&fixture, &["ls", "/"]).await;
    assert!(listed.contains("no rights"), "{listed}");
}

#[tokio::test]
async fn a_foreign_layout_is_refused_by_what_writes() {
    let fixture = Fixture::new("a_foreign_layout_is_refused_by_what_writes").await;
    let persistent = CreateMode::Persistent.with_acls(Acls::anyone_all());
    fixture
        .raw()
        .create("/f", b"theirs", &persistent)
        .await
        .expect("it is new");
    fixture.raw().create("/f/a", b"", &persistent).await.expect("it is new");
    for command in [
        "queue push PATH a",
        "queue pop PATH -n",
        "queue stats PATH",
        "queue purge PATH --all --yes",
        "who PATH",
        "ask PATH --reason deploy",
        "break PATH --token 7 --yes",
        "permit PATH --of 2 -- true",
    ] {
        let done = zkr(&fixture, &words(command, "/f")).await;
        assert_eq!(done.status, 65, "{command}: {done:?}");
    }
    let (data, stat) = fixture.raw().get_data("/f").await.expect("it is there");
    assert_eq!(
        (data.as_slice(), stat.version, stat.num_children),
        (&b"theirs"[..], 0, 1)
    );
}

#[tokio::test]
async fn every_listing_ends_silently_at_a_closed_pipe() {
    let fixture = Fixture::new("every_listing_ends_silently_at_a_closed_pipe").await;
    let scratch = Scratch::new();
    let line = a_line(&fixture, &scratch).await;
    zkr_ok(&fixture, &["queue", "push", "/pay/q", "a"]).await;
    for command in [
        "ls /pay",
        "ls /pay --json",
        "who /pay/l",
        "top /pay",
        "doctor /pay --fail-on error",
        "queue stats /pay/q",
        "queue pop /pay/q -n",
        "completion bash",
        "man",
    ] {
        let arguments = words(command, "");
        let (reader, writer) = std::io::pipe().expect("a pipe can be made");
        // Before there is anything to print.
        drop(reader);
        let mut command_line = zkr_at(&fixture.connect_string(), &arguments);
        let child = command_line.stdout(writer).spawn().expect("zkr was built");
        drop(command_line);
        let done = end(child).await;
        assert_eq!((done.status, done.err.as_str()), (141, ""), "{command}: {done:?}");
    }
    // What could not be printed is not acknowledged.
    let again = zkr_ok(&fixture, &["queue", "pop", "/pay/q", "--wait", "20s"]).await;
    assert_eq!(again, "a");
    for child in line.into_iter().rev() {
        signal(&child, "TERM");
        let _ = end(child).await;
    }
}

#[tokio::test]
async fn a_held_command_may_close_its_pipe() {
    let fixture = Fixture::new("a_held_command_may_close_its_pipe").await;
    let mut command = zkr_at(&fixture.connect_string(), &["lock", "/l", "--", "yes"]);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("zkr was built");
    let mut out = child.stdout.take().expect("it is piped");
    let mut some = [0; 64];
    out.read_exact(&mut some).await.expect("it writes");
    drop(out);
    let done = end(child).await;
    assert_eq!(done.status, 141, "{done:?}");
    fixture.assert_no_nodes_left(&["/l"]).await;
}

#[tokio::test]
async fn no_command_leaves_a_node_of_its_own() {
    let fixture = Fixture::new("no_command_leaves_a_node_of_its_own").await;
    let mut followed = Vec::new();
    for command in COMMANDS {
        let path = format!(
            "/p/{}",
            command.split(" PATH").next().unwrap_or_default().replace(' ', "-")
        );
        let arguments = words(command, &path);
        if command.contains("watch") {
            followed.push(start(&fixture, &arguments));
        } else {
            let _ = zkr(&fixture, &arguments).await;
        }
    }
    for child in followed {
        signal(&child, "TERM");
        assert_eq!(end(child).await.status, 143);
    }
    assert!(
        fixture.ephemerals().await.is_empty(),
        "{:?}",
        fixture.ephemerals().await
    );
}
