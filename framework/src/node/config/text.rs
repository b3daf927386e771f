//! A node's limits as text: sizes as `6MiB`, times as `10s`, choices by their names.

use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::node::units;

/// The compression of chunks by its name, or a program's own codec by its number.
pub(super) mod compression {
    use super::*;
    use crate::pipeline::Compression;

    #[cfg(feature = "schema")]
    pub(in super::super) struct Text;

    #[cfg(feature = "schema")]
    impl schemars::JsonSchema for Text {
        fn schema_name() -> std::borrow::Cow<'static, str> {
            "Compression".into()
        }

        fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
            schemars::json_schema!({
                "anyOf": [
                    { "enum": Compression::NAMES.map(|(_, name)| name) },
                    { "type": "string", "pattern": "^codec:[0-9]+$" }
                ]
            })
        }
    }

    pub(in super::super) fn serialize<S: Serializer>(
        compression: &Compression,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(compression)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Compression, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// The place of stages: a number of workers, or 0 for the thread of the links.
pub(super) mod hosting {
    use super::*;
    use crate::pipeline::Hosting;

    pub(in super::super) fn serialize<S: Serializer>(
        hosting: &Hosting,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match hosting {
            Hosting::Inline => 0.serialize(serializer),
            Hosting::Parallel(workers) => workers.serialize(serializer),
        }
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Hosting, D::Error> {
        Ok(match usize::deserialize(deserializer)? {
            0 => Hosting::Inline,
            workers => Hosting::Parallel(workers),
        })
    }
}

/// The policy by which dead actors are started anew.
pub(super) mod restart {
    use super::*;
    use crate::supervise::RestartPolicy;

    #[derive(Serialize, Deserialize)]
    #[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Restart"))]
    #[serde(default, deny_unknown_fields)]
    pub(in super::super) struct Text {
        intensity: usize,
        #[serde(with = "units::time")]
        #[cfg_attr(feature = "schema", schemars(with = "units::TimeText"))]
        within: Duration,
        #[serde(with = "units::time")]
        #[cfg_attr(feature = "schema", schemars(with = "units::TimeText"))]
        backoff: Duration,
        #[serde(with = "units::time")]
        #[cfg_attr(feature = "schema", schemars(with = "units::TimeText"))]
        backoff_limit: Duration,
    }

    impl Default for Text {
        fn default() -> Self {
            RestartPolicy::default().into()
        }
    }

    impl From<RestartPolicy> for Text {
        fn from(policy: RestartPolicy) -> Self {
            let RestartPolicy { intensity, within, backoff, backoff_limit } = policy;
            Self { intensity, within, backoff, backoff_limit }
        }
    }

    pub(in super::super) fn serialize<S: Serializer>(
        policy: &RestartPolicy,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        Text::from(*policy).serialize(serializer)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<RestartPolicy, D::Error> {
        let Text { intensity, within, backoff, backoff_limit } = Text::deserialize(deserializer)?;
        Ok(RestartPolicy { intensity, within, backoff, backoff_limit })
    }
}

/// The intervals of a link.
pub(super) mod link {
    use super::*;
    use crate::wire::LinkConfig;

    #[derive(Serialize, Deserialize)]
    #[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Link"))]
    #[serde(default, deny_unknown_fields)]
    pub(in super::super) struct Text {
        #[serde(with = "units::time")]
        #[cfg_attr(feature = "schema", schemars(with = "units::TimeText"))]
        heartbeat: Duration,
        #[serde(with = "units::time")]
        #[cfg_attr(feature = "schema", schemars(with = "units::TimeText"))]
        dead_after: Duration,
        #[serde(with = "units::time")]
        #[cfg_attr(feature = "schema", schemars(with = "units::TimeText"))]
        renew_after: Duration,
    }

    impl Default for Text {
        fn default() -> Self {
            LinkConfig::default().into()
        }
    }

    impl From<LinkConfig> for Text {
        fn from(link: LinkConfig) -> Self {
            Self {
                heartbeat: link.heartbeat(),
                dead_after: link.dead_after(),
                renew_after: link.renew_after(),
            }
        }
    }

    pub(in super::super) fn serialize<S: Serializer>(
        link: &LinkConfig,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        Text::from(*link).serialize(serializer)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<LinkConfig, D::Error> {
        let Text { heartbeat, dead_after, renew_after } = Text::deserialize(deserializer)?;
        LinkConfig::new(heartbeat, dead_after, renew_after).map_err(D::Error::custom)
    }
}
