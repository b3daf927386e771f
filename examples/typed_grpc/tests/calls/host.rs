//! A door within the gRPC server of a host, which has rules of its own for who may come in.

use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use estafette_doors::grpc::Methods;
use estafette_typed_grpc::proto::town::v1::{GreetReply, Greeter};
use tokio::net::TcpListener;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::service::Routes;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Server};
use tonic::{Code, Status};
use tonic_prost::ProstCodec;

use crate::greet;
use crate::world::{soon, world};

async fn called(address: &str, key: &str) -> Result<GreetReply, Status> {
    let channel = Channel::from_shared(format!("http://{address}")).unwrap();
    let mut client = Grpc::new(channel.connect().await.unwrap());
    soon(client.ready()).await.unwrap();
    let mut request = tonic::Request::new(greet("Ada"));
    request.metadata_mut().insert("x-till", key.parse().unwrap());
    let path = PathAndQuery::from_static("/town.v1.Greeter/Greet");
    let reply = soon(client.unary(request, path, ProstCodec::default())).await;
    reply.map(|reply| reply.into_inner())
}

#[tokio::test]
async fn a_host_has_the_door_in_its_own_server_and_lets_in_whom_it_likes() {
    let world = world().await;
    let methods = Methods::new().typed::<Greeter>("paris/greeter").unwrap();
    let (router, token) = world.router(methods);
    // Who has the host's key is given the token.
    let router = router.layer(from_fn(move |mut request: Request, next: Next| {
        let bearer = format!("Bearer {token}");
        async move {
            if request.headers().get("x-till").is_some_and(|key| key == "4711") {
                request.headers_mut().insert("authorization", bearer.parse().unwrap());
            }
            next.run(request).await
        }
    }));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let incoming = TcpIncoming::from(listener);
    let server = Server::builder().add_routes(Routes::from(router)).serve_with_incoming(incoming);
    let server = tokio::spawn(server);

    assert_eq!(called(&address, "4711").await.unwrap().text, "Bonjour Ada");
    let error = called(&address, "4712").await.unwrap_err();
    assert_eq!(error.code(), Code::Unauthenticated, "{error}");
    server.abort();
}
