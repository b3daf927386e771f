//! `estafette ask`, `tell`, `deliver`, `download`, `upload`, `open` and `describe`.

use std::time::Duration;

use clap::Args;

use crate::units::parse_duration;

#[derive(Clone, Debug, Args)]
pub(crate) struct Ask {
    /// The actor: a trusted peer's name or id, and what the actor is called there
    #[arg(value_name = "PEER/NAME")]
    pub(crate) to: String,
    /// The type of the message, as `estafette describe` prints it, and its version, if that is not
    /// 1: shop.Order@2
    #[arg(value_name = "TYPE", value_parser = parse_type)]
    pub(crate) message: MessageType,
    /// The message, as JSON: as it is here, `-` reads it from stdin, `@FILE` from a file; up to
    /// 1 MiB [default: null]
    #[arg(value_name = "JSON", default_value = "null", hide_default_value = true)]
    pub(crate) content: String,
    /// The longest wait for the answer, and for the other node when it is dialled; of download, for
    /// all of it [default: 30s; of download: as long as it takes]
    #[arg(long, value_name = "TIME", value_parser = parse_duration, env = "ESTAFETTE_WITHIN", hide_env = true)]
    pub(crate) within: Option<Duration>,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Open {
    /// The actor: a trusted peer's name or id, and what the actor is called there
    #[arg(value_name = "PEER/NAME")]
    pub(crate) to: String,
    /// The type of the messages, as `estafette describe` prints it, and its version, if that is not
    /// 1: shop.Order@2
    #[arg(value_name = "TYPE", value_parser = parse_type)]
    pub(crate) message: MessageType,
    /// The longest that all of it may take [default: as long as it takes]
    #[arg(long, value_name = "TIME", value_parser = parse_duration, env = "ESTAFETTE_WITHIN", hide_env = true)]
    pub(crate) within: Option<Duration>,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Deliver {
    /// The actor: a trusted peer's name or id, and what the actor is called there
    #[arg(value_name = "PEER/NAME")]
    pub(crate) to: String,
    /// The type of the message, as `estafette describe` prints it, and its version, if that is not
    /// 1: shop.Order@2
    #[arg(value_name = "TYPE", value_parser = parse_type)]
    pub(crate) message: MessageType,
    /// The message, as JSON: as it is here, `-` reads it from stdin, `@FILE` from a file; up to
    /// 1 MiB [default: null]
    #[arg(value_name = "JSON", default_value = "null", hide_default_value = true)]
    pub(crate) content: String,
    /// Wait until its actor has handled it; a node must run with this key
    #[arg(long)]
    pub(crate) wait: bool,
    /// The longest wait for that; it stays stored [default: as long as it takes]
    #[arg(long, value_name = "TIME", value_parser = parse_duration, requires = "wait")]
    pub(crate) within: Option<Duration>,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Describe {
    /// A trusted peer's name or id; or with the name of one actor or inbox there
    #[arg(value_name = "PEER[/NAME]")]
    pub(crate) what: String,
}

/// The name of a type of messages, and its version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MessageType {
    pub(crate) name: String,
    pub(crate) version: u32,
}

fn parse_type(text: &str) -> Result<MessageType, String> {
    let (name, version) = match text.rsplit_once('@') {
        Some((name, version)) => {
            let wrong = |_| format!("{version:?} is no version: a number from 0 to {}", u32::MAX);
            (name, version.parse().map_err(wrong)?)
        }
        None => (text, 1),
    };
    if name.is_empty() {
        return Err("a type has a name, such as shop.Order".into());
    }
    Ok(MessageType { name: name.into(), version })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_has_a_name_and_may_have_a_version() {
        let of = |name: &str, version| Ok(MessageType { name: name.into(), version });
        assert_eq!(parse_type("shop.Order"), of("shop.Order", 1));
        assert_eq!(parse_type("shop.Order@7"), of("shop.Order", 7));
        assert_eq!(parse_type("a@b@0"), of("a@b", 0));
        for wrong in ["", "@1", "a@", "a@x", "a@-1", "a@4294967296"] {
            assert!(parse_type(wrong).is_err(), "{wrong}");
        }
    }
}
