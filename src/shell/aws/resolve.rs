//! The way of one stream: region, endpoint, certificates, and whose credentials.
//!
//! Knows the order in which a region is looked for. Asks the instance metadata service last, and remembers its answer for
//! all streams.

#![expect(clippy::disallowed_methods, reason = "an answer counts for who asked before it came")]

use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_types::service_config::ServiceConfigKey;

use crate::config::{Located, Stream};
use crate::model::verdict::{Retry, RetryReason};

use super::connections::Connections;
use super::files::profiles;
use super::imds::Metadata;
use super::keeper::missing;
use super::profile::{Profiles, shown};
use super::sources::provider_config;
use super::trust::Trust;
use super::values::{on_one_line, trimmed};
use super::{Asked, Found, Settings, Shared, regions};

/// The most of a region that is shown, in characters.
const MAX_REGION_BYTES: usize = 64;

/// What was found of the way of one stream.
pub(super) struct Looked {
    read: Profiles,
    connections: Connections,
    /// What is wrong with certificates; only where that was asked. It is said when they are needed.
    pub(super) trust: Result<(), String>,
    /// Where requests go, and the settings of the environment and the profile.
    pub(super) located: Result<(Arc<Located>, SdkConfig), Retry>,
}

/// How far is looked.
#[derive(Clone, Copy, Debug)]
pub struct Reach {
    /// Whether the network is asked for a region that nothing names.
    pub asks: bool,
    /// Whether certificates are read.
    pub trusts: bool,
}

pub(super) async fn find(shared: &Shared, stream: &Stream) -> Result<Found, Retry> {
    let looked = look(shared, stream, Reach { asks: true, trusts: true }).await?;
    let Looked { read, connections, located, .. } = looked;
    let (located, sdk) = located?;
    let settings = Settings {
        aws: Arc::clone(&stream.aws),
        role_arn: stream.role_arn.clone(),
        region: located.region.clone(),
    };
    let credentials = shared.keeper(settings, &connections, &read);
    Ok(Found { sdk, located, credentials, connections })
}

/// Looks for the way. Boxed, for it is in the program once then, whoever looks.
pub(super) fn look<'a>(
    shared: &'a Shared,
    stream: &'a Stream,
    reach: Reach,
) -> Pin<Box<dyn Future<Output = Result<Looked, Retry>> + Send + 'a>> {
    Box::pin(async move {
        let (aws, environment) = (&stream.aws, &shared.environment);
        let read = profiles(environment, aws.profile.as_deref()).await.map_err(|(why, _)| missing(&why))?;
        if aws.profile.is_some() {
            // Whatever else there is, it is not used.
            read.plan().map_err(|why| missing(&why))?;
        }
        let trust = Trust::choose(aws, environment, read.get("ca_bundle"));
        let connections = Connections::new(trust, environment, read.get("ec2_metadata_service_endpoint"));
        let trust = if reach.trusts { connections.refresh().await } else { Ok(()) };
        let region = region(shared, stream, &read, &connections, reach.asks).await;
        let (by, region) = match region {
            Ok(found) => found,
            Err(why) => return Ok(Looked { read, connections, trust, located: Err(why) }),
        };
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .region(Region::new(region.clone()))
            .http_client(connections.clone())
            .profile_files(read.contents())
            .no_credentials();
        if let Some(profile) = &aws.profile {
            loader = loader.profile_name(profile);
        }
        if let Some(fips) = aws.use_fips {
            loader = loader.use_fips(fips);
        }
        if let Some(dual) = aws.use_dualstack {
            loader = loader.use_dual_stack(dual);
        }
        let sdk = loader.load().await;
        let located = Arc::new(Located { region, by, endpoint_url: endpoint_url(stream, &sdk) });
        Ok(Looked { read, connections, trust, located: Ok((located, sdk)) })
    })
}

/// The URL that requests of a stream go to, where it is not the region's own: what the configuration names, else what the
/// SDK finds in AWS_ENDPOINT_URL_FIREHOSE, AWS_ENDPOINT_URL, the profile's services and the profile, in this order.
fn endpoint_url(stream: &Stream, sdk: &SdkConfig) -> Option<String> {
    let key =
        ServiceConfigKey::builder().service_id("Firehose").env("AWS_ENDPOINT_URL").profile("endpoint_url");
    let key = key.build().expect("all of it is there");
    let of_service = || sdk.service_config()?.load_config(key);
    let of_all = || sdk.endpoint_url().map(str::to_owned);
    stream.endpoint_url.clone().or_else(of_service).or_else(of_all)
}

async fn region(
    shared: &Shared,
    stream: &Stream,
    read: &Profiles,
    connections: &Connections,
    asks: bool,
) -> Result<(&'static str, String), Retry> {
    let environment = &shared.environment;
    let named = [
        ("region", stream.region.as_deref()),
        ("AWS_REGION", environment.get("AWS_REGION")),
        ("AWS_DEFAULT_REGION", environment.get("AWS_DEFAULT_REGION")),
        ("the profile's region", read.get("region")),
    ];
    let named = named.into_iter().find_map(|(by, region)| Some((by, region?.to_owned())));
    let (by, region) = match named {
        Some(named) => named,
        None if !asks => return Err(no_region(&nowhere(read, "nobody was asked"))),
        None => {
            let asked = of_metadata(shared, stream, read, connections).await;
            ("instance metadata", asked.map_err(|why| no_region(&nowhere(read, &why)))?)
        }
    };
    let (tidy, why) = (trimmed(&region), "is not written as a region is");
    let lower = tidy.to_ascii_lowercase();
    if !regions::is_written_well(&lower) {
        let shown = on_one_line(tidy, MAX_REGION_BYTES);
        return Err(no_region(&format!("no region: {by} `{shown}` {why}; write it as us-east-1")));
    }
    if lower != region {
        shared.tell_once(format!("{by} is not written as a region is; it is taken for `{lower}`"));
    }
    if let Some(hint) = hint(&lower) {
        shared.tell_once(format!("{by} may be misspelt: {hint}; it is used as it is"));
    }
    Ok((by, lower))
}

/// The region that the instance metadata service says, asked once for all streams that wait for it.
async fn of_metadata(
    shared: &Shared,
    stream: &Stream,
    read: &Profiles,
    connections: &Connections,
) -> Result<String, String> {
    let began = Instant::now();
    let mut asked = shared.of_metadata.lock().await;
    if let Some(Asked { at, region }) = &*asked
        && (region.is_ok() || *at >= began)
    {
        return region.clone();
    }
    let metadata = Metadata::of(&stream.aws, &shared.environment, read.get("ec2_metadata_service_endpoint"));
    let region = metadata.region(&provider_config("us-east-1", &stream.aws, connections)).await;
    *asked = Some(Asked { at: Instant::now(), region: region.clone() });
    region
}

fn nowhere(read: &Profiles, why: &str) -> String {
    let of_files = read.unreadable.clone().unwrap_or_else(|| format!("none in {}", shown(&read.paths)));
    format!("no region: none in the configuration, AWS_REGION is not set, {of_files}, and {why}")
}

fn no_region(message: &str) -> Retry {
    Retry::new(RetryReason::Setup, "MissingRegion", message)
}

/// What a region's name may have to do with a host that is not reached; `None` for a region that is known.
pub fn hint(region: &str) -> Option<String> {
    match (regions::is_known(region), regions::nearest(region)) {
        (true, _) => None,
        (false, Some(near)) => Some(format!("`{region}` is no region that is known: did you mean `{near}`?")),
        (false, None) => Some(format!("`{region}` is no region that is known")),
    }
}
