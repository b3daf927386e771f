//! The server: a thread with a runtime of its own, and connections with limits in number, size and
//! time.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio::sync::{Semaphore, oneshot};
use tokio_io_timeout::TimeoutStream;

use crate::Page;
use crate::error::ServeError;
use crate::guard::check_host;

/// The longest that a client may take for the head of a request, the first one and each later one.
const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// The most bytes of such a head.
const HEAD_MOST: usize = 16 << 10;
/// The most headers of it.
const HEADERS_MOST: usize = 64;
/// The longest that a client may take nothing of what is written to it.
const TAKES_WITHIN: Duration = Duration::from_secs(20);
/// The wait after the system has given no connection: it has no descriptors left, say.
const REST: Duration = Duration::from_millis(100);

/// A page that is served; dropping it ends that.
#[derive(Debug)]
pub struct Serving {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Serving {
    /// The address; a port 0 has become a real one.
    pub fn address(&self) -> SocketAddr {
        self.address
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

/// Refuses an address that others could reach, where they need no token.
pub(crate) fn check(
    address: &str,
    found: &[SocketAddr],
    has_token: bool,
) -> Result<(), ServeError> {
    if has_token || found.iter().all(|address| address.ip().is_loopback()) {
        return Ok(());
    }
    Err(ServeError::NeedsToken { address: address.to_owned() })
}

pub(crate) async fn serve(page: Page, address: &str) -> Result<Serving, ServeError> {
    page.hosts.iter().try_for_each(|host| check_host(host))?;
    let failed = |error| ServeError::Listen { address: address.to_owned(), error };
    let found: Vec<_> = lookup_host(address).await.map_err(failed)?.collect();
    check(address, &found, page.token.is_some())?;
    let listener = TcpListener::bind(&*found).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    let listener = listener.into_std().map_err(failed)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(ServeError::Thread)?;
    let (stop, stopped) = oneshot::channel::<()>();
    let router = page.router();
    let thread = std::thread::Builder::new()
        .name("estafette-page".into())
        .spawn(move || {
            runtime.block_on(async move {
                let listener = match TcpListener::from_std(listener) {
                    Ok(listener) => listener,
                    Err(error) => return tracing::error!(%error, "the page is not served"),
                };
                tokio::select! {
                    () = accept(listener, router) => {}
                    // An error is what says it.
                    _ = stopped => {}
                }
            })
        })
        .map_err(ServeError::Thread)?;
    Ok(Serving { address: bound, stop: Some(stop), thread: Some(thread) })
}

/// Accepts connections for ever, as many at once as may be; the others wait where the system keeps
/// them.
async fn accept(listener: TcpListener, router: Router) {
    let places = Arc::new(Semaphore::new(Page::CONNECTIONS));
    loop {
        let place = Arc::clone(&places).acquire_owned().await;
        match listener.accept().await {
            Ok((socket, _)) => {
                let served = connection(socket, router.clone());
                tokio::spawn(async move {
                    served.await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::debug!(%error, "a connection to the page could not be accepted");
                tokio::time::sleep(REST).await;
            }
        }
    }
}

fn connection(socket: TcpStream, router: Router) -> impl Future<Output = ()> {
    // What is written is written at once, and in one piece.
    let _ = socket.set_nodelay(true);
    let mut socket = TimeoutStream::new(socket);
    socket.set_write_timeout(Some(TAKES_WITHIN));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(HEAD_MOST)
        .max_headers(HEADERS_MOST)
        .serve_connection(TokioIo::new(Box::pin(socket)), TowerToHyperService::new(router));
    async move {
        if let Err(error) = served.await {
            tracing::debug!(%error, "a connection to the page has ended");
        }
    }
}
