//! Whatever answers as the service: a record counts as accepted only where a 200 is JSON and has a RecordId in its place; and each record
//! of a batch has one verdict.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use standpipe::config::Config;
use standpipe::model::operation::Operation;
use standpipe::model::verdict::Verdict;
use standpipe::shell::firehose::{Destination, Origin};
use tokio::runtime::Runtime;

/// A service that says what it is told to, and a way to it.
struct Service {
    says: Arc<Mutex<Vec<u8>>>,
    runtime: Runtime,
    destination: Destination,
}

/// Reads one request; `None` at the end of the connection.
fn request(socket: &mut BufReader<TcpStream>) -> Option<()> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if socket.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().ok()?;
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    socket.read_exact(&mut body).ok()
}

fn serve(listener: TcpListener, says: Arc<Mutex<Vec<u8>>>) {
    for socket in listener.incoming().flatten() {
        let says = Arc::clone(&says);
        std::thread::spawn(move || {
            let mut socket = BufReader::new(socket);
            while request(&mut socket).is_some() {
                let answer = says.lock().expect("nobody panics with it").clone();
                if socket.get_mut().write_all(&answer).is_err() {
                    return;
                }
            }
        });
    }
}

fn service() -> &'static Service {
    static SERVICE: OnceLock<Service> = OnceLock::new();
    SERVICE.get_or_init(|| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let endpoint_url = format!("http://{}", listener.local_addr().expect("its address"));
        let says = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&says);
        std::thread::spawn(move || serve(listener, told));
        let text = "[[source]]\npaths = [\"/a\"]\nstream = \"s\"\n[stream.s]\nregion = \"us-east-1\"\nrequest_timeout = \"5s\"\n";
        let config = Config::from_text(Path::new("a.toml"), text, &|_| None).expect("a configuration");
        let keys = || "AKID".to_owned();
        let origin = Origin::Embedded { endpoint_url, access_key: keys(), secret_key: keys() };
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let destination = runtime.block_on(async {
            let destination = Destination::connect(&config.streams[0], &origin);
            destination.ready().await;
            destination
        });
        Service { says, runtime, destination }
    })
}

pub(crate) fn run(input: &[u8]) {
    let [choice, body @ ..] = input else { return };
    let statuses = [200, 200, 200, 400, 413, 500, 503, 204, 302];
    let status = statuses[usize::from(*choice) % statuses.len()];
    let body = if status == 204 { &[][..] } else { body };
    let service = service();
    let head = format!(
        "HTTP/1.1 {status} x\r\ncontent-type: application/x-amz-json-1.1\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    *service.says.lock().expect("nobody panics with it") = [head.as_bytes(), body].concat();
    let (operation, count) =
        if choice & 64 == 0 { (Operation::PutRecord, 1) } else { (Operation::PutRecordBatch, 2) };
    let records = vec![Bytes::from_static(b"line\n"); count];
    let outcome = service.runtime.block_on(service.destination.put(operation, records, Duration::ZERO));
    assert_eq!(outcome.verdicts.len(), count, "one verdict for each record");
    let said: Option<Value> = serde_json::from_slice(body).ok();
    for (place, verdict) in outcome.verdicts.iter().enumerate() {
        let Verdict::Delivered { .. } = verdict else { continue };
        let Some(said) = said.as_ref().filter(|_| status == 200) else {
            panic!("{status}: {}", body.escape_ascii());
        };
        let entry = if operation == Operation::PutRecord { said } else { &said["RequestResponses"][place] };
        let id = entry["RecordId"].as_str();
        assert!(id.is_some_and(|id| !id.is_empty()), "{said}");
    }
}
