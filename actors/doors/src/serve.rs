//! The server of all doors: a thread with a runtime of its own; HTTP/1.1 and HTTP/2 by what a
//! client begins with, on one port; connections with limits in number, size and time.
//!
//! Invariant: who sends nothing is not kept: a connection without an open request ends after
//! [`IDLE`], one on which nobody was ever let in after [`HEAD_WITHIN`].

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{Version, header};
use estafette::node::OpenDoor;
use futures_util::future::{BoxFuture, Either, ready};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_io_timeout::TimeoutStream;

use crate::begun::Begun;
use crate::busy::{Busy, Counted};
use crate::head::{self, HEAD_MOST, HEADERS_MOST};
use crate::over::{Over, Protocol};
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
/// The longest that open requests may take to their end when a server stops: those that are open
/// then hear that it does, and have the time for last words.
const GRACE: Duration = Duration::from_secs(5);

/// The most connections at once, unless it is said otherwise; further ones wait to be accepted.
pub const CONNECTIONS: usize = 1024;

/// Doors that are served. Dropping it ends that at once; [`Serving::stop`] lets open requests end
/// first.
#[derive(Debug)]
pub struct Serving {
    address: SocketAddr,
    /// The socket, for the door that comes in its place.
    listener: Option<StdListener>,
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
    over: Over,
    #[cfg_attr(not(feature = "tls"), expect(dead_code, reason = "there is none without TLS"))]
    security: Security,
}

/// The security of connections; none, if there is nothing.
#[derive(Clone, Default)]
pub(crate) struct Security {
    #[cfg(feature = "tls")]
    tls: Option<Arc<crate::Tls>>,
}

#[cfg(feature = "tls")]
impl From<crate::Tls> for Security {
    fn from(tls: crate::Tls) -> Self {
        Self { tls: Some(Arc::new(tls)) }
    }
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

    /// Takes no more requests, and ends when those that are open have ended; after 5 s, what is
    /// open ends in a word of that (503, `UNAVAILABLE`, the end of a stream of events), or breaks
    /// off where an answer of bytes had begun.
    pub async fn stop(mut self) {
        // Or who comes now would wait for nobody.
        drop(self.listener.take());
        if let Some(stop) = &self.stop {
            stop.send_replace(Stop::Gently);
            // The thread lets go of its end when it is done.
            stop.closed().await;
        }
    }
}

impl OpenDoor for Serving {
    fn address(&self) -> String {
        self.address.to_string()
    }

    fn listener(&self) -> Option<StdListener> {
        self.listener.as_ref()?.try_clone().ok()
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(self.stop())
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
    serve_with(router, address, connections, Security::default(), &[]).await
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
    serve_with(router, address, connections, tls.into(), &[]).await
}

/// Serves at the one of these sockets that listens at the address, or at one of its own.
pub(crate) async fn serve_with(
    router: Router,
    address: &str,
    connections: usize,
    security: Security,
    listeners: &[Arc<StdListener>],
) -> Result<Serving, ServeError> {
    let failed = |error| ServeError::Listen { address: address.to_owned(), error };
    let found: Vec<_> = lookup_host(address).await.map_err(failed)?.collect();
    let is_there = |held: &&Arc<StdListener>| held.local_addr().is_ok_and(|at| found.contains(&at));
    let listener = match listeners.iter().find(is_there) {
        Some(held) => held.try_clone(),
        None => TcpListener::bind(&*found).await.and_then(TcpListener::into_std),
    };
    let listener = listener.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    let kept = listener.try_clone().map_err(failed)?;
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
                        run(listener, router, security, connections, stopped).await;
                    }
                    Err(error) => tracing::error!(%error, "the doors are not served"),
                }
            });
            // What blocks is not waited for.
            runtime.shutdown_background();
        })
        .map_err(ServeError::Thread)?;
    Ok(Serving { address: bound, listener: Some(kept), stop: Some(stop), thread: Some(thread) })
}

