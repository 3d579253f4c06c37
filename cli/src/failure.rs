//! [`Failure`]: why a command did not do what it was asked for, with its exit status.

use std::error::Error as StdError;
use std::fmt;

use serde_json::json;
use zookeeper_recipes::{ConnectError, Error};

/// The answer is no.
pub(crate) const NO: u8 = 1;
/// The command line is wrong.
pub(crate) const USAGE: u8 = 64;
/// What stands there is not what the command expects.
pub(crate) const LAYOUT: u8 = 65;
/// No server answers.
pub(crate) const UNREACHABLE: u8 = 69;
/// A fault of this program.
pub(crate) const INTERNAL: u8 = 70;
/// The hold was lost while the command ran, or the outcome of a write is not known.
pub(crate) const LOST: u8 = 75;
/// The ACL or the credentials do not allow it.
pub(crate) const RIGHTS: u8 = 77;

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The exit status.
    pub(crate) status: u8,
    /// One word for programs.
    pub(crate) kind: &'static str,
    /// The node that it is about.
    pub(crate) path: Option<String>,
    /// What failed; what to do.
    pub(crate) message: String,
}

impl Failure {
    fn new(status: u8, kind: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            kind,
            path: None,
            message: message.into(),
        }
    }

    pub(crate) fn no(message: impl Into<String>) -> Self {
        Self::new(NO, "no", message)
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(USAGE, "usage", message)
    }

    pub(crate) fn layout(message: impl Into<String>) -> Self {
        Self::new(LAYOUT, "layout", message)
    }

    pub(crate) fn unreachable(message: impl Into<String>) -> Self {
        Self::new(UNREACHABLE, "unreachable", message)
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(INTERNAL, "internal", message)
    }

    pub(crate) fn lost(message: impl Into<String>) -> Self {
        Self::new(LOST, "lost", message)
    }

    pub(crate) fn rights(message: impl Into<String>) -> Self {
        Self::new(RIGHTS, "rights", message)
    }

    pub(crate) fn at(mut self, path: &str) -> Self {
        self.path = Some(path.to_owned());
        self
    }

    /// Prints it to standard error, as text and, where asked for, as JSON in the last line.
    pub(crate) fn print(&self, as_json: bool) {
        if as_json {
            let line = json!({
                "schema": "zkr/1", "kind": "error", "status": self.status, "error": self.kind,
                "path": self.path, "message": self.message,
            });
            eprintln!("{line}");
        } else {
            eprintln!("zkr: {self}");
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// The message of an error with those of its sources.
pub(crate) fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let (status, kind) = match &error {
            Error::AuthFailed | Error::Denied { .. } => (RIGHTS, "rights"),
            Error::Layout { .. } | Error::OptionMismatch { .. } => (LAYOUT, "layout"),
            Error::InvalidPath { .. } | Error::TooLarge { .. } => (USAGE, "usage"),
            Error::ConnectionBreaks { .. } => (UNREACHABLE, "unreachable"),
            _ => (INTERNAL, "internal"),
        };
        let path = match &error {
            Error::Denied { path }
            | Error::Layout { path, .. }
            | Error::OptionMismatch { path, .. }
            | Error::InvalidPath { path, .. }
            | Error::TooLarge { path, .. }
            | Error::ConnectionBreaks { path, .. }
            | Error::Client { path, .. } => Some(path.clone()),
            _ => None,
        };
        Self {
            status,
            kind,
            path,
            message: chain(&error),
        }
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        let message = chain(&error);
        match error {
            ConnectError::ConnectString { .. } | ConnectError::Options { .. } => Self::usage(message),
            ConnectError::NoChroot { .. } => Self::layout(message),
            ConnectError::AuthFailed => Self::rights(message),
            ConnectError::Runtime { .. } => Self::internal(message),
            _ => Self::unreachable(message),
        }
    }
}
