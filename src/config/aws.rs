//! The way to AWS as needed: what `[aws]` says for every stream.
//!
//! Knows defaults. Does not know the environment, which says what is `None` here.

use std::path::PathBuf;
use std::time::Duration;

use super::typed::AwsTable;
use super::walk::Typed;

/// How long one request to the instance metadata service may take: some answer only after a second.
const IMDS_TIMEOUT: Duration = Duration::from_secs(2);
const IMDS_ATTEMPTS: u32 = 3;
const SESSION_NAME: &str = "standpipe";

/// The way to AWS, as far as all streams share it. What is `None` is left to the environment and the profile.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Aws {
    /// The profile of the AWS configuration files whose credentials alone are used.
    pub profile: Option<String>,
    /// What a role of another account asks for, when one is assumed.
    pub external_id: Option<String>,
    /// How the session of an assumed role is called.
    pub session_name: String,
    /// How long the session of an assumed role lasts; `None` for what STS gives, an hour.
    pub session_duration: Option<Duration>,
    /// A file of certificates that are trusted instead of the platform's.
    pub ca_file: Option<PathBuf>,
    /// Whether FIPS endpoints are used.
    pub use_fips: Option<bool>,
    /// Whether endpoints are used that have IPv6 addresses, too.
    pub use_dualstack: Option<bool>,
    /// How long a request to the instance metadata service may take; `None` where it is not written.
    pub imds_timeout: Option<Duration>,
    /// How often the instance metadata service is asked before it counts as silent; `None` where it is not written.
    pub imds_attempts: Option<u32>,
}

impl Default for Aws {
    fn default() -> Self {
        Self {
            profile: None,
            external_id: None,
            session_name: SESSION_NAME.to_owned(),
            session_duration: None,
            ca_file: None,
            use_fips: None,
            use_dualstack: None,
            imds_timeout: None,
            imds_attempts: None,
        }
    }
}

impl Aws {
    /// How long a request to the instance metadata service may take, by default 2 seconds.
    pub fn imds_timeout(&self) -> Duration {
        self.imds_timeout.unwrap_or(IMDS_TIMEOUT)
    }

    /// How often the instance metadata service is asked, by default 3 times.
    pub fn imds_attempts(&self) -> u32 {
        self.imds_attempts.unwrap_or(IMDS_ATTEMPTS)
    }

    pub(super) fn of(table: &AwsTable) -> Self {
        let text = |typed: &Option<Typed<String>>| typed.as_ref().map(|typed| typed.value.clone());
        let duration = |typed: &Option<Typed<Duration>>| typed.as_ref().map(|typed| typed.value);
        Self {
            profile: text(&table.profile),
            external_id: text(&table.external_id),
            session_name: text(&table.session_name).unwrap_or_else(|| SESSION_NAME.to_owned()),
            session_duration: duration(&table.session_duration),
            ca_file: table.ca_file.as_ref().map(|typed| typed.value.clone()),
            use_fips: table.use_fips.as_ref().map(|typed| typed.value),
            use_dualstack: table.use_dualstack.as_ref().map(|typed| typed.value),
            imds_timeout: duration(&table.imds_timeout),
            imds_attempts: table.imds_attempts.as_ref().map(|typed| typed.value),
        }
    }
}
