//! Tests of the promises that trust keeps, whatever fails.

use std::time::Duration;

use super::*;
use crate::store::FileStore;
use crate::store::MemoryStore;
use crate::wire::{Identity, RefuseReason, Ticket};

const A: PeerId = PeerId::from_bytes([1; 32]);
const B: PeerId = PeerId::from_bytes([2; 32]);
const DAY: Duration = Duration::from_secs(86_400);

fn trust(store: &Arc<MemoryStore>) -> Trust {
    Trust::load(Arc::clone(store) as Arc<dyn Store>).unwrap()
}

#[test]
fn a_ticket_lets_one_peer_in_and_no_other_even_after_a_restart() {
    let store = Arc::<MemoryStore>::default();
    let ticket = trust(&store).issue(B, vec![], "in", 1, DAY).unwrap();
    trust(&store).redeem(A, "a", ticket.token().expose()).unwrap();
    let again = trust(&store);
    assert_eq!(
        again.redeem(A, "a", ticket.token().expose()),
        Ok(()),
        "a reconnect locks nobody out"
    );
    assert_eq!(again.redeem(B, "b", ticket.token().expose()), Err(RefuseReason::TicketUsed));
    assert!(again.allows(&A, "in") && !again.allows(&A, "other") && !again.allows(&B, "in"));
    assert_eq!(again.redeem(A, "a", &[0; 32]), Err(RefuseReason::TicketUnknown));
}

#[test]
fn a_ticket_takes_over_nobody_s_name() {
    let trust = trust(&Arc::default());
    trust.add(B, TrustedPeer::new("paris")).unwrap();
    let ticket = trust.issue(B, vec![], "in", 9, DAY).unwrap();
    let called = |id: PeerId, name: &str| {
        trust.redeem(id, name, ticket.token().expose()).unwrap();
        trust.peer(&id).unwrap().name
    };
    let peer = |number: u8| PeerId::from_bytes(*blake3::hash(&[number]).as_bytes());
    // The lower id, which a search by name found first.
    assert_eq!(called(A, "paris"), format!("paris-{}", A.short()));
    assert_eq!(trust.named("paris").map(|(id, _)| id), Some(B));
    assert_eq!(called(peer(3), "/\u{1b}"), format!("peer-{}", peer(3).short()));
    for (number, name) in [(4, "PARIS"), (5, "p\u{430}ris"), (6, "Par1s")] {
        let called = called(peer(number), name);
        assert!(called.ends_with(&peer(number).short()), "{called}");
    }
    assert_eq!(called(peer(7), "  lyon \n west "), "lyon west");
}

#[test]
fn a_peer_that_calls_itself_by_another_s_id_is_not_found_under_it() {
    let trust = trust(&Arc::default());
    let victim = PeerId::from_bytes(*blake3::hash(b"victim").as_bytes());
    let known = PeerId::from_bytes(*blake3::hash(b"known").as_bytes());
    trust.add(known, TrustedPeer::new("known")).unwrap();
    let ticket = trust.issue(B, vec![], "in", 99, DAY).unwrap();
    let mut number = 0u8;
    for whom in [victim, known] {
        let id = whom.to_string();
        for name in [
            id.clone(),
            id.to_uppercase(),
            format!(" {id}"),
            id[..50].into(),
            id[..16].into(),
            whom.short(),
            format!("{}-{}", &id[..26], &id[26..]),
        ] {
            number += 1;
            let attacker = PeerId::from_bytes([number; 32]);
            trust.redeem(attacker, &name, ticket.token().expose()).unwrap();
            assert_eq!(
                trust.peer(&attacker).unwrap().name,
                format!("peer-{}", attacker.short()),
                "{name:?}"
            );
            assert_ne!(trust.find(&name).ok().map(|(id, _)| id), Some(attacker), "{name:?}");
            assert!(
                matches!(trust.add(attacker, TrustedPeer::new(&name)), Err(TrustError::Name(_))),
                "{name:?}"
            );
        }
    }
    assert_eq!(trust.find(&victim.to_string()), Err(NoSuchPeer::Id(victim)));
    assert_eq!(trust.find(&known.to_string()).unwrap().0, known);
    assert_eq!(trust.find(&known.short()).unwrap().0, known, "a fingerprint");
}

