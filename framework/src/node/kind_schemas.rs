//! JSON schemas of the settings of kinds, by which editors complete and check them.

use std::collections::BTreeMap;

use schemars::{Schema, SchemaGenerator};

/// The part that a kind makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KindOf {
    /// An inbox ([`StageRegistry::inbox_kind`](crate::node::StageRegistry::inbox_kind)).
    Inbox,
    /// A source ([`StageRegistry::source_kind`](crate::node::StageRegistry::source_kind)).
    Source,
    /// A filter ([`StageRegistry::filter_kind`](crate::node::StageRegistry::filter_kind)).
    Filter,
    /// A door ([`StageRegistry::door_kind`](crate::node::StageRegistry::door_kind)).
    Door,
}

/// The schemas that a registry knows.
pub(super) type KindSchemas = BTreeMap<(KindOf, String), fn(&mut SchemaGenerator) -> Schema>;
