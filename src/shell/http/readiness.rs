//! Why the daemon is not ready, and what to do about it.
//!
//! Knows the conditions of readiness, each as one reason with advice. The service being slow is none of them; that it
//! does not accept, that progress cannot be saved, or that lines are later than allowed, is.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::engine::StreamStatus;
use crate::model::verdict::{Retry, RetryReason};

use super::snapshot::{Snapshot, StreamAbout};

/// One reason why the daemon is not ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// What alerts compare with: one word for each condition.
    pub code: String,
    /// The stream that the reason is about; `None` when it is about the whole daemon.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// The delivery stream that the reason is about, where its stream has others beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery_stream: Option<String>,
    /// What is wrong, for a person.
    pub message: String,
    /// What to do about it, for a person.
    pub advice: String,
}

/// How long no file may match any source until the daemon is not ready.
const MATCHLESS_PATIENCE: Duration = Duration::from_secs(10 * 60);

/// The advice for a stream whose lines wait for the quota of requests alone.
pub(super) const BATCHES_WOULD_HELP: &str = "lines wait for the quota of requests, and there is room for more records and \
                                             bytes: `api = \"auto\"` would carry more lines in fewer requests";

/// The advice for a stream of which the service takes less than is sent.
pub(super) const THROTTLED: &str = "others write to this delivery stream too, or its quota is below the configured one: lower \
                                    `share` or `quota`, or have the quota raised";

/// Every reason why the daemon is not ready; none when it is.
pub(super) fn reasons(snapshot: &Snapshot) -> Vec<Reason> {
    let status = &snapshot.status;
    let mut reasons = Vec::new();
    if !status.opened {
        reasons.push(Reason {
            code: "starting".to_owned(),
            stream: None,
            delivery_stream: None,
            message: "the files of the sources have not all been found and opened yet".to_owned(),
            advice: "wait; a directory that hangs (a dead network file system) keeps it here".to_owned(),
        });
    }
    for source in &status.silent {
        reasons.push(Reason {
            code: "source_silent".to_owned(),
            stream: None,
            delivery_stream: None,
            message: format!("the file system of source {} does not answer", snapshot.source(*source)),
            advice: "see what is mounted there (`findmnt`, `nfsstat`); other sources go on meanwhile"
                .to_owned(),
        });
    }
    reasons.extend(held(snapshot));
    reasons.extend(unsigned(snapshot));
    reasons.extend(record_stuck(snapshot));
    if let Some(why) = &status.not_saved {
        reasons.push(Reason {
            code: "state_not_saved".to_owned(),
            stream: None,
            delivery_stream: None,
            message: match status.waiting_for_a_save {
                0 => why.clone(),
                files => format!("{why}; {files} files wait, whose records would carry an id that a crash could give again"),
            },
            advice: "make the state directory writable and give it space; a restart now would send again what was \
                     delivered since the last save"
                .to_owned(),
        });
    }
    reasons.extend(dead_letters_full(snapshot));
    reasons.extend(late(snapshot));
    reasons.extend(matchless(snapshot));
    reasons
}

/// Each stream whose service accepts nothing: all of its delivery streams do, or files wait for one that does.
fn held(snapshot: &Snapshot) -> Vec<Reason> {
    let mut reasons = Vec::new();
    for (about, stream) in snapshot.streams() {
        let stream_reason = |why: &Retry, since, which: Option<&str>| {
            let seconds = snapshot.status.at.since(since).as_secs();
            let message = format!("{}: {} (for {seconds} s)", why.code, why.message);
            Reason { message, ..of_delivery_stream(about, which, why) }
        };
        if let Some((why, since)) = &stream.held {
            reasons.push(stream_reason(why, *since, None));
            continue;
        }
        let waited_for = stream.lanes.iter().filter(|lane| lane.late_files > 0);
        reasons.extend(waited_for.filter_map(|lane| {
            let (why, since) = lane.held.as_ref()?;
            let which = snapshot.about.delivery_stream_beside_others(lane.lane);
            Some(stream_reason(why, *since, which))
        }));
    }
    reasons
}

