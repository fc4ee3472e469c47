//! Requests and answers between memory and the wire, in one pass each.
//!
//! Takes the place of two steps in the SDK's pipeline: what writes the body of a put, and what reads the body of an answer
//! that says success. Base64 goes straight into one buffer of known size, and of an answer only RecordIds and codes are kept.
//! Endpoint, identity, signature, transport and every other answer stay the SDK's. Knows the two operations by their input;
//! what an answer means is `verdicts`' to say.
//!
//! *Invariant:* a body says what the SDK's would say; an answer that is not JSON from its first to its last byte is none.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};

use aws_runtime::invocation_id::InvocationIdInterceptor;
use aws_runtime::request_info::RequestInfoInterceptor;
use aws_sdk_firehose::operation::put_record::{PutRecordInput, PutRecordOutput};
use aws_sdk_firehose::operation::put_record_batch::{PutRecordBatchInput, PutRecordBatchOutput};
use aws_sdk_firehose::types::Record;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::{
    BeforeDeserializationInterceptorContextMut, BeforeSerializationInterceptorContextMut,
    BeforeSerializationInterceptorContextRef, Error, Input, Output,
};
use aws_smithy_runtime_api::client::interceptors::{Intercept, disable_interceptor, dyn_dispatch_hint};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse, Metadata, OrchestratorError};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_runtime_api::client::ser_de::{
    DeserializeResponse, SerializeRequest, SharedRequestSerializer, SharedResponseDeserializer,
};
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::ConfigBag;
use base64_simd::STANDARD;
use serde::Deserialize;

use super::placed::number_of;
use crate::model::settings::Audit;

/// What the service calls its operations' target, before the operation's name.
const TARGET: &str = "Firehose_20150804";

const ONE_ATTEMPT: &str = "each call is one attempt";

/// Puts the two steps into each call of a client that is a put.
#[derive(Debug)]
pub(super) struct OnePass;

/// Writes puts.
#[derive(Debug)]
struct Writes;

/// Reads the answer of a `PutRecord` that says success.
#[derive(Debug)]
struct ReadsOne;

/// Reads the answer of one `PutRecordBatch` that says success, and keeps of it what is judged, and RecordIds where they are
/// wanted. (The SDK's own type would have a copy of each.)
#[derive(Clone, Debug)]
pub(super) struct ReadsMany {
    read: Arc<Mutex<Read>>,
    /// Whether RecordIds are kept; otherwise they are looked at.
    keeps_ids: bool,
}

/// An answer that says success, if one came and was read, and the number that the service gave it.
type Read = (Option<BatchAnswer>, Option<Arc<str>>);

/// What is kept of an answer to `PutRecordBatch`.
#[derive(Debug)]
pub(super) struct BatchAnswer {
    pub(super) failed_put_count: i32,
    pub(super) encrypted: Option<bool>,
    pub(super) entries: Vec<Entry>,
    /// The RecordIds that are kept, one behind the other.
    pub(super) ids: String,
}

/// What the service says of one record of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// The record has a RecordId; where in the text of those that are kept.
    Accepted(u32, u32),
    /// The record was not taken.
    Failed { code: String, message: String },
    /// Neither a RecordId nor an error code.
    Nothing,
}

#[dyn_dispatch_hint]
impl Intercept for OnePass {
    fn name(&self) -> &'static str {
        "OnePass"
    }

    /// What tells one attempt of a call from the next is left out: a call has one.
    fn read_before_execution(
        &self,
        _: &BeforeSerializationInterceptorContextRef<'_>,
        call: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let state = call.interceptor_state();
        state.store_put(disable_interceptor::<InvocationIdInterceptor>(ONE_ATTEMPT));
        state.store_put(disable_interceptor::<RequestInfoInterceptor>(ONE_ATTEMPT));
        Ok(())
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
        let is_put = call.load::<Metadata>().is_some_and(|operation| operation.name() == "PutRecord");
        if is_put && context.response().status().is_success() {
            call.interceptor_state().store_put(SharedResponseDeserializer::new(ReadsOne));
        }
        Ok(())
    }
}

#[dyn_dispatch_hint]
impl Intercept for ReadsMany {
    fn name(&self) -> &'static str {
        "ReadsMany"
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        call: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if context.response().status().is_success() {
            call.interceptor_state().store_put(SharedResponseDeserializer::new(self.clone()));
        }
        Ok(())
    }
}

