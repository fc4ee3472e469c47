//! `standpipe check`: says what a configuration comes to, or everything that is wrong with it.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::config::{Config, Overrides, Stream};
use crate::engine::port::Observed;
use crate::model::operation::Operation;
use crate::model::route::Route;
use crate::model::settings::{Encryption, SourceId};
use crate::model::text::{plain, plain_lines, plain_path};
use crate::model::verdict::{Retry, RetryReason, Verdict};
use crate::rules::pattern::Pattern;
use crate::shell::aws::{Access, Reach, hint};
use crate::shell::files::Surveyed;
use crate::shell::firehose::{Described, Destination, Identity, Origin};
use crate::shell::http;

use super::run::{source_files, surveys};
use super::{CONFIGURATION, DONE, FAILED, configure, fail, meetings, named, runtime, show_faults};

/// How long a call waits that the service throttled, before the next one.
const PAUSES: [Duration; 4] =
    [Duration::from_millis(200), Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2)];

/// Validates the configuration and prints what it comes to
///
/// Exits 0, or 78 with every fault: file, line, column, key and what to do. With --online, 1 when a delivery stream would
/// not take records.
#[derive(Args, Clone, Debug)]
pub(super) struct CheckArgs {
    /// Configuration file [default: $STANDPIPE_CONFIG, else /etc/standpipe/standpipe.toml]
    #[arg(value_name = "FILE", conflicts_with = "config")]
    file: Option<PathBuf>,
    /// Configuration file, as of every command [default: $STANDPIPE_CONFIG, else /etc/standpipe/standpipe.toml]
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Also resolves credentials, and asks the service for each delivery stream (firehose:DescribeDeliveryStream)
    #[arg(long)]
    online: bool,
    /// With --online: also sends TEXT as one record to each delivery stream (firehose:PutRecord)
    #[arg(long, value_name = "TEXT", requires = "online")]
    put: Option<String>,
}

pub(super) fn check(args: &CheckArgs) -> u8 {
    let config = match configure(args.file.as_ref().or(args.config.as_ref()), &Overrides::default()) {
        Ok(config) => config,
        Err(code) => return code,
    };
    match runtime() {
        Ok(runtime) => runtime.block_on(check_by_all(args, &config)),
        Err(error) => fail(&error),
    }
}

/// Judges a configuration that is valid by itself by what else is there: files, the environment, the service.
async fn check_by_all(args: &CheckArgs, config: &Config) -> u8 {
    let surveys = surveys(&source_files(config));
    let mut config = named::with_streams(config, &surveys);
    let access = Access::of_process();
    let faults = locate(&mut config, &access, args.online).await;
    let text = plain_lines(&config.describe()) + &matches(&config, &surveys);
    // Nobody may be reading; and what follows may take a while.
    let _ = io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush());
    let meetings = meetings::faults(&config, &surveys);
    meetings.iter().for_each(|fault| show_faults(fault));
    faults.iter().for_each(|fault| complain!("{fault}"));
    if !meetings.is_empty() || !faults.is_empty() {
        return CONFIGURATION;
    }
    for note in notes(&config, &access) {
        tell("");
        tell(&format!("NOTE: {note}"));
    }
    if args.online { ask(&config, access, args.put.as_deref()).await } else { DONE }
}

/// What is to be said and keeps nothing from being sent.
fn notes(config: &Config, access: &Access) -> Vec<String> {
    let mut notes = access.notes().to_vec();
    notes.extend(config.unencrypted().map(|(stream, endpoint)| {
        let stream = &stream.name;
        format!("stream {stream}: {endpoint} is not encrypted; lines can be read on their way; use https")
    }));
    notes
        .extend(unknown_regions(config).into_iter().map(|(stream, hint)| format!("stream {stream}: {hint}")));
    notes
}

