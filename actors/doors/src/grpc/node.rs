//! `estafette.v1`: any actor that a token leads to, by its name, which the first request says.

use bytes::Bytes;
use estafette::remote::{Delivery, RemoteError, RemoteErrorKind, TraceContext};
use futures_util::stream::{StreamExt, once, unfold};
use prost::Message;
use tonic::{Code, Status};

use super::body::Meter;
use super::call::{Answers, Calling, Requests};
use super::deadline::Deadline;
use super::form::Form;
use super::messages::{self, Asked, DeliverResponse, State};
use super::method::{Way, actor};
use super::payload::decoded;
use super::status::{self, not_handled};
use super::target::{Takes, Target};
use crate::{Access, Pass};

/// The service, as descriptors of all its messages, for reflection.
#[cfg(feature = "proto")]
pub(super) const DESCRIPTORS: &[u8] = include_bytes!("../../proto/estafette.v1.binpb");
/// The beginning of its methods' paths.
const SERVICE: &str = "/estafette.v1.NodeService/";
/// The longest that a message without an answer waits for a link, or for room.
const TELL_WITHIN: std::time::Duration = std::time::Duration::from_secs(30);

/// The work of a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Does {
    Call(Way),
    Tell,
    Deliver,
}

impl Does {
    /// The method of a path, if it is one.
    pub(super) fn of(path: &str) -> Option<Self> {
        Some(match path.strip_prefix(SERVICE)? {
            "Ask" => Self::Call(Way::Ask),
            "Tell" => Self::Tell,
            "Deliver" => Self::Deliver,
            "Download" => Self::Call(Way::Download),
            "Upload" => Self::Call(Way::Upload),
            "Open" => Self::Call(Way::Open),
            _ => return None,
        })
    }

    /// Returns `true` if requests are a stream.
    pub(super) fn streams_requests(self) -> bool {
        matches!(self, Self::Call(Way::Upload | Way::Open))
    }
}

/// A call whose target comes with its first request.
pub(super) struct Naming {
    pub(super) access: Access,
    pub(super) pass: Pass,
    pub(super) does: Does,
    pub(super) deadline: Option<Deadline>,
    pub(super) trace: Option<TraceContext>,
    pub(super) meter: std::sync::Arc<Meter>,
}

impl Naming {
    pub(super) async fn make(self, mut requests: Requests) -> Result<Answers, Status> {
        let first = requests.first(self.deadline).await?;
        let asked = decoded(&first)?;
        let has_payload = asked.payload.is_some();
        let calling = self.calling(asked)?;
        if has_payload || !self.does.streams_requests() {
            requests.put_back(first);
        }
        match self.does {
            Does::Call(_) => calling.make(requests).await,
            Does::Tell => {
                calling.reachable().await?;
                let body = calling.only(&mut requests).await?;
                tell(&calling.target, body, self.deadline).await?;
                Ok(only(Bytes::new()))
            }
            Does::Deliver => {
                let body = calling.only(&mut requests).await?;
                let delivery = calling.target.deliver(body).await;
                Ok(states(delivery.map_err(|error| status::of_storing(&error))?))
            }
        }
    }

