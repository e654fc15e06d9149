//! Version negotiation (`OFPT_HELLO`; OpenFlow 1.3.5, 6.3.1 "Connection Setup"
//! and 7.5.1).

use crate::{
    codec::{Put, Reader},
    header::Version,
};

const OFPHET_VERSIONBITMAP: u16 = 1;

/// The versions that one side speaks.
///
/// A hello may hold anything besides its version bitmap, and what cannot be read is to be passed
/// over (OpenFlow 1.3.5, 7.5.1). So its body is kept as it came.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hello {
    body: Vec<u8>,
}

impl Hello {
    /// A hello for these versions.
    pub fn new(versions: &[Version]) -> Self {
        let mut body = Vec::new();
        body.property(OFPHET_VERSIONBITMAP, |out| out.u32(bitmap(versions)));
        Self { body }
    }

    /// Bit `1 << n` stands for version `n`; `None` from a peer that sends
    /// only the greatest version it speaks, in the header.
    pub fn versions(&self) -> Option<u32> {
        let mut r = Reader::new("ofp_hello", &self.body);
        while let Ok((kind, mut element)) = r.property("ofp_hello_elem") {
            if kind == OFPHET_VERSIONBITMAP {
                // More words stand for versions above 31, which do not exist.
                return element.u32().ok();
            }
        }
        None
    }

    /// The version both sides shall speak: the greatest of `ours` that the
    /// peer knows too. `header` is the version in the header of its hello.
    pub fn negotiate(&self, ours: &[Version], header: Version) -> Option<Version> {
        if let Some(theirs) = self.versions() {
            let common = ours.iter().filter(|&&v| theirs & bitmap(&[v]) != 0);
            return common.copied().max();
        }
        // Without a bitmap the smaller of the two greatest counts.
        let smaller = header.min(ours.iter().copied().max()?);
        ours.contains(&smaller).then_some(smaller)
    }

    pub(crate) fn decode(r: &mut Reader<'_>) -> Self {
        Self {
            body: r.take_rest().to_vec(),
        }
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.bytes(&self.body);
    }
}

fn bitmap(versions: &[Version]) -> u32 {
    versions
        .iter()
        .filter(|version| version.0 < 32)
        .fold(0, |bitmap, version| bitmap | 1 << version.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: [Version; 2] = [Version::V1_3, Version::V1_4];

    #[test]
    fn the_greatest_common_version_wins() {
        let hello = Hello::new(&[Version::V1_0, Version::V1_3, Version::V1_5]);
        let version = hello.negotiate(&OURS, Version::V1_5);
        assert_eq!(version, Some(Version::V1_3));
        let hello = Hello::new(&[Version::V1_3, Version::V1_4]);
        let version = hello.negotiate(&OURS, Version::V1_4);
        assert_eq!(version, Some(Version::V1_4));
        let hello = Hello::new(&[Version::V1_0]);
        assert_eq!(hello.negotiate(&OURS, Version::V1_5), None);
    }

    #[test]
    fn without_a_bitmap_the_smaller_header_version_counts() {
        let hello = Hello::default();
        let negotiate = |header| hello.negotiate(&OURS, header);
        assert_eq!(negotiate(Version::V1_5), Some(Version::V1_4));
        assert_eq!(negotiate(Version::V1_3), Some(Version::V1_3));
        assert_eq!(negotiate(Version::V1_0), None);
    }

    /// As Open vSwitch's tests have it: what cannot be read is no reason to hang up.
    #[test]
    fn what_is_not_a_bitmap_is_passed_over() {
        let versions = |body: &[u8]| Hello::decode(&mut Reader::new("ofp_hello", body)).versions();
        let unknown_first = [0, 9, 0, 5, 1, 0, 0, 0, 0, 1, 0, 8, 0, 0, 0, 0x30];
        assert_eq!(versions(&unknown_first), Some(0x30));
        assert_eq!(
            versions(&[0, 1, 0, 8, 0, 0, 0, 0xf0, b'a', b'b']),
            Some(0xf0)
        );
        assert_eq!(versions(b"extra data\n"), None);
        assert_eq!(versions(&[0, 1, 0, 4]), None);
    }
}
