//! What a failed request tells: refused by the server, or unknown.

use zookeeper_client::Error;

/// What is known of a request that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReplyStatus {
    /// The server answered: it was not applied.
    Refused,
    /// The server answered that it should be sent again later.
    Busy,
    /// No answer came: it may have been applied.
    Unknown,
}

/// Classifies by whether the server answered, since a request in flight at a cut fails with whatever the link died of
/// (`ConnectionLoss`, an I/O error, a silence), not with `ConnectionLoss` alone.
pub(crate) fn classify(error: &Error) -> ReplyStatus {
    match error {
        Error::BadArguments(_)
        | Error::NoNode
        | Error::NoAuth
        | Error::BadVersion
        | Error::NoChildrenForEphemerals
        | Error::NodeExists
        | Error::NotEmpty
        | Error::InvalidAcl
        | Error::NotReadOnly
        | Error::NoWatcher
        | Error::QuotaExceeded
        | Error::MarshallingError
        | Error::Unimplemented
        | Error::ReconfigDisabled
        | Error::RuntimeInconsistent => ReplyStatus::Refused,
        // System and runtime errors, data inconsistency, connection loss, a time-out of the operation or of the request:
        // answers that leave it open. ClickHouse Keeper sends some of them when it has no quorum.
        Error::UnexpectedErrorCode(-4..=-1 | -7 | -122) => ReplyStatus::Unknown,
        Error::UnexpectedErrorCode(_) => ReplyStatus::Refused,
        Error::Throttled | Error::SessionMoved => ReplyStatus::Busy,
        _ => ReplyStatus::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_answer_of_the_server_is_certain() {
        assert_eq!(classify(&Error::NodeExists), ReplyStatus::Refused);
        assert_eq!(classify(&Error::Throttled), ReplyStatus::Busy);
        for unknown in [
            Error::UnexpectedErrorCode(-7),
            Error::ConnectionLoss,
            Error::Timeout,
            Error::SessionExpired,
            Error::ClientClosed,
        ] {
            assert_eq!(classify(&unknown), ReplyStatus::Unknown, "{unknown}");
        }
    }
}
