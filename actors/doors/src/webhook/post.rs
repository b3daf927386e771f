//! One POST: a connection of its own to an address that was looked at, the answer's status, and
//! nothing that it leads to.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::body::Body;
use axum::http::header::{CONTENT_LENGTH, HOST, LOCATION, RETRY_AFTER, USER_AGENT};
use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::guard::{Network, resolve};
use super::record::harmless;
use super::schedule::asked as asked_for;
use super::target::Target;

/// The most bytes that are read of the body of an answer that is a failure.
const ANSWER_MOST: usize = 1024;
/// The longest that is waited for them: what counts is in the head.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
/// The most bytes, and headers, of the head of an answer.
const HEAD_MOST: usize = 32 << 10;
const HEADERS_MOST: usize = 64;
/// The lead of an address over the next one of its name (RFC 8305, section 5).
const AHEAD: Duration = Duration::from_millis(250);
/// The longest that a connection may take to end once there is an answer.
const ENDING: Duration = Duration::from_secs(1);
/// The most names that a webhook looks up at once: threads are shared by all of the process, and a
/// resolver that hangs keeps them.
pub(super) const LOOKUPS: usize = 2;
/// The most certificates of a file.
const CERTIFICATES_MOST: usize = 256;

/// A sender of POSTs, whatever they hold.
#[derive(Debug)]
pub(super) struct Poster {
    pub(super) target: Target,
    pub(super) allow: Vec<Network>,
    /// A place for each name that is looked up.
    pub(super) lookups: Arc<Semaphore>,
    /// Until there is a connection, secured if it is to be.
    pub(super) connect_within: Duration,
    /// Until there is an answer.
    pub(super) within: Duration,
    /// `None` where nothing is secured.
    pub(super) tls: Option<Arc<ClientConfig>>,
}

/// The outcome of a POST.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// 2xx.
    Done,
    /// 410: nobody wants these any more.
    Gone(String),
    Failed {
        status: Option<u16>,
        why: String,
        /// The receiver has asked for a rest.
        asked: Option<Duration>,
    },
}

impl Poster {
    /// Posts it once.
    pub(super) async fn post(&self, head: axum::http::HeaderMap, body: Bytes) -> Outcome {
        let outcome = async {
            let connected = timeout(self.connect_within, self.connect()).await;
            let stream = connected.map_err(|_| {
                let (target, within) = (&self.target, self.connect_within);
                format!("there is no connection to {target} within {within:?}")
            })??;
            self.exchange(stream, head, body).await
        };
        match timeout(self.within, outcome).await {
            Ok(Ok(answer)) => answer.judged().await,
            Ok(Err(why)) => failed(None, why),
            Err(_) => {
                failed(None, format!("{} has not answered within {:?}", self.target, self.within))
            }
        }
    }

    /// Posts it by that connection, which ends with this future if it has no head of an answer by
    /// then.
    async fn exchange(
        &self,
        stream: impl Stream + 'static,
        head: axum::http::HeaderMap,
        body: Bytes,
    ) -> Result<Answer, String> {
        let broken = |error: hyper::Error| format!("{} broke off: {}", self.target, causes(&error));
        let connection = http1::Builder::new()
            .max_buf_size(HEAD_MOST)
            .max_headers(HEADERS_MOST)
            .handshake::<_, Body>(TokioIo::new(stream));
        let (mut sender, connection) = connection.await.map_err(broken)?;
        let request = self.request(head, body)?;
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        let answer = sender.send_request(request).await.map_err(broken)?;
        Ok(Answer { answer, sender, driver })
    }

