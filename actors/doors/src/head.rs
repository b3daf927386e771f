//! The heads of requests and answers: what of a request is refused before anybody looks at it, and
//! the date of an answer.

use std::time::SystemTime;

use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, Version, header};
use axum::response::{IntoResponse, Response};

/// The most bytes of the head of a request.
pub(crate) const HEAD_MOST: usize = 32 << 10;
/// The most headers of it.
pub(crate) const HEADERS_MOST: usize = 64;
/// The bytes that a header takes besides its name and its value, as HTTP/2 counts it.
const OWN: usize = 32;

/// The refusal of a request by its head.
pub(crate) fn refused(version: Version, uri: &Uri, headers: &HeaderMap) -> Option<Response> {
    unclear(version, headers).or_else(|| too_long(uri, headers))
}

/// The refusal of a request of HTTP/1.1 that others on its way may read in another way: one that is
/// for no host or for several, or whose body is packed by more than its parts (RFC 9112).
fn unclear(version: Version, headers: &HeaderMap) -> Option<Response> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let (coding, more) = (codings.next(), codings.next());
    let is_known = coding.is_none_or(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"));
    let hosts = headers.get_all(header::HOST).iter().count();
    let (status, text) = if version != Version::HTTP_11 {
        return None;
    } else if hosts != 1 {
        (StatusCode::BAD_REQUEST, "a request of HTTP/1.1 has one header Host\n")
    } else if !is_known || more.is_some() {
        let text = "the only Transfer-Encoding that is known here is chunked\n";
        (StatusCode::NOT_IMPLEMENTED, text)
    } else {
        return None;
    };
    let headers = [("content-type", "text/plain"), ("connection", "close"), (crate::HANDLED, "no")];
    Some((status, headers, text).into_response())
}

/// The refusal of a request with a longer head, or more headers, than one may have: by HTTP/1.1 one
/// with more is not read, by HTTP/2 a longer one.
fn too_long(uri: &Uri, headers: &HeaderMap) -> Option<Response> {
    let path = uri.path_and_query().map_or(0, |path| path.as_str().len());
    let bytes = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + OWN);
    let text = if headers.len() > HEADERS_MOST {
        format!("a request has {HEADERS_MOST} headers at most\n")
    } else if path + bytes.sum::<usize>() > HEAD_MOST {
        format!("the head of a request has {HEAD_MOST} bytes at most\n")
    } else {
        return None;
    };
    let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    Some((status, [("content-type", "text/plain"), (crate::HANDLED, "no")], text).into_response())
}

/// Dates an answer by the clock as it is now: hyper's own date stands still behind a clock that went
/// back, until that has come to it again.
pub(crate) fn date(headers: &mut HeaderMap) {
    if let Ok(now) = HeaderValue::from_str(&httpdate::fmt_http_date(SystemTime::now())) {
        headers.insert(header::DATE, now);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails says so")]

    use std::time::Duration;

    use super::*;

    #[test]
    fn a_date_is_that_of_now_whatever_stood_there() {
        let mut headers = HeaderMap::new();
        headers.insert(header::DATE, "Sat, 01 Jan 2124 00:00:00 GMT".parse().unwrap());
        let before = SystemTime::now() - Duration::from_secs(1);
        date(&mut headers);
        let told = httpdate::parse_http_date(headers[header::DATE].to_str().unwrap()).unwrap();
        assert!((before..=SystemTime::now()).contains(&told), "{told:?}");
        assert_eq!(headers.get_all(header::DATE).iter().count(), 1);
    }

    #[test]
    fn a_head_is_as_long_as_its_path_and_all_its_headers() {
        let (uri, mut headers) = (Uri::from_static("/v1/ask/a/b/c"), HeaderMap::new());
        headers.insert("x-one", "x".repeat(HEAD_MOST - 150).parse().unwrap());
        assert!(refused(Version::HTTP_2, &uri, &headers).is_none());
        headers.insert("x-two", "x".repeat(150).parse().unwrap());
        let refusal = refused(Version::HTTP_2, &uri, &headers).unwrap();
        assert_eq!(refusal.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
        let path = format!("/{}", "x".repeat(HEAD_MOST));
        let refusal = refused(Version::HTTP_2, &path.parse().unwrap(), &HeaderMap::new());
        assert_eq!(refusal.unwrap().status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    }
}
