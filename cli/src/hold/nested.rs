//! `ZK_LOCKS`: what the ancestors of this command hold.

use serde_json::{Value, json};

use crate::failure::Failure;

const VARIABLE: &str = "ZK_LOCKS";

/// The holds of the ancestors, outermost first.
pub(crate) fn held_by_ancestors() -> Vec<Value> {
    let text = std::env::var(VARIABLE).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

/// Refuses a place that an ancestor holds: waiting for it would never end.
pub(crate) fn check(ensemble: &str, path: &str, mode: &str) -> Result<(), Failure> {
    let ensemble = normal(ensemble);
    for held in held_by_ancestors() {
        let shares = mode == "permit" || (mode == "shared" && held["mode"] == "shared");
        if held["ensemble"] == ensemble.as_str() && held["path"] == path && !shares {
            let pid = held["pid"].as_u64().unwrap_or_default();
            return Err(Failure::usage(format!(
                "{path} is already held by pid {pid}, an ancestor of this command; locks are not reentrant"
            ))
            .at(path));
        }
    }
    Ok(())
}

/// The variable for a command that runs under one more hold, which may be of several paths.
pub(crate) fn with(
    ensemble: &str,
    (path, also): (&String, &[String]),
    mode: &str,
    token: i64,
) -> (&'static str, String) {
    let mut all = held_by_ancestors();
    let held = std::iter::once(path).chain(also).map(|path| {
        json!({
            "ensemble": normal(ensemble), "path": path, "mode": mode, "token": token, "pid": std::process::id(),
        })
    });
    all.extend(held);
    (VARIABLE, Value::from(all).to_string())
}

/// A connect string with its hosts in order.
fn normal(ensemble: &str) -> String {
    let (hosts, chroot) = ensemble.split_once('/').unwrap_or((ensemble, ""));
    let mut hosts: Vec<&str> = hosts.split(',').collect();
    hosts.sort_unstable();
    format!("{}/{chroot}", hosts.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_hosts_does_not_matter() {
        assert_eq!(normal("b:1,a:1/x"), normal("a:1,b:1/x"));
        assert_ne!(normal("a:1/x"), normal("a:1/y"));
    }
}