    fn request(&self, head: axum::http::HeaderMap, body: Bytes) -> Result<Request<Body>, String> {
        let length = body.len();
        let mut request = Request::new(Body::from(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.target.path.clone();
        *request.headers_mut() = head;
        let headers = request.headers_mut();
        let host = self.target.authority.parse().map_err(|error| format!("its host: {error}"))?;
        headers.insert(HOST, host);
        headers.insert(CONTENT_LENGTH, length.into());
        let agent = concat!("estafette/", env!("CARGO_PKG_VERSION"));
        headers.insert(USER_AGENT, axum::http::HeaderValue::from_static(agent));
        Ok(request)
    }

    async fn connect(&self) -> Result<Box<dyn Stream>, String> {
        let (host, port, allow) = (self.target.host.clone(), self.target.port, self.allow.clone());
        let addresses = with_place(&self.lookups, move || resolve(&host, port, &allow)).await??;
        let stream = reach(&addresses, TcpStream::connect).await.map_err(|(address, error)| {
            format!("{} can't be reached at {address}: {error}", self.target)
        })?;
        // Small requests must not wait; without it they are as right.
        let _ = stream.set_nodelay(true);
        let Some(tls) = &self.tls else { return Ok(Box::new(stream)) };
        let host = self.target.host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(host)
            .map_err(|error| format!("{} has no name for TLS: {error}", self.target))?;
        let secured = TlsConnector::from(Arc::clone(tls)).connect(name, stream).await;
        let secured = secured.map_err(|error| {
            let hint = if is_of_nobody(&error) {
                "; nobody whom this webhook trusts vouches for its certificate: name the file of \
                 its authority (ca = \"ca.pem\")"
            } else {
                ""
            };
            format!("{} can't be secured by TLS: {error}{hint}", self.target)
        })?;
        Ok(Box::new(secured))
    }
}

/// Returns true if nobody who is trusted vouches for a certificate.
fn is_of_nobody(error: &io::Error) -> bool {
    let error = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    matches!(error, Some(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)))
}

/// A connection, secured or not.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Does what blocks, once there is a place for it. The work itself keeps the place: who waits for
/// it may have gone.
async fn with_place<T: Send + 'static>(
    places: &Arc<Semaphore>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    let place = Arc::clone(places).acquire_owned().await.map_err(|error| error.to_string())?;
    let work = move || {
        let _place = place;
        work()
    };
    estafette::node::blocking(work).await.map_err(|error| error.to_string())
}

/// A connection to one of these, in their order: each is a little ahead of the next one, so that
/// none that says nothing hides the others.
async fn reach<T, C: Future<Output = io::Result<T>>>(
    addresses: &[SocketAddr],
    connect: impl Fn(SocketAddr) -> C,
) -> Result<T, (SocketAddr, io::Error)> {
    let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
    let mut failure = (nowhere, io::ErrorKind::AddrNotAvailable.into());
    let (mut rest, mut under_way) = (addresses.iter().copied(), FuturesUnordered::new());
    loop {
        if let Some(address) = rest.next() {
            let connecting = connect(address);
            under_way.push(async move { (address, connecting.await) });
        }
        let ended = match rest.len() {
            0 => under_way.next().await,
            // One that fails makes way at once.
            _ => timeout(AHEAD, under_way.next()).await.unwrap_or_default(),
        };
        match ended {
            Some((_, Ok(connected))) => return Ok(connected),
            Some((address, Err(error))) => failure = (address, error),
            None if under_way.is_empty() && rest.len() == 0 => return Err(failure),
            None => {}
        }
    }
}

/// An answer whose head is there, and the connection that it comes by.
struct Answer {
    answer: Response<Incoming>,
    sender: http1::SendRequest<Body>,
    driver: JoinSet<hyper::Result<()>>,
}

impl Answer {
    async fn judged(self) -> Outcome {
        let Self { mut answer, sender, mut driver } = self;
        let outcome = judge(&mut answer).await;
        drop((sender, answer));
        // It says that it ends, to who still listens.
        tokio::spawn(async move { drop(timeout(ENDING, driver.join_next()).await) });
        outcome
    }
}

/// The outcome that the head of an answer tells; the beginning of its body is for people.
async fn judge(answer: &mut Response<Incoming>) -> Outcome {
    let status = answer.status();
    if status.is_success() {
        return Outcome::Done;
    }
    let header = |name| answer.headers().get(name).and_then(|value| value.to_str().ok());
    let takes_no_more =
        matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
    let asked = header(RETRY_AFTER).filter(|_| takes_no_more);
    let asked = asked.and_then(|text| asked_for(text, SystemTime::now()));
    let mut why = format!("it answered {status}");
    if status.is_redirection() {
        let to = header(LOCATION).unwrap_or("nowhere");
        why = format!("{why} and leads to {to}, which is not followed: set its new URL");
    }
    let said = beginning(answer.body_mut()).await;
    if !said.is_empty() {
        why = format!("{why}: {said}");
    }
    let why = harmless(&why);
    match status {
        StatusCode::GONE => Outcome::Gone(why),
        _ => Outcome::Failed { status: Some(status.as_u16()), why, asked },
    }
}

/// The beginning of a body, as text; what breaks off, comes too late, or is more, does not matter.
async fn beginning(body: &mut Incoming) -> String {
    let mut read = Vec::new();
    let reads = async {
        while let Some(Ok(frame)) = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
            let Some(piece) = frame.data_ref() else { break };
            let room = ANSWER_MOST - read.len();
            read.extend_from_slice(&piece[..piece.len().min(room)]);
            if read.len() == ANSWER_MOST {
                break;
            }
        }
    };
    let _ = timeout(ANSWER_WITHIN, reads).await;
    String::from_utf8_lossy(&read).trim().to_owned()
}

fn failed(status: Option<u16>, why: String) -> Outcome {
    Outcome::Failed { status, why: harmless(&why), asked: None }
}

