//! The way of a request from HTTP to its call: what is no call of gRPC is refused first.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use estafette::remote::TraceContext;
use http::{Extensions, HeaderMap, HeaderValue, Method, StatusCode, Version, header};
use tonic::codegen::Service;
use tonic::{Code, Status};
use tonic_health::pb::health_server::HealthServer;

use super::body::{Answer, Brief, Meter, Metered, Unfinished, Web};
use super::call::Calling;
use super::codec::AsTheyAre;
use super::deadline::Deadline;
use super::health::{self, Ready};
use super::method::Route;
use super::naming::{Does, Naming};
use super::once::{Make, Once};
use super::status::{self, not_handled};
use super::target::Target;
use super::web::{self, is_grpc};
use super::{MESSAGE_MOST, Methods};
use crate::busy::Anybodys;
use crate::shared::Shared;
use crate::trace::trace;
use crate::whole::whole;
use crate::{Access, Pass};

/// The state that all calls share.
struct Door {
    access: Access,
    routes: HashMap<String, Route>,
    unfinished: Arc<Unfinished>,
    /// Services of the door itself, for who has a token.
    own: Router,
    health: HealthServer<Ready>,
    shared: Arc<Shared>,
}

pub(super) fn router(access: &Access, methods: Methods) -> Router {
    let own = own(&methods);
    let health = health::service(access.node(), &methods.routes);
    let (routes, shared) = (methods.routes, Shared::of(access.node()));
    let door =
        Door { access: access.clone(), routes, unfinished: Arc::default(), own, health, shared };
    let door = Arc::new(door);
    // Whoever looks whether the door is there, needs no token: what asks often has no place for one.
    let calls = Router::new()
        .route("/grpc.health.v1.Health/{method}", any(serve_health))
        .fallback(serve)
        .with_state(door);
    crate::counted::counted(web::with_pages(calls, access), access, "grpc")
}

#[cfg(feature = "proto")]
fn own(methods: &Methods) -> Router {
    super::reflection::router(&methods.protos)
}

#[cfg(not(feature = "proto"))]
fn own(_: &Methods) -> Router {
    Router::new()
}

async fn serve(State(door): State<Arc<Door>>, request: Request) -> Response {
    if let Some(refusal) = refused(&request) {
        return refusal;
    }
    let request = whole(request);
    let pass = match door.pass(request.headers(), request.extensions()) {
        Ok(pass) => pass,
        Err(status) => return status.into_http(),
    };
    if request.uri().path().starts_with("/grpc.reflection.") {
        let Ok(answer) = door.own.clone().call(request).await;
        return answer;
    }
    match door.make(&request, pass) {
        Ok((make, meter)) => {
            let answered = Arc::clone(&meter);
            let web = request.extensions().get::<Web>().cloned();
            let is_web = web.is_some();
            let request = request.map(|body| Metered { body, meter, web });
            let answer = tonic::server::Grpc::new(AsTheyAre)
                .max_decoding_message_size(MESSAGE_MOST)
                .max_encoding_message_size(usize::MAX)
                .streaming(Once(Some(make)), request)
                .await;
            match is_web {
                // What goes to a page is written anew on its way.
                true => web::to_be_kept(answer.map(Body::new), answered),
                false => answer.map(|body| Body::new(Answer { body, meter: answered })),
            }
        }
        Err(status) => status.into_http(),
    }
}

/// Health, for whom nobody knows: it costs next to nothing, however it is asked.
async fn serve_health(State(door): State<Arc<Door>>, request: Request) -> Response {
    if let Some(refusal) = refused(&request) {
        return refusal;
    }
    let Ok(answer) = door.health.clone().call(request.map(Brief::new)).await;
    let mut answer = answer.map(Body::new);
    answer.extensions_mut().insert(Anybodys);
    answer
}

/// Returns the refusal of a request that is no call of gRPC.
fn refused(request: &Request) -> Option<Response> {
    let (status, why) = wrong(request)?;
    let mut response = (status, [(header::CONTENT_TYPE, "text/plain")], why).into_response();
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
    }
    Some(response)
}

fn wrong(request: &Request) -> Option<(StatusCode, &'static str)> {
    if !is_grpc(request.headers()) {
        let why = "this is a door for gRPC: its requests are of the type application/grpc, or \
                   application/grpc-web\n";
        return Some((StatusCode::UNSUPPORTED_MEDIA_TYPE, why));
    }
    let is_web = request.extensions().get::<Web>().is_some();
    if request.version() != Version::HTTP_2 && !is_web {
        let why = "gRPC needs HTTP/2: is there a proxy before this door that speaks HTTP/1.1?\n";
        return Some((StatusCode::HTTP_VERSION_NOT_SUPPORTED, why));
    }
    if request.method() != Method::POST {
        return Some((StatusCode::METHOD_NOT_ALLOWED, "a call of gRPC is a POST\n"));
    }
    None
}

impl Door {
    /// Lets somebody in who shows a token.
    fn pass(&self, headers: &HeaderMap, extensions: &Extensions) -> Result<Pass, Status> {
        let mut given = headers.get_all(header::AUTHORIZATION).iter();
        let shown = given.next().map(|value| value.as_bytes());
        if given.next().is_some() {
            let text = "there is more than one authorization: which one counts?";
            return Err(not_handled(Code::InvalidArgument, "HEADERS", text));
        }
        self.access.admit(shown, extensions).map_err(status::refused)
    }

    /// The call that a request asks for.
    fn make(&self, request: &Request, pass: Pass) -> Result<(Make, Arc<Meter>), Status> {
        let (path, headers) = (request.uri().path(), request.headers());
        let wrong = |text: String| not_handled(Code::InvalidArgument, "HEADERS", &text);
        let deadline = Deadline::of(headers).map_err(wrong)?;
        let is_text = request.extensions().get::<Web>().is_some() && web::is_text(headers);
        let meter = Meter::of(&self.unfinished, &pass.name, is_text);
        let trace = trace(headers);
        let metered = Arc::clone(&meter);
        let make = match (self.routes.get(path), Does::of(path)) {
            (Some(route), _) => Make::Known(self.calling(route, pass, deadline, (trace, meter))?),
            (None, Some(does)) => {
                let (access, shared) = (self.access.clone(), Arc::clone(&self.shared));
                Make::Named(Naming { access, shared, pass, does, deadline, trace, meter })
            }
            (None, None) => return Err(no_such_method(path)),
        };
        Ok((make, metered))
    }

    fn calling(
        &self,
        route: &Route,
        pass: Pass,
        deadline: Option<Deadline>,
        (trace, meter): (Option<TraceContext>, Arc<Meter>),
    ) -> Result<Calling, Status> {
        let reached = self.access.reach(&pass, &route.peer, &route.name);
        let reached = reached.map_err(|error| status::of(&error))?;
        let node = self.access.node();
        let mut target = Target::new(node, &reached.address(), &route.takes, &pass.name)
            .map_err(|error| status::of(&error))?;
        if let Some(trace) = trace {
            target = target.traced(trace);
        }
        Ok(Calling {
            access: self.access.clone(),
            shared: Arc::clone(&self.shared),
            pass,
            peer: reached,
            target,
            form: route.form.clone(),
            way: route.way,
            deadline,
            meter,
        })
    }
}

fn no_such_method(path: &str) -> Status {
    let shown: String = path.chars().take(200).collect();
    let text = format!("this door has no method {shown}");
    not_handled(Code::Unimplemented, "NO_SUCH_METHOD", &text)
}
