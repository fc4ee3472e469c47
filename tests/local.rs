//! The embedded delivery stream, spoken to over HTTP: by the AWS SDK, and byte by byte where the SDK hides
//! what is looked at.
#![expect(clippy::disallowed_methods, reason = "the destination is the file system")]
#![expect(clippy::unwrap_used, reason = "a test's helpers are as good as the test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_sdk_firehose::Client;
use aws_sdk_firehose::config::retry::RetryConfig;
use aws_sdk_firehose::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_firehose::error::ProvideErrorMetadata;
use aws_sdk_firehose::primitives::Blob;
use aws_sdk_firehose::types::Record;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use standpipe::local::{Access, Error, Fault, Keys, Options, Quota, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Files are delivered when asked for, or when the test ends: nothing depends on time.
fn options(dir: &Path) -> Options {
    Options { buffer_interval: Duration::from_secs(3_600), ..Options::new(dir) }
}

fn sdk(server: &Server) -> Client {
    sdk_with(server, "AKID", "secret")
}

fn sdk_with(server: &Server, access_key: &str, secret_key: &str) -> Client {
    let config = aws_sdk_firehose::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new(access_key, secret_key, None, None, "test"))
        .retry_config(RetryConfig::disabled())
        .endpoint_url(format!("http://{}", server.address()))
        .build();
    Client::from_conf(config)
}

fn record(data: impl AsRef<[u8]>) -> Record {
    Record::builder().data(Blob::new(data.as_ref())).build().unwrap()
}

/// All files of a delivery stream that a shell's `*` finds, in the order of their names.
fn files(dir: &Path, stream: &str) -> Vec<PathBuf> {
    let is_hidden = |path: &PathBuf| path.file_name().unwrap().as_encoded_bytes().starts_with(b".");
    let mut found = Vec::new();
    let mut waiting = vec![dir.join(stream)];
    while let Some(path) = waiting.pop() {
        match fs::read_dir(&path) {
            Ok(entries) => waiting.extend(entries.map(|entry| entry.unwrap().path())),
            Err(_) if path.is_file() && !is_hidden(&path) => found.push(path),
            Err(_) => {}
        }
    }
    found.sort();
    found
}

fn delivered(dir: &Path, stream: &str) -> Vec<u8> {
    files(dir, stream).iter().flat_map(|path| fs::read(path).unwrap()).collect()
}

/// One answer, as it came.
struct Raw {
    head: String,
    body: Vec<u8>,
}

