//! Traffic between the hosts: real sockets of the kernels in the namespaces,
//! and raw frames.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::io::{self, Read as _};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};

use pnet_datalink::Channel;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::error::Attempt as _;
use crate::hosts::{Family, Host};
use crate::site::Site;
use crate::wait::LIMIT;
use crate::{LabError, frames};

impl Site {
    /// A listening TCP socket of a host, whose `accept` gives up after
    /// [`LIMIT`].
    pub fn tcp_listen(
        &self,
        name: &str,
        family: Family,
        port: u16,
    ) -> Result<TcpListener, LabError> {
        let address = SocketAddr::new(self.host(name)?.address(family), port);
        let listener = self
            .run_in(name, || TcpListener::bind(address))?
            .attempt(|| format!("listen on {address}"))?;
        SockRef::from(&listener)
            .set_read_timeout(Some(LIMIT))
            .attempt(|| format!("limit the wait on {address}"))?;
        Ok(listener)
    }

    /// A TCP connection from a host, from any port of `source` if given.
    pub fn tcp_connect(
        &self,
        name: &str,
        source: Option<IpAddr>,
        to: SocketAddr,
    ) -> Result<TcpStream, LabError> {
        let connect = || -> io::Result<TcpStream> {
            let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
            if let Some(source) = source {
                socket.bind(&SocketAddr::new(source, 0).into())?;
            }
            socket.connect_timeout(&to.into(), LIMIT)?;
            let stream = TcpStream::from(socket);
            limited(&stream)?;
            Ok(stream)
        };
        self.run_in(name, connect)?
            .attempt(|| format!("connect from {name} to {to}"))
    }

    /// A whole TCP connection between two hosts: handshake, `rounds` of data
    /// to and fro, orderly end.
    pub fn tcp_exchange(
        &self,
        client: &str,
        server: &str,
        family: Family,
        port: u16,
        rounds: u32,
    ) -> Result<(), LabError> {
        self.tcp_exchange_from(client, None, server, family, port, rounds)
    }

    /// [`Site::tcp_exchange`] from another address of the client.
    pub fn tcp_exchange_from(
        &self,
        client: &str,
        source: Option<IpAddr>,
        server: &str,
        family: Family,
        port: u16,
        rounds: u32,
    ) -> Result<(), LabError> {
        let listener = self.tcp_listen(server, family, port)?;
        let address = SocketAddr::new(self.host(server)?.address(family), port);
        let mut near = self.tcp_connect(client, source, address)?;
        let mut exchange = || -> io::Result<()> {
            let (mut far, _) = listener.accept()?;
            limited(&far)?;
            for _ in 0..rounds {
                pass(&mut near, &mut far, b"ping")?;
                pass(&mut far, &mut near, b"pong")?;
            }
            near.shutdown(Shutdown::Write)?;
            far.read_to_end(&mut Vec::new())?;
            drop(far);
            near.read_to_end(&mut Vec::new()).map(drop)
        };
        exchange().attempt(|| format!("talk from {client} to {address}"))
    }

    /// An attempt to connect to a port on which nobody listens; that it is
    /// refused means that both the SYN and the RST went through.
    pub fn tcp_refused(&self, client: &str, to: SocketAddr) -> Result<(), LabError> {
        match self.tcp_connect(client, None, to) {
            Err(LabError::Io { source, .. })
                if source.kind() == io::ErrorKind::ConnectionRefused =>
            {
                Ok(())
            }
            Err(error) => Err(error),
            Ok(_) => Err(unexpected(
                &format!("connection to {to}"),
                "refused",
                "accepted",
            )),
        }
    }

    /// A UDP socket of a host; port 0 takes any. Reads give up after
    /// [`LIMIT`].
    pub fn udp_bind(&self, name: &str, family: Family, port: u16) -> Result<UdpSocket, LabError> {
        let address = SocketAddr::new(self.host(name)?.address(family), port);
        let bind = || -> io::Result<UdpSocket> {
            let socket = UdpSocket::bind(address)?;
            socket.set_read_timeout(Some(LIMIT))?;
            Ok(socket)
        };
        self.run_in(name, bind)?
            .attempt(|| format!("bind {address}"))
    }

    /// `rounds` requests with a reply each, all on one 5-tuple.
    pub fn udp_exchange(
        &self,
        client: &str,
        server: &str,
        family: Family,
        port: u16,
        rounds: u32,
    ) -> Result<(), LabError> {
        let far = self.udp_bind(server, family, port)?;
        let near = self.udp_bind(client, family, 0)?;
        let address = SocketAddr::new(self.host(server)?.address(family), port);
        let exchange = || -> io::Result<()> {
            near.connect(address)?;
            let mut buffer = [0; 64];
            for _ in 0..rounds {
                near.send(b"request")?;
                let (_, from) = far.recv_from(&mut buffer)?;
                far.send_to(b"reply", from)?;
                near.recv(&mut buffer)?;
            }
            Ok(())
        };
        exchange().attempt(|| format!("ask {address} from {client}"))
    }

