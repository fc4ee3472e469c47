//! Whether a request is signed at all.
//!
//! Knows the shape of a Signature Version 4 header: a client that forgot to sign, or signs for another service,
//! learns it here and not first at AWS. Deliberately holds no secret and so verifies no signature. Called by
//! `http` for each request of the API.

use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, DATE};

use super::refusal::{Kind, Refusal};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// Errors: `MissingAuthenticationTokenException` without a header, `IncompleteSignatureException` when it does
/// not have the shape.
pub(super) fn check(headers: &HeaderMap) -> Result<(), Refusal> {
    let header = headers
        .get(AUTHORIZATION)
        .ok_or_else(|| Refusal::new(Kind::MissingAuthentication, "Missing Authentication Token"))?;
    let fault = match header.to_str() {
        Err(_) => Some("Authorization is not text."),
        Ok(_) if !headers.contains_key("x-amz-date") && !headers.contains_key(DATE) => {
            Some("A signed request has an X-Amz-Date or a Date.")
        }
        Ok(header) => fault_of(header),
    };
    fault.map_or(Ok(()), |message| Err(Refusal::new(Kind::IncompleteSignature, message)))
}

/// What is missing in the header's value.
fn fault_of(header: &str) -> Option<&'static str> {
    let Some(("", rest)) = header.split_once(ALGORITHM) else {
        return Some("Authorization does not begin with AWS4-HMAC-SHA256.");
    };
    let part = |name: &str| {
        let named = |part: &str| part.trim().strip_prefix(name)?.strip_prefix('=').map(str::to_owned);
        rest.split(',').find_map(named)
    };
    let Some(credential) = part("Credential") else {
        return Some("Authorization requires 'Credential' parameter.");
    };
    if !is_scope(&credential) {
        return Some("Credential is not KEY/DATE/REGION/firehose/aws4_request.");
    }
    if part("SignedHeaders").is_none_or(|names| names.split(';').all(|name| name != "host")) {
        return Some("Authorization requires 'SignedHeaders' parameter with host.");
    }
    let is_signature = |text: String| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !part("Signature").is_some_and(is_signature) {
        return Some("Authorization requires 'Signature' parameter of 64 hexadecimal digits.");
    }
    None
}

fn is_scope(credential: &str) -> bool {
    let parts: Vec<&str> = credential.split('/').collect();
    let [key, date, region, "firehose", "aws4_request"] = parts[..] else {
        return false;
    };
    !key.is_empty() && !region.is_empty() && date.len() == 8 && date.bytes().all(|byte| byte.is_ascii_digit())
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
        check(&headers).map_err(|refusal| refusal.kind)
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
    fn a_signature_without_a_date_is_incomplete() {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, ALGORITHM.parse().unwrap());
        assert_eq!(check(&headers).unwrap_err().kind, Kind::IncompleteSignature);
    }
}
