//! Both ways side by side: the SDK's own steps, and those of `wire`.

use std::sync::{Arc, Mutex};

use aws_config::Region;
use aws_config::retry::RetryConfig;
use aws_sdk_firehose::Client;
use aws_sdk_firehose::config::Credentials;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use bytes::Bytes;
use proptest::prelude::*;
use serde_json::Value;

use super::super::sent::Sent;
use super::super::verdicts::{accepted, judge, judge_entries};
use super::*;
use crate::model::operation::Operation;
use crate::model::record_id::RecordId;
use crate::model::verdict::{Encrypted, RetryReason, Verdict};

/// A service that gives every request one answer, and keeps the last request.
#[derive(Clone, Debug)]
struct Fake {
    status: u16,
    answer: Vec<u8>,
    seen: Arc<Mutex<Option<HttpRequest>>>,
}

impl HttpConnector for Fake {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        *self.seen.lock().expect("nobody panicked") = Some(request);
        let status = self.status.try_into().expect("a status");
        HttpConnectorFuture::ready(Ok(HttpResponse::new(status, SdkBody::from(self.answer.clone()))))
    }
}

/// What was sent: method, headers that say what the body is, body.
type Request = (String, Vec<(String, String)>, Vec<u8>);

fn put(
    is_ours: bool,
    operation: Operation,
    records: &[Bytes],
    (status, answer): (u16, &[u8]),
) -> (Request, Vec<Verdict>) {
    let seen = Arc::default();
    let fake = Fake { status, answer: answer.to_vec(), seen: Arc::clone(&seen) };
    let mut config = aws_sdk_firehose::Config::builder()
        .behavior_version_latest()
        .region(Region::from_static("us-east-1"))
        .credentials_provider(Credentials::new("key", "secret", None, None, "test"))
        .retry_config(RetryConfig::disabled())
        .http_client(http_client_fn(move |_, _| SharedHttpConnector::new(fake.clone())));
    if is_ours {
        config = config.interceptor(OnePass);
    }
    let client = Client::from_conf(config.build());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let name = "app-logs_1.x";
    let audit = Audit::On { max_bytes: 1 };
    let verdicts = runtime.block_on(async {
        match operation {
            Operation::PutRecord => {
                let call = client.put_record().delivery_stream_name(name);
                match call.record(super::super::record(&records[0])).send().await {
                    Ok(output) => vec![accepted(Some(output.record_id()), output.encrypted(), Some(AT))],
                    Err(error) => vec![judge(&error, &mut Sent::new(records))],
                }
            }
            Operation::PutRecordBatch => {
                let entries = records.iter().map(super::super::record).collect();
                let call = client.put_record_batch().delivery_stream_name(name).set_records(Some(entries));
                let reads = ReadsMany::new(&audit);
                let result = match is_ours {
                    true => call.customize().interceptor(reads.clone()).send().await,
                    false => call.send().await,
                };
                let answer = |output| if is_ours { reads.take().0 } else { Some(theirs(output)) };
                match result {
                    Ok(output) => {
                        judge_entries(answer(output), records.len(), &mut Sent::new(records), Some(AT))
                    }
                    Err(error) => vec![judge(&error, &mut Sent::new(records)); records.len()],
                }
            }
        }
    });
    let request = seen.lock().expect("nobody panicked").take().expect("a request was sent");
    let mut headers: Vec<_> = ["content-type", "content-length", "x-amz-target"]
        .map(|name| (name.to_owned(), request.headers().get(name).unwrap_or_default().to_owned()))
        .into();
    headers.push(("uri".to_owned(), request.uri().to_owned()));
    let body = request.body().bytes().expect("it is in memory").to_vec();
    ((request.method().to_owned(), headers, body), verdicts)
}

/// What the SDK read.
fn theirs(output: PutRecordBatchOutput) -> BatchAnswer {
    let mut ids = String::new();
    let entries =
        output.request_responses().iter().map(|entry| match (entry.error_code(), entry.record_id()) {
            (Some(code), _) => Entry::Failed {
                code: code.to_owned(),
                message: entry.error_message().unwrap_or_default().to_owned(),
            },
            (None, Some(id)) if !id.is_empty() => {
                let start = place(&ids);
                ids.push_str(id);
                Entry::Accepted(start, place(&ids))
            }
            (None, _) => Entry::Nothing,
        });
    let entries = entries.collect();
    BatchAnswer { failed_put_count: output.failed_put_count(), encrypted: output.encrypted(), entries, ids }
}

/// When answers come, in milliseconds since 1970.
const AT: i64 = 1_795_900_000_000;

