//! What an error of the SDK comes to, in one sentence.
//!
//! Knows the layers that the SDK puts around a cause, and codes of STS. Whatever the layers say beside the cause goes to
//! the log at debug level, by whoever asks.

use std::error::Error;

use aws_sdk_firehose::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sts::operation::assume_role::AssumeRoleError;
use aws_sdk_sts::operation::assume_role_with_web_identity::AssumeRoleWithWebIdentityError;

use super::values::on_one_line;

/// The most of a cause that is shown, in bytes.
const MAX_BYTES: usize = 500;

/// The cause at the bottom of an error.
pub(in crate::shell) fn root(error: &(dyn Error + 'static)) -> String {
    let layers = layers(error);
    // Where a service answered, its code and what it says are the cause.
    if let Some(said) = layers.iter().find_map(|layer| of_service(*layer)) {
        return said;
    }
    let texts: Vec<_> = layers.iter().map(|layer| on_one_line(&layer.to_string(), MAX_BYTES)).collect();
    let last = texts.last().cloned().unwrap_or_default();
    if texts.iter().any(|text| text.contains("dns error")) {
        return format!("its name does not resolve ({last})");
    }
    last
}

/// An error and its causes, from the outermost to the root.
pub(super) fn layers<'a>(error: &'a (dyn Error + 'static)) -> Vec<&'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| below(*error)).collect()
}

/// What an error was made of.
fn below<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    // An I/O error hides what it was made of, and shows what is below that.
    match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
        Some(inner) => Some(inner),
        None => error.source(),
    }
}

fn of_service(layer: &(dyn Error + 'static)) -> Option<String> {
    said(layer.downcast_ref::<SdkError<AssumeRoleError>>())
        .or_else(|| said(layer.downcast_ref::<SdkError<AssumeRoleWithWebIdentityError>>()))
}

fn said<E: ProvideErrorMetadata>(error: Option<&SdkError<E>>) -> Option<String> {
    match error? {
        SdkError::ServiceError(answer) => {
            let status = answer.raw().status().as_u16();
            let meta = answer.err().meta();
            Some(match (meta.code(), meta.message()) {
                (Some(code), Some(message)) => {
                    format!("{}: {}", on_one_line(code, MAX_BYTES), on_one_line(message, MAX_BYTES))
                }
                (Some(code), None) => on_one_line(code, MAX_BYTES),
                (None, _) => format!("an answer with status {status} and no error code"),
            })
        }
        SdkError::TimeoutError(_) => Some("no answer in time".to_owned()),
        SdkError::ResponseError(answer) => {
            Some(format!("an answer with status {} that is not STS's", answer.raw().status().as_u16()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Layer(&'static str, #[source] Option<Box<dyn Error + Send + Sync>>);

    #[test]
    fn the_cause_is_what_lies_at_the_bottom() {
        let dns = Layer("dns error", Some("failed to lookup address information".into()));
        let error = Layer("dispatch failure", Some(Box::new(Layer("io error", Some(Box::new(dns))))));
        assert_eq!(root(&error), "its name does not resolve (failed to lookup address information)");
        let inner = std::io::Error::other(Layer("invalid peer certificate: UnknownIssuer", None));
        let error = Layer("dispatch failure", Some(Box::new(std::io::Error::other(inner))));
        assert_eq!(root(&error), "invalid peer certificate: UnknownIssuer");
    }
}
