//! Doors by TLS, and clients that come in by their certificates; both doors at one address.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

mod support;

use std::path::{Path, PathBuf};
use std::process::Stdio;

use estafette_doors::grpc::{Method, Methods, Way, grpc};
use estafette_doors::{Serving, Tls, both, http, serve_tls};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use support::{World, within};
use tokio::process::Command;

/// An authority, and what it vouches for, in a folder.
struct Authority {
    folder: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        // Its name is another one than that of what it vouches for.
        authority.distinguished_name.push(DnType::CommonName, "authority");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let own = authority.self_signed(&key).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), own.pem()).unwrap();
        Self { folder, issuer: Issuer::new(authority, key) }
    }

    /// A certificate for a name, and its key: `NAME.pem` and `NAME.key`.
    fn vouches_for(&self, name: &str) -> &Self {
        let names = vec![name.to_owned(), "127.0.0.1".to_owned()];
        let key = KeyPair::generate().unwrap();
        let made = CertificateParams::new(names).unwrap().signed_by(&key, &self.issuer).unwrap();
        std::fs::write(self.path(&format!("{name}.pem")), made.pem()).unwrap();
        std::fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
        let owner = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(self.path(&format!("{name}.key")), owner).unwrap();
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn tls(&self) -> Tls {
        let [certificates, key, ca] =
            ["door.pem", "door.key", "ca.pem"].map(|name| self.path(name));
        Tls::of_files(certificates, key, Some(ca)).unwrap()
    }
}

async fn doors(world: &World, tls: Tls) -> Serving {
    let methods = Methods::new();
    let order = Method::json("paris/shop", "shop.Order", Way::Ask);
    let methods = methods.method("/shop.Shop/Order", &order).unwrap();
    let router = both(http(&world.access), grpc(&world.access, methods));
    serve_tls(router, "127.0.0.1:0", 64, tls).await.unwrap()
}

