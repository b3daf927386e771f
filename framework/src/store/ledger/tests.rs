//! Accounts of peers, and their shares.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn peer(number: u8) -> PeerId {
    PeerId::from_bytes([number; 32])
}

fn ledger(share: u64, total: u64) -> Ledger {
    Ledger::new([Bound { share, total }; KINDS], [Rate { burst: 4, per_second: 2 }; WORKS])
}

#[test]
fn a_share_is_each_peers_own_and_the_limit_is_everybodys() {
    let ledger = ledger(60, 100);
    let (a, b) = (ledger.account(peer(1)), ledger.account(peer(2)));
    let first = a.charge(Kind::Packages, 60).unwrap();
    let full = a.charge(Kind::Packages, 1).unwrap_err();
    assert!(!full.by_all && full.to_string().contains("this peer may have 60"), "{full}");
    let full = b.charge(Kind::Packages, 41).unwrap_err();
    assert!(full.by_all && full.to_string().contains("all peers together may have 100"), "{full}");
    assert_eq!(b.held(Kind::Packages), 0, "what was refused is not charged");
    drop(first);
    assert!(b.charge(Kind::Packages, 41).is_ok());
    assert_eq!(ledger.total(Kind::Packages), 0);
}

#[test]
fn an_account_that_nobody_needs_is_closed_and_one_with_something_on_it_is_not() {
    let (ledger, now) = (ledger(10, 10), Instant::now());
    let kept = ledger.account(peer(1)).charge(Kind::Messages, 1).unwrap();
    assert!(ledger.account(peer(2)).spend(Work::Links, 1, now));
    (1..4).for_each(|number| ledger.tidy(peer(number), now));
    assert_eq!(ledger.0.accounts.len(), 2);
    drop(kept);
    (1..3).for_each(|number| ledger.tidy(peer(number), now + Duration::from_secs(1)));
    assert_eq!(ledger.0.accounts.len(), 0);
}

#[test]
fn work_is_done_at_its_rate_and_one_large_piece_is_waited_for() {
    let (account, start) = (ledger(0, 0).account(peer(1)), Instant::now());
    let later = |seconds: f64| start + Duration::from_secs_f64(seconds);
    let done = (0..10).filter(|_| account.spend(Work::Links, 1, start)).count();
    assert_eq!(done, 4);
    let done = (1..=100)
        .filter(|&tenths| account.spend(Work::Links, 1, later(f64::from(tenths) / 10.0)))
        .count();
    assert_eq!(done, 20, "two a second, for ten seconds");
    assert!(
        account.spend(Work::Verified, 1000, start),
        "larger than may be at once, and nothing before it"
    );
    assert!(!account.spend(Work::Verified, 1, later(400.0)));
    assert!(account.spend(Work::Verified, 1, later(499.0)));
}

#[test]
fn what_is_taken_without_a_charge_counts_until_it_is_made_one_and_keeps_the_account_open() {
    let (ledger, now) = (ledger(10, 15), Instant::now());
    ledger.account(peer(1)).take_bare(Kind::Requests, 10).unwrap();
    assert!(ledger.account(peer(1)).take_bare(Kind::Requests, 1).is_err());
    assert!(ledger.account(peer(2)).take_bare(Kind::Requests, 6).unwrap_err().is_of_all());
    (1..3).for_each(|number| ledger.tidy(peer(number), now));
    assert_eq!((ledger.0.accounts.len(), ledger.account(peer(1)).held(Kind::Requests)), (1, 10));
    drop(ledger.account(peer(1)).taken(Kind::Requests, 10));
    assert_eq!(
        (ledger.account(peer(1)).held(Kind::Requests), ledger.total(Kind::Requests)),
        (0, 0)
    );
    let somebody = ledger.account(peer(1));
    ledger.tidy(peer(1), now);
    assert_eq!(ledger.0.accounts.len(), 1, "somebody works with it");
    drop(somebody);
    ledger.tidy(peer(1), now);
    assert_eq!(ledger.0.accounts.len(), 0);
}

