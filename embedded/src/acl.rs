//! Access control: the identities of a connection, and what an access control list lets it do.

use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use crate::wire::{Acl, ErrorCode, Id};

pub(crate) const READ: i32 = 1;
pub(crate) const WRITE: i32 = 2;
pub(crate) const CREATE: i32 = 4;
pub(crate) const DELETE: i32 = 8;
pub(crate) const ADMIN: i32 = 16;
const ALL: i32 = 31;

/// A shared access control list; nodes with equal lists usually share one.
pub(crate) type AclList = Arc<[Acl]>;

/// Everyone may do everything.
pub(crate) fn open() -> AclList {
    static OPEN: LazyLock<AclList> = LazyLock::new(|| world(ALL));
    OPEN.clone()
}

/// Everyone may read.
pub(crate) fn read_only() -> AclList {
    world(READ)
}

fn world(perms: i32) -> AclList {
    Arc::new([Acl {
        perms,
        id: Id::new("world", "anyone"),
    }])
}

/// Checks that one of `ids` has one of the permission bits `perm`.
pub(crate) fn check(acl: &[Acl], perm: i32, ids: &[Id]) -> Result<(), ErrorCode> {
    let granted = acl
        .iter()
        .filter(|entry| entry.perms & perm != 0)
        .any(|entry| match &*entry.id.scheme {
            "world" => &*entry.id.id == "anyone",
            scheme => ids
                .iter()
                .any(|id| &*id.scheme == scheme && matches(scheme, &id.id, &entry.id.id)),
        });
    if granted || acl.is_empty() {
        Ok(())
    } else {
        Err(ErrorCode::NoAuth)
    }
}

/// Validates the list a client sent and expands `auth` to the identities of the client.
pub(crate) fn fix_up(acl: &[Acl], ids: &[Id]) -> Result<AclList, ErrorCode> {
    if let [only] = acl {
        if *only == open()[0] {
            return Ok(open());
        }
    }
    let mut fixed: Vec<Acl> = Vec::new();
    let mut seen: Vec<&Acl> = Vec::new();
    for entry in acl {
        if seen.contains(&entry) {
            continue;
        }
        seen.push(entry);
        match &*entry.id.scheme {
            "world" if &*entry.id.id == "anyone" => fixed.push(entry.clone()),
            "auth" => {
                let before = fixed.len();
                fixed.extend(ids.iter().filter(|id| &*id.scheme == "digest").map(|id| Acl {
                    perms: entry.perms,
                    id: id.clone(),
                }));
                if fixed.len() == before {
                    return Err(ErrorCode::InvalidAcl);
                }
            }
            "digest" if entry.id.id.matches(':').count() == 1 && !entry.id.id.ends_with(':') => {
                fixed.push(entry.clone());
            }
            "ip" if IpRange::parse(&entry.id.id).is_some() => fixed.push(entry.clone()),
            _ => return Err(ErrorCode::InvalidAcl),
        }
    }
    if fixed.is_empty() {
        Err(ErrorCode::InvalidAcl)
    } else {
        Ok(fixed.into())
    }
}

/// The list without the digests, for connections that may read but not administer.
pub(crate) fn masked(acl: &[Acl]) -> Vec<Acl> {
    acl.iter()
        .map(|entry| match (&*entry.id.scheme, entry.id.id.split_once(':')) {
            ("digest", Some((user, _))) => Acl {
                perms: entry.perms,
                id: Id::new("digest", &format!("{user}:x")),
            },
            _ => entry.clone(),
        })
        .collect()
}

/// The identity that `user:password` proves.
pub(crate) fn digest(credential: &[u8]) -> Id {
    let text = String::from_utf8_lossy(credential);
    let user = text.split(':').next().unwrap_or_default();
    let hash = sha1_smol::Sha1::from(text.as_bytes()).digest().bytes();
    Id::new("digest", &format!("{user}:{}", base64(&hash)))
}

/// The name a scheme shows for an identity.
pub(crate) fn user_name(id: &Id) -> &str {
    match &*id.scheme {
        "digest" => id.id.split(':').next().unwrap_or_default(),
        _ => &id.id,
    }
}

