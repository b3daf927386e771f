//! tonic: one client-streaming call over TLS, with and without zstd. The service is written by
//! hand, as the generator would, so that no `protoc` is needed. Invariant: HTTP/2 windows and
//! frames large enough that neither flow control nor 16 KiB frames hold it back.

use anyhow::{Context as _, Result, ensure};
use data_encoding::HEXLOWER;
use futures_util::StreamExt as _;
use prost::Message;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tonic::codec::CompressionEncoding::Zstd;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity, Server, ServerTlsConfig};
use tonic::{Request, Status, Streaming, client};
use tonic_prost::ProstCodec;

use self::service::{Delivery, PATH};
use super::tls::NAME;
use crate::check::{Check, Checker, Digester};
use crate::contender::Contender;
use crate::side::{Side, Usage};

pub(crate) const TLS: Contender = Contender {
    name: "tonic-tls",
    about: "tonic, TLS",
    check: Check::Compare,
    receive,
    send: send_plain,
};
pub(crate) const TLS_ZSTD: Contender = Contender {
    name: "tonic-tls-zstd",
    about: "tonic, TLS, zstd",
    check: Check::Compare,
    receive,
    send: send_zstd,
};
pub(crate) const TLS_ZSTD_DIGEST: Contender = Contender {
    name: "tonic-tls-zstd+blake3",
    about: "the same, both ends digest",
    check: Check::Digest,
    receive,
    send: send_zstd,
};

/// A message of the stream; the last one carries the digest, if one is made.
#[derive(Clone, PartialEq, Message)]
struct Piece {
    #[prost(bytes = "bytes", tag = "1")]
    data: bytes::Bytes,
    #[prost(bytes = "vec", tag = "2")]
    digest: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct Verified {
    #[prost(uint64, tag = "1")]
    bytes: u64,
}

fn receive(side: Side) -> Result<Usage> {
    Runtime::new()?.block_on(async {
        let made = rcgen::generate_simple_self_signed([NAME.to_owned()])?;
        let identity = Identity::from_pem(made.cert.pem(), made.signing_key.serialize_pem());
        let incoming = TcpIncoming::bind("127.0.0.1:0".parse()?)?.with_nodelay(Some(true));
        let whereabouts =
            format!("{} {}", incoming.local_addr()?, HEXLOWER.encode(made.cert.pem().as_bytes()));
        let (done, mut outcome) = mpsc::channel(1);
        let delivery = Delivery::new(side, done);
        delivery.side.announce(&whereabouts);
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let server = Server::builder()
            .tls_config(ServerTlsConfig::new().identity(identity))?
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .max_frame_size(FRAME)
            .add_service(delivery)
            .serve_with_incoming_shutdown(incoming, async { drop(stopped.await) });
        let server = tokio::spawn(server);
        let usage = outcome.recv().await.context("no stream was received")?;
        drop(stop);
        server.await??;
        usage
    })
}

/// The work behind the call: verifies the stream as it comes.
async fn take(side: &Side, mut checker: Checker, stream: &mut Streaming<Piece>) -> Result<Usage> {
    let clock = side.start();
    let mut digest = Vec::new();
    while let Some(piece) = stream.next().await {
        let piece = piece?;
        checker.take(&piece.data)?;
        digest = piece.digest;
    }
    checker.finish(&digest)?;
    clock.stop()
}

fn send_plain(side: Side, whereabouts: &str) -> Result<Usage> {
    send(&side, whereabouts, false)
}

fn send_zstd(side: Side, whereabouts: &str) -> Result<Usage> {
    send(&side, whereabouts, true)
}

fn send(side: &Side, whereabouts: &str, compress: bool) -> Result<Usage> {
    Runtime::new()?.block_on(async {
        let (address, certificate) =
            whereabouts.split_once(' ').context("an address and a certificate")?;
        let tls = ClientTlsConfig::new()
            .domain_name(NAME)
            .ca_certificate(Certificate::from_pem(HEXLOWER.decode(certificate.as_bytes())?));
        let channel = Endpoint::from_shared(format!("https://{address}"))?
            .tls_config(tls)?
            .tcp_nodelay(true)
            .connect()
            .await?;
        let mut client = client::Grpc::new(channel).max_encoding_message_size(usize::MAX);
        if compress {
            client = client.send_compressed(Zstd);
        }
        client.ready().await?;
        let clock = side.start();
        let request = Request::new(futures_util::stream::iter(stream(side)));
        let reply = client
            .client_streaming(
                request,
                PathAndQuery::from_static(PATH),
                ProstCodec::<Piece, Verified>::default(),
            )
            .await;
        let verified =
            reply.map_err(|status| anyhow::anyhow!("the receiver did not verify: {status}"))?;
        ensure!(
            verified.get_ref().bytes == side.job.bytes,
            "the receiver verified {} bytes",
            verified.get_ref().bytes
        );
        clock.stop()
    })
}

fn stream(side: &Side) -> impl Iterator<Item = Piece> + Send + use<> {
    let mut pieces = side.pieces().peekable();
    let mut digester = Digester::new(side.check);
    std::iter::from_fn(move || {
        let data = pieces.next()?;
        digester.add(&data);
        let digest = if pieces.peek().is_none() { digester.finish() } else { Vec::new() };
        Some(Piece { data, digest })
    })
}

const WINDOW: u32 = 8 * 1024 * 1024;
const FRAME: u32 = 256 * 1024;

/// The service as a generator would write it.
mod service {
    use std::convert::Infallible;
    use std::sync::{Arc, Mutex};