/// Each delivery stream that nothing can be sent to, whether something is to be sent or not.
fn unsigned(snapshot: &Snapshot) -> Vec<Reason> {
    let mut reasons = Vec::new();
    for (about, stream) in snapshot.streams().filter(|(_, stream)| stream.held.is_none()) {
        for lane in stream.lanes.iter().filter(|lane| lane.is_used && lane.held.is_none()) {
            if let Some(why) = &snapshot.missing[lane.lane] {
                let which = snapshot.about.delivery_stream_beside_others(lane.lane);
                reasons.push(of_delivery_stream(about, which, why));
            }
        }
    }
    reasons
}

/// The reason that a stream, or `which` of its delivery streams, takes nothing.
fn of_delivery_stream(about: &StreamAbout, which: Option<&str>, why: &Retry) -> Reason {
    Reason {
        code: format!("stream_{}", why.reason.label()),
        stream: Some(about.name.to_string()),
        delivery_stream: which.map(str::to_owned),
        message: format!("{}: {}", why.code, why.message),
        advice: advice(why).to_owned(),
    }
}

/// Each stream of which records fail alone.
fn record_stuck(snapshot: &Snapshot) -> Vec<Reason> {
    let about = |(about, stream): (&StreamAbout, &StreamStatus)| {
        let stuck = stream.stuck.first()?;
        let count = stream.stuck_records;
        let seconds = snapshot.status.at.since(stuck.since).as_secs();
        Some(Reason {
            code: "record_stuck".to_owned(),
            stream: Some(about.name.to_string()),
            delivery_stream: None,
            message: format!(
                "{count} {} alone; the one of {} at offset {} for {seconds} s: {}: {}",
                if count == 1 { "record fails" } else { "records fail" },
                stuck.path.display(),
                stuck.offset.bytes(),
                stuck.why.code,
                stuck.why.message
            ),
            advice: "look at that line, and at what the message says of it; while others are accepted, it becomes a \
                     dead letter after `retry.stuck_after`"
                .to_owned(),
        })
    };
    snapshot.streams().filter_map(about).collect()
}

/// Files that wait for room among the dead letters.
fn dead_letters_full(snapshot: &Snapshot) -> Option<Reason> {
    let status = &snapshot.status;
    let (source, path) = status.stuck.first()?;
    Some(Reason {
        code: "dead_letters_full".to_owned(),
        stream: None,
        delivery_stream: None,
        message: format!(
            "{} files wait, {} of source {} among them: the service refuses a record of theirs, and the room of its \
                 stream among {} bytes of dead letters is full",
            status.stuck.len(),
            path.display(),
            snapshot.source(*source),
            status.dead_letter_bytes
        ),
        advice:
            "look at what `standpipe dead-letters export` shows, and `replay` or `purge` it, beside this process: the \
                     files go on as soon as there is room"
                .to_owned(),
    })
}

/// The oldest line has waited for longer than it may.
fn late(snapshot: &Snapshot) -> Option<Reason> {
    let max_lag = snapshot.about.max_lag?;
    let oldest = snapshot.lags().iter().map(|lag| lag.oldest).max().unwrap_or(Duration::ZERO);
    (oldest > max_lag).then(|| Reason {
        code: "late".to_owned(),
        stream: None,
        delivery_stream: None,
        message: format!(
            "the oldest undelivered line has waited for {} s; health.max_lag is {} s",
            oldest.as_secs(),
            max_lag.as_secs()
        ),
        advice:
            "see which stream is held or at its quota; `api = \"auto\"` carries more lines in fewer requests"
                .to_owned(),
    })
}