    /// The call, to whom the request says.
    fn calling(&self, asked: Asked) -> Result<Calling, Status> {
        let wrong = |text: String| not_handled(Code::InvalidArgument, "TARGET", &text);
        let none = || wrong("the first request has no target: which actor is it for?".into());
        let messages::Target { actor: to, r#type, version } = asked.target.ok_or_else(none)?;
        let (peer, name) = actor(&to).map_err(wrong)?;
        let failed = |error: RemoteError| status::of(&error);
        let reached = self.access.reach(&self.pass, peer, name).map_err(failed)?;
        let takes = match &*r#type {
            "" => Takes::Raw("".into()),
            message => Takes::Json(message.into(), version.max(1)),
        };
        let node = self.access.node();
        let mut target = Target::new(node, &reached.address(), &takes).map_err(failed)?;
        if let Some(trace) = self.trace.clone() {
            target = target.traced(trace);
        }
        let way = match self.does {
            Does::Call(way) => way,
            Does::Tell | Does::Deliver => Way::Ask,
        };
        Ok(Calling {
            node: node.clone(),
            peer: reached,
            target,
            form: Form::Named { is_json: !r#type.is_empty() },
            way,
            deadline: self.deadline,
            meter: std::sync::Arc::clone(&self.meter),
        })
    }
}

async fn tell(target: &Target, body: Bytes, deadline: Option<Deadline>) -> Result<(), Status> {
    let limit = deadline.map_or(TELL_WITHIN, |deadline| deadline.left().min(TELL_WITHIN));
    let told = tokio::time::timeout(limit, target.tell(body)).await;
    told.unwrap_or_else(|_| {
        let text = "nothing was sent: the actor has as many messages to handle as may wait";
        Err(RemoteError::new(RemoteErrorKind::Full, text))
    })
    .map_err(|error| status::of(&error))
}

fn only(answer: Bytes) -> Answers {
    once(async { Ok(answer) }).chain(once(async { Err(status::success()) })).boxed()
}

/// The states of a message, one after the other.
fn states(delivery: Delivery) -> Answers {
    unfold(Some((delivery, State::Unspecified)), |state| async {
        let (delivery, so_far) = state?;
        let next = match so_far {
            State::Unspecified => Ok(State::Stored),
            State::Stored => delivery.delivered().await.map(|()| State::Delivered),
            State::Delivered => delivery.processed().await.map(|()| State::Processed),
            State::Processed => return Some((Err(status::success()), None)),
        };
        match next {
            Ok(state) => {
                let id = delivery.id().to_string();
                let said = DeliverResponse { id, state: state.into() };
                Some((Ok(said.encode_to_vec().into()), Some((delivery, state))))
            }
            Err(error) => Some((Err(status::of(&error)), None)),
        }
    })
    .boxed()
}

#[cfg(all(test, feature = "proto"))]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails says so")]

    use std::path::Path;

    use prost_reflect::{DescriptorPool, DynamicMessage, ReflectMessage as _};
    use serde_json::json;

    use super::super::payload::reply;
    use super::*;

    fn compiled() -> Vec<u8> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto");
        let mut compiler = protox::Compiler::new([&folder]).unwrap();
        compiler.include_imports(true).open_file("estafette/v1/node.proto").unwrap();
        compiler.encode_file_descriptor_set()
    }

    #[test]
    fn the_descriptors_are_those_of_the_proto() {
        let compiled = compiled();
        if std::env::var_os("ESTAFETTE_PROTO").is_some_and(|value| value == "overwrite") {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto/estafette.v1.binpb");
            return std::fs::write(path, compiled).unwrap();
        }
        assert!(compiled == DESCRIPTORS, "write them again: ESTAFETTE_PROTO=overwrite");
    }

    #[test]
    fn the_messages_here_are_those_of_the_proto() {
        let pool = DescriptorPool::decode(&*compiled()).unwrap();
        let service = pool.get_service_by_name("estafette.v1.NodeService").unwrap();
        for method in service.methods() {
            let does = Does::of(&format!("{SERVICE}{}", method.name())).unwrap();
            assert_eq!(does.streams_requests(), method.is_client_streaming(), "{}", method.name());
            let request = json!({
                "target": { "actor": "paris/shop", "type": "shop.Order", "version": 2 },
                "payload": { "json": "{}" },
            });
            let request = DynamicMessage::deserialize(method.input(), request).unwrap();
            let asked = Asked::decode(&*request.encode_to_vec()).unwrap();
            let target = asked.target.clone().unwrap();
            assert_eq!(
                (&*target.actor, &*target.r#type, target.version),
                ("paris/shop", "shop.Order", 2)
            );
            assert_eq!(asked.encode_to_vec(), request.encode_to_vec(), "nothing is left over");
            let output = method.output();
            let (said, fields) = match does {
                Does::Tell => (Vec::new(), 0),
                Does::Deliver => {
                    let state = State::Processed.into();
                    (DeliverResponse { id: "7".into(), state }.encode_to_vec(), 2)
                }
                Does::Call(_) => (reply("x".into(), false).to_vec(), 1),
            };
            let answer = DynamicMessage::decode(output.clone(), &*said).unwrap();
            assert_eq!(answer.descriptor().fields().len(), fields, "{}", method.name());
            assert_eq!(answer.unknown_fields().count(), 0, "{}", method.name());
        }
    }
}
