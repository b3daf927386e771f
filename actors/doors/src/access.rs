//! Those who come in by any door: what a token leads to, of what the node itself may reach.
//!
//! Invariant: a door adds nothing to what a token leads to. The node's trust says which peers there
//! are, and the peers say what this node may send to: what both forbid stays forbidden.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::http::Extensions;
#[cfg(any(feature = "http", feature = "grpc"))]
use axum::http::HeaderMap;
use estafette::{Node, PeerId, RemoteError, RemoteErrorKind};

use crate::pages::Origin;
#[cfg(any(feature = "http", feature = "grpc"))]
use crate::pages::{Page, Stranger};
use crate::tokens::{Pass, Refusal, Right, Tokens};

/// A node, and who may reach others through it. Cloning it is cheap.
#[derive(Clone, Debug)]
pub struct Access {
    pub(crate) node: Node,
    pub(crate) tokens: Tokens,
    /// The names of those that are let in; all, if there is none.
    only: Option<Arc<BTreeSet<String>>>,
    /// The name of the door.
    name: Option<Arc<str>>,
    /// The places that they are led to at most; anywhere, if there is none.
    to: Option<Arc<[Right]>>,
    /// The origins of the pages that may ask.
    origins: Arc<BTreeSet<Origin>>,
}

/// An actor, or an inbox, of another node that somebody may speak to.
#[derive(Clone, Debug)]
pub struct Reached {
    /// Its node.
    pub peer: PeerId,
    /// The name of the node here.
    pub peer_name: String,
    /// Its name there.
    pub name: Arc<str>,
}

impl Access {
    /// The access of whoever has one of these tokens, through this node.
    pub fn of(node: &Node, tokens: &Tokens) -> Self {
        let (only, name, to, origins) = Default::default();
        Self { node: node.clone(), tokens: tokens.clone(), only, name, to, origins }
    }

    /// By a door of this name, which the node's snapshot shows.
    #[must_use]
    pub fn named(self, name: &str) -> Self {
        Self { name: Some(name.into()), ..self }
    }

    pub(crate) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Lets in the tokens of these names alone.
    #[must_use]
    pub fn of_tokens(self, names: impl IntoIterator<Item = String>) -> Self {
        Self { only: Some(Arc::new(names.into_iter().collect())), ..self }
    }

    /// Leads nobody anywhere else, whatever a token leads to.
    #[must_use]
    pub fn to(self, rights: impl IntoIterator<Item = Right>) -> Self {
        Self { to: Some(rights.into_iter().collect()), ..self }
    }

    /// Lets pages of these origins ask, with a token as everybody; no page is let in that is of
    /// another one.
    #[must_use]
    pub fn pages_of(self, origins: impl IntoIterator<Item = Origin>) -> Self {
        Self { origins: Arc::new(origins.into_iter().collect()), ..self }
    }

    /// The page that asks with these headers, if one does that may.
    #[cfg(any(feature = "http", feature = "grpc"))]
    pub(crate) fn page(&self, headers: &HeaderMap) -> Result<Option<Page>, Stranger> {
        Page::of(headers, |origin| self.origins.iter().any(|known| known.is(origin)))
    }

    /// Lets somebody in by the value of an `Authorization` header, `Bearer` and the token; who
    /// shows none, by the certificate that the connection had.
    pub(crate) fn admit(
        &self,
        authorization: Option<&[u8]>,
        connection: &Extensions,
    ) -> Result<Pass, Refusal> {
        #[cfg(feature = "tls")]
        if let (None, Some(names)) = (authorization, connection.get::<crate::tls::ClientNames>()) {
            let pass = self.tokens.admit_named(&names.0)?;
            return self.lets_in(pass).map_err(Refusal::by_name);
        }
        #[cfg(not(feature = "tls"))]
        let _ = connection;
        self.lets_in(self.tokens.admit_bearer(authorization)?)
    }

    /// Lets in who has a pass that may come in here.
    fn lets_in(&self, pass: Pass) -> Result<Pass, Refusal> {
        match &self.only {
            Some(only) if !only.contains(&*pass.name) => Err(Refusal::Unknown),
            _ => Ok(pass),
        }
    }

