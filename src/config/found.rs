//! What only the way to a delivery stream tells: its region and endpoint, where the file names none.
//!
//! Knows the quotas of regions, and when two streams are one at the service. Does not look for regions.

use std::sync::Arc;

use crate::model::settings::{ByLane, QuotaSettings};

use super::streams::{MIN_BYTES, MIN_CALLS, default_quota};
use super::{Config, Located, NamedQuotas, Stream};

impl Config {
    /// Takes in the regions and endpoints that the environment, a profile or the machine gave.
    ///
    /// # Errors
    /// For each stream that is another one at the service: both would use the whole of one quota.
    pub fn locate(&mut self, located: &ByLane<Option<Arc<Located>>>) -> Result<(), Vec<String>> {
        let found = self.streams.iter_mut().zip(located.streams()).zip(&mut self.settings.streams);
        for ((stream, (_, located)), settings) in found {
            stream.found = super::Found(located[0].clone());
            if let (None, Some(region)) = (&stream.region, located[0].as_ref().map(|found| &found.region)) {
                settings.quota = quota_of(region, stream.quotas, settings.quota);
                // Named or found, a region is the same.
                for lane in &mut settings.spread.lanes {
                    lane.is_standby &= lane.region.as_deref() != Some(&**region);
                }
            }
        }
        let lanes: Vec<Stream> = self.by_lane(Stream::clone).into_values().collect();
        let places: Vec<_> = lanes.iter().zip(located.values()).collect();
        let twice = places.iter().enumerate().filter_map(|(index, place)| {
            let first = places[..index].iter().find(|other| is_same(**other, *place))?;
            let region = region_of(*place).unwrap_or("of the endpoint");
            let (one, other, name) = (&first.0.name, &place.0.name, &place.0.delivery_stream);
            Some(match one == other {
                true => format!(
                    "stream `{one}` names `{name}` in the region {region} twice; name each delivery stream once"
                ),
                false => format!(
                    "streams `{one}` and `{other}` are both `{name}` in the region {region} and would each use its whole \
                     quota; use one of them for both"
                ),
            })
        });
        let twice: Vec<_> = twice.collect();
        if twice.is_empty() { Ok(()) } else { Err(twice) }
    }
}

/// A stream, and where it was found to be.
type Place<'a> = (&'a Stream, &'a Option<Arc<Located>>);

fn region_of<'a>((stream, found): Place<'a>) -> Option<&'a str> {
    stream.region.as_deref().or(found.as_ref().map(|found| &*found.region))
}

/// The embedded delivery stream is told apart by what is written, as AWS would.
fn endpoint_of<'a>((stream, found): Place<'a>) -> Option<&'a str> {
    stream.endpoint_url.as_deref().or(found.as_ref()?.endpoint_url.as_deref())
}

/// Whether two streams are one at the service. Of a role that is assumed, its name tells the account; without one, the
/// account is that of the same credentials.
fn is_same(one: Place<'_>, other: Place<'_>) -> bool {
    let account =
        |stream: &Stream| stream.role_arn.as_ref().and_then(|arn| arn.split(':').nth(4).map(str::to_owned));
    region_of(one).is_some()
        && region_of(one) == region_of(other)
        && one.0.delivery_stream == other.0.delivery_stream
        && endpoint_of(one) == endpoint_of(other)
        && account(one.0) == account(other.0)
}

