//! Connections to AWS: the SDK's own HTTP client, with certificates that can be replaced and proxies that metadata never
//! goes through.
//!
//! Knows which hosts are this machine's own (metadata, container agents) and when the file of certificates was replaced.
//! Does not know requests. Called by `firehose` for puts, and here for credentials.
//!
//! *Invariant:* what a metadata service or a container agent is told, tokens among it, reaches no proxy.

#![expect(clippy::disallowed_methods, reason = "how old a look at a file is, and a thread for the look")]

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aws_sdk_firehose::config::RuntimeComponents;
use aws_smithy_http_client::Connector;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use http_body_util::Limited;
use hyper::http::Uri;
use tracing::{info, warn};

use super::environment::Environment;
use super::trust::{Certificates, Trust};

/// How often the file of certificates is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long a look may take before what is known is used.
const LOOK_PATIENCE: Duration = Duration::from_secs(1);

/// The most of an answer that is read, in bytes: the largest that the service documents is some hundred kilobytes. What is
/// longer fails as a broken answer does.
const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;

/// How long a connection is kept that carries nothing. Whatever is on the way may forget it without a word, and the next
/// request on it would have to wait for its time to be over.
const IDLE: Duration = Duration::from_secs(8);

/// Where instance metadata and container agents answer.
const OWN_HOSTS: [&str; 5] =
    ["169.254.169.254", "169.254.170.2", "169.254.170.23", "[fd00:ec2::254]", "[fd00:ec2::23]"];

/// Connections that share certificates, proxies and a pool.
#[derive(Clone)]
pub(in crate::shell) struct Connections(Arc<Inner>);

/// The SDK shows its HTTP client in traces, several times a request: certificates would be megabytes there.
impl fmt::Debug for Connections {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Connections").field("trust", &self.0.trust).finish_non_exhaustive()
    }
}

struct Inner {
    trust: Trust,
    /// Further places of metadata and agents that the environment names, as host and port.
    own: Vec<String>,
    /// Whether proxies that the environment names are used.
    uses_proxies: bool,
    state: Mutex<State>,
}

struct State {
    certificates: Option<Certificates>,
    looked: Option<Instant>,
    /// When the pool was left for another last.
    renewed: Option<Instant>,
    /// By connect and read time-out.
    made: HashMap<(Option<Duration>, Option<Duration>), SharedHttpConnector>,
}

impl Connections {
    pub(super) fn new(trust: Trust, environment: &Environment, of_profile: Option<&str>) -> Self {
        let own = own_places(environment, of_profile);
        let uses_proxies = !excludes_everything(environment);
        let state = State { certificates: None, looked: None, renewed: None, made: HashMap::new() };
        Self(Arc::new(Inner { trust, own, uses_proxies, state: Mutex::new(state) }))
    }

    /// Connections within this machine: past every proxy, and without certificates. Of the same kind as the others, so
    /// that the SDK's client is in the binary once.
    pub(in crate::shell) fn local() -> Self {
        let certificates = Certificates { stamp: None, store: Ok(TrustStore::empty()) };
        let state =
            State { certificates: Some(certificates), looked: None, renewed: None, made: HashMap::new() };
        let trust = Trust::none();
        Self(Arc::new(Inner { trust, own: Vec::new(), uses_proxies: false, state: Mutex::new(state) }))
    }

    /// Looks whether the file of certificates was replaced, at most once a second; if it was, all connections are made
    /// anew.
    ///
    /// # Errors
    /// The file by its path, when it has no certificates.
    pub(super) async fn refresh(&self) -> Result<(), String> {
        let known = {
            let mut state = self.state();
            let is_fresh = state.looked.is_some_and(|at| at.elapsed() < LOOK_EVERY);
            if is_fresh && let Some(known) = &state.certificates {
                return known.store.as_ref().map(|_| ()).map_err(Clone::clone);
            }
            state.looked = Some(Instant::now());
            state.certificates.as_ref().map(|known| (known.stamp, known.store.is_ok()))
        };
        let trust = self.0.trust.clone();
        let look = tokio::task::spawn_blocking(move || {
            let is_known = known.is_some_and(|(stamp, is_ok)| is_ok && stamp == trust.stamp());
            (!is_known).then(|| trust.read())
        });
        // A file system that hangs holds up nothing for longer.
        if let Ok(Ok(Some(read))) = tokio::time::timeout(LOOK_PATIENCE, look).await {
            self.take(read);
        }
        match &self.state().certificates {
            Some(Certificates { store: Err(why), .. }) => Err(why.clone()),
            Some(_) | None => Ok(()),
        }
    }

