//! The AWS configuration files and their profiles.
//!
//! Knows where the files are, which profile is meant, and what its credentials are made from. The SDK parses the text
//! and finds the credentials; a `credential_process` is run by `process`. Reads the files anew each time: they are
//! replaced by others.

#![expect(clippy::disallowed_methods, reason = "files belong to the shells")]

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use aws_config::profile::{Profile, ProfileSet};
use aws_runtime::env_config::file::{EnvConfigFileKind, EnvConfigFiles};
use aws_types::os_shim_internal::{Env, Fs};

use super::environment::Environment;

/// The most of a configuration file that is read, in bytes: far more than any has.
const MAX_BYTES: u64 = 4 << 20;

/// The profiles that the files had when they were read.
#[derive(Debug)]
pub(super) struct Profiles {
    set: ProfileSet,
    /// The content that the SDK is given.
    contents: EnvConfigFiles,
    /// Where the files are looked for, whether they are there or not.
    pub(super) paths: Vec<PathBuf>,
    /// Why a file that is there says nothing.
    pub(super) unreadable: Option<String>,
    /// The profile that is meant.
    pub(super) name: String,
    /// Whether somebody named the profile; else it is `default`.
    pub(super) is_named: bool,
}

/// What a profile's credentials begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Base {
    /// A command prints them.
    Process(String),
    /// The SDK finds them: keys, SSO, web identity, another provider.
    Sdk,
}

/// A role that a profile assumes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Role {
    pub(super) arn: String,
    pub(super) external_id: Option<String>,
    pub(super) session_name: Option<String>,
}

/// How a profile comes to credentials: the base, then the roles that are assumed, the first one first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) base: Base,
    pub(super) roles: Vec<Role>,
}

impl Profiles {
    /// Reads the files. Blocks.
    ///
    /// # Errors
    /// When they cannot be parsed.
    pub(super) async fn read(environment: &Environment, chosen: Option<&str>) -> Result<Self, String> {
        let home = environment.get("HOME").map(Path::new);
        let place = |variable: &str, name: &str| match environment.get(variable) {
            Some(path) => Some(expanded(path, home)),
            None => home.map(|home| home.join(".aws").join(name)),
        };
        let files = [
            (EnvConfigFileKind::Config, place("AWS_CONFIG_FILE", "config")),
            (EnvConfigFileKind::Credentials, place("AWS_SHARED_CREDENTIALS_FILE", "credentials")),
        ];
        let (mut paths, mut unreadable) = (Vec::new(), None);
        let mut contents = EnvConfigFiles::builder();
        for (kind, path) in files {
            let text = match path.as_deref().map(text_of) {
                Some(Ok(text)) => text,
                Some(Err(why)) => {
                    unreadable = unreadable.or(Some(why));
                    String::new()
                }
                None => String::new(),
            };
            contents = contents.with_contents(kind, text);
            paths.extend(path);
        }
        let contents = contents.build();
        let named = chosen.or(environment.get("AWS_PROFILE"));
        let name = named.unwrap_or("default").to_owned();
        let set =
            aws_config::profile::load(&Fs::real(), &Env::real(), &contents, Some(name.clone().into())).await;
        let set = set.map_err(|error| {
            let why =
                std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            format!("the AWS configuration files ({}) cannot be understood: {why}", shown(&paths))
        })?;
        Ok(Self { set, contents, paths, unreadable, name, is_named: named.is_some() })
    }

    /// The files' content, as the SDK takes it.
    pub(super) fn contents(&self) -> EnvConfigFiles {
        self.contents.clone()
    }

    /// Whether the profile that is meant is there.
    pub(super) fn is_there(&self) -> bool {
        self.set.get_profile(&self.name).is_some()
    }

    /// The value of a key of the profile that is meant.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        let value = self.set.get_profile(&self.name)?.get(key).map(super::values::trimmed);
        value.filter(|value| !value.is_empty())
    }

    /// Whether the profile says anything of credentials.
    pub(super) fn has_credentials(&self) -> bool {
        const KEYS: [&str; 8] = [
            "aws_access_key_id",
            "role_arn",
            "credential_process",
            "sso_session",
            "sso_start_url",
            "sso_account_id",
            "web_identity_token_file",
            "credential_source",
        ];
        KEYS.iter().any(|key| self.get(key).is_some())
    }

    /// How the profile comes to credentials.
    ///
    /// # Errors
    /// When it is not there, leads in a circle, or says nothing of credentials.
    pub(super) fn plan(&self) -> Result<Plan, String> {
        if !self.is_there() {
            return Err(self.absent());
        }
        if !self.has_credentials() {
            return Err(format!("profile `{}` in {} has no credentials", self.name, shown(&self.paths)));
        }
        let (mut roles, mut visited) = (Vec::new(), Vec::new());
        let mut name = self.name.as_str();
        loop {
            let Some(profile) = self.set.get_profile(name) else {
                let by = visited.last().copied().unwrap_or(name);
                return Err(format!(
                    "profile `{by}` takes its credentials from profile `{name}`, which is not in {}",
                    shown(&self.paths)
                ));
            };
            let is_first = visited.is_empty();
            let is_again = visited.contains(&name);
            visited.push(name);
            // As the SDK reads it: keys beside a role are the base of a profile that names itself.
            if is_again || (!is_first && profile.get("aws_access_key_id").is_some()) {
                return Ok(Plan { base: base_of(profile), roles: reversed(roles) });
            }
            let role = profile.get("role_arn").filter(|_| profile.get("web_identity_token_file").is_none());
            let Some(arn) = role else {
                return Ok(Plan { base: base_of(profile), roles: reversed(roles) });
            };
            let value = |key: &str| profile.get(key).map(|text| super::values::trimmed(text).to_owned());
            roles.push(Role {
                arn: super::values::trimmed(arn).to_owned(),
                external_id: value("external_id"),
                session_name: value("role_session_name"),
            });
            match profile.get("source_profile") {
                Some(next) => name = next,
                // Another provider is its base: the SDK's to find.
                None => return Ok(Plan { base: Base::Sdk, roles: Vec::new() }),
            }
        }
    }

    /// Why there is no such profile.
    fn absent(&self) -> String {
        match &self.unreadable {
            Some(why) => format!("profile `{}` cannot be read: {why}", self.name),
            None => format!("profile `{}` is not in {}", self.name, shown(&self.paths)),
        }
    }
}

