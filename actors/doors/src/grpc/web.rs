//! gRPC-Web: the calls of pages, by HTTP/1.1 or HTTP/2, with their trailers in the body, as bytes
//! or as a text of base64. They become calls of gRPC here, and their answers what pages read.
//!
//! Invariant: such a call has the limits of every call: what is read of it counts as it is decoded,
//! and what is written as it is encoded; a request that breaks off has not ended.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use tonic::codegen::Service;
use tonic_web::GrpcWebLayer;

use super::body::{Answer, Meter, Raw, Web};
use crate::Access;
use crate::pages::{STRANGER, Stranger};
use crate::whole::whole;

/// The types of the requests of pages.
const KINDS: [&[u8]; 4] = [
    b"application/grpc-web",
    b"application/grpc-web+proto",
    b"application/grpc-web-text",
    b"application/grpc-web-text+proto",
];

/// Calls, and those of pages.
pub(super) fn with_pages(calls: Router, access: &Access) -> Router {
    let of_pages = calls.clone().layer(GrpcWebLayer::new());
    let access = access.clone();
    Router::new().fallback(async move |request: Request| -> Response {
        let page = match access.page(request.headers()) {
            Ok(page) => page,
            Err(Stranger) => return refused(StatusCode::FORBIDDEN, STRANGER),
        };
        if let Some(answer) = page.as_ref().and_then(|page| page.before(&request)) {
            return answer;
        }
        let mut answer = match is_web(request.headers()) {
            true => serve(of_pages.clone(), request).await,
            false => {
                let Ok(answer) = calls.clone().call(request).await;
                answer
            }
        };
        if let Some(page) = page {
            page.told(&mut answer);
        }
        answer
    })
}

async fn serve(mut calls: Router, request: Request) -> Response {
    if request.method() != Method::POST {
        return refused(StatusCode::METHOD_NOT_ALLOWED, "a call of gRPC is a POST");
    }
    let web = Web::default();
    let mut request = whole(request).map(|body| Body::new(Raw::new(body, &web)));
    request.extensions_mut().insert(web);
    let Ok(mut answer) = calls.call(request).await;
    match answer.extensions_mut().remove::<Arc<Meter>>() {
        Some(meter) => answer.map(|body| Body::new(Answer { body, meter })),
        None => answer,
    }
}

/// Returns `true` if the answer to a page is written as a text of base64.
pub(super) fn is_text(headers: &HeaderMap) -> bool {
    let accepted = headers.get(header::ACCEPT).map(HeaderValue::as_bytes);
    accepted.is_some_and(|kind| KINDS[2..].contains(&kind))
}

/// Has an answer keep the place of this meter as it is written for pages.
pub(super) fn to_be_kept(mut answer: Response, meter: Arc<Meter>) -> Response {
    answer.extensions_mut().insert(meter);
    answer
}

fn refused(status: StatusCode, why: &str) -> Response {
    let headers = [("content-type", "text/plain"), (crate::HANDLED, "no")];
    let mut response = (status, headers, format!("{why}\n")).into_response();
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
    }
    response
}

/// `application/grpc`, with a subtype or a parameter.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    let Some(rest) = kind.and_then(|kind| kind.strip_prefix(b"application/grpc")) else {
        return false;
    };
    matches!(rest.first(), None | Some(b'+' | b';' | b' '))
}

fn is_web(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|kind| KINDS.contains(&kind.as_bytes()))
}

/// Returns `true` if a request with these headers is a call of gRPC, or of a browser that asks
/// whether its page may call so.
#[cfg(feature = "http")]
pub(crate) fn is_call(headers: &HeaderMap) -> bool {
    let wanted = headers.get_all(header::ACCESS_CONTROL_REQUEST_HEADERS);
    let names = |list: &HeaderValue| {
        let list = list.as_bytes().split(|byte| *byte == b',');
        list.map(<[u8]>::trim_ascii).any(|name| name.eq_ignore_ascii_case(b"x-grpc-web"))
    };
    is_grpc(headers) || is_web(headers) || wanted.iter().any(names)
}