    use anyhow::Result;
    use tokio::sync::mpsc::Sender;
    use tonic::body::Body;
    use tonic::codegen::{BoxFuture, Context, Poll, Service, http};
    use tonic::server::{ClientStreamingService, Grpc, NamedService};
    use tonic::{Request, Response};

    use super::{Checker, Piece, ProstCodec, Side, Status, Streaming, Usage, Verified, Zstd, take};

    pub(super) const PATH: &str = "/bench.Delivery/Deliver";

    #[derive(Clone)]
    pub(super) struct Delivery {
        pub(super) side: Arc<Side>,
        /// Made before the sender may start its clock; taken by the one call of the run.
        checker: Arc<Mutex<Option<Checker>>>,
        done: Sender<Result<Usage>>,
    }

    impl Delivery {
        pub(super) fn new(side: Side, done: Sender<Result<Usage>>) -> Self {
            let checker = Arc::new(Mutex::new(Some(side.checker())));
            Self { side: Arc::new(side), checker, done }
        }
    }

    impl NamedService for Delivery {
        const NAME: &'static str = "bench.Delivery";
    }

    impl Service<http::Request<Body>> for Delivery {
        type Response = http::Response<Body>;
        type Error = Infallible;
        type Future = BoxFuture<Self::Response, Self::Error>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: http::Request<Body>) -> Self::Future {
            let delivery = self.clone();
            Box::pin(async move {
                let codec = ProstCodec::<Verified, Piece>::default();
                let mut grpc =
                    Grpc::new(codec).accept_compressed(Zstd).max_decoding_message_size(usize::MAX);
                Ok(grpc.client_streaming(delivery, request).await)
            })
        }
    }

    impl ClientStreamingService<Piece> for Delivery {
        type Response = Verified;
        type Future = BoxFuture<Response<Verified>, Status>;

        fn call(&mut self, mut request: Request<Streaming<Piece>>) -> Self::Future {
            let delivery = self.clone();
            Box::pin(async move {
                let checker =
                    delivery.checker.lock().expect("nothing panics with it locked").take();
                let checker = checker.ok_or_else(|| {
                    Status::failed_precondition("the stream was received already")
                })?;
                let outcome = take(&delivery.side, checker, request.get_mut()).await;
                let reply = match &outcome {
                    Ok(_) => Ok(Response::new(Verified { bytes: delivery.side.job.bytes })),
                    Err(error) => Err(Status::data_loss(format!("{error:#}"))),
                };
                drop(delivery.done.send(outcome).await);
                reply
            })
        }
    }
}
