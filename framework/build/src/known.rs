//! The types that protocol buffers bring along: `google.protobuf`.
//!
//! `prost` has types of Rust for them, which are not ours to make messages of. Those that an rpc
//! answers with are generated, therefore, as a user's own are.

use std::collections::HashSet;

use heck::ToUpperCamelCase;
use prost_types::FileDescriptorSet;

use crate::rpc::Rpc;

/// Their package.
pub(crate) const PACKAGE: &str = "google.protobuf";

/// The Rust types of those that are not generated, by their names in protos with a dot before them.
pub(crate) fn paths(set: &FileDescriptorSet, rpcs: &[Rpc]) -> Vec<(String, String)> {
    let generated: HashSet<&str> = rpcs.iter().map(|rpc| &*rpc.reply).collect();
    let files = set.file.iter().filter(|file| file.package() == PACKAGE);
    let names = files.flat_map(|file| {
        let messages = file.message_type.iter().map(|message| message.name());
        messages.chain(file.enum_type.iter().map(|one| one.name()))
    });
    names
        .filter(|name| !generated.contains(&*format!("{PACKAGE}.{name}")))
        .map(|name| (format!(".{PACKAGE}.{name}"), path(name)))
        .collect()
}

/// As prost has it.
fn path(name: &str) -> String {
    match name {
        "BoolValue" => "bool",
        "BytesValue" => "::prost::alloc::vec::Vec<u8>",
        "DoubleValue" => "f64",
        "Empty" => "()",
        "FloatValue" => "f32",
        "Int32Value" => "i32",
        "Int64Value" => "i64",
        "StringValue" => "::prost::alloc::string::String",
        "UInt32Value" => "u32",
        "UInt64Value" => "u64",
        name => return format!("::prost_types::{}", name.to_upper_camel_case()),
    }
    .to_owned()
}
