//! The peers that estafette is compared with, one file each. Invariant: every peer gets what makes
//! it fast (`TCP_NODELAY`, large pieces, reused buffers where its API has them) and verifies as
//! much as the others.

mod raw;
mod stream;
#[cfg(feature = "peers")]
mod tls;
#[cfg(feature = "peers")]
mod tonic;
#[cfg(feature = "peer-zmq")]
mod zmq;

use crate::contender::Contender;

/// The peers that this build has.
pub(crate) fn built() -> Vec<Contender> {
    let groups: &[&[Contender]] = &[
        &[raw::PLAIN],
        #[cfg(feature = "peers")]
        &[tls::PLAIN, tls::DIGEST, tonic::TLS, tonic::TLS_ZSTD, tonic::TLS_ZSTD_DIGEST],
        #[cfg(feature = "peer-zmq")]
        &[zmq::CURVE, zmq::PLAIN],
    ];
    groups.concat()
}