impl Raw {
    fn status(&self) -> u16 {
        self.head.split(' ').nth(1).expect("a status line").parse().unwrap()
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// Sends one request on a connection of its own; an error when there is no whole head in the answer.
async fn raw(server: &Server, head: &str, body: &[u8]) -> std::io::Result<Raw> {
    let mut connection = TcpStream::connect(server.address()).await?;
    let head =
        format!("{head}\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
    connection.write_all(head.as_bytes()).await?;
    connection.write_all(body).await?;
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).await?;
    let end = answer
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .ok_or(std::io::ErrorKind::UnexpectedEof)?;
    let body = answer.split_off(end + 4);
    Ok(Raw { head: String::from_utf8(answer).unwrap(), body })
}

fn signed(operation: &str) -> String {
    format!(
        "POST / HTTP/1.1\r\nContent-Type: application/x-amz-json-1.1\r\nX-Amz-Target: Firehose_20150804.{operation}\r\n\
         X-Amz-Date: 20261105T120000Z\r\nAuthorization: AWS4-HMAC-SHA256 \
         Credential=AKID/20261105/us-east-1/firehose/aws4_request, SignedHeaders=host;x-amz-date;x-amz-target, Signature={}",
        "0".repeat(64)
    )
}

async fn call(server: &Server, operation: &str, body: Value) -> std::io::Result<Raw> {
    raw(server, &signed(operation), body.to_string().as_bytes()).await
}

async fn put(server: &Server, data: &str) -> std::io::Result<Raw> {
    call(server, "PutRecord", json!({"DeliveryStreamName": "app", "Record": {"Data": data}})).await
}

async fn plan(server: &Server, plan: Value) {
    let answer = raw(server, "POST /_standpipe/faults HTTP/1.1", plan.to_string().as_bytes()).await.unwrap();
    assert_eq!(answer.status(), 200, "{}", String::from_utf8_lossy(&answer.body));
}

async fn stats(server: &Server) -> Value {
    raw(server, "GET /_standpipe/stats HTTP/1.1", b"").await.unwrap().json()
}

#[tokio::test]
async fn the_sdk_puts_records_that_appear_below_the_directory_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(options(dir.path())).await.unwrap();
    let client = sdk(&server);
    let one = client.put_record().delivery_stream_name("app").record(record("first\n")).send().await.unwrap();
    assert!(!one.record_id().is_empty());
    assert_eq!(one.encrypted(), Some(false));
    let two = client
        .put_record_batch()
        .delivery_stream_name("app")
        .records(record("second\n"))
        .records(record([0, 0xff, b'\n']))
        .send()
        .await
        .unwrap();
    assert_eq!(two.failed_put_count(), 0);
    assert!(
        two.request_responses()
            .iter()
            .all(|entry| entry.record_id().is_some() && entry.error_code().is_none())
    );
    assert_eq!(files(dir.path(), "app"), Vec::<PathBuf>::new(), "records are buffered before delivery");

    server.flush().await.unwrap();
    assert_eq!(delivered(dir.path(), "app"), b"first\nsecond\n\0\xff\n");

    client.put_record().delivery_stream_name("app").record(record("last\n")).send().await.unwrap();
    server.shutdown().await.unwrap();
    assert_eq!(delivered(dir.path(), "app"), b"first\nsecond\n\0\xff\nlast\n");
    let left = fs::read_dir(dir.path().join("app")).unwrap().count();
    assert_eq!(left, 1, "the year, and no journal");
}

#[tokio::test]
async fn records_are_delivered_once_the_buffer_interval_is_over() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { buffer_interval: Duration::from_millis(10), ..options(dir.path()) };
    let server = Server::start(options).await.unwrap();
    put(&server, "YQ==").await.unwrap();
    while files(dir.path(), "app").is_empty() {
        tokio::task::yield_now().await;
    }
    server.shutdown().await.unwrap();
}

#[tokio::test]
async fn records_are_delivered_once_the_buffer_is_full() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(Options { buffer_size: 1, ..options(dir.path()) }).await.unwrap();
    put(&server, "YQ==").await.unwrap();
    while files(dir.path(), "app").is_empty() {
        tokio::task::yield_now().await;
    }
    server.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_second_run_delivers_behind_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let mut ids = Vec::new();
    for data in ["YQ==", "Yg==", "Yw=="] {
        let server = Server::start(options(dir.path())).await.unwrap();
        ids.push(put(&server, data).await.unwrap().json()["RecordId"].to_string());
        server.shutdown().await.unwrap();
    }
    assert_eq!(delivered(dir.path(), "app"), b"abc");
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 3, "a RecordId is unique across runs");
}

#[test]
fn what_was_acknowledged_is_delivered_although_the_process_ended_without_a_word() {
    let dir = tempfile::tempdir().unwrap();
    let new_runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // A runtime that is dropped takes its tasks with it wherever they stand, as a killed process does.
    let runtime = new_runtime();
    runtime.block_on(async {
        let server = Server::start(options(dir.path())).await.unwrap();
        for data in ["YQ==", "Yg=="] {
            assert_eq!(put(&server, data).await.unwrap().status(), 200);
        }
        std::mem::forget(server);
    });
    drop(runtime);
    assert_eq!(delivered(dir.path(), "app"), b"", "nothing was delivered");

    new_runtime().block_on(async {
        let server = Server::start(options(dir.path())).await.unwrap();
        assert_eq!(delivered(dir.path(), "app"), b"ab", "delivered at the start");
        put(&server, "Yw==").await.unwrap();
        server.shutdown().await.unwrap();
    });
    assert_eq!(delivered(dir.path(), "app"), b"abc");
}

