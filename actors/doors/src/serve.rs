//! The server of all doors: a thread with a runtime of its own; HTTP/1.1 and HTTP/2 by what a
//! client begins with, on one port; connections with limits in number, size and time.
//!
//! Invariant: who sends nothing is not kept: a connection without an open request ends after
//! [`IDLE`], one on which nobody was ever let in after [`HEAD_WITHIN`].

use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, LazyLock};
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::Version;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_io_timeout::TimeoutStream;

use crate::busy::{Busy, Counted};
use crate::rest::Rest;

/// The longest that a client may take until its first request that is not refused, and for the head
/// of each later one.
const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// The longest that a connection stays open on which nothing is asked.
const IDLE: Duration = Duration::from_secs(60);
/// The longest that a client may take nothing of what is written to it.
const TAKES_WITHIN: Duration = Duration::from_secs(20);
/// The interval at which it is looked whether a client that speaks HTTP/2 is still there, and the
/// longest that its answer may take.
const ALIVE: Duration = Duration::from_secs(20);
/// The most bytes of the head of a request.
const HEAD_MOST: usize = 32 << 10;
/// The most headers of it.
const HEADERS_MOST: usize = 64;
/// The most requests at once on a connection of HTTP/2.
const STREAMS_MOST: u32 = 128;
/// The most of them that are taken back before they are looked at; a client that goes on so loses
/// its connection.
const RESETS_MOST: usize = 64;
/// The bytes of a body that wait for who reads it: of one request, and of all of a connection.
const WINDOW: u32 = 256 << 10;
const WINDOWS: u32 = 1 << 20;
/// The wait after the system has given no connection: it has no descriptors left, say.
const REST: Duration = Duration::from_millis(100);
/// The time that a connection that ends has for its last words.
const AFTERWARDS: Duration = Duration::from_secs(1);
/// The longest that open requests may take to their end when a server stops.
const GRACE: Duration = Duration::from_secs(5);

/// The most connections at once, unless it is said otherwise; further ones wait to be accepted.
pub const CONNECTIONS: usize = 1024;

/// Doors that are served. Dropping it ends that at once; [`Serving::stop`] lets open requests end
/// first.
#[derive(Debug)]
pub struct Serving {
    address: SocketAddr,
    stop: Option<watch::Sender<Stop>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    Not,
    Gently,
}

/// The parts that a connection is served with.
#[derive(Clone)]
struct Served {
    router: Router,
    #[cfg_attr(not(feature = "tls"), expect(dead_code, reason = "there is none without TLS"))]
    security: Security,
}

/// The security of connections; none, if there is nothing.
#[derive(Clone, Default)]
struct Security {
    #[cfg(feature = "tls")]
    tls: Option<Arc<crate::Tls>>,
}

/// The names of a client, of which there are none without TLS.
#[cfg(not(feature = "tls"))]
#[derive(Clone, Debug)]
enum ClientNames {}
#[cfg(feature = "tls")]
use crate::tls::ClientNames;

/// An error of serving doors.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// It can't be listened there.
    #[error("can't listen at {address}: {error}")]
    Listen {
        /// The address.
        address: String,
        /// The cause.
        error: io::Error,
    },
    /// The operating system gave no thread, or no runtime.
    #[error("the doors' thread could not be started: {0}")]
    Thread(io::Error),
}

impl Serving {
    /// The address; a port 0 has become a real one.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more requests, and ends when those that are open have ended; after 5 s, whatever
    /// is open.
    pub async fn stop(self) {
        if let Some(stop) = &self.stop {
            stop.send_replace(Stop::Gently);
            // The thread lets go of its end when it is done.
            stop.closed().await;
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // One that panicked has said so.
            let _ = thread.join();
        }
    }
}

/// Serves a router at an address, `host:port`, on a thread of its own, until what is returned is
/// dropped. Port 0 is any free one. There are [`CONNECTIONS`] at once.
///
/// # Errors
/// If it can't be listened there, or the system gives no thread.
pub async fn serve(router: Router, address: &str) -> Result<Serving, ServeError> {
    serve_at_most(router, address, CONNECTIONS).await
}

/// [`serve`], with so many connections at once.
///
/// # Errors
/// As of [`serve`].
pub async fn serve_at_most(
    router: Router,
    address: &str,
    connections: usize,
) -> Result<Serving, ServeError> {
    serve_with(router, address, connections, Security::default()).await
}

/// [`serve_at_most`] by TLS: HTTP/2 or HTTP/1.1, as the client likes it.
///
/// # Errors
/// As of [`serve`].
#[cfg(feature = "tls")]
pub async fn serve_tls(
    router: Router,
    address: &str,
    connections: usize,
    tls: crate::Tls,
) -> Result<Serving, ServeError> {
    serve_with(router, address, connections, Security { tls: Some(Arc::new(tls)) }).await
}

async fn serve_with(
    router: Router,
    address: &str,
    connections: usize,
    security: Security,
) -> Result<Serving, ServeError> {
    let failed = |error| ServeError::Listen { address: address.to_owned(), error };
    let found: Vec<_> = lookup_host(address).await.map_err(failed)?.collect();
    let listener = TcpListener::bind(&*found).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    let listener = listener.into_std().map_err(failed)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(ServeError::Thread)?;
    let (stop, stopped) = watch::channel(Stop::Not);
    let thread = std::thread::Builder::new()
        .name("estafette-doors".into())
        .spawn(move || {
            runtime.block_on(async move {
                match TcpListener::from_std(listener) {
                    Ok(listener) => {
                        let service = Served { router, security };
                        run(listener, service, connections, stopped).await;
                    }
                    Err(error) => tracing::error!(%error, "the doors are not served"),
                }
            });
            // What blocks is not waited for.
            runtime.shutdown_background();
        })
        .map_err(ServeError::Thread)?;
    Ok(Serving { address: bound, stop: Some(stop), thread: Some(thread) })
}

