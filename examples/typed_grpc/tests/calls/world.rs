//! Two nodes, actors on one of them, doors on the other, and a stock client.

use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Context, Handler};
use estafette::node::MemoryStore;
use estafette::remote::{ActorError, Asked, Called};
use estafette::{Identity, Node, RemoteErrorKind};
use estafette_actors::standard;
use estafette_doors::grpc::{Methods, grpc};
use estafette_doors::{Access, Router, Serving, Tokens, serve};
use estafette_typed_grpc::Greeter;
use estafette_typed_grpc::proto::town::v1::{self as town, GreetRequest, Guest, LinesRequest};
use futures_util::StreamExt;
use tokio::sync::mpsc;
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};
use tonic_prost::ProstCodec;

/// Longer than anything here may take: what hangs fails.
const LIMIT: Duration = Duration::from_secs(180);

pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, future).await.expect("it takes too long")
}

/// The events of a call that a patient actor hears.
#[derive(Debug, PartialEq)]
pub(crate) enum Heard {
    Request(String),
    Broke(RemoteErrorKind),
    Closed,
}

/// Answers nobody, and hears that they go; but `wrong` with an error of its own.
struct Patient(mpsc::UnboundedSender<Heard>);

impl Actor for Patient {
    type Context = Context<Self>;
}

impl Handler<Asked<GreetRequest>> for Patient {
    type Result = ();

    fn handle(&mut self, asked: Asked<GreetRequest>, _: &mut Context<Self>) {
        if asked.message.name == "wrong" {
            let error = ActorError::failed_precondition("not before noon");
            // A `google.rpc.Help` without a link.
            let error = error.detail("type.googleapis.com/google.rpc.Help", []);
            return asked.reply.send(&Err(error));
        }
        let heard = self.0.clone();
        heard.send(Heard::Request(asked.message.name)).unwrap();
        actix::spawn(async move {
            asked.reply.closed().await;
            let _ = heard.send(Heard::Closed);
        });
    }
}

impl Handler<Called<LinesRequest>> for Patient {
    type Result = ();

    fn handle(&mut self, mut called: Called<LinesRequest>, _: &mut Context<Self>) {
        let heard = self.0.clone();
        actix::spawn(async move {
            let request = called.requests.next().await.unwrap().unwrap();
            heard.send(Heard::Request(request.name)).unwrap();
            called.replies.closed().await;
            let _ = heard.send(Heard::Closed);
        });
    }
}

impl Handler<Called<Guest>> for Patient {
    type Result = ();

    fn handle(&mut self, called: Called<Guest>, _: &mut Context<Self>) {
        let heard = self.0.clone();
        actix::spawn(async move {
            // Dropped, it would say that the actor died with the call.
            let Called { mut requests, replies: _replies } = called;
            while let Some(guest) = requests.next().await {
                let _ = heard.send(match guest {
                    Ok(guest) => Heard::Request(guest.name),
                    Err(error) => Heard::Broke(error.kind),
                });
            }
        });
    }
}

pub(crate) struct World {
    pub(crate) paris: Node,
    pub(crate) lyon: Node,
    pub(crate) heard: mpsc::UnboundedReceiver<Heard>,
}

/// `paris` has `greeter`, of the example, and `patient`; `lyon` knows it, and `away`, which is not
/// there.
pub(crate) async fn world() -> World {
    let (lyon_key, paris_key) = (Identity::generate(), Identity::generate());
    let (lyon_id, paris_id) = (lyon_key.peer(), paris_key.peer());
    let paris = Node::builder().name("paris").identity(paris_key).listen("127.0.0.1:0");
    let paris = paris.peer("lyon", lyon_id, [""; 0]).stages(standard()).start().await.unwrap();
    town::Greeter::taken_by(paris.host("greeter", || Greeter)).start().await.unwrap();
    let (hearing, heard) = mpsc::unbounded_channel();
    let patient = paris.host("patient", move || Patient(hearing.clone()));
    let patient = patient.takes_asked::<GreetRequest>().takes_calls::<LinesRequest>();
    patient.takes_calls::<Guest>().start().await.unwrap();

    let lyon = Node::builder().name("lyon").identity(lyon_key);
    let lyon = lyon.peer("paris", paris_id, [paris.addresses()[0].clone()]);
    let lyon = lyon.peer("away", Identity::generate().peer(), [""; 0]);
    let lyon = lyon.stages(standard()).start().await.unwrap();
    World { paris, lyon, heard }
}

