//! Digests that clients give of what they send: `Content-Digest` and `Repr-Digest` (RFC 9530), and
//! `Upload-Checksum` of tus.
//!
//! Invariant: what is not the content that its client says it is, is not kept.

use axum::http::StatusCode;
use axum::http::header::HeaderMap;
use data_encoding::BASE64;
use ring::digest::{Context, SHA256, SHA512};
use sha1::{Digest, Sha1};

use super::problem::Problem;
use super::{status, target};

/// Those of `Upload-Checksum`.
pub(super) const ALGORITHMS: &str = "sha1,blake3";

/// The digests that a body is to have: one for each header and algorithm, so that few are made.
#[derive(Default)]
pub(super) struct Checksums(Vec<Checksum>);

struct Checksum {
    header: &'static str,
    algorithm: &'static str,
    hasher: Hasher,
    expected: Vec<u8>,
}

enum Hasher {
    Sha1(Sha1),
    Sha2(Box<Context>),
    Blake3(Box<blake3::Hasher>),
}

impl Hasher {
    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha1(hasher) => hasher.update(bytes),
            Self::Sha2(hasher) => hasher.update(bytes),
            Self::Blake3(hasher) => {
                hasher.update(bytes);
            }
        }
    }

    fn finish(self) -> Vec<u8> {
        match self {
            Self::Sha1(hasher) => hasher.finalize().to_vec(),
            Self::Sha2(hasher) => hasher.finish().as_ref().to_vec(),
            Self::Blake3(hasher) => hasher.finalize().as_bytes().to_vec(),
        }
    }
}

impl Checksums {
    /// The digests of content that comes whole.
    pub(super) fn of_content(headers: &HeaderMap) -> Result<Self, Problem> {
        let mut given = Self::default();
        given.listed(headers, "Content-Digest")?;
        // Content has no coding, and is no part: what it represents are its bytes.
        given.listed(headers, "Repr-Digest")?;
        Ok(given)
    }

    /// The digests of a part of an upload: `Repr-Digest` is of more than that.
    pub(super) fn of_part(headers: &HeaderMap) -> Result<Self, Problem> {
        let mut given = Self::default();
        given.listed(headers, "Content-Digest")?;
        if let Some(text) = target::one(headers, "upload-checksum")? {
            given.0.push(of_tus(text)?);
        }
        Ok(given)
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.0.iter_mut().for_each(|checksum| checksum.hasher.update(bytes));
    }

    /// Takes a part of a body; at its end (`None`), refuses one that is not the one that was meant.
    pub(super) fn admit(&mut self, part: Option<&[u8]>) -> Result<(), Problem> {
        let Some(bytes) = part else { return std::mem::take(self).check() };
        self.update(bytes);
        Ok(())
    }

    /// Refuses a body that is not the one that was meant.
    pub(super) fn check(self) -> Result<(), Problem> {
        for Checksum { header, algorithm, hasher, expected } in self.0 {
            let found = hasher.finish();
            if found != expected {
                let (expected, found) = (BASE64.encode(&expected), BASE64.encode(&found));
                let text = format!(
                    "the body is not the one that {header} is of, and nothing of it is kept: it \
                     says {algorithm} {expected}, and what came has {found}: send it again"
                );
                return Err(match header {
                    "Upload-Checksum" => Problem::new(status(460), "checksum", text),
                    _ => Problem::new(StatusCode::BAD_REQUEST, "digest", text),
                });
            }
        }
        Ok(())
    }

    /// Takes what a header lists, of the algorithms that are known; others are for others.
    fn listed(&mut self, headers: &HeaderMap, header: &'static str) -> Result<(), Problem> {
        let wrong = |why: &str| target::bad(format!("{header}: {why}, as in sha-256=:BASE64:"));
        for line in headers.get_all(header) {
            let line = line.to_str().map_err(|_| wrong("it is a list of digests"))?;
            for member in line.split(',') {
                let (name, value) = member.split_once('=').unwrap_or((member, ""));
                let (algorithm, kind) = match name.trim() {
                    "sha-256" => ("sha-256", &SHA256),
                    "sha-512" => ("sha-512", &SHA512),
                    _ => continue,
                };
                let value = value.split(';').next().unwrap_or_default().trim();
                let digest = value.strip_prefix(':').and_then(|value| value.strip_suffix(':'));
                let digest = digest.and_then(|digest| BASE64.decode(digest.as_bytes()).ok());
                let digest = digest.filter(|digest| digest.len() == kind.output_len());
                let expected = digest.ok_or_else(|| wrong("it has no whole digest"))?;
                if self.0.iter().any(|known| (known.header, known.algorithm) == (header, algorithm))
                {
                    return Err(wrong("each algorithm is said once"));
                }
                let hasher = Hasher::Sha2(Box::new(Context::new(kind)));
                self.0.push(Checksum { header, algorithm, hasher, expected });
            }
        }
        Ok(())
    }
}

