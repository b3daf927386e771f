//! The syntax of the command, in the words of a program.

use clap::CommandFactory;
use estafette::node::StageRegistry;
use estafette::pipeline::ChunkCodec;

use super::Arguments;
use crate::program::Program;

impl Program {
    /// The syntax that the command understands, in the words of this program.
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
