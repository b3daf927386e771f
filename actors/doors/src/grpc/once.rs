//! The one call that a request is.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tonic::server::StreamingService;
use tonic::{Request, Response, Status, Streaming};

use super::call::{Calling, Requests};
use super::ending::Answers;
use super::method::Way;
use super::naming::Naming;

/// A call, to whom the door knows or the first request says.
pub(super) enum Make {
    Known(Calling),
    Named(Naming),
}

/// The service that makes it once.
pub(super) struct Once(pub(super) Option<Make>);

impl StreamingService<Bytes> for Once {
    type Response = Bytes;
    type ResponseStream = Answers;
    type Future = BoxFuture<'static, Result<Response<Answers>, Status>>;

    fn call(&mut self, request: Request<Streaming<Bytes>>) -> Self::Future {
        let make = self.0.take();
        Box::pin(async move {
            let make = make.ok_or_else(|| Status::internal("a call is made once"))?;
            let messages = request.into_inner();
            let answers = match make {
                Make::Known(calling) => {
                    let streams = matches!(calling.way, Way::Upload | Way::Open);
                    let requests = Requests::new(messages, &calling.meter, streams);
                    calling.make(requests).await
                }
                Make::Named(naming) => {
                    let streams = naming.does.is_handled_in_parts();
                    let requests = Requests::new(messages, &naming.meter, streams);
                    naming.make(requests).await
                }
            };
            answers.map(Response::new)
        })
    }
}
