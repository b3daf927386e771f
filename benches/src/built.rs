//! The contenders that are built, and those that are not.

use crate::contender::Contender;
use crate::{ours, peers};

/// All contenders that are built, in the order in which each round runs them.
#[must_use]
pub fn contenders() -> Vec<Contender> {
    let mut all = vec![ours::OURS, ours::SALSA];
    all.extend(peers::built());
    all
}

/// The contenders that this build lacks, if any, and how to get them.
#[must_use]
pub fn not_built() -> Option<String> {
    let missing: Vec<&str> =
        [(cfg!(feature = "peers"), "rustls, tonic"), (cfg!(feature = "peer-zmq"), "libzmq")]
            .into_iter()
            .filter_map(|(built, names)| (!built).then_some(names))
            .collect();
    (!missing.is_empty())
        .then(|| format!("not built: {}; add --features peers,peer-zmq", missing.join(", ")))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique() {
        let contenders = contenders();
        let names: HashSet<_> = contenders.iter().map(|contender| contender.name).collect();
        assert_eq!(names.len(), contenders.len());
    }
}
