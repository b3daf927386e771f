//! Protos that are read when a door starts: services whose methods lead to actors that take JSON.

use std::collections::HashMap;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use prost_reflect::{DescriptorPool, MethodDescriptor, ServiceDescriptor};
use serde::Deserialize;

use super::form::Form;
use super::method::{Route, Way, actor, of_version};
use super::target::Takes;
use super::translation::Translation;
use super::{MethodError, Methods};

/// The protos of a door.
#[derive(Clone, Debug)]
pub struct Protos {
    pool: DescriptorPool,
    /// As they were read: what `prost` does not know of is in it.
    encoded: Arc<[u8]>,
}

/// Protos that can't be read.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ProtoError(String);

impl Protos {
    /// Reads files of the protocol buffers language, and those that they import, from these
    /// folders. Needs no `protoc`.
    ///
    /// # Errors
    /// If one of them can't be read or is wrong: with its name, and the place in it.
    pub fn compile(
        files: impl IntoIterator<Item = impl AsRef<Path>>,
        includes: impl IntoIterator<Item = impl AsRef<Path>>,
    ) -> Result<Self, ProtoError> {
        let wrong = |error: protox::Error| {
            let text = format!("{error:?}");
            // At the end of a file, none is named.
            let file = error.file().filter(|file| !text.contains(file));
            ProtoError(file.map_or(text.clone(), |file| format!("{file}: {text}")))
        };
        let mut compiler = protox::Compiler::new(includes).map_err(wrong)?;
        compiler.include_imports(true).include_source_info(false);
        compiler.open_files(files).map_err(wrong)?;
        Self::of(compiler.descriptor_pool(), compiler.encode_file_descriptor_set())
    }

    /// Reads a set of descriptors, as `protoc --include_imports -o FILE` and `buf build -o FILE`
    /// write it.
    ///
    /// # Errors
    /// If it is none, or lacks what it imports.
    pub fn decode(set: &[u8]) -> Result<Self, ProtoError> {
        let wrong = |error| ProtoError(format!("it is no set of descriptors: {error}"));
        Self::of(DescriptorPool::decode(set).map_err(wrong)?, set.to_vec())
    }

    fn of(pool: DescriptorPool, encoded: Vec<u8>) -> Result<Self, ProtoError> {
        if pool.services().len() == 0 {
            return Err(ProtoError("there is no service in these protos".into()));
        }
        Ok(Self { pool, encoded: encoded.into() })
    }

    /// Returns whether there is a service of this name.
    pub fn has(&self, service: &str) -> bool {
        self.pool.get_service_by_name(service).is_some()
    }

    /// The set of descriptors, as it was read.
    pub(super) fn encoded(&self) -> &[u8] {
        &self.encoded
    }

    fn service(&self, name: &str) -> Result<ServiceDescriptor, MethodError> {
        self.pool.get_service_by_name(name).ok_or_else(|| {
            let known: Vec<_> =
                self.pool.services().map(|service| service.full_name().to_owned()).collect();
            let known = known.join(", ");
            MethodError(format!("there is no service {name:?} in these protos, which have {known}"))
        })
    }
}

/// The actor behind a service of a proto, which takes JSON, or has the proto's types itself.
///
/// Each method sends the type that is called as its request, `shop.OrderRequest`, say, in version
/// 1, unless `types` names another one. How it is called is what the proto says: a unary method is
/// an ask, one with a stream of responses a download, with a stream of requests an upload, with
/// both an open.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Service {
    /// The actor, `peer/name`.
    pub to: String,
    /// The types that methods send, by the method's name: `shop.Order`, or `shop.Order@2` for
    /// another version than 1.
    #[serde(default)]
    pub types: HashMap<String, String>,
    /// Set if the actor has the proto's types, as `estafette-build` makes them: messages pass as
    /// they are then. Else it takes JSON.
    #[serde(default)]
    pub typed: bool,
}

impl Service {
    /// A service of this actor, `peer/name`.
    pub fn to(to: impl Into<String>) -> Self {
        Self { to: to.into(), types: HashMap::new(), typed: false }
    }

    /// Of an actor that has the proto's types.
    #[must_use]
    pub fn typed(mut self) -> Self {
        self.typed = true;
        self
    }

    /// The type that a method sends, instead of one called as its request.
    #[must_use]
    pub fn takes(mut self, method: impl Into<String>, message: impl Into<String>) -> Self {
        self.types.insert(method.into(), message.into());
        self
    }
}

/// As it is written on a command line: `paris/till` for an actor that takes JSON,
/// `typed:paris/till` for one that has the proto's types.
impl FromStr for Service {
    type Err = MethodError;

    fn from_str(text: &str) -> Result<Self, MethodError> {
        // A peer whose name begins so is named by its id.
        let (to, typed) = match text.strip_prefix("typed:") {
            Some(to) => (to, true),
            None => (text, false),
        };
        actor(to).map_err(MethodError)?;
        Ok(Self { typed, ..Self::to(to) })
    }
}

impl Methods {
    /// All methods of a service of these protos.
    ///
    /// # Errors
    /// If there is no such service, or no such method that a type is named for; or the actor can't
    /// be one; or a method is there already.
    pub fn service(
        mut self,
        protos: &Protos,
        name: &str,
        service: &Service,
    ) -> Result<Self, MethodError> {
        let (peer, actor) = actor(&service.to).map_err(MethodError)?;
        let described = protos.service(name)?;
        for method in service.types.keys() {
            if !described.methods().any(|described| described.name() == method) {
                return Err(MethodError(format!("{name} has no method {method:?}")));
            }
        }
        for method in described.methods() {
            let route = Route {
                peer: peer.into(),
                name: actor.into(),
                takes: takes(service, &method)?,
                way: way(&method),
                form: match service.typed {
                    true => Form::Packed,
                    false => Form::Proto(Translation::of(&method)),
                },
            };
            self = self.route(&format!("/{name}/{}", method.name()), route)?;
        }
        self.protos.push(protos.clone());
        Ok(self)
    }
}

fn takes(service: &Service, method: &MethodDescriptor) -> Result<Takes, MethodError> {
    let takes = if service.typed { Takes::Packed } else { Takes::Json };
    let Some(message) = service.types.get(method.name()) else {
        return Ok(takes(method.input().full_name().into(), 1));
    };
    let (message, version) = of_version(message).map_err(MethodError)?;
    Ok(takes(message.into(), version))
}

fn way(method: &MethodDescriptor) -> Way {
    match (method.is_client_streaming(), method.is_server_streaming()) {
        (false, false) => Way::Ask,
        (false, true) => Way::Download,
        (true, false) => Way::Upload,
        (true, true) => Way::Open,
    }
}
