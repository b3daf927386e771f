//! Requests for content that is known by a strong tag: for all of it, a part, or nothing. RFC 9110,
//! sections 13 and 14.

/// The conditions of a request.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Conditions<'a> {
    pub(crate) if_match: Option<&'a str>,
    pub(crate) if_none_match: Option<&'a str>,
    pub(crate) if_range: Option<&'a str>,
    pub(crate) range: Option<&'a str>,
}

/// The answer to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    All,
    /// From this byte up to that one, which is not in it.
    Part(u64, u64),
    /// The client has it: 304.
    Known,
    /// The client wants another one: 412.
    Another,
    /// There is no such part: 416.
    NoSuchPart,
}

/// Returns what is given of content with this tag and length. Ranges in other units, several at
/// once and those that can't be read are passed over, as servers may.
pub(crate) fn asked(conditions: &Conditions<'_>, tag: &str, length: u64) -> Asked {
    let is_among = |tags: &str, weakly: bool| {
        let same = |one: &str| {
            let one = if weakly { one.strip_prefix("W/").unwrap_or(one) } else { one };
            one == tag || one == "*"
        };
        tags.split(',').any(|one| same(one.trim()))
    };
    if conditions.if_match.is_some_and(|tags| !is_among(tags, false)) {
        return Asked::Another;
    }
    if conditions.if_none_match.is_some_and(|tags| is_among(tags, true)) {
        return Asked::Known;
    }
    // A date is never that of the content, of which no date is told.
    let is_same = conditions.if_range.is_none_or(|known| known.trim() == tag);
    match conditions.range.filter(|_| is_same).and_then(|range| part(range, length)) {
        None => Asked::All,
        Some(None) => Asked::NoSuchPart,
        Some(Some((from, to))) => Asked::Part(from, to),
    }
}

/// The part that a range means; `None` within, if there is none; `None` if it is no range.
fn part(range: &str, length: u64) -> Option<Option<(u64, u64)>> {
    let (unit, set) = range.split_once('=')?;
    let (first, last) = set.trim().split_once('-')?;
    let number = |text: &str| -> Option<u64> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        // One that is too large to be written is behind any end.
        digits.then(|| text.parse().unwrap_or(u64::MAX))
    };
    let (first, last) = (first.trim(), last.trim());
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (from, to) = match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => (first, last.saturating_add(1).min(length)),
        (Some(first), None) if last.is_empty() => (first, length),
        (None, Some(count)) if first.is_empty() => (length.saturating_sub(count), length),
        _ => return None,
    };
    Some((from < to).then_some((from, to)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAG: &str = "\"aa\"";

    fn of_range(range: &str, length: u64) -> Asked {
        asked(&Conditions { range: Some(range), ..Conditions::default() }, TAG, length)
    }

    #[test]
    fn a_range_is_a_part_or_none_and_what_is_no_range_is_passed_over() {
        for (range, given) in [
            ("bytes=0-0", Asked::Part(0, 1)),
            ("bytes=0-9", Asked::Part(0, 10)),
            ("Bytes = 3-", Asked::Part(3, 10)),
            ("bytes=3-99", Asked::Part(3, 10)),
            ("bytes=9-99999999999999999999999", Asked::Part(9, 10)),
            ("bytes=-4", Asked::Part(6, 10)),
            ("bytes=-40", Asked::Part(0, 10)),
            ("bytes=-0", Asked::NoSuchPart),
            ("bytes=10-", Asked::NoSuchPart),
            ("bytes=10-11", Asked::NoSuchPart),
            ("bytes=99999999999999999999999-", Asked::NoSuchPart),
            ("bytes=4-3", Asked::All),
            ("bytes=-", Asked::All),
            ("bytes=", Asked::All),
            ("bytes", Asked::All),
            ("bytes=+1-2", Asked::All),
            ("bytes=1--2", Asked::All),
            ("bytes=0-1,3-4", Asked::All),
            ("lines=0-1", Asked::All),
        ] {
            assert_eq!(of_range(range, 10), given, "{range}");
        }
        for range in ["bytes=0-", "bytes=0-0", "bytes=-1"] {
            assert_eq!(of_range(range, 0), Asked::NoSuchPart, "{range} of nothing");
        }
    }

    #[test]
    fn conditions_go_before_ranges() {
        let with = |change: fn(&mut Conditions<'static>)| {
            let mut conditions = Conditions { range: Some("bytes=1-2"), ..Conditions::default() };
            change(&mut conditions);
            asked(&conditions, TAG, 10)
        };
        let part = Asked::Part(1, 3);
        assert_eq!(with(|_| ()), part);
        for (known, given) in [
            (TAG, Asked::Known),
            ("W/\"aa\"", Asked::Known),
            ("\"b\", W/\"c\" ,\"aa\"", Asked::Known),
            ("*", Asked::Known),
            ("\"b\"", part),
            ("aa", part),
        ] {
            let conditions = Conditions {
                if_none_match: Some(known),
                range: Some("bytes=1-2"),
                ..Conditions::default()
            };
            assert_eq!(asked(&conditions, TAG, 10), given, "{known}");
        }
        assert_eq!(with(|all| all.if_match = Some("\"b\"")), Asked::Another);
        assert_eq!(with(|all| all.if_match = Some("W/\"aa\"")), Asked::Another);
        assert_eq!(with(|all| all.if_match = Some("\"b\", \"aa\"")), part);
        assert_eq!(with(|all| all.if_match = Some("*")), part);
        assert_eq!(with(|all| all.if_range = Some(TAG)), part);
        for other in ["\"b\"", "W/\"aa\"", "Sun, 06 Nov 1994 08:49:37 GMT", ""] {
            let conditions = Conditions {
                if_range: Some(other),
                range: Some("bytes=1-2"),
                ..Conditions::default()
            };
            assert_eq!(asked(&conditions, TAG, 10), Asked::All, "{other}");
        }
    }
}