fn base_of(profile: &Profile) -> Base {
    let others =
        ["web_identity_token_file", "sso_session", "sso_start_url", "sso_account_id", "credential_source"];
    match profile.get("credential_process") {
        Some(command) if others.iter().all(|key| profile.get(key).is_none()) => {
            Base::Process(command.to_owned())
        }
        Some(_) | None => Base::Sdk,
    }
}

fn reversed(mut roles: Vec<Role>) -> Vec<Role> {
    roles.reverse();
    roles
}

/// Paths, as a sentence names them.
pub(super) fn shown(paths: &[PathBuf]) -> String {
    match paths {
        [] => "any file: neither HOME nor AWS_CONFIG_FILE is set".to_owned(),
        paths => paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" or "),
    }
}

/// The text of a file, without what stands between it and the parser; empty for a file that is not there.
fn text_of(path: &Path) -> Result<String, String> {
    match std::fs::metadata(path) {
        Ok(stat) if stat.len() > MAX_BYTES => {
            return Err(format!("{} is larger than {MAX_BYTES} bytes", path.display()));
        }
        Ok(stat) if !stat.is_file() => return Err(format!("{} is not a file", path.display())),
        Ok(_) | Err(_) => {}
    }
    match std::fs::read(path) {
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes);
            Ok(text.trim_start_matches('\u{feff}').replace('\r', "\n"))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(format!("{} cannot be read: {error}", path.display())),
    }
}

/// A path in which `~` stands for the home directory.
fn expanded(path: &str, home: Option<&Path>) -> PathBuf {
    match (path.strip_prefix("~/"), home) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(path),
    }
}

#[cfg(test)]
mod tests {
    use super::super::environment::environment;
    use super::*;

    async fn read(config: &str, chosen: Option<&str>) -> Profiles {
        let dir = tempfile::tempdir().expect("a directory");
        let (config_file, credentials) = (dir.path().join("config"), dir.path().join("credentials"));
        std::fs::write(&config_file, config).expect("written");
        let environment = environment(&[
            ("AWS_CONFIG_FILE", config_file.to_str().expect("UTF-8")),
            ("AWS_SHARED_CREDENTIALS_FILE", credentials.to_str().expect("UTF-8")),
        ]);
        Profiles::read(&environment, chosen).await.expect("it parses")
    }

    #[tokio::test]
    async fn a_file_with_a_byte_order_mark_and_foreign_line_ends_is_read() {
        let profiles =
            read("\u{feff}[default]\r\nregion = eu-west-1 \r\naws_access_key_id = A\r\naws_secret_access_key = b\r\n", None)
                .await;
        assert_eq!(profiles.get("region"), Some("eu-west-1"));
        assert_eq!(profiles.plan(), Ok(Plan { base: Base::Sdk, roles: Vec::new() }));
        assert!(!profiles.is_named);
    }

    #[tokio::test]
    async fn roles_over_a_process_are_assumed_from_the_base_up() {
        let profiles = read(
            "[profile a]\nrole_arn = arn:a\nsource_profile = b\nexternal_id = e\n[profile b]\nrole_arn = arn:b\n\
             source_profile = c\n[profile c]\ncredential_process = /bin/keys --now\n",
            Some("a"),
        )
        .await;
        let plan = profiles.plan().expect("it leads to a process");
        assert_eq!(plan.base, Base::Process("/bin/keys --now".to_owned()));
        let arns: Vec<_> = plan.roles.iter().map(|role| role.arn.as_str()).collect();
        assert_eq!(arns, ["arn:b", "arn:a"]);
        assert_eq!(plan.roles[1].external_id.as_deref(), Some("e"));
    }

    #[tokio::test]
    async fn what_is_wrong_with_a_profile_is_said_with_its_name_and_its_files() {
        let config = "[profile empty]\nregion = us-east-1\n[profile a]\nrole_arn = arn:a\nsource_profile = gone\n\
                      [profile b]\nrole_arn = arn:b\nsource_profile = c\n[profile c]\nrole_arn = arn:c\nsource_profile = b\n";
        for (name, words) in [
            ("logs", "profile `logs` is not in "),
            ("empty", "has no credentials"),
            ("a", "profile `a` takes its credentials from profile `gone`, which is not in "),
        ] {
            let why = read(config, Some(name)).await.plan().expect_err(name);
            assert!(why.contains(words) && why.contains("/config"), "{why}");
        }
        let circle = read(config, Some("b")).await.plan().expect("the SDK says that it is a circle");
        assert_eq!(circle.base, Base::Sdk);
    }

    #[tokio::test]
    async fn a_directory_in_place_of_a_file_is_told() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().to_str().expect("UTF-8");
        let environment = environment(&[("AWS_CONFIG_FILE", path)]);
        let profiles = Profiles::read(&environment, Some("logs")).await.expect("nothing to parse");
        let why = profiles.plan().expect_err("there is no such profile");
        assert_eq!(why, format!("profile `logs` cannot be read: {path} is not a file"));
    }
}