fn matches(scheme: &str, id: &str, pattern: &str) -> bool {
    match scheme {
        "digest" => id == pattern,
        "ip" => match (IpRange::parse(pattern), id.parse()) {
            (Some(range), Ok(address)) => range.contains(address),
            _ => false,
        },
        _ => false,
    }
}

struct IpRange {
    base: IpAddr,
    bits: u32,
}

impl IpRange {
    fn parse(text: &str) -> Option<Self> {
        let (base, bits) = match text.split_once('/') {
            Some((base, bits)) => (base, Some(bits.parse().ok()?)),
            None => (text, None),
        };
        let base: IpAddr = base.parse().ok()?;
        let width = if base.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(width);
        (bits <= width).then_some(Self { base, bits })
    }

    fn contains(&self, address: IpAddr) -> bool {
        match (self.base, address) {
            (IpAddr::V4(base), IpAddr::V4(address)) => {
                let mask = u32::MAX.checked_shl(32 - self.bits).unwrap_or(0);
                (u32::from(base) ^ u32::from(address)) & mask == 0
            }
            (IpAddr::V6(base), IpAddr::V6(address)) => {
                let mask = u128::MAX.checked_shl(128 - self.bits).unwrap_or(0);
                (u128::from(base) ^ u128::from(address)) & mask == 0
            }
            _ => false,
        }
    }
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let mut group = [0u8; 4];
        group[1..=chunk.len()].copy_from_slice(chunk);
        let group = u32::from_be_bytes(group);
        for position in 0..4 {
            if position <= chunk.len() {
                text.push(char::from(ALPHABET[(group >> (18 - 6 * position)) as usize & 63]));
            } else {
                text.push('=');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_identity_is_user_and_base64_of_sha1() {
        // What `DigestAuthenticationProvider super:admin` prints.
        assert_eq!(&*digest(b"super:admin").id, "super:xQJmxLMiHGwaqBvst5y6rkB6HQs=");
        assert_eq!(base64(b"a"), "YQ==");
        assert_eq!(base64(b"ab"), "YWI=");
        assert_eq!(base64(b"abc"), "YWJj");
    }

    #[test]
    fn auth_expands_to_the_digests_of_the_client_and_to_nothing_else() {
        let auth = [Acl {
            perms: ALL,
            id: Id::new("auth", ""),
        }];
        let ip = Id::new("ip", "127.0.0.1");
        let alice = digest(b"alice:secret");
        assert_eq!(fix_up(&auth, std::slice::from_ref(&ip)), Err(ErrorCode::InvalidAcl));
        let fixed = fix_up(&auth, &[ip, alice.clone()]).unwrap();
        assert_eq!(&*fixed, [Acl { perms: ALL, id: alice }]);
    }

    #[test]
    fn a_digest_acl_lets_its_owner_in_and_nobody_else() {
        let acl = [Acl {
            perms: READ | WRITE,
            id: digest(b"alice:secret"),
        }];
        assert_eq!(check(&acl, READ, &[digest(b"alice:secret")]), Ok(()));
        assert_eq!(check(&acl, ADMIN, &[digest(b"alice:secret")]), Err(ErrorCode::NoAuth));
        assert_eq!(check(&acl, READ, &[digest(b"alice:guess")]), Err(ErrorCode::NoAuth));
    }

    #[test]
    fn ip_ranges() {
        let localhost = [Id::new("ip", "127.0.0.1")];
        let acl = |pattern: &str| {
            [Acl {
                perms: READ,
                id: Id::new("ip", pattern),
            }]
        };
        assert_eq!(check(&acl("127.0.0.0/8"), READ, &localhost), Ok(()));
        assert_eq!(check(&acl("0.0.0.0/0"), READ, &localhost), Ok(()));
        assert_eq!(check(&acl("127.0.0.2"), READ, &localhost), Err(ErrorCode::NoAuth));
        assert_eq!(fix_up(&acl("127.0.0.0/33"), &[]), Err(ErrorCode::InvalidAcl));
    }
}
