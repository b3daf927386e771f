//! Tokens: who may come in by a door, to whom they may speak, how often, and until when.
//!
//! Invariant: a token itself is nowhere kept, only its digest. What changes is written to the store
//! before it takes effect; processes that share a store hold it meanwhile, and look for others'
//! changes first. While the store can't be read nobody is let in.

mod rate;
mod record;
mod right;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use estafette::node::{Hold, Store};

use self::rate::Bucket;
pub use self::rate::{Rate, RateError};
use self::record::{Id, Record};
pub use self::record::{Issued, TokenInfo};
pub use self::right::{Right, RightError};

/// The table of a store that tokens are in.
const TABLE: &str = "tokens";
/// The longest that a change by another process goes unnoticed.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// So often it is looked at once whether a token that is not known was made just now, since a look
/// holds up all who come in.
const LOOKS_AGAIN: Rate = Rate::in_a_second(10);
/// The interval at which it is looked whether the token of what is open is one still.
#[cfg(any(feature = "http", feature = "grpc"))]
const CHECK_EVERY: Duration = Duration::from_secs(5);
/// The longest name of a token, in characters.
const NAME_MOST: usize = 64;

/// The tokens of a node's doors. Cloning it shares it.
#[derive(Clone)]
pub struct Tokens {
    store: Arc<dyn Store>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    known: HashMap<Id, Record>,
    buckets: HashMap<Id, Bucket>,
    /// The version of the store that is in memory; `None` while it can't be read.
    version: Option<u128>,
    looked: Option<Instant>,
    /// The looks at once that are left.
    again: Option<Bucket>,
}

/// A token that was shown, and is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pass {
    /// The name of the token.
    pub name: String,
    /// The rights that it gives.
    rights: Arc<[Right]>,
    id: Id,
}

/// The reason why somebody is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// No token was shown.
    Missing,
    /// The text that was shown is no token of this node, or not any more.
    Unknown,
    /// No token has a name of the certificate that was shown, or not any more.
    Unnamed,
    /// Its time is over.
    Expired,
    /// It was used too often; it may be used again after this wait.
    TooOften(Duration),
    /// Nobody is let in until the tokens can be read again.
    Unreadable,
}

/// An error of keeping tokens.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokensError {
    /// The store failed.
    #[error("the tokens could not be {action}: {error}")]
    Store {
        /// The action that failed.
        action: &'static str,
        /// The cause.
        error: std::io::Error,
    },
    /// A record is damaged.
    #[error("a token's record is damaged: {error}; remove it from the trust folder, tokens/{key}")]
    Damaged {
        /// The key of the record, as its file is called.
        key: String,
        /// The damage.
        error: String,
    },
    /// There is a token of that name.
    #[error("there is a token {name:?} already: remove it first, or choose another name")]
    Taken {
        /// The name.
        name: String,
    },
    /// It can't be a name.
    #[error("{name:?} can't be the name of a token: 1 to {NAME_MOST} characters, none of control")]
    Name {
        /// The name.
        name: String,
    },
    /// It would lead nowhere, or to more places than a token may.
    #[error(
        "a token has 1 to {} patterns peer/name, read:inbox or done:inbox, not {count}",
        Right::MOST
    )]
    Rights {
        /// The number of patterns that were given.
        count: usize,
    },
    /// There are as many as may be.
    #[error("there are {} tokens already: remove some", Tokens::MOST)]
    Full,
}

#[cfg(feature = "tls")]
impl Refusal {
    /// The same for who showed a certificate, and no token.
    pub(crate) fn by_name(self) -> Self {
        if self == Self::Unknown { Self::Unnamed } else { self }
    }
}

impl Tokens {
    /// The most tokens of a node.
    pub const MOST: usize = 10_000;

    /// The tokens in a store: that of the node's trust, say.
    pub fn load(store: Arc<dyn Store>) -> Result<Self, TokensError> {
        let tokens = Self { store, state: Arc::default() };
        drop(tokens.hold()?);
        Ok(tokens)
    }

