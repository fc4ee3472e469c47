//! `standpipe check`: says what a configuration comes to, or everything that is wrong with it.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::config::{Config, Overrides};
use crate::model::settings::{Encryption, SourceId};
use crate::model::verdict::Retry;
use crate::shell::firehose::{Described, Destination, Identity};
use crate::shell::{files, http};

use super::run::source_files;
use super::{CONFIGURATION, DONE, FAILED, configure, fail, meetings, runtime};

/// Validates the configuration and prints what it comes to
///
/// Exits 0, or 78 with every fault: file, line, column, key and what to do. With --online, 1 when a delivery stream would
/// not take records.
#[derive(Args, Clone, Debug)]
pub(super) struct CheckArgs {
    /// Configuration file [default: /etc/standpipe/standpipe.toml]
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Also resolves credentials, and asks the service for each delivery stream (firehose:DescribeDeliveryStream)
    #[arg(long)]
    online: bool,
}

pub(super) fn check(args: &CheckArgs) -> u8 {
    let config = match configure(args.config.as_ref(), &Overrides::default()) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let sources = source_files(&config);
    let of = |(place, files)| files::survey_source(files, SourceId(place), &[], Duration::ZERO);
    let surveys: Vec<_> = sources.iter().enumerate().map(of).collect();
    let mut text = config.describe();
    text.push_str("\nfiles that match now:\n");
    let matching = surveys.iter().flat_map(|surveyed| {
        let name = &config.sources[surveyed.observation.source.0].name;
        let matched = surveyed.observation.files.iter().filter(|file| file.is_matched);
        matched.map(move |file| (&file.path, file.size, name))
    });
    let mut matching: Vec<_> = matching.collect();
    matching.sort();
    for (path, bytes, source) in matching {
        text.push_str(&format!("  {} ({bytes} bytes): {source}\n", path.display()));
    }
    for problem in surveys.iter().flat_map(|surveyed| &surveyed.problems) {
        text.push_str(&format!("  {}: not read: {}\n", problem.path.display(), problem.reason));
    }
    // Nobody may be reading; and what follows may take a while.
    let _ = io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush());
    let meetings = meetings::faults(&config, &surveys);
    if !meetings.is_empty() {
        meetings.iter().for_each(|fault| eprintln!("{fault}"));
        return CONFIGURATION;
    }
    if !args.online {
        return DONE;
    }
    match runtime() {
        Ok(runtime) => runtime.block_on(ask(&config)),
        Err(error) => fail(&error),
    }
}

/// Asks the service for each delivery stream, and says what it answers.
async fn ask(config: &Config) -> u8 {
    tell("\nat the service:");
    let mut code = DONE;
    for (stream, settings) in config.streams.iter().zip(&config.settings.streams) {
        let destination = Destination::connect(stream, None).await;
        tell(&format!("  stream {}", stream.name));
        match destination.identity().await {
            Ok(identity) => tell(&format!("    {}", signed_by(&identity))),
            Err(why) => tell(&format!("    no credentials: {why}")),
        }
        let fault = match destination.describe().await {
            Ok(described) => {
                tell(&format!(
                    "    delivery stream {} is {}, of type {}, encryption {}",
                    stream.delivery_stream, described.status, described.kind, described.encryption
                ));
                fault_of(&described, settings.encryption).map(str::to_owned)
            }
            Err(why) => Some(format!("{}: {}; {}", why.code, why.message, advice_for(&why))),
        };
        if let Some(fault) = fault {
            tell(&format!("    NOT READY: {fault}"));
            code = FAILED;
        }
    }
    code
}

/// Prints a line at once: what follows may take a while.
fn tell(line: &str) {
    // Nobody may be reading.
    let mut out = io::stdout();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

fn signed_by(identity: &Identity) -> String {
    let region = identity.region.as_deref().unwrap_or("none");
    let expires = match identity.expires {
        Some(at) => format!(", valid until {}", humantime::format_rfc3339_seconds(at)),
        None => String::new(),
    };
    format!("signed with access key {} for region {region}{expires}", identity.access_key_id)
}

/// Why a delivery stream that is there would not take records.
fn fault_of(described: &Described, encryption: Encryption) -> Option<&'static str> {
    if described.status != "ACTIVE" {
        Some("it takes no records in this state; wait, or create it anew")
    } else if described.kind != "DirectPut" {
        Some("it takes its data from elsewhere: use one of type DirectPut")
    } else if encryption == Encryption::Required && described.encryption != "ENABLED" {
        Some("`require_encryption` is set, and it keeps records without server-side encryption")
    } else {
        None
    }
}

fn advice_for(why: &Retry) -> &'static str {
    if why.code.starts_with("AccessDenied") {
        "allow firehose:DescribeDeliveryStream to these credentials for this check; shipping itself does not need it"
    } else {
        http::advice(why)
    }
}
