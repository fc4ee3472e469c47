//! The embedded delivery stream: the Firehose API over HTTP, with files as its destination.
//!
//! For development, tests, and trying standpipe out without an account: any AWS SDK or CLI works against it with
//! an endpoint URL. It keeps the service's documented rules (quotas, limits, errors, RecordIds), buffers what it
//! accepts and delivers it below a directory. `standpipe local` and `run --local` start it.
//!
//! *Invariant:* it imports nothing of the daemon, and keeps the service's limits for itself: an independent
//! opinion of what the daemon may send. What was acknowledged survives the process: it is in a journal until it is
//! delivered, and a later start on the same directory delivers what was left behind.
//!
//! The way of a request: `connections` (sockets) → `doors` (who asks) → `http` → `auth` → `api` (JSON) → `records` (base64, limits) →
//! `driver` (the one owner of all state) → `service` (`faults`, then the delivery stream's `quota`) → `buffer`
//! and `journal`, whereupon it is answered → `destination` (a file, named by `calendar`;
//! `manifest` lists its records).

mod access;
mod api;
mod auth;
mod buffer;
mod calendar;
mod connections;
mod destination;
mod doors;
mod driver;
mod faults;
mod http;
mod ids;
mod journal;
mod json;
mod limits;
mod listener;
mod manifest;
mod note;
mod quota;
mod records;
mod refusal;
mod request;
mod service;
mod stats;
mod stream;

use std::collections::BTreeSet;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::info;

pub use self::access::{Access, Control};
pub use self::auth::Keys;
use self::buffer::Buffering;
use self::destination::{DestinationError, Listing};
use self::doors::Doors;
use self::driver::{Clock, Driver, Handle};
use self::faults::Faults;
pub use self::faults::{Fault, FaultPlan, Next};
use self::ids::Run;
use self::limits::{TIME_LIMITS, TimeLimits};
pub use self::quota::Quota;
use self::service::{Rules, Service};

/// How long shutdown waits for requests under way before it ends without them.
const GRACE: Duration = Duration::from_secs(2);

/// What the embedded delivery stream is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The directory in which the destinations of all delivery streams lie; created when missing.
    pub dir: PathBuf,
    /// What one second lets in, for each delivery stream by itself.
    pub quota: Quota,
    /// The names of the delivery streams; `None` creates each on its first use.
    pub streams: Option<Vec<String>>,
    /// Who may use it, and what for.
    pub access: Access,
    /// Whether answers say that server-side encryption is on.
    pub encrypted: bool,
    /// How long a delivery stream that is created by `CreateDeliveryStream` is in state CREATING.
    pub creating: Duration,
    /// Delivery streams whose key is not usable: every put is an `InvalidKMSResourceException`.
    pub invalid_keys: BTreeSet<String>,
    /// The age of a delivery stream's oldest record at which its records are delivered.
    pub buffer_interval: Duration,
    /// The size of a delivery stream's records, in bytes, at which they are delivered at once.
    pub buffer_size: u64,
    /// Whether `DIR/<stream>/manifest.jsonl` says for each RecordId in which file, where, and how long it is.
    pub manifest: bool,
    /// Bytes accepted and not delivered at most, all delivery streams together; above: `Slow down.`
    pub max_buffered_bytes: u64,
    /// How long shutdown tries to deliver what a destination refuses.
    pub patience: Duration,
    /// Faults that happen on demand.
    pub faults: FaultPlan,
    /// The seed that faults are drawn from: one seed and one order of requests give one order of faults.
    pub seed: u64,
}

impl Options {
    /// A free port on loopback, the service's default quotas, delivery streams on first use, delivery after one
    /// second or 1 MiB, at most 256 MiB in memory, ten seconds of patience, no faults.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            dir: dir.into(),
            quota: Quota::default(),
            streams: None,
            access: Access::default(),
            encrypted: false,
            creating: Duration::ZERO,
            invalid_keys: BTreeSet::new(),
            buffer_interval: Duration::from_secs(1),
            buffer_size: 1024 * 1024,
            manifest: false,
            max_buffered_bytes: 256 * 1024 * 1024,
            patience: Duration::from_secs(10),
            faults: FaultPlan::default(),
            seed: 0,
        }
    }
}

/// Why the embedded delivery stream cannot start, or ended badly.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot listen on {address}: {source}")]
    Listen { address: SocketAddr, source: io::Error },
    /// The directory cannot be created, or what an earlier process left behind cannot be delivered.
    #[error("cannot use {} as destination: {source}", path.display())]
    Directory { path: PathBuf, source: io::Error },
    /// A delivery stream's name or the plan of faults.
    #[error("{0}")]
    Option(String),
    /// The destination could not be written while shutting down.
    #[error("{bytes} bytes of accepted records could not be delivered below {}", path.display())]
    Undelivered { path: PathBuf, bytes: u64 },
    /// The server does not run any more, because it was shut down or the runtime has ended.
    #[error("the embedded delivery stream has ended")]
    Stopped,
}