#[test]
fn a_name_of_an_older_store_that_is_an_id_finds_nobody() {
    let store = Arc::<MemoryStore>::default();
    let victim = PeerId::from_bytes(*blake3::hash(b"victim").as_bytes());
    let peer = TrustedPeer::new(victim.to_string());
    store.put(PEERS, A.as_bytes(), &codec::encode(&peer).unwrap()).unwrap();
    let trust = trust(&store);
    assert_eq!(trust.find(&victim.to_string()), Err(NoSuchPeer::Id(victim)));
    assert_eq!(trust.peer(&A).unwrap().name, format!("peer-{}", A.short()));
}

#[test]
fn a_name_that_several_have_is_an_error_that_lists_them() {
    let trust = trust(&Arc::default());
    trust.add(A, TrustedPeer::new("paris")).unwrap();
    trust.add(B, TrustedPeer::new("paris")).unwrap();
    let error = trust.find("paris").unwrap_err();
    assert_eq!(error, NoSuchPeer::Several { given: "paris".into(), ids: vec![A, B] });
    assert!(
        error.to_string().contains(&A.to_string()) && error.to_string().contains(&B.short()),
        "{error}"
    );
    assert_eq!(trust.named("paris"), None);
    assert_eq!(trust.label(&A), format!("paris ({})", A.short()));
}

#[test]
fn a_revoked_peer_stays_out_with_its_old_ticket() {
    let store = Arc::<MemoryStore>::default();
    let trust = trust(&store);
    let ticket = trust.issue(B, vec![], "in", 1, DAY).unwrap();
    trust.redeem(A, "a", ticket.token().expose()).unwrap();
    assert!(trust.revoke(A).unwrap());
    assert_eq!(trust.redeem(A, "a", ticket.token().expose()), Err(RefuseReason::Revoked));
    assert!(!trust.allows(&A, "in"));
    assert!(trust.list().is_empty());
}

#[test]
fn what_another_process_changes_holds_here() {
    let folder = tempfile::tempdir().unwrap();
    let open = || Trust::load(Arc::new(FileStore::open(folder.path()).unwrap())).unwrap();
    let (here, there) = (open(), open());
    let mut revocations = here.revocations();
    let ticket = here.issue(B, vec![], "in", 2, DAY).unwrap();
    here.redeem(A, "a", ticket.token().expose()).unwrap();
    assert!(there.revoke(A).unwrap(), "it sees what was redeemed here");
    here.refresh().unwrap();
    assert_eq!(revocations.try_recv(), Ok(A), "its links are closed");
    assert!(!here.allows(&A, "in"));
    assert_eq!(here.redeem(A, "a", ticket.token().expose()), Err(RefuseReason::Revoked));
    there.add(A, TrustedPeer::new("a")).unwrap();
    here.refresh().unwrap();
    assert!(here.allows(&A, "in"));
}

#[test]
fn expired_tickets_leave_the_store() {
    let store = Arc::<MemoryStore>::default();
    let trust = trust(&store);
    trust.issue(B, vec![], "in", 1, Duration::ZERO).unwrap();
    trust.issue(B, vec![], "in", 1, DAY).unwrap();
    assert_eq!(store.load(TICKETS).unwrap().len(), 1);
}

#[test]
fn an_expired_ticket_and_an_expired_peer_are_out() {
    let trust = trust(&Arc::default());
    let ticket = trust.issue(B, vec![], "in", 1, Duration::ZERO).unwrap();
    assert_eq!(trust.redeem(A, "a", ticket.token().expose()), Err(RefuseReason::TicketExpired));
    trust.add(A, TrustedPeer { expires: Some(1), ..TrustedPeer::new("a") }).unwrap();
    assert!(!trust.allows(&A, "in"));
}

