//! Whether a request is signed, and by whom.
//!
//! Knows the shape of a Signature Version 4 header: a client that forgot to sign, or signs for another service,
//! learns it here and not first at AWS. With keys it verifies the signature too, as the specification has it and
//! not with the SDK's signer: a second opinion. Deliberately knows no clock: the time is handed in. Called by `http`
//! for each request of the API.

use std::fmt;
use std::io;
use std::ops::Range;
use std::time::{Duration, SystemTime};

use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};
use hmac::{Hmac, KeyInit, Mac};
use rustix::rand::GetRandomFlags;
use sha2::{Digest, Sha256};

use super::refusal::{Kind, Refusal};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// What headers that have to be signed begin with, beside `host`.
const MUST_BE_SIGNED: &str = "x-amz-";

/// How far a signature's time may be from ours, either way.
const SKEW: Duration = Duration::from_secs(5 * 60);

/// The one pair of keys that requests have to be signed with.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    /// The access key's ID.
    pub access_key: String,
    /// The secret that signatures are made with. Never shown.
    pub secret_key: String,
}

impl Keys {
    /// Keys that nobody can guess, drawn from the kernel.
    ///
    /// # Errors
    /// When the kernel has no randomness to give.
    pub fn random() -> io::Result<Self> {
        let mut drawn = [0; 48];
        let mut filled = 0;
        while filled < drawn.len() {
            filled += rustix::rand::getrandom(&mut drawn[filled..], GetRandomFlags::empty())?;
        }
        let (access_key, secret_key) = drawn.split_at(16);
        Ok(Self { access_key: hex(access_key), secret_key: hex(secret_key) })
    }
}

impl fmt::Debug for Keys {
    /// Without the secret.
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("Keys").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

/// What a request says of its signature.
#[derive(Debug)]
pub(super) struct Claim {
    /// As it was sent: `20261105T120000Z`.
    time: String,
    access_key: String,
    /// `DATE/REGION/SERVICE/aws4_request`.
    scope: String,
    /// Names of headers in lower case, in the order of the signature.
    signed_headers: Vec<String>,
    /// In hexadecimal digits.
    signature: String,
}

impl Claim {
    /// Errors: `MissingAuthenticationTokenException` without a header, `IncompleteSignatureException` when it does
    /// not have the shape, or leaves a header unsigned that says what is asked, when, or of whom.
    pub(super) fn read(headers: &HeaderMap) -> Result<Self, Refusal> {
        let header = headers
            .get(AUTHORIZATION)
            .ok_or_else(|| Refusal::new(Kind::MissingAuthentication, "Missing Authentication Token"))?;
        let incomplete = |message: &'static str| Refusal::new(Kind::IncompleteSignature, message);
        let header = header.to_str().map_err(|_| incomplete("Authorization is not text."))?;
        let time = headers
            .get("x-amz-date")
            .and_then(|value| value.to_str().ok())
            .ok_or_else(|| incomplete("A signed request has an X-Amz-Date."))?;
        let claim = Self::parse(header, time).map_err(incomplete)?;
        let is_signed = |name: &str| claim.signed_headers.iter().any(|signed| signed == name);
        // What was not signed could have been said by anybody on the way.
        let mut named = headers.keys().map(HeaderName::as_str);
        match named.find(|name| name.starts_with(MUST_BE_SIGNED) && !is_signed(name)) {
            Some(name) => {
                let message = format!("'{name}' must be a 'SignedHeader' in the AWS Authorization.");
                Err(Refusal::new(Kind::IncompleteSignature, message))
            }
            None => Ok(claim),
        }
    }

