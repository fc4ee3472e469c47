//! What a container runtime wrote around a line is taken off.
//!
//! Knows two formats, one line at a time. Does not know which lines belong together: it says whether one is only the
//! part of a line.
//!
//! - The Container Runtime Interface (containerd, CRI-O): `TIME stdout|stderr P|F CONTENT`. Tags behind the first are
//!   separated by colons (Kubernetes, `pkg/kubelet/kuberuntime/logs`).
//! - Docker's `json-file`: `{"log":"CONTENT\n","stream":"stdout|stderr","time":"TIME"}`; a part has no newline in `log`.
//!
//! *Invariant:* a line is unwrapped only when all of it is as its format says; any other is left as it is.

use std::borrow::Cow;

use serde::Deserialize;

use crate::model::message::{Channel, RuntimeMetadata};
use crate::model::settings::Runtime;

/// What stood in the wrapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unwrapped<'a> {
    pub content: Cow<'a, [u8]>,
    pub metadata: RuntimeMetadata,
    /// Whether the rest of the line follows.
    pub is_partial: bool,
}

/// Takes off what `runtime` wrote around `line`, which comes without its newline; `None` when it did not write it.
pub fn unwrap(runtime: Runtime, line: &[u8]) -> Option<Unwrapped<'_>> {
    match runtime {
        Runtime::Cri => cri(line),
        Runtime::Docker => docker(line),
    }
}

fn cri(line: &[u8]) -> Option<Unwrapped<'_>> {
    let mut words = line.splitn(4, |byte| *byte == b' ');
    let time = std::str::from_utf8(words.next()?).ok()?;
    let channel = channel(words.next()?)?;
    let tag = words.next()?.split(|byte| *byte == b':').next()?;
    let is_partial = match tag {
        b"P" => true,
        b"F" => false,
        _ => return None,
    };
    // An empty line may come without the blank before it.
    let content = Cow::Borrowed(words.next().unwrap_or_default());
    Some(Unwrapped { content, metadata: RuntimeMetadata { channel, time: rfc_3339(time)? }, is_partial })
}

/// One line of a `json-file`; the labels that Docker can be metadata to add are left out.
#[derive(Deserialize)]
struct JsonFile<'a> {
    #[serde(borrow)]
    log: Cow<'a, str>,
    #[serde(borrow)]
    stream: Cow<'a, str>,
    #[serde(borrow)]
    time: Cow<'a, str>,
}

fn docker(line: &[u8]) -> Option<Unwrapped<'_>> {
    let JsonFile { log, stream, time } = serde_json::from_slice(line).ok()?;
    let metadata = RuntimeMetadata { channel: channel(stream.as_bytes())?, time: rfc_3339(&time)? };
    let is_partial = !log.ends_with('\n');
    let kept = log.len() - usize::from(!is_partial);
    let content = match log {
        Cow::Borrowed(log) => Cow::Borrowed(&log.as_bytes()[..kept]),
        Cow::Owned(log) => {
            let mut log = log.into_bytes();
            log.truncate(kept);
            Cow::Owned(log)
        }
    };
    Some(Unwrapped { content, metadata, is_partial })
}

fn channel(word: &[u8]) -> Option<Channel> {
    [Channel::Stdout, Channel::Stderr].into_iter().find(|channel| channel.label().as_bytes() == word)
}

