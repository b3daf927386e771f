//! `estafette receive`: a folder that takes deliveries.

use std::io::IsTerminal;
use std::process::ExitCode;

use crate::addresses;
use crate::arguments::{Global, Receive};
use crate::error::CommandError;
use crate::output::Output;
use crate::service::{self, Service};

pub(crate) async fn run(
    global: &Global,
    options: &Receive,
    output: &Output,
) -> Result<ExitCode, CommandError> {
    let service = Service {
        into: Some(&options.into),
        to_stdout: false,
        listen: addresses::listen(&options.listen, true),
        name: options.name.as_deref(),
        taking: &options.taking,
        patience: options.patience,
        relaying: None,
        connect: &[],
        inboxes: &[],
        page: None,
        #[cfg(feature = "doors")]
        secured: None,
        #[cfg(feature = "grpc")]
        grpc: None,
        #[cfg(feature = "webhooks")]
        posting: None,
        once: options.once,
        exec: None,
    };
    if options.into.as_os_str() != "-" {
        return service::run(global, &service, output).await;
    }
    if global.json {
        return Err(CommandError::usage(
            "--json and --into - can't both have stdout",
            "name a folder, or leave --json out",
        ));
    }
    if std::io::stdout().is_terminal() {
        let hint = "say where it goes: `estafette receive --into - > FILE`, or `… | COMMAND`";
        return Err(CommandError::usage(
            "--into - would write what a sender chose to this terminal, which it could steer",
            hint,
        ));
    }
    service::run(
        global,
        &Service { into: None, to_stdout: true, once: true, ..service },
        &output.beside_content(),
    )
    .await
}
