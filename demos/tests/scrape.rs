//! The metrics of `demos --bin metrics`, as Prometheus sees them.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running service, which ends with the test.
struct Service(Child);

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn scrape(address: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("the service listens");
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: {address}\r\n\r\n").expect("it reads the request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer has a head");
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    body.to_owned()
}

/// The value of the series whose name and labels are all of these.
fn value(text: &str, name: &str, labels: &[&str]) -> Option<f64> {
    let is_it = |line: &&str| {
        let (series, rest) = line.split_once(['{', ' ']).unwrap_or_default();
        series == name && labels.iter().all(|label| rest.contains(label))
    };
    let line = text.lines().find(is_it)?;
    line.rsplit_once(' ')?.1.parse().ok()
}

#[test]
fn prometheus_scrapes_a_service() {
    let service = Command::new(env!("CARGO_BIN_EXE_metrics"))
        .env_remove("ZOOKEEPER_CONNECT")
        .stdout(Stdio::piped())
        .spawn();
    let mut service = Service(service.unwrap());
    let mut line = String::new();
    let out = service.0.stdout.take().unwrap();
    BufReader::new(out).read_line(&mut line).unwrap();
    let address = line
        .trim()
        .strip_prefix("http://")
        .and_then(|rest| rest.strip_suffix("/metrics"));
    let address = address.unwrap_or_else(|| panic!("{line}"));

    let began = Instant::now();
    let settled = ["name=\"settlement\"", "outcome=\"done\""];
    let text = loop {
        let text = scrape(address);
        // More than once around all accounts.
        if value(&text, "zookeeper_recipes_queue_settled", &settled).is_some_and(|items| items > 20.0) {
            break text;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "nothing was settled: {text}");
        std::thread::sleep(Duration::from_millis(50));
    };
    let of = |name: &str, labels: &[&str]| {
        value(&text, &format!("zookeeper_recipes_{name}"), labels)
            .unwrap_or_else(|| panic!("{name} {labels:?}: {text}"))
    };
    let locks = ["recipe=\"lock\"", "name=\"settlement\"", "outcome=\"granted\""];
    assert!(of("acquire_duration_count", &locks) >= 20.0);
    assert!(of("acquire_duration_bucket", &["recipe=\"lock\"", "le=\"3600\""]) >= 20.0);
    assert!((of("election_leading", &["name=\"settlement\""]) - 1.0).abs() < f64::EPSILON);
    assert!((of("sessions", &[]) - 1.0).abs() < f64::EPSILON);
    assert!(of("queue_items", &["state=\"ready\""]) >= 0.0);
    assert!(of("request_duration_count", &["operation=\"transaction\""]) > 0.0);
    assert!(
        text.contains("# HELP zookeeper_recipes_losses") || text.contains("# HELP zookeeper_recipes_holds"),
        "{text}"
    );
    // One series for all accounts.
    assert!(!text.contains("/demo-metrics"), "a label is a path: {text}");
    assert_eq!(
        text.lines()
            .filter(|line| line.contains("acquire_duration_count") && line.contains("recipe=\"lock\""))
            .count(),
        1
    );
}
