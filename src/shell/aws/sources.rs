//! Where credentials come from: one provider is chosen, asked, and named in what is said of it.
//!
//! Knows the order of the SDK's own chain (environment, profile, web identity, container, instance metadata), and that a
//! profile which the configuration names is used alone. The SDK's providers find the credentials, with their retries on.
//! Does not know when: `keeper` does.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_config::ecs::EcsCredentialsProvider;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::retry::RetryConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_runtime::env_config::file::EnvConfigFiles;
use aws_sdk_firehose::config::{Credentials, ProvideCredentials};
use tracing::debug;

use crate::config::Aws;

use super::connections::Connections;
use super::environment::Environment;
use super::explain::{layers, root};
use super::files::{profiles, text_of};
use super::imds::Metadata;
use super::process;
use super::profile::{Base, Profiles, Role, shown};
use super::values::{is_visible, trimmed};

/// How often a provider's service is asked within one attempt to get credentials.
const ATTEMPTS: u32 = 3;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);

/// What credentials are made from.
#[derive(Clone, Debug)]
pub(super) struct Sources {
    pub(super) environment: Arc<Environment>,
    pub(super) aws: Arc<Aws>,
    /// The role that is assumed with what is found.
    pub(super) role_arn: Option<String>,
    /// The region that STS is asked in.
    pub(super) region: String,
    pub(super) connections: Connections,
    /// The AWS configuration files as they were at first: endpoints and switches of STS.
    pub(super) contents: EnvConfigFiles,
}

/// What came of looking for credentials.
#[derive(Debug)]
pub(super) struct Fetched {
    /// The credentials, or in one sentence why there are none.
    pub(super) result: Result<Credentials, String>,
    /// The files whose change is a reason to look again.
    pub(super) files: Vec<PathBuf>,
    /// Whether what was found stays the same as long as this process runs.
    pub(super) is_fixed: bool,
}

impl Sources {
    /// Looks for credentials once.
    pub(super) async fn fetch(&self) -> Fetched {
        // Without certificates STS is not reached, which says so itself.
        let _ = self.connections.refresh().await;
        let mut fetched = self.find().await;
        if let (Ok(credentials), Some(arn)) = (&fetched.result, &self.role_arn) {
            let role = Role {
                arn: arn.clone(),
                external_id: self.aws.external_id.clone(),
                session_name: Some(self.aws.session_name.clone()),
            };
            let duration = self.aws.session_duration;
            fetched.result = self.assume(&role, duration, credentials.clone()).await;
            fetched.is_fixed = false;
        }
        fetched
    }

    async fn find(&self) -> Fetched {
        let environment = &self.environment;
        let keys = [environment.get("AWS_ACCESS_KEY_ID"), environment.get("AWS_SECRET_ACCESS_KEY")];
        if let (None, [Some(key), Some(secret)]) = (&self.aws.profile, keys) {
            let token = environment.get("AWS_SESSION_TOKEN").map(str::to_owned);
            let credentials = Credentials::new(key, secret, token, None, "environment");
            return Fetched { result: Ok(credentials), files: Vec::new(), is_fixed: true };
        }
        let read = match profiles(environment, self.aws.profile.as_deref()).await {
            Ok(read) => read,
            Err((why, files)) => return Fetched { result: Err(why), files, is_fixed: false },
        };
        let mut files = read.paths.clone();
        let result = if read.is_named || read.has_credentials() {
            self.of_profile(&read).await
        } else if let (Some(arn), Some(token)) =
            (environment.get("AWS_ROLE_ARN"), environment.get("AWS_WEB_IDENTITY_TOKEN_FILE"))
        {
            files = vec![token.into()];
            self.of_web_identity(arn, token).await
        } else if let Some(agent) = environment
            .get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
            .map(|_| "169.254.170.2")
            .or_else(|| environment.get("AWS_CONTAINER_CREDENTIALS_FULL_URI"))
        {
            self.of_container(agent).await
        } else {
            let metadata = Metadata::of(&self.aws, environment, read.get("ec2_metadata_service_endpoint"));
            let found = metadata.credentials(&self.provider_config()).await;
            found.map_err(|why| nowhere(&read, keys, &why))
        };
        Fetched { result, files, is_fixed: false }
    }

    /// The credentials of a profile, and of the roles that it assumes.
    async fn of_profile(&self, read: &Profiles) -> Result<Credentials, String> {
        let plan = read.plan()?;
        let about = |why: String| format!("{why} (profile `{}`)", read.name);
        let Base::Process(command) = &plan.base else {
            let provider = ProfileFileCredentialsProvider::builder()
                .configure(&self.provider_config())
                .profile_name(read.name.clone())
                .profile_files(read.contents())
                .build();
            let found = ask(&provider).await;
            return found.map_err(|why| {
                format!("profile `{}` in {} gives no credentials: {why}", read.name, shown(&read.paths))
            });
        };
        let mut credentials = process::run(command, process::PATIENCE).await.map_err(about)?;
        for role in &plan.roles {
            credentials = self.assume(role, None, credentials).await.map_err(about)?;
        }
        Ok(credentials)
    }