async fn run(
    listener: TcpListener,
    router: Router,
    security: Security,
    connections: usize,
    mut stopped: watch::Receiver<Stop>,
) {
    let places = Arc::new(Semaphore::new(connections));
    let ends = stopped.clone();
    let (over, is_over) = watch::channel(false);
    let served = Served { router, over: Over(is_over), security };
    tokio::select! {
        () = accept(listener, served, &places, &ends) => {}
        // Gently, or because it was dropped.
        changed = stopped.changed() => if changed.is_err() { return },
    }
    let all = u32::try_from(connections).unwrap_or(u32::MAX);
    for wait in [GRACE, AFTERWARDS] {
        tokio::select! {
            _ = places.acquire_many(all) => return,
            () = tokio::time::sleep(wait) => {}
            _ = stopped.changed() => return,
        }
        over.send_replace(true);
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
                let (socket, called) =
                    (timed(socket), (served.router.clone(), served.over.clone()));
                #[cfg(feature = "tls")]
                if let Some(tls) = &served.security.tls {
                    let stopped = stopped.clone();
                    tokio::spawn(shaken(socket, tls.acceptor(), called, stopped, place));
                    continue;
                }
                // Spawned as it is: a block that waits for it would hold it twice.
                tokio::spawn(spoken(socket, called, None, stopped.clone(), place));
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
    called: (Router, Over),
    stopped: watch::Receiver<Stop>,
    place: OwnedSemaphorePermit,
) {
    match tokio::time::timeout(HEAD_WITHIN, acceptor.accept(socket)).await {
        Ok(Ok(secured)) => {
            let names = ClientNames::of(secured.get_ref().1.peer_certificates());
            tokio::spawn(spoken(secured, called, names, stopped, place));
        }
        Ok(Err(error)) => tracing::debug!(%error, "a client is not let in by TLS"),
        Err(_) => tracing::debug!("a client did not begin TLS in time"),
    }
}

/// Serves what is spoken on a connection, by a client of these names.
async fn spoken(
    socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    (router, over): (Router, Over),
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
        let (rest, over) = (Rest::default(), over.clone());
        let protocol = Protocol::of(request.headers());
        let is_http2 = request.version() == Version::HTTP_2;
        // Who waits to be told to send its body may send none: nothing that follows is the rest.
        let may_send = is_http2 || !request.headers().contains_key(header::EXPECT);
        let request = request.map(|body| if may_send { rest.lend(body) } else { Body::new(body) });
        let answer = match head::refused(request.version(), request.uri(), request.headers()) {
            Some(refusal) => Either::Left(ready(Ok(refusal))),
            None => Either::Right(router.call(request)),
        };
        async move {
            let mut answer = tokio::select! {
                answer = answer => answer?,
                () = over.clone().wait() => protocol.answer(),
            };
            head::date(answer.headers_mut());
            let open = open.answered(&answer);
            if is_http2 {
                rest.begin().await;
            }
            rest.go_on();
            Ok::<_, std::convert::Infallible>(
                protocol.until(over, answer).map(|body| Body::new(Counted::new(body, open))),
            )
        }
    });
    let (is_http2, begun) = tokio::select! {
        begun = Begun::of(socket) => match begun {
            Ok(begun) => begun,
            Err(error) => return tracing::debug!(%error, "a connection to the doors has ended"),
        },
        () = until_it_ends(&busy, &mut stopped) => return,
    };
    let io = TokioIo::new(begun);
    // Each has as much memory as it takes, and not as the other one would.
    if is_http2 {
        let served = Box::pin(HTTP_2.serve_connection(io, service));
        until_over(served, http2::Connection::graceful_shutdown, &busy, stopped).await;
    } else {
        let served = Box::pin(HTTP_1.serve_connection(io, service).with_upgrades());
        until_over(served, http1::UpgradeableConnection::graceful_shutdown, &busy, stopped).await;
    }
}

/// Serves a connection to its end: that of its client, or its own, with some time for last words.
async fn until_over<C: Future<Output = hyper::Result<()>>>(
    mut served: Pin<Box<C>>,
    shut_down: impl FnOnce(Pin<&mut C>),
    busy: &Busy,
    mut stopped: watch::Receiver<Stop>,
) {
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = until_it_ends(busy, &mut stopped) => {
            shut_down(served.as_mut());
            tokio::select! {
                ended = served => ended,
                () = busy.quiet(AFTERWARDS) => Ok(()),
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection to the doors has ended");
    }
}

/// Waits until nothing is asked on a connection for too long, or the server stops.
async fn until_it_ends(busy: &Busy, stopped: &mut watch::Receiver<Stop>) {
    tokio::select! {
        () = busy.idle(HEAD_WITHIN, IDLE) => {}
        gently = async { stopped.wait_for(|stop| *stop != Stop::Not).await.is_ok() } => if gently {
            // The first request of one that has just come may be on its way.
            busy.asked(AFTERWARDS).await;
        }
    }
}

/// Of all connections, none of which has to keep it.
static HTTP_1: LazyLock<http1::Builder> = LazyLock::new(|| {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(HEAD_MOST)
        .max_headers(HEADERS_MOST);
    builder
});

/// The same.
static HTTP_2: LazyLock<http2::Builder<TokioExecutor>> = LazyLock::new(|| {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(ALIVE)
        .keep_alive_timeout(ALIVE)
        .max_concurrent_streams(STREAMS_MOST)
        .max_header_list_size(u32::try_from(HEAD_MOST).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(RESETS_MOST)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOWS);
    builder
});
