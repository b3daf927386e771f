//! `--grpc`: the door for clients of gRPC.

use std::path::{Path, PathBuf};

use estafette::Node;
use estafette_doors::grpc::{Methods, Protos, Service, grpc};
use estafette_doors::{Router, Serving, Tokens};

use crate::arguments::{Grpc, Paging, Secured};
use crate::error::CommandError;
use crate::event::Event;
use crate::output::Output;
use crate::secured::{access, served};
use crate::settings;

/// Opens the door, if one is wanted, and says where.
pub(crate) async fn open(
    node: &Node,
    options: Option<&Grpc>,
    tokens: &Tokens,
    secured: Option<&Secured>,
    output: &Output,
) -> Result<Option<Serving>, CommandError> {
    let Some((options, address)) = wanted(options) else { return Ok(None) };
    let router = router(node, options, tokens, secured)?;
    let hint = "say another address with --grpc: host:port, 127.0.0.1:0 say";
    let serving = served(router, address, secured, hint).await?;
    tell(&serving, output);
    Ok(Some(serving))
}

/// The door as it is served with the page, if it is wanted at the same address.
pub(crate) fn beside(
    node: &Node,
    options: Option<&Grpc>,
    page: Option<&Paging>,
    tokens: &Tokens,
    secured: Option<&Secured>,
) -> Result<Option<Router>, CommandError> {
    let Some((options, address)) = wanted(options) else { return Ok(None) };
    if page.and_then(|page| page.http.as_deref()) != Some(address) {
        return Ok(None);
    }
    router(node, options, tokens, secured).map(Some)
}

/// Tells where clients come in.
pub(crate) fn tell(serving: &Serving, output: &Output) {
    let addr = serving.address().to_string();
    output.event(&Event::Grpc { addr: &addr });
    output.remark(&format!("Clients of gRPC come in at {addr}, with a token"));
}

fn router(
    node: &Node,
    options: &Grpc,
    tokens: &Tokens,
    secured: Option<&Secured>,
) -> Result<Router, CommandError> {
    Ok(grpc(&access(node, tokens, secured), methods(options)?))
}

/// Looks for faults, and opens nothing.
pub(crate) fn look(options: Option<&Grpc>) -> Result<(), CommandError> {
    wanted(options).map_or(Ok(()), |(options, _)| methods(options).map(drop))
}

fn wanted(options: Option<&Grpc>) -> Option<(&Grpc, &str)> {
    options.and_then(|options| Some((options, options.grpc.as_deref()?)))
}

/// The methods that the flags name.
fn methods(options: &Grpc) -> Result<Methods, CommandError> {
    let mut methods = Methods::new();
    for said in &options.grpc_method {
        let hint = "say --grpc-method /package.Service/Method=WAY:PEER/NAME";
        let (path, method) = parts(said, "--grpc-method", hint)?;
        let method = method.parse().map_err(|error| CommandError::usage(error, hint))?;
        let added = methods.method(path, &method);
        methods = added.map_err(|error| CommandError::usage(error, hint))?;
    }
    for (protos, service) in services(options)? {
        let hint = "say --grpc-service package.Service=PEER/NAME";
        let (name, to) = parts(service, "--grpc-service", hint)?;
        let to = to.parse::<Service>().map_err(|error| CommandError::usage(error, hint))?;
        let service =
            types(options, name)?.into_iter().fold(to, |service, one| service.takes(one.0, one.1));
        let added = methods.service(&protos, name, &service);
        methods = added.map_err(|error| CommandError::usage(error, hint))?;
    }
    Ok(methods)
}

/// The services, each with the protos that it is looked for in.
fn services(options: &Grpc) -> Result<Vec<(Protos, &str)>, CommandError> {
    if options.grpc_proto.is_empty() {
        return Ok(Vec::new());
    }
    let protos = protos(options)?;
    let found = |service: &str| {
        let name = service.split('=').next().unwrap_or_default();
        protos.iter().find(|protos| protos.has(name)).or(protos.first()).cloned()
    };
    let services = options.grpc_service.iter();
    Ok(services.filter_map(|service| Some((found(service)?, service.as_str()))).collect())
}

/// The files of protos together, and each set of descriptors.
fn protos(options: &Grpc) -> Result<Vec<Protos>, CommandError> {
    let is_source = |path: &&PathBuf| path.extension().is_some_and(|end| end == "proto");
    let (sources, sets): (Vec<_>, Vec<_>) = options.grpc_proto.iter().partition(is_source);
    let mut all = Vec::new();
    if !sources.is_empty() {
        let folder = |path: &&PathBuf| match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
            _ => PathBuf::from("."),
        };
        let includes = match &options.grpc_include[..] {
            [] => sources.iter().map(folder).collect(),
            given => given.to_vec(),
        };
        let compiled = Protos::compile(sources, includes);
        all.push(compiled.map_err(|error| {
            CommandError::usage(
                error,
                "name files of protos, and --grpc-include what they import from",
            )
        })?);
    }
    for set in sets {
        let hint = "make one: protoc --include_imports -o FILE, or buf build -o FILE";
        let failed = |why: String| {
            CommandError::usage(format!("{} can't be used: {why}", settings::shown(set)), hint)
        };
        let bytes = read(set).map_err(|error| failed(error.to_string()))?;
        all.push(Protos::decode(&bytes).map_err(|error| failed(error.to_string()))?);
    }
    Ok(all)
}

/// The most bytes of a set of descriptors.
const SET_MOST: u64 = 64 << 20;

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read;
    let mut bytes = Vec::new();
    let length = std::fs::File::open(path)?.take(SET_MOST + 1).read_to_end(&mut bytes)?;
    if length as u64 > SET_MOST {
        return Err(std::io::Error::other(format!("it has more than {SET_MOST} bytes")));
    }
    Ok(bytes)
}

/// The types that methods of a service send.
fn types<'a>(options: &'a Grpc, service: &str) -> Result<Vec<(&'a str, &'a str)>, CommandError> {
    let hint = "say --grpc-type package.Service/Method=TYPE, for a service of --grpc-service";
    let mut types = Vec::new();
    for said in &options.grpc_type {
        let (method, message) = parts(said, "--grpc-type", hint)?;
        let Some((of, method)) = method.trim_start_matches('/').split_once('/') else {
            return Err(CommandError::usage(format!("{said:?} names no method"), hint));
        };
        let mut services = options.grpc_service.iter();
        if !services.any(|service| service.split('=').next() == Some(of)) {
            return Err(CommandError::usage(format!("{said:?} is of no service here"), hint));
        }
        if of == service {
            types.push((method, message));
        }
    }
    Ok(types)
}

/// The texts before the first `=`, and behind it.
fn parts<'a>(said: &'a str, flag: &str, hint: &str) -> Result<(&'a str, &'a str), CommandError> {
    let none = || CommandError::usage(format!("{flag} {said:?} has no ="), hint);
    said.split_once('=').ok_or_else(none)
}
