//! Messages of a proto that pass as the bytes they are: the door has nobody's types, the actor has.

use std::fmt;

use bytes::Bytes;
use estafette::RemoteMessage;
use estafette::remote::ActorError;
use serde::de::{Deserializer, Error, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// The bytes of a message, or of a reply: on the wire, all types that `estafette-build` makes of
/// protos are these. The name of the type is the call's own.
#[derive(Debug)]
pub(super) struct Packed(pub(super) Bytes);

impl Serialize for Packed {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Packed {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Copied;

        impl Visitor<'_> for Copied {
            type Value = Packed;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Packed, E> {
                Ok(Packed(Bytes::copy_from_slice(bytes)))
            }
        }
        from.deserialize_bytes(Copied)
    }
}

impl estafette::__private::actix::Message for Packed {
    type Result = Result<Self, ActorError>;
}

impl RemoteMessage for Packed {
    const NAME: &'static str = "estafette.Packed";
    const VERSION: u32 = 1;
}
