//! Streams as needed: the stream's own table, over `[stream.default]`, over `[aws]`, over the defaults, key by key.
//!
//! Knows defaults and what must hold between values; does not know whether the service has such a stream.

mod pointless;
mod spread;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use super::fault::Faults;
use super::templates::StreamTemplate;
use super::typed::{AwsTable, SourceTable, StreamTable};
use super::units::show_duration;
use super::walk::{Typed, nearest};
use super::{Aws, Found, NamedQuotas, Stream, audit};
use crate::model::limits::RECORD_BYTES;
use crate::model::route::{NameGlob, Route, is_template};
use crate::model::settings::{
    Adaptive, Api, Compression, Encryption, Order, Packing, QuotaSettings, RetrySettings, SourceSettings,
    StreamSettings,
};

/// The table for what a stream's own table does not say.
const DEFAULT: &str = "default";

const MAX_IN_FLIGHT: NonZeroU32 = NonZeroU32::new(64).expect("64 is not zero");
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// At 2,000 lines a second in ten files about ten lines share a request, where without it one leaves for nearly each
/// line. The service itself buffers for seconds before it delivers: nobody at the destination sees five milliseconds.
const LINGER: Duration = Duration::from_millis(5);
const PACK_DELAY: Duration = Duration::from_secs(1);
const RETRY: RetrySettings = RetrySettings {
    initial: Duration::from_millis(100),
    max: Duration::from_secs(30),
    stuck_after: Duration::from_secs(10 * 60),
};

/// The quotas of a new delivery stream, from the API reference of `PutRecord`.
const QUOTA: QuotaSettings = QuotaSettings {
    requests_per_second: NonZeroU32::new(2000).expect("2000 is not zero"),
    records_per_second: NonZeroU32::new(5000).expect("5000 is not zero"),
    bytes_per_second: 5_000_000,
    share: 0.9,
    adaptive: Adaptive::On,
};

/// The quotas of a new delivery stream outside of [`LARGE_REGIONS`], from an older version of the service's quota page:
/// the cautious reading.
const SMALL_QUOTA: QuotaSettings = QuotaSettings {
    requests_per_second: NonZeroU32::new(1000).expect("1000 is not zero"),
    records_per_second: NonZeroU32::new(1000).expect("1000 is not zero"),
    bytes_per_second: 1024 * 1024,
    ..QUOTA
};

/// Least requests, or records, a second: a limiter needs a rate and a burst, of one each.
pub(super) const MIN_CALLS: f64 = 2.0;

/// Least bytes a second: the largest record is through within two minutes.
pub(super) const MIN_BYTES: f64 = 10.0 * 1024.0;

/// Regions in which a new delivery stream has the larger quotas, from the API reference of `PutRecord`.
const LARGE_REGIONS: [&str; 3] = ["us-east-1", "us-west-2", "eu-west-1"];

/// The quotas of a new delivery stream in a region, or where none is known.
pub(super) fn default_quota(region: Option<&str>) -> QuotaSettings {
    let large = region.is_none_or(|region| LARGE_REGIONS.contains(&region));
    if large { QUOTA } else { SMALL_QUOTA }
}

/// What all streams share.
#[derive(Debug)]
pub(super) struct Streams<'a> {
    pub(super) tables: &'a [StreamTable],
    pub(super) aws: &'a AwsTable,
    /// What `[aws]` comes to for every stream.
    pub(super) shared: Arc<Aws>,
    /// The order in which records leave, for every stream.
    pub(super) order: Order,
    /// By which operations records leave, for every stream.
    pub(super) api: Api,
    /// What the machine is called.
    pub(super) host: &'a str,
}

