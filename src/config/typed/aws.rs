//! `[aws]` as typed, and what stands of it in a stream's table, too.
//!
//! Knows AWS's rules for names. Does not know which regions there are: AWS opens new ones.

use std::path::PathBuf;
use std::time::Duration;

use super::{HOUR, absolute_dir, not_empty, url};
use crate::config::walk::{Section, Typed};

#[derive(Debug, Default)]
pub(in crate::config) struct AwsTable {
    pub(in crate::config) region: Option<Typed<String>>,
    pub(in crate::config) profile: Option<Typed<String>>,
    pub(in crate::config) role_arn: Option<Typed<String>>,
    pub(in crate::config) external_id: Option<Typed<String>>,
    pub(in crate::config) session_name: Option<Typed<String>>,
    pub(in crate::config) session_duration: Option<Typed<Duration>>,
    pub(in crate::config) endpoint_url: Option<Typed<String>>,
    pub(in crate::config) ca_file: Option<Typed<PathBuf>>,
    pub(in crate::config) use_fips: Option<Typed<bool>>,
    pub(in crate::config) use_dualstack: Option<Typed<bool>>,
    pub(in crate::config) imds_timeout: Option<Typed<Duration>>,
    pub(in crate::config) imds_attempts: Option<Typed<u32>>,
}

pub(super) fn table(aws: &mut Section<'_, '_, '_>) -> AwsTable {
    AwsTable {
        region: aws.parsed("region", region),
        profile: aws.parsed("profile", not_empty),
        role_arn: aws.parsed("role_arn", role_arn),
        external_id: aws.parsed("external_id", external_id),
        session_name: aws.parsed("session_name", session_name),
        // The bounds of AssumeRole (STS API reference, DurationSeconds).
        session_duration: aws.duration("session_duration", Duration::from_secs(900), 12 * HOUR),
        endpoint_url: aws.parsed("endpoint_url", url),
        ca_file: aws.parsed("ca_file", absolute_dir),
        use_fips: aws.switch("use_fips"),
        use_dualstack: aws.switch("use_dualstack"),
        imds_timeout: aws.duration("imds_timeout", Duration::from_millis(100), Duration::from_secs(60)),
        imds_attempts: aws.count("imds_attempts", 1, 100),
    }
}

/// An external ID by the rule for it, 2 to 1,224 characters (STS API reference, `AssumeRole`).
fn external_id(text: &str) -> Result<String, String> {
    let text = tidy(text);
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_+=,.@:/-".contains(&byte);
    if text.bytes().all(allowed) && (2..=1224).contains(&text.len()) {
        Ok(text.to_owned())
    } else {
        // Not shown: some keep it to themselves.
        Err("is not an external ID; write 2 to 1224 of a-z A-Z 0-9 _ + = , . @ : / -".to_owned())
    }
}

/// A session's name by the rule for it, 2 to 64 characters (STS API reference, `AssumeRole`).
fn session_name(text: &str) -> Result<String, String> {
    let text = tidy(text);
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte);
    if text.bytes().all(allowed) && (2..=64).contains(&text.len()) {
        Ok(text.to_owned())
    } else {
        Err(format!("`{text}` is not a session's name; write 2 to 64 of a-z A-Z 0-9 _ + = , . @ -"))
    }
}

/// A text without what stands around a value of the environment that was put in its place.
fn tidy(text: &str) -> &str {
    text.trim_matches(|char: char| char.is_whitespace() || char.is_control() || char == '\u{feff}')
}

pub(super) fn region(text: &str) -> Result<String, String> {
    let text = tidy(text);
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if text.bytes().all(allowed) && text.contains('-') {
        Ok(text.to_owned())
    } else {
        Err(format!("`{text}` is not a region; write it as \"us-east-1\""))
    }
}

pub(super) fn role_arn(text: &str) -> Result<String, String> {
    let text = tidy(text);
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(
            "is not a role's ARN: it has a blank, a control character or a letter beyond ASCII inside"
                .to_owned(),
        );
    }
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    match parts[..] {
        ["arn", _, "iam", "", _, role] if role.starts_with("role/") => Ok(text.to_owned()),
        _ => {
            let example = "\"arn:aws:iam::123456789012:role/NAME\"";
            Err(format!("`{text}` is not a role's ARN; write it as {example}"))
        }
    }
}
