//! `standpipe local`: the embedded delivery stream on its own.
//!
//! Knows flags and their defaults; everything else is [`crate::local`]'s. Called by `main`.

use std::future::Future;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;

use crate::local::{Access, Control, Error, Fault, FaultPlan, Keys, Next, Options, Quota, Server};

/// Serve the Firehose API on this machine, with a directory as destination
///
/// For development and tests: point any AWS SDK or CLI at it with an endpoint URL and any credentials. Accepted
/// records appear under DIR/STREAM/YYYY/MM/DD/HH/, in order of acceptance. What was acknowledged survives
/// the process: a later start on the same directory delivers it.
#[derive(Args, Clone, Debug)]
pub struct LocalArgs {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:4573")]
    pub listen: SocketAddr,
    /// The destination; created when it is not there
    #[arg(long, value_name = "DIR", default_value = "./firehose")]
    pub dir: PathBuf,
    /// Requests a second that each delivery stream takes; 0: without limit
    #[arg(long, value_name = "N", default_value_t = 2_000)]
    pub quota_requests: u64,
    /// Records a second that each delivery stream takes; 0: without limit
    #[arg(long, value_name = "N", default_value_t = 5_000)]
    pub quota_records: u64,
    /// Bytes of data a second that each delivery stream takes, before base64; 0: without limit
    #[arg(long, value_name = "SIZE", default_value = "5MB", value_parser = size)]
    pub quota_bytes: u64,
    /// The delivery streams there are, separated by commas; default: created on first use
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub streams: Option<Vec<String>>,
    /// Take only requests that are signed with this access key and the secret key that goes with it, also to /_standpipe/
    #[arg(long, value_name = "ID", requires = "secret_key")]
    pub access_key: Option<String>,
    /// The secret key of --access-key
    #[arg(long, value_name = "KEY", requires = "access_key")]
    pub secret_key: Option<String>,
    /// Names by which it may be asked beside addresses and localhost, separated by commas, where it listens on loopback
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub hosts: Vec<String>,
    /// Say that server-side encryption is on
    #[arg(long)]
    pub encrypted: bool,
    /// Let streams that CreateDeliveryStream makes be in state CREATING, and take nothing, for this long
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = humantime::parse_duration)]
    pub creating: Duration,
    /// Delivery streams whose key is not usable, separated by commas
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub invalid_key: Vec<String>,
    /// Deliver when the oldest record is this old
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = humantime::parse_duration)]
    pub buffer_interval: Duration,
    /// Deliver as soon as the records are this large together
    #[arg(long, value_name = "SIZE", default_value = "1MiB", value_parser = size)]
    pub buffer_size: u64,
    /// Write down in DIR/STREAM/manifest.jsonl in which file each record is, and where in it
    #[arg(long)]
    pub manifest: bool,
    /// Answer each put this late
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = humantime::parse_duration)]
    pub latency: Duration,
    /// Let this share of the puts go wrong, 0 to 1, as in reset_after=0.02; may be repeated
    ///
    /// Faults: unavailable, internal, not_found, invalid_key, invalid_argument, access_denied, expired_token, partial,
    /// reset_before, reset_after, hang, hang_after, html, redirect, truncated, short.
    #[arg(long, value_name = "FAULT=RATE", value_parser = assignment::<f64>)]
    pub fault: Vec<(Fault, f64)>,
    /// Let the next puts go wrong, as in internal=3; may be repeated, in order
    #[arg(long, value_name = "FAULT=N", value_parser = assignment::<u64>)]
    pub fault_next: Vec<(Fault, u64)>,
    /// Share of its records that a batch loses under the fault `partial`; at least one
    #[arg(long, value_name = "SHARE", default_value_t = 0.5)]
    pub partial_share: f64,
    /// Seed of the faults: with one seed, one order of requests meets one order of faults
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
}

impl LocalArgs {
    fn into_options(self) -> Options {
        let faults = FaultPlan {
            latency_ms: u64::try_from(self.latency.as_millis()).unwrap_or(u64::MAX),
            rates: self.fault.into_iter().collect(),
            partial_share: self.partial_share,
            next: self.fault_next.into_iter().map(|(fault, requests)| Next { fault, requests }).collect(),
            streams: Vec::new(),
        };
        Options {
            listen: self.listen,
            quota: Quota {
                requests: self.quota_requests,
                records: self.quota_records,
                bytes: self.quota_bytes,
            },
            streams: self.streams,
            access: Access {
                keys: self
                    .access_key
                    .zip(self.secret_key)
                    .map(|(access_key, secret_key)| Keys { access_key, secret_key }),
                hosts: self.hosts,
                control: Control::Served,
            },
            encrypted: self.encrypted,
            creating: self.creating,
            invalid_keys: self.invalid_key.into_iter().collect(),
            buffer_interval: self.buffer_interval,
            buffer_size: self.buffer_size,
            manifest: self.manifest,
            faults,
            seed: self.seed,
            ..Options::new(self.dir)
        }
    }
}