/// Completes the configuration by the regions and endpoints that `run` would find; the network is asked where it `asks`.
/// Returns what is wrong with that.
async fn locate(config: &mut Config, access: &Access, asks: bool) -> Vec<String> {
    let (mut located, mut faults) = (Vec::new(), Vec::new());
    for stream in &config.streams {
        let mut of_stream = Vec::new();
        for lane in stream.lanes() {
            // All streams trust the same.
            let reach = Reach { asks, trusts: asks || located.is_empty() };
            let (found, fault) = access.locate(&lane, reach).await;
            of_stream.push(found);
            faults.extend(fault.filter(|fault| !faults.contains(fault)));
        }
        located.push(of_stream);
    }
    faults.extend(config.locate(&located.into_iter().collect()).err().into_iter().flatten());
    faults
}

/// The source of a file, and where it goes if its path says so.
fn whose(config: &Config, source: SourceId, file: &Observed) -> String {
    let name = &config.sources[source.0].name;
    match (&config.settings.sources[source.0].route, named::stream_of(config, source, file)) {
        (Route::To(_), _) => name.to_string(),
        (Route::ByPath(_), Ok(stream)) => format!("{name} to stream {stream}"),
        (Route::ByPath(_), Err(why)) => format!("{name}, not read: {why}"),
    }
}

/// Which files match now, which patterns match none, and what is not read.
fn matches(config: &Config, surveys: &[Surveyed]) -> String {
    let mut text = "\nfiles that match now:\n".to_owned();
    let matching = surveys.iter().flat_map(|surveyed| {
        let source = surveyed.observation.source;
        let matched = surveyed.observation.files.iter().filter(|file| file.is_matched);
        matched.map(move |file| (&file.path, file.size, whose(config, source, file)))
    });
    let mut matching: Vec<_> = matching.collect();
    matching.sort();
    for (path, bytes, source) in matching {
        text.push_str(&format!("  {} ({bytes} bytes): {}\n", plain_path(path), plain(source)));
    }
    for (source, pattern) in unmatched(config, surveys) {
        text.push_str(&format!(
            "  none for {} of {}: correct it, or wait for a file\n",
            plain(pattern.text()),
            plain(source)
        ));
    }
    for problem in surveys.iter().flat_map(|surveyed| &surveyed.problems.named) {
        text.push_str(&format!(
            "  {}: not read: {}\n",
            plain_path(&problem.path),
            plain(problem.reason.to_string())
        ));
    }
    let beyond: u64 = surveys.iter().map(|surveyed| surveyed.problems.beyond).sum();
    if beyond > 0 {
        text.push_str(&format!("  and {beyond} more that are not read\n"));
    }
    text
}

/// What is to be said of the regions that streams go to.
fn unknown_regions(config: &Config) -> Vec<(&str, String)> {
    let of_stream = |stream: &'_ Stream| {
        if stream.region().is_none() && !stream.quotas.are_all() {
            return vec![
                "no region is known here; once it is, quotas that are not written are the region's"
                    .to_owned(),
            ];
        }
        let others = stream.others.iter().filter_map(|(_, region)| region.as_deref());
        let mut hints: Vec<_> = stream.region().into_iter().chain(others).filter_map(hint).collect();
        hints.dedup();
        hints
    };
    let streams = config.streams.iter();
    streams.flat_map(|stream| of_stream(stream).into_iter().map(|hint| (&*stream.name, hint))).collect()
}

/// Each pattern by which no file is read, with the name of its source.
fn unmatched<'a>(config: &'a Config, surveys: &'a [Surveyed]) -> Vec<(&'a str, &'a Pattern)> {
    let of_source = |surveyed: &'a Surveyed| {
        let files = &surveyed.observation.files;
        let source = &config.sources[surveyed.observation.source.0];
        let has_none =
            |pattern: &&Pattern| !files.iter().any(|file| file.is_matched && pattern.matches(&file.path));
        source.patterns.iter().filter(has_none).map(|pattern| (&*source.name, pattern))
    };
    surveys.iter().flat_map(of_source).collect()
}

