//! Both doors at one address: which one a request is for, its content says.

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;

use crate::grpc::is_call;

/// A router for one address: calls of gRPC go to `calls`, and all else to `web`, each with the
/// answers that it has for what it does not know.
pub fn both(web: Router, calls: Router) -> Router {
    let (web, calls) = (TowerToHyperService::new(web), TowerToHyperService::new(calls));
    Router::new().fallback(async move |request: Request| -> Response {
        let Ok(answer) =
            if is_call(request.headers()) { calls.call(request) } else { web.call(request) }.await;
        answer
    })
}