    /// Errors: what is missing in the header's value.
    fn parse(header: &str, time: &str) -> Result<Self, &'static str> {
        let Some(("", rest)) = header.split_once(ALGORITHM) else {
            return Err("Authorization does not begin with AWS4-HMAC-SHA256.");
        };
        let part = |name: &str| {
            let named = |part: &str| part.trim().strip_prefix(name)?.strip_prefix('=').map(str::to_owned);
            rest.split(',').find_map(named)
        };
        let credential = part("Credential").ok_or("Authorization requires 'Credential' parameter.")?;
        let (access_key, scope) = credential
            .split_once('/')
            .filter(|(key, scope)| !key.is_empty() && is_scope(scope))
            .ok_or("Credential is not KEY/DATE/REGION/firehose/aws4_request.")?;
        let signed_headers: Vec<String> =
            part("SignedHeaders").unwrap_or_default().split(';').map(str::to_owned).collect();
        if signed_headers.iter().all(|name| name != "host") {
            return Err("Authorization requires 'SignedHeaders' parameter with host.");
        }
        let is_signature =
            |text: &String| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let signature = part("Signature")
            .filter(is_signature)
            .ok_or("Authorization requires 'Signature' parameter of 64 hexadecimal digits.")?;
        Ok(Self {
            time: time.to_owned(),
            access_key: access_key.to_owned(),
            scope: scope.to_owned(),
            signed_headers,
            signature,
        })
    }

    /// What can be asked before the body is there.
    ///
    /// Errors: `UnrecognizedClientException` for another access key, `InvalidSignatureException` for a signature of
    /// another time.
    pub(super) fn verify_head(&self, keys: &Keys, unix_time: Duration) -> Result<(), Refusal> {
        if self.access_key != keys.access_key {
            let message = "The security token included in the request is invalid.";
            return Err(Refusal::new(Kind::UnrecognizedClient, message));
        }
        let invalid = |message: String| Err(Refusal::new(Kind::InvalidSignature, message));
        if !self.scope.starts_with(self.time.get(..8).unwrap_or("?")) {
            return invalid(format!("Credential should be scoped to the date of X-Amz-Date, {}.", self.time));
        }
        match signed_at(&self.time) {
            Some(at) if at + SKEW < unix_time => {
                invalid(format!("Signature expired: {} is more than 5 minutes ago.", self.time))
            }
            Some(at) if unix_time + SKEW < at => {
                invalid(format!("Signature not yet current: {} is more than 5 minutes ahead.", self.time))
            }
            Some(_) => Ok(()),
            None => invalid("X-Amz-Date is not a time like 20261105T120000Z.".to_owned()),
        }
    }

    /// Errors: `InvalidSignatureException` for a signature that is not of this request and this secret key.
    pub(super) fn verify(&self, keys: &Keys, head: &Parts, body: &[u8]) -> Result<(), Refusal> {
        if is_same(&self.signature.to_ascii_lowercase(), &self.signature_by(&keys.secret_key, head, body)) {
            return Ok(());
        }
        let message = "The request signature we calculated does not match the signature you provided. Check your AWS \
                       Secret Access Key and signing method.";
        Err(Refusal::new(Kind::InvalidSignature, message))
    }

    /// The signature that this request has with that secret key.
    fn signature_by(&self, secret_key: &str, head: &Parts, body: &[u8]) -> String {
        let mut query: Vec<&str> = head.uri.query().unwrap_or_default().split('&').collect();
        query.sort_unstable();
        let mut canonical = format!("{}\n{}\n{}\n", head.method, head.uri.path(), query.join("&"));
        for name in &self.signed_headers {
            let values = head.headers.get_all(name).iter().map(|value| {
                let text = String::from_utf8_lossy(value.as_bytes());
                text.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
            });
            canonical += &format!("{name}:{}\n", values.collect::<Vec<_>>().join(","));
        }
        canonical += &format!("\n{}\n{}", self.signed_headers.join(";"), hex(&Sha256::digest(body)));
        let hash = hex(&Sha256::digest(canonical));
        let to_sign = format!("{ALGORITHM}\n{}\n{}\n{hash}", self.time, self.scope);
        let key = self
            .scope
            .split('/')
            .fold(format!("AWS4{secret_key}").into_bytes(), |key, part| hmac(&key, part.as_bytes()));
        hex(&hmac(&key, to_sign.as_bytes()))
    }
}

/// Whether two signatures are the same, in a time that does not say where they begin to differ.
fn is_same(one: &str, other: &str) -> bool {
    let differs = one.bytes().zip(other.bytes()).fold(0, |differs, (one, other)| differs | (one ^ other));
    one.len() == other.len() && differs == 0
}