/// Asks the service for each delivery stream, and says what it answers.
async fn ask(config: &Config, access: Access, put: Option<&str>) -> u8 {
    tell("");
    tell("at the service:");
    let mut code = DONE;
    let origin = Origin::Aws(access);
    let destinations = config.by_lane(|lane| (lane.clone(), Destination::connect(lane, &origin)));
    for ((stream, destination), settings) in destinations
        .streams()
        .zip(&config.settings.streams)
        .flat_map(|((_, lanes), settings)| lanes.iter().map(move |lane| (lane, settings)))
    {
        tell(&format!("  stream {}", stream.name));
        match destination.identity().await {
            Ok(identity) => tell(&format!("    {}", signed_by(&identity))),
            Err(why) => tell(&format!("    nobody signs: {}: {}", why.code, why.message)),
        }
        let described = describe(destination).await;
        if let Ok(described) = &described {
            let account = match described.account.as_str() {
                "" => String::new(),
                account => format!(", in account {account}"),
            };
            tell(&format!(
                "    delivery stream {} is {}, of type {}, encryption {}{account}",
                stream.delivery_stream, described.status, described.kind, described.encryption
            ));
        }
        let tried = try_put(destination, put).await;
        let faults = [fault_of_answer(&described, settings.encryption, &tried), tried.err()];
        for fault in faults.into_iter().flatten() {
            tell(&format!("    NOT READY: {fault}"));
            code = FAILED;
        }
    }
    origin.close().await;
    code
}

/// What the service says of a delivery stream, asked again while it throttles or fails.
#[expect(clippy::disallowed_methods, reason = "nobody else waits")]
async fn describe(destination: &Destination) -> Result<Described, Retry> {
    for pause in PAUSES {
        match destination.describe().await {
            Err(why) if matches!(why.reason, RetryReason::Throttled | RetryReason::Server) => {
                tokio::time::sleep(pause).await;
            }
            answer => return answer,
        }
    }
    destination.describe().await
}

/// Sends `text` as one record, if there is one. Returns whether it was accepted.
///
/// # Errors
/// Why it was not.
async fn try_put(destination: &Destination, text: Option<&str>) -> Result<bool, String> {
    let Some(text) = text else {
        tell("    PutRecord was not tried; --put TEXT sends TEXT as one record");
        return Ok(false);
    };
    let record = bytes::Bytes::from(format!("{text}\n"));
    let outcome = destination.put(Operation::PutRecord, vec![record], Duration::ZERO).await;
    match outcome.verdicts.into_iter().next() {
        Some(Verdict::Delivered { .. }) => {
            tell("    PutRecord was tried, and the record accepted");
            Ok(true)
        }
        Some(Verdict::Retry(why)) => {
            Err(format!("PutRecord: {}: {}; {}", why.code, why.message, http::advice(&why)))
        }
        Some(Verdict::Rejected { code, message, .. }) => Err(format!("PutRecord: {code}: {message}")),
        None => Err("PutRecord: no answer".to_owned()),
    }
}

/// What the service's description, or its refusal to give one, says against shipping.
fn fault_of_answer(
    described: &Result<Described, Retry>,
    encryption: Encryption,
    tried: &Result<bool, String>,
) -> Option<String> {
    match described {
        Ok(described) => fault_of(described, encryption).map(str::to_owned),
        // Shipping needs no description, and has been seen to work.
        Err(why) if why.code.starts_with("AccessDenied") && *tried == Ok(true) => None,
        Err(why) => Some(format!("{}: {}; {}", why.code, why.message, advice_for(why))),
    }
}

/// Prints a line at once, with answers of the service in it: what follows may take a while.
fn tell(line: &str) {
    // Nobody may be reading.
    let mut out = io::stdout();
    let _ = writeln!(out, "{}", plain(line)).and_then(|()| out.flush());
}

fn signed_by(identity: &Identity) -> String {
    let region = &identity.region;
    let expires = match identity.expires {
        Some(at) => format!(", valid until {}", humantime::format_rfc3339_seconds(at)),
        None => String::new(),
    };
    format!(
        "signed with access key {} for region {region}{expires}, sent to {}",
        identity.access_key_id, identity.endpoint
    )
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
