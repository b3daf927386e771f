//! `--tls-cert`: doors by TLS.

use estafette_doors::{CONNECTIONS, Router, ServeError, Serving, Tls, serve, serve_tls};

use crate::arguments::Secured;
use crate::error::CommandError;

/// The certificates, if there are any.
pub(crate) fn certificates(secured: Option<&Secured>) -> Result<Option<Tls>, CommandError> {
    let Some(Secured { tls_cert: Some(cert), tls_key: Some(key), tls_client_ca }) = secured else {
        return Ok(None);
    };
    let tls = Tls::of_files(cert, key, tls_client_ca.clone());
    tls.map(Some).map_err(|error| {
        CommandError::usage(error, "name files of PEM with --tls-cert, --tls-key, --tls-client-ca")
    })
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
