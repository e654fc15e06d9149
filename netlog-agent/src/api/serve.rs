//! Connections: where the API listens, and how much of it one caller can hold.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::seats::{Seat, Waiting};
use super::stall::Impatient;
use super::{Api, Peer, metrics_router, router};
use crate::config::Bind;
use crate::metrics::Metrics;

/// Connections that are open at one time. For one more, the one whose caller has kept the agent
/// waiting for longest is closed.
const MAX_CONNECTIONS: usize = 512;
/// How long a caller may take for the head of a request, or say nothing between two.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a caller may leave an answer unread.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// How much of a request's head is read.
const MAX_HEAD: usize = 16 * 1024;
/// How many headers a request may have.
const MAX_HEADERS: usize = 64;
/// How long open requests may take when the agent stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// How often it is seen whether something is to be told of refused requests.
const TELL_INTERVAL: Duration = Duration::from_secs(1);
/// How long to wait when the system has no more file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why the API cannot listen.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {bind}: {cause}")]
pub struct BindError {
    bind: Bind,
    cause: io::Error,
}

/// An open place to listen.
#[derive(Debug)]
pub struct Listener(Socket);

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(
        UnixListener,
        #[expect(dead_code, reason = "it is kept to be dropped")] SocketFile,
    ),
}

/// The file of a Unix socket, which goes when nobody listens there any more.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    /// Device and inode: another agent may have put its own socket there.
    identity: (u64, u64),
}

impl SocketFile {
    fn identity(path: &Path) -> io::Result<(u64, u64)> {
        let file = std::fs::symlink_metadata(path)?;
        Ok((file.dev(), file.ino()))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if Self::identity(&self.path).is_ok_and(|now| now == self.identity) {
            // One that is left over is replaced at the next start.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl Listener {
    /// Opens a place to listen. Whether it may be open to other hosts is checked with the
    /// configuration.
    ///
    /// A socket file is for its owner and group only, and goes with the listener; one that a killed
    /// agent has left is replaced.
    pub async fn bind(bind: &Bind) -> Result<Self, BindError> {
        let system = |cause| BindError {
            bind: bind.clone(),
            cause,
        };
        match bind {
            Bind::Tcp(address) => TcpListener::bind(address)
                .await
                .map(|socket| Self(Socket::Tcp(socket)))
                .map_err(system),
            Bind::Unix(path) => {
                let is_socket = |data: std::fs::Metadata| data.file_type().is_socket();
                if std::fs::symlink_metadata(path).is_ok_and(is_socket)
                    && std::os::unix::net::UnixStream::connect(path).is_err()
                {
                    std::fs::remove_file(path).map_err(system)?;
                }
                let socket = UnixListener::bind(path).map_err(system)?;
                let file = SocketFile {
                    path: path.clone(),
                    identity: SocketFile::identity(path).map_err(system)?,
                };
                let owner_and_group = std::fs::Permissions::from_mode(0o660);
                std::fs::set_permissions(path, owner_and_group).map_err(system)?;
                Ok(Self(Socket::Unix(socket, file)))
            }
        }
    }

    /// The address that was taken, of a TCP listener.
    pub fn address(&self) -> Option<SocketAddr> {
        match &self.0 {
            Socket::Tcp(socket) => socket.local_addr().ok(),
            Socket::Unix(..) => None,
        }
    }

    /// The next connection, and who is at its other end.
    async fn accept(&self) -> io::Result<(Box<dyn Connection>, Peer)> {
        Ok(match &self.0 {
            Socket::Tcp(socket) => {
                let (connection, address) = socket.accept().await?;
                (Box::new(connection), Peer::Tcp(address))
            }
            Socket::Unix(socket, _) => {
                let (connection, _) = socket.accept().await?;
                let peer = Peer::of(&connection.peer_cred()?);
                (Box::new(connection), peer)
            }
        })
    }
}

/// A connection of either kind.
trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// Serves the API until `shutdown`, then lets open requests end.
pub async fn serve(listener: Listener, api: Api, shutdown: impl Future<Output = ()>) {
    let audit = Arc::clone(&api.audit);
    let serving = serve_router(listener, router(api), shutdown);
    let telling = async {
        loop {
            sleep(TELL_INTERVAL).await;
            audit.tell_refused();
        }
    };
    tokio::select! {
        () = serving => {}
        () = telling => {}
    }
    audit.tell_all_refused();
}

/// Serves metrics alone until `shutdown`.
pub async fn serve_metrics(
    listener: Listener,
    metrics: Arc<Metrics>,
    shutdown: impl Future<Output = ()>,
) {
    serve_router(listener, metrics_router(metrics), shutdown).await;
}

async fn serve_router(listener: Listener, router: Router, shutdown: impl Future<Output = ()>) {
    let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let waiting = Arc::new(Waiting::default());
    let open = GracefulShutdown::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let next = async {
            let connection = listener.accept().await;
            // The semaphore is never closed.
            let mut permit = pin!(Arc::clone(&connections).acquire_owned());
            let permit = tokio::select! {
                biased;
                permit = &mut permit => permit,
                () = waiting.make_room() => permit.await,
            };
            (permit, connection)
        };
        let (permit, connection) = tokio::select! {
            next = next => next,
            () = &mut shutdown => break,
        };
        match connection {
            Ok((connection, peer)) => {
                let seat = Seat::take(&waiting);
                let router = router.clone().layer(Extension(peer));
                let router = router.layer(Extension(seat.clone()));
                let connection = open.watch(http(connection, router));
                tokio::spawn(async move {
                    tokio::select! {
                        ended = connection => if let Err(error) = ended {
                            tracing::debug!("a connection ended: {error}");
                        },
                        () = seat.given_up() => {
                            tracing::debug!("a connection had to make room for another");
                        }
                    }
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!("cannot accept a connection to the API: {error}");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    if timeout(DRAIN_TIMEOUT, open.shutdown()).await.is_err() {
        tracing::warn!("requests were still open after {DRAIN_TIMEOUT:?}; they are cut off");
    }
}

/// HTTP/1.1 on a connection, within the limits.
fn http(
    connection: Box<dyn Connection>,
    router: Router,
) -> http1::Connection<TokioIo<Impatient<Box<dyn Connection>>>, TowerToHyperService<Router>> {
    let connection = Impatient::new(connection, WRITE_TIMEOUT);
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        // Whoever has nothing more to say is answered all the same.
        .half_close(true)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(connection), TowerToHyperService::new(router))
}
