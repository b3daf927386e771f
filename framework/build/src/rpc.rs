//! The rpcs of protos, and where in their files they stand.

use std::fmt;

use prost_types::FileDescriptorProto;

use crate::read::Protos;

/// The numbers of fields in descriptors, of which the paths to places in files are made.
const SERVICES: i32 = 6;
const METHODS: i32 = 2;

/// An rpc.
pub(crate) struct Rpc {
    pub(crate) place: Place,
    /// The full name of its service.
    service: String,
    name: String,
    /// The full name of its request.
    pub(crate) request: String,
    /// The full name of its reply.
    pub(crate) reply: String,
}

/// A place in a file.
pub(crate) struct Place {
    file: String,
    /// Its line, the first being 1.
    line: Option<i32>,
}

impl Place {
    /// The place of what this path leads to.
    pub(crate) fn of(protos: &Protos, file: &FileDescriptorProto, path: &[i32]) -> Self {
        let places = file.source_code_info.iter().flat_map(|info| &info.location);
        let line = places.into_iter().find(|place| place.path == path);
        let line = line.and_then(|place| place.span.first()).map(|line| line + 1);
        let on_disk = protos.paths.get(file.name()).map(|path| path.display().to_string());
        Self { file: on_disk.unwrap_or_else(|| file.name().to_owned()), line }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}", self.file),
            None => f.write_str(&self.file),
        }
    }
}

/// As errors name it.
impl fmt::Display for Rpc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: rpc {}.{}", self.place, self.service, self.name)
    }
}

impl Rpc {
    /// Its name, without that of its service.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

/// The rpcs of the services in the files that were asked for.
pub(crate) fn rpcs(protos: &Protos) -> Vec<Rpc> {
    let mut found = Vec::new();
    for file in protos.set.file.iter().filter(|file| protos.own.contains(file.name())) {
        for (service, at) in file.service.iter().zip(0..) {
            for (method, number) in service.method.iter().zip(0..) {
                found.push(Rpc {
                    place: Place::of(protos, file, &[SERVICES, at, METHODS, number]),
                    service: full_name(file, service.name()),
                    name: method.name().to_owned(),
                    request: method.input_type().trim_start_matches('.').to_owned(),
                    reply: method.output_type().trim_start_matches('.').to_owned(),
                });
            }
        }
    }
    found
}

/// The full name of something that stands in no message.
pub(crate) fn full_name(file: &FileDescriptorProto, name: &str) -> String {
    match file.package() {
        "" => name.to_owned(),
        package => format!("{package}.{name}"),
    }
}
