//! `estafette.v1`: any actor that a token leads to, by its name, which the first request says.

use std::sync::Arc;

use bytes::Bytes;
use estafette::remote::{Delivery, RemoteError, RemoteErrorKind};
use futures_util::stream::{StreamExt, once, unfold};
use prost::Message;
use tonic::{Code, Status};

use super::call::{Calling, Requests};
use super::deadline::Deadline;
use super::ending::{Answers, in_time};
use super::form::Form;
use super::messages::{self, Asked, DeliverResponse, State};
use super::method::{Way, actor};
use super::naming::{Does, Naming};
use super::payload::decoded;
use super::status::{self, not_handled};
use super::target::{Takes, Target};
use super::{arrivals, contents, watching};
use crate::states::unplaced;

/// The service, as descriptors of all its messages, for reflection.
#[cfg(feature = "proto")]
pub(super) const DESCRIPTORS: &[u8] = include_bytes!("../../proto/estafette.v1.binpb");
/// The longest that a message without an answer waits for a link, or for room.
const TELL_WITHIN: std::time::Duration = std::time::Duration::from_secs(30);

impl Naming {
    pub(super) async fn make(self, requests: Requests) -> Result<Answers, Status> {
        match self.does {
            Does::Call(_) | Does::Tell | Does::Deliver => self.call(requests).await,
            Does::Watch => watching::watch(self, requests).await,
            Does::Send => contents::send(self, requests).await,
            Does::Follow => contents::follow(self, requests).await,
            Does::Outbox => contents::outbox(self, requests).await,
            Does::Arrivals => arrivals::arrivals(self, requests).await,
            Does::Receive => arrivals::receive(self, requests).await,
            Does::Processed => arrivals::processed(self, requests).await,
        }
    }

    /// A call of an actor.
    async fn call(self, mut requests: Requests) -> Result<Answers, Status> {
        let first = requests.first(self.deadline).await?;
        let asked = decoded(&first)?;
        let has_payload = asked.payload.is_some();
        let calling = self.calling(asked)?;
        if has_payload || !self.does.is_handled_in_parts() {
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
            _ => {
                let body = calling.only(&mut requests).await?;
                let delivery = calling.target.deliver(body).await;
                let told = states(delivery.map_err(|error| status::of_storing(&error))?);
                Ok(in_time(told, &self))
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
        let mut target =
            Target::new(node, &reached.address(), &takes, &self.pass.name).map_err(failed)?;
        if let Some(trace) = self.trace.clone() {
            target = target.traced(trace);
        }
        let way = match self.does {
            Does::Call(way) => way,
            _ => Way::Ask,
        };
        Ok(Calling {
            access: self.access.clone(),
            shared: Arc::clone(&self.shared),
            pass: self.pass.clone(),
            peer: reached,
            target,
            form: Form::Named { is_json: !r#type.is_empty() },
            way,
            deadline: self.deadline,
            meter: Arc::clone(&self.meter),
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
            _ => return Some((Err(status::success()), None)),
        };
        match next {
            Ok(state) => {
                let id = delivery.id().to_string();
                let said = DeliverResponse { id, state: state.into() };
                Some((Ok(said.encode_to_vec().into()), Some((delivery, state))))
            }
            Err(mut error) => {
                error.message = unplaced(&error.message);
                Some((Err(status::of(&error)), None))
            }
        }
    })
    .boxed()
}

#[cfg(all(test, feature = "proto"))]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails says so")]

    use std::path::Path;

    use std::collections::HashSet;

    use prost_reflect::{DescriptorPool, DynamicMessage, Kind, Value};

    use super::super::naming::SERVICE;
    use super::super::own;
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

    /// The bytes of a message of the proto, read and written again.
    fn again<M: Message + Default>(bytes: &[u8]) -> Vec<u8> {
        M::decode(bytes).unwrap().encode_to_vec()
    }

    /// A message of the proto with each field set, however deep; none of them to its default.
    fn full(of: &prost_reflect::MessageDescriptor) -> DynamicMessage {
        let mut message = DynamicMessage::new(of.clone());
        for field in of.fields() {
            let value = match field.kind() {
                Kind::String => Value::String(format!("{}!", field.name())),
                Kind::Bytes => Value::Bytes(Bytes::from(field.name().to_owned())),
                Kind::Uint32 => Value::U32(field.number() + 300),
                Kind::Uint64 => Value::U64(u64::from(field.number()) << 40),
                Kind::Bool => Value::Bool(true),
                Kind::Enum(of) => {
                    Value::EnumNumber(of.values().map(|value| value.number()).max().unwrap())
                }
                Kind::Message(of) => Value::Message(full(&of)),
                other => panic!("{other:?}"),
            };
            let value =
                if field.is_list() { Value::List(vec![value.clone(), value]) } else { value };
            message.set_field(&field, value);
        }
        message
    }

    #[test]
    fn the_messages_here_are_those_of_the_proto() {
        let pool = DescriptorPool::decode(&*compiled()).unwrap();
        let service = pool.get_service_by_name("estafette.v1.NodeService").unwrap();
        for method in service.methods() {
            let name = method.name().to_owned();
            let does = Does::of(&format!("{SERVICE}{name}")).unwrap();
            let streams = does.is_handled_in_parts() || does == Does::Send;
            assert_eq!(streams, method.is_client_streaming(), "{name}");
            type Again = fn(&[u8]) -> Vec<u8>;
            let (asked, told): (Again, Again) = match does {
                Does::Call(_) => (again::<Asked>, again::<messages::Answered>),
                Does::Tell => (again::<Asked>, again::<()>),
                Does::Deliver => (again::<Asked>, again::<DeliverResponse>),
                Does::Watch => (again::<own::WatchRequest>, again::<own::WatchResponse>),
                Does::Send => (again::<own::SendRequest>, again::<own::Followed>),
                Does::Follow => (again::<own::FollowRequest>, again::<own::Followed>),
                Does::Outbox => (again::<own::OutboxRequest>, again::<own::OutboxResponse>),
                Does::Arrivals => (again::<own::ArrivalsRequest>, again::<own::ArrivalsResponse>),
                Does::Receive => (again::<own::ReceiveRequest>, again::<own::ReceiveResponse>),
                Does::Processed => {
                    (again::<own::ProcessedRequest>, again::<own::ProcessedResponse>)
                }
            };
            for (of, again) in [(method.input(), asked), (method.output(), told)] {
                let bytes = full(&of).encode_to_vec();
                assert!(again(&bytes) == bytes, "{}: nothing is left over", of.name());
            }
        }
        let methods: HashSet<_> =
            service.methods().map(|method| method.name().to_owned()).collect();
        assert_eq!(methods.len(), 13);
        let values = |name: &str| {
            let of = pool.get_enum_by_name(&format!("estafette.v1.{name}")).unwrap();
            let values: Vec<_> =
                of.values().map(|value| (value.number(), value.name().to_owned())).collect();
            values
        };
        for (number, name) in values("State") {
            let here = format!("STATE_{:?}", State::try_from(number).unwrap());
            assert_eq!(here.to_ascii_uppercase(), name);
        }
        for (number, name) in values("Presence") {
            let here = format!("PRESENCE_{:?}", own::Presence::try_from(number).unwrap());
            assert_eq!(here.to_ascii_uppercase(), name);
        }
    }
}
