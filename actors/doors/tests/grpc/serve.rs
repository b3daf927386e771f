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
    /// Another one, that leads to the same.
    pub(crate) other: String,
    pub(crate) tokens: Tokens,
    pub(crate) _serving: Serving,
}

/// The origin of the pages that may call by it.
pub(crate) const PAGES: &str = "https://shop.example";

/// Opens a door of the node `lyon`.
pub(crate) async fn open(world: &World, methods: Methods) -> Door {
    let tokens = Tokens::load(Arc::new(MemoryStore::default())).unwrap();
    let all = ["paris/*", "away/*", "read:files", "done:files", "read:read"];
    let all = all.map(|right| right.parse().unwrap());
    let token = tokens.add("all", &all, None, None).unwrap().text().to_owned();
    let other = tokens.add("other", &all, None, None).unwrap().text().to_owned();
    let access = Access::of(&world.lyon, &tokens).pages_of([PAGES.parse().unwrap()]);
    let serving = serve(grpc(&access, methods), "127.0.0.1:0").await.unwrap();
    let address = serving.address().to_string();
    Door { address, token, other, tokens, _serving: serving }
}
