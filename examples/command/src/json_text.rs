//! Texts of JSON as they are printed: what is in them stays as it is, numbers digit for digit.

/// The same JSON on one line.
pub(crate) fn compact(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    each(json, |token| text.push_str(token));
    text
}

/// The same JSON for a person, on several lines.
pub(crate) fn pretty(json: &str) -> String {
    let (mut text, mut depth, mut opened) = (String::with_capacity(2 * json.len()), 0, false);
    let line = |text: &mut String, depth: usize| {
        text.push('\n');
        (0..depth).for_each(|_| text.push_str("  "));
    };
    each(json, |token| {
        let closes = matches!(token, "]" | "}");
        if closes {
            depth -= 1;
        }
        if opened != closes {
            line(&mut text, depth);
        }
        opened = matches!(token, "[" | "{");
        text.push_str(token);
        match token {
            "[" | "{" => depth += 1,
            "," => line(&mut text, depth),
            ":" => text.push(' '),
            _ => {}
        }
    });
    text
}

/// Gives all parts of a JSON text, without what stands between them.
fn each(json: &str, mut then: impl FnMut(&str)) {
    let mut rest = json;
    while let Some(first) = rest.bytes().next() {
        let length = match first {
            b' ' | b'\t' | b'\n' | b'\r' => {
                rest = &rest[1..];
                continue;
            }
            b'"' => quoted(rest),
            b'[' | b']' | b'{' | b'}' | b',' | b':' => 1,
            _ => rest.find([' ', '\t', '\n', '\r', ',', ':', ']', '}']).unwrap_or(rest.len()),
        };
        let (token, behind) = rest.split_at(length);
        then(token);
        rest = behind;
    }
}

/// The length of the string that a text begins with.
fn quoted(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_a_text_stays_as_it_is() {
        let json = "{ \"a\\\" b\" :\n[1 , 340282366920938463463374607431768211455,\t-0.10],\"c\":{},\"d\":[ ]}";
        let line =
            "{\"a\\\" b\":[1,340282366920938463463374607431768211455,-0.10],\"c\":{},\"d\":[]}";
        assert_eq!(compact(json), line);
        assert_eq!(compact(&pretty(json)), line);
        assert_eq!(
            pretty(json),
            "{\n  \"a\\\" b\": [\n    1,\n    340282366920938463463374607431768211455,\n    -0.10\n  \
             ],\n  \"c\": {},\n  \"d\": []\n}"
        );
        for whole in ["null", "\"a, b\"", "-1", "[]", "{}", ""] {
            assert_eq!((compact(whole), pretty(whole)), (whole.into(), whole.into()));
        }
    }
}
