//! Where the daemons are that are to be asked.
//!
//! Knows what the command line and the configuration say of them. Does not ask.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use crate::config::Overrides;

use super::super::{CONFIGURATION, DEFAULT_FILE, USAGE, configure, named, read};
use super::ask::{Failure, address};

/// Where a daemon answers of which nothing else is said.
pub(super) const DEFAULT_ADDRESS: &str = "127.0.0.1:9909";

/// Host and port of each daemon that is to be asked; the exit code when there is none.
pub(in crate::cli) fn addresses(config: Option<&PathBuf>, urls: &[String]) -> Result<Vec<String>, u8> {
    let wrong = |failure: Failure| {
        complain!("{failure}");
        USAGE
    };
    if !urls.is_empty() {
        return urls.iter().map(|url| address(url)).collect::<Result<_, _>>().map_err(wrong);
    }
    let named = named(config);
    let is_there = || read(&PathBuf::from(DEFAULT_FILE)).is_ok();
    if named.is_none() && !is_there() {
        return Ok(vec![DEFAULT_ADDRESS.to_owned()]);
    }
    match configure(named.as_ref(), &Overrides::default())?.health.listen {
        Some(listen) => Ok(vec![reachable(listen).to_string()]),
        None => {
            complain!("the configuration has `health.listen = \"off\"`: no daemon of it can be asked");
            Err(CONFIGURATION)
        }
    }
}

/// Where what listens on `listen` is asked from this machine.
pub(super) fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}
