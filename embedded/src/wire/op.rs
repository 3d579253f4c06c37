//! The kinds of requests.

use std::fmt;

/// The kind of a request, as clients send it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the names are ZooKeeper's")]
pub enum Op {
    /// The handshake that opens a session or comes back to one.
    Connect,
    Create,
    Create2,
    CreateContainer,
    CreateTtl,
    Delete,
    Exists,
    GetData,
    SetData,
    GetAcl,
    SetAcl,
    GetChildren,
    GetChildren2,
    Sync,
    Ping,
    /// A version check outside of a multi.
    Check,
    Multi,
    MultiRead,
    Reconfig,
    CheckWatches,
    RemoveWatches,
    Auth,
    SetWatches,
    /// A step of SASL, which this server does not have.
    Sasl,
    SetWatches2,
    GetEphemerals,
    GetAllChildrenNumber,
    AddWatch,
    WhoAmI,
    CloseSession,
    /// An operation this server does not know, with its code.
    Unknown(i32),
}

impl Op {
    /// Every way to create a node outside of a multi.
    pub const CREATES: [Op; 4] = [Op::Create, Op::Create2, Op::CreateContainer, Op::CreateTtl];
    /// Both ways to list children.
    pub const LISTS: [Op; 2] = [Op::GetChildren, Op::GetChildren2];
    /// Everything that changes nodes.
    pub const WRITES: [Op; 8] = [
        Op::Create,
        Op::Create2,
        Op::CreateContainer,
        Op::CreateTtl,
        Op::Delete,
        Op::SetData,
        Op::SetAcl,
        Op::Multi,
    ];

    const CODES: [(Op, i32); 29] = [
        (Op::Create, 1),
        (Op::Delete, 2),
        (Op::Exists, 3),
        (Op::GetData, 4),
        (Op::SetData, 5),
        (Op::GetAcl, 6),
        (Op::SetAcl, 7),
        (Op::GetChildren, 8),
        (Op::Sync, 9),
        (Op::Ping, 11),
        (Op::GetChildren2, 12),
        (Op::Check, 13),
        (Op::Multi, 14),
        (Op::Create2, 15),
        (Op::Reconfig, 16),
        (Op::CheckWatches, 17),
        (Op::RemoveWatches, 18),
        (Op::CreateContainer, 19),
        (Op::CreateTtl, 21),
        (Op::MultiRead, 22),
        (Op::Auth, 100),
        (Op::SetWatches, 101),
        (Op::Sasl, 102),
        (Op::GetEphemerals, 103),
        (Op::GetAllChildrenNumber, 104),
        (Op::SetWatches2, 105),
        (Op::AddWatch, 106),
        (Op::WhoAmI, 107),
        (Op::CloseSession, -11),
    ];

    /// The operation with this code on the wire.
    pub fn from_code(code: i32) -> Self {
        Self::CODES
            .iter()
            .find(|(_, known)| *known == code)
            .map_or(Op::Unknown(code), |(op, _)| *op)
    }

    /// The code on the wire; the handshake has none and answers 0.
    pub fn code(self) -> i32 {
        match self {
            Op::Unknown(code) => code,
            op => Self::CODES
                .iter()
                .find(|(known, _)| *known == op)
                .map_or(0, |(_, code)| *code),
        }
    }
}

/// A kind stands for itself where several are taken.
impl IntoIterator for Op {
    type Item = Op;
    type IntoIter = std::iter::Once<Op>;

    fn into_iter(self) -> Self::IntoIter {
        std::iter::once(self)
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_round_trip() {
        for (op, code) in Op::CODES {
            assert_eq!(Op::from_code(code), op);
            assert_eq!(op.code(), code);
        }
        assert_eq!(Op::from_code(4711), Op::Unknown(4711));
        assert_eq!(Op::Unknown(4711).code(), 4711);
    }
}
