//! Protos for actors of estafette, in a build script: without `protoc`, a service of a proto becomes
//! one that an actor takes, with its messages as types of Rust, and that stock clients of gRPC call
//! by a door.
//!
//! ```no_run
//! // build.rs
//! fn main() -> Result<(), estafette_build::Error> {
//!     estafette_build::compile(["proto/hello.proto"], ["proto"])
//! }
//! ```
//! It writes one file, which a program includes; each package is a module in it:
//! ```
//! # use std::fs;
//! # let folder = tempfile::tempdir()?;
//! # let (proto, out) = (folder.path().join("hello.proto"), folder.path());
//! # fs::write(&proto, "syntax = \"proto3\"; package hello.v1;
//! #     message HelloRequest { string name = 1; } message HelloReply { string text = 1; }
//! #     service Greeter { rpc SayHello(HelloRequest) returns (HelloReply); }")?;
//! use estafette_build::Builder;
//!
//! Builder::new().out_dir(out).compile([proto], [out])?;
//! let made = fs::read_to_string(out.join("protos.rs"))?;
//! // mod proto { include!(concat!(env!("OUT_DIR"), "/protos.rs")); }
//! assert!(made.contains("pub mod hello") && made.contains("pub mod v1"));
//! assert!(made.contains("RemoteMessage for HelloRequest"));
//! // `Greeter::taken_by(node.host("greeter", || MyActor)).start()` on the node that has the actor,
//! // `Methods::new().typed::<Greeter>("paris/greeter")` on the one that has the door.
//! assert!(made.contains("pub struct Greeter;"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//! The README has a whole program, with what is made of a proto and what is refused;
//! `examples/typed_grpc` of the repository has all shapes of an rpc.

mod check;
mod error;
mod known;
mod own;
mod read;
mod rpc;
mod service;
mod text;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

pub use prost_build;
use prost_build::{Config, Module};

pub use self::error::Error;
use self::own::OwnRequest;
use self::read::Protos;
use self::service::Services;

/// Makes Rust of protos, as [`Builder::compile`] does.
///
/// # Errors
/// As of that.
pub fn compile(
    files: impl IntoIterator<Item = impl AsRef<Path>>,
    includes: impl IntoIterator<Item = impl AsRef<Path>>,
) -> Result<(), Error> {
    Builder::new().compile(files, includes)
}

/// The settings of what is made of protos.
#[derive(Debug)]
pub struct Builder {
    door: bool,
    own: Vec<OwnRequest>,
    out: Option<PathBuf>,
    name: String,
    prost: Config,
}

impl Default for Builder {
    fn default() -> Self {
        Self { door: true, own: Vec::new(), out: None, name: "protos".into(), prost: Config::new() }
    }
}

impl Builder {
    /// As [`compile`] does it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Leaves out what a door needs, for a program that has actors and no door: it needs no
    /// `estafette-doors` then.
    #[must_use]
    pub fn without_door(mut self) -> Self {
        self.door = false;
        self
    }

    /// Gives an rpc (`"shop.Shop.List"`) a request of its own, called so in Rust and between nodes
    /// (`"ListRequest"`): a copy of the message that the proto says, where other rpcs have that,
    /// too, or it is one of `google.protobuf`, and the proto can't be changed. Clients go on as they
    /// are, since a message has no name in gRPC.
    #[must_use]
    pub fn own_request(mut self, rpc: impl Into<String>, name: impl Into<String>) -> Self {
        self.own.push(OwnRequest { rpc: rpc.into(), name: name.into() });
        self
    }

    /// Another folder than `OUT_DIR`.
    #[must_use]
    pub fn out_dir(mut self, folder: impl Into<PathBuf>) -> Self {
        self.out = Some(folder.into());
        self
    }

    /// Another name of the file than `protos`, for a build script that makes several: without the
    /// ending.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets what prost knows of: attributes of types, maps that are sorted, bytes that are shared.
    /// The generator of services is ours.
    #[must_use]
    pub fn prost(mut self, set: impl FnOnce(&mut Config)) -> Self {
        set(&mut self.prost);
        self
    }

    /// Reads files of the protocol buffers language, and what they import, from these folders, and
    /// writes one file of Rust: `protos.rs` in `OUT_DIR`. Cargo runs the script again when one of
    /// them has changed.
    ///
    /// # Errors
    /// If a proto can't be read, or no actors can be made of it: with the file, the line, the
    /// reason, and what to do. If the file can't be written.
    pub fn compile(
        self,
        files: impl IntoIterator<Item = impl AsRef<Path>>,
        includes: impl IntoIterator<Item = impl AsRef<Path>>,
    ) -> Result<(), Error> {
        let protos = read::read(files, includes)?;
        for path in protos.paths.values() {
            println!("cargo:rerun-if-changed={}", path.display());
        }
        let (out, name) = (self.out.clone(), self.name.clone());
        let out = out.or_else(|| env::var_os("OUT_DIR").map(PathBuf::from)).ok_or_else(|| {
            Error(
                "estafette-build: there is no OUT_DIR here, which cargo sets for build scripts: \
                 name a folder by `Builder::out_dir`"
                    .into(),
            )
        })?;
        write(&out.join(format!("{name}.bin")), &protos.encoded)?;
        write(&out.join(format!("{name}.rs")), self.generate(protos)?.as_bytes())
    }

    /// The file of Rust.
    fn generate(mut self, mut protos: Protos) -> Result<String, Error> {
        for own in &self.own {
            own::give(&mut protos.set, own)?;
        }
        let rpcs = rpc::rpcs(&protos);
        check::check(&protos, &rpcs)?;
        for (proto, rust) in known::paths(&protos.set, &rpcs) {
            self.prost.extern_path(proto, rust);
        }
        let services = Services::new(self.door, format!("{}.bin", self.name));
        self.prost.compile_well_known_types().service_generator(Box::new(services));
        for file in &mut protos.set.file {
            // The services of others are theirs.
            if !protos.own.contains(file.name()) {
                file.service.clear();
            }
        }
        let files = protos.set.file.into_iter();
        let files =
            files.map(|file| (Module::from_protobuf_package_name(file.package()), file)).collect();
        let wrong = |error| Error(format!("estafette-build: prost can't generate it: {error}"));
        self.prost.generate(files).map(text::file).map_err(wrong)
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    // One that is the same keeps its time.
    if fs::read(path).is_ok_and(|before| before == bytes) {
        return Ok(());
    }
    fs::write(path, bytes)
        .map_err(|error| Error(format!("estafette-build can't write {}: {error}", path.display())))
}
