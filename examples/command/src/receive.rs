//! `estafette receive`: a folder that takes deliveries.

use std::process::ExitCode;

use crate::addresses;
use crate::arguments::{Global, Receive};
use crate::error::CommandError;
use crate::output::Output;
use crate::service::{self, Service};

pub(crate) async fn run(global: &Global, options: &Receive, output: &Output) -> Result<ExitCode, CommandError> {
    let service = Service {
        into: Some(&options.into),
        listen: options.listen.as_deref().or_else(|| Some(addresses::anywhere())),
        name: options.name.as_deref(),
        taking: &options.taking,
        patience: options.patience,
        relaying: None,
        connect: &[],
        once: options.once,
    };
    service::run(global, &service, output).await
}
