//! By which names the endpoint may be asked.
//!
//! Knows addresses, `localhost` and the names that are configured. A page of the web can have its own name lead to 127.0.0.1
//! and then read, as itself, whatever answers there; what it cannot do is to say another name than its own.

use std::net::IpAddr;

use hyper::Request;
use hyper::header::HOST;

/// By which names may be asked.
#[derive(Clone, Debug)]
pub(super) enum Hosts {
    /// By any: others than this machine are meant to ask.
    All,
    /// By addresses, as `localhost`, and by these names in small letters.
    Own(Vec<String>),
}

impl Hosts {
    /// Whether a request names the endpoint as it may be named. No browser leaves the name out.
    pub(super) fn allow<B>(&self, request: &Request<B>) -> bool {
        let Self::Own(names) = self else { return true };
        let in_line = request.uri().authority().map(|authority| authority.as_str().as_bytes());
        let in_head = request.headers().get_all(HOST).iter().map(|value| value.as_bytes());
        in_line.into_iter().chain(in_head).all(|host| is_own(host, names))
    }
}

/// Whether `host`, as a head says it, is an address or one of our names.
fn is_own(host: &[u8], names: &[String]) -> bool {
    let Ok(host) = std::str::from_utf8(host) else { return false };
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) if is_port(port) => address,
        Some(_) => return false,
        None => match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => name,
            Some(_) => return false,
            None => host,
        },
    };
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    name.parse::<IpAddr>().is_ok() || name == "localhost" || names.contains(&name)
}

/// Whether this is what may follow an address in brackets.
fn is_port(text: &str) -> bool {
    text.is_empty()
        || text.strip_prefix(':').is_some_and(|port| port.bytes().all(|digit| digit.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_own_names_are_answered_and_no_name_of_a_stranger() {
        let rows = [
            ("127.0.0.1:9909", true),
            ("127.0.0.1", true),
            ("10.1.2.3:80", true),
            ("[::1]:9909", true),
            ("[::1]", true),
            ("localhost:9909", true),
            ("LocalHost.", true),
            ("metrics.example:443", true),
            ("Metrics.Example.", true),
            ("", false),
            ("evil.example:9909", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("evil.example@127.0.0.1", false),
            ("127.0.0.1:9909:evil", false),
            ("[::1]evil.example", false),
            ("[evil.example]:9909", false),
            ("2130706433", false),
            ("127.1", false),
            ("metrics.example.evil", false),
        ];
        let hosts = Hosts::Own(vec!["metrics.example".to_owned()]);
        for (host, expected) in rows {
            let request = Request::get("/status").header(HOST, host).body(()).expect("a request");
            assert_eq!(hosts.allow(&request), expected, "{host}");
            assert!(Hosts::All.allow(&request), "{host}");
        }
        let two = Request::get("/").header(HOST, "localhost").header(HOST, "evil.example").body(());
        assert!(!hosts.allow(&two.expect("a request")), "a second name counts, too");
        let absolute = Request::get("http://evil.example/").header(HOST, "localhost").body(());
        assert!(!hosts.allow(&absolute.expect("a request")), "and the one in the line of the request");
        let none = Request::get("/").body(()).expect("a request");
        assert!(hosts.allow(&none), "a script that speaks HTTP/1.0 names nobody");
    }
}
