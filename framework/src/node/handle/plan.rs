//! The choice how a delivery is kept until it is over. Pure.

use super::error::SendError;
use crate::node::send_options::SendOptions;

/// The parts of the sender's options that the choice depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    /// Nothing is to outlive the process.
    pub(super) transient: bool,
    /// The source may go as soon as the delivery is stored.
    pub(super) copy: bool,
    /// A relay is to carry it.
    pub(super) by_relay: bool,
}

impl Wanted {
    pub(super) fn of(options: &SendOptions) -> Self {
        Self { transient: options.transient, copy: options.copy, by_relay: options.via.is_some() }
    }
}

/// The means that this node has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Means {
    /// An outbox.
    pub(super) outbox: bool,
    /// A folder for what is copied.
    pub(super) folder: bool,
    /// A way to find the content again by the reference that its source gives.
    pub(super) reopens: bool,
    /// Packages, for relays.
    pub(super) packages: bool,
    /// Copies, for itself.
    pub(super) copies: bool,
}

/// A way to keep a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    /// Only in this process.
    Not,
    /// As a reference, by which another process opens the source again.
    Reference,
    /// As a copy that this node alone opens.
    Copy,
    /// As a package that its receiver alone opens.
    Package,
}

/// Chooses how a delivery is kept: as cheaply as what is wanted allows. What was asked for by name
/// and can't be had is an error; what was not is left out.
pub(super) fn plan(wanted: Wanted, means: Means) -> Result<Keep, SendError> {
    let Wanted { transient, copy, by_relay } = wanted;
    let keeps = means.outbox && !transient;
    if by_relay {
        // A relay carries packages, and nothing else.
        return match keeps && means.folder && means.packages {
            true => Ok(Keep::Package),
            false => Err(SendError::NoPackages),
        };
    }
    let copies = keeps && means.folder && means.copies;
    if copy {
        return if copies { Ok(Keep::Copy) } else { Err(SendError::NoCopies) };
    }
    match () {
        () if keeps && means.reopens => Ok(Keep::Reference),
        () if copies => Ok(Keep::Copy),
        () => Ok(Keep::Not),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Means =
        Means { outbox: true, folder: true, reopens: true, packages: true, copies: true };
    const PLAIN: Wanted = Wanted { transient: false, copy: false, by_relay: false };

    #[test]
    fn each_wish_takes_the_cheapest_means() {
        let (copy, relay) = (Wanted { copy: true, ..PLAIN }, Wanted { by_relay: true, ..PLAIN });
        let transient = Wanted { transient: true, ..PLAIN };
        let none =
            Means { outbox: false, folder: false, reopens: false, packages: false, copies: false };
        for (wanted, means, keep) in [
            (PLAIN, ALL, Keep::Reference),
            (PLAIN, Means { folder: false, ..ALL }, Keep::Reference),
            (PLAIN, Means { reopens: false, ..ALL }, Keep::Copy),
            (PLAIN, Means { reopens: false, copies: false, ..ALL }, Keep::Not),
            (PLAIN, Means { reopens: false, folder: false, ..ALL }, Keep::Not),
            (PLAIN, Means { outbox: false, ..ALL }, Keep::Not),
            (PLAIN, none, Keep::Not),
            (transient, ALL, Keep::Not),
            (copy, ALL, Keep::Copy),
            (relay, ALL, Keep::Package),
            (relay, Means { reopens: false, copies: false, ..ALL }, Keep::Package),
            (Wanted { copy: true, ..relay }, ALL, Keep::Package),
        ] {
            assert_eq!(plan(wanted, means).unwrap(), keep, "{wanted:?}, {means:?}");
        }
    }

    #[test]
    fn what_is_asked_for_by_name_is_had_or_refused_and_nothing_else_is_refused() {
        let bit = |bits: u8, at: u8| bits & (1 << at) != 0;
        for bits in 0..=u8::MAX {
            let wanted =
                Wanted { transient: bit(bits, 0), copy: bit(bits, 1), by_relay: bit(bits, 2) };
            let means = Means {
                outbox: bit(bits, 3),
                folder: bit(bits, 4),
                reopens: bit(bits, 5),
                packages: bit(bits, 6),
                copies: bit(bits, 7),
            };
            let kept = means.outbox && !wanted.transient;
            match plan(wanted, means) {
                Err(SendError::NoPackages) => assert!(wanted.by_relay),
                Err(SendError::NoCopies) => assert!(wanted.copy && !wanted.by_relay),
                Err(other) => panic!("{other}"),
                Ok(Keep::Not) => assert!(!wanted.copy && !wanted.by_relay),
                Ok(Keep::Reference) => assert!(kept && means.reopens && !wanted.copy),
                Ok(Keep::Copy) => assert!(kept && means.folder && means.copies),
                Ok(Keep::Package) => assert!(kept && wanted.by_relay && means.packages),
            }
        }
    }
}
