//! Requests that become messages of their own: others have them, too, or nobody here may change them.
//!
//! On the wire of gRPC a message has no name: one with the same fields is the same.

use prost_types::{DescriptorProto, FileDescriptorProto, FileDescriptorSet};

use crate::Error;
use crate::rpc::full_name;

/// An rpc, by its full name, and what its request is to be called.
#[derive(Debug)]
pub(crate) struct OwnRequest {
    pub(crate) rpc: String,
    pub(crate) name: String,
}

/// Gives an rpc a copy of its request, by another name, in the package of its service.
pub(crate) fn give(set: &mut FileDescriptorSet, own: &OwnRequest) -> Result<(), Error> {
    let OwnRequest { rpc, name } = own;
    let Some((file, service, method)) = find(set, rpc) else {
        return Err(Error(format!(
            "estafette-build: own_request names the rpc {rpc:?}, which is not in these protos: \
             write package.Service.Rpc"
        )));
    };
    let is_name = |name: &str| {
        name.starts_with(|first: char| first.is_ascii_alphabetic())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    if !is_name(name) {
        return Err(Error(format!(
            "estafette-build: own_request calls the request of {rpc} {name:?}, which is no name of \
             a message: write it as in a proto, without a package"
        )));
    }
    let request = method_of(set, (file, service, method)).input_type().to_owned();
    let copied = message(set, &request).map(|(home, message)| (home.clone(), message.clone()));
    let (Some((home, mut copy)), Some(file)) = (copied, set.file.get_mut(file)) else {
        return Err(Error(format!("estafette-build: the request {request} of {rpc} is not there")));
    };
    let renamed = format!(".{}", full_name(file, name));
    copy.name = Some(name.clone());
    // What stands within it has another name, too.
    rename(&mut copy, &format!("{request}."), &format!("{renamed}."));
    let methods = file.service.get_mut(service).and_then(|service| service.method.get_mut(method));
    if let Some(method) = methods {
        method.input_type = Some(renamed);
    }
    // It stands in no line of any file, which prost takes of a file as a whole alone. It is read by
    // the rules of the file that it is of: by its syntax, say.
    let without_lines = FileDescriptorProto {
        name: file.name.clone(),
        package: file.package.clone(),
        message_type: vec![copy],
        enum_type: Vec::new(),
        service: Vec::new(),
        extension: Vec::new(),
        source_code_info: None,
        ..home
    };
    set.file.push(without_lines);
    Ok(())
}

/// The places of a file, a service in it, and a method in that.
type At = (usize, usize, usize);

fn find(set: &FileDescriptorSet, rpc: &str) -> Option<At> {
    for (at, file) in set.file.iter().enumerate() {
        for (number, service) in file.service.iter().enumerate() {
            let Some(name) = rpc.strip_prefix(&full_name(file, service.name())) else { continue };
            let mut methods = service.method.iter();
            let method = methods.position(|method| name.strip_prefix('.') == Some(method.name()));
            if let Some(method) = method {
                return Some((at, number, method));
            }
        }
    }
    None
}

fn method_of(
    set: &FileDescriptorSet,
    (file, service, method): At,
) -> prost_types::MethodDescriptorProto {
    let service = set.file.get(file).and_then(|file| file.service.get(service));
    service.and_then(|service| service.method.get(method)).cloned().unwrap_or_default()
}

/// The message of a full name with a dot before it, wherever it stands, and its file.
fn message<'s>(
    set: &'s FileDescriptorSet,
    full: &str,
) -> Option<(&'s FileDescriptorProto, &'s DescriptorProto)> {
    fn within<'m>(messages: &'m [DescriptorProto], path: &str) -> Option<&'m DescriptorProto> {
        let (first, rest) = path.split_once('.').map_or((path, None), |(a, b)| (a, Some(b)));
        let message = messages.iter().find(|message| message.name() == first)?;
        match rest {
            Some(rest) => within(&message.nested_type, rest),
            None => Some(message),
        }
    }
    set.file.iter().find_map(|file| {
        let path = full.strip_prefix('.')?.strip_prefix(file.package())?;
        let path = if file.package().is_empty() { path } else { path.strip_prefix('.')? };
        within(&file.message_type, path).map(|message| (file, message))
    })
}

fn rename(message: &mut DescriptorProto, from: &str, to: &str) {
    for field in &mut message.field {
        if let Some(rest) = field.type_name().strip_prefix(from) {
            field.type_name = Some(format!("{to}{rest}"));
        }
    }
    for nested in &mut message.nested_type {
        rename(nested, from, to);
    }
}
