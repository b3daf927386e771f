//! The page of `estafette node`.

use std::path::PathBuf;

use clap::Args;

/// Options of a node's page: its address, and who may look.
#[derive(Debug, Args)]
pub(crate) struct Paging {
    /// Serve a page that shows what this node does, with metrics and a JSON API, at host:port,
    /// where port 0 is any free one; it changes nothing. Others than this machine need
    /// --http-token-file
    #[arg(long, value_name = "ADDR", env = "ESTAFETTE_HTTP", hide_env = true)]
    pub(crate) http: Option<String>,
    /// A file with a token that whoever looks has to have, as a bearer token or as the password
    /// that a browser asks for; nobody but its owner may be able to read it
    #[arg(
        long,
        value_name = "FILE",
        requires = "http",
        env = "ESTAFETTE_HTTP_TOKEN_FILE",
        hide_env = true
    )]
    pub(crate) http_token_file: Option<PathBuf>,
    /// A name by which the page may be asked for, besides localhost and IP addresses: that of a
    /// proxy in front of it; may be repeated
    #[arg(
        long,
        value_name = "NAME",
        value_delimiter = ',',
        requires = "http",
        env = "ESTAFETTE_HTTP_HOST",
        hide_env = true
    )]
    pub(crate) http_host: Vec<String>,
}
