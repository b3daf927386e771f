//! The trace a message belongs to, as it is written elsewhere: the `traceparent` of W3C Trace
//! Context, level 1.
//!
//! Invariant: what was parsed is a trace and a span that may exist, and prints as version 00.

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;

/// The trace a message belongs to: W3C Trace Context, level 1. Parsed from a `traceparent`, and
/// printed as one.
///
/// ```
/// # use estafette::remote::TraceContext;
/// let trace: TraceContext = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse()?;
/// assert!(trace.is_sampled());
/// # Ok::<(), estafette::remote::TraceError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace.
    pub trace: [u8; 16],
    /// The span of whoever sent the message.
    pub span: [u8; 8],
    /// Bit 0: sampled.
    pub flags: u8,
    /// The `tracestate`: what tracing systems want to be carried along, at most 512 bytes. It is
    /// no part of a `traceparent`.
    pub state: String,
}

/// A text that is no `traceparent`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{given:?} is no traceparent: {wrong}; one looks like \
     00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
)]
pub struct TraceError {
    given: String,
    wrong: &'static str,
}

impl TraceContext {
    /// Returns whether whoever began the trace records it.
    pub const fn is_sampled(&self) -> bool {
        self.flags & 1 != 0
    }
}

impl FromStr for TraceContext {
    type Err = TraceError;

    fn from_str(text: &str) -> Result<Self, TraceError> {
        // What is quoted comes from anywhere.
        let error = |wrong| TraceError { given: text.chars().take(64).collect(), wrong };
        let mut fields = text.split('-');
        let mut next = || fields.next().ok_or_else(|| error("it has fewer than four fields"));
        let (version, trace, span, flags) = (next()?, next()?, next()?, next()?);
        let [version] = hex(version)
            .ok_or_else(|| error("its version is not two lowercase hexadecimal digits"))?;
        // A later version may have more fields, of which an earlier one takes its own.
        if version == 0xff || version == 0 && fields.next().is_some() {
            return Err(error("there is no such version, or it has more than four fields"));
        }
        let trace = hex(trace)
            .filter(|trace| *trace != [0; 16])
            .ok_or_else(|| error("its trace is not 32 digits, or is 0"))?;
        let span = hex(span)
            .filter(|span| *span != [0; 8])
            .ok_or_else(|| error("its parent is not 16 digits, or is 0"))?;
        let [flags] = hex(flags).ok_or_else(|| error("its flags are not two digits"))?;
        Ok(Self { trace, span, flags, state: String::new() })
    }
}

fn hex<const N: usize>(digits: &str) -> Option<[u8; N]> {
    HEXLOWER.decode(digits.as_bytes()).ok()?.try_into().ok()
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "00-{}-{}-{:02x}",
            HEXLOWER.encode(&self.trace),
            HEXLOWER.encode(&self.span),
            self.flags
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_traceparent_is_read_and_written() {
        let trace: TraceContext = GOOD.parse().unwrap();
        assert_eq!(
            (trace.trace[0], trace.span[7], trace.flags, &*trace.state),
            (0x4b, 0xb7, 1, "")
        );
        assert!(trace.is_sampled() && trace.to_string() == GOOD);
        let later = GOOD.replacen("00", "cc", 1) + "-what-will-be-next";
        assert_eq!(later.parse(), Ok(trace));
    }

    #[test]
    fn what_is_none_says_why() {
        for (text, wrong) in [
            (String::new(), "fewer"),
            (GOOD[..52].into(), "fewer"),
            (GOOD.to_uppercase(), "trace is not"),
            (GOOD.replacen("00", "ff", 1), "no such version"),
            (GOOD.replacen("00", "0", 1), "version is not"),
            (format!("{GOOD}-"), "more than four"),
            (GOOD.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)), "is 0"),
            (GOOD.replace("00f067aa0ba902b7", &"0".repeat(16)), "is 0"),
            (GOOD.replace("-01", "-1"), "flags"),
            (GOOD.replace("4bf9", "4bé9"), "32 digits"),
        ] {
            let error = text.parse::<TraceContext>().unwrap_err().to_string();
            assert!(error.contains(wrong), "{error}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_parses(trace: [u8; 16], span: [u8; 8], flags: u8) {
            prop_assume!(trace != [0; 16] && span != [0; 8]);
            let trace = TraceContext { trace, span, flags, state: String::new() };
            prop_assert_eq!(trace.to_string().parse(), Ok(trace));
        }

        #[test]
        fn any_text_is_a_trace_or_an_error(text: String) {
            let _ = text.parse::<TraceContext>();
        }
    }
}