/// The quotas that are named, and those of the region for the others. With a share that leaves nothing of those, the
/// larger ones stay.
fn quota_of(region: &str, named: NamedQuotas, quota: QuotaSettings) -> QuotaSettings {
    let default = default_quota(Some(region));
    let is_enough = |whole: f64, least: f64| whole * quota.share >= least;
    let mut found = quota;
    if !named.requests && is_enough(f64::from(default.requests_per_second.get()), MIN_CALLS) {
        found.requests_per_second = default.requests_per_second;
    }
    if !named.records && is_enough(f64::from(default.records_per_second.get()), MIN_CALLS) {
        found.records_per_second = default.records_per_second;
    }
    if !named.bytes && is_enough(default.bytes_per_second as f64, MIN_BYTES) {
        found.bytes_per_second = default.bytes_per_second;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(more: &str) -> Config {
        let text = format!(
            "source = [{{ name = \"a\", paths = [\"/a\"], stream = \"one\" }}, {{ name = \"b\", paths = [\"/b\"], stream = \"two\" }}]\n{more}"
        );
        Config::from_text(std::path::Path::new("c.toml"), &text, &|_| None).expect("valid")
    }

    fn located(region: &str) -> Located {
        Located { region: region.to_owned(), by: "AWS_REGION", endpoint_url: None }
    }

    fn quotas(config: &Config, stream: usize) -> (u32, u32, u64) {
        let quota = config.settings.streams[stream].quota;
        (quota.requests_per_second.get(), quota.records_per_second.get(), quota.bytes_per_second)
    }

    #[test]
    fn quotas_that_are_not_written_are_those_of_the_region_that_was_found() {
        let (large, small) = ((2000, 5000, 5_000_000), (1000, 1000, 1_048_576));
        let table = [
            ("", Some("eu-central-1"), small),
            ("", Some("us-east-1"), large),
            ("", None, large),
            ("[stream.one]\nregion = \"us-east-1\"", Some("eu-central-1"), large),
            (
                "[stream.one]\nquota = { records_per_second = 4000 }",
                Some("eu-central-1"),
                (1000, 4000, 1_048_576),
            ),
            (
                "[stream.one]\nquota = { bytes_per_second = \"2MB\" }",
                Some("eu-central-1"),
                (1000, 1000, 2_000_000),
            ),
            ("[stream.one]\nquota = { share = 0.0021 }", Some("eu-central-1"), (1000, 1000, 5_000_000)),
        ];
        for (keys, region, expected) in table {
            let mut config = load(keys);
            config
                .locate(
                    &[region.map(located), None].map(|found| vec![found.map(Arc::new)]).into_iter().collect(),
                )
                .expect("two delivery streams");
            assert_eq!(quotas(&config, 0), expected, "{keys} {region:?}");
            assert_eq!(quotas(&config, 1), large, "nothing was found for the other");
        }
    }

    #[test]
    fn streams_that_are_one_at_the_service_are_refused_once_the_region_is_known() {
        let one = "[stream.two]\ndelivery_stream = \"one\"\n";
        let role = |account: &str, name: &str| format!("role_arn = \"arn:aws:iam::{account}:role/{name}\"\n");
        let table = [
            (format!("{one}region = \"us-east-1\"\n"), true),
            (format!("{one}region = \"us-west-2\"\n"), false),
            (format!("{one}endpoint_url = \"http://a.example\"\n"), false),
            (format!("{one}{}[stream.one]\n{}", role("123456789012", "a"), role("123456789012", "b")), true),
            (format!("{one}{}[stream.one]\n{}", role("123456789012", "a"), role("210987654321", "a")), false),
        ];
        for (keys, is_one) in table {
            let mut config = load(&keys);
            let found = Some(Arc::new(located("us-east-1")));
            let told = config
                .locate(&[found.clone(), found].map(|found| vec![found]).into_iter().collect())
                .err()
                .unwrap_or_default();
            assert_eq!(told.len(), usize::from(is_one), "{keys} {told:?}");
            assert!(
                told.iter()
                    .all(|told| told.contains("`one` and `two` are both `one` in the region us-east-1")),
                "{told:?}"
            );
        }
    }

    #[test]
    fn a_region_that_is_found_is_the_same_as_one_that_is_named() {
        let text = "source = [{ paths = [\"/a\"], stream = \"one\" }]\n[stream.one]\nfailover_after = \"5m\"\n\
                    delivery_streams = [\"a\", { name = \"b\", region = \"eu-west-1\" }, { name = \"a\", region = \"us-east-1\" }]";
        let mut config = Config::from_text(std::path::Path::new("c.toml"), text, &|_| None).expect("valid");
        let found = |first: &str| {
            let regions = [first, "eu-west-1", "us-east-1"].map(|region| Some(Arc::new(located(region))));
            std::iter::once(regions.to_vec()).collect::<ByLane<_>>()
        };
        config.locate(&found("eu-west-1")).expect("three delivery streams");
        let lanes = &config.settings.streams[0].spread.lanes;
        assert_eq!(lanes.iter().map(|lane| lane.is_standby).collect::<Vec<_>>(), [false, false, true]);
        let told = config.locate(&found("us-east-1")).expect_err("`a` is there twice");
        assert_eq!(
            told,
            ["stream `one` names `a` in the region us-east-1 twice; name each delivery stream once"]
        );
    }

    #[test]
    fn an_endpoint_that_the_environment_names_is_the_same_as_one_that_is_written() {
        let of_environment =
            Located { endpoint_url: Some("http://a.example".to_owned()), ..located("us-east-1") };
        for (url, is_one) in [("http://a.example", true), ("http://b.example", false)] {
            let mut config =
                load(&format!("[stream.two]\ndelivery_stream = \"one\"\nendpoint_url = \"{url}\""));
            let of_file = Located { endpoint_url: Some(url.to_owned()), ..located("us-east-1") };
            let found = [of_environment.clone(), of_file].map(|found| vec![Some(Arc::new(found))]);
            assert_eq!(config.locate(&found.into_iter().collect()).is_err(), is_one, "{url}");
            let told: Vec<_> =
                config.unencrypted().map(|(stream, url)| (stream.name.to_string(), url)).collect();
            assert_eq!(told[0], ("one".to_owned(), "http://a.example".to_owned()));
            assert_eq!(told.len(), 2);
        }
    }

    #[test]
    fn a_region_that_is_found_is_told_with_what_names_it() {
        let mut config = load("[stream.two]\nregion = \"us-west-2\"");
        let found = [located("ap-south-1"), located("us-west-2")].map(|found| vec![Some(Arc::new(found))]);
        config.locate(&found.into_iter().collect()).expect("two");
        let text = config.describe();
        assert!(
            text.contains("  region ap-south-1 (AWS_REGION)\n") && text.contains("  region us-west-2\n"),
            "{text}"
        );
        assert!(text.contains("quota 1000 requests, 1000 records, 1MiB a second"), "{text}");
    }
}
