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
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::guard::{Network, resolve};
use super::schedule::asked as asked_for;
use super::target::Target;

/// What is read of the body of an answer that is a failure.
const ANSWER_MOST: usize = 1024;
/// The most bytes, and headers, of the head of an answer.
const HEAD_MOST: usize = 32 << 10;
const HEADERS_MOST: usize = 64;
/// The most certificates of a file.
const CERTIFICATES_MOST: usize = 256;

/// What posts, whatever it is.
#[derive(Debug)]
pub(super) struct Poster {
    pub(super) target: Target,
    pub(super) allow: Vec<Network>,
    /// Until there is a connection, secured if it is to be.
    pub(super) connect_within: Duration,
    /// Until there is an answer.
    pub(super) within: Duration,
    /// `None` where nothing is secured.
    pub(super) tls: Option<Arc<ClientConfig>>,
}

/// What came of a POST.
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
        let answer = async {
            let mut answer = self.exchange(head, body).await?;
            Ok(judge(&mut answer).await)
        };
        match tokio::time::timeout(self.within, answer).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(why)) => failed(None, why),
            Err(_) => {
                failed(None, format!("{} has not answered within {:?}", self.target, self.within))
            }
        }
    }

    async fn exchange(
        &self,
        head: axum::http::HeaderMap,
        body: Bytes,
    ) -> Result<Response<Incoming>, String> {
        let connected = tokio::time::timeout(self.connect_within, self.connect());
        let stream = connected.await.map_err(|_| {
            format!("there is no connection to {} within {:?}", self.target, self.connect_within)
        })??;
        let broken = |error: hyper::Error| format!("{} broke off: {}", self.target, causes(&error));
        let connection = http1::Builder::new()
            .max_buf_size(HEAD_MOST)
            .max_headers(HEADERS_MOST)
            .handshake::<_, Body>(TokioIo::new(stream));
        let (mut sender, connection) = connection.await.map_err(broken)?;
        // It ends with the sender, or when the answer is dropped.
        tokio::spawn(connection);
        let request = self.request(head, body)?;
        sender.send_request(request).await.map_err(broken)
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
        let addresses = estafette::node::blocking(move || resolve(&host, port, &allow)).await;
        let addresses = addresses.map_err(|error| error.to_string())??;
        let stream = reach(&addresses).await.map_err(|(address, error)| {
            format!("{} can't be reached at {address}: {error}", self.target)
        })?;
        let Some(tls) = &self.tls else { return Ok(Box::new(stream)) };
        let host = self.target.host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(host)
            .map_err(|error| format!("{} has no name for TLS: {error}", self.target))?;
        let secured = TlsConnector::from(Arc::clone(tls)).connect(name, stream).await;
        let secured =
            secured.map_err(|error| format!("{} can't be secured by TLS: {error}", self.target))?;
        Ok(Box::new(secured))
    }
}

/// A connection, secured or not.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection to the first of these that takes one.
async fn reach(addresses: &[SocketAddr]) -> Result<TcpStream, (SocketAddr, io::Error)> {
    let mut failure = None;
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // Small requests must not wait; without it they are as right.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(error) => failure = Some((*address, error)),
        }
    }
    let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
    Err(failure.unwrap_or_else(|| (nowhere, io::ErrorKind::AddrNotAvailable.into())))
}

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
    match status {
        StatusCode::GONE => Outcome::Gone(why),
        _ => Outcome::Failed { status: Some(status.as_u16()), why, asked },
    }
}

/// The beginning of a body, as text; what breaks off, or is more, does not matter.
async fn beginning(body: &mut Incoming) -> String {
    let mut read = Vec::new();
    while let Some(Ok(frame)) = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
        let Some(piece) = frame.data_ref() else { break };
        let room = ANSWER_MOST - read.len();
        read.extend_from_slice(&piece[..piece.len().min(room)]);
        if read.len() == ANSWER_MOST {
            break;
        }
    }
    String::from_utf8_lossy(&read).trim().to_owned()
}

fn failed(status: Option<u16>, why: String) -> Outcome {
    Outcome::Failed { status, why, asked: None }
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