/// Nothing has been there to read for long, which is rather a wrong path than a program without a word.
fn matchless(snapshot: &Snapshot) -> Option<Reason> {
    let since = snapshot.status.matched.none_since?;
    let after = snapshot.status.at.since(since);
    (after >= MATCHLESS_PATIENCE).then(|| Reason {
        code: "no_files".to_owned(),
        stream: None,
        delivery_stream: None,
        message: format!("no file has matched any source for {} s", after.as_secs()),
        advice: "correct `paths`, and see in `/status` what is in `unread`; `standpipe check` says which files match"
            .to_owned(),
    })
}

/// How things stand, in one line for the service manager.
pub fn in_one_line(snapshot: &Snapshot) -> String {
    match reasons(snapshot).first() {
        Some(Reason { stream: Some(stream), message, .. }) => format!("not ready: {stream}: {message}"),
        Some(Reason { stream: None, message, .. }) => format!("not ready: {message}"),
        None => {
            let behind: u64 = snapshot.lags().iter().map(|lag| lag.bytes).sum();
            format!("ready: {} files, {behind} bytes behind", snapshot.status.files.count())
        }
    }
}

/// What an operator can do about a failure.
pub fn advice(why: &Retry) -> &'static str {
    match (why.reason, &*why.code) {
        (RetryReason::Setup, "MissingCredentials" | "BadCertificates") => of_credentials(&why.message),
        (RetryReason::Network, "Connection") => of_connection(&why.message),
        (RetryReason::Throttled, _) => THROTTLED,
        (RetryReason::Server, _) => "nothing; the service fails, and standpipe tries again until it does not",
        (RetryReason::Network, _) => {
            "see whether the endpoint can be reached from here: name resolution, routes, proxies, certificates"
        }
        (RetryReason::Ambiguous, _) => {
            "see what answers at the endpoint: a proxy or captive portal, or not the service"
        }
        (RetryReason::Rejected, _) => {
            "see what the message says. Refused for one record, that becomes a dead letter; refused for record after \
             record, nothing is put aside: compare the delivery stream's type and settings with what is sent"
        }
        (RetryReason::Setup, _) if why.message.contains("takes no direct puts") => {
            "use a delivery stream of type DirectPut, or put the lines where this one takes its data from"
        }
        (RetryReason::Setup, code)
            if code == "InvalidConfiguration"
                || why.message.contains("custom endpoint are not supported") =>
        {
            "leave out `use_fips` and `use_dualstack` (AWS_USE_FIPS_ENDPOINT, AWS_USE_DUALSTACK_ENDPOINT), or `endpoint_url`: \
             an endpoint of your own is used as it is"
        }
        (RetryReason::Setup, "ValidationException" | "InvalidArgumentException") => {
            "correct `delivery_stream`: the service does not accept that name"
        }
        (RetryReason::Setup, code) if code.starts_with("KMS") => {
            "enable the delivery stream's key, and allow its use"
        }
        (RetryReason::Setup, "ResourceNotFoundException") => {
            "create the delivery stream, or correct `delivery_stream` and `region`"
        }
        (RetryReason::Setup, "InvalidKMSResourceException") => {
            "enable the delivery stream's key, and allow its use"
        }
        (RetryReason::Setup, "InvalidSourceException") => {
            "the delivery stream takes its data from elsewhere: use one of type DirectPut"
        }
        (RetryReason::Setup, "AccessDenied" | "AccessDeniedException" | "NotAuthorized") => {
            "allow firehose:PutRecord and firehose:PutRecordBatch on the delivery stream to these credentials"
        }
        (RetryReason::Setup, "MissingRegion") => "set `region` in [aws], or AWS_REGION",
        (RetryReason::Setup, "NotEncrypted") => {
            "enable server-side encryption on the delivery stream, then have the configuration read again (SIGHUP), or \
             restart"
        }
        (RetryReason::Setup, "RequestExpired" | "RequestTimeTooSkewed") => "set this machine's clock",
        (RetryReason::Setup, "InvalidSignatureException") if why.message.starts_with("Signature ") => {
            "set this machine's clock"
        }
        (RetryReason::Setup, _) => "correct or renew the credentials; they are read again with each try",
    }
}

