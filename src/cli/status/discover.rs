//! The daemons of a fleet, found by one name.
//!
//! Knows names in DNS that stand for many addresses, as those of headless services in Kubernetes do. Does not know what
//! answers there.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::ask::{Failure, TIMEOUT};

/// Where a daemon answers as a rule.
const DEFAULT_PORT: u16 = 9909;

/// A name that stands for daemons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    host: String,
    port: u16,
}

/// Reads `dns:NAME` or `dns:NAME:PORT`.
///
/// # Errors
/// What to write instead.
pub(super) fn parse(text: &str) -> Result<Name, String> {
    let wrong = || format!("{text:?} is not of the form dns:NAME or dns:NAME:PORT");
    let name = text.strip_prefix("dns:").ok_or_else(wrong)?;
    let (host, port) = match name.split_once(':') {
        Some((host, port)) => (host, port.parse().map_err(|_| wrong())?),
        None => (name, DEFAULT_PORT),
    };
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    match !host.is_empty() && host.bytes().all(allowed) {
        true => Ok(Name { host: host.to_owned(), port }),
        false => Err(wrong()),
    }
}

/// Where the daemons are that these names stand for now, each once.
///
/// # Errors
/// When a name stands for none, or nobody says in time.
pub(super) async fn addresses(names: &[Name]) -> Result<Vec<String>, Failure> {
    let mut found: BTreeSet<SocketAddr> = BTreeSet::new();
    for Name { host, port } in names {
        let failed = |why: String| Failure::Name { name: host.clone(), why };
        let looked = tokio::time::timeout(TIMEOUT, tokio::net::lookup_host((host.as_str(), *port))).await;
        let addresses = looked
            .map_err(|_| failed("no name server answered in time".to_owned()))?
            .map_err(|why| failed(why.to_string()))?;
        let before = found.len();
        found.extend(addresses);
        if found.is_empty() && before == 0 {
            return Err(failed("it has no address".to_owned()));
        }
    }
    Ok(found.iter().map(SocketAddr::to_string).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_a_port_or_the_usual_one() {
        let name = |host: &str, port| Ok(Name { host: host.to_owned(), port });
        assert_eq!(parse("dns:standpipe.logging.svc"), name("standpipe.logging.svc", 9909));
        assert_eq!(parse("dns:standpipe:80"), name("standpipe", 80));
        for text in ["standpipe", "dns:", "dns::80", "dns:a:b", "dns:a b", "dns:http://a", "dns:a:99999"] {
            assert!(parse(text).expect_err(text).contains("dns:NAME"), "{text}");
        }
    }

    #[tokio::test]
    async fn each_address_of_a_name_is_asked_once() {
        let names = [parse("dns:localhost:1").expect("a name"), parse("dns:localhost:1").expect("a name")];
        let found = addresses(&names).await.expect("every machine has it");
        let distinct: BTreeSet<_> = found.iter().collect();
        assert_eq!(distinct.len(), found.len());
        assert!(found.iter().all(|address| address.ends_with(":1")), "{found:?}");
    }
}