#[test]
fn the_manifest_finds_each_record_also_after_a_process_that_ended_without_a_word() {
    let dir = tempfile::tempdir().unwrap();
    let new_runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let with_manifest = || Options { manifest: true, ..options(dir.path()) };
    let mut accepted = Vec::new();
    let mut put_one = async |server: &Server, text: &str| {
        let answer = put(server, &STANDARD.encode(text)).await.unwrap().json();
        accepted.push((answer["RecordId"].as_str().unwrap().to_owned(), text.to_owned()));
    };
    let runtime = new_runtime();
    runtime.block_on(async {
        let server = Server::start(with_manifest()).await.unwrap();
        put_one(&server, "delivered").await;
        server.flush().await.unwrap();
        put_one(&server, "left").await;
        put_one(&server, "behind").await;
        std::mem::forget(server);
    });
    drop(runtime);
    new_runtime().block_on(async {
        let server = Server::start(with_manifest()).await.unwrap();
        put_one(&server, "").await;
        put_one(&server, "last").await;
        server.shutdown().await.unwrap();
    });
    let manifest = fs::read_to_string(dir.path().join("app/manifest.jsonl")).unwrap();
    let lines: Vec<Value> = manifest.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), accepted.len());
    for (line, (id, text)) in lines.iter().zip(&accepted) {
        let object = fs::read(dir.path().join(line["object"].as_str().unwrap())).unwrap();
        let (offset, length) =
            (line["offset"].as_u64().unwrap() as usize, line["length"].as_u64().unwrap() as usize);
        assert_eq!(
            (line["record_id"].as_str().unwrap(), &object[offset..offset + length]),
            (&**id, text.as_bytes())
        );
    }
}

#[tokio::test]
async fn the_sdk_sees_each_documented_exception() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(Options {
        quota: Quota { requests: 1, ..Quota::NONE },
        streams: Some(vec!["app".to_owned(), "locked".to_owned()]),
        invalid_keys: ["locked".to_owned()].into(),
        encrypted: true,
        ..options(dir.path())
    })
    .await
    .unwrap();
    let client = sdk(&server);
    let put = |stream: &str, data: Vec<u8>| {
        client.put_record().delivery_stream_name(stream).record(record(data)).send()
    };
    let error = put("other", vec![1]).await.unwrap_err().into_service_error();
    assert!(error.is_resource_not_found_exception(), "{error:?}");
    let error = put("locked", vec![1]).await.unwrap_err().into_service_error();
    assert!(error.is_invalid_kms_resource_exception(), "{error:?}");
    let error = put("app", vec![1; 1_024_001]).await.unwrap_err().into_service_error();
    assert!(error.is_invalid_argument_exception(), "{error:?}");
    assert_eq!(put("app", vec![1; 1_024_000]).await.unwrap().encrypted(), Some(true));
    server.shutdown().await.unwrap();
}

#[tokio::test]
async fn the_sdk_sees_the_quota_in_both_operations() {
    let dir = tempfile::tempdir().unwrap();
    // Records that can never fit: no clock is involved.
    let quota = Quota { bytes: 3, ..Quota::NONE };
    let server = Server::start(Options { quota, ..options(dir.path()) }).await.unwrap();
    let client = sdk(&server);
    let request = client.put_record().delivery_stream_name("app").record(record("long"));
    let error = request.send().await.unwrap_err().into_service_error();
    assert!(error.is_service_unavailable_exception(), "{error:?}");

    let request = client.put_record_batch().delivery_stream_name("app");
    let output = request.records(record("long")).records(record("ok")).send().await.unwrap();
    assert_eq!(output.failed_put_count(), 1);
    assert_eq!(output.request_responses()[0].error_code(), Some("ServiceUnavailableException"));
    assert_eq!(output.request_responses()[0].error_message(), Some("Slow down."));
    assert!(output.request_responses()[0].record_id().is_none());
    assert!(output.request_responses()[1].record_id().is_some());
    server.shutdown().await.unwrap();
    assert_eq!(delivered(dir.path(), "app"), b"ok");
}

