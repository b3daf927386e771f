//! A proto whose names the Rust around them has as well: what is made of it compiles.

#![deny(warnings)]

use actix::{Actor, Context, Handler};
use estafette::remote::{ActorError, Called};
use estafette_doors::grpc::TypedService;

use crate::world::world;

mod proto {
    include!(concat!(env!("OUT_DIR"), "/odd.rs"));
}
use proto::within::v1::Part;

struct Odd;

impl Actor for Odd {
    type Context = Context<Self>;
}

impl Handler<proto::A> for Odd {
    type Result = Result<proto::B, ActorError>;

    fn handle(&mut self, _: proto::A, _: &mut Context<Self>) -> Self::Result {
        Ok(proto::B {})
    }
}

impl Handler<Called<proto::S>> for Odd {
    type Result = ();

    fn handle(&mut self, _: Called<proto::S>, _: &mut Context<Self>) {}
}

impl Handler<proto::Actor> for Odd {
    type Result = Result<Part, ActorError>;

    fn handle(&mut self, _: proto::Actor, _: &mut Context<Self>) -> Self::Result {
        Ok(Part {})
    }
}

#[tokio::test]
async fn a_proto_whose_names_rust_has_as_well_is_taken_by_an_actor() {
    let world = world().await;
    proto::Odd::taken_by(world.paris.host("odd", || Odd)).start().await.unwrap();
    let remote = world.lyon.remote::<proto::A>("paris/odd").unwrap();
    assert_eq!(remote.ask(proto::A {}).await.unwrap(), Ok(proto::B {}));
    assert_eq!(<proto::Odd as TypedService>::NAME, "Odd");
}
