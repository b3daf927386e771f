//! `estafette node`: delivers what is stored and, where it is told to, takes deliveries and keeps
//! those of others.

use std::process::ExitCode;

use crate::addresses;
use crate::arguments::{Global, NodeOptions};
use crate::error::CommandError;
use crate::output::Output;
use crate::service::{self, Service};

pub(crate) async fn run(
    global: &Global,
    options: &NodeOptions,
    output: &Output,
) -> Result<ExitCode, CommandError> {
    if options.into.as_ref().is_some_and(|into| into.as_os_str() == "-") {
        return Err(CommandError::usage(
            "a node delivers into a folder",
            "`estafette receive --into -` writes one delivery to stdout",
        ));
    }
    let takes = options.into.is_some() || options.relaying.relay || !global.inboxes.is_empty();
    let service = Service {
        into: options.into.as_deref(),
        to_stdout: false,
        listen: addresses::listen(&options.listen, takes),
        name: options.name.as_deref(),
        taking: &options.taking,
        patience: options.patience,
        relaying: Some(&options.relaying),
        connect: &options.connect,
        inboxes: &global.inboxes,
        page: Some(&options.page),
        #[cfg(feature = "doors")]
        secured: Some(&options.secured),
        #[cfg(feature = "grpc")]
        grpc: Some(&options.grpc),
        #[cfg(feature = "webhooks")]
        posting: Some(&options.posting),
        once: false,
        exec: options.exec.as_deref().map(|exec| (exec, options.exec_timeout)),
    };
    if options.check {
        return Ok(service.check(global, output));
    }
    service::run(global, &service, output).await
}
