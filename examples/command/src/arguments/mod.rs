//! The arguments of the command. Every flag has an environment variable, `ESTAFETTE_` and its name.

mod ask;
#[cfg(feature = "grpc")]
mod grpc;
mod help;
mod inbox_table;
mod page;
mod reading;
mod receive;
#[cfg(feature = "doors")]
mod secured;
mod send;
mod store;
mod switch;
mod syntax;
mod tap;
#[cfg(feature = "doors")]
mod token;
mod topology;
#[cfg(feature = "webhooks")]
mod webhook;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use estafette::{NodeConfig, PeerId};

pub(crate) use self::ask::{Ask, Deliver, Describe, Open};
#[cfg(feature = "grpc")]
pub(crate) use self::grpc::Grpc;
pub(crate) use self::inbox_table::InboxTable;
pub(crate) use self::page::Paging;
pub(crate) use self::reading::{Links, Reading};
pub(crate) use self::receive::{NodeOptions, OnConflict, OutwardLinks, Receive, Relaying, Taking};
#[cfg(feature = "doors")]
pub(crate) use self::secured::Secured;
pub(crate) use self::send::Send;
pub(crate) use self::store::{Doctor, Inbox, Outbox, Ticket};
use self::switch::Switch;
pub(crate) use self::tap::{RecordOptions, ReplayOptions, TapOptions};
#[cfg(feature = "doors")]
pub(crate) use self::token::Token;
pub(crate) use self::topology::{
    GraphFormat, GraphOptions, RunOptions, TestOptions, TopOptions, TopologyFile, TraceOptions,
};
#[cfg(feature = "webhooks")]
pub(crate) use self::webhook::{Posting, Webhook};
use crate::program::Program;
use crate::units::{parse_duration, parse_lasting, parse_name};

/// Sends files and folders from one machine to another, encrypted end to end, verified, and resumed
/// after a broken link.
#[derive(Debug, Parser)]
#[command(name = "estafette", after_help = help::EXAMPLES, after_long_help = help::LONG_EXAMPLES, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) action: Action,
}

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "General options")]
pub(crate) struct Global {
    /// The program that runs.
    #[arg(skip)]
    pub(crate) program: Program,
    /// The limits of its nodes.
    #[arg(skip)]
    pub(crate) limits: NodeConfig,
    /// The inboxes that a configuration names.
    #[arg(skip)]
    pub(crate) inboxes: Vec<InboxTable>,
    /// A file of TOML that says what flags say, and the limits of the node; what a flag or a
    /// variable says counts before it. `node` and `receive` take all of it, other commands the
    /// general options and the limits
    #[arg(long, global = true, value_name = "FILE", env = "ESTAFETTE_CONFIG", hide_env = true)]
    pub(crate) config: Option<PathBuf>,
    /// This node's key; its trust is kept beside it, in FILE.trust [default:
    /// ~/.config/estafette/node.key]
    #[arg(long, global = true, value_name = "FILE", env = "ESTAFETTE_KEY", hide_env = true)]
    pub(crate) key: Option<PathBuf>,
    /// The folder that keeps deliveries between processes; one process has it at a time [default:
    /// KEY.spool, beside the key]
    #[arg(long, global = true, value_name = "DIR", env = "ESTAFETTE_SPOOL", hide_env = true)]
    pub(crate) spool: Option<PathBuf>,
    /// Print one JSON object per line on stdout
    #[arg(long, global = true, env = "ESTAFETTE_JSON", hide_env = true, value_parser = Switch)]
    pub(crate) json: bool,
    /// After a first Ctrl-C or SIGTERM, let what runs finish for so long; a second one stops at
    /// once
    #[arg(long, global = true, value_name = "TIME", default_value = "10s", value_parser = parse_duration, env = "ESTAFETTE_DRAIN", hide_env = true)]
    pub(crate) drain: Duration,
    /// Print a `report` event with the counters of all stages at the end
    #[arg(long, global = true, hide = true)]
    pub(crate) report: bool,
    /// Log more: -v what happens, -vv how, -vvv everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count, env = "ESTAFETTE_VERBOSE", hide_env = true)]
    pub(crate) verbose: u8,
    /// No progress and no remarks: only errors, and results such as what was delivered
    #[arg(short, long, global = true, env = "ESTAFETTE_QUIET", hide_env = true, value_parser = Switch)]
    pub(crate) quiet: bool,
    /// Colours on stderr
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        env = "ESTAFETTE_COLOR",
        hide_env = true
    )]
    pub(crate) color: When,
    /// The form of log lines, on stderr
    #[arg(
        long,
        global = true,
        value_name = "FORMAT",
        default_value = "text",
        env = "ESTAFETTE_LOG_FORMAT",
        hide_env = true
    )]
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

