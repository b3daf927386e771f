//! The rules for names of peers and nodes.
//!
//! Invariant: no name can be taken for a node's id, for the beginning of one, or for something else
//! than a name. Names are this node's own: what a peer calls itself is a suggestion.

use unicode_security::{GeneralSecurityProfile, MixedScript, skeleton};

use crate::wire::PeerId;

/// The longest name, in bytes: what a hello carries.
pub(crate) const NAME_LIMIT: usize = 64;
/// Letters and digits that are most of an id, however they are divided.
const MOST_OF_AN_ID: usize = 46;
/// Letters and digits in one piece, or in pieces of one length, that begin an id.
const PIECE_OF_AN_ID: usize = 16;
/// Characters of a fingerprint.
const FINGERPRINT: usize = 8;

/// An error of naming a peer or a node.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// Empty, or too long.
    #[error("a name has 1 to {NAME_LIMIT} bytes, not {given}: choose {}", if *given == 0 { "one" } else { "a shorter one" })]
    Length {
        /// Bytes given.
        given: usize,
    },
    /// A character that is not shown, or means something else.
    #[error(
        "the name {name:?} has the character {found:?}: choose one of letters, digits, spaces and \
         signs other than '/'"
    )]
    Character {
        /// The name.
        name: String,
        /// The character.
        found: char,
    },
    /// It begins or ends as names do not.
    #[error("the name {name:?} {what}: choose another one")]
    Edge {
        /// The name.
        name: String,
        /// The problem with the name.
        what: &'static str,
    },
    /// It could be taken for an id.
    #[error(
        "the name {name:?} looks like the id of a node, or a part of one: choose one that nobody \
         takes for a key"
    )]
    LooksLikeId {
        /// The name.
        name: String,
    },
    /// It holds the fingerprint of somebody else.
    #[error(
        "the name {name:?} looks like the id of the peer {id}, which is another one: choose \
         another name"
    )]
    OfAnother {
        /// The name.
        name: String,
        /// The peer whose fingerprint it holds.
        id: PeerId,
    },
}

/// Checks a name of a node or a peer. A peer may be called by its own fingerprint, or by something
/// and that.
pub(crate) fn check(name: &str, own: Option<PeerId>) -> Result<(), NameError> {
    let own = own.map(|id| id.short());
    let rest = own.as_ref().and_then(|own| name.strip_suffix(own.as_str()));
    let named = || name.to_owned();
    if name.is_empty() || name.len() > NAME_LIMIT {
        return Err(NameError::Length { given: name.len() });
    }
    if rest == Some("") {
        return Ok(());
    }
    if let Some(found) = name.chars().find(|character| !may_occur(*character)) {
        return Err(NameError::Character { name: named(), found });
    }
    let edge = match name {
        _ if name.trim() != name => Some("begins or ends with white space"),
        _ if name.starts_with('-') => Some("begins with '-', as an option does"),
        _ if name.starts_with('@') => {
            Some("begins with '@', as the name of a file with a ticket does")
        }
        _ if !name.chars().any(char::is_alphanumeric) => Some("has no letter and no digit"),
        _ if name.to_lowercase().starts_with("estafette1") && name.len() > 20 => {
            Some("begins as a ticket does")
        }
        _ => None,
    };
    if let Some(what) = edge {
        return Err(NameError::Edge { name: named(), what });
    }
    let checked = rest.and_then(|rest| rest.strip_suffix('-')).unwrap_or(name);
    if looks_like_id(checked) { Err(NameError::LooksLikeId { name: named() }) } else { Ok(()) }
}

/// Checks that a node may have this name, for itself or for a peer.
pub fn check_node_name(name: &str) -> Result<(), NameError> {
    check(name, None)
}

/// A name out of a text that nobody chose for one, such as the name of a host: what a node may call
/// itself of it, if anything.
pub fn suggested_name(text: &str) -> Option<String> {
    let plain: String = text.trim().chars().filter(|character| may_occur(*character)).collect();
    let mut end = plain.len().min(NAME_LIMIT);
    while !plain.is_char_boundary(end) {
        end -= 1;
    }
    let first = plain.split('.').next().unwrap_or_default();
    [plain[..end].trim(), first]
        .into_iter()
        .find(|name| check(name, None).is_ok())
        .map(str::to_owned)
}

/// Returns `true` if a peer's own name for itself is taken over: what nobody here has chosen is
/// looked at more closely.
pub(super) fn is_fit_suggestion(name: &str, own: PeerId) -> bool {
    let fingerprint =
        name.len() == FINGERPRINT && name.bytes().all(is_base32) && name != own.short();
    check(name, Some(own)).is_ok() && !fingerprint && name.is_single_script()
}

/// Returns `true` if two texts would be taken for each other.
pub(super) fn alike(one: &str, other: &str) -> bool {
    folded(one) == folded(other)
}

/// Returns a text as the eye sees it: without case, separators, and accents on a letter's shape.
pub(super) fn folded(text: &str) -> String {
    let shapes = |text: &str| skeleton(&text.to_lowercase()).collect::<String>().to_lowercase();
    let letters =
        shapes(text).chars().filter(|character| character.is_alphanumeric()).collect::<String>();
    letters
        .chars()
        .map(|character| match character {
            '0' => 'o',
            '1' | 'i' => 'l',
            '8' => 'b',
            '5' => 's',
            '2' => 'z',
            other => other,
        })
        .collect()
}

