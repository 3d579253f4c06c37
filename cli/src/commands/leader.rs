//! `zkr leader`: who leads.

use clap::Args;
use serde_json::{Value, json};
use zookeeper_recipes::{LeaderElection, Participant};

use super::look;
use crate::failure::Failure;
use crate::globals::{Globals, parse_path};
use crate::output::{bytes, clean, session};

#[derive(Args, Debug)]
pub(crate) struct LeaderArgs {
    /// The election, from the chroot
    #[arg(value_parser = parse_path)]
    path: String,
}

pub(crate) async fn run(globals: &Globals, args: &LeaderArgs) -> Result<u8, Failure> {
    let path = &args.path;
    let all = look(globals, async |zk| {
        Ok(LeaderElection::new(zk, path)?.participants().await?)
    })
    .await?;
    let out = globals.output();
    let leader = all.iter().find(|one| one.is_leader);
    if out.json {
        let candidates = all.len() - usize::from(leader.is_some());
        out.object(
            "leader",
            json!({"path": path, "leader": leader.map(participant), "candidates": candidates}),
        );
        return Ok(u8::from(leader.is_none()));
    }
    let Some(leader) = leader else {
        return Err(Failure::no(format!("{path}: nobody leads")).at(path));
    };
    out.line(&clean(&leader.value));
    out.detail(&format!("term {}, session {}", leader.term, session(leader.session_id)));
    Ok(0)
}

fn participant(one: &Participant) -> Value {
    json!({
        "path": one.path, "token": i64::from(one.term), "identity": bytes(&one.value), "holds": one.is_leader,
        "session": session(one.session_id),
    })
}
