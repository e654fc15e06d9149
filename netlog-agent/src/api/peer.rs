//! Who is at the other end of a connection.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use axum::http::HeaderMap;
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

/// Where a request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The other end of the connection.
    Peer(Peer),
    /// Where a proxy, which is at the other end of the connection, has it from.
    Forwarded(IpAddr),
}

impl Origin {
    /// The host or user that it comes from, whatever connection it used.
    pub(super) fn host(&self) -> String {
        match self {
            Self::Peer(Peer::Tcp(address)) => address.ip().to_canonical().to_string(),
            Self::Peer(Peer::Unix { uid, .. }) => format!("unix:uid={uid}"),
            Self::Peer(Peer::InProcess) | Self::Forwarded(_) => self.to_string(),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peer(peer) => peer.fmt(f),
            Self::Forwarded(address) => address.fmt(f),
        }
    }
}

/// Who asked a proxy (no standard but a custom; RFC 7239 section 7.4 tells of it).
const FORWARDED_FOR: &str = "x-forwarded-for";

/// The address of a hop, which some proxies give with the port.
fn address(hop: &str) -> Option<IpAddr> {
    let bare = || hop.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let with_port = || hop.parse().ok().map(|address: SocketAddr| address.ip());
    let address = hop.parse().ok().or_else(bare).or_else(with_port);
    address.map(|address| address.to_canonical())
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

    /// Where a request comes from. One of these hosts says in `X-Forwarded-For` whom it speaks
    /// for: each proxy on the way adds the address that it was asked from, at the end. So the
    /// caller is the last one that is not a trusted proxy itself; what stands before that, callers
    /// may have made up.
    pub(super) fn origin(&self, headers: &HeaderMap, peer: Peer) -> Origin {
        if !self.contain(peer) {
            return Origin::Peer(peer);
        }
        let mut origin = Origin::Peer(peer);
        let values = headers.get_all(FORWARDED_FOR).into_iter().rev();
        for hop in values.flat_map(|value| value.to_str().unwrap_or("?").rsplit(',')) {
            let Some(address) = address(hop.trim()) else {
                break;
            };
            origin = Origin::Forwarded(address);
            if !self.0.iter().any(|prefix| prefix.contains(address)) {
                break;
            }
        }
        origin
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

    #[test]
    fn a_trusted_proxy_says_whom_it_speaks_for() {
        let trusted: TrustedPeers = "192.0.2.7,192.0.2.8".parse().unwrap();
        let proxy = "192.0.2.7:5";
        for (peer, forwarded, expected) in [
            (proxy, &["203.0.113.9"][..], "203.0.113.9"),
            (proxy, &["203.0.113.9:4711"], "203.0.113.9"),
            (proxy, &["[2001:db8::9]:4711"], "2001:db8::9"),
            (proxy, &["2001:db8::9"], "2001:db8::9"),
            (proxy, &["::ffff:203.0.113.9"], "203.0.113.9"),
            // What the caller made up comes first, what the proxy adds last.
            (proxy, &["10.0.0.1, 203.0.113.9"], "203.0.113.9"),
            (proxy, &["10.0.0.1", "203.0.113.9"], "203.0.113.9"),
            (proxy, &["<b>, 203.0.113.9"], "203.0.113.9"),
            // Another trusted proxy on the way.
            (proxy, &["10.0.0.1, 203.0.113.9, 192.0.2.8"], "203.0.113.9"),
            (proxy, &["unknown, 192.0.2.8"], "192.0.2.8"),
            (proxy, &["203.0.113.9, unknown"], proxy),
            (proxy, &[""], proxy),
            (proxy, &[], proxy),
            ("198.51.100.1:5", &["203.0.113.9"], "198.51.100.1:5"),
        ] {
            let mut headers = HeaderMap::new();
            for value in forwarded {
                headers.append("X-Forwarded-For", value.parse().unwrap());
            }
            let origin = trusted.origin(&headers, Peer::Tcp(peer.parse().unwrap()));
            assert_eq!(origin.to_string(), expected, "{forwarded:?}");
        }
    }
}
