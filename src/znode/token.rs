//! [`FencingToken`]: the number that tells an older holder from a newer one.

use std::fmt;
use std::str::FromStr;

use crate::error::classify;

/// A number that grows with every grant on a path: the zxid at which the holder's node was created.
///
/// Give it to the resource that the lock protects and let that refuse a number older than the newest it has seen:
/// then a holder that was stalled past its session cannot overwrite the work of its successor, whatever it believes
/// ([Kleppmann 2016](https://martin.kleppmann.com/2016/02/08/how-to-do-distributed-locking.html)). Sequence numbers
/// of nodes would not do: they restart when the lock's directory is removed, and wrap.
///
/// # Examples
/// ```no_run
/// # async fn example(guard: zookeeper_recipes::FairLockGuard) -> Result<(), Box<dyn std::error::Error>> {
/// use zookeeper_recipes::FencingToken;
///
/// // What a BIGINT column takes, and what is compared with it.
/// let column: i64 = guard.token().as_i64();
/// assert!(FencingToken::from_i64(column) <= guard.token());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct FencingToken(i64);

impl FencingToken {
    /// The token as a number, for example for a column of a database.
    pub const fn as_i64(self) -> i64 {
        self.0
    }

    /// A token from a number, for example out of a database.
    pub const fn from_i64(number: i64) -> Self {
        Self(number)
    }
}

impl From<i64> for FencingToken {
    fn from(number: i64) -> Self {
        Self(number)
    }
}

impl From<FencingToken> for i64 {
    fn from(token: FencingToken) -> Self {
        token.0
    }
}

/// The decimal number, as databases show it.
impl fmt::Display for FencingToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The text is no fencing token: a token is a decimal number of 64 bits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no fencing token; expected a decimal number of 64 bits")]
pub struct InvalidToken {
    /// The text as given.
    pub text: String,
}

classify!(InvalidToken);

impl FromStr for FencingToken {
    type Err = InvalidToken;

    fn from_str(text: &str) -> Result<Self, InvalidToken> {
        let number = text.parse().map_err(|_| InvalidToken { text: text.to_owned() })?;
        Ok(Self(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_written_and_read_as_a_decimal_number() {
        let token = FencingToken::from(-17);
        assert_eq!(token.to_string().parse(), Ok(token));
        assert_eq!(i64::from(token), -17);
        let text = "0x11".to_owned();
        assert_eq!(text.parse::<FencingToken>(), Err(InvalidToken { text }));
    }

    #[cfg(feature = "serde")]
    #[test]
    fn a_token_is_a_plain_number_in_json() {
        let token = FencingToken::from(1 << 40);
        let json = serde_json::to_string(&token).unwrap();
        assert_eq!(json, "1099511627776");
        assert_eq!(serde_json::from_str::<FencingToken>(&json).unwrap(), token);
        assert!(serde_json::from_str::<FencingToken>("\"17\"").is_err());
    }
}
