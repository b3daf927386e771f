//! `--http`: the page of a node, and its door for HTTP at the same address.

use std::sync::Arc;

use estafette::{Node, PeerId};
use estafette_page::{Page, ServeError, Token, View};

pub(crate) use self::served::Serving;
use crate::arguments::Paging;
use crate::error::{CommandError, ErrorKind};
use crate::event::Event;
use crate::output::Output;

/// Serves the page, if one is wanted, and says where. The node is ready when it is linked with
/// those that it is to be linked with. Whoever has a token reaches actors of other nodes there.
pub(crate) async fn serve(
    node: &Node,
    paging: Option<&Paging>,
    linked: &[PeerId],
    behind: Behind<'_>,
    output: &Output,
) -> Result<Option<Serving>, CommandError> {
    let Some((paging, address)) = paging.and_then(|paging| Some((paging, paging.http.as_ref()?)))
    else {
        return Ok(None);
    };
    look(Some(paging))?;
    let mut page = Page::of(node);
    if let Some(token) = token(paging)? {
        page = page.token(token);
    }
    page = paging.http_host.iter().fold(page, Page::host);
    page = linked.iter().fold(page, |page, peer| page.needs(*peer));
    page = behind.view.iter().cloned().fold(page, Page::view);
    let scheme = behind.scheme();
    let serving = served::serve(node, page, behind, address).await?;
    let url = format!("{scheme}://{}/", serving.address());
    output.event(&Event::Page { url: &url });
    output.remark(&format!("What it does is shown at {url}"));
    Ok(Some(serving))
}

/// The parts behind the address of a page, besides that.
pub(crate) struct Behind<'a> {
    /// The tokens of those who come in.
    #[cfg_attr(not(feature = "doors"), expect(dead_code, reason = "without doors there are none"))]
    pub(crate) tokens: Tokens,
    /// The view of the topology that the page shows.
    pub(crate) view: Option<Arc<dyn View>>,
    #[cfg(feature = "doors")]
    pub(crate) secured: Option<&'a crate::arguments::Secured>,
    /// The door for gRPC, if it has the same address.
    #[cfg(feature = "grpc")]
    pub(crate) calls: Option<estafette_doors::Router>,
    #[cfg(not(feature = "doors"))]
    pub(crate) of: std::marker::PhantomData<&'a ()>,
}

impl Behind<'_> {
    /// The door for HTTP alone.
    pub(crate) fn door(tokens: Tokens) -> Self {
        Self {
            tokens,
            view: None,
            #[cfg(feature = "doors")]
            secured: None,
            #[cfg(feature = "grpc")]
            calls: None,
            #[cfg(not(feature = "doors"))]
            of: std::marker::PhantomData,
        }
    }

    fn scheme(&self) -> &'static str {
        #[cfg(feature = "doors")]
        if self.secured.is_some_and(|secured| secured.tls_cert.is_some()) {
            return "https";
        }
        "http"
    }
}

/// Without doors there are none.
#[cfg(not(feature = "doors"))]
pub(crate) type Tokens = ();
#[cfg(feature = "doors")]
pub(crate) use estafette_doors::Tokens;

/// The tokens of its door, which belong to a key.
#[cfg(not(feature = "doors"))]
#[expect(clippy::unnecessary_wraps, reason = "with doors there is something to fail")]
pub(crate) fn tokens(_: std::path::PathBuf) -> Result<Tokens, CommandError> {
    Ok(())
}
#[cfg(feature = "doors")]
pub(crate) use crate::token::open_of as tokens;

#[cfg(not(feature = "doors"))]
mod served {
    use super::{Behind, CommandError, Node, Page, refused};

    pub(crate) use estafette_page::Serving;

    pub(super) async fn serve(
        _: &Node,
        page: Page,
        _: Behind<'_>,
        address: &str,
    ) -> Result<Serving, CommandError> {
        page.serve(address).await.map_err(|error| refused(&error))
    }
}

#[cfg(feature = "doors")]
mod served {
    use super::{Behind, CommandError, LISTEN_HINT, Node, Page};

    pub(crate) use estafette_doors::Serving;

    pub(super) async fn serve(
        node: &Node,
        page: Page,
        behind: Behind<'_>,
        address: &str,
    ) -> Result<Serving, CommandError> {
        // Each looks after its own paths: who may see the page, and who may come in.
        let access = crate::secured::access(node, &behind.tokens, behind.secured);
        let router = page.router().merge(estafette_doors::http(&access));
        #[cfg(feature = "grpc")]
        let router = match behind.calls {
            Some(calls) => estafette_doors::both(router, calls),
            None => router,
        };
        crate::secured::served(router, address, behind.secured, LISTEN_HINT).await
    }
}

/// Looks for faults, and serves nothing.
pub(crate) fn look(paging: Option<&Paging>) -> Result<(), CommandError> {
    let Some((paging, address)) = paging.and_then(|paging| Some((paging, paging.http.as_ref()?)))
    else {
        return Ok(());
    };
    let token = token(paging)?;
    paging.http_host.iter().try_for_each(|host| Page::check_host(host)).map_err(|e| refused(&e))?;
    Page::check(address, token.is_some()).map_err(|error| refused(&error))
}

/// Looks whether the file of the token can be read. That is no fault of who names it: it may be
/// mended while that waits.
pub(crate) fn look_at_token(paging: Option<&Paging>) -> Result<(), CommandError> {
    let read = paging.map(token).transpose().map(drop);
    read.map_err(|error| CommandError { kind: ErrorKind::Io, ..error })
}

/// The token that is wanted of whoever looks.
fn token(paging: &Paging) -> Result<Option<Token>, CommandError> {
    let token = paging.http_token_file.as_deref().map(Token::from_file).transpose();
    token.map_err(|error| CommandError::usage(error, "name a file that holds one line, the token"))
}

const LISTEN_HINT: &str = "say another address with --http: host:port, 127.0.0.1:0 say";
const THREAD_HINT: &str = "free some memory and threads";

fn refused(error: &ServeError) -> CommandError {
    match error {
        ServeError::NeedsToken { .. } => CommandError::usage(
            error,
            "say --http-token-file FILE, or --http 127.0.0.1:7480 and come through a tunnel: ssh \
             -L 7480:127.0.0.1:7480",
        ),
        ServeError::Host { instead, .. } => {
            CommandError::usage(error, format!("say --http-host {instead}"))
        }
        ServeError::Listen { .. } => CommandError::io(error, LISTEN_HINT),
        _ => CommandError::io(error, THREAD_HINT),
    }
}
