//! Who may knock: the names by which the service may be asked, and pages that may not ask at all.
//!
//! A browser on this machine sends what any page tells it to. It says of each request whose page sent it (`Origin`), and by
//! which name (`Host`): a page can have its own name lead to this machine, but cannot say another. Knows heads only.
//! Called by `connections` for each request, before anything of it is looked at.

use std::net::{IpAddr, SocketAddr};

use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderValue, Request};

/// Which names are ours.
#[derive(Clone, Debug)]
pub(super) struct Doors {
    /// Further names, in small letters; `None` answers to any: others than this machine are meant to ask.
    names: Option<Vec<String>>,
}

impl Doors {
    /// The doors of a service that listens on `address` and has these names, too.
    pub(super) fn new(address: SocketAddr, names: &[String]) -> Self {
        let own = || names.iter().map(|name| name.to_ascii_lowercase()).collect();
        Self { names: address.ip().is_loopback().then(own) }
    }

    /// Why a request is not looked at; `None` when it is.
    pub(super) fn refusal<B>(&self, request: &Request<B>) -> Option<&'static str> {
        let headers = request.headers();
        let in_line = request.uri().authority().map(|authority| authority.as_str());
        let mut asked = headers.get_all(HOST).iter().map(text).chain(in_line.map(Some));
        if !asked.all(|host| host.is_some_and(|host| self.is_own(host))) {
            return Some(
                "Asked by a name that is not this service's: use an address, localhost, or a name of --hosts.\n",
            );
        }
        let mut pages = headers.get_all(ORIGIN).iter();
        if !pages.all(|page| is_of(page, headers)) {
            return Some("Asked by a page of another origin.\n");
        }
        None
    }

    fn is_own(&self, host: &str) -> bool {
        let Some(names) = &self.names else { return true };
        let Some(name) = name_of(host) else { return false };
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        name.parse::<IpAddr>().is_ok() || name == "localhost" || names.contains(&name)
    }
}

fn text(value: &HeaderValue) -> Option<&str> {
    value.to_str().ok()
}

/// Whether `page` was served by what is asked now.
fn is_of(page: &HeaderValue, headers: &HeaderMap) -> bool {
    let place = text(page).and_then(|page| page.strip_prefix("http://"));
    place.is_some() && place == headers.get(HOST).and_then(text)
}

/// The name in `NAME`, `NAME:PORT`, `[ADDRESS]` and `[ADDRESS]:PORT`; `None` for anything else.
fn name_of(host: &str) -> Option<&str> {
    let is_number = |port: &str| port.bytes().all(|digit| digit.is_ascii_digit());
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            (address, if port.is_empty() { port } else { port.strip_prefix(':')? })
        }
        None => host.split_once(':').unwrap_or((host, "")),
    };
    is_number(port).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn doors(listen: &str, names: &[&str]) -> Doors {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        Doors::new(listen.parse().unwrap(), &names)
    }

    fn is_refused(doors: &Doors, heads: &[(&str, &str)]) -> bool {
        let mut request = Request::post("/");
        for (name, value) in heads {
            request = request.header(*name, *value);
        }
        doors.refusal(&request.body(()).unwrap()).is_some()
    }

    #[test]
    fn on_this_machine_alone_only_own_names_are_answered() {
        let doors = doors("127.0.0.1:4573", &["Firehose.Test"]);
        let own =
            ["127.0.0.1:4573", "[::1]:4573", "[::1]", "localhost", "LOCALHOST.:1", "firehose.test:4573"];
        let foreign = [
            "",
            "evil.example",
            "evil.example:4573",
            "localhost.evil.example",
            "evil.example@127.0.0.1",
            "127.0.0.1:4573.evil.example",
            "127.0.0.1:evil",
            "[::1]evil",
            "[::1",
            "[evil.example]",
        ];
        for host in own {
            assert!(!is_refused(&doors, &[("host", host)]), "{host}");
        }
        for host in foreign {
            assert!(is_refused(&doors, &[("host", host)]), "{host}");
            assert!(is_refused(&doors, &[("host", "localhost"), ("host", host)]), "{host}");
            assert!(!is_refused(&self::doors("0.0.0.0:4573", &[]), &[("host", host)]), "{host}");
        }
        assert!(!is_refused(&doors, &[]), "HTTP/1.0 has no name");
    }

    #[test]
    fn pages_of_others_are_refused_wherever_it_listens() {
        for listen in ["127.0.0.1:4573", "0.0.0.0:4573"] {
            let doors = doors(listen, &[]);
            let host = ("host", "localhost:4573");
            assert!(!is_refused(&doors, &[host, ("origin", "http://localhost:4573")]));
            for origin in [
                "null",
                "http://evil.example",
                "http://localhost",
                "http://localhost:3000",
                "https://localhost:4573",
                "localhost:4573",
                "http://localhost:4573.evil.example",
                "",
            ] {
                assert!(is_refused(&doors, &[host, ("origin", origin)]), "{origin} at {listen}");
            }
            assert!(is_refused(&doors, &[("origin", "http://localhost:4573")]), "of whom, is not said");
        }
    }
}
