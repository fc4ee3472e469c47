//! Families of numbers, written out as prometheus-client encodes them.
//!
//! Knows names, labels and numbers. Does not know what is counted.

use std::fmt;
use std::time::Duration;

use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabel, EncodeLabelSet, LabelSetEncoder, NoLabelSet,
};
use prometheus_client::metrics::MetricType;

use crate::model::text::plain;
use crate::rules::histogram::Histogram;

pub(super) type Labels<'a> = Vec<(&'static str, &'a str)>;

/// Names in the order given.
#[derive(Debug)]
struct Set<'a>(&'a Labels<'a>);

impl EncodeLabelSet for Set<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        let plain = |(name, value): &(&'static str, &str)| (*name, plain(*value));
        self.0.iter().map(plain).try_for_each(|label| label.encode(encoder.encode_label()))
    }
}

/// Where families are written to.
pub(super) struct Out<'e> {
    pub(super) encoder: DescriptorEncoder<'e>,
}

impl Out<'_> {
    pub(super) fn counter<'a>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Labels<'a>, u64)>,
    ) -> fmt::Result {
        let mut family = self.encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in values {
            match labels.is_empty() {
                true => family.encode_counter::<NoLabelSet, _, f64>(&value, None)?,
                false => {
                    family
                        .encode_family(&Set(&labels))?
                        .encode_counter::<NoLabelSet, _, f64>(&value, None)?;
                }
            }
        }
        Ok(())
    }

    /// A counter without labels that counts time, in seconds.
    pub(super) fn seconds(&mut self, name: &str, help: &str, value: Duration) -> fmt::Result {
        let mut family = self.encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        family.encode_counter::<NoLabelSet, _, f64>(&value.as_secs_f64(), None)
    }

    pub(super) fn gauge<'a>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Labels<'a>, f64)>,
    ) -> fmt::Result {
        let mut family = self.encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in values {
            match labels.is_empty() {
                true => family.encode_gauge(&value)?,
                false => family.encode_family(&Set(&labels))?.encode_gauge(&value)?,
            }
        }
        Ok(())
    }

    pub(super) fn histogram<'a>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Labels<'a>, &'a Histogram)>,
    ) -> fmt::Result {
        let mut family = self.encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for (labels, histogram) in values {
            let bound = |bound: Option<Duration>| bound.map_or(f64::INFINITY, |bound| bound.as_secs_f64());
            let buckets: Vec<_> = histogram.buckets().map(|(upper, count)| (bound(upper), count)).collect();
            let sum = histogram.sum().as_secs_f64();
            family.encode_family(&Set(&labels))?.encode_histogram::<NoLabelSet>(
                sum,
                histogram.count(),
                &buckets,
                None,
            )?;
        }
        Ok(())
    }
}
