//! The keys of one attempt: what its chunks are sealed with and its receipt is vouched for with.
//!
//! `K_e(32) ‖ P_e(19) = KDF(TK; tid, attempt, suite, sender, receiver, chunk size, epoch)`, the KDF
//! being BLAKE3's `derive_key`. Nonces are `P_e ‖ BE32(index within the epoch) ‖ last`: the STREAM
//! construction (Hoang, Reyhanitabar, Rogaway, Vizár 2015). Of `P_e` a suite takes as much as its
//! nonces have room for: 19 bytes of XSalsa20's 24, 7 of AES-GCM's 12.
//!
//! Invariant: two different (attempt, index, last) never share key and nonce. That no two boxes
//! share them takes more: the key of an attempt is random and never kept, and within an attempt an
//! index is sealed once (`node::lane` sees to it). Whoever begins anew, for whatever reason, makes
//! a new key.
//!
//! A key seals at most 2²⁰ chunks of at most 5 MiB: fewer than 2³⁸·⁴ blocks of AES. With as many,
//! AES-GCM differs from an ideal cipher by less than 2⁻⁵² (σ²/2¹²⁹); with chunks of 256 KiB, by
//! less than 2⁻⁶⁰. Longer content has more keys, one for each 2²⁰ chunks.

use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

use super::TransferId;
use crate::wire::{PeerId, Suite};

const CHUNK_CONTEXT: &str = "estafette 2026-11 v1 chunk key and nonce prefix";
const COMMIT_CONTEXT: &str = "estafette 2026-11 v1 key commitment";
const RECEIPT_CONTEXT: &str = "estafette 2026-11 v1 receipt key";

/// Indices per epoch: how many chunks one key seals.
const EPOCH_BITS: u32 = 20;

/// The fresh random key of one attempt.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct TransferKey([u8; 32]);

/// The inputs of the keys of an attempt, besides the transfer key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyScope {
    /// The transfer's id.
    pub transfer: TransferId,
    /// The number of the attempt, from 0.
    pub attempt: u32,
    /// The cipher suite.
    pub suite: Suite,
    /// The sender.
    pub sender: PeerId,
    /// The receiver.
    pub receiver: PeerId,
    /// Bytes per chunk.
    pub chunk_size: u32,
}

/// Key and nonce prefix for the chunks of one epoch.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct EpochKey {
    key: [u8; 32],
    prefix: [u8; 19],
}

impl KeyScope {
    /// The first attempt at a new transfer from `sender` to `receiver`, sealed with the suite every
    /// node has.
    pub fn fresh(sender: PeerId, receiver: PeerId, chunk_size: u32) -> Self {
        Self {
            transfer: TransferId::random(),
            attempt: 0,
            suite: Suite::XSALSA20_POLY1305,
            sender,
            receiver,
            chunk_size,
        }
    }
}

impl TransferKey {
    /// A fresh key.
    ///
    /// # Panics
    /// When the operating system has no randomness to give: nothing could be sealed safely then.
    pub fn random() -> Self {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).expect("the operating system gives randomness");
        let key = Self(bytes);
        bytes.zeroize();
        key
    }

    /// A key made of these bytes: what the opening of a transfer brought.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, for the opening.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns the commitment of the sender to the key and the suite, made at the opening. It is
    /// needed because neither Poly1305 nor GHASH keeps one box from opening under two keys, nor
    /// under two suites.
    pub fn commitment(&self, suite: Suite) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key(COMMIT_CONTEXT);
        hasher.update(&self.0);
        // The first suite has no number here, as before there was a second one: its deliveries,
        // and packages that wait for their receivers, stay what they are.
        if suite != Suite::XSALSA20_POLY1305 {
            hasher.update(&suite.0.to_le_bytes());
        }
        *hasher.finalize().as_bytes()
    }

    /// The key that seals the chunks of the epoch `index` belongs to.
    pub fn epoch_key(&self, scope: &KeyScope, index: u64) -> EpochKey {
        let mut hasher = blake3::Hasher::new_derive_key(CHUNK_CONTEXT);
        hasher
            .update(&self.0)
            .update(scope.transfer.as_bytes())
            .update(&scope.attempt.to_le_bytes());
        hasher
            .update(&scope.suite.0.to_le_bytes())
            .update(scope.sender.as_bytes())
            .update(scope.receiver.as_bytes());
        hasher
            .update(&scope.chunk_size.to_le_bytes())
            .update(&EpochKey::epoch(index).to_le_bytes());
        let mut out = hasher.finalize_xof();
        let mut epoch_key = EpochKey { key: [0; 32], prefix: [0; 19] };
        out.fill(&mut epoch_key.key);
        out.fill(&mut epoch_key.prefix);
        epoch_key
    }

    /// The receiver's word that it has committed content with this digest: unforgeable by any hop
    /// between.
    pub fn receipt(
        &self,
        transfer: TransferId,
        attempt: u32,
        state: &str,
        digest: &[u8; 32],
    ) -> [u8; 32] {
        let mut key = blake3::derive_key(RECEIPT_CONTEXT, &self.0);
        let mut hasher = blake3::Hasher::new_keyed(&key);
        key.zeroize();
        hasher
            .update(transfer.as_bytes())
            .update(&attempt.to_le_bytes())
            .update(digest)
            .update(state.as_bytes());
        *hasher.finalize().as_bytes()
    }
}