const FITS: &[u8] = br#"{"RecordId":"1","Encrypted":true}"#;

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_request_says_what_the_sdks_says(
        records in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..200), 1..20),
    ) {
        let records: Vec<_> = records.into_iter().map(Bytes::from).collect();
        for operation in [Operation::PutRecord, Operation::PutRecordBatch] {
            let [theirs, ours] = [false, true].map(|is_ours| put(is_ours, operation, &records, (200, FITS)).0);
            prop_assert_eq!((&theirs.0, &theirs.1), (&ours.0, &ours.1));
            let [theirs, ours] = [theirs.2, ours.2].map(|body| serde_json::from_slice::<Value>(&body));
            prop_assert_eq!(theirs.expect("JSON"), ours.expect("JSON"));
        }
    }
}

/// Nothing is moved to make room.
#[test]
fn the_buffer_of_a_body_has_the_size_that_is_needed() {
    for lens in [vec![1], vec![1, 2, 3, 4], vec![200; 500], vec![1_024_000]] {
        let records: Vec<_> =
            lens.iter().map(|len| super::super::record(&Bytes::from(vec![b'x'; *len]))).collect();
        let first = records[0].clone();
        let put = PutRecordBatchInput::builder().delivery_stream_name("a\"b").set_records(Some(records));
        let body = many(&put.build().expect("complete")).expect("a body");
        assert!(body.capacity() - body.len() <= 1, "{} of {}", body.len(), body.capacity());
        let put =
            PutRecordInput::builder().delivery_stream_name("a").record(first).build().expect("complete");
        let body = one(&put).expect("a body");
        assert!(body.capacity() - body.len() <= 2, "{} of {}", body.len(), body.capacity());
    }
}

