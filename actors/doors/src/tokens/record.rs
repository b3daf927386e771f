//! A token's text, and what is kept of it.
//!
//! ```text
//! estafette_ ┼ id: 8 bytes ┼ _ ┼ secret: 32 bytes       both in base 32, small letters, no padding
//! ```

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use data_encoding::{HEXLOWER, Specification};
use serde::{Deserialize, Serialize};

use super::{Rate, Right, TokensError};

/// The beginning of each token, so that those who look for secrets in texts find it.
const START: &str = "estafette_";

pub(super) type Id = [u8; 8];

/// A token that was just made: its text is told once.
pub struct Issued {
    text: String,
}

/// The facts of a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TokenInfo {
    /// The name of the token.
    pub name: String,
    /// The places that it leads to.
    pub to: Vec<Right>,
    /// The rate at which it may be used. `None`: as often as one likes.
    pub rate: Option<Rate>,
    /// The time at which it was made, in seconds since the Unix epoch.
    pub created: u64,
    /// The time at which it ends, in seconds since the Unix epoch. `None`: when it is removed.
    pub expires: Option<u64>,
}

#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) info: TokenInfo,
    pub(super) rights: Arc<[Right]>,
    digest: blake3::Hash,
}

#[derive(Serialize, Deserialize)]
struct Written {
    #[serde(flatten)]
    info: TokenInfo,
    /// The BLAKE3 of the token's whole text, in hexadecimal.
    blake3: String,
}

impl Issued {
    /// The text of the token.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Issued(…)")
    }
}

impl Record {
    /// Makes a token.
    pub(super) fn issue(info: TokenInfo) -> (Issued, Id, Self) {
        let (id, secret): (Id, [u8; 32]) = (random(), random());
        let text = format!("{START}{}_{}", base32(&id), base32(&secret));
        let digest = blake3::hash(text.as_bytes());
        let rights = info.to.clone().into();
        (Issued { text }, id, Self { info, rights, digest })
    }

    pub(super) fn has_expired(&self) -> bool {
        self.info.expires.is_some_and(|end| end <= super::now())
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let written = Written { info: self.info.clone(), blake3: self.digest.to_hex().to_string() };
        // Texts and numbers alone can always be written.
        serde_json::to_vec(&written).unwrap_or_default()
    }

    fn read(bytes: &[u8]) -> Result<Self, String> {
        let Written { info, blake3 } =
            serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let digest = blake3::Hash::from_hex(&blake3).map_err(|error| error.to_string())?;
        Ok(Self { rights: info.to.clone().into(), info, digest })
    }
}

/// All records of a store.
pub(super) fn read_all(all: Vec<(Vec<u8>, Vec<u8>)>) -> Result<HashMap<Id, Record>, TokensError> {
    all.into_iter()
        .map(|(key, value)| {
            let damaged = |error| TokensError::Damaged { key: HEXLOWER.encode(&key), error };
            let id = Id::try_from(&*key)
                .map_err(|_| damaged(format!("its key has {} bytes instead of 8", key.len())))?;
            Ok((id, Record::read(&value).map_err(damaged)?))
        })
        .collect()
}

/// The record of the token that is shown. The id in it, which is no secret, says which one it would
/// be; all of it is compared by its digest, in a time that says nothing about either.
pub(super) fn find<'a>(known: &'a HashMap<Id, Record>, shown: &str) -> Option<(Id, &'a Record)> {
    let digest = blake3::hash(shown.as_bytes());
    let (id, _) = shown.strip_prefix(START)?.split_once('_')?;
    let id: Id = alphabet()?.decode(id.as_bytes()).ok()?.try_into().ok()?;
    known.get(&id).filter(|record| record.digest == digest).map(|record| (id, record))
}

fn alphabet() -> Option<data_encoding::Encoding> {
    let mut specification = Specification::new();
    specification.symbols.push_str("abcdefghijklmnopqrstuvwxyz234567");
    specification.encoding().ok()
}

fn base32(bytes: &[u8]) -> String {
    alphabet().map(|alphabet| alphabet.encode(bytes)).unwrap_or_default()
}

/// Bytes that nobody can guess.
fn random<const LENGTH: usize>() -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    getrandom::fill(&mut bytes).expect("the operating system gives randomness");
    bytes
}
