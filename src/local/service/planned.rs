//! What a planned fault makes of an answer.

use super::super::faults::Fault;
use super::super::refusal::{Kind, Refusal};
use super::ResponseMode;

/// What the request is refused with because of a fault; `None` when it is looked at as usual.
pub(super) fn refusal(fault: Fault) -> Option<Refusal> {
    const MESSAGE: &str = "A fault on demand.";
    let kind = match fault {
        Fault::Unavailable => return Some(Refusal::slow_down()),
        Fault::Internal => Kind::Internal,
        Fault::NotFound => Kind::ResourceNotFound,
        Fault::InvalidKey => Kind::InvalidKmsResource,
        Fault::InvalidArgument => Kind::InvalidArgument,
        Fault::AccessDenied => Kind::AccessDenied,
        Fault::ExpiredToken => Kind::ExpiredToken,
        // The client does not get to see this one.
        Fault::ResetBefore | Fault::Hang | Fault::Html | Fault::Redirect => Kind::Internal,
        Fault::Partial | Fault::ResetAfter | Fault::HangAfter | Fault::Truncated | Fault::Short => {
            return None;
        }
    };
    Some(Refusal::new(kind, MESSAGE))
}

/// How the client is told under a fault.
pub(super) fn mode(fault: Fault) -> ResponseMode {
    match fault {
        Fault::Unavailable
        | Fault::Internal
        | Fault::NotFound
        | Fault::InvalidKey
        | Fault::InvalidArgument
        | Fault::AccessDenied
        | Fault::ExpiredToken
        | Fault::Partial => ResponseMode::Proper,
        Fault::ResetBefore | Fault::ResetAfter => ResponseMode::Reset,
        Fault::Hang | Fault::HangAfter => ResponseMode::Hang,
        Fault::Html => ResponseMode::Html,
        Fault::Redirect => ResponseMode::Redirect,
        Fault::Truncated => ResponseMode::Truncated,
        Fault::Short => ResponseMode::Short,
    }
}