impl LogFormat {
    /// Returns the word for it in arguments.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Send a real input between two processes of this machine, compare it, and show where the time
    /// went
    #[command(after_help = "Examples:\n  estafette demo\n  estafette demo ~/photos")]
    Demo {
        /// A file or a folder [default: the project's sources and this program]
        path: Option<PathBuf>,
    },
    /// Take deliveries into a folder, and print a ticket for whoever may send
    #[command(after_help = help::RECEIVE_EXAMPLES)]
    Receive(Receive),
    /// Send files and folders to where a ticket leads, or to a trusted peer
    #[command(after_help = help::SEND_EXAMPLES)]
    Send(Send),
    /// Run until stopped: deliver what is in the outbox; with --into, take deliveries; with
    /// --relay, keep those of others
    #[command(after_help = help::NODE_EXAMPLES)]
    Node(Box<NodeOptions>),
    /// Run the nodes of a topology: all of this machine, each in a process of its own, or one
    #[command(after_help = help::RUN_EXAMPLES)]
    Run(RunOptions),
    /// Say all that is wrong with a topology, each fault at its place
    #[command(after_help = help::VALIDATE_EXAMPLES)]
    Validate(TopologyFile),
    /// Try the tests of a topology: all its nodes in this process, on a network in memory that
    /// breaks
    #[command(after_help = help::TEST_EXAMPLES)]
    Test(TestOptions),
    /// Say what a change of a topology does to the nodes that run it, before it is saved to its
    /// place or noticed
    #[command(after_help = help::PLAN_EXAMPLES)]
    Plan(TopologyFile),
    /// Have the nodes that run a topology look at it now, and say what they have changed
    #[command(after_help = help::RELOAD_EXAMPLES)]
    Reload(TopologyFile),
    /// List the nodes and the routes of a topology
    List(TopologyFile),
    /// Show what nodes of this machine do, again and again: busiest stages, links, transfers, and
    /// what waits
    #[command(after_help = help::TOP_EXAMPLES)]
    Top(TopOptions),
    /// Show what passes a route while it runs: sizes, rates, names, and content where the topology
    /// lets it be seen
    #[command(after_help = help::TAP_EXAMPLES)]
    Tap(TapOptions),
    /// Record what passes a route, each delivery in a package that one node alone can open
    #[command(after_help = help::RECORD_EXAMPLES)]
    Record(RecordOptions),
    /// Send by a route what was recorded
    #[command(after_help = help::REPLAY_EXAMPLES)]
    Replay(ReplayOptions),
    /// Say what a delivery would pass that is not sent: routes, stages, relays, rights, inboxes, and
    /// where it would end
    #[command(after_help = help::TRACE_EXAMPLES)]
    Trace(TraceOptions),
    /// Draw a topology: what goes from where to where
    #[command(after_help = help::GRAPH_EXAMPLES)]
    Graph(GraphOptions),
    /// Print the JSON schema of topologies, with the kinds, stages and transports of this program:
    /// editors complete and check with it
    #[command(after_help = help::SCHEMA_EXAMPLES)]
    Schema,
    /// Deliveries and messages to others: list, messages, show, retry, cancel, drop
    #[command(subcommand, after_help = help::OUTBOX_EXAMPLES)]
    Outbox(Outbox),
    /// Deliveries that came here: list
    #[command(subcommand)]
    Inbox(Inbox),
    /// Ask an actor on another node, in JSON, and print its answer
    #[command(after_help = help::ASK_EXAMPLES)]
    Ask(Ask),
    /// Send a message to an actor on another node, in JSON; done when it was handled, whatever is
    /// answered
    #[command(after_help = help::TELL_EXAMPLES)]
    Tell(Ask),
    /// Store a message to an actor on another node, in JSON: it is delivered once, whether that
    /// node is there or not
    #[command(after_help = help::DELIVER_EXAMPLES)]
    Deliver(Deliver),
    /// Send each line of stdin to an actor on another node, in JSON, and print its one answer
    #[command(after_help = help::UPLOAD_EXAMPLES)]
    Upload(Open),
    /// Send each line of stdin to an actor on another node, in JSON, and print each of its answers
    /// as it comes
    #[command(after_help = help::OPEN_EXAMPLES)]
    Open(Open),
    /// Ask an actor on another node, in JSON, and print each of its answers as it comes
    #[command(after_help = help::DOWNLOAD_EXAMPLES)]
    Download(Ask),
    /// Print what may be sent to another node: names, types of messages, and the ways
    #[command(after_help = help::DESCRIBE_EXAMPLES)]
    Describe(Describe),
    /// Look whether key, trust and spool are well, and say what to do
    #[command(after_help = help::DOCTOR_EXAMPLES)]
    Doctor(Doctor),
    /// Print this node's id, for `estafette trust add` on another machine
    Id,
    /// Peers that may send without a ticket: list, add, remove
    #[command(subcommand, after_help = help::TRUST_EXAMPLES)]
    Trust(Trust),
    /// Tokens with which others come in by `node --http`, and reach actors: list, add, remove
    #[cfg(feature = "doors")]
    #[command(subcommand, after_help = help::TOKEN_EXAMPLES)]
    Token(Token),
    /// Messages that are posted to somebody else's URL: list, show, retry, drop, enable
    #[cfg(feature = "webhooks")]
    #[command(subcommand, after_help = help::WEBHOOK_EXAMPLES)]
    Webhook(Webhook),
    /// Explain a ticket; or list those that were given out here, or make one worthless
    #[command(after_help = help::TICKET_EXAMPLES, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
    Ticket {
        /// The ticket: `-` reads it from stdin, `@FILE` from a file, which keeps it out of process
        /// lists
        #[arg(required = true)]
        ticket: Option<String>,
        #[command(subcommand)]
        action: Option<Ticket>,
    },
    /// Print what makes a shell complete: commands, flags, peers, inboxes, actors, and what a topology
    /// names. It is for this release: have the shell read it when it starts
    #[command(after_help = help::COMPLETIONS_EXAMPLES)]
    Completions {
        /// The shell
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
    /// Trust a node, or change how it is trusted: what is not said stays as it is for one that is
    /// known
    Add {
        /// Its id, as `estafette id` prints it there
        id: PeerId,
        /// Its name here, whatever it calls itself; nothing that looks like an id. One that is not
        /// known yet needs one
        #[arg(long, value_parser = parse_name, env = "ESTAFETTE_NAME", hide_env = true)]
        name: Option<String>,
        /// An address at which it can be dialled; may be repeated, and takes the place of those
        /// that are known
        #[arg(
            long,
            value_name = "ADDR",
            value_delimiter = ',',
            env = "ESTAFETTE_ADDR",
            hide_env = true
        )]
        addr: Vec<String>,
        /// The time for which it is trusted from now on [default: until it is removed]
        #[arg(long, value_name = "TIME", value_parser = parse_lasting, env = "ESTAFETTE_VALID", hide_env = true)]
        valid: Option<Duration>,
        /// Trust it until it is removed, where it was trusted for a time
        #[arg(long, conflicts_with = "valid", env = "ESTAFETTE_NO_END", hide_env = true, value_parser = Switch)]
        no_end: bool,
        /// It may only carry what is sealed for others, as a relay does, and deliver nothing of
        /// its own here
        #[arg(long, env = "ESTAFETTE_RELAY_ONLY", hide_env = true, value_parser = Switch)]
        relay_only: bool,
        /// It may deliver to all inboxes, where it might only relay, or deliver to some
        #[arg(long, conflicts_with = "relay_only", env = "ESTAFETTE_ALL_INBOXES", hide_env = true, value_parser = Switch)]
        all_inboxes: bool,
    },
    /// Trust a node no longer, and make the tickets it has used worthless: holds for its next
    /// connection at once, and a running node closes its links within a second or two
    Remove {
        /// Its id, or its name
        peer: String,
    },
}