    /// Makes a token and keeps its digest. It is shown now, and never again.
    ///
    /// # Errors
    /// As of [`TokensError`].
    pub fn add(
        &self,
        name: &str,
        rights: &[Right],
        rate: Option<Rate>,
        expires: Option<SystemTime>,
    ) -> Result<Issued, TokensError> {
        let is_name =
            (1..=NAME_MOST).contains(&name.chars().count()) && !name.chars().any(char::is_control);
        if !is_name {
            return Err(TokensError::Name { name: name.to_owned() });
        }
        if !(1..=Right::MOST).contains(&rights.len()) {
            return Err(TokensError::Rights { count: rights.len() });
        }
        let (hold, mut state) = self.hold()?;
        if state.known.values().any(|record| record.info.name == name) {
            return Err(TokensError::Taken { name: name.to_owned() });
        }
        if state.known.len() >= Self::MOST {
            return Err(TokensError::Full);
        }
        let info = TokenInfo {
            name: name.to_owned(),
            to: rights.to_vec(),
            rate,
            created: now(),
            expires: expires.map(seconds),
        };
        let (issued, id, record) = Record::issue(info);
        let written = self.store.put(TABLE, &id, &record.bytes());
        written.map_err(|error| TokensError::Store { action: "written", error })?;
        state.known.insert(id, record);
        self.done(&mut state, hold);
        Ok(issued)
    }

    /// Removes the token of that name: whoever has it is refused from now on, by other processes
    /// after a second at most. `false` if there is none.
    ///
    /// # Errors
    /// The store failed.
    pub fn remove(&self, name: &str) -> Result<bool, TokensError> {
        let (hold, mut state) = self.hold()?;
        let found = state.known.iter().find(|(_, record)| record.info.name == name);
        let Some(id) = found.map(|(id, _)| *id) else { return Ok(false) };
        let removed = self.store.remove(TABLE, &id);
        removed.map_err(|error| TokensError::Store { action: "removed", error })?;
        state.known.remove(&id);
        state.buckets.remove(&id);
        self.done(&mut state, hold);
        Ok(true)
    }

    /// All tokens, expired ones included, by their names.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn list(&self) -> Result<Vec<TokenInfo>, TokensError> {
        let (_hold, state) = self.hold()?;
        let mut all: Vec<_> = state.known.values().map(|record| record.info.clone()).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    /// Lets somebody in who shows this text, once more within its rate.
    ///
    /// # Errors
    /// The reason why not.
    pub fn admit(&self, shown: &str) -> Result<Pass, Refusal> {
        let find = |state: &State| record::find(&state.known, shown).map(|(id, _)| id);
        let (mut state, id) = self.found(find)?;
        state.pass(id)
    }

    /// Lets somebody in who has one of these names, vouched for by somebody else: with what the
    /// first token of such a name leads to, as often as that may be used.
    ///
    /// # Errors
    /// The reason why not.
    #[cfg(feature = "tls")]
    pub(crate) fn admit_named(&self, names: &[String]) -> Result<Pass, Refusal> {
        let found = self.found(|state| {
            let is_of = |record: &Record, name: &String| record.info.name == *name;
            let of_name = |name| state.known.iter().find(|(_, record)| is_of(record, name));
            names.iter().find_map(of_name).map(|(id, _)| *id)
        });
        let (mut state, id) = found.map_err(Refusal::by_name)?;
        state.pass(id)
    }

    /// Waits until the token of somebody who was let in is removed, or its time is over; that is
    /// noticed after 6 s at most.
    #[cfg(any(feature = "http", feature = "grpc"))]
    pub(crate) async fn ended(&self, pass: &Pass) -> Refusal {
        loop {
            tokio::time::sleep(CHECK_EVERY).await;
            let state = self.looked_within(LOOK_EVERY);
            // While they can't be read, nothing is known against it.
            if state.version.is_some() {
                match state.known.get(&pass.id) {
                    None => return Refusal::Unknown,
                    Some(record) if record.has_expired() => return Refusal::Expired,
                    Some(_) => {}
                }
            }
        }
    }

