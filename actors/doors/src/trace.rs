//! The trace that a request belongs to, as W3C Trace Context has it.

use estafette::remote::TraceContext;
use http::HeaderMap;

/// The most bytes of a `tracestate` that are passed on; the entries behind them are left out whole.
const STATE_MOST: usize = 512;

/// The trace that a request belongs to; one that can't be read is none, and nothing of it is passed
/// on.
pub(crate) fn trace(headers: &HeaderMap) -> Option<TraceContext> {
    let parent = headers.get("traceparent")?.to_str().ok()?;
    // Of several, all count, in their order.
    let state = headers.get_all("tracestate").iter().filter_map(|value| value.to_str().ok());
    traced(parent, state)
}

/// The trace of these texts.
pub(crate) fn traced<'a>(
    parent: &str,
    state: impl Iterator<Item = &'a str>,
) -> Option<TraceContext> {
    let mut trace: TraceContext = parent.parse().ok()?;
    for entry in state.flat_map(|line| line.split(',')).map(str::trim) {
        let more = entry.len() + usize::from(!trace.state.is_empty());
        if trace.state.len() + more > STATE_MOST {
            break;
        }
        // What a header could not have is passed over, wherever it came from.
        let is_entry =
            entry.contains('=') && entry.bytes().all(|byte| (b' '..0x7f).contains(&byte));
        if is_entry {
            if !trace.state.is_empty() {
                trace.state.push(',');
            }
            trace.state.push_str(entry);
        }
    }
    Some(trace)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails says so")]

    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn state(lines: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert("traceparent", PARENT.parse().unwrap());
        for line in lines {
            headers.append("tracestate", line.parse().unwrap());
        }
        trace(&headers).map(|trace| trace.state)
    }

    #[test]
    fn what_vendors_note_is_passed_on_in_its_order_and_never_half_an_entry() {
        assert_eq!(state(&[]).as_deref(), Some(""));
        let all = state(&["congo=t61rcWkgMzE, rojo=00f067aa", "", "a=b"]);
        assert_eq!(all.as_deref(), Some("congo=t61rcWkgMzE,rojo=00f067aa,a=b"));
        let wrong = traced(PARENT, ["a=b\r\nx: y,no,c=\u{e9},d=e"].into_iter()).unwrap();
        assert_eq!(wrong.state, "d=e");
        let long = format!("k={}", "x".repeat(250));
        let two = state(&[&format!("{long},{long},{long}")]).unwrap();
        assert_eq!(two, format!("{long},{long}"));
    }

    #[test]
    fn without_a_trace_there_is_nothing_to_pass_on() {
        let mut headers = HeaderMap::new();
        headers.insert("tracestate", "a=b".parse().unwrap());
        assert_eq!(trace(&headers), None);
        headers.insert("traceparent", "00-0-0-0".parse().unwrap());
        assert_eq!(trace(&headers), None);
    }
}
