//! The Rust of a service: its requests as messages for actors, and the service for a door.

use std::collections::HashSet;

use prost_build::{Method, Service, ServiceGenerator};

/// The version of all types: what may be changed in a proto, may be changed between nodes, too.
const VERSION: u32 = 1;

/// The actor that takes a service, as a parameter: no type of a proto ends so, as prost calls them,
/// but those of Rust's own words.
const ACTOR: &str = "Actor_";

/// Writes Rust for services.
pub(crate) struct Services {
    /// Set if they are for doors, too.
    door: bool,
    /// The file with the descriptors, beside the generated one.
    descriptors: String,
    /// The types that are packed already, by their names in protos.
    packed: HashSet<String>,
}

impl Services {
    pub(crate) fn new(door: bool, descriptors: String) -> Self {
        Self { door, descriptors, packed: HashSet::new() }
    }

    /// Has a type travel as the bytes that protocol buffers make of it, once.
    fn pack(&mut self, proto: &str, rust: &str, to: &mut String) {
        if self.packed.insert(proto.to_owned()) {
            to.push_str(&PACKED.replace("TYPE", rust));
        }
    }
}

impl ServiceGenerator for Services {
    fn generate(&mut self, service: Service, to: &mut String) {
        for method in &service.methods {
            self.pack(&method.input_proto_type, &method.input_type, to);
            self.pack(&method.output_proto_type, &method.output_type, to);
            to.push_str(&message(method));
        }
        let before = to.len();
        service.comments.append_with_indent(0, to);
        if to.len() > before {
            to.push_str("///\n");
        }
        to.push_str(&taken(&service));
        if self.door {
            to.push_str(&served(&service, &self.descriptors));
        }
    }
}

const PACKED: &str = r#"impl ::estafette::__private::serde::Serialize for TYPE {
    fn serialize<S: ::estafette::__private::serde::Serializer>(
        &self,
        to: S,
    ) -> ::core::result::Result<S::Ok, S::Error> {
        ::estafette::__private::pack(&::prost::Message::encode_to_vec(self), to)
    }
}
impl<'de> ::estafette::__private::serde::Deserialize<'de> for TYPE {
    fn deserialize<D: ::estafette::__private::serde::Deserializer<'de>>(
        from: D,
    ) -> ::core::result::Result<Self, D::Error> {
        ::estafette::__private::unpack(from, |packed| <Self as ::prost::Message>::decode(packed))
    }
}
"#;

/// The request of a method, as a message for actors.
fn message(method: &Method) -> String {
    let (request, reply) = (&method.input_type, &method.output_type);
    let name = method.input_proto_type.trim_start_matches('.');
    format!(
        "impl ::estafette::__private::actix::Message for {request} {{
    type Result = ::core::result::Result<{reply}, ::estafette::remote::ActorError>;
}}
impl ::estafette::remote::RemoteMessage for {request} {{
    const NAME: &'static str = {name:?};
    const VERSION: u32 = {VERSION};
}}
"
    )
}

fn is_stream(method: &Method) -> bool {
    method.client_streaming || method.server_streaming
}

/// The service, which an actor takes as a whole.
fn taken(service: &Service) -> String {
    let (name, full) = (&service.name, full_name(service));
    let (mut handlers, mut takes) = (String::new(), String::new());
    for method in &service.methods {
        let request = &method.input_type;
        if is_stream(method) {
            let called = format!("::estafette::remote::Called<{request}>");
            handlers.push_str(&format!(
                "\n            + ::estafette::__private::actix::Handler<{called}>"
            ));
            takes.push_str(&format!("\n            .takes_calls::<{request}>()"));
        } else {
            handlers.push_str(&format!(
                "\n            + ::estafette::__private::actix::Handler<{request}>"
            ));
            takes.push_str(&format!("\n            .takes::<{request}>()"));
        }
    }
    format!(
        "/// The service `{full}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct {name};
impl {name} {{
    /// Has an actor that a node is to run take all rpcs of `{full}`.
    pub fn taken_by<{ACTOR}>(
        hosted: ::estafette::node::Hosted<{ACTOR}>,
    ) -> ::estafette::node::Hosted<{ACTOR}>
    where
        {ACTOR}: ::estafette::__private::actix::Actor<
                Context = ::estafette::__private::actix::Context<{ACTOR}>,
            >{handlers},
    {{
        hosted{takes}
    }}
}}
"
    )
}

fn full_name(service: &Service) -> String {
    match service.package.as_str() {
        "" => service.proto_name.clone(),
        package => format!("{package}.{}", service.proto_name),
    }
}

/// The service, for a door.
fn served(service: &Service, descriptors: &str) -> String {
    let (name, full) = (&service.name, full_name(service));
    let mut methods = String::new();
    for method in &service.methods {
        let way = match (method.client_streaming, method.server_streaming) {
            (false, false) => "Ask",
            (false, true) => "Download",
            (true, false) => "Upload",
            (true, true) => "Open",
        };
        let (proto, request) =
            (&method.proto_name, method.input_proto_type.trim_start_matches('.'));
        methods.push_str(&format!(
            "        ::estafette_doors::grpc::TypedMethod {{
            name: {proto:?},
            way: ::estafette_doors::grpc::Way::{way},
            message: {request:?},
            version: {VERSION},
        }},
"
        ));
    }
    format!(
        "impl ::estafette_doors::grpc::TypedService for {name} {{
    const NAME: &'static str = {full:?};
    const METHODS: &'static [::estafette_doors::grpc::TypedMethod] = &[
{methods}    ];
    const DESCRIPTORS: &'static [u8] = include_bytes!({descriptors:?});
}}
"
    )
}
