//! A program that is the command: what it is called, and what it brings.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::CommandFactory;
use estafette::node::StageRegistry;
use estafette::pipeline::ChunkCodec;

use crate::arguments::Arguments;
use crate::error::CommandError;
use crate::output::Output;
use crate::run::run;

/// The `estafette` command with the stages, coders and transport of a registry.
///
/// Everything else is as in `estafette`: the subcommands, the variables (`ESTAFETTE_KEY`), the
/// place of the key, `--json` and the exit codes.
#[derive(Clone, Debug)]
#[must_use = "it does nothing until it is run"]
pub struct Command(Program);

/// What the program is called, and what its nodes are made of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Program {
    name: &'static str,
    version: &'static str,
    pub(crate) registry: StageRegistry,
}

impl Command {
    /// A command whose nodes have these stages: `estafette_actors::standard()`, and one's own.
    ///
    /// With its feature `doors` it has the kinds of doors `http` and `grpc`, too.
    pub fn new(registry: StageRegistry) -> Self {
        #[cfg(feature = "doors")]
        let registry = estafette_doors::with_kinds(registry);
        Self(Program { name: "estafette", version: env!("CARGO_PKG_VERSION"), registry })
    }

    /// The name that `--help`, `--version`, completions and the manual have. Default `estafette`.
    /// What is advised after an error still names `estafette`.
    pub fn name(mut self, name: &'static str) -> Self {
        self.0.name = name;
        self
    }

    /// The version that `--version` tells. Default that of this crate.
    pub fn version(mut self, version: &'static str) -> Self {
        self.0.version = version;
        self
    }

    /// Runs what this process was asked for, until it is over; the code says how it ended.
    ///
    /// It takes the process for its own: it logs to stderr (unless there is a subscriber of
    /// `tracing` already), takes the signals that end a process, and raises the limit of open
    /// files. To be called from `main`, outside of any runtime.
    pub fn run(self) -> ExitCode {
        self.run_from(std::env::args_os())
    }

    /// [`Command::run`] with other arguments, of which the first is the name of the program.
    ///
    /// `demo` starts this program twice more, with its own arguments: a program that has more to
    /// it than this command has to give them to this one.
    pub fn run_from<A: Into<OsString>>(self, arguments: impl IntoIterator<Item = A>) -> ExitCode {
        let arguments: Vec<_> = arguments.into_iter().map(Into::into).collect();
        if let Some(code) = crate::completion::answer(&self.0, &arguments) {
            return code;
        }
        let arguments = match Arguments::read(self.0, arguments) {
            Ok(arguments) => arguments,
            Err(code) => return code,
        };
        let output = Output::new(&arguments.global);
        output.start_logging(&arguments.global);
        raise_descriptors();
        // A runtime panics where there is no thread for it: whether there is one is asked before.
        let is_one = std::thread::Builder::new().spawn(|| {}).map(|thread| drop(thread.join()));
        let runtime = match is_one.and_then(|()| {
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()
        }) {
            Ok(runtime) => runtime,
            Err(error) => {
                return output.fail(&CommandError::io(
                    format!("the runtime could not be started: {error}"),
                    "free some memory and threads",
                ));
            }
        };
        let outcome = runtime.block_on(run(arguments, &output));
        // A task that still waits for a terminal or a peer must not hold the process.
        runtime.shutdown_background();
        match outcome {
            Ok(code) => code,
            Err(error) => output.fail(&error),
        }
    }
}

impl Program {
    /// What the command understands, in the words of this program.
    pub(crate) fn syntax(&self) -> clap::Command {
        let syntax = Arguments::command().name(self.name).version(self.version);
        let syntax = with_addresses(syntax, &self.registry);
        let syntax = syntax.mut_subcommand("send", |send| {
            let known: Vec<_> = self.registry.stages().coder_names().collect();
            let known = if known.is_empty() { "none".into() } else { known.join(", ") };
            let codecs: Vec<_> = self.registry.stages().codecs().map(ChunkCodec::name).collect();
            let send = send.mut_arg("compress", |compress| {
                let help = compress.get_help().map(ToString::to_string).unwrap_or_default();
                compress.help(format!("{help} [codecs here: {}]", codecs.join(", ")))
            });
            send.mut_arg("stages", |stages| {
                let help = stages.get_help().map(ToString::to_string).unwrap_or_default();
                stages.help(format!("{help} [known here: {known}]"))
            })
        });
        if self.name == "estafette" { syntax } else { renamed(syntax, self.name) }
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }
}

/// The same syntax, which takes the addresses that one of these transports could dial.
fn with_addresses(mut syntax: clap::Command, registry: &StageRegistry) -> clap::Command {
    syntax = syntax.mut_args(|argument| match argument.get_id().as_str() {
        "addr" | "advertise" => {
            let registry = registry.clone();
            argument.value_parser(move |text: &str| {
                registry.check_address(text).map(|()| text.to_owned())
            })
        }
        _ => argument,
    });
    syntax.mut_subcommands(|command| with_addresses(command, registry))
}

/// The same syntax, whose help calls the command by another name.
fn renamed(mut syntax: clap::Command, name: &str) -> clap::Command {
    let rename = |text: &dyn ToString| text.to_string().replace("estafette ", &format!("{name} "));
    if let Some(text) = syntax.get_after_help().map(|text| rename(text)) {
        syntax = syntax.after_help(text);
    }
    if let Some(text) = syntax.get_after_long_help().map(|text| rename(text)) {
        syntax = syntax.after_long_help(text);
    }
    if let Some(text) = syntax.get_about().map(|text| rename(text)) {
        syntax = syntax.about(text);
    }
    syntax = syntax.mut_args(|argument| match argument.get_help().map(|text| rename(text)) {
        Some(text) => argument.help(text),
        None => argument,
    });
    let subcommands: Vec<_> =
        syntax.get_subcommands().map(|command| command.get_name().to_owned()).collect();
    subcommands.into_iter().fold(syntax, |syntax, subcommand| {
        syntax.mut_subcommand(subcommand, |command| renamed(command, name))
    })
}

/// Lets this process have as many descriptors open as it may: what it is started with is often
/// less.
fn raise_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        tracing::warn!(
            %error,
            "the limit of open files could not be raised: fewer deliveries run at once where it is \
             low"
        );
    }
}
