//! A service with a proto, served by an actor that has its types: `build.rs` makes them.
//!
//! ```text
//! any client of gRPC ══gRPC══▶ lyon: a door ══estafette══▶ paris: Greeter ◀══estafette══ lyon, natively
//! ```
//! ```
//! # fn methods() -> Result<(), Box<dyn std::error::Error>> {
//! use estafette_doors::grpc::Methods;
//! use estafette_typed_grpc::proto::town::v1::Greeter;
//!
//! let methods = Methods::new().typed::<Greeter>("paris/greeter")?;
//! # drop(methods); Ok(()) }
//! ```

mod greeter;

/// The messages and the service of `proto/greeter.proto`.
pub mod proto {
    include!(concat!(env!("OUT_DIR"), "/protos.rs"));
}

pub use greeter::Greeter;

/// The README of `estafette-build`, whose program is compiled.
#[cfg(doctest)]
#[doc = include_str!("../../../framework/build/README.md")]
#[derive(Debug)]
pub struct Readme;