#[test]
fn a_peer_is_changed_from_what_is_known_and_a_new_ticket_keeps_its_name_and_addresses() {
    let trust = trust(&Arc::default());
    let ended = TrustedPeer {
        expires: Some(1),
        addresses: vec!["127.0.0.1:7".into()],
        ..TrustedPeer::new("capital")
    };
    trust.add(A, ended.clone()).unwrap();
    let renamed = |known: Option<TrustedPeer>| TrustedPeer { name: "a".into(), ..known.unwrap() };
    let holds = trust.alter(A, renamed).unwrap();
    assert_eq!(holds, TrustedPeer { name: "a".into(), ..ended.clone() });
    assert_eq!(trust.list(), [(A, holds)]);
    let ticket = trust.issue(B, vec![], "in", 1, DAY).unwrap();
    trust.redeem(A, "whatever", ticket.token().expose()).unwrap();
    let back = trust.peer(&A).unwrap();
    assert_eq!((&*back.name, &back.addresses), ("a", &ended.addresses));
    assert!(trust.allows(&A, "in") && !trust.allows(&A, "other"), "it lets in as the ticket says");
}

/// A store whose changes fail from the n-th on, as if its process were dead; each is made alone.
#[derive(Debug, Default)]
struct Failing {
    inner: MemoryStore,
    left: std::sync::atomic::AtomicUsize,
    unreadable: std::sync::atomic::AtomicBool,
}

impl Failing {
    fn step(&self) -> std::io::Result<()> {
        let left =
            self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        left.map(drop).map_err(|_| std::io::Error::other("no more changes"))
    }
}

impl Store for Failing {
    fn load(&self, table: &str) -> std::io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
        if self.unreadable.load(Ordering::SeqCst) {
            Err(std::io::Error::other("input/output error"))
        } else {
            self.inner.load(table)
        }
    }

    fn put(&self, table: &str, key: &[u8], value: &[u8]) -> std::io::Result<()> {
        self.step()?;
        self.inner.put(table, key, value)
    }

    fn remove(&self, table: &str, key: &[u8]) -> std::io::Result<()> {
        self.step()?;
        self.inner.remove(table, key)
    }

    fn version(&self) -> std::io::Result<u128> {
        if self.unreadable.load(Ordering::SeqCst) {
            Err(std::io::Error::other("input/output error"))
        } else {
            Ok(0)
        }
    }
}

/// Trust in A, which has used three tickets.
fn let_in(trust: &Trust) -> Vec<Ticket> {
    let tickets: Vec<Ticket> =
        ["in", "other", "third"].map(|inbox| trust.issue(B, vec![], inbox, 1, DAY).unwrap()).into();
    tickets.iter().for_each(|ticket| trust.redeem(A, "a", ticket.token().expose()).unwrap());
    tickets
}

/// In, as before, or out, and no ticket lets it in again; which of the two.
fn is_in(trust: &Trust, tickets: &[Ticket]) -> bool {
    let inside = trust.peer(&A).is_some();
    for ticket in tickets.iter().filter(|_| !inside) {
        assert!(trust.redeem(A, "a", ticket.token().expose()).is_err());
    }
    assert_eq!(trust.peer(&A).is_some(), inside);
    inside
}

#[test]
fn revoking_that_fails_at_any_change_leaves_the_peer_in_or_out_and_says_which() {
    for steps in 0..5 {
        let store = Arc::new(Failing { left: 100.into(), ..Failing::default() });
        let trust = Trust::load(Arc::clone(&store) as Arc<dyn Store>).unwrap();
        let tickets = let_in(&trust);
        store.left.store(steps, Ordering::SeqCst);
        let revoked = trust.revoke(A);
        store.left.store(100, Ordering::SeqCst);
        let inside = is_in(&trust, &tickets);
        let after_restart = Trust::load(Arc::clone(&store) as Arc<dyn Store>).unwrap();
        assert_eq!(is_in(&after_restart, &tickets), inside, "{steps}");
        match revoked {
            Ok(known) => assert!(known && !inside),
            Err(error) => {
                assert_eq!(error.to_string().contains("it is still trusted"), inside, "{error}")
            }
        }
        assert_eq!(inside, steps < 4);
        trust.revoke(A).unwrap();
        assert!(!is_in(&trust, &tickets));
    }
}

