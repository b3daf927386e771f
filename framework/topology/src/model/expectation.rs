//! Tests of a topology, and the files that they are about.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// A test: what is given before the nodes start, and what is expected when all is delivered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TestSpec {
    /// The name.
    pub name: String,
    /// Files that are there before, by their paths.
    pub given: BTreeMap<PathBuf, TestFile>,
    /// Files that must be there after, by their paths.
    pub expect: BTreeMap<PathBuf, TestFile>,
    /// Paths where nothing may be after.
    pub absent: Vec<PathBuf>,
    /// The longest that all of it may take. Default 60 s.
    pub within: Option<Duration>,
}

/// The content of a file in a test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TestFile {
    /// This text.
    Text(String),
    /// That of a file beside the topology.
    Of(PathBuf),
    /// So many bytes that do not compress, the same for the same path.
    Bytes(u64),
}
