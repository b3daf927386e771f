//! The offers of both sides and the choice between them, told in the encrypted payloads of the
//! handshake.
//!
//! Invariant: a choice lies within both offers.

use serde::{Deserialize, Serialize};

use super::{HandshakeError, Suite};

/// The least that may be offered as the largest body of a frame: every control message fits.
pub const LEAST_MAX_FRAME: u32 = 65_535;

/// Of [`Offer::features`]: typed messages between actors.
pub const FEATURE_MESSAGES: u64 = 1;
/// Of [`Offer::features`]: descriptions of content that tell of its holes, and have a file's
/// attributes.
pub const FEATURE_DESCRIPTIONS: u64 = 2;
/// Of [`Offer::features`]: descriptions of content that tell what was left behind of a file.
pub const FEATURE_REMARKS: u64 = 4;
/// Of [`Offer::features`]: letters are handed over by name, so that more may be under way, and may be
/// asked for.
pub const FEATURE_LETTERS: u64 = 8;

/// Of [`Offer::features`]: messages may say for whom they are sent.
pub const FEATURE_ON_BEHALF: u64 = 16;

/// Of [`Offer::features`]: relays say of a package whose time is over there, and that may have been
/// delivered, that it is no more than that ([`Word::Lapsed`](super::Word::Lapsed)).
pub const FEATURE_LAPSED: u64 = 32;

/// The suites, features and limits of one side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// The suites it has, the preferred first.
    pub suites: Vec<Suite>,
    /// The features it has, a bit each: [`FEATURE_MESSAGES`], [`FEATURE_DESCRIPTIONS`],
    /// [`FEATURE_REMARKS`], [`FEATURE_LETTERS`], [`FEATURE_ON_BEHALF`], [`FEATURE_LAPSED`], and from
    /// bit 32 on the codecs with the numbers from 0 on.
    pub features: u64,
    /// The largest body of a frame it takes, in bytes; at least [`LEAST_MAX_FRAME`].
    pub max_frame: u32,
    /// The bulk lanes it wants at most; with 0, bulk travels on the express lane.
    pub lanes: u16,
}

/// The suite, features and limits that both sides will keep to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// The suite for chunks.
    pub suite: Suite,
    /// The features both have.
    pub features: u64,
    /// The largest body of a frame, in bytes.
    pub max_frame: u32,
    /// The bulk lanes, at most.
    pub lanes: u16,
}

/// The responder's choice: its own first suite that the other has too, and the lesser of everything
/// else.
pub fn choose(ours: &Offer, theirs: &Offer) -> Result<Choice, HandshakeError> {
    let suite = ours.suites.iter().copied().find(|suite| theirs.suites.contains(suite));
    let suite = suite.ok_or_else(|| HandshakeError::NoCommonSuite {
        ours: ours.suites.clone(),
        theirs: theirs.suites.clone(),
    })?;
    let max_frame = ours.max_frame.min(theirs.max_frame);
    if max_frame < LEAST_MAX_FRAME {
        return Err(HandshakeError::FrameLimitTooSmall {
            given: max_frame,
            least: LEAST_MAX_FRAME,
        });
    }
    Ok(Choice {
        suite,
        features: ours.features & theirs.features,
        max_frame,
        lanes: ours.lanes.min(theirs.lanes),
    })
}

impl Choice {
    /// Refuses what whoever made `offer` can't live with.
    pub(super) fn check_within(&self, offer: &Offer) -> Result<(), HandshakeError> {
        let outside = |what| Err(HandshakeError::ChoiceOutsideOffer { what });
        match () {
            () if !offer.suites.contains(&self.suite) => outside("suite"),
            () if self.features & !offer.features != 0 => outside("features"),
            () if self.max_frame > offer.max_frame || self.max_frame < LEAST_MAX_FRAME => {
                outside("max_frame")
            }
            () if self.lanes > offer.lanes => outside("lanes"),
            () => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::codec;

    fn offer(suites: &[u16]) -> Offer {
        Offer {
            suites: suites.iter().copied().map(Suite).collect(),
            features: 0b0110,
            max_frame: 1 << 20,
            lanes: 4,
        }
    }

    #[test]
    fn the_bytes_are_held() {
        let golden = b"\x01\0\0\0\0\0\0\0\x01\0\x06\0\0\0\0\0\0\0\0\0\x10\0\x04\0";
        assert_eq!(codec::encode(&offer(&[1])).unwrap(), golden);
        let choice =
            Choice { suite: Suite::XSALSA20_POLY1305, features: 6, max_frame: 1 << 20, lanes: 4 };
        assert_eq!(codec::encode(&choice).unwrap(), golden[8..]);
    }

    #[test]
    fn the_responder_s_preference_wins_and_the_lesser_of_the_rest() {
        let theirs = Offer { features: 0b0011, max_frame: 1 << 18, lanes: 9, ..offer(&[1, 2]) };
        let choice = choose(&offer(&[3, 2, 1]), &theirs).unwrap();
        assert_eq!(
            choice,
            Choice { suite: Suite(2), features: 0b0010, max_frame: 1 << 18, lanes: 4 }
        );
    }

    #[test]
    fn offers_that_do_not_meet_are_named() {
        let error = choose(&offer(&[1]), &offer(&[2])).unwrap_err();
        assert_eq!(
            error,
            HandshakeError::NoCommonSuite { ours: vec![Suite(1)], theirs: vec![Suite(2)] }
        );
        let small = Offer { max_frame: 65_534, ..offer(&[1]) };
        let error = choose(&offer(&[1]), &small).unwrap_err();
        assert_eq!(
            error,
            HandshakeError::FrameLimitTooSmall { given: 65_534, least: LEAST_MAX_FRAME }
        );
    }

    #[test]
    fn a_choice_outside_the_offer_says_what_is_outside() {
        let good = choose(&offer(&[1]), &offer(&[1])).unwrap();
        for (choice, what) in [
            (Choice { suite: Suite(2), ..good }, "suite"),
            (Choice { features: 1, ..good }, "features"),
            (Choice { max_frame: (1 << 20) + 1, ..good }, "max_frame"),
            (Choice { max_frame: 100, ..good }, "max_frame"),
            (Choice { lanes: 5, ..good }, "lanes"),
        ] {
            assert_eq!(
                choice.check_within(&offer(&[1])),
                Err(HandshakeError::ChoiceOutsideOffer { what })
            );
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn what_is_chosen_lies_within_both_offers(
            suites: ([u16; 2], [u16; 2]), features: (u64, u64), frames: (u16, u16), lanes: (u16, u16)
        ) {
            let make = |suites: [u16; 2], features, frame: u16, lanes| Offer {
                suites: suites.map(|number| Suite(number % 3)).into(), features, max_frame: LEAST_MAX_FRAME + u32::from(frame), lanes,
            };
            let (ours, theirs) = (make(suites.0, features.0, frames.0, lanes.0), make(suites.1, features.1, frames.1, lanes.1));
            if let Ok(choice) = choose(&ours, &theirs) {
                prop_assert_eq!(choice.check_within(&ours), Ok(()));
                prop_assert_eq!(choice.check_within(&theirs), Ok(()));
            }
        }
    }
}