    /// Datagrams of one 5-tuple that nobody answers: `count` times `payload`.
    pub fn udp_send(
        &self,
        name: &str,
        to: SocketAddr,
        payload: &[u8],
        count: u32,
    ) -> Result<(), LabError> {
        let family = if to.is_ipv4() { Family::V4 } else { Family::V6 };
        let socket = self.udp_bind(name, family, 0)?;
        (0..count)
            .try_for_each(|_| socket.send_to(payload, to).map(drop))
            .attempt(|| format!("send to {to} from {name}"))
    }

    /// A datagram to a port on which nobody listens, and the ICMP error that
    /// comes back.
    pub fn udp_refused(&self, client: &str, to: SocketAddr) -> Result<(), LabError> {
        let family = if to.is_ipv4() { Family::V4 } else { Family::V6 };
        let socket = self.udp_bind(client, family, 0)?;
        let attempt = || -> io::Result<usize> {
            socket.connect(to)?;
            socket.send(b"anyone?")?;
            socket.recv(&mut [0; 64])
        };
        match attempt() {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
            Err(error) => Err(error).attempt(|| format!("hear that {to} is closed")),
            Ok(_) => Err(unexpected(
                &format!("datagram to {to}"),
                "refused",
                "answered",
            )),
        }
    }

    /// `count` echo requests with one identifier, each answered.
    pub fn ping(
        &self,
        client: &str,
        server: &str,
        family: Family,
        count: u8,
    ) -> Result<(), LabError> {
        let to = self.host(server)?.address(family);
        // Type, code, checksum and identifier (the kernel's), sequence number.
        let (domain, protocol, request) = match family {
            Family::V4 => (Domain::IPV4, Protocol::ICMPV4, 8),
            Family::V6 => (Domain::IPV6, Protocol::ICMPV6, 128),
        };
        let exchange = || -> io::Result<()> {
            let mut socket = Socket::new(domain, Type::DGRAM, Some(protocol))?;
            socket.set_read_timeout(Some(LIMIT))?;
            socket.connect(&SocketAddr::new(to, 0).into())?;
            for sequence in 1..=count {
                socket.send(&[request, 0, 0, 0, 0, 0, 0, sequence])?;
                socket.read_exact(&mut [0; 8])?;
            }
            Ok(())
        };
        self.run_in(client, exchange)?
            .attempt(|| format!("ping {to} from {client}"))
    }

    /// Sends frames, as they are, out of a host's interface.
    pub fn send_frames(&self, name: &str, frames: &[Vec<u8>]) -> Result<(), LabError> {
        self.send_paced(name, frames.iter().map(Vec::as_slice))
    }

    /// Sends frames out of a host's interface, each as soon as the iterator gives it: one that
    /// waits sets the pace.
    pub fn send_paced<'f>(
        &self,
        name: &str,
        frames: impl IntoIterator<Item = &'f [u8]> + Send,
    ) -> Result<(), LabError> {
        let send = || -> io::Result<()> {
            let interface = pnet_datalink::interfaces()
                .into_iter()
                .find(|interface| interface.name == Host::INTERFACE)
                .ok_or(io::ErrorKind::NotFound)?;
            let Channel::Ethernet(mut sender, _) =
                pnet_datalink::channel(&interface, pnet_datalink::Config::default())?
            else {
                return Err(io::ErrorKind::Unsupported.into());
            };
            frames
                .into_iter()
                .try_for_each(|frame| sender.send_to(frame, None).unwrap_or(Ok(())))
        };
        self.run_in(name, send)?
            .attempt(|| format!("send frames from {name}"))
    }

    /// The same SYN `count` times over: one that is retransmitted.
    pub fn syn(
        &self,
        from: &str,
        to: &str,
        family: Family,
        port: u16,
        count: usize,
    ) -> Result<(), LabError> {
        let ends = frames::Ends::between(self.host(from)?, self.host(to)?, family);
        let frame = ends.syn(any_port(), port)?;
        self.send_frames(from, &vec![frame; count])
    }
}

/// A source port for a frame that no kernel sends: a new one each time, and
/// hardly ever one of another process, so that no connection tracker has seen
/// it before.
pub fn any_port() -> u16 {
    const FIRST: u16 = 10_000;
    const COUNT: u16 = 20_000;
    static NEXT: OnceLock<AtomicU16> = OnceLock::new();
    let next = NEXT.get_or_init(|| {
        let [low, high, ..] = RandomState::new().build_hasher().finish().to_le_bytes();
        AtomicU16::new(u16::from_le_bytes([low, high]))
    });
    FIRST + next.fetch_add(1, Ordering::Relaxed) % COUNT
}

fn limited(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))
}

fn pass(from: &mut TcpStream, to: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
    use io::Write as _;
    from.write_all(bytes)?;
    to.read_exact(&mut vec![0; bytes.len()])
}

fn unexpected(what: &str, expected: &str, got: &str) -> LabError {
    LabError::Unexpected {
        what: what.to_owned(),
        expected: expected.to_owned(),
        got: got.to_owned(),
    }
}
