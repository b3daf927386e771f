#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::{fs, io};

use estafette::node::{FileStore, MemoryStore};

use super::*;

fn right(text: &str) -> Vec<Right> {
    vec![text.parse().unwrap()]
}

fn bearer(tokens: &Tokens, value: &str) -> Result<Pass, Refusal> {
    tokens.admit_bearer(Some(value.as_bytes()))
}

#[test]
fn a_token_lets_in_where_it_leads_to_and_nothing_like_it_does() {
    let tokens = Tokens::load(Arc::new(MemoryStore::default())).unwrap();
    let issued = tokens.add("ci", &right("paris/shop"), None, None).unwrap();
    let other = tokens.add("other", &right("*"), None, None).unwrap();
    let text = issued.text();
    let pass = bearer(&tokens, &format!("Bearer {text}")).unwrap();
    assert_eq!(pass.name, "ci");
    assert!(pass.leads_to(&["paris"], "shop") && !pass.leads_to(&["paris"], "till"));
    assert_eq!(bearer(&tokens, &format!("bEARER   {text} ")).unwrap(), pass);
    // The id of one and the secret of another.
    let (start, _) = text.rsplit_once('_').unwrap();
    let (_, secret) = other.text().rsplit_once('_').unwrap();
    for wrong in [
        format!("{start}_{secret}"),
        text[..text.len() - 1].to_owned(),
        format!("{text}a"),
        text.to_uppercase(),
        start.to_owned(),
        "estafette_".into(),
        "estafette__".into(),
        "x".repeat(1 << 16),
        String::new(),
    ] {
        assert_eq!(bearer(&tokens, &format!("Bearer {wrong}")), Err(Refusal::Unknown), "{wrong}");
    }
    assert_eq!(tokens.admit_bearer(None), Err(Refusal::Missing));
    assert_eq!(bearer(&tokens, &format!("Basic {text}")), Err(Refusal::Missing));
    assert_eq!(bearer(&tokens, "Bearer"), Err(Refusal::Unknown));
    assert_eq!(tokens.admit_bearer(Some(b"Bearer \xff")), Err(Refusal::Unknown));
    assert_eq!(format!("{issued:?} {tokens:?}"), "Issued(…) Tokens { known: 2, .. }");
}

#[test]
fn a_token_ends_with_its_time_its_rate_and_its_removal() {
    let tokens = Tokens::load(Arc::new(MemoryStore::default())).unwrap();
    let past = Some(SystemTime::now() - Duration::from_secs(1));
    let late = tokens.add("late", &right("*"), None, past).unwrap();
    assert_eq!(tokens.admit(late.text()), Err(Refusal::Expired));
    let seldom = tokens.add("seldom", &right("*"), Some("1/h".parse().unwrap()), None).unwrap();
    assert!(tokens.admit(seldom.text()).is_ok());
    let Err(Refusal::TooOften(wait)) = tokens.admit(seldom.text()) else { panic!("twice") };
    assert!(wait > Duration::from_secs(3000), "{wait:?}");
    assert!(tokens.remove("seldom").unwrap() && !tokens.remove("seldom").unwrap());
    assert_eq!(tokens.admit(seldom.text()), Err(Refusal::Unknown));
    let names: Vec<_> = tokens.list().unwrap().into_iter().map(|token| token.name).collect();
    assert_eq!(names, ["late"]);
}

#[test]
fn what_can_be_no_token_is_refused_with_the_reason() {
    let tokens = Tokens::load(Arc::new(MemoryStore::default())).unwrap();
    let add = |name: &str, rights: &[Right]| tokens.add(name, rights, None, None).unwrap_err();
    for bad in ["", "a\nb", &"x".repeat(65)] {
        assert!(matches!(add(bad, &right("*")), TokensError::Name { .. }), "{bad:?}");
    }
    assert!(matches!(add("ci", &[]), TokensError::Rights { count: 0 }));
    let many = vec![right("*").remove(0); 65];
    assert!(matches!(add("ci", &many), TokensError::Rights { count: 65 }));
    tokens.add("ci", &right("*"), None, None).unwrap();
    assert!(matches!(add("ci", &right("*")), TokensError::Taken { .. }));
}

#[test]
fn another_process_adds_and_removes_and_no_file_has_a_token() {
    let folder = tempfile::tempdir().unwrap();
    let open =
        || Tokens::load(Arc::new(FileStore::open(folder.path().join("t")).unwrap())).unwrap();
    let (node, command) = (open(), open());
    let forget = |tokens: &Tokens| tokens.state().looked = None;
    let issued = command
        .add(
            "ci",
            &right("paris/shop"),
            Some("10/s".parse().unwrap()),
            Some(SystemTime::UNIX_EPOCH),
        )
        .unwrap();
    let secret = issued.text().rsplit_once('_').unwrap().1.to_owned();
    forget(&node);
    assert_eq!(node.admit(issued.text()), Err(Refusal::Expired), "it is known, with its time");
    assert_eq!(node.list().unwrap(), command.list().unwrap());
    for entry in fs::read_dir(folder.path().join("t/tokens")).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        assert!(text.contains("\"ci\"") && !text.contains(&secret), "{text}");
    }
    let kept = command.add("kept", &right("*"), None, None).unwrap();
    assert!(node.admit(kept.text()).is_ok(), "though it was looked just now");
    command.remove("kept").unwrap();
    forget(&node);
    assert_eq!(node.admit(kept.text()), Err(Refusal::Unknown));
}

/// A store that counts the looks at its version.
#[derive(Debug, Default)]
struct Looked(MemoryStore, AtomicUsize);

impl Store for Looked {
    fn load(&self, table: &str) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
        self.0.load(table)
    }

    fn put(&self, table: &str, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.0.put(table, key, value)
    }

    fn remove(&self, table: &str, key: &[u8]) -> io::Result<()> {
        self.0.remove(table, key)
    }

    fn version(&self) -> io::Result<u128> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.version()
    }
}

#[test]
fn many_who_show_what_is_no_token_do_not_have_the_store_looked_at_each_time() {
    let store = Arc::new(Looked::default());
    let tokens = Tokens::load(Arc::clone(&store) as Arc<dyn Store>).unwrap();
    let issued = tokens.add("ci", &right("*"), None, None).unwrap();
    let before = store.1.load(Ordering::Relaxed);
    for _ in 0..10_000 {
        assert_eq!(tokens.admit("esd_none"), Err(Refusal::Unknown));
    }
    let looks = store.1.load(Ordering::Relaxed) - before;
    // Ten at first, and ten in each second that this takes.
    assert!((10..5_000).contains(&looks), "{looks} looks");
    assert!(tokens.admit(issued.text()).is_ok());
}

#[test]
fn while_the_tokens_can_t_be_read_nobody_is_let_in() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(FileStore::open(folder.path().join("t")).unwrap());
    let tokens = Tokens::load(Arc::clone(&store) as Arc<dyn Store>).unwrap();
    let issued = tokens.add("ci", &right("*"), None, None).unwrap();
    store.put(TABLE, b"8 bytes!", b"{}").unwrap();
    tokens.state().looked = None;
    assert_eq!(tokens.admit(issued.text()), Err(Refusal::Unreadable));
    let error = tokens.list().unwrap_err().to_string();
    assert!(error.contains("tokens/3820627974657321"), "{error}");
    store.remove(TABLE, b"8 bytes!").unwrap();
    tokens.state().looked = None;
    assert!(tokens.admit(issued.text()).is_ok(), "it can be read again");
}