#[tokio::test]
async fn the_sdk_creates_describes_lists_and_deletes() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { streams: Some(vec!["app".to_owned()]), encrypted: true, ..options(dir.path()) };
    let server = Server::start(options).await.unwrap();
    let client = sdk(&server);
    let created = client.create_delivery_stream().delivery_stream_name("new").send().await.unwrap();
    assert!(created.delivery_stream_arn().unwrap().ends_with("deliverystream/new"));
    let error = client.create_delivery_stream().delivery_stream_name("new").send().await.unwrap_err();
    assert!(error.into_service_error().is_resource_in_use_exception());

    let described = client.describe_delivery_stream().delivery_stream_name("new").send().await.unwrap();
    let description = described.delivery_stream_description().unwrap();
    assert_eq!(description.delivery_stream_name(), "new");
    assert_eq!(description.delivery_stream_status().as_str(), "ACTIVE");
    assert!(description.create_timestamp().is_some());

    let listed = client.list_delivery_streams().send().await.unwrap();
    assert_eq!(listed.delivery_stream_names(), ["app", "new"]);
    assert!(!listed.has_more_delivery_streams());

    client.delete_delivery_stream().delivery_stream_name("new").send().await.unwrap();
    let error = client.describe_delivery_stream().delivery_stream_name("new").send().await.unwrap_err();
    assert!(error.into_service_error().is_resource_not_found_exception());
    server.shutdown().await.unwrap();
}

#[tokio::test]
async fn with_keys_only_their_signatures_are_taken() {
    let dir = tempfile::tempdir().unwrap();
    let keys = Keys { access_key: "AKID".to_owned(), secret_key: "secret".to_owned() };
    let server = Server::start(Options {
        access: Access { keys: Some(keys), ..Access::default() },
        ..options(dir.path())
    })
    .await
    .unwrap();
    for (access_key, secret_key, code) in [
        ("AKID", "secret", None),
        ("AKID", "Secret", Some("InvalidSignatureException")),
        ("AKIE", "secret", Some("UnrecognizedClientException")),
    ] {
        let client = sdk_with(&server, access_key, secret_key);
        let outcome = client.put_record().delivery_stream_name("app").record(record("x\n")).send().await;
        let said = outcome.as_ref().err().and_then(|error| error.code());
        assert_eq!(said, code, "{access_key} with {secret_key}");
    }
    // Its shape alone is not enough any more.
    assert_eq!(put(&server, "YQ==").await.unwrap().json()["__type"], "InvalidSignatureException");
    server.shutdown().await.unwrap();
    assert_eq!(delivered(dir.path(), "app"), b"x\n");
}

#[tokio::test]
async fn a_private_server_has_its_streams_those_that_are_added_and_no_control_paths() {
    let dir = tempfile::tempdir().unwrap();
    let keys = Keys::random().unwrap();
    let server = Server::start(Options {
        access: Access::private(keys.clone()),
        streams: Some(vec!["app".to_owned()]),
        ..options(dir.path())
    });
    let server = server.await.unwrap();
    let client = sdk_with(&server, &keys.access_key, &keys.secret_key);
    let put = |stream: &str| client.put_record().delivery_stream_name(stream).record(record("x\n")).send();
    put("app").await.unwrap();
    let error = put("other").await.unwrap_err();
    assert!(error.into_service_error().is_resource_not_found_exception());
    server.streams().add(vec!["app".to_owned(), "other".to_owned()]).await.unwrap();
    put("other").await.unwrap();
    assert!(matches!(server.streams().add(vec!["..".to_owned()]).await, Err(Error::Option(_))));
    for head in [
        "GET /_standpipe/stats HTTP/1.1",
        "GET /_standpipe/faults HTTP/1.1",
        "POST /_standpipe/faults HTTP/1.1",
        "POST /_standpipe/flush HTTP/1.1",
    ] {
        assert_eq!(raw(&server, head, b"{}").await.unwrap().status(), 404, "{head}");
    }
    let streams = server.streams();
    server.shutdown().await.unwrap();
    assert!(matches!(streams.add(vec!["late".to_owned()]).await, Err(Error::Stopped)));
    assert_eq!(
        (delivered(dir.path(), "app"), delivered(dir.path(), "other")),
        (b"x\n".to_vec(), b"x\n".to_vec())
    );
}

