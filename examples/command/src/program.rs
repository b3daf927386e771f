//! The name of the program that is the command, and the stages of its nodes.

use estafette::node::StageRegistry;

/// The name of the program, and what its nodes are made of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Program {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    pub(crate) registry: StageRegistry,
}

impl Program {
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }
}
