//! The guids in the names of a coordinator's nodes.

use std::fmt;

use uuid::{Builder, Uuid, Version};

/// What all guids of one coordinator begin with. So its sessions, old and new, are seen to be one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct GuidPrefix([u8; LENGTH]);

/// Leaves 74 random bits for the guids of one coordinator.
const LENGTH: usize = 6;
/// How long a guid is as text.
const HYPHENATED: usize = 36;
const SIMPLE: usize = 32;

impl GuidPrefix {
    pub(crate) fn new() -> Self {
        Self::first_of(Uuid::new_v4())
    }

    /// A guid, unique for ever. A UUID of version 8, the one for vendors: others name their nodes with version 4.
    pub(crate) fn new_guid(self) -> Uuid {
        let mut bytes = Uuid::new_v4().into_bytes();
        bytes[..LENGTH].copy_from_slice(&self.0);
        Builder::from_custom_bytes(bytes).into_uuid()
    }

    /// The coordinator that named the node at `path`, or of that name; `None` if another library did.
    pub(crate) fn of(path: &str) -> Option<Self> {
        let name = path.rsplit('/').next().unwrap_or_default();
        let name = name.strip_prefix("_c_").unwrap_or(name);
        let guid = |length| Uuid::parse_str(name.get(..length)?).ok();
        let guid = guid(HYPHENATED).or_else(|| guid(SIMPLE))?;
        (guid.get_version() == Some(Version::Custom)).then(|| Self::first_of(guid))
    }

    fn first_of(uuid: Uuid) -> Self {
        let mut first = [0; LENGTH];
        first.copy_from_slice(&uuid.as_bytes()[..LENGTH]);
        Self(first)
    }
}

/// Twelve hexadecimal digits, as the guids begin.
impl fmt::Display for GuidPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guids_of_one_prefix_differ_and_show_it() {
        let (ours, others) = (GuidPrefix::new(), GuidPrefix::new());
        assert_ne!(ours.new_guid(), ours.new_guid());
        for guid in [ours.new_guid(), ours.new_guid()] {
            assert_eq!(GuidPrefix::of(&format!("/a/_c_{guid}-lock-0000000001")), Some(ours));
            assert!(guid.simple().to_string().starts_with(&ours.to_string()));
            assert_eq!(
                GuidPrefix::of(&format!("/a/{}__lock__0000000001", guid.simple())),
                Some(ours)
            );
        }
        assert_ne!(GuidPrefix::of(&format!("_c_{}-lock-", others.new_guid())), Some(ours));
    }
}
