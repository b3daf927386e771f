//! A program that is the command: what it is called, and what it brings.

use std::ffi::OsString;
use std::process::ExitCode;

use estafette::node::StageRegistry;

use crate::arguments::Arguments;
use crate::completion;
use crate::error::CommandError;
use crate::output::Output;
use crate::program::Program;
use crate::run::{is_to_show, run};
use crate::signals;
use crate::streams;

/// The descriptors that a runtime takes at its start.
const OF_A_RUNTIME: usize = 6;

/// The `estafette` command with the stages, coders and transport of a registry.
///
/// Everything else is as in `estafette`: the subcommands, the variables (`ESTAFETTE_KEY`), the
/// place of the key, `--json` and the exit codes.
#[derive(Clone, Debug)]
#[must_use = "it does nothing until it is run"]
pub struct Command(Program);

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
        if let Some(code) = completion::answer(&self.0, &arguments) {
            return code;
        }
        let arguments = match Arguments::read(self.0, arguments) {
            Ok(arguments) => arguments,
            Err(code) => return code,
        };
        let output = Output::new(&arguments.global);
        output.start_logging(&arguments.global);
        if let Err(error) = streams::check_stdout() {
            return output.fail(&error);
        }
        raise_descriptors();
        // A runtime panics where there is no thread for it, or no descriptors: whether there are
        // some is asked before.
        let is_one = std::thread::Builder::new().spawn(|| {}).map(|thread| drop(thread.join()));
        let runtime = match is_one.and_then(|()| has_descriptors()).and_then(|()| {
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
        let shows = is_to_show(&arguments.action);
        if let Err(error) = runtime.block_on(async { signals::outlive_long_files() }) {
            tracing::warn!(%error, "a file beyond the limit of file sizes will end this process");
        }
        let outcome = runtime.block_on(run(arguments, &output));
        // A task that still waits for a terminal or a peer must not hold the process.
        runtime.shutdown_background();
        output.end(outcome, shows)
    }
}

/// Fails where there are fewer descriptors left than a runtime takes.
fn has_descriptors() -> std::io::Result<()> {
    let taken = (0..OF_A_RUNTIME).map(|_| rustix::io::dup(std::io::stderr()));
    Ok(taken.collect::<Result<Vec<_>, _>>().map(drop)?)
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