impl EpochKey {
    /// The epoch an index belongs to.
    pub fn epoch(index: u64) -> u64 {
        index >> EPOCH_BITS
    }

    /// The 32-byte key.
    pub fn key(&self) -> &[u8; 32] {
        &self.key
    }

    /// The nonce of the chunk `index` of this epoch, of 12 to 24 bytes.
    pub fn nonce<const LENGTH: usize>(&self, index: u64, last: bool) -> [u8; LENGTH] {
        const { assert!(LENGTH >= 12 && LENGTH <= 24) };
        let within = (index & ((1 << EPOCH_BITS) - 1)) as u32;
        let mut nonce = [0; LENGTH];
        let (prefix, counter) = nonce.split_at_mut(LENGTH - 5);
        prefix.copy_from_slice(&self.prefix[..LENGTH - 5]);
        counter[..4].copy_from_slice(&within.to_be_bytes());
        counter[4] = u8::from(last);
        nonce
    }
}

impl fmt::Debug for TransferKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TransferKey(redacted)")
    }
}

impl fmt::Debug for EpochKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EpochKey(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn scope() -> KeyScope {
        let (sender, receiver) = (PeerId::from_bytes([1; 32]), PeerId::from_bytes([2; 32]));
        let transfer = TransferId::from_bytes([3; 24]);
        KeyScope {
            transfer,
            attempt: 0,
            suite: Suite::XSALSA20_POLY1305,
            sender,
            receiver,
            chunk_size: 1024,
        }
    }

    #[test]
    fn keys_are_wiped_when_they_are_dropped() {
        fn wiped<T: ZeroizeOnDrop>() {}
        wiped::<TransferKey>();
        wiped::<EpochKey>();
    }

    #[test]
    fn no_two_boxes_share_key_and_nonce() {
        let key = TransferKey::from_bytes([9; 32]);
        let mut seen = HashSet::new();
        for attempt in 0..2 {
            for index in [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 1 << 40] {
                for last in [false, true] {
                    let epoch = key.epoch_key(&KeyScope { attempt, ..scope() }, index);
                    let nonces = (epoch.nonce::<24>(index, last), epoch.nonce::<12>(index, last));
                    assert!(seen.insert((*epoch.key(), nonces.0.to_vec())));
                    assert!(seen.insert((*epoch.key(), nonces.1.to_vec())));
                }
            }
        }
    }

    #[test]
    fn everything_in_the_scope_changes_the_key() {
        let key = TransferKey::from_bytes([9; 32]);
        let base = *key.epoch_key(&scope(), 0).key();
        let others = [
            KeyScope { transfer: TransferId::from_bytes([4; 24]), ..scope() },
            KeyScope { attempt: 1, ..scope() },
            KeyScope { suite: Suite(7), ..scope() },
            KeyScope { sender: PeerId::from_bytes([2; 32]), ..scope() },
            KeyScope { receiver: PeerId::from_bytes([1; 32]), ..scope() },
            KeyScope { chunk_size: 2048, ..scope() },
        ];
        assert!(others.iter().all(|other| *key.epoch_key(other, 0).key() != base));
    }

    #[test]
    fn a_commitment_is_to_one_key_and_one_suite() {
        let key = TransferKey::from_bytes([9; 32]);
        let commitments = [1, 2, 3].map(|suite| key.commitment(Suite(suite)));
        let other = TransferKey::from_bytes([8; 32]).commitment(Suite(2));
        assert_eq!(HashSet::from(commitments).len(), 3);
        assert!(!commitments.contains(&other));
    }

    #[test]
    fn the_derivation_is_pinned() {
        let key = TransferKey::from_bytes([9; 32]);
        let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        let epoch = key.epoch_key(&scope(), 0);
        assert_eq!(hex(&epoch.key()[..8]), "46b3cfe281066018");
        assert_eq!(hex(&epoch.nonce::<24>(5, true)[16..]), "e312080000000501");
        assert_eq!(epoch.nonce::<12>(5, true)[..7], epoch.nonce::<24>(5, true)[..7]);
        assert_eq!(hex(&epoch.nonce::<12>(5, true)[7..]), "0000000501");
        assert_eq!(hex(&key.commitment(Suite::XSALSA20_POLY1305)[..8]), "3fed1c81424becda");
        assert_eq!(
            hex(&key.receipt(scope().transfer, 0, "delivered", &[0; 32])[..8]),
            "ff0acba6ebf731cf"
        );
    }
}
