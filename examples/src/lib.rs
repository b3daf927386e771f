//! Programs that show how estafette is embedded and extended: `cargo run -p estafette-examples
//! --example hello` runs one.
//!
//! There is nothing to use here. What the README and the guides show as code is compiled with this
//! crate's tests.

#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

#[cfg(doctest)]
#[doc = include_str!("../../framework/docs/first-program.md")]
struct FirstProgram;

#[cfg(doctest)]
#[doc = include_str!("../../framework/docs/node-example.md")]
struct NodeExample;

#[cfg(doctest)]
#[doc = include_str!("../../framework/docs/remote-example.md")]
struct RemoteExample;

#[cfg(doctest)]
#[doc = include_str!("../../framework/docs/messages.md")]
struct Messages;

#[cfg(doctest)]
#[doc = include_str!("../command/README.md")]
struct CommandReadme;

#[cfg(doctest)]
#[doc = include_str!("../../actors/page/README.md")]
struct PageReadme;

#[cfg(doctest)]
#[doc = include_str!("../../framework/topology/README.md")]
struct TopologyReadme;

#[cfg(doctest)]
#[doc = include_str!("../../framework/docs/tour.md")]
struct Tour;

#[cfg(doctest)]
#[doc = include_str!("../../framework/docs/embedding.md")]
struct Embedding;

#[cfg(doctest)]
#[doc = include_str!("../../framework/docs/extending.md")]
struct Extending;

#[cfg(doctest)]
#[doc = include_str!("../../framework/docs/doors.md")]
struct Doors;