#[tokio::test]
async fn an_error_says_what_it_is_in_head_and_body() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(Options { streams: Some(vec![]), ..options(dir.path()) }).await.unwrap();
    let answer = put(&server, "YQ==").await.unwrap();
    assert_eq!(answer.status(), 400);
    assert_eq!(answer.header("x-amzn-ErrorType"), Some("ResourceNotFoundException"));
    assert_eq!(answer.header("content-type"), Some("application/x-amz-json-1.1"));
    assert_eq!(answer.json()["__type"], "ResourceNotFoundException");
    assert!(answer.json()["message"].is_string());
    let other = put(&server, "YQ==").await.unwrap();
    assert_ne!(answer.header("x-amzn-RequestId").unwrap(), other.header("x-amzn-RequestId").unwrap());
    server.shutdown().await.unwrap();
}

#[tokio::test]
async fn what_is_not_a_proper_request_is_refused_by_its_documented_name() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(options(dir.path())).await.unwrap();
    let unsigned = "POST / HTTP/1.1\r\nContent-Type: application/x-amz-json-1.1\r\n\
                    X-Amz-Target: Firehose_20150804.PutRecord";
    let signed_put = signed("PutRecord");
    let put = br#"{"DeliveryStreamName":"app","Record":{"Data":"YQ=="}}"#;
    for (head, body, status, code) in [
        (unsigned, &put[..], 403, "MissingAuthenticationTokenException"),
        (&format!("{unsigned}\r\nAuthorization: x"), put, 400, "IncompleteSignatureException"),
        ("POST / HTTP/1.1", put, 400, "UnknownOperationException"),
        (&signed("PutRecords"), put, 400, "UnknownOperationException"),
        (&signed_put, b"{", 400, "SerializationException"),
        (
            &signed_put,
            br#"{"DeliveryStreamName":"app","Record":{"Data":"?"}}"#,
            400,
            "SerializationException",
        ),
        (&signed_put, br#"{"DeliveryStreamName":"app"}"#, 400, "ValidationException"),
        (
            &signed_put,
            br#"{"DeliveryStreamName":"..","Record":{"Data":""}}"#,
            400,
            "InvalidArgumentException",
        ),
        (
            &signed("PutRecordBatch"),
            br#"{"DeliveryStreamName":"app","Records":[]}"#,
            400,
            "InvalidArgumentException",
        ),
    ] {
        let answer = raw(&server, head, body).await.unwrap();
        assert_eq!((answer.status(), answer.header("x-amzn-ErrorType")), (status, Some(code)), "{head}");
    }
    server.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_body_may_come_in_chunks_and_requests_one_behind_the_other() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(options(dir.path())).await.unwrap();
    let mut connection = TcpStream::connect(server.address()).await.unwrap();
    let body = br#"{"DeliveryStreamName":"app","Record":{"Data":"YQo="}}"#;
    let head = format!("{}\r\nHost: localhost\r\n", signed("PutRecord"));
    let mut bytes = format!("{head}Transfer-Encoding: chunked\r\n\r\n").into_bytes();
    for chunk in body.chunks(7) {
        bytes.extend(format!("{:x}\r\n", chunk.len()).bytes());
        bytes.extend(chunk);
        bytes.extend(b"\r\n");
    }
    bytes.extend(b"0\r\n\r\n");
    bytes.extend(format!("{head}Connection: close\r\nContent-Length: {}\r\n\r\n", body.len()).bytes());
    bytes.extend(body);
    connection.write_all(&bytes).await.unwrap();
    let mut answers = String::new();
    connection.read_to_string(&mut answers).await.unwrap();
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 2, "{answers}");
    assert_eq!(answers.matches("RecordId").count(), 2);
    server.shutdown().await.unwrap();
    assert_eq!(delivered(dir.path(), "app"), b"a\na\n");
}