/// The checksum that tus has.
fn of_tus(text: &str) -> Result<Checksum, Problem> {
    let (algorithm, value) = text.split_once(' ').unwrap_or((text, ""));
    let (algorithm, hasher) = match algorithm {
        "sha1" => ("sha1", Hasher::Sha1(Sha1::new())),
        "blake3" => ("blake3", Hasher::Blake3(Box::default())),
        _ => {
            let text = format!("a checksum is one of {ALGORITHMS}, not {algorithm:?}");
            return Err(target::bad(text));
        }
    };
    let expected = BASE64.decode(value.trim().as_bytes());
    let expected =
        expected.map_err(|error| target::bad(format!("Upload-Checksum is no base64: {error}")))?;
    Ok(Checksum { header: "Upload-Checksum", algorithm, hasher, expected })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails says so")]

    use axum::http::HeaderValue;

    use super::*;

    const WORLD_256: &str = "sha-256=:uU0nuZNNPgilLlLX2n2r+sSE7+N6U4DukIj3rOLvzek=:";
    const WORLD_512: &str = "sha-512=:MJ7MSJwS1utMxA9QyQLytNDtd+5RGnx6m808qG1M2G+YndNbxf9JlnDaNCVbR\
                             bDP2DDoH2Bdz33FVC6TrpzXbw==:";

    fn given(name: &'static str, lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(name, HeaderValue::from_str(line).unwrap());
        }
        headers
    }

    /// Returns whether the body is the one that is meant.
    fn agrees(checksums: Checksums, parts: [&[u8]; 2]) -> bool {
        let mut checksums = checksums;
        assert!(!checksums.is_empty());
        parts.iter().for_each(|part| checksums.update(part));
        checksums.check().is_ok()
    }

    #[test]
    fn a_checksum_of_tus_agrees_with_its_bytes_alone() {
        let checksum = |text: &str| Checksums::of_part(&given("upload-checksum", &[text]));
        let blake = format!("blake3 {}", BASE64.encode(blake3::hash(b"hello world").as_bytes()));
        for text in ["sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=", &blake] {
            assert!(agrees(checksum(text).unwrap(), [b"hello ", b"world"]));
            assert!(!agrees(checksum(text).unwrap(), [b"hello ", b"World"]));
        }
        for wrong in ["md5 Kq5sNclPz7QV2+lfQIuc6R7oRu0=", "sha1 ???", ""] {
            assert!(checksum(wrong).is_err(), "{wrong}");
        }
        assert!(checksum("sha1").unwrap().check().is_err());
    }

    #[test]
    fn each_digest_that_is_known_is_compared_and_no_other_one() {
        let both = format!("{WORLD_256}, crc32c=:AAAAAA==:,{WORLD_512};q=1");
        for name in ["content-digest", "repr-digest"] {
            for lines in [&[WORLD_256][..], &[WORLD_512], &[&both], &[WORLD_512, WORLD_256]] {
                let checksums = || Checksums::of_content(&given(name, lines)).unwrap();
                assert!(agrees(checksums(), [b"hello ", b"world"]), "{name} {lines:?}");
                assert!(!agrees(checksums(), [b"hello ", b"World"]), "{name} {lines:?}");
            }
            for other in ["", "crc32c=:AAAAAA==:", "md5", "unixsum=30637"] {
                assert!(Checksums::of_content(&given(name, &[other])).unwrap().is_empty());
            }
            let long = WORLD_512.replace("sha-512", "sha-256");
            let wrong =
                ["sha-256", "sha-256=", "sha-256=::", "sha-256=:AAAA:", "sha-256=:?:", &long];
            for wrong in wrong {
                assert!(Checksums::of_content(&given(name, &[wrong])).is_err(), "{wrong}");
            }
            let twice = given(name, &[WORLD_256, WORLD_256]);
            assert!(Checksums::of_content(&twice).is_err(), "few are made, whatever is said");
        }
        // That of a part says nothing of all of it.
        assert!(Checksums::of_part(&given("repr-digest", &[WORLD_256])).unwrap().is_empty());
        assert!(!Checksums::of_part(&given("content-digest", &[WORLD_256])).unwrap().is_empty());
    }
}
