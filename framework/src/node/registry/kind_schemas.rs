//! The settings of kinds, as a registry knows them.

use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::StageRegistry;
use crate::node::KindOf;

impl StageRegistry {
    /// Adds the JSON schema of the settings of a kind, by the type that they are read into: whoever
    /// writes them has them completed and checked.
    #[must_use]
    pub fn kind_schema<S: JsonSchema>(mut self, of: KindOf, name: impl Into<String>) -> Self {
        self.kind_schemas.insert((of, name.into()), SchemaGenerator::subschema_for::<S>);
        self
    }

    /// Returns the JSON schema of the settings of a kind, the types of which go to the definitions
    /// of `generator`; `None` where none was added.
    pub fn schema_of_kind(
        &self,
        of: KindOf,
        name: &str,
        generator: &mut SchemaGenerator,
    ) -> Option<Schema> {
        self.kind_schemas.get(&(of, name.to_owned())).map(|schema| schema(generator))
    }
}
