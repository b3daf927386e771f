//! `--tls-cert`: doors by TLS; `--origin`: pages that may ask.

use estafette::Node;
use estafette_doors::{
    Access, CONNECTIONS, Router, ServeError, Serving, Tls, Tokens, serve, serve_tls,
};

use crate::arguments::Secured;
use crate::error::CommandError;

/// The certificates, if there are any.
pub(crate) fn certificates(secured: Option<&Secured>) -> Result<Option<Tls>, CommandError> {
    let Some(Secured { tls_cert: Some(cert), tls_key: Some(key), tls_client_ca, .. }) = secured
    else {
        return Ok(None);
    };
    let tls = Tls::of_files(cert, key, tls_client_ca.clone());
    tls.map(Some).map_err(|error| {
        CommandError::usage(error, "name files of PEM with --tls-cert, --tls-key, --tls-client-ca")
    })
}

/// The access of whoever has one of the tokens, and of pages that may ask.
pub(crate) fn access(node: &Node, tokens: &Tokens, secured: Option<&Secured>) -> Access {
    let pages = secured.map(|secured| secured.origin.clone()).unwrap_or_default();
    Access::of(node, tokens).pages_of(pages)
}

/// Serves a router, by TLS where there are certificates.
pub(crate) async fn served(
    router: Router,
    address: &str,
    secured: Option<&Secured>,
    hint: &'static str,
) -> Result<Serving, CommandError> {
    let served = match certificates(secured)? {
        Some(tls) => serve_tls(router, address, CONNECTIONS, tls).await,
        None => serve(router, address).await,
    };
    served.map_err(|error| match error {
        ServeError::Listen { .. } => CommandError::io(error, hint),
        _ => CommandError::io(error, "free some memory and threads"),
    })
}
