//! What a verdict says of the place that it came from.

use std::sync::Arc;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use crate::model::verdict::{Answer, Retry, Verdict};

use super::Reached;

/// The header that numbers a request.
const REQUEST_ID: &str = "x-amzn-requestid";

/// The longest number of a request that is told, in bytes: AWS's have 36.
const MAX_REQUEST_ID_BYTES: usize = 64;

impl Reached {
    /// A verdict on the way, with where it led to.
    pub(super) fn placed(&self, verdict: Verdict) -> Verdict {
        match verdict {
            Verdict::Retry(why) if &*why.code == "Connection" => {
                let mut placed = format!("{} cannot be reached: {}", self.endpoint, why.message);
                if let Some(hint) = crate::shell::aws::hint(&self.located.region)
                    && self.access.is_some()
                {
                    placed.push_str(&format!("; {hint}"));
                }
                Verdict::Retry(Retry { message: placed.into(), ..why })
            }
            Verdict::Retry(why) if &*why.code == "Timeout" => {
                let message = format!("{} gave {}", self.endpoint, why.message).into();
                Verdict::Retry(Retry { message, ..why })
            }
            verdict => verdict,
        }
    }

    /// With the place that answered, and the number that it gave the request, if it gave one.
    pub(super) fn numbered(&self, verdict: Verdict, number: Option<&Arc<str>>) -> Verdict {
        let endpoint = self.endpoint.as_str().into();
        let answer = Some(Answer { request_id: number.map(Arc::clone), endpoint });
        match verdict {
            Verdict::Retry(why) => Verdict::Retry(Retry { answer, ..why }),
            Verdict::Rejected { code, message, .. } => Verdict::Rejected { code, message, answer },
            Verdict::Delivered { .. } => verdict,
        }
    }
}

/// The number that an answer has, if it is one: whatever answers chooses the text.
pub(super) fn number_of(answer: &HttpResponse) -> Option<Arc<str>> {
    answer.headers().get(REQUEST_ID).filter(|text| is_number(text)).map(Arc::from)
}

fn is_number(text: &str) -> bool {
    let is_of_number = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (1..=MAX_REQUEST_ID_BYTES).contains(&text.len()) && text.bytes().all(is_of_number)
}

/// The place in a URL: scheme, host and port, without user and password.
pub(super) fn host_of(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("https", url));
    let authority = rest.split('/').next().unwrap_or(rest);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_service_may_call_a_request_is_told() {
        let number = "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed";
        assert!(is_number(number));
        for other in ["", "two words", "\u{1b}[31m", "a\nb", "é", &"a".repeat(65)] {
            assert!(!is_number(other), "{other:?}");
        }
    }

    #[test]
    fn a_place_is_told_without_user_and_password() {
        for (url, place) in [
            ("https://me:secret@example.com:8443/path", "https://example.com:8443"),
            ("example.com", "https://example.com"),
        ] {
            assert_eq!(host_of(url), place);
        }
    }
}
