//! How long a line is on its way: from its append to its arrival at the service, with capacity to spare.
//!
//! `cargo bench --bench latency` has the release binary follow a file, appends a line every 5 ms for 20 seconds, and
//! notes when each arrives at an endpoint in this process: once with `put_record`, once with `auto`.

#![expect(
    clippy::disallowed_methods,
    reason = "a benchmark starts processes, writes files and looks at clocks"
)]
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark ends at the first surprise, and prints"
)]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

const LINES: usize = 4_000;
const PAUSE: Duration = Duration::from_millis(5);
const LINE_BYTES: usize = 185;

type Arrivals = Arc<Mutex<Vec<Option<Instant>>>>;

fn main() {
    println!("{LINES} lines of {LINE_BYTES} bytes, one every {PAUSE:?}");
    println!("{:<14}{:>10}{:>10}{:>10}{:>10}", "case", "p50 ms", "p90 ms", "p99 ms", "max ms");
    for api in ["put_record", "auto"] {
        case(api);
    }
}

fn case(api: &str) {
    let dir = tempfile::tempdir().unwrap();
    let arrivals: Arrivals = Arc::new(Mutex::new(vec![None; LINES]));
    let address = serve(Arc::clone(&arrivals));
    let log = dir.path().join("app.log");
    let mut file = File::create(&log).unwrap();
    let config = dir.path().join("standpipe.toml");
    let text = format!(
        "state_dir = {:?}\n[aws]\nregion = \"us-east-1\"\nendpoint_url = \"http://{address}\"\n\
         [[source]]\npaths = [{log:?}]\nstream = \"bench\"\n[stream.bench]\napi = {api:?}\n\
         [health]\nlisten = \"off\"\n",
        dir.path().join("state")
    );
    fs::write(&config, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_standpipe"));
    for proxy in ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
        command.env_remove(proxy);
    }
    command.args(["run", "-c"]).arg(&config).env("AWS_ACCESS_KEY_ID", "bench");
    command.env("AWS_SECRET_ACCESS_KEY", "bench").stdout(Stdio::null()).stderr(Stdio::null());
    let mut daemon = command.spawn().unwrap();

    let mut written = Vec::with_capacity(LINES);
    for number in 0..LINES {
        let line = format!("{number:0width$}\n", width = LINE_BYTES - 1);
        written.push(Instant::now());
        file.write_all(line.as_bytes()).unwrap();
        if number == 0 {
            // The first one tells when the daemon is up.
            while arrivals.lock().unwrap()[0].is_none() {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        std::thread::sleep(PAUSE);
    }
    while arrivals.lock().unwrap().iter().any(Option::is_none) {
        std::thread::sleep(Duration::from_millis(10));
    }
    daemon.kill().unwrap();
    daemon.wait().unwrap();

    let arrivals = arrivals.lock().unwrap();
    let pairs = written.iter().zip(arrivals.iter()).skip(1);
    let mut took: Vec<f64> =
        pairs.map(|(written, arrived)| (arrived.unwrap() - *written).as_secs_f64() * 1e3).collect();
    took.sort_by(f64::total_cmp);
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize];
    println!("{api:<14}{:>10.2}{:>10.2}{:>10.2}{:>10.2}", at(0.5), at(0.9), at(0.99), at(1.0));
}

fn serve(arrivals: Arrivals) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, arrivals) = (stream.unwrap(), Arc::clone(&arrivals));
            stream.set_nodelay(true).unwrap();
            std::thread::spawn(move || converse(stream, &arrivals));
        }
    });
    address
}

/// Answers one connection's requests until it ends.
fn converse(stream: TcpStream, arrivals: &Arrivals) {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    loop {
        let mut len = 0;
        let mut is_batch = false;
        loop {
            line.clear();
            match stream.read_line(&mut line) {
                Ok(0) | Err(_) => return,
                Ok(_) if line == "\r\n" => break,
                Ok(_) => {}
            }
            let lower = line.to_ascii_lowercase();
            if let Some(value) = lower.strip_prefix("content-length:") {
                len = value.trim().parse().unwrap();
            }
            is_batch |= lower.starts_with("x-amz-target:") && lower.contains("batch");
        }
        let mut body = vec![0; len];
        stream.read_exact(&mut body).unwrap();
        let now = Instant::now();
        let body = String::from_utf8(body).unwrap();
        let mut records = 0;
        for data in body.split("\"Data\":\"").skip(1) {
            let data = STANDARD.decode(data.split('"').next().unwrap()).unwrap();
            let number: usize = std::str::from_utf8(&data).unwrap().trim().parse().unwrap();
            arrivals.lock().unwrap()[number].get_or_insert(now);
            records += 1;
        }
        let json = if is_batch {
            let entries = vec!["{\"RecordId\":\"r\"}"; records].join(",");
            format!("{{\"Encrypted\":false,\"FailedPutCount\":0,\"RequestResponses\":[{entries}]}}")
        } else {
            "{\"Encrypted\":false,\"RecordId\":\"r\"}".to_owned()
        };
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{json}", json.len());
        if stream.get_mut().write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}
