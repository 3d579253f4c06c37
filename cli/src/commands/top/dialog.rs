//! What `a` and `b` leave the screen for: nothing is asked or broken by one key.

use zookeeper_recipes::FencingToken;

use crate::commands::look::ask::{self, AskArgs, parse_token};
use crate::commands::look::breaking::{self, BreakArgs};
use crate::commands::look::who::{self, WhoArgs};
use crate::commands::prompt;
use crate::failure::Failure;
use crate::globals::Globals;

/// What is to be done at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Dialog {
    /// The holders that were shown: who comes after them is not asked.
    Ask(String, Vec<FencingToken>),
    Break(String),
}

impl Dialog {
    /// Shows the place, asks what is missing, does it, and waits until the answer was read.
    pub(super) async fn run(&self, globals: &Globals) {
        if let Err(failure) = self.ask(globals).await {
            failure.print(false);
        }
        let _ = prompt("Enter goes back to zkr top: ").await;
    }

    async fn ask(&self, globals: &Globals) -> Result<(), Failure> {
        let path = match self {
            Self::Ask(path, _) | Self::Break(path) => path,
        };
        who::run(globals, &WhoArgs::of(path)).await?;
        match self {
            Self::Ask(_, holders) => {
                let reason = prompt("Ask the holders to make way. Why? (nothing: do not ask) ").await;
                if reason.is_empty() {
                    return Ok(());
                }
                if holders.is_empty() {
                    return Err(Failure::no(format!("{path}: no holder was shown; nobody was asked")));
                }
                for holder in holders {
                    // One that has gone keeps no other from being asked.
                    if let Err(failure) = ask::run(globals, &AskArgs::of(path, *holder, &reason)).await {
                        failure.print(false);
                    }
                }
            }
            Self::Break(_) => {
                let token = prompt("Remove a contender. Its token? (nothing: remove none) ").await;
                if !token.is_empty() {
                    let token = parse_token(&token).map_err(Failure::usage)?;
                    breaking::run(globals, &BreakArgs::of(path, token)).await?;
                }
            }
        }
        Ok(())
    }
}