impl ReadsMany {
    pub(super) fn new(audit: &Audit) -> Self {
        Self { read: Arc::default(), keeps_ids: audit.is_on() }
    }

    /// What was read.
    pub(super) fn take(&self) -> Read {
        std::mem::take(&mut *self.read.lock().unwrap_or_else(PoisonError::into_inner))
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
struct Many<'a> {
    failed_put_count: Option<i32>,
    encrypted: Option<bool>,
    #[serde(borrow)]
    request_responses: Option<Vec<Response<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Response<'a> {
    #[serde(borrow)]
    record_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    error_code: Option<Cow<'a, str>>,
    #[serde(borrow)]
    error_message: Option<Cow<'a, str>>,
}

impl Entry {
    /// What an entry of the answer says; its RecordId is kept in `ids`, if there is such a text.
    fn read(response: Response<'_>, ids: Option<&mut String>) -> Self {
        match (response.error_code, response.record_id) {
            (Some(code), _) => Self::Failed {
                code: code.into_owned(),
                message: response.error_message.unwrap_or_default().into_owned(),
            },
            (None, Some(id)) if !id.is_empty() => match ids {
                None => Self::Accepted(0, 0),
                Some(ids) => {
                    let start = place(ids);
                    ids.push_str(&id);
                    Self::Accepted(start, place(ids))
                }
            },
            (None, _) => Self::Nothing,
        }
    }
}

/// Where a text ends. An answer has four MiB at most.
fn place(text: &str) -> u32 {
    u32::try_from(text.len()).expect("an answer is shorter")
}

impl DeserializeResponse for ReadsOne {
    fn deserialize_nonstreaming_with_config(
        &self,
        response: &HttpResponse,
        _: &ConfigBag,
    ) -> Result<Output, OrchestratorError<Error>> {
        let read = acknowledgement(response).and_then(read_one);
        read.map(Output::erase).map_err(OrchestratorError::response)
    }
}

impl DeserializeResponse for ReadsMany {
    fn deserialize_nonstreaming_with_config(
        &self,
        response: &HttpResponse,
        _: &ConfigBag,
    ) -> Result<Output, OrchestratorError<Error>> {
        let read = acknowledgement(response).and_then(|body| read_many(body, self.keeps_ids));
        let answer = read.map_err(OrchestratorError::response)?;
        let output = PutRecordBatchOutput::builder().failed_put_count(answer.failed_put_count);
        let output = output.set_request_responses(Some(Vec::new())).build();
        *self.read.lock().unwrap_or_else(PoisonError::into_inner) = (Some(answer), number_of(response));
        output.map(Output::erase).map_err(OrchestratorError::other)
    }
}

/// The body of an answer that acknowledges what was sent. The service does so with the status 200 alone; whoever else says 202
/// may have put it aside.
fn acknowledgement(response: &HttpResponse) -> Result<&[u8], BoxError> {
    match response.status().as_u16() {
        200 => Ok(response.body().bytes().unwrap_or_default()),
        _ => Err("no acknowledgement has that status".into()),
    }
}

fn read_one(body: &[u8]) -> Result<PutRecordOutput, BoxError> {
    let One { record_id, encrypted } = serde_json::from_str(std::str::from_utf8(body)?)?;
    // An answer without the identifier is one that acknowledges nothing.
    let output = PutRecordOutput::builder().record_id(record_id.unwrap_or_default());
    Ok(output.set_encrypted(encrypted).build()?)
}

fn read_many(body: &[u8], keeps_ids: bool) -> Result<BatchAnswer, BoxError> {
    let Many { failed_put_count, encrypted, request_responses } =
        serde_json::from_str(std::str::from_utf8(body)?)?;
    // Next to nothing else is in an answer: the text grows once.
    let mut ids = String::with_capacity(if keeps_ids { body.len() } else { 0 });
    let responses = request_responses.unwrap_or_default().into_iter();
    let entries = responses.map(|response| Entry::read(response, keeps_ids.then_some(&mut ids))).collect();
    ids.shrink_to_fit();
    Ok(BatchAnswer { failed_put_count: failed_put_count.unwrap_or_default(), encrypted, entries, ids })
}

#[cfg(test)]
mod tests;