#[tokio::test]
async fn a_batch_over_4_mib_gets_the_documented_error_and_an_absurd_body_is_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(options(dir.path())).await.unwrap();
    let record = json!({"Data": "A".repeat(1024 * 1024)});
    let batch = json!({"DeliveryStreamName": "app", "Records": vec![record; 5]});
    let answer = call(&server, "PutRecordBatch", batch).await.unwrap();
    assert_eq!(answer.json()["__type"], "InvalidArgumentException");

    // Only announced: the answer comes without it.
    let mut connection = TcpStream::connect(server.address()).await.unwrap();
    let head =
        format!("{}\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n", signed("PutRecordBatch"));
    connection.write_all(head.as_bytes()).await.unwrap();
    let mut start = [0; 12];
    connection.read_exact(&mut start).await.unwrap();
    assert_eq!(&start, b"HTTP/1.1 413");
    drop(connection);
    server.shutdown().await.unwrap();
}

#[tokio::test]
async fn resets_come_before_or_after_acceptance() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(options(dir.path())).await.unwrap();
    for (fault, data) in [(Fault::ResetBefore, "YQ=="), (Fault::ResetAfter, "Yg==")] {
        plan(&server, json!({"next": [{"fault": fault, "requests": 1}]})).await;
        let error = put(&server, data).await.err().expect("no answer comes");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }
    assert_eq!(put(&server, "Yw==").await.unwrap().status(), 200);
    assert_eq!(stats(&server).await["streams"]["app"]["accepted"]["records"], 2);
    server.shutdown().await.unwrap();
    assert_eq!(delivered(dir.path(), "app"), b"bc");
}

#[tokio::test]
async fn nonsense_comes_with_status_200() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(options(dir.path())).await.unwrap();
    plan(&server, json!({"next": [{"fault": "html", "requests": 1}, {"fault": "truncated", "requests": 1}]}))
        .await;
    let page = put(&server, "YQ==").await.unwrap();
    assert_eq!((page.status(), page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let truncated = put(&server, "YQ==").await.unwrap();
    assert_eq!(truncated.status(), 200);
    assert!(serde_json::from_slice::<Value>(&truncated.body).is_err());

    plan(&server, json!({"next": [{"fault": "redirect", "requests": 1}, {"fault": "short", "requests": 1}]}))
        .await;
    assert_eq!(put(&server, "YQ==").await.unwrap().status(), 302);
    let batch = json!({"DeliveryStreamName": "app", "Records": [{"Data": "YQ=="}, {"Data": "Yg=="}]});
    let short = call(&server, "PutRecordBatch", batch).await.unwrap();
    assert_eq!(short.json()["RequestResponses"].as_array().unwrap().len(), 1);
    server.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_request_that_hangs_ends_with_the_server() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(options(dir.path())).await.unwrap();
    plan(&server, json!({"rates": {"hang_after": 1}})).await;
    let mut connection = TcpStream::connect(server.address()).await.unwrap();
    let body = r#"{"DeliveryStreamName":"app","Record":{"Data":"YQ=="}}"#;
    let head =
        format!("{}\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", signed("PutRecord"), body.len());
    connection.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    while stats(&server).await["faults"]["hang_after"] != 1 {}
    server.shutdown().await.unwrap();
    let mut nothing = Vec::new();
    assert!(connection.read_to_end(&mut nothing).await.is_err(), "it is reset");
    assert!(nothing.is_empty());
    assert_eq!(delivered(dir.path(), "app"), b"a");
}

#[tokio::test]
async fn a_plan_that_cannot_be_followed_leaves_the_old_one() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(options(dir.path())).await.unwrap();
    plan(&server, json!({"latency_ms": 1, "rates": {"internal": 0.5}})).await;
    let answer =
        raw(&server, "POST /_standpipe/faults HTTP/1.1", br#"{"rates":{"internal":2}}"#).await.unwrap();
    assert_eq!(answer.status(), 400);
    let current = raw(&server, "GET /_standpipe/faults HTTP/1.1", b"").await.unwrap().json();
    assert_eq!(current["rates"], json!({"internal": 0.5}));
    server.shutdown().await.unwrap();
}

#[tokio::test]
async fn an_unwritable_destination_gets_everything_once_it_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(options(dir.path())).await.unwrap();
    let obstacle = dir.path().join("app");
    fs::write(&obstacle, "a file where a directory has to be").unwrap();
    put(&server, "YQ==").await.unwrap();
    let (flushed, ()) = tokio::join!(server.flush(), async {
        put(&server, "Yg==").await.unwrap();
        fs::remove_file(&obstacle).unwrap();
    });
    flushed.unwrap();
    server.shutdown().await.unwrap();
    assert_eq!(delivered(dir.path(), "app"), b"ab");
}

