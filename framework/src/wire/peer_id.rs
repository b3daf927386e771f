//! Who a node is to others: its public key.
use serde::{Deserialize, Serialize};

/// The public X25519 key of a node, written in base32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PeerId([u8; 32]);