/// A time as both runtimes write it: nanoseconds or none, UTC or an offset.
fn rfc_3339(time: &str) -> Option<Box<str>> {
    const SHAPE: &[u8] = b"0000-00-00T00:00:00";
    let (start, rest) = time.as_bytes().split_at_checked(SHAPE.len())?;
    let has_shape = start.iter().zip(SHAPE).all(|(byte, shape)| match shape {
        b'0' => byte.is_ascii_digit(),
        mark => byte == mark,
    });
    let zone = match rest {
        [b'.', fraction @ ..] => {
            let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
            (1..=9).contains(&digits).then(|| &fraction[digits..])?
        }
        _ => rest,
    };
    let has_zone = match zone {
        [b'Z'] => true,
        [b'+' | b'-', a, b, b':', c, d] => [a, b, c, d].into_iter().all(u8::is_ascii_digit),
        _ => false,
    };
    (has_shape && has_zone).then(|| time.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TIME: &str = "2026-11-24T08:15:42.123456789Z";

    fn metadata(channel: Channel, time: &str) -> RuntimeMetadata {
        RuntimeMetadata { channel, time: time.into() }
    }

    #[test]
    fn a_line_of_the_container_runtime_interface() {
        let table: [(&str, &[u8], Channel, bool); 6] = [
            ("2026-11-24T08:15:42.123456789Z stdout F a  b ", b"a  b ", Channel::Stdout, false),
            ("2026-11-24T08:15:42.123456789Z stderr P half", b"half", Channel::Stderr, true),
            ("2026-11-24T08:15:42.123456789Z stdout F:later:tags x", b"x", Channel::Stdout, false),
            ("2026-11-24T08:15:42.1+02:00 stdout F ", b"", Channel::Stdout, false),
            ("2026-11-24T08:15:42Z stdout F", b"", Channel::Stdout, false),
            ("2026-11-24T08:15:42-11:30 stderr P:x  ", b" ", Channel::Stderr, true),
        ];
        for (line, content, channel, is_partial) in table {
            let time = line.split(' ').next().expect("a time");
            let found = unwrap(Runtime::Cri, line.as_bytes()).expect(line);
            assert_eq!(
                found,
                Unwrapped { content: content.into(), metadata: metadata(channel, time), is_partial }
            );
        }
        let no_utf_8 = [TIME.as_bytes(), b" stdout F \xff"].concat();
        assert_eq!(*unwrap(Runtime::Cri, &no_utf_8).expect("any bytes").content, *b"\xff");
    }

    #[test]
    fn a_line_of_docker() {
        let line = format!(
            r#"{{"log":"say \"hi\" \u00e9\n","stream":"stderr","attrs":{{"a":"b"}},"time":"{TIME}"}}"#
        );
        let found = unwrap(Runtime::Docker, line.as_bytes()).expect("as Docker writes it");
        let content = Cow::Borrowed("say \"hi\" é".as_bytes());
        assert_eq!(
            found,
            Unwrapped { content, metadata: metadata(Channel::Stderr, TIME), is_partial: false }
        );
        let line = format!(r#"{{"log":"half","stream":"stdout","time":"{TIME}"}}"#);
        let found = unwrap(Runtime::Docker, line.as_bytes()).expect("a part");
        assert!(found.is_partial && matches!(found.content, Cow::Borrowed(b"half")), "{found:?}");
    }

    #[test]
    fn a_line_that_no_runtime_wrote_is_left_as_it_is() {
        for line in [
            "",
            "plain text",
            "2026-11-24T08:15:42Z stdout",
            "2026-11-24T08:15:42Z stdin F x",
            "2026-11-24T08:15:42Z stdout X x",
            "2026-11-24T08:15:42Z stdout  x",
            "2026-11-24 stdout F x",
            "2026-11-24T08:15:42 stdout F x",
            "2026-11-24T08:15:42.Z stdout F x",
            "2026-11-24T08:15:42.0123456789Z stdout F x",
            "20261-1-24T08:15:42Z stdout F x",
            " 2026-11-24T08:15:42Z stdout F x",
        ] {
            assert_eq!(unwrap(Runtime::Cri, line.as_bytes()), None, "{line}");
        }
        for line in [
            "",
            "plain text",
            "{}",
            r#"{"log":"x\n","stream":"stdout"}"#,
            r#"{"log":"x\n","stream":"stdin","time":"2026-11-24T08:15:42Z"}"#,
            r#"{"log":"x\n","stream":"stdout","time":"now"}"#,
            r#"{"log":"x\ud800\n","stream":"stdout","time":"2026-11-24T08:15:42Z"}"#,
            r#"{"log":"x\n","stream":"stdout","time":"2026-11-24T08:15:42Z"} "x""#,
        ] {
            assert_eq!(unwrap(Runtime::Docker, line.as_bytes()), None, "{line}");
        }
    }

    proptest! {
        #[test]
        fn any_content_can_be_had_back(
            content in proptest::collection::vec(any::<u8>().prop_filter("a line", |byte| *byte != b'\n'), 0..100),
            is_partial: bool,
        ) {
            let tag = if is_partial { "P" } else { "F" };
            let line = [format!("{TIME} stderr {tag} ").as_bytes(), &content].concat();
            let found = unwrap(Runtime::Cri, &line).expect("well formed");
            prop_assert_eq!((&*found.content, found.is_partial), (&content[..], is_partial));

            let text = String::from_utf8_lossy(&content);
            let newline = if is_partial { "" } else { "\n" };
            let log = serde_json::to_string(&format!("{text}{newline}")).expect("JSON");
            let line = format!(r#"{{"log":{log},"stream":"stderr","time":"{TIME}"}}"#);
            let found = unwrap(Runtime::Docker, line.as_bytes()).expect("well formed");
            prop_assert_eq!((&*found.content, found.is_partial), (text.as_bytes(), is_partial));
        }
    }
}
