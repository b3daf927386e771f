//! A delivery that was committed here, as it is remembered, and its record in the spool.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::delivery::{Receipt, TransferId};
use crate::wire::{PeerId, SHOWN_LIMIT, SecretBytes, codec};

/// A delivery that was committed here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Arrival {
    /// The attempt that arrived.
    pub attempt: u32,
    /// The time of its arrival, in seconds since the Unix epoch.
    pub at: u64,
    /// The time after which it may be forgotten, in seconds since the Unix epoch. In a record,
    /// this is by the time that has passed for certain. In a list that a node gives, it is by
    /// its wall clock.
    pub expires: u64,
    /// The inbox it was for.
    pub inbox: String,
    /// The name the sender gave it, printable.
    pub name: String,
    /// The receipt that the sender was given.
    pub receipt: Receipt,
    /// The state of its processing by the receiving application.
    pub processed: Processed,
    /// The proof for the sender that it was processed.
    pub(crate) processed_mac: SecretBytes,
    /// The relay that brought it, who passes words on.
    pub(crate) carried_by: Option<PeerId>,
    /// The node that packed it, in what is remembered for the one that carried it.
    pub(crate) packed_by: Option<PeerId>,
    /// The time from which it may be forgotten if there is no room, as far as the wall clock told.
    pub(crate) passes: Option<u64>,
    /// Its other id, if it came by a relay: the relay's in what is remembered for who packed it,
    /// and the other way round. Not in records of earlier builds, where both are the same.
    pub(crate) elsewhere: Option<TransferId>,
    /// Its path, where its inbox has told one which is not what the place in the receipt says: byte
    /// for byte, while the place is printable. Not in records of earlier builds.
    #[serde(with = "super::path_bytes")]
    pub path: Option<PathBuf>,
}

impl Arrival {
    /// Without the path, if the place says the same and nothing else.
    pub(super) fn terse(self) -> Self {
        let place = &self.receipt.place;
        let is_plain =
            place.len() <= SHOWN_LIMIT && !place.contains(['\\', char::REPLACEMENT_CHARACTER]);
        let path = self.path.filter(|path| !is_plain || path.as_os_str() != place.as_str());
        Self { path, ..self }
    }

    /// A record: fields at the end that say nothing are not in it, so that builds which don't know
    /// them read it.
    pub(super) fn encode(&self) -> Result<Vec<u8>, codec::CodecError> {
        let mut value = codec::encode(self)?;
        let lacks = match (&self.elsewhere, &self.path) {
            (_, Some(_)) => 0,
            (Some(_), None) => 1,
            (None, None) => 2,
        };
        value.truncate(value.len() - lacks);
        Ok(value)
    }

    /// Reads a record, which may end before the last field, or the last two.
    pub(super) fn decode(value: &[u8]) -> Result<Self, codec::CodecError> {
        let earlier = |lacks| codec::decode(&[value, &[0; 2][..lacks]].concat());
        earlier(0).or_else(|error| earlier(1).or_else(|_| earlier(2)).map_err(|_| error))
    }
}

/// The state of the processing of a delivery by the receiving application.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Processed {
    /// It has not said so.
    #[default]
    No,
    /// It has, and the sender does not know yet.
    Unheard,
    /// It has, and the sender knows.
    Heard,
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    /// The record as builds wrote and read it before there were the last fields.
    #[derive(Serialize, Deserialize)]
    struct Earlier {
        attempt: u32,
        at: u64,
        expires: u64,
        inbox: String,
        name: String,
        receipt: Receipt,
        processed: Processed,
        processed_mac: SecretBytes,
        carried_by: Option<PeerId>,
        packed_by: Option<PeerId>,
        passes: Option<u64>,
    }

    fn arrival(place: &str, path: Option<PathBuf>) -> Arrival {
        let receipt =
            Receipt { digest: [1; 32], length: 2, place: place.into(), files: 1, mac: [3; 32] };
        Arrival {
            attempt: 0,
            at: 5,
            expires: 100,
            inbox: "in".into(),
            name: "a".into(),
            receipt,
            processed: Processed::No,
            processed_mac: SecretBytes::new([4; 32]),
            carried_by: None,
            packed_by: None,
            passes: Some(100),
            elsewhere: None,
            path,
        }
    }

    #[test]
    fn a_record_is_read_whichever_of_its_last_fields_it_has() {
        let path = || Some(PathBuf::from(OsString::from_vec(b"in/\xff\\".to_vec())));
        let other = Some(TransferId::from_bytes([6; 24]));
        for (elsewhere, path) in [(None, None), (other, None), (None, path()), (other, path())] {
            let arrival = Arrival { elsewhere, ..arrival("in/a", path) };
            assert_eq!(Arrival::decode(&arrival.encode().unwrap()).unwrap(), arrival);
            assert_eq!(Arrival::decode(&codec::encode(&arrival).unwrap()).unwrap(), arrival);
        }
    }

    #[test]
    fn an_earlier_build_reads_it_where_the_place_is_the_path() {
        let plain = arrival("in/a", Some("in/a".into())).terse();
        let earlier: Earlier = codec::decode(&plain.encode().unwrap()).unwrap();
        assert_eq!(Arrival::decode(&codec::encode(&earlier).unwrap()).unwrap(), plain);
    }

    #[test]
    fn a_path_is_kept_where_the_place_may_mean_another() {
        let long = "x".repeat(SHOWN_LIMIT + 1);
        for (place, path) in [("in/a", "in/b"), (r"in/\n", r"in/\n"), (&*long, &*long)] {
            assert_eq!(arrival(place, Some(path.into())).terse().path, Some(path.into()));
        }
    }
}
