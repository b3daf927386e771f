//! Files of the protocol buffers language, read without `protoc`.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use prost_types::FileDescriptorSet;

use crate::Error;

/// Protos, and all that they import.
pub(crate) struct Protos {
    /// Described, with the places in the files.
    pub(crate) set: FileDescriptorSet,
    /// The same as bytes, for those who ask a door for them.
    pub(crate) encoded: Vec<u8>,
    /// The names of those that were asked for; others are imported.
    pub(crate) own: HashSet<String>,
    /// The files on the disk, by their names.
    pub(crate) paths: HashMap<String, PathBuf>,
}

pub(crate) fn read(
    files: impl IntoIterator<Item = impl AsRef<Path>>,
    includes: impl IntoIterator<Item = impl AsRef<Path>>,
) -> Result<Protos, Error> {
    let wrong = |error: protox::Error| {
        let mut text = format!("{error:?}");
        // At the end of a file, none is named.
        if let Some(file) = error.file().filter(|file| !text.contains(file)) {
            text = format!("{file}: {text}");
        }
        let hint = match text.contains("not found") || text.contains("include path") {
            true => {
                ": files are found below the folders that are named beside them, by the paths that \
                 `import` has"
            }
            false => "",
        };
        Error(format!("estafette-build can't read the protos: {text}{hint}"))
    };
    let mut compiler = protox::Compiler::new(includes).map_err(wrong)?;
    compiler.include_imports(true).include_source_info(false);
    compiler.open_files(files).map_err(wrong)?;
    let encoded = compiler.encode_file_descriptor_set();
    let set = compiler.include_source_info(true).file_descriptor_set();
    let own = compiler.files().filter(|file| !file.is_import());
    let own = own.map(|file| file.name().to_owned()).collect();
    let paths = compiler
        .files()
        .filter_map(|file| file.path().map(|path| (file.name().to_owned(), path.to_owned())));
    let paths = paths.collect();
    Ok(Protos { set, encoded, own, paths })
}