/// Serves until `shutdown` comes, then delivers what was accepted.
///
/// Prints the endpoint's URL once it can be used, for scripts that take a free port. Errors: those of
/// [`Server::start`] and [`Server::shutdown`].
pub async fn run(args: LocalArgs, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
    let server = Server::start(args.into_options()).await?;
    // Nobody may be reading; the log says it too.
    let _ = writeln!(io::stdout(), "http://{}", server.address());
    shutdown.await;
    server.shutdown().await
}

/// `5MB`, `1MiB`, `1000KiB`, or a plain number of bytes.
fn size(text: &str) -> Result<u64, String> {
    let digits = text.find(|digit: char| !digit.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.trim() {
        "" | "B" => 1,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        unknown => {
            return Err(format!("unknown unit {unknown:?}; there are B, KB, MB, GB, KiB, MiB, GiB"));
        }
    };
    let number: u64 = number.parse().map_err(|_| "a size begins with a whole number".to_owned())?;
    number.checked_mul(factor).ok_or_else(|| "the size is too large".to_owned())
}

/// `FAULT=VALUE`.
fn assignment<T: FromStr>(text: &str) -> Result<(Fault, T), String> {
    let (fault, value) = text.split_once('=').ok_or("there is no '='")?;
    let value = value.parse().map_err(|_| format!("{value:?} is not a number"))?;
    Ok((fault.parse()?, value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: LocalArgs,
    }

    fn options(flags: &[&str]) -> Options {
        Line::try_parse_from([&["local"], flags].concat()).unwrap().args.into_options()
    }

    #[test]
    fn the_defaults_are_those_of_the_library_but_for_address_and_directory() {
        let expected = Options { listen: "127.0.0.1:4573".parse().unwrap(), ..Options::new("./firehose") };
        assert_eq!(format!("{:?}", options(&[])), format!("{expected:?}"));
    }

    #[test]
    fn every_flag_reaches_its_option() {
        let options = options(&[
            "--listen=[::1]:0",
            "--dir=/d",
            "--quota-requests=1",
            "--quota-records=2",
            "--quota-bytes=1KiB",
            "--streams=a,b",
            "--access-key=AKID",
            "--secret-key=hidden",
            "--hosts=firehose.test,other.test",
            "--encrypted",
            "--creating=3s",
            "--invalid-key=b,c",
            "--buffer-interval=250ms",
            "--buffer-size=5MB",
            "--manifest",
            "--latency=20ms",
            "--fault=reset_after=0.25",
            "--fault=html=0.5",
            "--fault-next=internal=3",
            "--partial-share=0.1",
            "--seed=9",
        ]);
        assert_eq!(options.listen, "[::1]:0".parse().unwrap());
        assert_eq!(options.dir, PathBuf::from("/d"));
        assert_eq!(options.quota, Quota { requests: 1, records: 2, bytes: 1_024 });
        assert_eq!(options.streams, Some(vec!["a".to_owned(), "b".to_owned()]));
        assert!(options.encrypted);
        let keys = Keys { access_key: "AKID".to_owned(), secret_key: "hidden".to_owned() };
        assert_eq!(options.access.keys, Some(keys));
        assert_eq!(options.access.hosts, ["firehose.test", "other.test"]);
        assert_eq!(options.invalid_keys, ["b".to_owned(), "c".to_owned()].into());
        assert_eq!(options.buffer_interval, Duration::from_millis(250));
        assert_eq!(options.buffer_size, 5_000_000);
        assert!(options.manifest);
        assert_eq!(options.creating, Duration::from_secs(3));
        assert_eq!(options.seed, 9);
        assert_eq!(
            options.faults,
            FaultPlan {
                latency_ms: 20,
                rates: [(Fault::ResetAfter, 0.25), (Fault::Html, 0.5)].into(),
                partial_share: 0.1,
                next: [Next { fault: Fault::Internal, requests: 3 }].into(),
                streams: Vec::new(),
            }
        );
    }

    #[test]
    fn a_size_has_a_known_unit() {
        assert_eq!(size("1000KiB"), Ok(1_024_000));
        assert_eq!(size("0"), Ok(0));
        for wrong in ["", "MB", "-1", "1.5MB", "5 parsecs", "99999999999GiB"] {
            assert!(size(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_fault_has_a_known_name_and_a_number() {
        assert_eq!(assignment::<u64>("hang=2"), Ok((Fault::Hang, 2)));
        for wrong in ["hang", "hang=", "rain=1", "=1"] {
            assert!(assignment::<u64>(wrong).is_err(), "{wrong:?}");
        }
    }
}
