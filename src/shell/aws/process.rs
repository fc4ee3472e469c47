//! `credential_process`: a command of the operator's that prints credentials.
//!
//! Knows how it is run, ended and read. A command that hangs is killed with everything that it started, at its time-out
//! and when nobody waits for it any more: the SDK would leave it behind.
//!
//! *Invariant:* no command outlives the call that ran it; what it prints is never logged.

use std::process::Stdio;
use std::time::{Duration, SystemTime};

use aws_sdk_firehose::config::Credentials;
use aws_sdk_firehose::primitives::{DateTime, DateTimeFormat};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

use super::values::on_one_line;

/// How long a command may take. The SDK would give it five seconds; some ask a person's agent first.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// The most of what a command prints that is read, in bytes: credentials have some thousand.
const MAX_OUTPUT_BYTES: u64 = 64 * 1024;

/// The most of what a command complains about that is shown, in bytes.
const MAX_COMPLAINT_BYTES: usize = 200;

/// Everything that a command started.
#[derive(Debug)]
struct Group(Option<Pid>);

impl Group {
    fn kill(&mut self) {
        if let Some(group) = self.0.take() {
            // Mostly nobody is left there.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs a command and reads the credentials that it prints.
///
/// # Errors
/// The command by its program's name, and what became of it. Never its arguments or its output, which may be secret.
pub(super) async fn run(command: &str, patience: Duration) -> Result<Credentials, String> {
    let name = program(command);
    let mut child = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("credential_process `{name}` cannot be started: {error}"))?;
    let pid = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    let mut group = Group(pid);
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let work = async {
        let (out, err) = tokio::join!(read(out), read(err));
        (child.wait().await, out, err)
    };
    let Ok((status, out, err)) = tokio::time::timeout(patience, work).await else {
        group.kill();
        // The kernel has it done before long; a zombie would stay otherwise.
        let _ = tokio::time::timeout(Duration::from_secs(1), child.wait()).await;
        return Err(format!("credential_process `{name}` did not end within {patience:?} and was killed"));
    };
    let status =
        status.map_err(|error| format!("credential_process `{name}` cannot be waited for: {error}"))?;
    // An agent that a command leaves running for its next run is the operator's.
    group.0 = None;
    if !status.success() {
        let complaint = on_one_line(&String::from_utf8_lossy(&err), MAX_COMPLAINT_BYTES);
        let complaint = if complaint.is_empty() { String::new() } else { format!(": {complaint}") };
        return Err(format!("credential_process `{name}` failed with {status}{complaint}"));
    }
    parse(&out).map_err(|why| format!("credential_process `{name}` {why}"))
}

/// The command without its arguments, which may be secret.
fn program(command: &str) -> String {
    let command = command.trim_start();
    let end = match command.strip_prefix('"') {
        Some(rest) => rest.find('"').map(|at| at + 2),
        None => command.find(char::is_whitespace),
    };
    on_one_line(command[..end.unwrap_or(command.len())].trim_matches('"'), MAX_COMPLAINT_BYTES)
}

async fn read(from: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(from) = from {
        let mut limited = from.take(MAX_OUTPUT_BYTES);
        // What was read until then is judged.
        let _ = limited.read_to_end(&mut bytes).await;
        // A command that prints on must not block for ever on a full pipe: its reader is dropped here.
    }
    bytes
}

/// Credentials as the SDKs document them: a JSON object of version 1.
fn parse(output: &[u8]) -> Result<Credentials, String> {
    let text = String::from_utf8_lossy(output);
    let text = text.trim_start_matches('\u{feff}').trim();
    let Ok(Value::Object(members)) = serde_json::from_str::<Value>(text) else {
        return Err("printed no JSON object".to_owned());
    };
    let member =
        |name: &str| members.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value);
    let word = |name: &str| member(name).and_then(Value::as_str);
    match member("Version").map(Value::as_i64) {
        Some(Some(1)) => {}
        Some(_) => return Err("printed another Version than 1".to_owned()),
        None => return Err("printed no Version".to_owned()),
    }
    let missing = |name: &str| format!("printed no {name}");
    let key = word("AccessKeyId").ok_or_else(|| missing("AccessKeyId"))?;
    let secret = word("SecretAccessKey").ok_or_else(|| missing("SecretAccessKey"))?;
    let expiry = match word("Expiration") {
        Some(text) => Some(time(text).ok_or("printed an Expiration that is no time (RFC 3339)")?),
        None => None,
    };
    Ok(Credentials::new(key, secret, word("SessionToken").map(str::to_owned), expiry, "CredentialProcess"))
}

fn time(text: &str) -> Option<SystemTime> {
    let time = DateTime::from_str(text.trim(), DateTimeFormat::DateTimeWithOffset).ok()?;
    SystemTime::try_from(time).ok()
}

#[cfg(test)]
mod tests {
    #![expect(
        clippy::disallowed_methods,
        reason = "a process is waited for, and leaves its number in a file"
    )]

    use super::*;

    #[tokio::test]
    async fn what_a_command_prints_is_read() {
        let printed = r#"echo '{"Version":1,"AccessKeyId":"AKID","SecretAccessKey":"s","SessionToken":"t","Expiration":"2099-01-01T00:00:00+00:00"}'"#;
        let credentials = run(printed, PATIENCE).await.expect("credentials");
        assert_eq!((credentials.access_key_id(), credentials.session_token()), ("AKID", Some("t")));
        assert!(credentials.expiry().is_some());
    }

    #[tokio::test]
    async fn what_is_wrong_is_said_of_the_command_by_its_name_alone() {
        for (command, words) in [
            ("exit 3", "credential_process `exit` failed with exit status: 3"),
            ("echo no >&2; exit 1 # --password secret", "`echo` failed with exit status: 1: no"),
            ("/not/there --password secret", "`/not/there` failed with exit status: 127"),
            ("echo nonsense", "`echo` printed no JSON object"),
            ("echo '{}'", "printed no Version"),
            (r#"echo '{"Version":2}'"#, "printed another Version than 1"),
            (r#"echo '{"Version":1,"AccessKeyId":"A"}'"#, "printed no SecretAccessKey"),
            (
                r#"echo '{"Version":1,"AccessKeyId":"A","SecretAccessKey":"b","Expiration":"soon"}'"#,
                "printed an Expiration that is no time",
            ),
        ] {
            let why = run(command, PATIENCE).await.expect_err(command);
            assert!(why.contains(words) && !why.contains("secret"), "{command}: {why}");
        }
    }

    fn alive(marker: &std::path::Path) -> bool {
        let id = std::fs::read_to_string(marker).unwrap_or_default();
        std::path::Path::new("/proc").join(id.trim()).join("stat").exists() && !id.trim().is_empty()
    }

    #[tokio::test]
    async fn a_command_that_hangs_is_killed_with_all_that_it_started() {
        let dir = tempfile::tempdir().expect("a directory");
        let marker = dir.path().join("id");
        let command = format!("sleep 1000 & echo $! > {}; wait; sleep 1000", marker.display());
        let why = run(&command, Duration::from_millis(300)).await.expect_err("it hangs");
        assert_eq!(why, "credential_process `sleep` did not end within 300ms and was killed");
        for _ in 0..500 {
            if !alive(&marker) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the child of the command is still there");
    }

    #[tokio::test]
    async fn a_command_that_nobody_waits_for_any_more_is_killed() {
        let dir = tempfile::tempdir().expect("a directory");
        let marker = dir.path().join("id");
        let command = format!("echo $$ > {}; sleep 1000", marker.display());
        let run = run(&command, PATIENCE);
        let _ = tokio::time::timeout(Duration::from_millis(300), run).await;
        for _ in 0..500 {
            if !alive(&marker) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the command is still there");
    }
}