#[tokio::test]
async fn shutdown_says_what_could_not_be_delivered() {
    let dir = tempfile::tempdir().unwrap();
    let patience = Duration::from_millis(50);
    let server = Server::start(Options { patience, ..options(dir.path()) }).await.unwrap();
    fs::write(dir.path().join("app"), "a file where a directory has to be").unwrap();
    put(&server, "YQ==").await.unwrap();
    let error = server.shutdown().await.unwrap_err();
    assert!(matches!(error, Error::Undelivered { bytes: 1, .. }), "{error}");
}

#[tokio::test]
async fn shutdown_does_not_wait_for_idle_connections() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(options(dir.path())).await.unwrap();
    let mut idle = TcpStream::connect(server.address()).await.unwrap();
    put(&server, "YQ==").await.unwrap();
    let address = server.address();
    server.shutdown().await.unwrap();
    assert_eq!(idle.read(&mut [0; 1]).await.unwrap_or(0), 0);
    assert!(TcpStream::connect(address).await.is_err(), "it listens no more");
}

#[tokio::test]
async fn what_cannot_work_is_said_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Server::start(Options::new(&file)).await.unwrap_err();
    assert!(matches!(error, Error::Directory { .. }), "{error}");

    let first = Server::start(options(dir.path())).await.unwrap();
    let taken = Options { listen: first.address(), ..options(dir.path()) };
    assert!(matches!(Server::start(taken).await.unwrap_err(), Error::Listen { .. }));
    first.shutdown().await.unwrap();

    let wrong_name = Options { streams: Some(vec!["../up".to_owned()]), ..options(dir.path()) };
    assert!(matches!(Server::start(wrong_name).await.unwrap_err(), Error::Option(_)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_clients_lose_nothing_and_get_different_ids() {
    let dir = tempfile::tempdir().unwrap();
    let quota = Quota::NONE;
    let server = Server::start(Options { quota, buffer_size: 512, ..options(dir.path()) }).await.unwrap();
    let client = sdk(&server);
    let mut clients = tokio::task::JoinSet::new();
    for number in 0..8 {
        let client = client.clone();
        clients.spawn(async move {
            let mut ids = Vec::new();
            for turn in 0..50 {
                let line = format!("{number} {turn}\n");
                let request = client.put_record().delivery_stream_name("app").record(record(line));
                ids.push(request.send().await.unwrap().record_id().to_owned());
            }
            ids
        });
    }
    let mut ids = clients.join_all().await.concat();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 400);
    server.shutdown().await.unwrap();

    let text = String::from_utf8(delivered(dir.path(), "app")).unwrap();
    for number in 0..8 {
        let prefix = format!("{number} ");
        let turns = text.lines().filter_map(|line| line.strip_prefix(&prefix));
        assert!(turns.eq((0..50).map(|turn| turn.to_string())), "client {number} in its order");
    }
    assert!(files(dir.path(), "app").len() > 1);
}
