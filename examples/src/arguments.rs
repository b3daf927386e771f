//! What the command understands. Every flag has an environment variable, `ESTAFETTE_` and its name.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::builder::FalseyValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum};
use estafette::PeerId;
use estafette::pipeline::Compression;

use crate::error::CommandError;
use crate::event::Event;
use crate::units::{parse_bytes, parse_duration};

/// Sends files and folders from one machine to another, encrypted end to end, verified, and resumed after a broken link.
#[derive(Debug, Parser)]
#[command(name = "estafette", version, after_help = EXAMPLES, after_long_help = LONG_EXAMPLES, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "General options")]
pub(crate) struct Global {
    /// This node's key; its trust is kept beside it, in FILE.trust [default: ~/.config/estafette/node.key]
    #[arg(long, global = true, value_name = "FILE", env = "ESTAFETTE_KEY", hide_env = true)]
    pub(crate) key: Option<PathBuf>,
    /// Print one JSON object per line on stdout
    #[arg(long, global = true, env = "ESTAFETTE_JSON", hide_env = true, value_parser = FalseyValueParser::new())]
    pub(crate) json: bool,
    /// After a first Ctrl-C or SIGTERM, let what runs finish for so long; a second one stops at once
    #[arg(long, global = true, value_name = "TIME", default_value = "10s", value_parser = parse_duration, env = "ESTAFETTE_DRAIN", hide_env = true)]
    pub(crate) drain: Duration,
    /// Print a `report` event with the counters of all stages at the end
    #[arg(long, global = true, hide = true)]
    pub(crate) report: bool,
    /// Log more: -v what happens, -vv how, -vvv everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count, env = "ESTAFETTE_VERBOSE", hide_env = true)]
    pub(crate) verbose: u8,
    /// No progress, no remarks: errors only
    #[arg(short, long, global = true, env = "ESTAFETTE_QUIET", hide_env = true, value_parser = FalseyValueParser::new())]
    pub(crate) quiet: bool,
    /// Colours on stderr
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", env = "ESTAFETTE_COLOR", hide_env = true)]
    pub(crate) color: When,
    /// How log lines look, on stderr
    #[arg(long, global = true, value_name = "FORMAT", default_value = "text", env = "ESTAFETTE_LOG_FORMAT", hide_env = true)]
    pub(crate) log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum When {
    Auto,
    Always,
    Never,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Send a real input between two processes of this machine, compare it, and show where the time went
    #[command(after_help = "Examples:\n  estafette demo\n  estafette demo ~/photos")]
    Demo {
        /// A file or a folder [default: the project's sources and this program]
        path: Option<PathBuf>,
    },
    /// Take deliveries into a folder, and print a ticket for whoever may send
    #[command(after_help = RECEIVE_EXAMPLES)]
    Receive(Receive),
    /// Send files and folders to where a ticket leads
    #[command(after_help = SEND_EXAMPLES)]
    Send(Send),
    /// Print this node's id, for `estafette trust add` on another machine
    Id,
    /// Who may send without a ticket: list, add, remove
    #[command(subcommand, after_help = TRUST_EXAMPLES)]
    Trust(Trust),
    /// Explain a ticket
    Ticket {
        /// The ticket; `-` reads it from stdin
        ticket: String,
    },
    /// Print completions for a shell
    #[command(after_help = "Example:\n  estafette completions bash > ~/.local/share/bash-completion/completions/estafette")]
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page, of the command or of one of its subcommands
    #[command(after_help = "Example:\n  estafette man | man -l -")]
    Man {
        /// A subcommand, such as send
        command: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Trust {
    /// Print who is trusted
    List,
    /// Trust a node, or change how it is trusted
    Add {
        /// What `estafette id` prints there
        id: PeerId,
        /// What it is called here
        #[arg(long, env = "ESTAFETTE_NAME", hide_env = true)]
        name: String,
        /// Where it can be dialled; may be repeated
        #[arg(long, value_name = "ADDR", value_delimiter = ',', env = "ESTAFETTE_ADDR", hide_env = true)]
        addr: Vec<String>,
        /// How long it is trusted [default: until it is removed]
        #[arg(long, value_name = "TIME", value_parser = parse_duration, env = "ESTAFETTE_VALID", hide_env = true)]
        valid: Option<Duration>,
    },
    /// Trust a node no longer: holds for its next connection at once, and a running receiver closes its links within a second or two
    Remove {
        /// Its id, or its name
        peer: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Receive {
    /// The folder that deliveries go to; it is made if only its last part is missing
    #[arg(long, value_name = "DIR", env = "ESTAFETTE_INTO", hide_env = true)]
    pub(crate) into: PathBuf,
    /// Where to listen; port 0 is any free one
    #[arg(long, value_name = "ADDR", default_value = "0.0.0.0:0", env = "ESTAFETTE_LISTEN", hide_env = true)]
    pub(crate) listen: String,
    /// An address for the ticket instead of this machine's own (port forwarding); may be repeated
    #[arg(long, value_name = "ADDR", value_delimiter = ',', env = "ESTAFETTE_ADVERTISE", hide_env = true)]
    pub(crate) advertise: Vec<String>,
    /// What this node calls itself [default: the host's name]
    #[arg(long, env = "ESTAFETTE_NAME", hide_env = true)]
    pub(crate) name: Option<String>,
    /// Stop after one delivery; the exit code tells how it went
    #[arg(long, env = "ESTAFETTE_ONCE", hide_env = true, value_parser = FalseyValueParser::new())]
    pub(crate) once: bool,
    /// What happens to a delivery whose name is taken
    #[arg(long, value_name = "POLICY", default_value = "refuse", env = "ESTAFETTE_ON_CONFLICT", hide_env = true)]
    pub(crate) on_conflict: OnConflict,
    /// The longest delivery that is taken, such as 500M or 2GiB
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes, env = "ESTAFETTE_MAX_BYTES", hide_env = true)]
    pub(crate) max_bytes: Option<u64>,
    /// How many different senders may use the ticket
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..), env = "ESTAFETTE_REDEEMERS", hide_env = true)]
    pub(crate) redeemers: u16,
    /// How long the ticket may be used; who has used it stays trusted until `estafette trust remove`
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = parse_duration, env = "ESTAFETTE_VALID", hide_env = true)]
    pub(crate) valid: Duration,
    /// How long to wait for a sender whose link broke in the middle [default: 60s]
    #[arg(long, value_name = "TIME", value_parser = parse_duration, env = "ESTAFETTE_PATIENCE", hide_env = true)]
    pub(crate) patience: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnConflict {
    /// Refuse the delivery
    Refuse,
    /// Give it a number: photo.jpg becomes photo (1).jpg
    Rename,
    /// Replace what is there, a file by a file or a folder by a folder
    Replace,
}

