//! By TLS: to who is vouched for, under its own name.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio_rustls::TlsAcceptor;

use crate::Hooked;
use crate::support::hook::Receiver;

const HOUR: Duration = Duration::from_secs(3600);

/// An authority, and a server that it vouches for under that name; the file of the authority.
async fn vouched_for(hooked: &Hooked, authority: &str, name: &str) -> (Receiver, PathBuf) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, authority);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let file = hooked.write(authority, &params.self_signed(&key).unwrap().pem());
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let made = CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.der().clone()], key)
        .unwrap();
    (Receiver::secured(TlsAcceptor::from(Arc::new(config))).await, file)
}

#[tokio::test]
async fn who_is_vouched_for_under_its_name_is_posted_to_and_nobody_else() {
    let hooked = Hooked::new().await;
    let (mut ours, ca) = vouched_for(&hooked, "ours.pem", "localhost").await;
    let (_theirs, other) = vouched_for(&hooked, "theirs.pem", "localhost").await;
    let (port, by_name) = (ours.address.port(), "localhost");
    let url = |host: &str| format!("https://{host}:{port}/hook");
    let open = hooked.open(hooked.to(&url(by_name)).authority(&ca)).await;
    let delivery = &hooked.orders(&["tea"]).await[0];
    let posted = ours.next().await;
    assert_eq!(posted.header("webhook-id"), delivery);
    assert_eq!(posted.text(), r#"{"article":"tea"}"#);
    hooked.until_empty().await;
    open.close().await;
    for (host, authority, said) in [
        (by_name, &other, "nobody whom this webhook trusts"),
        ("127.0.0.1", &ca, "not valid for name"),
    ] {
        let webhook = hooked.to(&url(host)).authority(authority).retries([HOUR]);
        let open = hooked.open(webhook).await;
        let id = &hooked.orders(&["coffee"]).await[0];
        hooked.until(|kept| kept.message(id).unwrap().tries == 1).await;
        let why = hooked.kept().message(id).unwrap().why.unwrap();
        assert!(why.contains("can't be secured by TLS") && why.contains(said), "{why}");
        hooked.kept().drop_message(id).unwrap();
        open.close().await;
    }
    assert!(ours.rest().is_empty(), "nothing else was posted");
}