/// What an operator can do where credentials are missing, by what is said of it.
fn of_credentials(message: &str) -> &'static str {
    let rows: [(&[&str], &str); 15] = [
        (&["have not come yet", "is being looked for"], "wait a few seconds; what is missing is said then"),
        (
            &["hop limit"],
            "raise the hop limit (aws ec2 modify-instance-metadata-options --http-put-response-hop-limit 2), or give the \
             pod or task a role of its own",
        ),
        (&["knows no role"], "attach an instance profile with a role to this instance"),
        (
            &["RegionDisabled"],
            "activate STS in that region (IAM, account settings), or set `region` to one where it is active",
        ),
        (
            &["Signature expired", "Signature not yet", "RequestExpired"],
            "set this machine's clock: signatures carry the time",
        ),
        (
            &["AccessDenied"],
            "let the role's trust policy name who assumes it (sts:AssumeRole, or sts:AssumeRoleWithWebIdentity for a \
             cluster's issuer), with the external ID if it asks for one",
        ),
        (
            &["web identity token", "InvalidIdentityToken", "ExpiredToken"],
            "see that the token is mounted at that path and is renewed, and that the role trusts its issuer",
        ),
        (&["token file"], "see that the token is mounted at that path, on one line"),
        (
            &["does not resolve"],
            "see whether this machine resolves that name: the region may be misspelt, or DNS or a VPC endpoint is missing",
        ),
        (&["certificate", "ca_file", "AWS_CA_BUNDLE", "ca_bundle", "SSL_CERT_FILE"], BAD_CERTIFICATES),
        (
            &["credential_process"],
            "run that command by hand, as the user that standpipe runs as: it has to print JSON within seconds",
        ),
        (
            &["cannot be read", "does not answer"],
            "let the user that standpipe runs as read that file (chmod, chown, ProtectHome= of a unit)",
        ),
        (&["SSO", "sso"], "sign in again (aws sso login), or use credentials that need no person"),
        (
            &["profile `"],
            "correct `profile`, or the files that it is looked for in (AWS_CONFIG_FILE, AWS_SHARED_CREDENTIALS_FILE)",
        ),
        (&["cannot be reached", "no answer in time"], "see whether that host can be reached from here"),
    ];
    let found = rows.iter().find(|(words, _)| words.iter().any(|word| message.contains(word)));
    found.map_or(
        "give credentials by the environment, a profile, or the role of this host, task or pod; they are looked for again \
         every few seconds",
        |(_, advice)| advice,
    )
}

const BAD_CERTIFICATES: &str = "name the certificates of the authority that signs there in `ca_file` of [aws], or \
                                AWS_CA_BUNDLE, in PEM; a replaced file counts at the next connection";

/// What an operator can do where no connection comes about, by what is said of it.
fn of_connection(message: &str) -> &'static str {
    if message.contains("is no region that is known") {
        "correct `region`"
    } else if message.contains("does not resolve") {
        "see whether this machine resolves that name: DNS, the region, or a VPC endpoint"
    } else if message.contains("expired") || message.contains("NotValidYet") {
        "renew the certificate, or set this machine's clock"
    } else if message.contains("certificate") {
        BAD_CERTIFICATES
    } else {
        "see whether the endpoint can be reached from here: name resolution, routes, proxies, certificates"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_asks_for_other_endpoints_and_names_one_is_told_which_keys_are_at_odds() {
        for (code, message) in [
            (
                "InvalidConfiguration",
                "FIPS endpoints are asked for, and http://vpce as the endpoint: leave one out",
            ),
            ("Unknown", "Invalid Configuration: Dualstack and custom endpoint are not supported"),
        ] {
            let why = Retry::new(RetryReason::Setup, code, message);
            assert!(advice(&why).contains("`endpoint_url`"), "{code}: {}", advice(&why));
        }
    }
}
