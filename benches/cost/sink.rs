//! An endpoint that accepts everything at next to no cost: one thread a connection, no JSON beyond counting.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use memchr::memmem;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// As long as the service's own RecordIds, in bytes.
const RECORD_ID_BYTES: usize = 224;

/// What RecordIds are cut from, so that no two are alike.
const POOL_BYTES: usize = 1024 * 1024;

static RECORDS: AtomicU64 = AtomicU64::new(0);

/// Serves until SIGTERM, then prints how many records came.
pub fn serve(args: &[String]) {
    let [wire, authority] = args else { panic!("sink WIRE AUTHORITY") };
    let tls = (wire == "https").then(|| Arc::new(tls(authority)));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    println!("{wire}://localhost:{port}");
    let mut signals = signal_hook::iterator::Signals::new([signal_hook::consts::SIGTERM]).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, tls) = (stream.unwrap(), tls.clone());
            stream.set_nodelay(true).unwrap();
            std::thread::spawn(move || match tls {
                Some(tls) => converse(StreamOwned::new(ServerConnection::new(tls).unwrap(), stream)),
                None => converse::<TcpStream>(stream),
            });
        }
    });
    signals.forever().next();
    println!("{}", RECORDS.load(Ordering::SeqCst));
}

fn tls(authority: &str) -> ServerConfig {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(authority, made.cert.pem()).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap()
}

/// Answers one connection's requests until it ends.
fn converse<S: Read + Write>(stream: S) {
    let mut stream = BufReader::with_capacity(64 * 1024, stream);
    let (mut line, mut body) = (String::new(), Vec::new());
    let find = memmem::Finder::new(b"\"Data\":");
    let mut rng = fastrand::Rng::with_seed(7);
    let pool: String = (0..POOL_BYTES).map(|_| rng.alphanumeric()).collect();
    let mut id = || {
        let at = rng.usize(..POOL_BYTES - RECORD_ID_BYTES);
        &pool[at..at + RECORD_ID_BYTES]
    };
    loop {
        let (mut len, mut is_batch) = (0, false);
        loop {
            line.clear();
            match stream.read_line(&mut line) {
                Ok(0) | Err(_) => return,
                Ok(_) if line == "\r\n" => break,
                Ok(_) => {}
            }
            let (name, value) = line.split_once(':').unwrap_or_default();
            if name.eq_ignore_ascii_case("content-length") {
                len = value.trim().parse().unwrap();
            } else if name.eq_ignore_ascii_case("x-amz-target") {
                is_batch = value.trim().ends_with("PutRecordBatch");
            }
        }
        body.resize(len, 0);
        stream.read_exact(&mut body).unwrap();
        let records = find.find_iter(&body).count();
        RECORDS.fetch_add(records as u64, Ordering::SeqCst);
        let json = if is_batch {
            let entries: Vec<_> = (0..records).map(|_| format!("{{\"RecordId\":\"{}\"}}", id())).collect();
            let entries = entries.join(",");
            format!("{{\"Encrypted\":false,\"FailedPutCount\":0,\"RequestResponses\":[{entries}]}}")
        } else {
            format!("{{\"Encrypted\":false,\"RecordId\":\"{}\"}}", id())
        };
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/x-amz-json-1.1\r\ncontent-length: {}\r\n\r\n{json}",
            json.len()
        );
        if stream.get_mut().write_all(answer.as_bytes()).and_then(|()| stream.get_mut().flush()).is_err() {
            return;
        }
    }
}
