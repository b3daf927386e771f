//! The example in Python, with the stock packages of Standard Webhooks and CloudEvents, takes what
//! is posted.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use estafette_doors::Format;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::support::within;
use crate::{Hooked, SECRET};

const HERE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// A Python that has what is needed. `None`, said loudly, where there is none, which
/// `ESTAFETTE_PYTHON` forbids.
fn python() -> Option<PathBuf> {
    let venv = Path::new(HERE).join("target/python/bin/python3");
    let python = if venv.exists() { venv } else { "python3".into() };
    let ran = std::process::Command::new(&python)
        .args(["-c", "import cloudevents.core, standardwebhooks"])
        .stderr(Stdio::null())
        .status();
    if ran.is_ok_and(|status| status.success()) {
        return Some(python);
    }
    assert!(
        std::env::var_os("ESTAFETTE_PYTHON").is_none(),
        "{} has no standardwebhooks and cloudevents: examples/python/requirements.txt",
        python.display()
    );
    eprintln!("LEFT OUT: no Python with standardwebhooks and cloudevents is here");
    None
}

/// The program, and what it prints.
struct Program {
    _child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Program {
    async fn start(python: &Path, secret: &Path) -> (Self, String) {
        let mut child = Command::new(python)
            .arg(Path::new(HERE).join("examples/python/webhook.py"))
            .arg("0")
            .arg(secret)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut program = Self { _child: child, lines };
        let port = program.line().await;
        (program, format!("http://127.0.0.1:{port}/"))
    }

    async fn line(&mut self) -> String {
        within(self.lines.next_line()).await.unwrap().expect("it has ended")
    }

    async fn told(&mut self) -> Value {
        serde_json::from_str(&self.line().await).unwrap()
    }
}

#[tokio::test]
async fn signatures_are_verified_by_the_stock_package_while_secrets_change_and_events_parsed() {
    let (hooked, Some(python)) = (Hooked::new().await, python()) else { return };
    let old = hooked.folder.path().join("secret");
    let new = hooked.write("new", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD");
    let (mut of_old, old_url) = Program::start(&python, &old).await;
    let (mut of_new, new_url) = Program::start(&python, &new).await;
    let allowed = |url: &str, secrets: Vec<&PathBuf>| {
        let webhook = estafette_doors::Webhook::to(url, secrets).allow_http();
        webhook.allow("127.0.0.0/8".parse().unwrap())
    };
    // Signed by both while it changes, each of which is enough.
    let open = hooked.open(allowed(&old_url, vec![&new, &old])).await;
    let ids = hooked.orders(&["tea"]).await;
    let told = of_old.told().await;
    assert_eq!((&told["id"], &told["type"]), (&ids[0].as_str().into(), &"shop.Order".into()));
    assert_eq!(told["data"]["article"], "tea");
    hooked.until_empty().await;
    open.close().await;
    // By the old one alone it is refused by who has the new one.
    let open = hooked.open(allowed(&new_url, vec![&old]).retries([])).await;
    let ids = hooked.orders(&["Bücher \\\"1\\\""]).await;
    hooked.until(|kept| kept.message(&ids[0]).is_ok_and(|message| message.tries == 1)).await;
    assert_eq!(hooked.kept().message(&ids[0]).unwrap().status, Some(401));
    open.close().await;
    let from = hooked.world.lyon.peer().to_string();
    for format in [Format::Binary, Format::Structured] {
        hooked.kept().retry(&ids[0]).ok();
        let open = hooked.open(allowed(&new_url, vec![&new]).format(format)).await;
        let id = match format {
            Format::Binary => ids[0].clone(),
            _ => hooked.orders(&["Bücher \\\"1\\\""]).await.remove(0),
        };
        let told = of_new.told().await;
        assert_eq!(told["event"], id.as_str());
        assert_eq!(told["source"], format!("estafette:{from}/orders"));
        assert_eq!(told["type"], "shop.Order");
        assert!(told["year"].as_u64().unwrap() >= 2024);
        assert_eq!(told["data"]["article"], "Bücher \"1\"");
        hooked.until_empty().await;
        open.close().await;
    }
    assert!(SECRET.starts_with("whsec_"));
}