fn may_occur(character: char) -> bool {
    match character {
        '/' | '*' | '"' | '\\' | '`' | '\'' | '$' => false,
        ' ' => true,
        _ if character.is_ascii() => character.is_ascii_graphic(),
        // No marks of direction, nothing of no width, no second forms of letters.
        _ => character.identifier_allowed(),
    }
}

fn is_base32(byte: u8) -> bool {
    matches!(byte.to_ascii_lowercase(), b'a'..=b'z' | b'2'..=b'7')
}

fn looks_like_id(name: &str) -> bool {
    let pieces: Vec<&str> = name
        .split(|character: char| !character.is_alphanumeric())
        .filter(|piece| !piece.is_empty())
        .collect();
    let length: usize = pieces.iter().map(|piece| piece.chars().count()).sum();
    if length >= MOST_OF_AN_ID {
        return true;
    }
    let letters = pieces.concat();
    let (digits, mixed) = digits_of(&letters);
    match pieces.as_slice() {
        [_] if length >= PIECE_OF_AN_ID => digits > 0 || !letters.is_ascii(),
        // The beginning of an id has digits among its letters; `server22` has them behind.
        [_] if length == FINGERPRINT => letters.bytes().all(is_base32) && mixed,
        [_] if length > FINGERPRINT => letters.bytes().all(is_base32) && mixed && digits > 1,
        [first, .., last] if length >= PIECE_OF_AN_ID => {
            let same = pieces[..pieces.len() - 1].iter().all(|piece| piece.len() == first.len())
                && last.len() <= first.len();
            same && first.len() > 1 && letters.bytes().all(is_base32) && mixed && digits > 1
        }
        _ => false,
    }
}

/// Returns how many digits there are, and `true` if a letter follows one.
fn digits_of(letters: &str) -> (usize, bool) {
    let digits = letters.chars().filter(char::is_ascii_digit).count();
    let mixed = letters
        .find(|character: char| character.is_ascii_digit())
        .is_some_and(|at| letters[at..].chars().any(char::is_alphabetic));
    (digits, mixed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: PeerId = PeerId::from_bytes([0x5a; 32]);

    #[test]
    fn what_looks_like_an_id_is_no_name() {
        let id = PeerId::from_bytes(*blake3::hash(b"somebody").as_bytes()).to_string();
        let grouped = |by: usize, with: &str| {
            id.as_bytes()
                .chunks(by)
                .map(|group| String::from_utf8_lossy(group))
                .collect::<Vec<_>>()
                .join(with)
        };
        let mut cases = vec![
            id.clone(),
            id.to_uppercase(),
            id[..51].to_owned(),
            id[..48].to_owned(),
            id[..20].to_owned(),
            id[..16].to_owned(),
            id[..8].to_owned(),
            id[..12].to_owned(),
            format!("{}.{}", &id[..26], &id[26..]),
            format!("v {id}"),
            format!("{id}-2"),
            grouped(8, "-"),
            grouped(8, " "),
            grouped(13, "_"),
            grouped(4, "")[..40].to_owned(),
            id.replace('o', "0").replace('l', "1"),
            id.replacen('a', "\u{430}", 1),
        ];
        cases.push(format!(" {id}"));
        cases.push(format!("{id}\n"));
        cases.push(format!("{}\u{200b}{}", &id[..26], &id[26..]));
        cases.push(format!("\u{202e}{}", &id[..26]));
        for name in cases {
            assert!(check(&name, None).is_err(), "{name:?}");
            assert!(!is_fit_suggestion(&name, ID), "{name:?}");
        }
    }

    #[test]
    fn what_people_and_hosts_are_called_is_a_name() {
        let names = [
            "paris",
            "lyon-2",
            "Zürich",
            "büro im 2. stock",
            "server22",
            "web01.example.org",
            "москва",
            "東京",
            "x",
            "ci_runner+7",
            "hamilton",
        ];
        let hosts = [
            "ip-10-0-0-1.eu-west-1.compute",
            "estafette-7d4b9c6f5d-x8kq2",
            "raspberrypi",
            "macbook-pro-2.local",
            "desktop-4k2l7qp",
        ];
        for name in names.into_iter().chain(hosts) {
            assert_eq!(check(name, None), Ok(()), "{name}");
        }
        assert_eq!(check(&ID.short(), Some(ID)), Ok(()), "its own fingerprint");
        assert_eq!(check(&format!("paris-{}", ID.short()), Some(ID)), Ok(()));
    }

    #[test]
    fn what_means_something_else_is_no_name() {
        let mut names: Vec<String> = [
            "",
            "a/b",
            "-x",
            "--help",
            "@file",
            "a\nb",
            "a\u{1b}[31m",
            " a",
            "a ",
            "*",
            "…",
            "\u{202e}abc",
            "a\u{200d}b",
            "ｐａｒｉｓ",
        ]
        .map(str::to_owned)
        .into();
        names.push("n".repeat(65));
        names.push(format!("estafette1{}", "a".repeat(20)));
        for name in names {
            assert!(check(&name, None).is_err(), "{name:?}");
        }
    }

    #[test]
    fn a_suggestion_that_mixes_scripts_is_unfit() {
        assert!(is_fit_suggestion("paris", ID) && is_fit_suggestion("москва", ID));
        assert!(!is_fit_suggestion("p\u{430}ris", ID), "a Cyrillic letter among Latin ones");
        assert!(!is_fit_suggestion("hamilton", ID), "it may be a fingerprint");
        assert!(
            alike("paris", "PARIS")
                && alike("paris", "p\u{430}ris")
                && alike("paris", "par-1s")
                && !alike("paris", "lyon")
        );
    }
}
