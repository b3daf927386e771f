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
const MESSAGES_WITHIN: i32 = 3;
const ENUMS_WITHIN: i32 = 4;

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

/// The path of a module of Rust.
type Path = Vec<String>;
/// The names that a module of Rust has, and what of the protos each is of.
type Names = HashMap<String, (String, Place)>;

/// Names that are different in a proto, and the same in Rust.
fn names(protos: &Protos, wrong: &mut Vec<String>) {
    let mut modules = BTreeMap::<Path, Names>::new();
    let mut packages = HashSet::new();
    for file in protos.set.file.iter().filter(|file| file.package() != PACKAGE) {
        // What has no package stands in the file itself, around all packages.
        let parts = file.package().split('.').filter(|part| !part.is_empty());
        let path: Path = parts.map(str::to_snake_case).collect();
        let of_file = of_file(protos, file, &path);
        if packages.insert(file.package()) {
            // A package stands as a module in the one around it.
            for (depth, name) in path.iter().enumerate() {
                let around = path.iter().take(depth).cloned().collect();
                let kind = format!("the package {}", file.package());
                let place = Place::of(protos, file, &[]);
                let names = modules.entry(around).or_default();
                if let Some((other, known)) = names.get(name)
                    && !other.starts_with("the package")
                {
                    wrong.push(collision(&kind, &place, other, known, name));
                }
                names.entry(name.clone()).or_insert((kind, place));
            }
        }
        for Named { module, name, kind, place } in of_file {
            let names = modules.entry(module).or_default();
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

/// A name that something of a proto has in Rust, and the module that it stands in.
struct Named {
    module: Path,
    name: String,
    kind: String,
    place: Place,
}

/// The names that a file brings into the module of its package, and those within it.
fn of_file(protos: &Protos, file: &FileDescriptorProto, module: &Path) -> Vec<Named> {
    let mut named = Vec::new();
    let place = |path: &[i32]| Place::of(protos, file, path);
    for (message, at) in file.message_type.iter().zip(0..) {
        of_message(message, (module, &[MESSAGES, at]), &place, &mut named);
    }
    let mut name = |kind: &str, name: &str, path: &[i32]| {
        named.push(Named {
            module: module.clone(),
            name: name.to_upper_camel_case(),
            kind: format!("the {kind} {name}"),
            place: place(path),
        });
    };
    for (one, at) in file.enum_type.iter().zip(0..) {
        name("enum", one.name(), &[ENUMS, at]);
    }
    for (service, at) in file.service.iter().zip(0..) {
        name("service", service.name(), &[SERVICES, at]);
    }
    named
}

/// The names of a message, in the module that it stands in, and of what is in it, in its own.
fn of_message(
    message: &DescriptorProto,
    (module, path): (&Path, &[i32]),
    place: &dyn Fn(&[i32]) -> Place,
    named: &mut Vec<Named>,
) {
    let mut add = |module: &Path, name: String, kind: String, path: &[i32]| {
        named.push(Named { module: module.clone(), name, kind, place: place(path) });
    };
    let name = message.name();
    add(module, name.to_upper_camel_case(), format!("the message {name}"), path);
    if !has_module(message) {
        return;
    }
    let own = name.to_snake_case();
    add(module, own.clone(), format!("the module of what is in the message {name}"), path);
    let module: Path = module.iter().cloned().chain([own]).collect();
    let within = |kind: i32, at: i32| path.iter().copied().chain([kind, at]).collect::<Vec<_>>();
    for (one, at) in message.enum_type.iter().zip(0..) {
        let (name, path) = (one.name(), within(ENUMS_WITHIN, at));
        add(&module, name.to_upper_camel_case(), format!("the enum {name}"), &path);
    }
    for (nested, at) in message.nested_type.iter().zip(0..) {
        // One that stands for a map is no type of Rust.
        if !is_entry(nested) {
            of_message(nested, (&module, &within(MESSAGES_WITHIN, at)), place, named);
        }
    }
}

fn is_entry(nested: &DescriptorProto) -> bool {
    nested.options.as_ref().is_some_and(|with| with.map_entry())
}

/// Returns `true` if prost makes a module for what is in a message.
fn has_module(message: &DescriptorProto) -> bool {
    // One that stands for `optional` is no oneof of its own.
    let is_choice = |at: i32| {
        message.field.iter().any(|field| field.oneof_index == Some(at) && !field.proto3_optional())
    };
    message.nested_type.iter().any(|nested| !is_entry(nested))
        || !message.enum_type.is_empty()
        || message.oneof_decl.iter().zip(0..).any(|(_, at)| is_choice(at))
}
