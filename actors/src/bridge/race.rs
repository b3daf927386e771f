//! Several ways to the same place, tried side by side.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};

/// How long an attempt is ahead of the next one (RFC 8305, section 5). One that fails makes way at once.
const AHEAD: Duration = Duration::from_millis(250);
/// How many addresses of one name are tried.
const MOST: usize = 16;

/// The first connection that is made to one of `addresses`; else what each of them said.
pub(super) async fn first_of<T, F>(addresses: Vec<SocketAddr>, connect: impl Fn(SocketAddr) -> F) -> io::Result<T>
where
    F: Future<Output = io::Result<T>>,
{
    let (mut waiting, mut under_way) = (addresses.into_iter().take(MOST), FuturesUnordered::new());
    let mut failures: Vec<(SocketAddr, io::Error)> = Vec::new();
    let attempt = |address| {
        let connecting = connect(address);
        async move { (address, connecting.await) }
    };
    under_way.extend(waiting.next().map(&attempt));
    loop {
        let ahead = tokio::time::sleep(AHEAD);
        tokio::select! {
            ended = under_way.next() => match ended {
                Some((_, Ok(connection))) => return Ok(connection),
                Some((address, Err(error))) => {
                    failures.push((address, error));
                    under_way.extend(waiting.next().map(&attempt));
                }
                None => return Err(all_failed(failures)),
            },
            () = ahead, if waiting.len() > 0 => under_way.extend(waiting.next().map(&attempt)),
        }
    }
}

fn all_failed(mut failures: Vec<(SocketAddr, io::Error)>) -> io::Error {
    if failures.len() == 1 {
        return failures.remove(0).1;
    }
    let kind = failures.first().map_or(io::ErrorKind::NotFound, |(_, error)| error.kind());
    let each: Vec<_> = failures.into_iter().map(|(address, error)| format!("{address}: {error}")).collect();
    io::Error::new(kind, each.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(count: u8) -> Vec<SocketAddr> {
        (1..=count).map(|last| SocketAddr::from(([192, 0, 2, last], 7))).collect()
    }

    #[tokio::test]
    async fn an_address_that_swallows_packets_hides_no_other() {
        let reached = first_of(addresses(3), |address| async move {
            if address.ip().to_string() != "192.0.2.3" {
                std::future::pending::<()>().await;
            }
            Ok(address)
        });
        assert_eq!(reached.await.unwrap(), addresses(3)[2]);
    }

    #[tokio::test]
    async fn what_each_address_said_is_named_when_all_have_failed() {
        let failed = first_of(addresses(3), |_| async { Err::<(), _>(io::ErrorKind::ConnectionRefused.into()) }).await.unwrap_err();
        for address in addresses(3) {
            assert!(failed.to_string().contains(&address.to_string()), "{failed}");
        }
        assert_eq!(failed.kind(), io::ErrorKind::ConnectionRefused);
    }
}
