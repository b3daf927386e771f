//! The part of a route that may be seen while it runs.

/// The parts of a route that a tap may see, and those for whom its deliveries may be recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TapSpec {
    /// The most that `estafette tap` may show.
    pub shows: Shows,
    /// The nodes for which what passes may be sealed and recorded: each alone can open what is
    /// recorded for it.
    pub record: Vec<String>,
}

/// The most that a tap may show. Each shows what those before it do, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shows {
    /// Nothing at all.
    Nothing,
    /// Sizes and rates.
    Sizes,
    /// Names of deliveries.
    #[default]
    Names,
    /// The first bytes of pieces.
    Content,
}

impl Shows {
    /// All of them, by the names that they have in a file.
    pub(crate) const NAMES: [(&'static str, Self); 4] = [
        ("nothing", Self::Nothing),
        ("sizes", Self::Sizes),
        ("names", Self::Names),
        ("content", Self::Content),
    ];
}