/// The answer that curl gets for an order: the version of HTTP, the status, the body.
async fn order(at: &str, ca: &Path, arguments: &[&str]) -> (String, String, String) {
    let url = format!("https://{at}/v1/ask/paris/shop/shop.Order");
    let mut curl = Command::new("curl");
    curl.args(["-s", "-w", "\n%{http_version} %{http_code}", "--cacert", ca.to_str().unwrap()]);
    curl.args(["--json", r#"{"article":"tea"}"#]).args(arguments).arg(url);
    let ran = within(curl.stdin(Stdio::null()).output()).await.unwrap();
    let text = String::from_utf8(ran.stdout).unwrap();
    let (body, end) = text.rsplit_once('\n').unwrap();
    let (version, status) = end.split_once(' ').unwrap();
    (version.to_owned(), status.to_owned(), body.to_owned())
}

#[tokio::test]
async fn who_is_vouched_for_has_the_rights_of_the_token_of_its_name_and_no_more() {
    let world = World::new().await;
    let (ours, theirs) = (Authority::new(), Authority::new());
    ours.vouches_for("door").vouches_for("till").vouches_for("nobody").vouches_for("files");
    theirs.vouches_for("till");
    let serving = doors(&world, ours.tls()).await;
    let (at, ca) = (serving.address().to_string(), ours.path("ca.pem"));
    let shows = |authority: &Authority, name: &str| {
        let path = |end: &str| authority.path(&format!("{name}.{end}")).display().to_string();
        ["--cert".to_owned(), path("pem"), "--key".to_owned(), path("key")]
    };
    let status = async |authority: &Authority, name: &str| {
        let shown = shows(authority, name);
        let shown: Vec<_> = shown.iter().map(String::as_str).collect();
        order(&at, &ca, &shown).await.1
    };
    let nobody = shows(&ours, "nobody");
    let nobody: Vec<_> = nobody.iter().map(String::as_str).collect();
    let told = order(&at, &ca, &nobody).await.2;
    assert!(told.contains("no token has a name of this certificate"), "{told}");
    let bearer = format!("Authorization: Bearer {}", world.token);
    let by_token = order(&at, &ca, &["-H", &bearer]).await;
    assert_eq!(by_token, ("2".into(), "200".into(), "{\"Ok\":1}".into()));
    let by_token = order(&at, &ca, &["--http1.1", "-H", &bearer]).await;
    assert_eq!((&*by_token.0, &*by_token.1), ("1.1", "200"));
    assert_eq!(order(&at, &ca, &[]).await.1, "401", "neither a token nor a certificate");
    assert_eq!(status(&ours, "till").await, "200", "as the token that is called so");
    assert_eq!(status(&ours, "nobody").await, "401", "there is no token of that name");
    world.token("files", "paris/files", None);
    assert_eq!(status(&ours, "files").await, "403", "that token leads elsewhere");
    assert_eq!(status(&theirs, "till").await, "000", "nobody vouches for it here");
    assert!(world.access.tokens().remove("till").unwrap());
    assert_eq!(status(&ours, "till").await, "401");
    // Whoever does not speak TLS is not answered.
    let plain = world.client();
    let mut plain = support::http::Client { address: serving.address(), ..plain }.connect().await;
    plain.say("GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(!plain.rest().await.contains("HTTP/1.1"));
    assert_eq!(world.shop.orders().len(), 3);
}

#[tokio::test]
async fn a_stock_client_of_grpc_comes_in_at_the_same_address_by_its_certificate() {
    let python = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/python/bin/python");
    if !Path::new(python).exists() {
        assert!(std::env::var_os("ESTAFETTE_PYTHON").is_none(), "{python} is not there");
        return eprintln!("LEFT OUT: {python} is not there");
    }
    let world = World::new().await;
    let ours = Authority::new();
    ours.vouches_for("door").vouches_for("till");
    let serving = doors(&world, ours.tls()).await;
    let client = r#"
import sys, grpc
at, folder = sys.argv[1:]
read = lambda name: open(f"{folder}/{name}", "rb").read()
credentials = grpc.ssl_channel_credentials(read("ca.pem"), read("till.key"), read("till.pem"))
with grpc.secure_channel(at, credentials) as channel:
    print(channel.unary_unary("/shop.Shop/Order")(b'{"article":"tea"}', timeout=60).decode())
credentials = grpc.ssl_channel_credentials(read("ca.pem"))
with grpc.secure_channel(at, credentials) as channel:
    try:
        channel.unary_unary("/shop.Shop/Order")(b'{"article":"tea"}', timeout=60)
    except grpc.RpcError as error:
        print(error.code().name)
"#;
    let mut command = Command::new(python);
    command.args(["-c", client, &serving.address().to_string()]).arg(ours.folder.path());
    let ran = within(command.output()).await.unwrap();
    let told = String::from_utf8([ran.stdout, ran.stderr].concat()).unwrap();
    assert_eq!(told, "{\"Ok\":1}\nUNAUTHENTICATED\n");
}

#[tokio::test]
async fn certificates_that_are_renewed_are_taken() {
    let world = World::new().await;
    let ours = Authority::new();
    ours.vouches_for("door");
    let serving = doors(&world, ours.tls()).await;
    let at = serving.address().to_string();
    let bearer = format!("Authorization: Bearer {}", world.token);
    let ca = ours.path("ca.pem");
    assert_eq!(order(&at, &ca, &["-H", &bearer]).await.1, "200");
    // Another authority vouches for the door from now on: it is noticed soon.
    let next = Authority::new();
    next.vouches_for("door");
    for name in ["door.key", "door.pem"] {
        std::fs::copy(next.path(name), ours.path(name)).unwrap();
    }
    let taken =
        async { while order(&at, &next.path("ca.pem"), &["-H", &bearer]).await.1 != "200" {} };
    within(taken).await;
    assert_eq!(order(&at, &ca, &["-H", &bearer]).await.1, "000");
}

#[test]
fn what_are_no_certificates_is_told_with_the_file() {
    let ours = Authority::new();
    ours.vouches_for("door");
    let of = |certificates: &str, key: &str, ca: &str| {
        let [certificates, key, ca] = [certificates, key, ca].map(|name| ours.path(name));
        Tls::of_files(certificates, key, Some(ca)).unwrap_err().to_string()
    };
    for (error, file) in [
        (of("none.pem", "door.key", "ca.pem"), "none.pem"),
        (of("door.key", "door.key", "ca.pem"), "door.key"),
        (of("door.pem", "door.pem", "ca.pem"), "door.pem"),
        (of("door.pem", "door.key", "door.key"), "door.key"),
    ] {
        assert!(error.contains(file), "{error}");
    }
}
