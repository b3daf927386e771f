//! The hosts that a webhook may post to, and who is on the other side.

use std::time::Duration;

use estafette_doors::Webhook;

use crate::Hooked;
use crate::support::hook::Receiver;
use crate::support::within;

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn a_private_address_is_refused_however_it_is_written() {
    let mut receiver = Receiver::new([]).await;
    let port = receiver.address.port();
    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "[::1]", "0.0.0.0", "127.1"] {
        let hooked = Hooked::new().await;
        let secret = hooked.folder.path().join("secret");
        let url = format!("http://{host}:{port}/");
        // What is allowed is another network.
        let webhook = Webhook::to(&url, [secret]).allow_http().retries([HOUR]);
        let open = hooked.open(webhook.allow("10.0.0.0/8".parse().unwrap())).await;
        let id = &hooked.orders(&["tea"]).await[0];
        hooked.until(|kept| kept.message(id).unwrap().tries == 1).await;
        let why = hooked.kept().message(id).unwrap().why.unwrap();
        let is_told = why.contains("public internet") && why.contains("allow = [");
        // Not every resolver takes each of these for an address.
        assert!(is_told || why.contains("can't be resolved"), "{host}: {why}");
        drop(open);
    }
    assert!(receiver.rest().is_empty(), "nothing was posted");
}

#[tokio::test]
async fn a_name_whose_address_is_allowed_is_posted_to_as_itself() {
    let (hooked, mut receiver) = (Hooked::new().await, Receiver::new([]).await);
    let open =
        hooked.open(hooked.to(&format!("http://localhost:{}/", receiver.address.port()))).await;
    hooked.orders(&["tea"]).await;
    let posted = receiver.next().await;
    assert!(posted.head.starts_with("POST / HTTP/1.1\r\n"), "{}", posted.head);
    assert!(posted.header("host").starts_with("localhost:"));
    drop(open);
}

#[tokio::test]
async fn settings_that_can_t_be_are_refused_before_anything_is_opened() {
    let hooked = Hooked::new().await;
    let paris = hooked.world.paris.as_ref().unwrap();
    let good = || hooked.to("http://127.0.0.1:1/");
    let open = hooked.write("open", crate::SECRET);
    std::fs::set_permissions(&open, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let secret = hooked.folder.path().join("secret");
    let none: [&str; 0] = [];
    for (webhook, said) in [
        (Webhook::to("http://127.0.0.1:1/", [&secret]), "allow_http"),
        (Webhook::to("https://127.0.0.1:1/", none), "0 secrets"),
        (Webhook::to("https://127.0.0.1:1/", [&secret, &secret, &secret]), "3 secrets"),
        (Webhook::to("https://127.0.0.1:1/", [&open]), "chmod 600"),
        (Webhook::to("https://127.0.0.1:1/", ["/nowhere/secret"]), "/nowhere/secret"),
        (Webhook::to("https://127.0.0.1:1/", [&secret]).authority(&secret), "no certificate"),
        (good().at_once(0), "1 to 64"),
        (good().at_once(65), "1 to 64"),
        (good().retries([HOUR; 33]), "32 waits"),
        (good().within(HOUR, HOUR), "300 s"),
        (good().within(Duration::ZERO, HOUR), "takes time"),
        (good().keeps(0, 1), "10000 messages"),
        (good().types((0..65).map(|n| n.to_string())), "64"),
    ] {
        let why = within(webhook.open(paris, "orders", hooked.queue())).await.unwrap_err();
        assert!(why.to_string().contains(said), "{said}: {why}");
        assert!(!hooked.queue().exists());
    }
}
