//! A transport: nodes of one machine that find each other by names, such as `name:paris`, instead
//! of ports.
//!
//! Who listens takes any free port of this machine, and writes it into a file of that name in the
//! folder of temporary files. Whoever writes another port there is asked for the key of the node,
//! as everybody is, and does not have it.

use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use estafette::node::{Connection, Listener, Streamed, Transport};
use futures_util::future::BoxFuture;
use tokio::net::{TcpListener, TcpStream};

/// The transport for names.
#[derive(Clone, Copy, Debug, Default)]
pub struct Named;

impl Transport for Named {
    fn check(&self, name: &str) -> Result<(), String> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        match !name.is_empty() && name.len() <= 64 && name.chars().all(is_plain) {
            true => Ok(()),
            false => Err(format!(
                "name:{} is no name: letters, digits, - and _ are wanted, 64 at most",
                name.escape_debug()
            )),
        }
    }

    fn dial<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Connection>>> {
        Box::pin(async move {
            let port = tokio::fs::read_to_string(self.file(name)?).await?;
            let port: u16 = port.trim().parse().map_err(io::Error::other)?;
            let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
            connection(stream, format!("name:{name}"))
        })
    }

    fn listen<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            let file = self.file(name)?;
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            // As a whole: who dials at this moment reads the old one or the new one.
            let whole = file.with_extension(format!("{}.part", std::process::id()));
            tokio::fs::write(&whole, listener.local_addr()?.port().to_string()).await?;
            tokio::fs::rename(&whole, &file).await?;
            Ok(Box::new(Acceptor { listener, name: name.to_owned() }) as Box<dyn Listener>)
        })
    }
}

impl Named {
    fn file(self, name: &str) -> io::Result<PathBuf> {
        self.check(name).map_err(|why| io::Error::new(io::ErrorKind::InvalidInput, why))?;
        Ok(std::env::temp_dir().join(format!("estafette-{name}.port")))
    }
}

#[derive(Debug)]
struct Acceptor {
    listener: TcpListener,
    name: String,
}

impl Listener for Acceptor {
    fn address(&self) -> String {
        self.name.clone()
    }

    fn accept<'a>(&'a mut self) -> BoxFuture<'a, io::Result<Box<dyn Connection>>> {
        Box::pin(async move {
            let (stream, from) = self.listener.accept().await?;
            connection(stream, from.to_string())
        })
    }
}

fn connection(stream: TcpStream, remote: String) -> io::Result<Box<dyn Connection>> {
    stream.set_nodelay(true)?;
    let moved = |stream: TcpStream| TcpStream::from_std(stream.into_std()?);
    Ok(Box::new(Streamed::new(stream, remote).rebinding(moved)))
}