/// An error with what it comes from.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Trust in the authorities that this machine trusts, or in those of a file alone. It blocks.
///
/// # Errors
/// The reason, for a person.
pub(super) fn trust(file: Option<&Path>) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    match file {
        Some(file) => {
            let wrong = |why: String| format!("the authority in {}: {why}", file.display());
            let certificates =
                CertificateDer::pem_file_iter(file).map_err(|error| wrong(error.to_string()))?;
            for certificate in certificates.take(CERTIFICATES_MOST) {
                let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
                roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
            }
            if roots.is_empty() {
                return Err(wrong("there is no certificate".into()));
            }
        }
        None => {
            let known = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(known.certs);
            if roots.is_empty() {
                return Err(
                    "this machine trusts no authority by which a server of https could be \
                            known: install its certificates (the package ca-certificates), or \
                            name a file (ca = \"ca.pem\")"
                        .into(),
                );
            }
        }
    }
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails says so")]

    use std::future::{pending, ready};
    use std::sync::mpsc;

    use axum::http::HeaderMap;
    use futures_util::FutureExt;
    use futures_util::future::Either;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn poster() -> Poster {
        Poster {
            target: Target::parse("http://example.org/hook", true).unwrap(),
            allow: Vec::new(),
            lookups: Arc::new(Semaphore::new(LOOKUPS)),
            connect_within: Duration::from_secs(1),
            within: Duration::from_secs(1),
            tls: None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_to_who_reads_nothing_ends_with_its_try() {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let (poster, body) = (poster(), Bytes::from(vec![b'1'; 1 << 20]));
        let posted = poster.exchange(ours, HeaderMap::new(), body);
        assert!(timeout(poster.within, posted).await.is_err(), "nobody has answered");
        let mut read = Vec::new();
        theirs.read_to_end(&mut read).await.unwrap();
        assert!(read.len() <= 64, "{} bytes were sent after its end", read.len());
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_head_says_counts_though_its_body_stalls() {
        for (status, more) in [(410, ""), (429, "retry-after: 3600\r\n"), (503, "")] {
            let (ours, mut theirs) = tokio::io::duplex(4096);
            let (poster, body) = (poster(), Bytes::from_static(b"1"));
            let head = format!("HTTP/1.1 {status} x\r\n{more}content-length: 1000\r\n\r\nwait");
            let answers = async {
                assert!(theirs.read(&mut [0; 4096]).await.unwrap() > 0);
                theirs.write_all(head.as_bytes()).await.unwrap();
            };
            let (posted, ()) = tokio::join!(poster.exchange(ours, HeaderMap::new(), body), answers);
            match (status, posted.unwrap().judged().await) {
                (410, Outcome::Gone(why)) => assert!(why.ends_with(": wait"), "{why}"),
                (_, Outcome::Failed { status: told, asked, .. }) => {
                    assert_eq!((told, asked.is_some()), (Some(status), status == 429));
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_says_nothing_hides_no_other_one() {
        let addresses: Vec<SocketAddr> =
            (1..=4).map(|n| SocketAddr::from(([127, 0, 0, n], 80))).collect();
        let (silent, closed, open) = (addresses[0], addresses[1], addresses[2]);
        let connect = |address: SocketAddr| {
            let refused = || Err(io::ErrorKind::ConnectionRefused.into());
            match address {
                _ if address == silent => Either::Left(pending()),
                _ if address == open => Either::Right(ready(Ok(address))),
                _ => Either::Right(ready(refused())),
            }
        };
        let start = tokio::time::Instant::now();
        assert_eq!(reach(&addresses, connect).await.unwrap(), open);
        // By the clock of the test, which stands still while anything can go on.
        assert!(start.elapsed() < 2 * AHEAD);
        let (told, why) = reach(&[closed], connect).await.unwrap_err();
        assert_eq!((told, why.kind()), (closed, io::ErrorKind::ConnectionRefused));
        assert!(reach(&[], connect).await.is_err());
    }

    #[tokio::test]
    async fn a_resolver_that_hangs_takes_two_threads_and_no_more() {
        let places = poster().lookups;
        let mut hanging = Vec::new();
        for _ in 0..LOOKUPS {
            let (end, ended) = mpsc::channel::<()>();
            let (begin, begun) = mpsc::channel();
            let mut work = Box::pin(with_place(&places, move || {
                begin.send(()).unwrap();
                ended.recv().is_err()
            }));
            assert!(work.as_mut().now_or_never().is_none());
            begun.recv().unwrap();
            // Who waited for it has gone.
            drop(work);
            hanging.push(end);
        }
        let mut next = Box::pin(with_place(&places, || true));
        assert!(next.as_mut().now_or_never().is_none() && places.available_permits() == 0);
        drop(hanging);
        assert!(next.await.unwrap());
    }
}