    /// Returns whether a pass leads to this name at a peer that is called, or identified, by one of
    /// these texts, through here.
    pub(crate) fn leads_to(&self, pass: &Pass, peer: &[&str], name: &str) -> bool {
        let is_here =
            self.to.as_ref().is_none_or(|to| to.iter().any(|right| right.covers(peer, name)));
        is_here && pass.leads_to(peer, name)
    }

    /// Returns whether a pass may read what arrived in this inbox of the node, through here.
    pub(crate) fn reads(&self, pass: &Pass, inbox: &str) -> bool {
        let is_here = self.to.as_ref().is_none_or(|to| to.iter().any(|right| right.reads(inbox)));
        is_here && pass.reads(inbox)
    }

    /// Returns whether a pass may say that what arrived in this inbox of the node is processed,
    /// through here.
    pub(crate) fn ends(&self, pass: &Pass, inbox: &str) -> bool {
        let is_here = self.to.as_ref().is_none_or(|to| to.iter().any(|right| right.ends(inbox)));
        is_here && pass.ends(inbox)
    }

    /// The node.
    pub const fn node(&self) -> &Node {
        &self.node
    }

    /// The tokens.
    pub const fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// Returns the peer of this name or id, for who may speak to somebody there.
    #[cfg(feature = "grpc")]
    pub(crate) fn reach_peer(&self, pass: &Pass, peer: &str) -> Result<PeerId, RemoteError> {
        let is_led = |names: &[&str]| {
            let is_here = |right: &Right| right.is_of(names);
            self.to.as_ref().is_none_or(|to| to.iter().any(is_here)) && pass.leads_to_some(names)
        };
        match self.node.trust().find(peer) {
            Ok((id, trusted)) if is_led(&[&trusted.name, &id.to_string()]) => Ok(id),
            Err(_) if is_led(&[peer]) => {
                let text = format!("this node knows no peer {peer:?}");
                Err(RemoteError::new(RemoteErrorKind::UnknownPeer, text))
            }
            _ => {
                let text = format!("the token {:?} does not lead to {peer}", pass.name);
                Err(RemoteError::new(RemoteErrorKind::Forbidden, text))
            }
        }
    }

    /// Returns what `peer` and `name` mean, for who has this pass.
    ///
    /// # Errors
    /// [`RemoteErrorKind::Forbidden`], if the pass does not lead there; the same where there is no
    /// such peer, so that nobody learns who is known here. [`RemoteErrorKind::UnknownPeer`] for who
    /// may speak to a peer of that name.
    pub fn reach(&self, pass: &Pass, peer: &str, name: &str) -> Result<Reached, RemoteError> {
        // A slash would end the peer's name where the node reads it.
        let found = if peer.contains('/') { None } else { Some(self.node.trust().find(peer)) };
        let forbidden = || {
            let text = format!("the token {:?} does not lead to {peer}/{name}", pass.name);
            RemoteError::new(RemoteErrorKind::Forbidden, text)
        };
        match found {
            Some(Ok((id, trusted))) => {
                // Few are meant by their ids, which are long to write.
                let is_led = self.leads_to(pass, &[&trusted.name], name)
                    || self.leads_to(pass, &[&trusted.name, &id.to_string()], name);
                if !is_led {
                    return Err(forbidden());
                }
                Ok(Reached { peer: id, peer_name: trusted.name, name: name.into() })
            }
            Some(Err(error)) if self.leads_to(pass, &[peer], name) => {
                // Which peers there are is no matter of a client's.
                let text = match error {
                    estafette::node::NoSuchPeer::Name { .. } => {
                        format!("this node knows no peer {peer:?}")
                    }
                    other => other.to_string(),
                };
                Err(RemoteError::new(RemoteErrorKind::UnknownPeer, text))
            }
            _ => Err(forbidden()),
        }
    }
}

impl Reached {
    /// The text by which the node finds it, whatever its peer is called meanwhile.
    pub fn address(&self) -> String {
        format!("{}/{}", self.peer, self.name)
    }
}
