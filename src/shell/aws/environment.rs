//! What the environment says of the way to AWS, read once.
//!
//! Knows the names of the variables. What stands around a value is left out; a variable that is empty is
//! as good as none.

use std::collections::BTreeMap;
use std::ffi::OsString;

use super::values::trimmed;

/// The variables that are read, as AWS's own tools name them.
const NAMES: [&str; 32] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_CA_BUNDLE",
    "AWS_CONFIG_FILE",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_DEFAULT_REGION",
    "AWS_EC2_METADATA_DISABLED",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE",
    "AWS_ENDPOINT_URL_STS",
    "AWS_METADATA_SERVICE_NUM_ATTEMPTS",
    "AWS_METADATA_SERVICE_TIMEOUT",
    "AWS_PROFILE",
    "AWS_REGION",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_USE_DUALSTACK_ENDPOINT",
    "AWS_USE_FIPS_ENDPOINT",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "ALL_PROXY",
    "HOME",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "all_proxy",
    "https_proxy",
    "no_proxy",
];

/// The variables in which a blank around the value means something.
const AS_THEY_ARE: [&str; 2] = ["HOME", "AWS_CONFIG_FILE"];

/// The variables that are set, trimmed.
#[derive(Clone, Debug, Default)]
pub(super) struct Environment {
    values: BTreeMap<&'static str, String>,
}

impl Environment {
    /// An environment, and the variables of which something was left out.
    pub(super) fn of(value: &dyn Fn(&str) -> Option<OsString>) -> (Self, Vec<&'static str>) {
        let mut untidy = Vec::new();
        let mut values = BTreeMap::new();
        for name in NAMES {
            let Some(text) = value(name) else { continue };
            let text = text.to_string_lossy().into_owned();
            let kept = if AS_THEY_ARE.contains(&name) { text.as_str() } else { trimmed(&text) };
            if kept.is_empty() {
                continue;
            }
            if kept.len() != text.len() {
                untidy.push(name);
            }
            values.insert(name, kept.to_owned());
        }
        (Self { values }, untidy)
    }

    /// The value of a variable; `None` when it is not set, or empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        debug_assert!(NAMES.contains(&name), "{name} is read");
        self.values.get(name).map(String::as_str)
    }
}

#[cfg(test)]
pub(super) fn environment(pairs: &[(&str, &str)]) -> Environment {
    let value =
        |name: &str| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value));
    Environment::of(&value).0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_trimmed_and_those_that_were_not_tidy_are_named() {
        let value = |name: &str| {
            let text = match name {
                "AWS_REGION" => " us-east-1\n",
                "AWS_ACCESS_KEY_ID" => "AKID",
                "AWS_SESSION_TOKEN" => "\r\n",
                _ => return None,
            };
            Some(OsString::from(text))
        };
        let (environment, untidy) = Environment::of(&value);
        assert_eq!(environment.get("AWS_REGION"), Some("us-east-1"));
        assert_eq!(environment.get("AWS_ACCESS_KEY_ID"), Some("AKID"));
        assert_eq!(environment.get("AWS_SESSION_TOKEN"), None, "nothing is left of it");
        assert_eq!(untidy, ["AWS_REGION"]);
    }
}
