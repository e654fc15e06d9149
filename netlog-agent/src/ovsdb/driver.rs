//! The thread that keeps a session with ovsdb-server.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use netlog_ofp::Backoff;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, sockopt,
};

use super::endpoint::Endpoint;
use super::session::{Session, SessionError, SessionEvent};
use super::topology::Topology;
use crate::clock::monotonic;
use crate::service::Service;

/// The wait after the first failure, and the longest wait.
const RECONNECT: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(8));

/// How long a TCP connect may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What happens to the connection, in the order in which it happens.
#[derive(Debug)]
pub enum Event {
    /// A connection was made; a topology follows.
    Connected,
    /// The state of the bridges: the first of a connection, or a changed one.
    /// It stays the best that is known after a disconnect.
    Topology(Arc<Topology>),
    /// The connection was lost, or an attempt to make one failed. Another
    /// attempt follows after a while.
    Disconnected(Disconnect),
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum Disconnect {
    /// It could not be made.
    #[error("cannot connect to {endpoint}: {source}")]
    Connect {
        /// Where to.
        endpoint: Endpoint,
        /// What the system said.
        source: io::Error,
    },
    /// The server closed it.
    #[error("the server closed the connection")]
    Closed,
    /// Reading or writing failed.
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
    /// We closed it, since the session could not go on.
    #[error(transparent)]
    Session(#[from] SessionError),
}

/// A thread that keeps a session with ovsdb-server, and connects again when it
/// ends. Dropping the driver stops it.
#[derive(Debug)]
pub struct Driver(Service);

impl Driver {
    /// Starts the thread. It calls `tell` for every event; no message is read
    /// while that runs. A host name in the endpoint is looked up at each
    /// attempt, and [`Self::stop`] has to wait for that; an address is not.
    ///
    /// The error is that of the system when it gives no thread or socket.
    pub fn start(endpoint: Endpoint, tell: impl FnMut(Event) + Send + 'static) -> io::Result<Self> {
        let service = Service::start("ovsdb", move |woken| {
            let mut thread = Thread {
                endpoint,
                woken,
                backoff: Backoff::new(RECONNECT.0, RECONNECT.1),
                tell,
            };
            thread.run();
        });
        Ok(Self(service?))
    }

    /// Closes the connection and waits for the thread to end, which it does at
    /// once unless the callback holds it.
    pub fn stop(self) {
        drop(self.0);
    }
}

/// The driver was told to stop.
struct Stopped;

struct Thread<F> {
    endpoint: Endpoint,
    woken: UnixStream,
    backoff: Backoff,
    tell: F,
}

impl<F: FnMut(Event)> Thread<F> {
    fn run(&mut self) {
        loop {
            match self.serve() {
                Ok(Stopped) => return,
                Err(reason) => (self.tell)(Event::Disconnected(reason)),
            }
            let until = monotonic() + self.backoff.next_wait();
            if let Ok(Ready::Stop) = self.wait(None, until) {
                return;
            }
        }
    }

    /// One connection, from its making to its end.
    fn serve(&mut self) -> Result<Stopped, Disconnect> {
        let socket = match self.connect() {
            Ok(Some(socket)) => socket,
            Ok(None) => return Ok(Stopped),
            Err(source) => {
                return Err(Disconnect::Connect {
                    endpoint: self.endpoint.clone(),
                    source,
                });
            }
        };
        (self.tell)(Event::Connected);
        let mut session = Session::new(monotonic());
        let mut buffer = vec![0; 64 << 10];
        loop {
            send(&socket, &mut session)?;
            let mut interest = PollFlags::IN;
            interest.set(PollFlags::OUT, !session.output().is_empty());
            match self.wait(Some((&socket, interest)), session.deadline())? {
                Ready::Stop => return Ok(Stopped),
                Ready::Time => session.tick(monotonic())?,
                Ready::Socket => receive(&socket, &mut buffer, &mut session)?,
            }
            while let Some(event) = session.event() {
                if let SessionEvent::Snapshot(topology) | SessionEvent::Changed(topology) = event {
                    self.backoff.reset();
                    (self.tell)(Event::Topology(topology));
                }
            }
        }
    }

    /// A connected socket that does not block, or `None` to stop.
    fn connect(&self) -> io::Result<Option<OwnedFd>> {
        match &self.endpoint {
            Endpoint::Unix(path) => {
                let socket = socket(AddressFamily::UNIX)?;
                rustix::net::connect(&socket, &SocketAddrUnix::new(path.as_path())?)?;
                Ok(Some(socket))
            }
            Endpoint::Tcp { host, port } => {
                let mut result = Err(io::Error::from(io::ErrorKind::AddrNotAvailable));
                for address in (host.as_str(), *port).to_socket_addrs()? {
                    result = self.connect_tcp(address);
                    if result.is_ok() {
                        break;
                    }
                }
                result
            }
        }
    }

    fn connect_tcp(&self, address: SocketAddr) -> io::Result<Option<OwnedFd>> {
        let family = if address.is_ipv4() {
            AddressFamily::INET
        } else {
            AddressFamily::INET6
        };
        let socket = socket(family)?;
        match rustix::net::connect(&socket, &address) {
            Err(Errno::INPROGRESS) => {
                match self.wait(
                    Some((&socket, PollFlags::OUT)),
                    monotonic() + CONNECT_TIMEOUT,
                )? {
                    Ready::Stop => return Ok(None),
                    Ready::Time => return Err(io::ErrorKind::TimedOut.into()),
                    Ready::Socket => sockopt::socket_error(&socket)??,
                }
            }
            result => result?,
        }
        Ok(Some(socket))
    }

    /// Waits for the stop, the socket or the time, in this order when there is
    /// more than one.
    fn wait(&self, socket: Option<(&OwnedFd, PollFlags)>, until: Duration) -> io::Result<Ready> {
        let stop = PollFd::new(&self.woken, PollFlags::IN);
        let mut fds = vec![stop];
        fds.extend(socket.map(|(socket, interest)| PollFd::new(socket, interest)));
        loop {
            let timeout = Timespec::try_from(until.saturating_sub(monotonic()))
                .map_err(|_| io::ErrorKind::InvalidInput)?;
            match poll(&mut fds, Some(&timeout)) {
                Ok(0) => return Ok(Ready::Time),
                Ok(_) if fds.first().is_some_and(|stop| !stop.revents().is_empty()) => {
                    return Ok(Ready::Stop);
                }
                Ok(_) => return Ok(Ready::Socket),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// What a wait ended with.
enum Ready {
    Stop,
    Socket,
    Time,
}

fn socket(family: AddressFamily) -> io::Result<OwnedFd> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    Ok(rustix::net::socket_with(
        family,
        SocketType::STREAM,
        flags,
        None,
    )?)
}

/// Sends as much of the session's output as the socket takes.
fn send(socket: impl AsFd, session: &mut Session) -> io::Result<()> {
    while !session.output().is_empty() {
        match rustix::net::send(&socket, session.output(), SendFlags::NOSIGNAL) {
            Ok(count) => session.sent(count),
            Err(Errno::AGAIN) => break,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Hands what the socket has to the session.
fn receive(socket: impl AsFd, buffer: &mut [u8], session: &mut Session) -> Result<(), Disconnect> {
    match rustix::net::recv(socket, &mut *buffer, RecvFlags::empty()) {
        Ok((0, _)) => Err(Disconnect::Closed),
        Ok((count, _)) => {
            session.receive(buffer.get(..count).unwrap_or_default(), monotonic())?;
            Ok(())
        }
        Err(Errno::AGAIN | Errno::INTR) => Ok(()),
        Err(error) => Err(Disconnect::Io(error.into())),
    }
}