    /// Lets somebody in by the value of an `Authorization` header: `Bearer` and the token.
    ///
    /// # Errors
    /// The reason why not.
    pub fn admit_bearer(&self, authorization: Option<&[u8]>) -> Result<Pass, Refusal> {
        let shown = authorization.ok_or(Refusal::Missing)?;
        let shown = std::str::from_utf8(shown).map_err(|_| Refusal::Unknown)?;
        let (scheme, token) = shown.split_once(' ').ok_or(Refusal::Unknown)?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(Refusal::Missing);
        }
        self.admit(token.trim())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One of the tokens. That there is none is said after a look, since it may have been made just
    /// now, as long as not many such are shown.
    fn found(
        &self,
        find: impl Fn(&State) -> Option<Id>,
    ) -> Result<(MutexGuard<'_, State>, Id), Refusal> {
        for every in [LOOK_EVERY, Duration::ZERO] {
            let mut state = self.looked_within(every);
            if state.version.is_none() {
                return Err(Refusal::Unreadable);
            }
            if let Some(id) = find(&state) {
                return Ok((state, id));
            }
            if every.is_zero() || !state.may_look_again() {
                break;
            }
        }
        Err(Refusal::Unknown)
    }

    /// The state, after a look for changes of other processes if the last one is so long ago.
    fn looked_within(&self, every: Duration) -> MutexGuard<'_, State> {
        let mut state = self.state();
        if state.looked.is_none_or(|looked| looked.elapsed() >= every) {
            state.looked = Some(Instant::now());
            let version = self.store.version().ok();
            if version.is_none() || version != state.version {
                drop(state);
                if let Err(error) = self.hold() {
                    tracing::error!(%error, "the doors let nobody in");
                }
                state = self.state();
            }
        }
        state
    }

    /// Keeps other processes from changing the store, and takes over what they have changed.
    fn hold(&self) -> Result<(Hold, MutexGuard<'_, State>), TokensError> {
        let failed = |action| move |error| TokensError::Store { action, error };
        let hold = self.store.hold();
        let mut state = self.state();
        state.looked = Some(Instant::now());
        let read = hold.map_err(failed("locked")).and_then(|hold| {
            let version = self.store.version().map_err(failed("read"))?;
            if state.version == Some(version) {
                return Ok((hold, None));
            }
            let all = self.store.load(TABLE).map_err(failed("read"))?;
            Ok((hold, Some((version, record::read_all(all)?))))
        });
        match read {
            Ok((hold, changed)) => {
                if let Some((version, known)) = changed {
                    state.buckets.retain(|id, _| known.contains_key(id));
                    (state.version, state.known) = (Some(version), known);
                }
                Ok((hold, state))
            }
            Err(error) => {
                state.version = None;
                Err(error)
            }
        }
    }

    /// Says that the version of the store is this process's own.
    fn done(&self, state: &mut State, hold: Hold) {
        state.version = self.store.version().ok();
        drop(hold);
    }
}

impl State {
    fn may_look_again(&mut self) -> bool {
        let left = self.again.get_or_insert_with(|| Bucket::full(LOOKS_AGAIN));
        left.take(LOOKS_AGAIN, Instant::now()).is_ok()
    }

    /// The pass of a token, once more within its rate.
    fn pass(&mut self, id: Id) -> Result<Pass, Refusal> {
        let record = self.known.get(&id).ok_or(Refusal::Unknown)?;
        if record.has_expired() {
            return Err(Refusal::Expired);
        }
        if let Some(rate) = record.info.rate {
            let bucket = self.buckets.entry(id).or_insert_with(|| Bucket::full(rate));
            bucket.take(rate, Instant::now()).map_err(Refusal::TooOften)?;
        }
        Ok(Pass { name: record.info.name.clone(), rights: Arc::clone(&record.rights), id })
    }
}

impl Pass {
    /// Returns whether it leads to this name at a peer that is called, or identified, by one of
    /// these texts.
    pub fn leads_to(&self, peer: &[&str], name: &str) -> bool {
        self.rights.iter().any(|right| right.covers(peer, name))
    }

    /// Returns whether it may read what arrived in this inbox of the node itself.
    pub fn reads(&self, inbox: &str) -> bool {
        self.rights.iter().any(|right| right.reads(inbox))
    }

    /// Returns whether it may say that what arrived in this inbox of the node itself is processed.
    pub fn ends(&self, inbox: &str) -> bool {
        self.rights.iter().any(|right| right.ends(inbox))
    }

    /// Returns whether it leads to any name at such a peer.
    pub fn leads_to_some(&self, peer: &[&str]) -> bool {
        self.rights.iter().any(|right| right.is_of(peer))
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("known", &self.state().known.len()).finish_non_exhaustive()
    }
}

/// Seconds since the Unix epoch; 0 for a clock before it.
fn now() -> u64 {
    seconds(SystemTime::now())
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests;
