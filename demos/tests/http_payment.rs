//! Drives the example `http_payment` as its callers and its operator do.

#![allow(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::io;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};
use zookeeper_embedded::{Op, Server};
use zookeeper_testkit::{eventually, within};

const PATIENCE: Duration = Duration::from_secs(20);

struct Service {
    zookeeper: Server,
    process: Child,
    output: Lines<BufReader<ChildStdout>>,
    address: String,
}

impl Service {
    async fn start() -> Self {
        let zookeeper = Server::start().await.unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_http_payment"))
            .env("ZOOKEEPER_CONNECT", zookeeper.connect_string())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap()).lines();
        let line = within(PATIENCE, "the service's address", output.next_line()).await;
        let address = line.unwrap().unwrap().replace("http://", "");
        Self {
            zookeeper,
            process,
            output,
            address,
        }
    }

    /// The status and the body of the answer to a payment.
    async fn settle(&self, account: u32, amount: i32) -> io::Result<(u16, String)> {
        let mut stream = TcpStream::connect(&self.address).await?;
        let request = format!(
            "POST /accounts/{account}/settle/{amount} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            self.address
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        within(PATIENCE, "an answer", stream.read_to_string(&mut answer)).await?;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok((head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned()))
    }

    fn terminate(&self) {
        let pid = Pid::from_raw(self.process.id().unwrap().try_into().unwrap()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
    }

    /// Waits for the end of the process, which leaves neither a session nor a contender.
    async fn ends(mut self) {
        let last = within(PATIENCE, "the service's last line", self.output.next_line()).await;
        assert_eq!(last.unwrap().as_deref(), Some("closed"));
        let status = within(PATIENCE, "the service's end", self.process.wait()).await;
        assert!(status.unwrap().success());
        assert_eq!(
            self.zookeeper.sessions(),
            [],
            "the session is closed, not left to its timeout"
        );
        let left = self.zookeeper.nodes("/accounts");
        assert!(!left.iter().any(|path| path.contains("lock-")), "{left:?}");
    }
}

#[tokio::test]
async fn payments_of_one_account_are_settled_in_turn() {
    let service = Service::start().await;
    let (first, second) = tokio::join!(service.settle(17, 10), service.settle(17, 5));
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!((first.0, second.0), (200, 200), "{first:?} {second:?}");
    let whole = [&first.1, &second.1]
        .iter()
        .filter(|body| body.starts_with("balance 15,"))
        .count();
    assert_eq!(whole, 1, "the second of the two sees the first: {first:?} {second:?}");
    assert_eq!(service.settle(18, 1).await.unwrap().0, 200);
    assert_eq!(
        service.settle(17, 0).await.unwrap().1.split(',').next(),
        Some("balance 15")
    );
    service.terminate();
    service.ends().await;
}

#[tokio::test]
async fn a_request_is_answered_before_the_service_ends() {
    let service = Service::start().await;
    let answer = tokio::join!(service.settle(17, 10), async {
        eventually(PATIENCE, "the payment has the lock", async || {
            !service.zookeeper.requests().op([Op::Create2]).is_empty()
        })
        .await;
        service.terminate();
        // It serves what has begun, and takes nothing new.
        eventually(PATIENCE, "new requests are refused", async || {
            service.settle(18, 1).await.is_err()
        })
        .await;
    });
    let (status, body) = answer.0.unwrap();
    assert_eq!(status, 200, "{body}");
    assert!(body.starts_with("balance 10,"), "{body}");
    service.ends().await;
}

#[tokio::test]
async fn a_caller_that_hangs_up_leaves_no_lock() {
    let service = Service::start().await;
    let mut caller = TcpStream::connect(&service.address).await.unwrap();
    caller
        .write_all(b"POST /accounts/17/settle/10 HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    eventually(PATIENCE, "the payment has the lock", async || {
        !service.zookeeper.requests().op([Op::Create2]).is_empty()
    })
    .await;
    drop(caller);
    eventually(PATIENCE, "the lock is free", async || {
        let nodes = service.zookeeper.nodes("/accounts");
        !nodes.iter().any(|path| path.contains("lock-"))
    })
    .await;
    // A node that is left in line would cost this one its two seconds.
    let (status, body) = service.settle(17, 5).await.unwrap();
    assert_eq!(status, 200, "{body}");
    service.terminate();
    service.ends().await;
}