#[test]
fn kinds_do_not_count_against_each_other_and_a_refusal_says_which_it_is_of() {
    let account = ledger(10, 20).account(peer(1));
    let held: Vec<_> = ALL.into_iter().map(|kind| account.charge(kind, 7).unwrap()).collect();
    for (kind, words) in ALL.into_iter().zip([
        "bytes of packages",
        "(packages)",
        "remembered",
        "not handled",
        "not read",
    ]) {
        let full = account.charge(kind, 4).unwrap_err();
        assert!(!full.is_of_all());
        let text = full.to_string();
        assert!(text.contains(words) && text.contains("; 7 are taken, and 4 more"), "{text}");
        assert!(account.charge_within(kind, 4, 11).is_ok(), "another share");
    }
    assert!(held.iter().all(|charge| charge.amount() == 7));
}

#[test]
fn an_account_and_its_charges_show_what_they_are() {
    let ledger = ledger(10, 20);
    let charge = ledger.account(peer(1)).charge(Kind::Packages, 3).unwrap();
    for shown in [format!("{ledger:?}"), format!("{:?}", ledger.account(peer(1)))] {
        assert!(shown.contains("(Packages, 3)") && shown.contains("(Messages, 0)"), "{shown}");
    }
    assert_eq!(format!("{charge:?}"), "Charge { kind: Packages, amount: 3, .. }");
}

proptest! {
    #[test]
    fn the_total_is_the_sum_and_nothing_that_is_asked_for_passes_its_bound(
        steps in proptest::collection::vec((0u8..3, 0u64..50, 0u8..8, any::<prop::sample::Index>()), 1..200),
    ) {
        let ledger = ledger(80, 150);
        // Whose each is, and how much it must be.
        let mut charges: Vec<(u8, u64, Charge)> = Vec::new();
        for (who, amount, what, which) in steps {
            let of = |charges: &[(u8, u64, Charge)], who: u8| charges.iter().filter(|(of, ..)| *of == who).map(|(_, held, _)| held).sum::<u64>();
            let total = |charges: &[(u8, u64, Charge)]| charges.iter().map(|(_, held, _)| held).sum::<u64>();
            let account = ledger.account(peer(who));
            let fits = |charges: &[(u8, u64, Charge)], who| of(charges, who) + amount <= 80 && total(charges) + amount <= 150;
            match (what, charges.len()) {
                (0 | 1, _) => {
                    let charged = account.charge(Kind::PackageBytes, amount);
                    prop_assert_eq!(charged.is_ok(), fits(&charges, who));
                    charges.extend(charged.map(|charge| (who, amount, charge)));
                }
                (2, _) => {
                    let taken = account.take_bare(Kind::PackageBytes, amount);
                    prop_assert_eq!(taken.is_ok(), fits(&charges, who));
                    charges.extend(taken.map(|()| (who, amount, account.taken(Kind::PackageBytes, amount))));
                }
                (3, _) => charges.push((who, amount, account.charge_anyway(Kind::PackageBytes, amount))),
                (_, 0) => {}
                (4 | 5, many) => drop(charges.swap_remove(which.index(many))),
                (6, many) => {
                    let at = which.index(many);
                    let expected = fits(&charges, charges[at].0);
                    prop_assert_eq!(charges[at].2.grow_within(amount, 80).is_ok(), expected);
                    charges[at].1 += if expected { amount } else { 0 };
                }
                (_, many) => {
                    let at = which.index(many);
                    charges[at].2.set(amount);
                    charges[at].1 = amount;
                }
            }
            prop_assert!(charges.iter().all(|(_, held, charge)| charge.amount() == *held));
            for who in 0..3 {
                prop_assert_eq!(ledger.account(peer(who)).held(Kind::PackageBytes), of(&charges, who));
            }
            prop_assert_eq!(ledger.total(Kind::PackageBytes), total(&charges));
        }
        drop(charges);
        prop_assert_eq!(ledger.total(Kind::PackageBytes), 0);
    }
}