    /// A request that began then got no answer in time. What has died without a word has seldom died alone: requests from
    /// now on use none of the connections that there are. Those under way keep theirs.
    pub(in crate::shell) fn leave_those_of(&self, began: Instant) {
        let mut state = self.state();
        if state.renewed.is_none_or(|renewed| began > renewed) {
            state.renewed = Some(Instant::now());
            state.made.clear();
        }
    }

    fn take(&self, read: Certificates) {
        let mut state = self.state();
        match (&state.certificates, &read.store) {
            (Some(Certificates { store: Ok(_), .. }), Err(why)) => {
                // Half of a file that is being replaced: what was read before is as good as it was.
                warn!(%why, "the file of certificates was replaced by one that cannot be used; the one before stays in use");
                return;
            }
            (Some(_), Ok(_)) => info!("the file of certificates was replaced: connections are made anew"),
            (Some(_) | None, _) => {}
        }
        state.certificates = Some(read);
        state.made.clear();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // What is in there is complete at any time.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HttpClient for Connections {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let mut state = self.state();
        let key = (settings.connect_timeout(), settings.read_timeout());
        if let Some(made) = state.made.get(&key) {
            return made.clone();
        }
        let store = match &state.certificates {
            Some(Certificates { store: Ok(store), .. }) => Ok(store.clone()),
            Some(Certificates { store: Err(why), .. }) => Err(why.clone()),
            None => Ok(TrustStore::default()),
        };
        let build = |store: TrustStore, proxy: ProxyConfig| {
            let mut builder = Connector::builder().connector_settings(settings.clone()).proxy_config(proxy);
            builder.set_sleep_impl(components.sleep_impl());
            builder.set_pool_idle_timeout(Some(Some(IDLE)));
            let context = TlsContext::builder().with_trust_store(store).build();
            let context = context.expect("a context of a trust store alone is complete");
            let connector =
                builder.tls_provider(Provider::Rustls(CryptoMode::AwsLc)).tls_context(context).build();
            SharedHttpConnector::new(connector)
        };
        let proxies = if self.0.uses_proxies { ProxyConfig::from_env() } else { ProxyConfig::disabled() };
        let made = SharedHttpConnector::new(Fork {
            direct: build(TrustStore::empty(), ProxyConfig::disabled()),
            routed: store.map(|store| build(store, proxies)),
            own: self.0.own.clone(),
        });
        state.made.insert(key, made.clone());
        made
    }
}

/// Two ways out: straight to this machine's own services, and the one that everything else takes.
#[derive(Debug)]
struct Fork {
    direct: SharedHttpConnector,
    /// Or why there is no way.
    routed: Result<SharedHttpConnector, String>,
    own: Vec<String>,
}

impl HttpConnector for Fork {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let answer = self.route(request);
        HttpConnectorFuture::new(async move {
            let limited = |body| SdkBody::from_body_1_x(Limited::new(body, MAX_ANSWER_BYTES));
            Ok(answer.await?.map(limited))
        })
    }
}

impl Fork {
    fn route(&self, request: HttpRequest) -> HttpConnectorFuture {
        let uri = request.uri().parse::<Uri>().ok();
        // Over TLS nobody on the way reads along, and trust is needed.
        let is_plain = uri.as_ref().and_then(Uri::scheme_str) == Some("http");
        if is_plain && uri.is_some_and(|uri| is_own(&uri, &self.own)) {
            return self.direct.call(request);
        }
        match &self.routed {
            Ok(routed) => routed.call(request),
            Err(why) => {
                // Without TLS, certificates do not matter.
                if is_plain { self.direct.call(request) } else { failed(why) }
            }
        }
    }
}

fn failed(why: &str) -> HttpConnectorFuture {
    HttpConnectorFuture::ready(Err(ConnectorError::user(why.to_owned().into())))
}

/// Whether a service of this machine answers there.
fn is_own(uri: &Uri, own: &[String]) -> bool {
    let Some(authority) = uri.authority() else { return false };
    OWN_HOSTS.contains(&authority.host())
        || own.iter().any(|place| *place == place_of(authority.host(), authority.port_u16()))
}