    /// The role of a web identity. The SDK's own provider would send the file with whatever stands around the token.
    async fn of_web_identity(&self, arn: &str, file: &str) -> Result<Credentials, String> {
        let token = text_of(file).await.map_err(|why| {
            format!("the web identity token file {file} (AWS_WEB_IDENTITY_TOKEN_FILE) {why}, so that {arn} cannot be assumed")
        })?;
        let session = self.environment.get("AWS_ROLE_SESSION_NAME").unwrap_or(&self.aws.session_name);
        let sts = aws_sdk_sts::Client::new(&self.sdk_config().await);
        let asked = sts
            .assume_role_with_web_identity()
            .role_arn(arn)
            .role_session_name(session)
            .web_identity_token(trimmed(&token))
            .send()
            .await;
        let why = match asked {
            Ok(answer) => match answer.credentials().map(of_session) {
                Some(found) => return Ok(found),
                None => "an answer without credentials".to_owned(),
            },
            Err(error) => root(&error),
        };
        Err(format!("{arn} cannot be assumed at {} with the web identity token {file}: {why}", self.sts()))
    }

    async fn of_container(&self, agent: &str) -> Result<Credentials, String> {
        if let Some(file) = self.environment.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE") {
            let named = format!("the token file {file} (AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE)");
            let token = text_of(file).await.map_err(|why| format!("{named} {why}"))?;
            if !is_visible(&token) {
                return Err(format!(
                    "{named} has blanks or ends of lines around or in the token: leave them out"
                ));
            }
        }
        let provider = EcsCredentialsProvider::builder().configure(&self.provider_config()).build();
        let found = ask(&provider).await;
        let host = agent.rsplit("://").next().and_then(|rest| rest.split('/').next()).unwrap_or(agent);
        found.map_err(|why| match why.contains("parse header value") {
            true => "AWS_CONTAINER_AUTHORIZATION_TOKEN has ends of lines or the like around or in the token: leave them \
                     out"
                .to_owned(),
            false => format!("the container credentials agent at {host} gives no credentials: {why}"),
        })
    }

    /// Assumes a role with credentials that are there.
    async fn assume(
        &self,
        role: &Role,
        duration: Option<Duration>,
        with: Credentials,
    ) -> Result<Credentials, String> {
        let mut builder = AssumeRoleProvider::builder(&role.arn)
            .session_name(role.session_name.as_ref().unwrap_or(&self.aws.session_name))
            .configure(&self.sdk_config().await);
        if let Some(id) = &role.external_id {
            builder = builder.external_id(id);
        }
        if let Some(duration) = duration {
            builder = builder.session_length(duration);
        }
        let found = ask(&builder.build_from_provider(with).await).await;
        found.map_err(|why| format!("{} cannot be assumed at {}: {why}", role.arn, self.sts()))
    }

    /// How STS is called in a sentence, with its host.
    fn sts(&self) -> String {
        let named = self.environment.get("AWS_ENDPOINT_URL_STS").map(str::to_owned);
        format!("STS ({})", named.unwrap_or_else(|| format!("sts.{}.amazonaws.com", self.region)))
    }

    fn timeouts(&self) -> TimeoutConfig {
        TimeoutConfig::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .operation_attempt_timeout(ATTEMPT_TIMEOUT)
            .operation_timeout(ATTEMPT_TIMEOUT * ATTEMPTS)
            .build()
    }

    fn provider_config(&self) -> ProviderConfig {
        provider_config(&self.region, &self.aws, &self.connections)
            .with_retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
            .with_timeout_config(self.timeouts())
    }

    /// Settings of STS: of the environment, with retries on.
    async fn sdk_config(&self) -> SdkConfig {
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .region(Region::new(self.region.clone()))
            .http_client(self.connections.clone())
            .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
            .timeout_config(self.timeouts())
            .profile_files(self.contents.clone())
            .no_credentials();
        if let Some(fips) = self.aws.use_fips {
            loader = loader.use_fips(fips);
        }
        if let Some(dual) = self.aws.use_dualstack {
            loader = loader.use_dual_stack(dual);
        }
        if let Some(profile) = &self.aws.profile {
            loader = loader.profile_name(profile);
        }
        loader.load().await
    }
}

/// The credentials of a session of STS.
fn of_session(session: &aws_sdk_sts::types::Credentials) -> Credentials {
    let expiry = SystemTime::try_from(*session.expiration()).ok();
    let (key, secret) = (session.access_key_id(), session.secret_access_key());
    Credentials::new(key, secret, Some(session.session_token().to_owned()), expiry, "WebIdentityToken")
}

/// Settings of the SDK's providers.
pub(super) fn provider_config(region: &str, aws: &Aws, connections: &Connections) -> ProviderConfig {
    ProviderConfig::without_region()
        .with_region(Some(Region::new(region.to_owned())))
        .with_http_client(connections.clone())
        .with_use_fips(aws.use_fips)
        .with_use_dual_stack(aws.use_dualstack)
        .with_behavior_version(Some(BehaviorVersion::latest()))
}

/// Asks a provider of the SDK; the layers of its error go to the log at debug level.
async fn ask(provider: &impl ProvideCredentials) -> Result<Credentials, String> {
    provider.provide_credentials().await.map_err(|error| {
        let said = layers(&error).iter().map(ToString::to_string).collect::<Vec<_>>().join(": ");
        debug!(said, "a provider gives no credentials");
        root(&error)
    })
}

/// Why there are credentials nowhere.
fn nowhere(read: &Profiles, keys: [Option<&str>; 2], why: &str) -> String {
    if let Some(unreadable) = &read.unreadable {
        return format!("no credentials: {unreadable}, and {why}");
    }
    let of_environment = match keys {
        [Some(_), None] => "AWS_SECRET_ACCESS_KEY is not set beside AWS_ACCESS_KEY_ID",
        [None, Some(_)] => "AWS_ACCESS_KEY_ID is not set beside AWS_SECRET_ACCESS_KEY",
        [None, None] | [Some(_), Some(_)] => "none in the environment",
    };
    format!("no credentials: {of_environment}, none in {}, and {why}", shown(&read.paths))
}