impl Streams<'_> {
    /// The streams called `names`, in that order.
    pub(super) fn resolve(
        &self,
        names: &[Typed<String>],
        faults: &mut Faults,
    ) -> (Vec<Stream>, Vec<StreamSettings>) {
        if let Some(place) = self.place_of_destination(DEFAULT) {
            let message = "would send every stream to one place; put it into that stream's own table";
            faults.add(place.fault(message));
        }
        let (streams, settings): (Vec<Stream>, Vec<StreamSettings>) =
            names.iter().map(|name| self.stream(&name.value, faults)).unzip();
        self.refuse_shared_destinations(names, &streams, faults);
        self.refuse_pointless(faults);
        (streams, settings)
    }

    /// Reports every table that none of `names` uses.
    pub(super) fn refuse_unused<'n>(
        &self,
        names: impl Iterator<Item = &'n Typed<String>> + Clone,
        sources: &[SourceSettings],
        faults: &mut Faults,
    ) {
        let routes = || sources.iter().map(|source| &source.route);
        let may_be_made = |name: &str| {
            routes().any(|route| match route {
                Route::To(_) => false,
                Route::ByPath(by_path) => NameGlob::is_glob(name) || by_path.may_make(name),
            })
        };
        for table in self.tables.iter().filter(|table| table.name.value != DEFAULT) {
            let used = || names.clone().map(|name| name.value.as_str());
            if used().any(|name| name == table.name.value) || may_be_made(&table.name.value) {
                continue;
            }
            let advice = match nearest(&table.name.value, used()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "name it in a source, or leave the table out".to_owned(),
            };
            faults.add(table.name.fault(format!("no source goes to this stream; {advice}")));
        }
    }

    /// How streams are set up that files' paths name: by the table that says most of the name, over `[stream.default]`.
    /// Those called `named` are set up already.
    pub(super) fn templates(&self, named: &[Typed<String>], faults: &mut Faults) -> Vec<StreamTemplate> {
        let mut templates = Vec::new();
        let is_named = |name: &str| name == DEFAULT || named.iter().any(|named| named.value == name);
        for table in self.tables.iter().filter(|table| !is_named(&table.name.value)) {
            let names = match NameGlob::parse(&table.name.value) {
                Ok(names) => names,
                Err(message) => {
                    faults.add(table.name.fault(message));
                    continue;
                }
            };
            let one = self.place_of_destination(&table.name.value);
            if let Some(one) = one.filter(|_| NameGlob::is_glob(names.text())) {
                faults.add(one.fault(
                    "would send every stream that these names match to one place; leave it out, or name one stream",
                ));
            }
            let (stream, settings) = self.stream(&table.name.value, faults);
            templates.push(StreamTemplate { names, stream, settings });
        }
        let names = NameGlob::parse("*").expect("a glob");
        let (stream, settings) = self.stream(DEFAULT, faults);
        templates.push(StreamTemplate { names, stream, settings });
        templates.sort_by_key(|template| std::cmp::Reverse(template.names.says()));
        templates
    }

    /// Reports every source whose lines are to share records without anything to tell them apart.
    pub(super) fn refuse_packing_without_newlines(&self, sources: &[SourceTable], faults: &mut Faults) {
        for source in sources {
            let (Some(append), Some(stream)) = (&source.append_newline, &source.stream) else { continue };
            let is_template = is_template(&stream.value);
            // Which tables its streams have is known once files are there.
            let mut own: Vec<_> = match is_template {
                true => self.tables.iter().map(Some).collect(),
                false => Vec::from([self.table(&stream.value)]),
            };
            own.extend(is_template.then_some(None));
            let levels = |own| Levels { own, default: self.table(DEFAULT) };
            let packs = |own| levels(own).value(|table| &table.packing.packing) == Some(true);
            if !append.value && own.into_iter().any(packs) {
                faults.add(append.fault(format!(
                    "stream `{}` packs lines, which only their newlines tell apart; leave it true, or set packing = \"off\"",
                    stream.value
                )));
            }
        }
    }

    fn table(&self, name: &str) -> Option<&StreamTable> {
        self.tables.iter().find(|table| table.name.value == name)
    }

    fn stream(&self, name: &str, faults: &mut Faults) -> (Stream, StreamSettings) {
        let levels = Levels { own: self.table(name), default: self.table(DEFAULT) };
        let text = |key: fn(&StreamTable) -> &Option<Typed<String>>, aws: &Option<Typed<String>>| {
            levels.typed(key).or(aws.as_ref()).map(|typed| typed.value.clone())
        };
        let region = text(|table| &table.region, &self.aws.region);
        let ordered = levels.value(|table| &table.ordered);
        let in_flight = levels.value(|table| &table.max_in_flight).and_then(NonZeroU32::new);
        let audit = audit::resolve(
            levels.value(|table| &table.audit.audit),
            levels.value(|table| &table.audit.audit_bytes),
        );
        let settings = StreamSettings {
            name: name.into(),
            api: levels.value(|table| &table.api).unwrap_or(self.api),
            linger: levels.value(|table| &table.linger).unwrap_or(LINGER),
            packing: levels.packing(),
            max_in_flight: in_flight.unwrap_or(MAX_IN_FLIGHT),
            order: match ordered {
                Some(true) => Order::PerFile,
                Some(false) => Order::Free,
                None => self.order,
            },
            quota: levels.quota(region.as_deref(), faults),
            spread: self.spread(name, levels, region.as_deref(), faults),
            retry: levels.retry(faults),
            encryption: match levels.value(|table| &table.require_encryption) {
                Some(true) => Encryption::Required,
                Some(false) | None => Encryption::Optional,
            },
            audit: audit.clone(),
        };
        let lanes = settings.spread.lanes.iter();
        let mut lanes =
            lanes.map(|lane| (lane.delivery_stream.to_string(), lane.region.as_deref().map(str::to_owned)));
        let (delivery_stream, region) = lanes.next().expect("a stream has a lane");
        let others = lanes.collect();
        let stream = Stream {
            name: name.into(),
            delivery_stream,
            region,
            others,
            role_arn: text(|table| &table.role_arn, &self.aws.role_arn),
            aws: Arc::clone(&self.shared),
            endpoint_url: text(|table| &table.endpoint_url, &self.aws.endpoint_url),
            found: Found::default(),
            request_timeout: levels.value(|table| &table.request_timeout).unwrap_or(REQUEST_TIMEOUT),
            quotas: NamedQuotas {
                requests: levels.typed(|table| &table.quota.requests_per_second).is_some(),
                records: levels.typed(|table| &table.quota.records_per_second).is_some(),
                bytes: levels.typed(|table| &table.quota.bytes_per_second).is_some(),
            },
            audit,
        };
        (stream, settings)
    }

    /// Two streams that are one at the service would each use the whole of its quotas.
    fn refuse_shared_destinations(&self, names: &[Typed<String>], streams: &[Stream], faults: &mut Faults) {
        let destination = |stream: &Stream| {
            let names = (stream.delivery_stream.clone(), stream.region.clone());
            (names, stream.endpoint_url.clone(), stream.role_arn.clone())
        };
        for (index, stream) in streams.iter().enumerate() {
            let shared = |other: &Stream| {
                let lane = stream
                    .lanes()
                    .find(|lane| other.lanes().any(|other| destination(&other) == destination(lane)))?;
                Some((Arc::clone(&other.name), lane.delivery_stream))
            };
            let Some((first, shared)) = streams[..index].iter().find_map(shared) else {
                continue;
            };
            // Names differ, so at least one of the two says where it goes; the later one if it can be.
            let own = self.place_of_destination(&stream.name);
            let place = own.or_else(|| self.place_of_destination(&first));
            let place = place.unwrap_or_else(|| names[index].spot());
            faults.add(place.fault(format!(
                "streams `{first}` and `{}` are both `{shared}` at the service and would each use its whole quota; \
                 use one of them for both",
                stream.name
            )));
        }
    }
}