/// A running embedded delivery stream.
///
/// Dropping it stops it too, without waiting: what was accepted is delivered as long as the runtime lives.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    dir: PathBuf,
    handle: Handle,
    stop: watch::Sender<bool>,
    http: JoinHandle<()>,
    driver: JoinHandle<()>,
}

impl Server {
    /// Listens, and serves until [`Server::shutdown`].
    ///
    /// Errors: an address that cannot be listened on, a directory that cannot be created, a delivery stream's
    /// name that the service would not allow, a plan of faults that cannot be followed.
    pub async fn start(options: Options) -> Result<Self, Error> {
        Self::start_within(TIME_LIMITS, options).await
    }

    #[expect(clippy::disallowed_methods, reason = "what is started is awaited here or by shutdown")]
    async fn start_within(limits: TimeLimits, options: Options) -> Result<Self, Error> {
        let clock = Clock::start();
        let run = new_run(clock);
        let dir = options.dir.clone();
        let listing = if options.manifest { Listing::Manifest } else { Listing::None };
        let service = service(&options, run, clock)?;
        let (created, at) = (dir.clone(), clock.moment());
        let recovered = tokio::task::spawn_blocking(move || {
            destination::create(&created)?;
            journal::recover(&created, run, listing, at.unix_time)
        })
        .await
        .expect("recovering neither panics nor is cancelled")
        .map_err(|DestinationError { path, source }| Error::Directory { path, source })?;
        if recovered > 0 {
            info!(bytes = recovered, "delivered what was accepted before the last end");
        }

        let cannot_listen = |source| Error::Listen { address: options.listen, source };
        let tcp = TcpListener::bind(options.listen).await.map_err(cannot_listen)?;
        let address = tcp.local_addr().map_err(cannot_listen)?;

        let (driver, handle) = Driver::new(service, clock, dir.clone(), run, listing, options.patience);
        let (stop, stopped) = watch::channel(false);
        let routes = http::routes(handle.clone(), &options.access, limits.body, stopped.clone());
        let doors = Doors::new(address, &options.access.hosts);
        let http = connections::serve(tcp, routes, doors, limits, stopped);
        info!(%address, dir = %dir.display(), "embedded delivery stream listens");
        Ok(Self { address, dir, handle, stop, http: tokio::spawn(http), driver: tokio::spawn(driver.run()) })
    }

    /// The address that the server listens on, with the port that was taken.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where delivery streams are added while the server runs.
    pub fn streams(&self) -> Streams {
        Streams(self.handle.clone())
    }

    /// Delivers everything accepted so far, and returns when it is durable at the destination (or gone, after 24
    /// hours without one).
    pub async fn flush(&self) -> Result<(), Error> {
        self.handle.flush().await.map_err(|_| Error::Stopped)
    }

    /// Stops listening, answers the requests under way, delivers every accepted record durably, and returns.
    ///
    /// Errors: [`Error::Undelivered`] when the destination refuses for longer than [`Options::patience`].
    pub async fn shutdown(mut self) -> Result<(), Error> {
        self.stop.send_replace(true);
        if tokio::time::timeout(GRACE, &mut self.http).await.is_err() {
            // A client that is still sending is not waited for; what it sends is refused from here on.
            self.http.abort();
        }
        let bytes = self.handle.close().await.map_err(|_| Error::Stopped)?;
        self.driver.await.map_err(|_| Error::Stopped)?;
        if bytes > 0 { Err(Error::Undelivered { path: self.dir, bytes }) } else { Ok(()) }
    }
}

/// The delivery streams of a running server.
#[derive(Clone, Debug)]
pub struct Streams(Handle);

impl Streams {
    /// Creates those of these that are not there.
    ///
    /// # Errors
    /// A name that no delivery stream can have, or [`Error::Stopped`].
    pub async fn add(&self, names: Vec<String>) -> Result<(), Error> {
        let added = self.0.ask(move |service, at| service.add(&names, at)).await;
        added.map_err(|_| Error::Stopped)?.map_err(|refusal| Error::Option(refusal.message.into_owned()))
    }
}

fn service(options: &Options, run: Run, clock: Clock) -> Result<Service, Error> {
    options.faults.check().map_err(Error::Option)?;
    let rules = Rules {
        quota: options.quota,
        buffering: Buffering { interval: options.buffer_interval, size: options.buffer_size },
        streams: options.streams.clone(),
        invalid_keys: options.invalid_keys.clone(),
        encrypted: options.encrypted,
        creating: options.creating,
        max_buffered_bytes: options.max_buffered_bytes,
    };
    let faults = Faults::new(options.faults.clone(), options.seed);
    Service::new(rules, faults, run, clock.moment())
        .map_err(|refusal| Error::Option(refusal.message.into_owned()))
}

/// Unique among all runs: the time in nanoseconds, and 64 bits of chance for clocks that were set back.
///
/// Not from the seed: RecordIds are unique also when a test is repeated.
fn new_run(clock: Clock) -> Run {
    let nanos = clock.moment().unix_time.as_nanos() as u64;
    let chance = RandomState::new().build_hasher().finish();
    Run(u128::from(nanos) << 64 | u128::from(chance))
}

#[cfg(test)]
mod tests;