#[derive(Debug, Args)]
pub(crate) struct Send {
    /// Files and folders: one is sent as what it is, several together as one folder
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    /// The ticket that the receiver printed; `-` reads it from stdin, which keeps it out of process lists
    #[arg(required = true, value_name = "TICKET")]
    pub(crate) ticket: String,
    /// Dial this instead of the ticket's addresses (port forwarding); may be repeated
    #[arg(long, value_name = "ADDR", value_delimiter = ',', env = "ESTAFETTE_ADDR", hide_env = true)]
    pub(crate) addr: Vec<String>,
    /// What this node calls itself [default: the host's name]
    #[arg(long, env = "ESTAFETTE_NAME", hide_env = true)]
    pub(crate) name: Option<String>,
    /// Bytes per chunk, a power of two from 1K to 2M: larger ones cost fewer calls, smaller ones less memory [default: 256K]
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes, env = "ESTAFETTE_CHUNK_SIZE", hide_env = true)]
    pub(crate) chunk_size: Option<u64>,
    /// How chunks are compressed; switch it off where lengths must tell nothing about the content
    #[arg(long, value_name = "HOW", default_value = "snappy", env = "ESTAFETTE_COMPRESS", hide_env = true)]
    pub(crate) compress: Compress,
    /// How long to go on dialling a receiver that can't be reached [default: 5s at first, 60s when a link broke]
    #[arg(long, value_name = "TIME", value_parser = parse_duration, env = "ESTAFETTE_PATIENCE", hide_env = true)]
    pub(crate) patience: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Compress {
    Snappy,
    Off,
}