/// A host with its port, 80 where none is written.
fn place_of(host: &str, port: Option<u16>) -> String {
    format!("{}:{}", host.to_ascii_lowercase(), port.unwrap_or(80))
}

/// The places of metadata and agents that the environment names.
fn own_places(environment: &Environment, of_profile: Option<&str>) -> Vec<String> {
    let named = [
        environment.get("AWS_EC2_METADATA_SERVICE_ENDPOINT").or(of_profile),
        environment.get("AWS_CONTAINER_CREDENTIALS_FULL_URI"),
    ];
    let place = |url: &str| {
        let uri = url.parse::<Uri>().ok()?;
        Some(place_of(uri.host()?, uri.port_u16()))
    };
    named.into_iter().flatten().filter_map(place).collect()
}

/// Whether `NO_PROXY` is a star, which the SDK takes for a name where an address stands.
fn excludes_everything(environment: &Environment) -> bool {
    let named = ["NO_PROXY", "no_proxy"].into_iter().find_map(|name| environment.get(name));
    named.is_some_and(|text| text.split(',').any(|entry| entry.trim() == "*"))
}

/// Says of each variable that names a proxy and is not understood, and so not used.
pub(super) fn malformed_proxies(environment: &Environment) -> Vec<String> {
    ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"]
        .into_iter()
        .filter_map(|name| {
            let why = fault_of_proxy(environment.get(name)?)?;
            Some(format!("{name} {why}; write it as http://HOST:PORT"))
        })
        .collect()
}

/// Why a proxy's URL is none. The URL is not shown: some hold a password.
fn fault_of_proxy(url: &str) -> Option<&'static str> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    if !matches!(scheme, "http" | "https") {
        return Some("names a kind of proxy that is not supported");
    }
    let place = rest.trim_end_matches('/');
    if place.contains('/') {
        return Some("is not a proxy's URL");
    }
    let host = place.rsplit_once('@').map_or(place, |(_, host)| host);
    let uri = format!("http://{host}").parse::<Uri>();
    let has_port = host.rsplit_once(':').map(|(_, port)| port.parse::<u16>().is_ok());
    let is_well = uri.is_ok_and(|uri| uri.host().is_some_and(|host| !host.is_empty()));
    (!is_well || (has_port == Some(false) && !host.contains(']'))).then_some("is not a proxy's URL")
}

#[cfg(test)]
mod tests {
    use super::super::environment::environment;
    use super::*;

    fn uri(text: &str) -> Uri {
        text.parse().expect("a URI")
    }

    #[test]
    fn metadata_and_container_agents_are_this_machines_own() {
        let environment = environment(&[
            ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:1338/"),
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://agent.local/credentials"),
        ]);
        let own = own_places(&environment, None);
        for (url, expected) in [
            ("http://169.254.169.254/latest/api/token", true),
            ("http://[fd00:ec2::254]/latest/api/token", true),
            ("http://169.254.170.2/v2/credentials", true),
            ("http://169.254.170.23/v1/credentials", true),
            ("http://[fd00:ec2::23]/v1/credentials", true),
            ("http://127.0.0.1:1338/latest/api/token", true),
            ("http://agent.local/credentials", true),
            ("http://127.0.0.1:1339/", false),
            ("https://sts.us-east-1.amazonaws.com/", false),
            ("https://firehose.us-east-1.amazonaws.com/", false),
        ] {
            assert_eq!(is_own(&uri(url), &own), expected, "{url}");
        }
    }

    #[test]
    fn a_proxy_that_is_not_understood_is_told_without_its_password() {
        for (url, told) in [
            ("http://proxy:3128", false),
            ("proxy:3128", false),
            ("proxy", false),
            ("https://user:secret@proxy.example:443/", false),
            ("http://[::1]:3128", false),
            ("http//proxy:3128", true),
            ("http://", true),
            ("http://proxy:port", true),
            ("socks5://proxy:1080", true),
            ("http://user:secret@pro xy:3128", true),
        ] {
            let said = malformed_proxies(&environment(&[("HTTPS_PROXY", url)]));
            assert_eq!(!said.is_empty(), told, "{url}: {said:?}");
            assert!(!said.concat().contains("secret"));
        }
    }
}