/// Status and body of an answer to a `PutRecord`, or to a `PutRecordBatch` of two.
#[test]
fn an_answer_means_what_it_means_to_the_sdk() {
    let one: &[(u16, &str)] = &[
        (200, r#"{"RecordId":"1"}"#),
        (200, r#"{"RecordId":"1","Encrypted":true}"#),
        (200, r#" { "Encrypted" : false , "RecordId" : "\u0031\n" , "More" : [1, {"a": null}] } "#),
        (200, r#"{"RecordId":""}"#),
        (200, r#"{"RecordId":null,"Encrypted":null}"#),
        (200, r#"{"Encrypted":true}"#),
        (200, "{}"),
        (200, ""),
        (200, "<html>welcome</html>"),
        (200, r#"{"RecordId":1}"#),
        (200, r#"{"RecordId":"1""#),
        (200, r#"{"RecordId":"1"} trailing"#),
        (200, "[]"),
        (200, r#"{"recordid":"1"}"#),
        (204, ""),
        (400, r#"{"__type":"InvalidArgumentException","message":"no"}"#),
        (400, r#"{"__type":"com.amazonaws.firehose#ResourceNotFoundException","Message":"no"}"#),
        (400, r#"{"__type":"InvalidKMSResourceException","code":"KMS","message":"no"}"#),
        (400, r#"{"__type":"InvalidSourceException","message":"no"}"#),
        (400, r#"{"code":"Odd","errorMessage":"no"}"#),
        (503, r#"{"__type":"ServiceUnavailableException","message":"Slow down."}"#),
        (500, ""),
        (302, "moved"),
        (413, "<html>too large</html>"),
    ];
    let many: &[(u16, &str)] = &[
        (200, r#"{"FailedPutCount":0,"RequestResponses":[{"RecordId":"1"},{"RecordId":"2"}]}"#),
        (
            200,
            r#"{"Encrypted":true,"FailedPutCount":0,"RequestResponses":[{"RecordId":"1"},{"RecordId":"2"}]}"#,
        ),
        (
            200,
            r#"{"FailedPutCount":1,"RequestResponses":[{"RecordId":"1"},{"ErrorCode":"InternalFailure","ErrorMessage":"e"}]}"#,
        ),
        (
            200,
            r#"{"FailedPutCount":1,"RequestResponses":[{"RecordId":"1"},{"ErrorCode":"ServiceUnavailableException"}]}"#,
        ),
        (200, r#"{"FailedPutCount":0,"RequestResponses":[{"RecordId":"1"}]}"#),
        (200, r#"{"FailedPutCount":0,"RequestResponses":[{"RecordId":"1"},{}]}"#),
        (200, r#"{"FailedPutCount":2,"RequestResponses":[{"RecordId":"1"},{"RecordId":"2"}]}"#),
        (200, r#"{"FailedPutCount":-1,"RequestResponses":[{"RecordId":"1"},{"RecordId":"2"}]}"#),
        (200, r#"{"RequestResponses":[{"RecordId":"1"},{"RecordId":"2"}]}"#),
        (200, r#"{"FailedPutCount":0,"RequestResponses":null}"#),
        (200, "{}"),
        (200, ""),
        (400, r#"{"__type":"InvalidArgumentException","message":"no"}"#),
        (503, r#"{"__type":"ServiceUnavailableException","message":"Slow down."}"#),
        (502, "bad gateway"),
    ];
    let records = [Bytes::from_static(b"first\n"), Bytes::from_static(b"second\n")];
    for (operation, rows) in [(Operation::PutRecord, one), (Operation::PutRecordBatch, many)] {
        for (status, answer) in rows {
            let [theirs, ours] = [false, true].map(|is_ours| {
                let (_, verdicts) = put(is_ours, operation, &records, (*status, answer.as_bytes()));
                verdicts.iter().map(kind).collect::<Vec<_>>()
            });
            assert_eq!(theirs, ours, "{operation:?}: {status} {answer}");
        }
    }
}

#[test]
fn only_the_status_of_the_service_acknowledges() {
    let records = [Bytes::from_static(b"first\n")];
    let many = r#"{"FailedPutCount":0,"RequestResponses":[{"RecordId":"1"}]}"#;
    for (operation, answer) in
        [(Operation::PutRecord, r#"{"RecordId":"1"}"#), (Operation::PutRecordBatch, many)]
    {
        for status in [200, 201, 202, 203, 206, 226] {
            let (_, verdicts) = put(true, operation, &records, (status, answer.as_bytes()));
            let is_delivered = matches!(verdicts[..], [Verdict::Delivered { .. }]);
            let is_ambiguous =
                matches!(&verdicts[..], [Verdict::Retry(why)] if why.reason == RetryReason::Ambiguous);
            assert_eq!(
                (is_delivered, is_ambiguous),
                (status == 200, status != 200),
                "{status}: {verdicts:?}"
            );
        }
    }
}

/// The kind of a verdict, with the code; the words about an answer that makes no sense are each one's own.
fn kind(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Delivered { encrypted, id } => format!("delivered {encrypted:?} as {id:?}"),
        Verdict::Retry(why) => format!("retry {} {}", why.reason.label(), why.code),
        Verdict::Rejected { code, message, .. } => format!("rejected {code} {message}"),
    }
}

/// The SDK takes these: a RecordId stands in its place, and what is around it is no JSON.
#[test]
fn an_answer_that_is_not_json_from_its_first_to_its_last_byte_acknowledges_nothing() {
    let records = [Bytes::from_static(b"a line\n")];
    for answer in [
        &b"{\"RecordId\":\"1\",\"x\":\"a\nb\"}"[..],
        b"{\"RecordId\":\"1\",\"x\":\"\xff\"}",
        b"{\"RecordId\":\"1\xff\"}",
        b"{\"RecordId\":\"1\",\"x\":01}",
        b"{\"RecordId\":\"1\"}}",
    ] {
        let (_, verdicts) = put(true, Operation::PutRecord, &records, (200, answer));
        assert_eq!(kind(&verdicts[0]), "retry ambiguous Ambiguous", "{}", answer.escape_ascii());
    }
    let (_, verdicts) = put(true, Operation::PutRecord, &records, (200, FITS));
    let id = Some(RecordId::alone("1", AT));
    assert_eq!(verdicts, [Verdict::Delivered { encrypted: Encrypted::Yes, id }]);
}

/// Without audit RecordIds are looked at, and none is copied.
#[test]
fn record_ids_are_kept_only_where_a_stream_wants_them() {
    let body = br#"{"FailedPutCount":0,"RequestResponses":[{"RecordId":"one"},{"RecordId":"\u0032"}]}"#;
    let dropped = read_many(body, false).expect("an answer");
    assert_eq!((dropped.entries, dropped.ids.capacity()), (vec![Entry::Accepted(0, 0); 2], 0));
    let kept = read_many(body, true).expect("an answer");
    assert_eq!((kept.entries, &*kept.ids), (vec![Entry::Accepted(0, 3), Entry::Accepted(3, 4)], "one2"));
}

/// Refusals of entries come in an answer that says success, and have the number of its request all the same.
#[test]
fn an_answer_that_says_success_is_read_with_the_number_of_its_request() {
    let body =
        r#"{"FailedPutCount":1,"RequestResponses":[{"ErrorCode":"InternalFailure","ErrorMessage":"no"}]}"#;
    for (header, number) in
        [(Some("1b9d6bcd-bbfd"), Some("1b9d6bcd-bbfd")), (Some("two words"), None), (None, None)]
    {
        let mut response = HttpResponse::new(200.try_into().expect("a status"), SdkBody::from(body));
        if let Some(text) = header {
            response.headers_mut().insert("x-amzn-requestid", text);
        }
        let reads = ReadsMany::new(&Audit::Off);
        let read = reads.deserialize_nonstreaming_with_config(&response, &ConfigBag::base());
        assert!(read.is_ok(), "{read:?}");
        let (answer, told) = reads.take();
        assert_eq!((answer.map(|answer| answer.entries.len()), told.as_deref()), (Some(1), number));
    }
}
