//! A queue by itself.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

use bytes::Bytes;

use super::super::record::Head;
use super::*;

const HOUR: Duration = Duration::from_secs(3600);
const LIMITS: Limits = Limits { messages: 3, bytes: 100, dead: 1, free: 0 };

fn message(id: &str, length: usize) -> Message {
    let head = Head {
        id: id.into(),
        from: "node".into(),
        name: "orders".into(),
        message: "shop.Order".into(),
        version: 1,
        created: 1,
        trace: None,
    };
    Message { head, body: Bytes::from(vec![b'1'; length]) }
}

fn queue() -> (tempfile::TempDir, Queue) {
    let folder = tempfile::tempdir().unwrap();
    let queue = Queue::open(folder.path(), LIMITS).unwrap();
    (folder, queue)
}

#[test]
fn a_message_is_taken_once_within_the_limits_and_found_by_the_next_life() {
    let (folder, queue) = queue();
    assert_eq!(queue.put(&message("a", 200)).unwrap(), Put::Stored, "alone it may be longer");
    assert_eq!(queue.put(&message("a", 200)).unwrap(), Put::Known);
    assert_eq!(queue.put(&message("b", 1)).unwrap(), Put::Full, "the bytes");
    queue.remove(queue.find("a").unwrap()).unwrap();
    for id in ["b", "c", "d"] {
        assert_eq!(queue.put(&message(id, 1)).unwrap(), Put::Stored);
    }
    assert_eq!(queue.put(&message("e", 1)).unwrap(), Put::Full, "the number");
    queue.failed(queue.find("c").unwrap(), (Some(500), "a\nb"), Some(HOUR)).unwrap();
    drop(queue);
    let queue = Queue::open(folder.path(), LIMITS).unwrap();
    let tries = queue.tries(queue.find("c").unwrap()).unwrap();
    assert_eq!((tries.tries, tries.status, &*tries.why), (1, Some(500), "a b"));
    let long = message("f", FileStore::VALUE_LIMIT);
    for id in ["b", "c", "d"] {
        queue.remove(queue.find(id).unwrap()).unwrap();
    }
    assert_eq!(queue.put(&long).unwrap(), Put::TooLong);
    assert_eq!(queue.counts(), Counts::default());
}

#[test]
fn what_is_not_to_be_posted_is_not_due_either() {
    let (_folder, queue) = queue();
    assert!(queue.due_in(true) > HOUR && queue.due_in(false) > HOUR);
    for id in ["a", "b"] {
        queue.put(&message(id, 1)).unwrap();
    }
    let first = queue.claim(true).unwrap();
    assert!(queue.due_in(true) > HOUR, "the others wait for the first");
    assert_eq!(queue.due_in(false), Duration::ZERO);
    queue.failed(first, (None, "no"), Some(2 * HOUR)).unwrap();
    assert!(queue.due_in(true) > HOUR && queue.claim(true).is_none());
    let rests = resting(now_ms() / 1000, 2 * HOUR);
    assert!(queue.rest(&rests).unwrap());
    assert!(queue.due_in(false) > HOUR && queue.claim(false).is_none());
    let disabled = Disabled { at: 1, id: "a".into(), why: "gone".into() };
    queue.disable(&disabled).unwrap();
    assert_eq!((queue.due_in(true), queue.due_in(false)), (Duration::MAX, Duration::MAX));
}

fn resting(at: u64, rest: Duration) -> Rests {
    Rests { at, until: at + rest.as_secs(), id: "a".into(), why: "no".into() }
}

#[test]
fn a_rest_is_kept_never_made_shorter_and_ended_by_who_renews_or_enables() {
    let (folder, queue) = queue();
    for id in ["a", "b"] {
        queue.put(&message(id, 1)).unwrap();
    }
    let (first, now) = (queue.claim(true).unwrap(), now_ms() / 1000);
    assert!(!queue.rest(&resting(now - 9, Duration::from_secs(1))).unwrap(), "it is over");
    assert!(queue.rest(&resting(now, 2 * HOUR)).unwrap());
    assert!(!queue.rest(&resting(now, HOUR)).unwrap());
    assert!(!queue.rest(&resting(now, 3 * HOUR)).unwrap(), "it is longer, and no new one");
    queue.failed(first, (Some(503), "no"), None).unwrap();
    let other = Queue::open(folder.path(), LIMITS).unwrap();
    assert_eq!(other.rests(), Some(resting(now, 3 * HOUR)));
    assert!(other.claim(false).is_none() && other.due_in(false) > 2 * HOUR);
    assert_eq!(other.renew_dead().unwrap(), ["a"]);
    queue.look().unwrap();
    assert_eq!((queue.rests(), queue.due_in(true)), (None, Duration::ZERO));
    // Nothing is to be posted for it.
    assert!(queue.rest(&resting(now, HOUR)).unwrap() && queue.renew_dead().unwrap().is_empty());
    assert!(queue.rests().is_some());
    queue.renew(first).unwrap();
    assert!(queue.rests().is_none() && queue.rest(&resting(now, HOUR)).unwrap());
    assert!(!queue.enable().unwrap() && queue.rests().is_none());
    // By a clock that was ahead.
    let (ahead, day) = (now + 24 * HOUR.as_secs(), 24 * HOUR);
    let other = FileStore::open(folder.path()).unwrap();
    other.put(STATE, RESTS, &to_json(&resting(ahead, day)).unwrap()).unwrap();
    queue.look().unwrap();
    assert!(queue.rests().is_none() && queue.claim(true) == Some(first));
}

