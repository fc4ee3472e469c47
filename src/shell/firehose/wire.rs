//! Requests and answers between memory and the wire, in one pass each.
//!
//! Takes the place of two steps in the SDK's pipeline: what writes the body of a put, and what reads the body of an answer
//! that says success. Base64 goes straight into one buffer of known size, and of an answer only RecordIds and codes are kept.
//! Endpoint, identity, signature, transport and every other answer stay the SDK's. Knows the two operations by their input;
//! what an answer means is `verdicts`' to say.
//!
//! *Invariant:* a body says what the SDK's would say; an answer that is not JSON from its first to its last byte is none.

use aws_sdk_firehose::operation::put_record::{PutRecordInput, PutRecordOutput};
use aws_sdk_firehose::operation::put_record_batch::{PutRecordBatchInput, PutRecordBatchOutput};
use aws_sdk_firehose::types::{PutRecordBatchResponseEntry, Record};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::{
    BeforeDeserializationInterceptorContextMut, BeforeSerializationInterceptorContextMut, Error, Input,
    Output,
};
use aws_smithy_runtime_api::client::interceptors::{Intercept, dyn_dispatch_hint};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse, Metadata, OrchestratorError};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_runtime_api::client::ser_de::{
    DeserializeResponse, SerializeRequest, SharedRequestSerializer, SharedResponseDeserializer,
};
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::ConfigBag;
use base64_simd::STANDARD;
use serde::Deserialize;

use crate::model::operation::Operation;

/// What the service calls its operations' target, before the operation's name.
const TARGET: &str = "Firehose_20150804";

/// Puts the two steps into each call of a client that is a put.
#[derive(Debug)]
pub(super) struct OnePass;

/// Writes puts.
#[derive(Debug)]
struct Writes;

/// Reads the answer of a put that says success.
#[derive(Debug)]
struct Reads(Operation);

#[dyn_dispatch_hint]
impl Intercept for OnePass {
    fn name(&self) -> &'static str {
        "OnePass"
    }

    fn modify_before_serialization(
        &self,
        context: &mut BeforeSerializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        call: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let input = context.input();
        if input.downcast_ref::<PutRecordInput>().is_some()
            || input.downcast_ref::<PutRecordBatchInput>().is_some()
        {
            call.interceptor_state().store_put(SharedRequestSerializer::new(Writes));
        }
        Ok(())
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        call: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let operation = match call.load::<Metadata>().map(Metadata::name) {
            Some("PutRecord") => Operation::PutRecord,
            Some("PutRecordBatch") => Operation::PutRecordBatch,
            _ => return Ok(()),
        };
        if context.response().status().is_success() {
            call.interceptor_state().store_put(SharedResponseDeserializer::new(Reads(operation)));
        }
        Ok(())
    }
}

impl SerializeRequest for Writes {
    fn serialize_input(&self, input: Input, _: &mut ConfigBag) -> Result<HttpRequest, BoxError> {
        let (operation, body) = match input.downcast::<PutRecordInput>() {
            Ok(put) => ("PutRecord", one(&put)?),
            Err(input) => match input.downcast::<PutRecordBatchInput>() {
                Ok(put) => ("PutRecordBatch", many(&put)?),
                Err(other) => return Err(format!("{other:?} is no put").into()),
            },
        };
        let length = body.len().to_string();
        let mut request = HttpRequest::new(SdkBody::from(body));
        request.set_method("POST")?;
        request.set_uri("/")?;
        let headers = request.headers_mut();
        headers.insert("content-type", "application/x-amz-json-1.1");
        headers.insert("content-length", length);
        headers.insert("x-amz-target", format!("{TARGET}.{operation}"));
        Ok(request)
    }
}

fn one(put: &PutRecordInput) -> Result<Vec<u8>, BoxError> {
    let record = put.record().ok_or("a put has a record")?;
    let mut body = begun(put.delivery_stream_name(), ",\"Record\":", std::slice::from_ref(record))?;
    add(&mut body, record);
    body.push(b'}');
    Ok(body)
}

fn many(put: &PutRecordBatchInput) -> Result<Vec<u8>, BoxError> {
    let mut body = begun(put.delivery_stream_name(), ",\"Records\":[", put.records())?;
    for (index, record) in put.records().iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        add(&mut body, record);
    }
    body.extend_from_slice(b"]}");
    Ok(body)
}

/// The body up to its records, with room for them and what stands between and behind them.
fn begun(name: Option<&str>, then: &str, records: &[Record]) -> Result<Vec<u8>, BoxError> {
    let name = serde_json::to_string(name.ok_or("a put has a delivery stream")?)?;
    let key = r#"{"DeliveryStreamName":"#;
    let around = BEFORE.len() + AFTER.len() + 1;
    let data: usize =
        records.iter().map(|record| STANDARD.encoded_length(record.data().as_ref().len()) + around).sum();
    let mut body = Vec::with_capacity(key.len() + name.len() + then.len() + data + 2);
    for text in [key, &name, then] {
        body.extend_from_slice(text.as_bytes());
    }
    Ok(body)
}

const BEFORE: &[u8] = br#"{"Data":""#;
const AFTER: &[u8] = br#""}"#;

fn add(body: &mut Vec<u8>, record: &Record) {
    body.extend_from_slice(BEFORE);
    STANDARD.encode_append(record.data(), body);
    body.extend_from_slice(AFTER);
}

/// What is read of an answer to `PutRecord`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct One {
    record_id: Option<String>,
    encrypted: Option<bool>,
}

/// What is read of an answer to `PutRecordBatch`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Many {
    failed_put_count: Option<i32>,
    encrypted: Option<bool>,
    request_responses: Option<Vec<Entry>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    record_id: Option<String>,
    error_code: Option<String>,
    error_message: Option<String>,
}

impl DeserializeResponse for Reads {
    fn deserialize_nonstreaming_with_config(
        &self,
        response: &HttpResponse,
        _: &ConfigBag,
    ) -> Result<Output, OrchestratorError<Error>> {
        let body = response.body().bytes().unwrap_or_default();
        let read = match self.0 {
            Operation::PutRecord => read_one(body).map(Output::erase),
            Operation::PutRecordBatch => read_many(body).map(Output::erase),
        };
        read.map_err(OrchestratorError::response)
    }
}

fn read_one(body: &[u8]) -> Result<PutRecordOutput, BoxError> {
    let One { record_id, encrypted } = serde_json::from_str(std::str::from_utf8(body)?)?;
    // An answer without the identifier is one that acknowledges nothing.
    let output = PutRecordOutput::builder().record_id(record_id.unwrap_or_default());
    Ok(output.set_encrypted(encrypted).build()?)
}

fn read_many(body: &[u8]) -> Result<PutRecordBatchOutput, BoxError> {
    let answer: Many = serde_json::from_str(std::str::from_utf8(body)?)?;
    let entries = answer.request_responses.unwrap_or_default().into_iter().map(|entry| {
        PutRecordBatchResponseEntry::builder()
            .set_record_id(entry.record_id)
            .set_error_code(entry.error_code)
            .set_error_message(entry.error_message)
            .build()
    });
    let output = PutRecordBatchOutput::builder()
        .failed_put_count(answer.failed_put_count.unwrap_or_default())
        .set_encrypted(answer.encrypted)
        .set_request_responses(Some(entries.collect()));
    Ok(output.build()?)
}

#[cfg(test)]
mod tests;
