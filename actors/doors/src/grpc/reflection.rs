//! Reflection, v1 and v1alpha: clients ask which services there are, and how their messages look.

use axum::Router;
use tonic_reflection::pb;
use tonic_reflection::server::Builder;

use super::proto::Protos;

/// The most bytes of a request: the name of a file or of a symbol is all of it.
const REQUEST_MOST: usize = 4 << 10;

/// Both services. What a set of descriptors lacks is not told of.
pub(super) fn router(protos: &[Protos]) -> Router {
    let builder = || {
        // Each of the two tells of both.
        let own = Builder::configure()
            .include_reflection_service(false)
            .register_encoded_file_descriptor_set(pb::v1::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(pb::v1alpha::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(super::node::DESCRIPTORS);
        protos.iter().fold(own, |builder, protos| {
            builder.register_encoded_file_descriptor_set(protos.encoded())
        })
    };
    let mut router = Router::new();
    // Sets that were read once are read again.
    match (builder().build_v1(), builder().build_v1alpha()) {
        (Ok(v1), Ok(v1alpha)) => {
            let v1 = v1.max_decoding_message_size(REQUEST_MOST);
            let v1alpha = v1alpha.max_decoding_message_size(REQUEST_MOST);
            router = router
                .route_service("/grpc.reflection.v1.ServerReflection/{method}", v1)
                .route_service("/grpc.reflection.v1alpha.ServerReflection/{method}", v1alpha);
        }
        (Err(error), _) | (_, Err(error)) => tracing::error!(%error, "there is no reflection"),
    }
    router
}
