//! The standard actors of estafette, one folder each, in data-path order.
//!
//! [`standard()`] registers them; each can also be used by itself.

pub mod bridge;
pub mod chunk;
pub mod compress;
pub mod copy;
mod new_file;
pub mod package;
pub mod seal;
pub mod sink;
pub mod source;
pub mod spool;
mod thread;
pub mod tree;

// Its programs are checked with these tests: they need both crates.
#[cfg(doctest)]
#[doc = include_str!("../../framework/docs/messages.md")]
struct Messages;

use std::sync::LazyLock;

use actix::Actor;
use estafette::pipeline::Pipeline;
use estafette::supervise::StageRegistry;
use estafette::wire::Suite;

use crate::chunk::{Assembler, Chunker, Digest};
use crate::compress::{Compressor, Decompressor};
use crate::seal::{Opener, Sealer};

/// A registry with the standard stages and the TCP bridge.
///
/// # Panics
/// When the cipher of this build gives wrong answers (see [`seal::self_check`]): nothing could be sealed safely then.
pub fn standard() -> StageRegistry {
    static CHECKED: LazyLock<Result<(), seal::SelfCheckError>> = LazyLock::new(seal::self_check);
    if let Err(error) = *CHECKED {
        panic!("{error}");
    }
    StageRegistry::new()
        .chunker(|seat| Chunker::new(seat).start().recipient())
        .assembler(|seat| Assembler::new(seat).start().recipient())
        .digest(Pipeline::new().then("digest", Digest::default))
        .compressor(Pipeline::new().then("compress", Compressor::default), Pipeline::new().then("decompress", Decompressor::default))
        .sealer(Suite::XSALSA20_POLY1305, Pipeline::new().then("seal", Sealer::new), Pipeline::new().then("open", Opener::new))
        .reopener(source::PATHS, source::reopen)
        .reopener(package::PACKAGE, package::reopen)
        .packages(package::FilePackages)
        .copies(copy::FileCopies)
        .transport(bridge::Tcp)
}
