//! The shapes of the Firehose API: JSON 1.1 in both directions.
//!
//! Knows field names and which of them are required. Does not know HTTP, nor what the service does with a
//! request. Called by `http`.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::ids::RecordId;
use super::json::json_bytes;
use super::limits::ACCOUNT;
use super::records::Records;
use super::refusal::{Kind, Refusal};
use super::request::{Operation, Put};
use super::service::{Accepted, Description};
use super::stream::Phase;

/// What every operation's name begins with in `X-Amz-Target`.
const TARGET: &str = "Firehose_20150804.";

/// Most names in one answer to `ListDeliveryStreams`.
const LIST_LIMIT: usize = 10_000;

/// One request, understood.
#[derive(Debug)]
pub(super) enum Call {
    Put(Put),
    Describe { name: String },
    List { after: Option<String>, limit: usize },
    Create { name: String },
    Delete { name: String },
}

/// A string of the request: borrowed from the body unless it has escapes.
#[derive(Deserialize)]
#[serde(transparent)]
struct Text<'body>(#[serde(borrow)] Cow<'body, str>);

impl AsRef<str> for Text<'_> {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct WireRecord<'body> {
    #[serde(borrow)]
    data: Option<Text<'body>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PutRecord<'body> {
    delivery_stream_name: Option<String>,
    #[serde(borrow)]
    record: Option<WireRecord<'body>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PutRecordBatch<'body> {
    delivery_stream_name: Option<String>,
    #[serde(borrow)]
    records: Option<Vec<WireRecord<'body>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Named {
    delivery_stream_name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListDeliveryStreams {
    limit: Option<usize>,
    exclusive_start_delivery_stream_name: Option<String>,
}

impl Call {
    /// Understands a request by its target and body.
    ///
    /// Errors: `UnknownOperationException`, `SerializationException` for what is not the operation's JSON,
    /// `ValidationException` for a required member that is missing. Faults of the records themselves are left in
    /// [`Put::records`], to be counted for their delivery stream.
    pub(super) fn parse(target: &str, body: &[u8]) -> Result<Self, Refusal> {
        match target.strip_prefix(TARGET) {
            Some("PutRecord") => {
                let request: PutRecord<'_> = read(body)?;
                let stream = required(request.delivery_stream_name, "deliveryStreamName")?;
                let record = required(request.record, "record")?;
                let data = required(record.data, "record.data")?;
                let records = Records::one(data.as_ref());
                Ok(Self::Put(Put { stream, operation: Operation::PutRecord, records }))
            }
            Some("PutRecordBatch") => {
                let request: PutRecordBatch<'_> = read(body)?;
                let stream = required(request.delivery_stream_name, "deliveryStreamName")?;
                let texts = required(request.records, "records")?
                    .into_iter()
                    .map(|record| required(record.data, "records.member.data"))
                    .collect::<Result<Vec<_>, _>>()?;
                let records = Records::batch(&texts);
                Ok(Self::Put(Put { stream, operation: Operation::PutRecordBatch, records }))
            }
            Some("DescribeDeliveryStream") => Ok(Self::Describe { name: name_in(body)? }),
            Some("CreateDeliveryStream") => Ok(Self::Create { name: name_in(body)? }),
            Some("DeleteDeliveryStream") => Ok(Self::Delete { name: name_in(body)? }),
            Some("ListDeliveryStreams") => {
                let request: ListDeliveryStreams = read(body)?;
                let limit = request.limit.unwrap_or(10);
                if !(1..=LIST_LIMIT).contains(&limit) {
                    return Err(Refusal::new(Kind::Validation, format!("Limit is 1 to {LIST_LIMIT}.")));
                }
                Ok(Self::List { after: request.exclusive_start_delivery_stream_name, limit })
            }
            _ => Err(Refusal::new(Kind::UnknownOperation, "")),
        }
    }
}

fn read<'body, T: Deserialize<'body>>(body: &'body [u8]) -> Result<T, Refusal> {
    // The parser's own message may quote what it stumbled over: a record's content.
    serde_json::from_slice(body).map_err(|error| {
        let message =
            format!("Not the operation's JSON at line {}, column {}.", error.line(), error.column());
        Refusal::new(Kind::Serialization, message)
    })
}

fn required<T>(member: Option<T>, path: &str) -> Result<T, Refusal> {
    member.ok_or_else(|| {
        let message = format!(
            "1 validation error detected: Value null at '{path}' failed to satisfy constraint: Member must not be null"
        );
        Refusal::new(Kind::Validation, message)
    })
}

fn name_in(body: &[u8]) -> Result<String, Refusal> {
    required(read::<Named>(body)?.delivery_stream_name, "deliveryStreamName")
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct PutRecordOutput<'a> {
    record_id: &'a RecordId,
    encrypted: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct PutRecordBatchOutput<'a> {
    failed_put_count: usize,
    encrypted: bool,
    request_responses: Vec<Entry<'a>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Entry<'a> {
    #[serde(rename_all = "PascalCase")]
    Accepted { record_id: &'a RecordId },
    #[serde(rename_all = "PascalCase")]
    Failed { error_code: &'static str, error_message: &'a str },
}

/// The body that answers a put.
pub(super) fn put_output(operation: Operation, accepted: &Accepted) -> Vec<u8> {
    let encrypted = accepted.encrypted;
    match (operation, &accepted.verdicts[..]) {
        (Operation::PutRecord, [Ok(record_id)]) => json_bytes(&PutRecordOutput { record_id, encrypted }),
        (Operation::PutRecord, verdicts) => {
            unreachable!("a PutRecord is refused as a whole, or has its one RecordId: {verdicts:?}")
        }
        (Operation::PutRecordBatch, verdicts) => json_bytes(&PutRecordBatchOutput {
            failed_put_count: verdicts.iter().filter(|verdict| verdict.is_err()).count(),
            encrypted,
            request_responses: verdicts
                .iter()
                .map(|verdict| match verdict {
                    Ok(record_id) => Entry::Accepted { record_id },
                    Err(refusal) => {
                        Entry::Failed { error_code: refusal.kind.code(), error_message: &refusal.message }
                    }
                })
                .collect(),
        }),
    }
}

/// The body that answers `DescribeDeliveryStream`.
pub(super) fn describe_output(stream: &Description) -> Vec<u8> {
    let status = match stream.phase {
        Phase::CreatingUntil(_) => "CREATING",
        Phase::Active => "ACTIVE",
        Phase::Deleting => "DELETING",
    };
    let destination = json!({
        "RoleARN": format!("arn:aws:iam::{ACCOUNT}:role/local"),
        "BucketARN": "arn:aws:s3:::local",
        "Prefix": format!("{}/", stream.name),
        "BufferingHints": {
            "SizeInMBs": stream.buffering.size.div_ceil(1024 * 1024),
            "IntervalInSeconds": stream.buffering.interval.as_secs(),
        },
        "CompressionFormat": "UNCOMPRESSED",
        "EncryptionConfiguration": { "NoEncryptionConfig": "NoEncryption" },
    });
    json_bytes(&json!({ "DeliveryStreamDescription": {
        "DeliveryStreamName": stream.name,
        "DeliveryStreamARN": arn(&stream.name),
        "DeliveryStreamStatus": status,
        "DeliveryStreamType": "DirectPut",
        "DeliveryStreamEncryptionConfiguration": {
            "Status": if stream.encrypted { "ENABLED" } else { "DISABLED" },
        },
        "VersionId": "1",
        "CreateTimestamp": stream.created_at.as_secs_f64(),
        "Destinations": [{
            "DestinationId": "destinationId-000000000001",
            "S3DestinationDescription": destination,
            "ExtendedS3DestinationDescription": destination,
        }],
        "HasMoreDestinations": false,
    }}))
}

/// The body that answers `ListDeliveryStreams`.
pub(super) fn list_output(names: &[String], more: bool) -> Vec<u8> {
    json_bytes(&json!({ "DeliveryStreamNames": names, "HasMoreDeliveryStreams": more }))
}

/// The body that answers `CreateDeliveryStream`.
pub(super) fn create_output(name: &str) -> Vec<u8> {
    json_bytes(&json!({ "DeliveryStreamARN": arn(name) }))
}

/// The body of an error.
pub(super) fn refusal_output(refusal: &Refusal) -> Vec<u8> {
    json_bytes(&json!({ "__type": refusal.kind.code(), "message": refusal.message }))
}

fn arn(name: &str) -> String {
    format!("arn:aws:firehose:local:{ACCOUNT}:deliverystream/{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(operation: &str, body: &str) -> Result<Call, Kind> {
        Call::parse(&format!("{TARGET}{operation}"), body.as_bytes()).map_err(|refusal| refusal.kind)
    }

    #[test]
    fn you_must_specify_the_name_of_the_stream_and_the_record() {
        for body in [
            "{}",
            r#"{"DeliveryStreamName":"a"}"#,
            r#"{"Record":{"Data":"YQ=="}}"#,
            r#"{"DeliveryStreamName":"a","Record":{}}"#,
            r#"{"DeliveryStreamName":null,"Record":{"Data":"YQ=="}}"#,
        ] {
            assert_eq!(parse("PutRecord", body).unwrap_err(), Kind::Validation, "{body}");
        }
        assert_eq!(
            parse("PutRecordBatch", r#"{"DeliveryStreamName":"a","Records":[{}]}"#).unwrap_err(),
            Kind::Validation
        );
    }

    #[test]
    fn what_is_not_the_operations_json_is_a_serialization_fault() {
        for body in
            ["", "{", "[]", r#"{"DeliveryStreamName":1}"#, r#"{"DeliveryStreamName":"a","Record":"b"}"#]
        {
            assert_eq!(parse("PutRecord", body).unwrap_err(), Kind::Serialization, "{body}");
        }
    }

    #[test]
    fn an_error_message_never_holds_a_records_content() {
        let body = br#"{"DeliveryStreamName":"a","Record":"c2VjcmV0"}"#;
        let refusal = Call::parse(&format!("{TARGET}PutRecord"), body).unwrap_err();
        assert!(!refusal.message.contains("c2VjcmV0"), "{}", refusal.message);
    }

    #[test]
    fn base64_with_json_escapes_is_understood() {
        let body = r#"{"DeliveryStreamName":"a","Record":{"Data":"\/\/8\u003d"},"Unknown":[1]}"#;
        let Ok(Call::Put(put)) = parse("PutRecord", body) else { panic!("it is a PutRecord") };
        assert_eq!(put.records.unwrap().data(), b"\xff\xff");
    }

    #[test]
    fn an_unknown_target_is_an_unknown_operation() {
        for target in ["", "PutRecord", "Firehose_20150804.PutRecords", "Kinesis_20131202.PutRecord"] {
            assert_eq!(Call::parse(target, b"{}").unwrap_err().kind, Kind::UnknownOperation, "{target}");
        }
    }

    #[test]
    fn a_list_has_a_limit_of_1_to_10000() {
        assert!(matches!(parse("ListDeliveryStreams", "{}"), Ok(Call::List { after: None, limit: 10 })));
        assert_eq!(parse("ListDeliveryStreams", r#"{"Limit":0}"#).unwrap_err(), Kind::Validation);
        assert_eq!(parse("ListDeliveryStreams", r#"{"Limit":10001}"#).unwrap_err(), Kind::Validation);
    }
}
