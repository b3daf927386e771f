//! The door for gRPC of `estafette node`.

use std::path::PathBuf;

use clap::Args;

/// Options for clients of gRPC: the door, and the actors that methods lead to.
#[derive(Debug, Args)]
pub(crate) struct Grpc {
    /// Let clients of gRPC call actors of other nodes, at host:port, where port 0 is any free one;
    /// each needs a token, as `estafette token add` gives it out
    #[arg(long, value_name = "ADDR", env = "ESTAFETTE_GRPC", hide_env = true)]
    pub(crate) grpc: Option<String>,
    /// A method that leads to an actor, and how: /helloworld.Greeter/SayHello=download:paris/greeter
    /// for bytes as they are, /shop.Shop/Order=ask:paris/shop:shop.Order for JSON; the ways are ask,
    /// download, upload and open; may be repeated
    #[arg(
        long,
        value_name = "PATH=WAY:PEER/NAME",
        value_delimiter = ',',
        requires = "grpc",
        env = "ESTAFETTE_GRPC_METHOD",
        hide_env = true
    )]
    pub(crate) grpc_method: Vec<String>,
    /// A proto, FILE.proto, or a set of descriptors with all that it imports; may be repeated
    #[arg(
        long,
        value_name = "FILE",
        value_delimiter = ',',
        requires = "grpc",
        env = "ESTAFETTE_GRPC_PROTO",
        hide_env = true
    )]
    pub(crate) grpc_proto: Vec<PathBuf>,
    /// A folder that protos import from [default: those that they are in]; may be repeated
    #[arg(
        long,
        value_name = "DIR",
        value_delimiter = ',',
        requires = "grpc_proto",
        env = "ESTAFETTE_GRPC_INCLUDE",
        hide_env = true
    )]
    pub(crate) grpc_include: Vec<PathBuf>,
    /// A service of these protos that leads to an actor: helloworld.Greeter=paris/greeter, or
    /// typed:paris/greeter for one that has the types of the proto; may be repeated
    #[arg(
        long,
        value_name = "SERVICE=PEER/NAME",
        value_delimiter = ',',
        requires = "grpc_proto",
        env = "ESTAFETTE_GRPC_SERVICE",
        hide_env = true
    )]
    pub(crate) grpc_service: Vec<String>,
    /// The type that a method of such a service sends, if it is not called as its request:
    /// helloworld.Greeter/SayHello=greeter.SayHello, @2 behind it for another version than 1; may
    /// be repeated
    #[arg(
        long,
        value_name = "METHOD=TYPE",
        value_delimiter = ',',
        requires = "grpc_service",
        env = "ESTAFETTE_GRPC_TYPE",
        hide_env = true
    )]
    pub(crate) grpc_type: Vec<String>,
}
