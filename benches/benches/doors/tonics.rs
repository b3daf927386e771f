//! Plain tonic: an echo, and what passes calls on to one.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use anyhow::Result;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::runtime::Runtime;
use tonic::body::Body;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::codegen::{Service, http};
use tonic::server::{NamedService, ServerStreamingService, UnaryService};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Server};
use tonic::{Request, Response, Status};

use crate::bytes::AsTheyAre;
use crate::grpc::{ECHO, LINES, connect};
use crate::role::{announce, orders};

pub(crate) fn server(behind: Option<&str>) -> Result<()> {
    let runtime = Runtime::new()?;
    let behind = behind.map(|address| runtime.block_on(connect(address))).transpose()?;
    let address = "127.0.0.1:0".parse()?;
    let incoming = runtime.block_on(async { TcpIncoming::bind(address) })?;
    let incoming = incoming.with_nodelay(Some(true));
    announce(&incoming.local_addr()?.to_string())?;
    let server = Server::builder().add_service(Echo { behind });
    runtime.spawn(server.serve_with_incoming(incoming));
    orders().for_each(drop);
    Ok(())
}

#[derive(Clone)]
struct Echo {
    behind: Option<Channel>,
}

type Answered<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Answered<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let echo = self.clone();
        Box::pin(async move {
            let mut server = tonic::server::Grpc::new(AsTheyAre);
            Ok(match request.uri().path() {
                LINES => server.server_streaming(echo, request).await,
                _ => server.unary(echo, request).await,
            })
        })
    }
}

impl NamedService for Echo {
    const NAME: &'static str = "bench.Echo";
}

impl UnaryService<Bytes> for Echo {
    type Response = Bytes;
    type Future = Answered<Result<Response<Bytes>, Status>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let behind = self.behind.clone();
        Box::pin(async move {
            let Some(behind) = behind else { return Ok(Response::new(request.into_inner())) };
            let mut client = tonic::client::Grpc::new(behind);
            client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
            client.unary(request, PathAndQuery::from_static(ECHO), AsTheyAre).await
        })
    }
}

impl ServerStreamingService<Bytes> for Echo {
    type Response = Bytes;
    type ResponseStream = BoxStream<'static, Result<Bytes, Status>>;
    type Future = Answered<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let behind = self.behind.clone();
        Box::pin(async move {
            let Some(behind) = behind else {
                let (times, line) = lines(&request.into_inner());
                let lines = stream::iter((0..times).map(move |_| Ok(line.clone())));
                return Ok(Response::new(lines.boxed()));
            };
            let mut client = tonic::client::Grpc::new(behind);
            client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
            let path = PathAndQuery::from_static(LINES);
            let lines = client.server_streaming(request, path, AsTheyAre).await?;
            Ok(lines.map(StreamExt::boxed))
        })
    }
}

/// The number of lines asked for, and each of them: the request is their number, and padding.
pub(crate) fn lines(request: &[u8]) -> (u64, Bytes) {
    let times = request.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    (times, Bytes::copy_from_slice(request))
}
