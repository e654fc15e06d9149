//! Where ovsdb-server listens, in the syntax of OVSDB's active connections
//! (ovsdb(7), "Connection Methods").

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Where ovsdb-server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// `unix:PATH`.
    Unix(PathBuf),
    /// `tcp:HOST:PORT` or `tcp:[IPV6]:PORT`.
    Tcp {
        /// A name or an address, without brackets.
        host: String,
        /// The port.
        port: u16,
    },
}

/// The text names no endpoint that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("neither unix:PATH nor tcp:HOST:PORT (an IPv6 address in brackets)")]
pub struct EndpointError;

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let endpoint = match text.split_once(':') {
            Some(("unix", path)) => (!path.is_empty()).then(|| Self::Unix(path.into())),
            Some(("tcp", address)) => tcp(address),
            _ => None,
        };
        endpoint
            .filter(|_| !text.contains(char::is_whitespace))
            .ok_or(EndpointError)
    }
}

fn tcp(address: &str) -> Option<Endpoint> {
    let (host, port) = address.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(bracketed) => bracketed.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    let port = port.parse().ok().filter(|port| *port != 0)?;
    (!host.is_empty()).then(|| Endpoint::Tcp {
        host: host.to_owned(),
        port,
    })
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp { host, port } if host.contains(':') => write!(f, "tcp:[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "tcp:{host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read_and_written_as_ovs_does() {
        for text in [
            "unix:/var/run/openvswitch/db.sock",
            "tcp:127.0.0.1:6640",
            "tcp:[::1]:6640",
            "tcp:db.example.net:6640",
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
        }
        assert_eq!(
            "tcp:[::1]:6640".parse(),
            Ok(Endpoint::Tcp {
                host: "::1".to_owned(),
                port: 6640
            })
        );
    }

    #[test]
    fn other_text_is_refused() {
        for text in [
            "",
            "unix",
            "unix:",
            "tcp:",
            "tcp:127.0.0.1",
            "tcp::6640",
            "tcp:[]:6640",
            "tcp:[::1:6640",
            "tcp:::1:6640",
            "tcp:127.0.0.1:0",
            "tcp:127.0.0.1:65536",
            "tcp:127.0.0.1:6640 ",
            "ssl:127.0.0.1:6640",
            "/var/run/openvswitch/db.sock",
        ] {
            assert_eq!(text.parse::<Endpoint>(), Err(EndpointError), "{text}");
        }
    }
}
