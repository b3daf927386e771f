//! The token that lets a client in.

use std::fmt;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use data_encoding::BASE64;

/// The fewest characters of a token.
const SHORTEST: usize = 16;
/// The most bytes of its file.
const LONGEST: usize = 4096;

/// A token, as its digest: it is compared in a time that says nothing about it.
#[derive(Clone)]
pub struct Token(blake3::Hash);

/// An error of reading a token.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The file can't be read.
    #[error("the token's file {} can't be read: {error}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        error: io::Error,
    },
    /// Others can read the file.
    #[error(
        "the token's file {} can be read by others (its mode is {mode:03o}): chmod 600 {}",
        .path.display(), .path.display()
    )]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is no token.
    #[error(
        "a token has {SHORTEST} to {LONGEST} visible ASCII characters in one line: `openssl rand \
         -hex 32` makes one"
    )]
    Unsuitable,
}

impl Token {
    /// A token of this text.
    pub fn new(text: &str) -> Result<Self, TokenError> {
        let is_fine = (SHORTEST..=LONGEST).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic());
        is_fine.then(|| Self(blake3::hash(text.as_bytes()))).ok_or(TokenError::Unsuitable)
    }

    /// The token in a file that nobody but its owner can read; blanks around it don't count.
    pub fn from_file(path: &Path) -> Result<Self, TokenError> {
        let failed = |error| TokenError::Read { path: path.to_owned(), error };
        let file = std::fs::File::open(path).map_err(failed)?;
        // Of the very file that is read.
        let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(TokenError::Open { path: path.to_owned(), mode });
        }
        let mut text = String::new();
        io::Read::read_to_string(&mut io::Read::take(file, 2 * LONGEST as u64), &mut text)
            .map_err(failed)?;
        Self::new(text.trim())
    }

    /// Returns `true` if the value of an `Authorization` header has it.
    pub(crate) fn is_in(&self, authorization: &[u8]) -> bool {
        let Some((scheme, given)) =
            std::str::from_utf8(authorization).ok().and_then(|text| text.split_once(' '))
        else {
            return false;
        };
        let given = given.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            return self.0 == blake3::hash(given.as_bytes());
        }
        // A browser asks for a name, too: any will do.
        let password = scheme.eq_ignore_ascii_case("basic").then(|| {
            let decoded = BASE64.decode(given.as_bytes()).unwrap_or_default();
            let colon = decoded.iter().position(|byte| *byte == b':');
            colon.map(|colon| decoded[colon + 1..].to_vec())
        });
        password.flatten().is_some_and(|password| self.0 == blake3::hash(&password))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};

    use super::*;

    const TEXT: &str = "0123456789abcdef";

    #[test]
    fn a_token_is_known_as_bearer_and_as_password_and_nothing_else_is() {
        let token = Token::new(TEXT).unwrap();
        let basic = |text: &str| format!("Basic {}", BASE64.encode(text.as_bytes()));
        for right in [
            format!("Bearer {TEXT}"),
            format!("bearer  {TEXT}"),
            basic(&format!(":{TEXT}")),
            basic(&format!("me:{TEXT}")),
        ] {
            assert!(token.is_in(right.as_bytes()), "{right}");
        }
        for wrong in [
            String::new(),
            TEXT.into(),
            format!("Bearer {TEXT}0"),
            "Bearer ".into(),
            format!("Digest {TEXT}"),
            basic(TEXT),
            basic(&format!("{TEXT}:")),
            "Basic !!!".into(),
        ] {
            assert!(!token.is_in(wrong.as_bytes()), "{wrong}");
        }
        assert!(!token.is_in(b"Bearer \xff"));
        assert_eq!(format!("{token:?}"), "Token(…)");
    }

    #[test]
    fn what_is_too_short_or_has_blanks_is_no_token() {
        for bad in ["", "short", "0123456789abcde", "0123456789 abcdef", "0123456789abcdé"] {
            assert!(matches!(Token::new(bad), Err(TokenError::Unsuitable)), "{bad:?}");
        }
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        assert!(matches!(Token::from_file(&path), Err(TokenError::Read { .. })));
        fs::write(&path, format!("{TEXT}\n")).unwrap();
        for mode in [0o644, 0o640, 0o602] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let error = Token::from_file(&path).unwrap_err();
            assert!(error.to_string().contains("chmod 600"), "{error}");
        }
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        assert!(Token::from_file(&path).unwrap().is_in(format!("Bearer {TEXT}").as_bytes()));
    }
}
