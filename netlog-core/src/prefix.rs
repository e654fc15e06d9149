//! IP prefixes as security group rules write them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An address family: Neutron's `ethertype`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Ethertype {
    /// Internet Protocol version 4.
    IPv4,
    /// Internet Protocol version 6.
    IPv6,
}

impl Ethertype {
    /// The family of an address.
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::IPv4,
            IpAddr::V6(_) => Self::IPv6,
        }
    }

    /// Bits in an address: 32 or 128.
    pub const fn bits(self) -> u8 {
        match self {
            Self::IPv4 => 32,
            Self::IPv6 => 128,
        }
    }
}

/// As Neutron writes it.
impl fmt::Display for Ethertype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::IPv4 => "IPv4",
            Self::IPv6 => "IPv6",
        })
    }
}

/// A set of addresses given by its leading bits.
///
/// Host bits are allowed in the input and have no meaning
/// (`172.20.5.200/26` is `172.20.5.192/26`); a bare address is a prefix of full length.
///
/// ```
/// use netlog_core::prefix::IpPrefix;
/// let prefix: IpPrefix = "172.20.5.200/26".parse()?;
/// assert_eq!(prefix.to_string(), "172.20.5.192/26");
/// assert!(prefix.contains("172.20.5.255".parse().unwrap()));
/// # Ok::<(), netlog_core::prefix::PrefixError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IpPrefix {
    family: Ethertype,
    /// The network address in the low bits, host bits cleared.
    bits: u128,
    length: u8,
}

/// Why a text is not a prefix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an IP address or an IP prefix such as 10.0.0.0/8 or fd00::/64")]
pub struct PrefixError(String);

impl IpPrefix {
    /// The prefix of `length` bits that holds `address`; `None` when longer than the address.
    pub fn new(address: IpAddr, length: u8) -> Option<Self> {
        let family = Ethertype::of(address);
        let host_bits = family.bits().checked_sub(length)?;
        let bits = address_bits(address);
        let bits = bits.checked_shr(host_bits.into()).unwrap_or(0);
        Some(Self {
            family,
            bits: bits.checked_shl(host_bits.into()).unwrap_or(0),
            length,
        })
    }

    /// The address family.
    pub const fn family(&self) -> Ethertype {
        self.family
    }

    /// Number of leading bits that count.
    pub const fn length(&self) -> u8 {
        self.length
    }

    /// The lowest address of the prefix.
    pub fn network(&self) -> IpAddr {
        match self.family {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "an IPv4 prefix keeps its 32 bits low"
            )]
            Ethertype::IPv4 => IpAddr::V4(Ipv4Addr::from_bits(self.bits as u32)),
            Ethertype::IPv6 => IpAddr::V6(Ipv6Addr::from_bits(self.bits)),
        }
    }

    /// Whether `address` lies in the prefix; never across families.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.family == Ethertype::of(address)
            && address_bits(address)
                .checked_shr((self.family.bits() - self.length).into())
                .unwrap_or(0)
                == self
                    .bits
                    .checked_shr((self.family.bits() - self.length).into())
                    .unwrap_or(0)
    }
}

/// An address as an integer.
pub(crate) const fn address_bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits() as u128,
        IpAddr::V6(address) => address.to_bits(),
    }
}

impl FromStr for IpPrefix {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let error = || PrefixError(text.to_owned());
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length.parse().map_err(|_| error())?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| error())?;
        let length = length.unwrap_or_else(|| Ethertype::of(address).bits());
        Self::new(address, length).ok_or_else(error)
    }
}

impl fmt::Display for IpPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network(), self.length)
    }
}

impl fmt::Debug for IpPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for IpPrefix {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for IpPrefix {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contains_agrees_with_the_bits() {
        for (prefix, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("0.0.0.0/0", "255.255.255.255", "::"),
            ("::/0", "ffff::", "0.0.0.0"),
            ("10.1.0.11", "10.1.0.11", "10.1.0.12"),
            ("fd01::11/64", "fd01::ffff", "fd01:0:0:1::"),
            ("172.20.5.200/26", "172.20.5.192", "172.20.5.191"),
        ] {
            let prefix: IpPrefix = prefix.parse().unwrap();
            assert!(
                prefix.contains(inside.parse().unwrap()),
                "{prefix} {inside}"
            );
            assert!(
                !prefix.contains(outside.parse().unwrap()),
                "{prefix} {outside}"
            );
        }
    }

    #[test]
    fn nonsense_is_refused_with_what_is_allowed() {
        for text in [
            "",
            "10.0.0.0/33",
            "10.0.0.0/-1",
            "fd01::/129",
            "ten",
            "10.0.0.0/8/8",
        ] {
            let error = text.parse::<IpPrefix>().unwrap_err().to_string();
            assert!(error.contains("10.0.0.0/8 or fd00::/64"), "{error}");
        }
    }
}