/// A door to an actor, and what a client needs to come in.
pub(crate) struct Door {
    pub(crate) address: String,
    pub(crate) token: String,
    _serving: Serving,
}

impl World {
    pub(crate) async fn door(&self, to: &str) -> Door {
        self.door_of(Methods::new().typed::<town::Greeter>(to).unwrap()).await
    }

    /// A door that is not served yet, and a token for it.
    pub(crate) fn router(&self, methods: Methods) -> (Router, String) {
        let tokens = Tokens::load(Arc::new(MemoryStore::default())).unwrap();
        let rights = ["paris/*", "away/*"].map(|right| right.parse().unwrap());
        let token = tokens.add("all", &rights, None, None).unwrap().text().to_owned();
        (grpc(&Access::of(&self.lyon, &tokens), methods), token)
    }

    pub(crate) async fn door_of(&self, methods: Methods) -> Door {
        let (router, token) = self.router(methods);
        let serving = serve(router, "127.0.0.1:0").await.unwrap();
        Door { address: serving.address().to_string(), token, _serving: serving }
    }

    /// A client of an actor, with the door that it comes in by.
    pub(crate) async fn client(&self, to: &str) -> Client {
        self.door(to).await.client().await
    }
}

impl Door {
    pub(crate) async fn client(self) -> Client {
        let address = format!("http://{}", self.address);
        let channel = Channel::from_shared(address).unwrap().connect().await.unwrap();
        Client { grpc: tonic::client::Grpc::new(channel), door: self }
    }
}

/// A stock client: what `tonic` would generate of the proto, for any method of it.
pub(crate) struct Client {
    grpc: tonic::client::Grpc<Channel>,
    door: Door,
}

/// A type of the proto.
pub(crate) trait Proto: prost::Message + Default + 'static {}
impl<T: prost::Message + Default + 'static> Proto for T {}

impl Client {
    fn request<T>(&self, message: T, within: Option<Duration>) -> Request<T> {
        let mut request = Request::new(message);
        let bearer = format!("Bearer {}", self.door.token);
        request.metadata_mut().insert("authorization", bearer.parse().unwrap());
        if let Some(within) = within {
            request.set_timeout(within);
        }
        request
    }

    fn path(method: &str) -> tonic::codegen::http::uri::PathAndQuery {
        format!("/town.v1.Greeter/{method}").parse().unwrap()
    }

    pub(crate) async fn unary<M: Proto, R: Proto>(
        &mut self,
        method: &str,
        message: M,
        within: Option<Duration>,
    ) -> Result<R, Status> {
        soon(self.grpc.ready()).await.unwrap();
        let (request, codec) = (self.request(message, within), ProstCodec::default());
        let reply = self.grpc.unary(request, Self::path(method), codec);
        soon(reply).await.map(|reply| reply.into_inner())
    }

    pub(crate) async fn download<M: Proto, R: Proto>(
        &mut self,
        method: &str,
        message: M,
        within: Option<Duration>,
    ) -> Result<Streaming<R>, Status> {
        soon(self.grpc.ready()).await.unwrap();
        let (request, codec) = (self.request(message, within), ProstCodec::default());
        let replies = self.grpc.server_streaming(request, Self::path(method), codec);
        soon(replies).await.map(|replies| replies.into_inner())
    }

    pub(crate) async fn upload<M: Proto, R: Proto>(
        &mut self,
        method: &str,
        messages: impl futures_util::Stream<Item = M> + Send + 'static,
    ) -> Result<R, Status> {
        soon(self.grpc.ready()).await.unwrap();
        let (request, codec) = (self.request(messages, None), ProstCodec::default());
        let reply = self.grpc.client_streaming(request, Self::path(method), codec);
        soon(reply).await.map(|reply| reply.into_inner())
    }

    pub(crate) async fn open<M: Proto, R: Proto>(
        &mut self,
        method: &str,
        messages: impl futures_util::Stream<Item = M> + Send + 'static,
    ) -> Result<Streaming<R>, Status> {
        soon(self.grpc.ready()).await.unwrap();
        let (request, codec) = (self.request(messages, None), ProstCodec::default());
        let replies = self.grpc.streaming(request, Self::path(method), codec);
        soon(replies).await.map(|replies| replies.into_inner())
    }
}
