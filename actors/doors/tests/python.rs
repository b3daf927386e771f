//! The client in Python, which needs nothing that is not in Python.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

mod support;

use support::{World, within};
use tokio::process::Command;

const CLIENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/python/shop_http.py");

/// `None` where there is no Python, which `ESTAFETTE_PYTHON` forbids.
async fn run(world: &World, arguments: &[&str]) -> Option<(bool, String)> {
    let given = [&world.url(""), &*world.token];
    let ran = Command::new("python3").arg(CLIENT).args(given).args(arguments).output();
    match within(ran).await {
        Ok(ran) => {
            let text = [ran.stdout, ran.stderr].concat();
            Some((ran.status.success(), String::from_utf8(text).unwrap()))
        }
        Err(error) => {
            assert!(std::env::var_os("ESTAFETTE_PYTHON").is_none(), "python3: {error}");
            eprintln!("LEFT OUT: there is no python3 here");
            None
        }
    }
}

#[tokio::test]
async fn python_asks_delivers_and_takes_answers_as_they_come() {
    let world = World::new().await;
    let tea = r#"{"article":"tea"}"#;
    let Some(asked) = run(&world, &["paris/shop", "shop.Order", tea]).await else { return };
    assert_eq!(asked, (true, "{\"Ok\": 1}\n".into()));
    let (done, told) = run(&world, &["paris/shop", "shop.Order", tea, "deliver"]).await.unwrap();
    assert!(done && told.contains("\"state\": \"processed\""), "{told}");
    assert_eq!(world.shop.orders(), ["tea", "tea"]);
    let count = ["paris/counter", "shop.Count", r#"{"to":3}"#, "download"];
    assert_eq!(run(&world, &count).await.unwrap(), (true, "1\n2\n3\n".into()));
    let (done, told) = run(&world, &["paris/nobody", "shop.Order", tea]).await.unwrap();
    assert!(
        !done && told.starts_with("no such name: ") && told.contains("(handled: no)"),
        "{told}"
    );
}
