//! Regions: which there are, and which one a slip of the pen meant.
//!
//! Knows names. Does not know where a stream's region comes from: `resolve` does.

/// The regions that are known; AWS opens others. From the SDK's own partitions, November 2026.
const KNOWN: [&str; 39] = [
    "af-south-1",
    "ap-east-1",
    "ap-east-2",
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-northeast-3",
    "ap-south-1",
    "ap-south-2",
    "ap-southeast-1",
    "ap-southeast-2",
    "ap-southeast-3",
    "ap-southeast-4",
    "ap-southeast-5",
    "ap-southeast-6",
    "ap-southeast-7",
    "ca-central-1",
    "ca-west-1",
    "cn-north-1",
    "cn-northwest-1",
    "eu-central-1",
    "eu-central-2",
    "eu-north-1",
    "eu-south-1",
    "eu-south-2",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "il-central-1",
    "me-central-1",
    "me-south-1",
    "mx-central-1",
    "sa-east-1",
    "us-east-1",
    "us-east-2",
    "us-gov-east-1",
    "us-gov-west-1",
    "us-iso-east-1",
    "us-west-1",
    "us-west-2",
];

/// Whether `text` is written as regions are.
pub(super) fn is_written_well(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    text.contains('-') && text.len() <= 63 && text.bytes().all(allowed)
}

/// The known region that is nearest to one that is not known; `None` for a known one.
pub(super) fn nearest(region: &str) -> Option<&'static str> {
    if KNOWN.contains(&region) {
        return None;
    }
    let near = KNOWN.iter().map(|known| (strsim::damerau_levenshtein(known, region), *known));
    near.min().filter(|(distance, _)| *distance <= 3).map(|(_, known)| known)
}

/// Whether AWS is known to have the region.
pub(super) fn is_known(region: &str) -> bool {
    KNOWN.contains(&region)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_pen_finds_the_region_that_was_meant() {
        for (slip, meant) in [
            ("us-esat-1", Some("us-east-1")),
            ("eu-cental-1", Some("eu-central-1")),
            ("useast-1", Some("us-east-1")),
            ("us-east-1", None),
            ("moon-base-one", None),
        ] {
            assert_eq!(nearest(slip), meant, "{slip}");
        }
        assert!(is_known("eu-west-1") && !is_known("us-esat-1"));
    }

    #[test]
    fn regions_are_lower_case_with_a_dash() {
        for (text, well) in
            [("us-east-1", true), ("US-EAST-1", false), ("us east-1", false), ("useast1", false), ("", false)]
        {
            assert_eq!(is_written_well(text), well, "{text}");
        }
    }
}
