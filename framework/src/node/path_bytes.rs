//! Paths as their bytes, for records: names of files are no texts.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[expect(clippy::ref_option, reason = "serde hands it so")]
pub(super) fn serialize<S: Serializer>(path: &Option<PathBuf>, to: S) -> Result<S::Ok, S::Error> {
    path.as_ref().map(|path| OsStr::as_bytes(path.as_os_str())).serialize(to)
}

pub(super) fn deserialize<'de, D>(from: D) -> Result<Option<PathBuf>, D::Error>
where
    D: Deserializer<'de>,
{
    let bytes = Option::<Vec<u8>>::deserialize(from)?;
    Ok(bytes.map(|bytes| OsString::from_vec(bytes).into()))
}