#[test]
fn a_process_that_dies_at_any_step_of_revoking_leaves_the_peer_in_or_out() {
    let mut seen = [0, 0];
    for steps in 0.. {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(FileStore::open(folder.path()).unwrap());
        let open = || Trust::load(Arc::new(FileStore::open(folder.path()).unwrap())).unwrap();
        let trust = Trust::load(Arc::clone(&store) as Arc<dyn Store>).unwrap();
        let tickets = let_in(&trust);
        // Another process, which has a link with the peer.
        let elsewhere = open();
        let mut revocations = elsewhere.revocations();
        store.steps.store(steps, Ordering::SeqCst);
        let revoked = trust.revoke(A);
        let whole = store.steps.load(Ordering::SeqCst) > 0 && revoked.is_ok();
        elsewhere.refresh().unwrap();
        let inside = is_in(&elsewhere, &tickets);
        assert_eq!(revocations.try_recv().is_ok(), !inside, "its links are closed at {steps}");
        match &revoked {
            Ok(_) => assert!(!inside, "{steps}"),
            Err(TrustError::Revocation { .. }) => {
                assert_eq!(trust.peer(&A).is_some(), inside, "{steps}: {revoked:?}")
            }
            Err(_) => assert!(inside),
        }
        assert_eq!(is_in(&open(), &tickets), inside, "{steps}");
        seen[usize::from(inside)] += 1;
        open().revoke(A).unwrap();
        assert!(!is_in(&open(), &tickets));
        elsewhere.refresh().unwrap();
        assert!(!is_in(&elsewhere, &tickets));
        if whole {
            break;
        }
    }
    assert!(seen[0] > 5 && seen[1] > 2, "{seen:?}");
}

#[test]
fn a_store_that_can_t_be_read_lets_nobody_in() {
    let store = Arc::new(Failing { left: 100.into(), ..Failing::default() });
    let trust = Trust::load(Arc::clone(&store) as Arc<dyn Store>).unwrap();
    trust.add(A, TrustedPeer::new("a")).unwrap();
    let before = trust.version();
    store.unreadable.store(true, Ordering::SeqCst);
    assert!(trust.refresh().is_err());
    assert!(trust.peer(&A).is_none() && !trust.allows(&A, "in") && trust.find("a").is_err());
    assert!(trust.version() > before, "who keeps an answer asks again");
    assert!(matches!(trust.standing(&A), Standing::Unreadable(_)));
    assert!(Trust::load(Arc::clone(&store) as Arc<dyn Store>).is_err());
    store.unreadable.store(false, Ordering::SeqCst);
    trust.refresh().unwrap();
    assert!(trust.allows(&A, "in"));
    assert_eq!(trust.standing(&A), Standing::Unchanged);
}

#[test]
fn damaged_changes_let_nobody_in_and_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let trust = Trust::load(Arc::new(FileStore::open(folder.path()).unwrap())).unwrap();
    trust.add(A, TrustedPeer::new("a")).unwrap();
    std::fs::write(folder.path().join("changes"), "garbage").unwrap();
    std::fs::write(folder.path().join("version"), "another").unwrap();
    assert!(trust.refresh().is_err());
    assert!(!trust.allows(&A, "in"));
    assert!(trust.add(B, TrustedPeer::new("b")).is_err());
    assert_eq!(std::fs::read(folder.path().join("changes")).unwrap(), b"garbage");
}

