//! The standard actors of estafette, one folder each, in data-path order.
//!
//! [`standard()`] registers them; each can also be used by itself.
//!
//! ```no_run
//! use estafette::Node;
//! use estafette_actors::{sink::FileSink, source::FileSource, standard};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let paris = Node::builder().listen("127.0.0.1:0").stages(standard()).start().await?;
//! paris.receive("backups", FileSink::into_dir("in/"))?;
//!
//! let lyon = Node::builder().stages(standard()).start().await?;
//! let transfer = lyon.send(paris.ticket("backups")?, FileSource::open("big.tar")?).await?;
//! println!("{} bytes were delivered", transfer.delivered().await?.length);
//! # Ok(()) }
//! ```

#[cfg(not(unix))]
compile_error!(
    "estafette runs on Unix only: its folders, its spool and its control socket are made of what \
     Unix has"
);

pub mod bridge;
pub mod chunk;
pub mod compress;
pub mod copy;
mod kinds;
mod lines;
mod new_file;
pub mod package;
pub mod seal;
pub mod sink;
pub mod source;
pub mod spool;
mod thread;
pub mod tree;

use std::sync::LazyLock;

use actix::Actor;
use estafette::node::StageRegistry;
use estafette::pipeline::Pipeline;
use estafette::wire::Suite;

use crate::chunk::{Assembler, Chunker, Digest};
use crate::compress::{Compressor, Decompressor, Lz4, Snappy};
use crate::seal::{Aes, Opener, Sealer};

/// A registry with the standard stages, and bridges over TCP and Unix sockets. AES-256-GCM is among
/// them where the processor and the build have it, and preferred. Kinds of inboxes are
/// `folder` and `null`, of sources `paths` and `text`.
///
/// # Panics
/// When XSalsa20-Poly1305 of this build gives wrong answers (see [`seal::self_check`]): nothing
/// could be sealed safely then.
pub fn standard() -> StageRegistry {
    static CHECKED: LazyLock<Result<(), seal::SelfCheckError>> = LazyLock::new(seal::check_salsa);
    if let Err(error) = *CHECKED {
        panic!("{error}");
    }
    let registry = StageRegistry::new()
        .chunker(|seat| Chunker::new(seat).start().recipient())
        .ready_pieces()
        .assembler(|seat| Assembler::new(seat).start().recipient())
        .digest(Pipeline::new().then("digest", Digest::default))
        .compressor(
            Pipeline::new().then("compress", Compressor::default),
            Pipeline::new().then("decompress", Decompressor::default),
        )
        .codec(Snappy)
        .codec(Lz4)
        .sealer(
            Suite::XSALSA20_POLY1305,
            Pipeline::new().then("seal", Sealer::new),
            Pipeline::new().then("open", Opener::new),
        )
        .reopener(source::PATHS, source::reopen)
        .reopener(source::PATHS_READ, source::reopen)
        .reopener(package::PACKAGE, package::reopen)
        .packages(package::FilePackages)
        .copies(copy::FileCopies)
        .spools(|folder| spool::Spool::open(folder))
        .transport(bridge::Tcp)
        .transport_for("tcp", bridge::Tcp)
        .transport_for("unix", bridge::Unix);
    let registry = kinds::with_kinds(registry);
    match seal::aes() {
        Some(_) => registry.sealer(
            Suite::AES_256_GCM,
            Pipeline::new().then("seal", Sealer::<Aes>::default),
            Pipeline::new().then("open", Opener::<Aes>::default),
        ),
        None => registry,
    }
}