impl From<Compress> for Compression {
    fn from(compress: Compress) -> Self {
        match compress {
            Compress::Snappy => Self::Snappy,
            Compress::Off => Self::Off,
        }
    }
}

impl Arguments {
    /// Reads the command line; what is wrong with it is told, as an event under `--json`.
    pub(crate) fn read() -> Result<Self, ExitCode> {
        Self::try_parse().map_err(|error| {
            if !error.use_stderr() || !wants_json() {
                // A closed terminal needs no word.
                let _ = error.print();
                return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
            }
            let text = error.render().to_string();
            let (message, hint) = text.split_once("\n\n").unwrap_or((&text, ""));
            let message = message.trim().trim_start_matches("error: ");
            let hint = hint.split_whitespace().collect::<Vec<_>>().join(" ");
            let error = CommandError::usage(message, hint);
            crate::output::print_event(&Event::from(&error));
            ExitCode::from(2)
        })
    }
}

/// Whether `--json` was asked for on a command line that can't be understood.
fn wants_json() -> bool {
    let flagged = std::env::args_os().skip(1).take_while(|argument| argument != "--").any(|argument| argument == "--json");
    let falsey = ["", "0", "f", "false", "n", "no", "off"];
    flagged || std::env::var("ESTAFETTE_JSON").is_ok_and(|value| !falsey.contains(&value.to_ascii_lowercase().as_str()))
}

const EXAMPLES: &str = "\
Examples:
  estafette demo                                a look at it, on this machine alone
  estafette receive --into ~/inbox              prints a ticket
  estafette send photos/ notes.txt estafette1…  on the other machine, with that ticket

Every flag has an environment variable: --chunk-size is ESTAFETTE_CHUNK_SIZE.";

const LONG_EXAMPLES: &str = "\
Examples:
  estafette demo                                a look at it, on this machine alone
  estafette receive --into ~/inbox              prints a ticket
  estafette send photos/ notes.txt estafette1…  on the other machine, with that ticket

Every flag has an environment variable: --chunk-size is ESTAFETTE_CHUNK_SIZE.

Exit codes:
  0    delivered: the receiver has verified it and made it durable
  2    wrong usage
  3    refused by the receiver, or not trusted there
  4    the other node can't be reached
  5    bytes did not verify
  6    input or output failed; of a tree, all else was delivered
  130  stopped by a signal before it was done";

const RECEIVE_EXAMPLES: &str = "\
Examples:
  estafette receive --into ~/inbox --once
  estafette receive --into /srv/in --listen 0.0.0.0:7400 --redeemers 20 --valid 7d --on-conflict rename
  estafette receive --into in --listen 127.0.0.1:7400 --advertise gate.example.org:17400";

const TRUST_EXAMPLES: &str = "\
Examples:
  estafette trust list
  estafette trust add 3yiqr4na… --name lyon --addr lyon.example.org:7400
  estafette trust remove lyon";

const SEND_EXAMPLES: &str = "\
Examples:
  estafette send big.tar estafette1…
  estafette send photos/ notes.txt estafette1…     arrives as one folder
  estafette send -- -odd-name estafette1…
  estafette send backup/ - < ticket.txt
  estafette send --addr localhost:17400 big.tar estafette1…";
