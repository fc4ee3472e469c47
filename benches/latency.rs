//! How long a line is on its way: from its append to its arrival at the service, with capacity to spare.
//!
//! `cargo bench --bench latency` has the release binary follow a file, appends a line every 5 ms for 20 seconds, and
//! notes when each arrives at an endpoint in this process: once with `put_record`, once with `auto`. Then it appends 2,000
//! lines a second for 20 seconds, in turn to ten files, with `auto`. Of each it says what the daemon took of a core.

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
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

const LASTS: Duration = Duration::from_secs(20);
const LINE_BYTES: usize = 185;

/// What is measured in one go.
struct Case {
    api: &'static str,
    files: usize,
    lines_per_second: u32,
}

const CASES: [Case; 3] = [
    Case { api: "put_record", files: 1, lines_per_second: 200 },
    Case { api: "auto", files: 1, lines_per_second: 200 },
    Case { api: "auto", files: 10, lines_per_second: 2_000 },
];

type Arrivals = Arc<Mutex<Vec<Option<Instant>>>>;

fn main() {
    println!("lines of {LINE_BYTES} bytes for {LASTS:?}");
    let head = ["case", "files", "lines/s", "p50 ms", "p90 ms", "p99 ms", "max ms", "of a core"];
    println!("{:<12}{}", head[0], head[1..].iter().map(|name| format!("{name:>10}")).collect::<String>());
    CASES.iter().for_each(run);
}

fn run(case: &Case) {
    let Case { api, files, lines_per_second } = *case;
    let lines = lines_per_second as usize * LASTS.as_secs() as usize;
    let dir = tempfile::tempdir().unwrap();
    let arrivals: Arrivals = Arc::new(Mutex::new(vec![None; lines]));
    let address = serve(Arc::clone(&arrivals));
    let log = |number: usize| dir.path().join(format!("{number}.log"));
    let mut logs: Vec<_> = (0..files).map(|number| File::create(log(number)).unwrap()).collect();
    let mut daemon = start(dir.path(), api, address);

    let mut append = |number: usize| {
        let line = format!("{number:0width$}\n", width = LINE_BYTES - 1);
        let at = Instant::now();
        logs[number % files].write_all(line.as_bytes()).unwrap();
        at
    };
    // The first ones tell when the daemon is up, with all files.
    for number in 0..files {
        append(number);
    }
    let wait_for = |lines: std::ops::Range<usize>| {
        while arrivals.lock().unwrap()[lines.clone()].iter().any(Option::is_none) {
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    wait_for(0..files);
    let (began, cpu) = (Instant::now(), cpu_seconds(daemon.id()));
    let mut written = Vec::with_capacity(lines);
    for number in files..lines {
        let due = began + Duration::from_secs(1) / lines_per_second * (number - files) as u32;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        written.push(append(number));
    }
    let cpu = (cpu_seconds(daemon.id()) - cpu) / began.elapsed().as_secs_f64();
    wait_for(files..lines);
    daemon.kill().unwrap();
    daemon.wait().unwrap();

    let arrivals = arrivals.lock().unwrap();
    let pairs = written.iter().zip(&arrivals[files..]);
    let mut took: Vec<f64> =
        pairs.map(|(written, arrived)| (arrived.unwrap() - *written).as_secs_f64() * 1e3).collect();
    took.sort_by(f64::total_cmp);
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize];
    let latency: String = [0.5, 0.9, 0.99, 1.0].map(|share| format!("{:>10.2}", at(share))).concat();
    println!("{api:<12}{files:>10}{lines_per_second:>10}{latency}{:>8.1} %", cpu * 100.0);
}

fn start(dir: &Path, api: &str, address: SocketAddr) -> Child {
    let config = dir.join("standpipe.toml");
    let text = format!(
        "state_dir = {:?}\n[aws]\nregion = \"us-east-1\"\nendpoint_url = \"http://{address}\"\n\
         [[source]]\npaths = [{:?}]\nstream = \"bench\"\n[stream.bench]\napi = {api:?}\n\
         [health]\nlisten = \"off\"\n",
        dir.join("state"),
        dir.join("*.log")
    );
    fs::write(&config, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_standpipe"));
    for proxy in ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
        command.env_remove(proxy);
    }
    command.args(["run", "-c"]).arg(&config).env("AWS_ACCESS_KEY_ID", "bench");
    command.env("AWS_SECRET_ACCESS_KEY", "bench").stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

/// What a process has had of a processor, threads that ended included.
fn cpu_seconds(pid: u32) -> f64 {
    /// What the kernel counts in for other programs, whatever its own is (times(2)).
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, figures) = stat.rsplit_once(')').unwrap();
    // The 14th and the 15th of all, of which two come before.
    let ticks = figures.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<f64>().unwrap());
    ticks.sum::<f64>() / TICKS_PER_SECOND
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
