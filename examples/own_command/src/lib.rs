//! The `estafette` command with parts of one's own: all its subcommands, and topologies that name
//!
//! - `redact`, a filter: fields of CSV are blanked before anything leaves the sender;
//! - `mask`, a coder: what every chunk passes, and its inverse at the receiver;
//! - `sqlite`, a sink: rows of CSV become rows of a table, once;
//! - `name:`, a transport: nodes of one machine that find each other by names instead of ports.
//!
//! The receiver runs this program, too: `estafette` itself refuses what passed a coder that it does
//! not have. `orders.toml` beside uses all of it.

mod mask;
mod named;
mod redact;
mod sqlite;

use std::convert::Infallible;

use estafette::node::{KindOf, StageRegistry};
use estafette::pipeline::{Pipeline, Source};
use estafette_actors::source::Filtered;
use estafette_actors::standard;
use estafette_command::Command;

pub use self::mask::Mask;
pub use self::named::Named;
pub use self::redact::Redact;
pub use self::sqlite::Sqlite;

/// Returns the standard stages and ours.
pub fn registry() -> StageRegistry {
    standard()
        .coder(
            "mask",
            Pipeline::new().then("mask", || Mask),
            Pipeline::new().then("unmask", || Mask),
        )
        .filter_kind("redact", |settings: redact::Settings, source: Box<dyn Source>| {
            Ok::<_, Infallible>(Filtered::new(source, Redact::new(settings)))
        })
        .kind_schema::<redact::Settings>(KindOf::Filter, "redact")
        .inbox_kind("sqlite", |sqlite: Sqlite| Ok::<_, Infallible>(sqlite))
        .kind_schema::<Sqlite>(KindOf::Inbox, "sqlite")
        .transport_for("name", Named)
}

/// Returns the command with them, under the name of this program.
pub fn command() -> Command {
    Command::new(registry()).name("own_command").version(env!("CARGO_PKG_VERSION"))
}