async fn run(
    listener: TcpListener,
    served: Served,
    connections: usize,
    mut stopped: watch::Receiver<Stop>,
) {
    let places = Arc::new(Semaphore::new(connections));
    let ends = stopped.clone();
    tokio::select! {
        () = accept(listener, served, &places, &ends) => {}
        // Gently, or because it was dropped.
        changed = stopped.changed() => if changed.is_err() { return },
    }
    let all = u32::try_from(connections).unwrap_or(u32::MAX);
    tokio::select! {
        _ = places.acquire_many(all) => {}
        () = tokio::time::sleep(GRACE) => {}
        _ = stopped.changed() => {}
    }
}

/// Accepts connections for ever, as many at once as may be; the others wait where the system keeps
/// them.
async fn accept(
    listener: TcpListener,
    served: Served,
    places: &Arc<Semaphore>,
    stopped: &watch::Receiver<Stop>,
) {
    loop {
        // It is never closed.
        let Ok(place) = Arc::clone(places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((socket, _)) => {
                let (socket, router) = (timed(socket), served.router.clone());
                #[cfg(feature = "tls")]
                if let Some(tls) = &served.security.tls {
                    let stopped = stopped.clone();
                    tokio::spawn(shaken(socket, tls.acceptor(), router, stopped, place));
                    continue;
                }
                // Spawned as it is: a block that waits for it would hold it twice.
                tokio::spawn(spoken(socket, router, None, stopped.clone(), place));
            }
            Err(error) => {
                tracing::debug!(%error, "a connection to the doors could not be accepted");
                tokio::time::sleep(REST).await;
            }
        }
    }
}

/// A connection whose client takes what is written to it, in time.
fn timed(socket: TcpStream) -> Pin<Box<TimeoutStream<TcpStream>>> {
    // What is written is written at once, and in one piece.
    let _ = socket.set_nodelay(true);
    let mut socket = TimeoutStream::new(socket);
    socket.set_write_timeout(Some(TAKES_WITHIN));
    Box::pin(socket)
}

/// Begins TLS with a client, and serves what is spoken then.
#[cfg(feature = "tls")]
async fn shaken(
    socket: Pin<Box<TimeoutStream<TcpStream>>>,
    acceptor: tokio_rustls::TlsAcceptor,
    router: Router,
    stopped: watch::Receiver<Stop>,
    place: OwnedSemaphorePermit,
) {
    match tokio::time::timeout(HEAD_WITHIN, acceptor.accept(socket)).await {
        Ok(Ok(secured)) => {
            let names = ClientNames::of(secured.get_ref().1.peer_certificates());
            tokio::spawn(spoken(secured, router, names, stopped, place));
        }
        Ok(Err(error)) => tracing::debug!(%error, "a client is not let in by TLS"),
        Err(_) => tracing::debug!("a client did not begin TLS in time"),
    }
}

/// Serves what is spoken on a connection, by a client of these names.
async fn spoken(
    socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    names: Option<ClientNames>,
    mut stopped: watch::Receiver<Stop>,
    _place: OwnedSemaphorePermit,
) {
    let busy = Arc::new(Busy::default());
    let counted = Arc::clone(&busy);
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        if let Some(names) = &names {
            request.extensions_mut().insert(names.clone());
        }
        let open = counted.begin();
        let rest = Rest::default();
        let answer = router.call(match request.version() {
            Version::HTTP_2 => request.map(|body| rest.lend(body)),
            _ => request.map(Body::new),
        });
        async move {
            let answer = answer.await?;
            let open = open.answered(&answer);
            rest.read().await;
            Ok::<_, std::convert::Infallible>(
                answer.map(|body| Body::new(Counted::new(body, open))),
            )
        }
    });
    let served = BUILDER.serve_connection_with_upgrades(TokioIo::new(socket), service);
    let mut served = pin!(served);
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = until_it_ends(&busy, &mut stopped) => {
            served.as_mut().graceful_shutdown();
            tokio::select! {
                ended = served => ended,
                () = busy.idle(AFTERWARDS, AFTERWARDS) => Ok(()),
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error, "a connection to the doors has ended");
    }
}

/// Waits until nothing is asked on a connection for too long, or the server stops.
async fn until_it_ends(busy: &Busy, stopped: &mut watch::Receiver<Stop>) {
    tokio::select! {
        () = busy.idle(HEAD_WITHIN, IDLE) => {}
        _ = stopped.changed() => {}
    }
}

/// Of all connections, none of which has to keep it.
static BUILDER: LazyLock<auto::Builder<TokioExecutor>> = LazyLock::new(builder);

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(HEAD_MOST)
        .max_headers(HEADERS_MOST);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(ALIVE)
        .keep_alive_timeout(ALIVE)
        .max_concurrent_streams(STREAMS_MOST)
        .max_header_list_size(u32::try_from(HEAD_MOST).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(RESETS_MOST)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOWS);
    builder
}
