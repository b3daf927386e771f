//! The transports of a node, each for the addresses of its scheme.
//!
//! Invariant: no scheme takes a host's name away. `unix:7400` is port 7400 of a machine that is
//! called so; a scheme has something else than a port behind it.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::{Connection, Listener, Transport};

/// Transports by scheme, and one for addresses that name none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Schemes {
    plain: Option<Arc<dyn Transport>>,
    named: BTreeMap<String, Arc<dyn Transport>>,
}

impl Schemes {
    /// The transport for addresses without a scheme.
    pub(crate) fn plain(&mut self, transport: Arc<dyn Transport>) {
        self.plain = Some(transport);
    }

    /// The transport for addresses that begin with `scheme:`.
    pub(crate) fn named(&mut self, scheme: String, transport: Arc<dyn Transport>) {
        self.named.insert(scheme, transport);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.plain.is_none() && self.named.is_empty()
    }

    /// The transport for an address, its scheme with the colon (empty where it names none), and the
    /// rest.
    fn of<'a>(&'a self, address: &'a str) -> io::Result<(&'a dyn Transport, &'a str, &'a str)> {
        if let Some((scheme, rest)) = address.split_once(':')
            && rest.parse::<u16>().is_err()
            && let Some(transport) = self.named.get(scheme)
        {
            return Ok((&**transport, &address[..=scheme.len()], rest));
        }
        let plain = self.plain.as_deref().ok_or_else(|| {
            let text = format!("no transport is registered for {address:?}{}", self.known());
            io::Error::new(io::ErrorKind::InvalidInput, text)
        })?;
        Ok((plain, "", address))
    }

    /// The schemes.
    pub(crate) fn schemes(&self) -> impl Iterator<Item = &str> {
        self.named.keys().map(String::as_str)
    }

    /// The schemes, as the end of a sentence.
    fn known(&self) -> String {
        let schemes: Vec<_> = self.named.keys().map(|scheme| format!("{scheme}:")).collect();
        match schemes.is_empty() {
            true => String::new(),
            false => format!("; schemes known here are {}", schemes.join(", ")),
        }
    }
}

impl Transport for Schemes {
    fn resolve<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Vec<String>>> {
        Box::pin(async move {
            let (transport, scheme, rest) = self.of(address)?;
            let found = transport.resolve(rest).await?;
            Ok(found.into_iter().map(|found| format!("{scheme}{found}")).collect())
        })
    }

    fn check(&self, address: &str) -> Result<(), String> {
        let (transport, scheme, rest) = self.of(address).map_err(|error| error.to_string())?;
        transport.check(rest).map_err(|why| match scheme {
            "" => format!("{why}{}", self.known()),
            _ => why,
        })
    }

    fn dial<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Connection>>> {
        Box::pin(async move {
            let (transport, _, rest) = self.of(address)?;
            transport.dial(rest).await
        })
    }

    fn listen<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            let (transport, scheme, rest) = self.of(address)?;
            let (scheme, listener) = (scheme.to_owned(), transport.listen(rest).await?);
            Ok(Box::new(Named { scheme, listener }) as Box<dyn Listener>)
        })
    }
}

/// A listener that says its scheme with its address.
#[derive(Debug)]
struct Named {
    scheme: String,
    listener: Box<dyn Listener>,
}

impl Listener for Named {
    fn address(&self) -> String {
        format!("{}{}", self.scheme, self.listener.address())
    }

    fn accept<'a>(&'a mut self) -> BoxFuture<'a, io::Result<Box<dyn Connection>>> {
        self.listener.accept()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Resolves an address to itself, in angle brackets, and finds those good that hold no `!`.
    #[derive(Debug)]
    struct Brackets(&'static str);

    impl Transport for Brackets {
        fn resolve<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Vec<String>>> {
            Box::pin(async move { Ok(vec![format!("{}<{address}>", self.0)]) })
        }

        fn check(&self, address: &str) -> Result<(), String> {
            if address.contains('!') { Err(format!("{address} is bad")) } else { Ok(()) }
        }

        fn dial<'a>(&'a self, _: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Connection>>> {
            Box::pin(async { Err(io::ErrorKind::Unsupported.into()) })
        }

        fn listen<'a>(&'a self, _: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
            Box::pin(async { Err(io::ErrorKind::Unsupported.into()) })
        }
    }

    #[tokio::test]
    async fn an_address_goes_to_the_transport_of_its_scheme_and_comes_back_with_it() {
        let mut schemes = Schemes::default();
        schemes.plain(Arc::new(Brackets("plain")));
        schemes.named("unix".into(), Arc::new(Brackets("unix")));
        for (given, found) in [
            ("unix:/run/a", "unix:unix</run/a>"),
            ("unix:a:b", "unix:unix<a:b>"),
            ("unix:7400", "plain<unix:7400>"),
            ("paris:7400", "plain<paris:7400>"),
            ("[2001:db8::7]:1", "plain<[2001:db8::7]:1>"),
            ("quic:x", "plain<quic:x>"),
            ("", "plain<>"),
        ] {
            assert_eq!(schemes.resolve(given).await.unwrap(), [found], "{given}");
        }
    }

    #[tokio::test]
    async fn what_is_wrong_with_an_address_says_its_transport_and_which_schemes_there_are() {
        let mut schemes = Schemes::default();
        schemes.named("unix".into(), Arc::new(Brackets("unix")));
        let none = schemes.dial("paris:7400").await.unwrap_err();
        assert_eq!(
            none.to_string(),
            "no transport is registered for \"paris:7400\"; schemes known here are unix:"
        );
        assert_eq!(schemes.check("paris:7400"), Err(none.to_string()));
        schemes.plain(Arc::new(Brackets("plain")));
        assert_eq!(schemes.check("unix:/a"), Ok(()));
        assert_eq!(schemes.check("unix:!"), Err("! is bad".into()));
        assert_eq!(
            schemes.check("quic:!"),
            Err("quic:! is bad; schemes known here are unix:".into())
        );
    }
}
