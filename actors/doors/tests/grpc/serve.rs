//! The door, served.

use std::sync::Arc;

use estafette::node::MemoryStore;
use estafette_doors::grpc::{Methods, grpc};
use estafette_doors::{Access, Serving, Tokens, serve};

use crate::world::World;

/// A door that is served until it is dropped.
pub(crate) struct Door {
    pub(crate) address: String,
    /// A token that leads to all that is there.
    pub(crate) token: String,
    _serving: Serving,
}

/// Opens a door of the node `lyon`.
pub(crate) async fn open(world: &World, methods: Methods) -> Door {
    let tokens = Tokens::load(Arc::new(MemoryStore::default())).unwrap();
    let all = ["paris/*".parse().unwrap(), "away/*".parse().unwrap()];
    let token = tokens.add("all", &all, None, None).unwrap().text().to_owned();
    let access = Access::of(&world.lyon, &tokens);
    let serving = serve(grpc(&access, methods), "127.0.0.1:0").await.unwrap();
    Door { address: serving.address().to_string(), token, _serving: serving }
}
