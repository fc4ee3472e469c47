//! What only the way to a delivery stream tells: its region, where the file names none.
//!
//! Knows the quotas of regions, and when two streams are one at the service. Does not look for regions.

use crate::model::settings::{ByLane, QuotaSettings};

use super::streams::{MIN_BYTES, MIN_CALLS, default_quota};
use super::{Config, NamedQuotas, Stream};

impl Config {
    /// Takes in the regions that the environment, a profile or the machine gave.
    ///
    /// # Errors
    /// For each stream that is another one at the service: both would use the whole of one quota.
    pub fn found_regions(&mut self, regions: &ByLane<Option<String>>) -> Result<(), Vec<String>> {
        let found = self.streams.iter().zip(regions.streams()).zip(&mut self.settings.streams);
        for ((stream, (_, regions)), settings) in found {
            if let (None, Some(region)) = (&stream.region, &regions[0]) {
                settings.quota = quota_of(region, stream.quotas, settings.quota);
                // Named or found, a region is the same.
                for lane in &mut settings.spread.lanes {
                    lane.is_standby &= lane.region.as_deref() != Some(region);
                }
            }
        }
        let lanes: Vec<Stream> = self.by_lane(Stream::clone).into_values().collect();
        let places: Vec<_> = lanes.iter().zip(regions.values()).collect();
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

/// A stream, and the region that was found for it.
type Place<'a> = (&'a Stream, &'a Option<String>);

fn region_of<'a>((stream, found): Place<'a>) -> Option<&'a str> {
    stream.region.as_deref().or(found.as_deref())
}

/// Whether two streams are one at the service. Of a role that is assumed, its name tells the account; without one, the
/// account is that of the same credentials.
fn is_same(one: Place<'_>, other: Place<'_>) -> bool {
    let account =
        |stream: &Stream| stream.role_arn.as_ref().and_then(|arn| arn.split(':').nth(4).map(str::to_owned));
    region_of(one).is_some()
        && region_of(one) == region_of(other)
        && one.0.delivery_stream == other.0.delivery_stream
        && one.0.endpoint_url == other.0.endpoint_url
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
                .found_regions(
                    &[region.map(str::to_owned), None].map(|region| vec![region]).into_iter().collect(),
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
            let found = Some("us-east-1".to_owned());
            let told = config
                .found_regions(&[found.clone(), found].map(|region| vec![region]).into_iter().collect())
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
            let regions = [first, "eu-west-1", "us-east-1"].map(|region| Some(region.to_owned()));
            std::iter::once(regions.to_vec()).collect::<ByLane<_>>()
        };
        config.found_regions(&found("eu-west-1")).expect("three delivery streams");
        let lanes = &config.settings.streams[0].spread.lanes;
        assert_eq!(lanes.iter().map(|lane| lane.is_standby).collect::<Vec<_>>(), [false, false, true]);
        let told = config.found_regions(&found("us-east-1")).expect_err("`a` is there twice");
        assert_eq!(
            told,
            ["stream `one` names `a` in the region us-east-1 twice; name each delivery stream once"]
        );
    }
}
