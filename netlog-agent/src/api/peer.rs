//! Who is at the other end of a connection.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use netlog_core::prefix::{IpPrefix, PrefixError};
use rustix::process::{getegid, geteuid};
use tokio::net::unix::UCred;

/// The other end of a connection, as the kernel knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// The agent's own process, without a connection.
    InProcess,
    /// A TCP address.
    Tcp(SocketAddr),
    /// A process of this host, on a Unix socket (`SO_PEERCRED`).
    Unix {
        /// Its user when it connected.
        uid: u32,
        /// Its primary group when it connected.
        gid: u32,
        /// Its process id.
        pid: Option<i32>,
    },
}

impl Peer {
    /// The process that these credentials are of.
    pub(super) fn of(credentials: &UCred) -> Self {
        Self::Unix {
            uid: credentials.uid(),
            gid: credentials.gid(),
            pid: credentials.pid(),
        }
    }

    /// Whether the kernel does not say that it is someone else: on a Unix socket, whether it is
    /// root, or of the agent's own user or primary group.
    pub(super) fn is_ours(self) -> bool {
        match self {
            Self::InProcess | Self::Tcp(_) => true,
            Self::Unix { uid, gid, .. } => {
                uid == 0 || uid == geteuid().as_raw() || gid == getegid().as_raw()
            }
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InProcess => f.write_str("localhost"),
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix { uid, gid, pid } => {
                write!(f, "unix:uid={uid},gid={gid}")?;
                pid.map_or(Ok(()), |pid| write!(f, ",pid={pid}"))
            }
        }
    }
}

/// Hosts whose word about callers is taken.
///
/// ```
/// use netlog_agent::api::TrustedPeers;
///
/// let trusted: TrustedPeers = "192.0.2.7, 2001:db8::/64".parse()?;
/// assert!("192.0.2.0/33".parse::<TrustedPeers>().is_err());
/// # Ok::<(), netlog_core::prefix::PrefixError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedPeers(Vec<IpPrefix>);

impl TrustedPeers {
    /// Whether it is one of them. Whoever may open a Unix socket is.
    pub(super) fn contain(&self, peer: Peer) -> bool {
        match peer {
            Peer::InProcess | Peer::Unix { .. } => true,
            Peer::Tcp(address) => {
                let address = address.ip().to_canonical();
                self.0.iter().any(|prefix| prefix.contains(address))
            }
        }
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromStr for TrustedPeers {
    type Err = PrefixError;

    /// Addresses and prefixes, separated by commas.
    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let parts = text.split(',').map(str::trim);
        parts
            .filter(|part| !part.is_empty())
            .map(str::parse)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_says_who_is_ours() {
        let (own_user, own_group) = (geteuid().as_raw(), getegid().as_raw());
        let unix = |uid, gid| Peer::Unix {
            uid,
            gid,
            pid: Some(1),
        };
        let (other_user, other_group) = (own_user ^ 0x7000, own_group ^ 0x7000);
        assert!(unix(0, other_group).is_ours());
        assert!(unix(own_user, other_group).is_ours());
        assert!(unix(other_user, own_group).is_ours());
        assert!(!unix(other_user, other_group).is_ours());
    }

    #[test]
    fn only_hosts_of_the_list_are_trusted() {
        let trusted: TrustedPeers = "192.0.2.7,2001:db8::/64,".parse().unwrap();
        let tcp = |address: &str| Peer::Tcp(address.parse().unwrap());
        for (peer, expected) in [
            ("192.0.2.7:5", true),
            ("[::ffff:192.0.2.7]:5", true),
            ("192.0.2.8:5", false),
            ("[2001:db8::1]:5", true),
            ("[2001:db8:1::1]:5", false),
        ] {
            assert_eq!(trusted.contain(tcp(peer)), expected, "{peer}");
        }
        assert!(!TrustedPeers::default().contain(tcp("127.0.0.1:5")));
    }
}