fn hmac(key: &[u8], data: &[u8]) -> Vec<u8> {
    let mac = Hmac::<Sha256>::new_from_slice(key).expect("a key may have any length");
    mac.chain_update(data).finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Since 1970, of `20261105T120000Z`.
fn signed_at(time: &str) -> Option<Duration> {
    let at = |range: Range<usize>| time.get(range);
    let text = format!(
        "{}-{}-{}{}:{}:{}",
        at(0..4)?,
        at(4..6)?,
        at(6..8)?,
        at(8..11)?,
        at(11..13)?,
        at(13..time.len())?
    );
    humantime::parse_rfc3339(&text).ok()?.duration_since(SystemTime::UNIX_EPOCH).ok()
}

fn is_scope(scope: &str) -> bool {
    let parts: Vec<&str> = scope.split('/').collect();
    let [date, region, "firehose", "aws4_request"] = parts[..] else {
        return false;
    };
    !region.is_empty() && date.len() == 8 && date.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCOPE: &str = "AKID/20261105/us-east-1/firehose/aws4_request";

    fn verdict(authorization: Option<&str>) -> Result<(), Kind> {
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-date", "20261105T120000Z".parse().unwrap());
        if let Some(value) = authorization {
            headers.insert(AUTHORIZATION, value.parse().unwrap());
        }
        Claim::read(&headers).map(|_| ()).map_err(|refusal| refusal.kind)
    }

    #[test]
    fn a_request_without_authorization_misses_its_token() {
        assert_eq!(verdict(None), Err(Kind::MissingAuthentication));
    }

    #[test]
    fn a_signature_of_the_right_shape_passes() {
        let signature = "0123456789abcdef".repeat(4);
        for gap in [", ", ","] {
            let header = format!(
                "{ALGORITHM} Credential={SCOPE}{gap}SignedHeaders=host;x-amz-date{gap}Signature={signature}"
            );
            assert_eq!(verdict(Some(&header)), Ok(()));
        }
    }

    #[test]
    fn a_signature_that_lacks_a_part_is_incomplete() {
        let signature = "0123456789abcdef".repeat(4);
        for header in [
            String::new(),
            "Bearer abc".to_owned(),
            ALGORITHM.to_owned(),
            format!("{ALGORITHM} SignedHeaders=host, Signature={signature}"),
            format!("{ALGORITHM} Credential=AKID, SignedHeaders=host, Signature={signature}"),
            format!(
                "{ALGORITHM} Credential=AKID/20261105/us-east-1/s3/aws4_request, SignedHeaders=host, \
                 Signature={signature}"
            ),
            format!("{ALGORITHM} Credential={SCOPE}, Signature={signature}"),
            format!("{ALGORITHM} Credential={SCOPE}, SignedHeaders=x-amz-date, Signature={signature}"),
            format!("{ALGORITHM} Credential={SCOPE}, SignedHeaders=host, Signature=abc"),
            format!("{ALGORITHM} Credential={SCOPE}, SignedHeaders=host"),
        ] {
            assert_eq!(verdict(Some(&header)), Err(Kind::IncompleteSignature), "{header}");
        }
    }

    #[test]
    fn what_says_when_and_what_is_asked_has_to_be_signed() {
        let signature = "0".repeat(64);
        let verdict = |signed: &str, names: &[&str]| {
            let mut headers = HeaderMap::new();
            headers.insert("x-amz-date", "20261105T120000Z".parse().unwrap());
            for name in names {
                headers.insert(HeaderName::from_bytes(name.as_bytes()).unwrap(), "x".parse().unwrap());
            }
            let value =
                format!("{ALGORITHM} Credential={SCOPE}, SignedHeaders={signed}, Signature={signature}");
            headers.insert(AUTHORIZATION, value.parse().unwrap());
            Claim::read(&headers).map(|_| ()).map_err(|refusal| refusal.kind)
        };
        let incomplete = Err(Kind::IncompleteSignature);
        assert_eq!(verdict("host", &[]), incomplete);
        assert_eq!(verdict("x-amz-date", &[]), incomplete);
        assert_eq!(verdict("host;x-amz-date", &["x-amz-target"]), incomplete);
        assert_eq!(
            verdict("host;x-amz-date;x-amz-target", &["x-amz-target", "x-amz-security-token"]),
            incomplete
        );
        assert_eq!(verdict("host;x-amz-date;x-amz-target", &["x-amz-target"]), Ok(()));
        // What proxies and SDKs add behind the signature.
        let added = ["x-amz-target", "x-amzn-trace-id", "amz-sdk-request", "user-agent", "content-type"];
        assert_eq!(verdict("host;x-amz-date;x-amz-target", &added), Ok(()));
    }

    #[test]
    fn keys_are_drawn_anew_each_time() {
        let (one, other) = (Keys::random().unwrap(), Keys::random().unwrap());
        assert_eq!((one.access_key.len(), one.secret_key.len()), (32, 64));
        assert_ne!(one.access_key, other.access_key);
        assert_ne!(one.secret_key, other.secret_key);
    }

    #[test]
    fn a_signature_without_a_date_is_incomplete() {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, ALGORITHM.parse().unwrap());
        assert_eq!(Claim::read(&headers).unwrap_err().kind, Kind::IncompleteSignature);
    }

    const SIGNED_BY_BOTOCORE: &str = "AWS4-HMAC-SHA256 Credential=AKID/20261105/us-east-1/firehose/aws4_request, \
        SignedHeaders=content-type;host;x-amz-date;x-amz-target, \
        Signature=e094c3c926dd58784c0912f1de7146fd95a086d30eec60b122e583892da0f915";

    /// A request that botocore 1.43 signed.
    fn signed() -> (Parts, &'static [u8], Keys) {
        let request = axum::http::Request::builder()
            .method("POST")
            .uri("/")
            .header("host", "127.0.0.1:4573")
            .header("x-amz-date", "20261105T120000Z")
            .header("x-amz-target", "Firehose_20150804.PutRecord")
            .header("content-type", "application/x-amz-json-1.1")
            .header(AUTHORIZATION, SIGNED_BY_BOTOCORE)
            .body(())
            .unwrap();
        let keys = Keys { access_key: "AKID".to_owned(), secret_key: "secret".to_owned() };
        (request.into_parts().0, br#"{"DeliveryStreamName": "app", "Record": {"Data": "YQ=="}}"#, keys)
    }

    const AT: Duration = Duration::from_secs(1_793_880_000);

    #[test]
    fn the_signature_is_of_this_request_by_this_key_at_this_time() {
        let (head, body, keys) = signed();
        let claim = Claim::read(&head.headers).unwrap();
        let verdict = |keys: &Keys, head: &Parts, body: &[u8], at| {
            let verified = claim.verify_head(keys, at).and_then(|()| claim.verify(keys, head, body));
            verified.map_err(|refusal| refusal.kind)
        };
        assert_eq!(verdict(&keys, &head, body, AT), Ok(()));
        assert_eq!(verdict(&keys, &head, body, AT + SKEW), Ok(()));
        assert_eq!(verdict(&keys, &head, body, AT - SKEW), Ok(()));
        let invalid = Err(Kind::InvalidSignature);
        let second = Duration::from_secs(1);
        assert_eq!(verdict(&keys, &head, body, AT + SKEW + second), invalid, "too late");
        assert_eq!(verdict(&keys, &head, body, AT - SKEW - second), invalid, "too early");
        assert_eq!(verdict(&keys, &head, b"{}", AT), invalid, "another body");
        let mut other = head.clone();
        other.headers.insert("x-amz-target", "Firehose_20150804.PutRecordBatch".parse().unwrap());
        assert_eq!(verdict(&keys, &other, body, AT), invalid, "another header");
        let wrong = Keys { secret_key: "Secret".to_owned(), ..keys.clone() };
        assert_eq!(verdict(&wrong, &head, body, AT), invalid, "another secret");
        let unknown = Keys { access_key: "AKIE".to_owned(), ..keys };
        assert_eq!(verdict(&unknown, &head, body, AT), Err(Kind::UnrecognizedClient));
    }

    #[test]
    fn a_time_that_is_none_is_no_reason_to_panic() {
        for time in
            ["", "2026", "20261105T120000", "2026110é5T12000Z", "20261305T120000Z", "99999999T999999Z"]
        {
            assert_eq!(signed_at(time), None, "{time}");
        }
        assert_eq!(signed_at("20261105T120000Z"), Some(AT));
    }

    #[test]
    fn a_secret_is_not_shown() {
        let keys = Keys { access_key: "AKID".to_owned(), secret_key: "tell nobody".to_owned() };
        assert_eq!(format!("{keys:?}"), "Keys { access_key: \"AKID\", .. }");
    }
}
