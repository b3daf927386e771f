//! `--http`: the page of a node.

use estafette::{Node, PeerId};
use estafette_page::{Page, ServeError, Serving, Token};

use crate::arguments::Paging;
use crate::error::CommandError;
use crate::event::Event;
use crate::output::Output;

/// Serves the page, if one is wanted, and says where. The node is ready when it is linked with
/// those that it is to be linked with.
pub(crate) async fn serve(
    node: &Node,
    paging: Option<&Paging>,
    linked: &[PeerId],
    output: &Output,
) -> Result<Option<Serving>, CommandError> {
    let Some((paging, address)) = paging.and_then(|paging| Some((paging, paging.http.as_ref()?)))
    else {
        return Ok(None);
    };
    let mut page = Page::of(node);
    if let Some(token) = token(paging)? {
        page = page.token(token);
    }
    page = paging.http_host.iter().fold(page, Page::host);
    page = linked.iter().fold(page, |page, peer| page.needs(*peer));
    let serving = page.serve(address).await.map_err(|error| refused(&error))?;
    let url = format!("http://{}/", serving.address());
    output.event(&Event::Page { url: &url });
    output.remark(&format!("What it does is shown at {url}"));
    Ok(Some(serving))
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

/// The token that is wanted of whoever looks.
fn token(paging: &Paging) -> Result<Option<Token>, CommandError> {
    let token = paging.http_token_file.as_deref().map(Token::from_file).transpose();
    token.map_err(|error| CommandError::usage(error, "name a file that holds one line, the token"))
}

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
        ServeError::Listen { .. } => {
            CommandError::io(error, "say another address with --http: host:port, 127.0.0.1:0 say")
        }
        _ => CommandError::io(error, "free some memory and threads"),
    }
}
