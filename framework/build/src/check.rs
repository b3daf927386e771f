//! Protos of which no actors can be made, refused with all reasons at once.

use std::collections::{BTreeMap, HashMap, HashSet};

use heck::{ToSnakeCase, ToUpperCamelCase};
use prost_types::{DescriptorProto, FileDescriptorProto};

use crate::Error;
use crate::known::PACKAGE;
use crate::read::Protos;
use crate::rpc::{Place, Rpc};

/// The most bytes of the name of a message between nodes.
const NAME_MOST: usize = 128;
/// The numbers of fields in descriptors.
const MESSAGES: i32 = 4;
const ENUMS: i32 = 5;
const SERVICES: i32 = 6;

/// An error that says all that is wrong.
pub(crate) fn check(protos: &Protos, rpcs: &[Rpc]) -> Result<(), Error> {
    let mut wrong = Vec::new();
    if rpcs.is_empty() {
        wrong.push(
            "there is no rpc in these protos: estafette-build makes messages of the requests of \
             services; for messages alone take prost-build"
                .to_owned(),
        );
    }
    requests(rpcs, &mut wrong);
    names(protos, &mut wrong);
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(Error(format!("estafette-build: {}", wrong.join("\n")))),
    }
}

/// An actor knows by the type of a message what is asked, so that each rpc has one of its own.
fn requests(rpcs: &[Rpc], wrong: &mut Vec<String>) {
    let mut known = HashMap::<&str, &Rpc>::new();
    for rpc in rpcs {
        let (request, name) = (&rpc.request, rpc.name());
        let instead = format!(
            "give it one of its own (`message {name}Request {{ … }}`, with the same fields), in \
             the proto or by `Builder::own_request`: clients that know the old proto go on as they \
             are, since the bytes are the same"
        );
        if request.strip_prefix(PACKAGE).is_some_and(|rest| rest.starts_with('.')) {
            wrong.push(format!(
                "{rpc} is asked with {request}, which is everybody's: an actor knows by the type \
                 of a message what is asked; {instead}"
            ));
        } else if let Some(other) = known.insert(request, rpc) {
            wrong.push(format!(
                "{rpc} is asked with {request}, as {} is ({}): an actor knows by the type of a \
                 message what is asked, and answers it in one way; {instead}",
                other.name(),
                other.place
            ));
        }
        if request.len() > NAME_MOST {
            wrong.push(format!(
                "{rpc} is asked with {request}, a name of {} bytes: {NAME_MOST} are allowed \
                 between nodes; give it a shorter one",
                request.len()
            ));
        }
    }
}

/// The names that a module of Rust has, and what of the protos each is of.
type Names = HashMap<String, (String, Place)>;

/// Names that are different in a proto, and the same in Rust.
fn names(protos: &Protos, wrong: &mut Vec<String>) {
    let mut modules = BTreeMap::<Vec<String>, Names>::new();
    let mut packages = HashSet::new();
    for file in protos.set.file.iter().filter(|file| file.package() != PACKAGE) {
        let path: Vec<_> = file.package().split('.').map(str::to_snake_case).collect();
        let mut named = of_file(protos, file);
        if packages.insert(file.package()) && !file.package().is_empty() {
            // A package stands as a module in the one around it.
            for depth in 1..path.len() {
                let (around, name) = (path[..depth].to_vec(), path[depth].clone());
                let kind = format!("the package {}", file.package());
                let names = modules.entry(around).or_default();
                if let Some((other, place)) = names.get(&name)
                    && !other.starts_with("the package")
                {
                    wrong.push(collision(
                        &kind,
                        &Place::of(protos, file, &[]),
                        other,
                        place,
                        &name,
                    ));
                }
                names.entry(name).or_insert((kind, Place::of(protos, file, &[])));
            }
        }
        let names = modules.entry(path).or_default();
        for (name, (kind, place)) in named.drain(..) {
            if let Some((other, known)) = names.get(&name) {
                wrong.push(collision(&kind, &place, other, known, &name));
            } else {
                names.insert(name, (kind, place));
            }
        }
    }
}

fn collision(kind: &str, place: &Place, other: &str, known: &Place, name: &str) -> String {
    format!(
        "{place}: {kind} is called {name} in Rust, as {other} is ({known}): call one of them \
         otherwise"
    )
}

/// The names that a file brings into the module of its package.
fn of_file(protos: &Protos, file: &FileDescriptorProto) -> Vec<(String, (String, Place))> {
    let mut named = Vec::new();
    for (message, at) in file.message_type.iter().zip(0..) {
        let (name, place) = (message.name(), || Place::of(protos, file, &[MESSAGES, at]));
        named.push((name.to_upper_camel_case(), (format!("the message {name}"), place())));
        if has_module(message) {
            let kind = format!("the module of what is in the message {name}");
            named.push((name.to_snake_case(), (kind, place())));
        }
    }
    for (one, at) in file.enum_type.iter().zip(0..) {
        let place = Place::of(protos, file, &[ENUMS, at]);
        let kind = format!("the enum {}", one.name());
        named.push((one.name().to_upper_camel_case(), (kind, place)));
    }
    for (service, at) in file.service.iter().zip(0..) {
        let place = Place::of(protos, file, &[SERVICES, at]);
        let kind = format!("the service {}", service.name());
        named.push((service.name().to_upper_camel_case(), (kind, place)));
    }
    named
}

/// Returns `true` if prost makes a module for what is in a message.
fn has_module(message: &DescriptorProto) -> bool {
    let is_entry =
        |nested: &DescriptorProto| nested.options.as_ref().is_some_and(|with| with.map_entry());
    // One that stands for `optional` is no oneof of its own.
    let is_choice = |at: i32| {
        message.field.iter().any(|field| field.oneof_index == Some(at) && !field.proto3_optional())
    };
    message.nested_type.iter().any(|nested| !is_entry(nested))
        || !message.enum_type.is_empty()
        || message.oneof_decl.iter().zip(0..).any(|(_, at)| is_choice(at))
}