#[test]
fn a_clock_that_was_ahead_halts_nothing_once_it_is_right() {
    let (folder, queue) = queue();
    queue.put(&message("a", 1)).unwrap();
    let number = queue.find("a").unwrap();
    let years = HOUR.as_secs() * 24 * 365 * 3;
    let at = now_ms() / 1000 + years;
    let next = (at + HOUR.as_secs()) * 1000;
    let tries = Tries { tries: 1, at, next, ..Tries::default() };
    let other = FileStore::open(folder.path()).unwrap();
    other.put(TRIES, &key(number), &to_json(&tries).unwrap()).unwrap();
    queue.look().unwrap();
    assert_eq!(queue.due_in(true), Duration::ZERO);
    assert_eq!(queue.claim(true), Some(number));
}

#[test]
fn where_the_disk_has_no_room_it_is_full() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { free: u64::MAX, ..LIMITS };
    let queue = Queue::open(folder.path(), limits).unwrap();
    assert_eq!(queue.put(&message("a", 1)).unwrap(), Put::Full);
    assert_eq!(queue.counts(), Counts::default());
}

#[test]
fn a_message_that_is_known_is_not_read_again_and_dead_ones_are_replayed_in_one_change() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { dead: 3, ..LIMITS };
    let queue = Queue::open(folder.path(), limits).unwrap();
    for id in ["a", "b", "c"] {
        queue.put(&message(id, 30)).unwrap();
    }
    for id in ["a", "b"] {
        queue.failed(queue.find(id).unwrap(), (None, "no"), None).unwrap();
    }
    // What is read of it now is told as damaged, and it is gone.
    let place = folder.path().join(MESSAGES).join(format!("{:016x}", queue.find("c").unwrap()));
    std::fs::write(&place, "garbage").unwrap();
    let other = Queue::open(folder.path(), limits).unwrap();
    assert!(other.find("c").is_none() && !place.exists());
    std::fs::write(&place, "garbage").unwrap();
    assert_eq!(other.renew_dead().unwrap(), ["a", "b"]);
    assert!(other.renew_dead().unwrap().is_empty());
    queue.look().unwrap();
    assert!(queue.find("c").is_some() && place.exists());
    assert_eq!((queue.counts().waiting, queue.counts().dead), (3, 0));
}

#[test]
fn dead_ones_have_no_more_bytes_than_may_wait() {
    let folder = tempfile::tempdir().unwrap();
    let queue = Queue::open(folder.path(), Limits { dead: 9, ..LIMITS }).unwrap();
    for id in ["a", "b", "c"] {
        queue.put(&message(id, 60)).unwrap();
        queue.failed(queue.find(id).unwrap(), (None, "no"), None).unwrap();
    }
    assert_eq!((queue.counts().dead, queue.counts().dead_bytes), (1, 60));
    assert!(queue.find("c").is_some());
}

#[test]
fn what_can_t_be_read_keeps_its_place() {
    let (folder, queue) = queue();
    let other = FileStore::open(folder.path()).unwrap();
    let place = u64::MAX / 2;
    other.put(MESSAGES, &key(place), b"no message").unwrap();
    assert_eq!(queue.put(&message("a", 1)).unwrap(), Put::Stored);
    assert_eq!(queue.find("a"), Some(place + 1));
    drop(queue);
    let queue = Queue::open(folder.path(), LIMITS).unwrap();
    assert!(queue.find("a").is_some());
    let kept = other.find(MESSAGES, &key(place)).unwrap();
    assert_eq!(kept.as_deref(), Some(&b"no message"[..]));
}

#[test]
fn a_dead_one_that_can_t_be_forgotten_counts_no_try_twice() {
    let (folder, queue) = queue();
    for id in ["a", "b"] {
        queue.put(&message(id, 1)).unwrap();
    }
    let (a, b) = (queue.find("a").unwrap(), queue.find("b").unwrap());
    queue.failed(a, (None, "no"), None).unwrap();
    // A folder is in the place of its record, which is not removed as a file is.
    let place = folder.path().join(MESSAGES).join(format!("{a:016x}"));
    std::fs::remove_file(&place).unwrap();
    std::fs::create_dir(&place).unwrap();
    queue.failed(b, (None, "no"), None).unwrap();
    assert_eq!(queue.tries(b).map(|tries| (tries.tries, tries.dead)), Some((1, true)));
}

#[test]
fn the_oldest_dead_one_goes_when_there_are_more_than_are_kept() {
    let (_folder, queue) = queue();
    for id in ["a", "b", "c"] {
        queue.put(&message(id, 1)).unwrap();
    }
    for id in ["b", "a"] {
        queue.failed(queue.find(id).unwrap(), (None, "no"), None).unwrap();
    }
    assert_eq!((queue.find("a"), queue.counts().dead), (None, 1));
    assert!(queue.find("b").is_some() && queue.find("c").is_some());
}
