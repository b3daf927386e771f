//! rustls: TLS 1.3 with AES-256-GCM by aws-lc, the strongest peer. Invariant: that one suite and no
//! other; the receiver's certificate is made for the run and the only one trusted.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use data_encoding::HEXLOWER;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::stream;
use crate::check::Check;
use crate::contender::Contender;
use crate::side::{Side, Usage};

pub(crate) const PLAIN: Contender = Contender {
    name: "rustls",
    about: "rustls, TLS 1.3 AES-256-GCM (aws-lc)",
    check: Check::Compare,
    receive,
    send,
};
pub(crate) const DIGEST: Contender = Contender {
    name: "rustls+blake3",
    about: "the same, both ends digest",
    check: Check::Digest,
    receive,
    send,
};

/// The name in the receiver's certificate.
pub(super) const NAME: &str = "localhost";

fn receive(side: Side) -> Result<Usage> {
    stream::block_on(async {
        let made = rcgen::generate_simple_self_signed([NAME.to_owned()])?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])?
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)?;
        let listener = stream::listen().await?;
        side.announce(&format!("{} {}", listener.local_addr()?, HEXLOWER.encode(made.cert.der())));
        let socket = stream::accept(&listener).await?;
        let pipe =
            TlsAcceptor::from(Arc::new(config)).accept(socket).await.context("accepting TLS")?;
        stream::receive(&side, pipe).await
    })
}

fn send(side: Side, whereabouts: &str) -> Result<Usage> {
    stream::block_on(async {
        let (address, certificate) =
            whereabouts.split_once(' ').context("an address and a certificate")?;
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(HEXLOWER.decode(certificate.as_bytes())?))?;
        let config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let socket = stream::connect(address).await?;
        let pipe = TlsConnector::from(Arc::new(config))
            .connect(ServerName::try_from(NAME)?, socket)
            .await
            .context("connecting TLS")?;
        stream::send(&side, pipe).await
    })
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        cipher_suites: vec![aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384],
        ..aws_lc_rs::default_provider()
    })
}
