//! An inbox of a configuration.

/// An inbox as the file has it: nothing is made yet.
#[derive(Clone, Debug)]
pub(crate) struct InboxTable {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) settings: toml::Table,
    /// File and line, for a person.
    pub(crate) place: String,
}
