//! The headers of tus.

use axum::http::header::{HeaderMap, HeaderName, HeaderValue};
use axum::http::{StatusCode, header};
use data_encoding::BASE64;

use super::super::body;
use super::super::problem::Problem;
use super::super::target::{self, one};

pub(super) const VERSION: &str = "1.0.0";
pub(super) const EXTENSIONS: &str =
    "creation,creation-with-upload,creation-defer-length,termination,checksum,expiration";
/// The longest metadata, in bytes.
const METADATA_MOST: usize = 4 << 10;
/// The name of content whose client gives it none.
const UNNAMED: &str = "upload";

/// Refuses who does not speak this version.
pub(super) fn version(headers: &HeaderMap) -> Result<(), Problem> {
    if one(headers, "tus-resumable")? == Some(VERSION) {
        return Ok(());
    }
    let text = format!("uploads are of tus {VERSION}: say Tus-Resumable: {VERSION}");
    Err(Problem::new(StatusCode::PRECONDITION_FAILED, "tus-version", text)
        .with(HeaderName::from_static("tus-version"), HeaderValue::from_static(VERSION)))
}

/// A count of bytes.
pub(super) fn count(headers: &HeaderMap, name: &str) -> Result<Option<u64>, Problem> {
    let Some(text) = one(headers, name)? else { return Ok(None) };
    let is_count = !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
    let count = text.parse().ok().filter(|_| is_count);
    let wrong = || target::bad(format!("{name} is a count of bytes, and {text:?} is none"));
    count.map(Some).ok_or_else(wrong)
}

/// The length of new content; `None` where its client will tell it later.
pub(super) fn length(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    match (count(headers, "upload-length")?, one(headers, "upload-defer-length")?) {
        (Some(length), None) => Ok(Some(length)),
        (None, Some("1")) => Ok(None),
        _ => Err(target::bad("say either Upload-Length or Upload-Defer-Length: 1")),
    }
}

/// The metadata as it was given, and the name of the content in it.
pub(super) fn metadata(headers: &HeaderMap) -> Result<(String, String), Problem> {
    let text = one(headers, "upload-metadata")?.unwrap_or_default();
    if text.len() > METADATA_MOST {
        let text = format!("Upload-Metadata has more than {METADATA_MOST} bytes");
        return Err(target::bad(text));
    }
    let mut name = None;
    for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once(' ').unwrap_or((pair, ""));
        let value = BASE64.decode(value.trim().as_bytes()).map_err(|error| {
            target::bad(format!("Upload-Metadata: the value of {key:?} is no base64: {error}"))
        })?;
        if key == "filename" {
            name = Some(String::from_utf8(value).map_err(|_| {
                target::bad("Upload-Metadata: the value of \"filename\" is no text of UTF-8")
            })?);
        }
    }
    Ok((text.to_owned(), name.unwrap_or_else(|| UNNAMED.to_owned())))
}

/// Refuses a body that does not say that it is a part of content, as it is.
pub(super) fn is_part(headers: &HeaderMap) -> Result<(), Problem> {
    body::is_unpacked(headers)?;
    if one(headers, header::CONTENT_TYPE.as_str())? == Some("application/offset+octet-stream") {
        return Ok(());
    }
    let text = "a part of content says Content-Type: application/offset+octet-stream";
    Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content-type", text))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails says so")]

    use super::*;

    fn given(lines: &[(&'static str, &str)]) -> HeaderMap {
        let parsed = lines.iter().map(|(name, value)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        });
        parsed.fold(HeaderMap::new(), |mut headers, (name, value)| {
            headers.append(name, value);
            headers
        })
    }

    #[test]
    fn counts_are_digits_and_said_once() {
        let count_of = |lines: &[_]| count(&given(lines), "upload-offset");
        assert_eq!(count_of(&[]).unwrap(), None);
        assert_eq!(count_of(&[("upload-offset", "70")]).unwrap(), Some(70));
        for wrong in ["", "-1", "+1", "1.0", "0x10", "18446744073709551616", "1 2"] {
            assert!(count_of(&[("upload-offset", wrong)]).is_err(), "{wrong}");
        }
        assert!(count_of(&[("upload-offset", "1"), ("upload-offset", "2")]).is_err());
    }

    #[test]
    fn content_has_the_name_that_its_metadata_says() {
        let name_of = |text: &str| metadata(&given(&[("upload-metadata", text)]));
        let (text, name) = name_of("filetype aW1hZ2U=,filename dGVhLnR4dA==,secret").unwrap();
        assert_eq!((&*text, &*name), ("filetype aW1hZ2U=,filename dGVhLnR4dA==,secret", "tea.txt"));
        assert_eq!(name_of("").unwrap().1, UNNAMED);
        for wrong in ["filename ???", "other =", "filename /w=="] {
            assert!(name_of(wrong).is_err(), "{wrong}");
        }
        assert!(name_of(&"x".repeat(METADATA_MOST + 1)).is_err());
    }
}
