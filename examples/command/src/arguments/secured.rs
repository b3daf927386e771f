//! Certificates of doors, and pages that may ask.

use std::path::PathBuf;

use clap::Args;
use estafette_doors::Origin;

/// The certificates by which clients of `--http` and `--grpc` come in by TLS, and the pages that may.
#[derive(Debug, Default, Args)]
pub(crate) struct Secured {
    /// Let clients of --http and --grpc come in by TLS alone, with the certificates in this file of
    /// PEM, the door's own first; it is read again when it changes
    #[arg(
        long,
        value_name = "FILE",
        requires = "tls_key",
        env = "ESTAFETTE_TLS_CERT",
        hide_env = true
    )]
    pub(crate) tls_cert: Option<PathBuf>,
    /// The key of that certificate, in a file of PEM
    #[arg(
        long,
        value_name = "FILE",
        requires = "tls_cert",
        env = "ESTAFETTE_TLS_KEY",
        hide_env = true
    )]
    pub(crate) tls_key: Option<PathBuf>,
    /// Certificates of an authority, in a file of PEM: a client with a certificate of it needs no
    /// token, and has the rights of the token that is called as the certificate says (DNS name)
    #[arg(
        long,
        value_name = "FILE",
        requires = "tls_cert",
        env = "ESTAFETTE_TLS_CLIENT_CA",
        hide_env = true
    )]
    pub(crate) tls_client_ca: Option<PathBuf>,
    /// Let pages of browsers of this origin ask at --http and --grpc (by gRPC-Web), each request
    /// with a token: https://shop.example; as often as there are origins
    #[arg(
        long,
        value_name = "ORIGIN",
        env = "ESTAFETTE_ORIGIN",
        value_delimiter = ',',
        hide_env = true
    )]
    pub(crate) origin: Vec<Origin>,
}