#[test]
fn trust_that_has_expired_is_not_begun_again_by_an_old_ticket() {
    let trust = trust(&Arc::default());
    let ticket = trust.issue(B, vec![], "in", 1, DAY).unwrap();
    trust.redeem(A, "a", ticket.token().expose()).unwrap();
    trust.add(A, TrustedPeer { expires: Some(1), ..TrustedPeer::new("a") }).unwrap();
    assert_eq!(trust.standing(&A), Standing::Expired);
    assert_eq!(trust.redeem(A, "a", ticket.token().expose()), Err(RefuseReason::Untrusted));
    let another = trust.issue(B, vec![], "in", 1, DAY).unwrap();
    assert_eq!(trust.redeem(A, "a", another.token().expose()), Ok(()), "it was made for it anew");
}

#[test]
fn tickets_are_listed_without_their_tokens_and_withdrawn() {
    let trust = trust(&Arc::default());
    let ticket = trust.issue(B, vec![], "in", 2, DAY).unwrap();
    trust.redeem(A, "a", ticket.token().expose()).unwrap();
    let [record] = &trust.tickets()[..] else { panic!("one ticket") };
    assert_eq!(
        (record.inbox.as_str(), record.most_redeemers, &record.redeemers[..]),
        ("in", 2, &[A][..])
    );
    assert!(record.made.is_some() && record.expires > now());
    let token = data_encoding::HEXLOWER.encode(ticket.token().expose());
    assert!(!format!("{record:?} {}", record.id).contains(&token[..16]));
    assert!(trust.revoke_ticket(record.id).unwrap() && !trust.revoke_ticket(record.id).unwrap());
    assert_eq!(trust.redeem(B, "b", ticket.token().expose()), Err(RefuseReason::TicketUnknown));
    assert!(trust.allows(&A, "in"), "who has used it stays");
}

#[test]
fn a_start_gives_out_its_ticket_again_until_it_is_used() {
    let store = Arc::<MemoryStore>::default();
    let identity = Identity::generate();
    let start = |redeemers| trust(&store).reissue(&identity, vec![], "in", redeemers, DAY).unwrap();
    let first = start(1);
    assert_eq!(start(1), first);
    assert_eq!(trust(&store).tickets().len(), 1);
    let wider = start(2);
    assert_ne!(wider, first);
    assert_eq!(trust(&store).tickets().len(), 1, "the earlier one is withdrawn");
    trust(&store).redeem(A, "a", wider.token().expose()).unwrap();
    assert_ne!(start(2), wider);
    // Another node's key makes another ticket of the same store.
    assert_ne!(
        trust(&store).reissue(&Identity::generate(), vec![], "in", 2, DAY).unwrap().token(),
        start(2).token()
    );
}

#[test]
fn tickets_of_an_older_release_are_read() {
    #[derive(Serialize)]
    struct Old(String, u64, Vec<PeerId>, u16);
    let store = Arc::<MemoryStore>::default();
    let key = *blake3::hash(&[7; 32]).as_bytes();
    store
        .put(TICKETS, &key, &codec::encode(&Old("in".into(), u64::MAX, vec![], 1)).unwrap())
        .unwrap();
    let trust = trust(&store);
    assert_eq!(trust.tickets()[0].made, None);
    assert_eq!(trust.redeem(A, "a", &[7; 32]), Ok(()));
}

#[test]
fn a_node_does_not_trust_itself() {
    let store = Arc::default();
    let own = trust(&store).owned_by(A);
    assert!(matches!(own.add(A, TrustedPeer::new("self")), Err(TrustError::Itself(A))));
    own.add(B, TrustedPeer::new("other")).unwrap();
    // What an earlier build took in can be taken out.
    trust(&store).add(A, TrustedPeer::new("self")).unwrap();
    let own = trust(&store).owned_by(A);
    assert!(own.knows(&A) && own.revoke(A).unwrap() && !own.knows(&A));
}