/// The tables that speak about one stream, the nearer first.
#[derive(Clone, Copy)]
struct Levels<'a> {
    own: Option<&'a StreamTable>,
    default: Option<&'a StreamTable>,
}

impl<'a> Levels<'a> {
    fn typed<T>(self, key: fn(&StreamTable) -> &Option<Typed<T>>) -> Option<&'a Typed<T>> {
        let own = self.own.and_then(|table| key(table).as_ref());
        own.or_else(|| self.default.and_then(|table| key(table).as_ref()))
    }

    fn value<T: Copy>(self, key: fn(&StreamTable) -> &Option<Typed<T>>) -> Option<T> {
        self.typed(key).map(|typed| typed.value)
    }

    fn quota(self, region: Option<&str>, faults: &mut Faults) -> QuotaSettings {
        let defaults = default_quota(region);
        let requests = self.typed(|table| &table.quota.requests_per_second);
        let records = self.typed(|table| &table.quota.records_per_second);
        let bytes = self.typed(|table| &table.quota.bytes_per_second);
        let share = self.typed(|table| &table.quota.share);
        let count = |typed: Option<&Typed<u32>>| typed.and_then(|typed| NonZeroU32::new(typed.value));
        let quota = QuotaSettings {
            requests_per_second: count(requests).unwrap_or(defaults.requests_per_second),
            records_per_second: count(records).unwrap_or(defaults.records_per_second),
            bytes_per_second: bytes.map_or(defaults.bytes_per_second, |typed| typed.value),
            share: share.map_or(defaults.share, |typed| typed.value),
            adaptive: match self.value(|table| &table.quota.adaptive) {
                Some(true) => Adaptive::On,
                Some(false) => Adaptive::Off,
                None => defaults.adaptive,
            },
        };
        let axes = [
            (f64::from(quota.requests_per_second.get()), MIN_CALLS, requests.map(Typed::spot)),
            (f64::from(quota.records_per_second.get()), MIN_CALLS, records.map(Typed::spot)),
            (quota.bytes_per_second as f64, MIN_BYTES, bytes.map(Typed::spot)),
        ];
        for (whole, least, spot) in axes {
            // The defaults are useful, so where it is too little, one of the two was typed.
            if whole * quota.share < least
                && let Some(spot) = spot.or_else(|| share.map(Typed::spot))
            {
                faults.add(spot.fault(format!(
                    "share x quota is {} x {whole} a second, too little to send anything; \
                     make the product at least {least}",
                    quota.share
                )));
            }
        }
        quota
    }

    fn packing(self) -> Packing {
        let bytes = self.typed(|table| &table.packing.pack_bytes);
        let delay = self.typed(|table| &table.packing.pack_delay);
        let compression = self.typed(|table| &table.packing.compression);
        let packing = self.value(|table| &table.packing.packing);
        if packing == Some(true) {
            let most =
                bytes.map_or(RECORD_BYTES, |typed| usize::try_from(typed.value).unwrap_or(RECORD_BYTES));
            return Packing::On {
                bytes: most,
                delay: delay.map_or(PACK_DELAY, |typed| typed.value),
                compression: compression.map_or(Compression::None, |typed| typed.value),
            };
        }
        Packing::Off
    }

    fn retry(self, faults: &mut Faults) -> RetrySettings {
        let initial = self.typed(|table| &table.retry.initial);
        let max = self.typed(|table| &table.retry.max);
        let retry = RetrySettings {
            initial: initial.map_or(RETRY.initial, |typed| typed.value),
            max: max.map_or(RETRY.max, |typed| typed.value),
            stuck_after: self.value(|table| &table.retry.stuck_after).unwrap_or(RETRY.stuck_after),
        };
        if retry.initial > retry.max
            && let Some(typed) = initial.or(max)
        {
            let (first, most) = (show_duration(retry.initial), show_duration(retry.max));
            let message =
                format!("the first wait, {first}, is above the longest, {most}; set initial <= max");
            faults.add(typed.fault(message));
        }
        retry
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::spread::SPREAD_AFTER;
    use super::*;
    use crate::config::Config;
    use crate::model::settings::Spread;

    const SOURCES: &str = r#"
        source = [
            { name = "a", paths = ["/a"], stream = "one" },
            { name = "b", paths = ["/b"], stream = "two" },
            { name = "c", paths = ["/c"], stream = "one" },
        ]
    "#;

    fn load(text: &str) -> Config {
        let text = format!("{SOURCES}{text}");
        Config::from_text(Path::new("c.toml"), &text, &|_| None).expect("valid")
    }

    #[test]
    fn streams_are_in_the_order_of_first_use_and_sources_point_at_theirs() {
        let config = load("");
        let names: Vec<_> = config.streams.iter().map(|stream| &*stream.name).collect();
        assert_eq!(names, ["one", "two"]);
        let names: Vec<_> = config.settings.streams.iter().map(|stream| &*stream.name).collect();
        assert_eq!(names, ["one", "two"]);
        let ids: Vec<_> = config.settings.sources.iter().map(|source| source.route.streams()[0].0).collect();
        assert_eq!(ids, [0, 1, 0]);
    }

    #[test]
    fn a_streams_own_table_wins_over_the_default_and_over_aws_key_by_key() {
        let config = load(
            r#"
            [aws]
            region = "us-west-2"
            profile = "logs"
            endpoint_url = "https://aws.example"
            [stream.default]
            region = "us-east-1"
            max_in_flight = 5
            quota = { share = 0.5, records_per_second = 100 }
            [stream.one]
            delivery_stream = "one-at-aws"
            region = "eu-west-1"
            ordered = true
            quota = { records_per_second = 200 }
            "#,
        );
        let [one, two] = &config.streams[..] else { panic!("two streams") };
        assert_eq!((one.delivery_stream.as_str(), two.delivery_stream.as_str()), ("one-at-aws", "two"));
        assert_eq!(one.region.as_deref(), Some("eu-west-1"));
        assert_eq!(two.region.as_deref(), Some("us-east-1"));
        for stream in [one, two] {
            assert_eq!(stream.aws.profile.as_deref(), Some("logs"));
            assert_eq!(stream.endpoint_url.as_deref(), Some("https://aws.example"));
            assert_eq!(stream.role_arn, None);
        }
        let [one, two] = &config.settings.streams[..] else { panic!("two streams") };
        assert_eq!((one.order, two.order), (Order::PerFile, Order::Free));
        assert_eq!((one.max_in_flight.get(), two.max_in_flight.get()), (5, 5));
        assert_eq!((one.quota.share, two.quota.share), (0.5, 0.5));
        assert_eq!((one.quota.records_per_second.get(), two.quota.records_per_second.get()), (200, 100));
    }

    #[test]
    fn quotas_that_are_not_written_depend_on_the_region() {
        let large = (2000, 5000, 5_000_000);
        let small = (1000, 1000, 1_048_576);
        let table = [
            ("", large),
            ("region = \"us-east-1\"", large),
            ("region = \"us-west-2\"", large),
            ("region = \"eu-west-1\"", large),
            ("region = \"eu-central-1\"", small),
            ("region = \"us-gov-west-1\"", small),
            ("region = \"eu-central-1\"\nquota = { records_per_second = 4000 }", (1000, 4000, 1_048_576)),
        ];
        for (keys, quotas) in table {
            let quota = load(&format!("[stream.one]\n{keys}")).settings.streams[0].quota;
            let calls = (quota.requests_per_second.get(), quota.records_per_second.get());
            assert_eq!((calls.0, calls.1, quota.bytes_per_second), quotas, "{keys}");
        }
        let quota = load("[aws]\nregion = \"eu-central-1\"").settings.streams[1].quota;
        assert_eq!(quota.bytes_per_second, 1_048_576);
    }

    #[test]
    fn the_way_to_aws_is_the_same_for_every_stream() {
        let config = load(
            r#"
            [aws]
            region = "us-east-1\n"
            role_arn = " arn:aws:iam::123456789012:role/writer"
            external_id = "tenant-7"
            session_name = "host-1"
            session_duration = "30m"
            ca_file = "/etc/ssl/own.pem"
            use_fips = true
            imds_timeout = "1s"
            imds_attempts = 2
            "#,
        );
        for stream in &config.streams {
            assert_eq!(stream.region.as_deref(), Some("us-east-1"), "what stands around it is left out");
            assert_eq!(stream.role_arn.as_deref(), Some("arn:aws:iam::123456789012:role/writer"));
            assert_eq!(stream.aws.external_id.as_deref(), Some("tenant-7"));
            assert_eq!((stream.aws.use_fips, stream.aws.use_dualstack), (Some(true), None));
            assert_eq!((stream.aws.imds_timeout().as_secs(), stream.aws.imds_attempts()), (1, 2));
        }
        let told = config.describe();
        for line in [
            "  certificates /etc/ssl/own.pem",
            "  session host-1 of 30m, with an external ID",
            "  FIPS endpoints are used",
            "  instance metadata asked up to 2 times, 1s each",
        ] {
            assert!(told.lines().any(|told| told == line), "{line}\nis not in\n{told}");
        }
        assert!(!told.contains("tenant-7"), "{told}");
    }

    #[test]
    fn the_arn_of_a_delivery_stream_is_answered_with_the_keys_to_write() {
        let arn = "arn:aws:firehose:eu-west-1:123456789012:deliverystream/app";
        let text = format!("{SOURCES}[stream.one]\ndelivery_stream = \"{arn}\"");
        let faults = Config::from_text(Path::new("c.toml"), &text, &|_| None).expect_err("an ARN is no name");
        let told = faults.to_string();
        assert!(told.contains("write its name, \"app\", and `region = \"eu-west-1\"`"), "{told}");
    }

    #[test]
    fn one_name_in_two_regions_is_two_delivery_streams() {
        load("[stream.two]\ndelivery_stream = \"one\"\nregion = \"eu-west-1\"");
    }

    #[test]
    fn several_delivery_streams_are_lanes_with_quotas_of_their_regions() {
        let config = load(
            "[stream.one]\nregion = \"eu-west-1\"\nspread_after = \"off\"\nfailover_after = \"5m\"\n\
             delivery_streams = [\"a\", { name = \"b\", region = \"eu-west-1\" }, { name = \"a\", region = \"eu-central-1\" }]",
        );
        let stream = &config.settings.streams[0];
        let Spread { lanes, spread_after, failover_after, .. } = &stream.spread;
        assert_eq!((*spread_after, failover_after.map(|it| it.as_secs())), (None, Some(300)));
        let told = |place: usize| {
            let lane = &lanes[place];
            let records = stream.quota_of(place).records_per_second.get();
            (&*lane.delivery_stream, lane.region.as_deref().unwrap_or("-"), lane.is_standby, records)
        };
        let told: Vec<_> = (0..lanes.len()).map(told).collect();
        assert_eq!(
            told,
            [
                ("a", "eu-west-1", false, 5000),
                ("b", "eu-west-1", false, 5000),
                ("a", "eu-central-1", true, 1000)
            ]
        );
        let ways =
            config.by_lane(|way| (way.delivery_stream.clone(), way.region.clone().unwrap_or_default()));
        let ways: Vec<_> = ways.into_values().map(|(name, region)| format!("{name}@{region}")).collect();
        assert_eq!(ways, ["a@eu-west-1", "b@eu-west-1", "a@eu-central-1", "two@"]);
        let two = &config.settings.streams[1].spread;
        assert_eq!((two.lanes.len(), two.spread_after, two.failover_after), (1, Some(SPREAD_AFTER), None));
    }
}
