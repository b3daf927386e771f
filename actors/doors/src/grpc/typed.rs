//! Services whose messages are types of their actors: `estafette-build` makes them of a proto.

use super::form::Form;
use super::method::{Route, Way, actor, check_path};
use super::target::Takes;
use super::{MethodError, Methods};

/// A service of a proto, as `estafette-build` makes one of it in a build script.
pub trait TypedService {
    /// Its name, `package.Service`.
    const NAME: &'static str;
    /// Its methods.
    const METHODS: &'static [TypedMethod];
    /// The protos that it is of, as a set of descriptors: what clients that ask are told.
    const DESCRIPTORS: &'static [u8];
}

/// A method of a [`TypedService`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TypedMethod {
    /// Its name.
    pub name: &'static str,
    /// The way in which the actor is called.
    pub way: Way,
    /// The name of the type of message that it sends.
    pub message: &'static str,
    /// The version of that type.
    pub version: u32,
}

impl Methods {
    /// All methods of a service that `estafette-build` made, for an actor (`peer/name`) that has
    /// its types. Messages pass as they are: the actor reads them. With the feature `proto`,
    /// clients that ask are told what the service looks like.
    ///
    /// # Errors
    /// If the actor can't be one, or a method is there already.
    pub fn typed<S: TypedService>(mut self, to: &str) -> Result<Self, MethodError> {
        let (peer, name) = actor(to).map_err(MethodError)?;
        for method in S::METHODS {
            let path = format!("/{}/{}", S::NAME, method.name);
            check_path(&path).map_err(MethodError)?;
            let route = Route {
                peer: peer.into(),
                name: name.into(),
                takes: Takes::Packed(method.message.into(), method.version),
                form: Form::Packed,
                way: method.way,
            };
            self = self.route(&path, route)?;
        }
        #[cfg(feature = "proto")]
        {
            let wrong = |error| MethodError(format!("{}: {error}", S::NAME));
            self.protos.push(super::Protos::decode(S::DESCRIPTORS).map_err(wrong)?);
        }
        Ok(self)
    }
}
