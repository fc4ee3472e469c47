//! Who chooses names of files and words of answers: nothing that is printed, logged or served may carry them out.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::assert_plain;
use crate::fakes::{Answer, Fake, Request, refusal};
use crate::world::{World, eventually, exchange, finished, standpipe, text};

/// Ends of names, one for each kind of character that steers.
const NAMES: [&[u8]; 12] = [
    b"escape\x1b[2J.log",
    b"title\x1b]0;owned\x07.log",
    b"newline\nFORGED level=ERROR.log",
    b"return\rFORGED.log",
    b"delete\x7f.log",
    "csi\u{9b}2J.log".as_bytes(),
    "nel\u{85}FORGED.log".as_bytes(),
    "override\u{202e}gol.log".as_bytes(),
    "isolate\u{2066}x\u{2069}.log".as_bytes(),
    "marks\u{200e}\u{200f}\u{61c}.log".as_bytes(),
    "separators\u{2028}FORGED\u{2029}FORGED.log".as_bytes(),
    b"no utf-8 \xff\xc3.log",
];

/// What the service says, whatever it is asked.
const SAID: &str =
    "\u{1b}[31mred\u{7}\nFORGED\r\u{9b}2J\u{85}\u{7f}\u{202e}\u{2067}\u{200f}\u{61c}\u{2028}\u{2029} end";

/// A service that takes every line but `poison`, until it is told to refuse everything; each of its words steers.
fn service(refuses: &Arc<AtomicBool>) -> Fake {
    let refuses = Arc::clone(refuses);
    let mut count = 0;
    Fake::start(move |request: &Request| {
        let says = |code: &str| refusal(400, code, SAID);
        if refuses.load(Ordering::SeqCst) {
            return says("AccessDeniedException");
        }
        let body: Value = serde_json::from_str(&request.body).unwrap();
        match request.operation() {
            "DescribeDeliveryStream" => described(),
            _ => {
                let data = STANDARD.decode(body["Record"]["Data"].as_str().unwrap()).unwrap();
                count += 1;
                match &data[..] {
                    b"poison\n" => says("InvalidArgumentException"),
                    // Tried again, with a code that nobody knows.
                    _ if count % 4 == 0 => says(&format!("Odd{SAID}")),
                    _ => Answer::Is(200, json!({"RecordId": SAID, "Encrypted": true}).to_string()),
                }
            }
        }
    })
}

fn described() -> Answer {
    let stream = json!({
        "DeliveryStreamName": SAID, "DeliveryStreamARN": format!("arn:aws:firehose:x:{SAID}:y"),
        "DeliveryStreamStatus": SAID, "DeliveryStreamType": SAID, "VersionId": SAID, "Destinations": [],
        "HasMoreDestinations": false, "DeliveryStreamEncryptionConfiguration": { "Status": SAID },
    });
    Answer::Is(200, json!({ "DeliveryStreamDescription": stream }).to_string())
}

/// Everything that was printed, served and told, each checked.
struct Outputs {
    checked: usize,
}

impl Outputs {
    #[track_caller]
    fn check(&mut self, what: &str, printed: &[u8]) -> String {
        self.checked += 1;
        assert_plain(what, printed)
    }

    /// Both outputs of a command, which must not be killed by what it reads.
    #[track_caller]
    fn of(&mut self, args: &[&OsStr]) -> String {
        let mut command = standpipe(&[]);
        let output = command.args(args).output().unwrap();
        let code = output.status.code().unwrap_or_else(|| panic!("{args:?} was killed"));
        assert!([0, 1].contains(&code), "{args:?}: {code}: {}", String::from_utf8_lossy(&output.stderr));
        let what = format!("{args:?}");
        self.check(&what, &output.stderr);
        self.check(&what, &output.stdout)
    }
}

#[test]
fn no_output_of_any_command_carries_out_what_names_and_answers_say() {
    let refuses = Arc::new(AtomicBool::new(false));
    let fake = service(&refuses);
    let mut world = World::new().configured("[log]\nlevel = \"debug\"\n");
    world.through(fake.url());
    let files: Vec<PathBuf> =
        NAMES.iter().map(|name| world.file("x").with_file_name(OsStr::from_bytes(name))).collect();
    for file in &files {
        fs::write(file, "first\nsecond\n").unwrap();
    }
    fs::create_dir(world.file("x").with_file_name(OsStr::from_bytes(b"directory\x1b\nFORGED.log"))).unwrap();
    let mut outputs = Outputs { checked: 0 };
    let config = world.config();
    let configured =
        |texts: &[&'static str]| [os(texts), vec![OsStr::new("-c"), config.as_os_str()]].concat();
    // Before anything runs.
    for args in [&["check"][..], &["check", "--online", "--put", "text"], &["preview"]] {
        outputs.of(&configured(args));
    }
    outputs.of(&[configured(&["preview"]), vec![files[2].as_os_str()]].concat());
    outputs.of(&[configured(&["preview"]), vec![OsStr::from_bytes(b"/no\x1b\nFORGED")]].concat());

    let told = manager(&world);
    let daemon = world.run_in(|command: &mut Command| {
        command.env("NOTIFY_SOCKET", told.1.as_os_str());
    });
    fs::write(files[0].with_file_name("poison.log"), "poison\nok\n").unwrap();
    eventually("the dead letter", || (world.dead_letters() == 1).then_some(()));
    daemon.settle();
    let status: Value = serde_json::from_str(&daemon.get("/status").body).unwrap();
    let shown: Vec<&str> =
        status["files"].as_array().unwrap().iter().map(|file| file["path"].as_str().unwrap()).collect();
    for file in &files {
        assert!(shown.contains(&&*file.to_string_lossy()), "JSON says what the name is: {file:?}");
    }
    refuses.store(true, Ordering::SeqCst);
    fs::write(files[2].with_file_name("later.log"), "later\n").unwrap();
    daemon.not_ready("stream_setup");
    for target in ["/status", "/readyz", "/healthz", "/metrics", "/history", "/config", "/livez", "/"] {
        outputs.check(target, daemon.get(target).body.as_bytes());
    }
    let open = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: application/openmetrics-text\r\nConnection: close\r\n\r\n";
    outputs.check("OpenMetrics", exchange(daemon.health, open).body.as_bytes());
    walk(&mut outputs, &world, &files, &format!("http://{}", daemon.health), &config);
    let line = eventually("a line for the service manager", || told_by(&told.0, "STATUS=not ready"));
    outputs.check("the status of the unit", line.as_bytes());
    let log = daemon.running.log();
    outputs.check("the log", log.as_bytes());
    for line in log.lines() {
        let _: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    }
    daemon.running.kill();
    // Without a daemon, the commands act themselves.
    walk(&mut outputs, &world, &files, "http://127.0.0.1:1", &config);
    let as_text = world.dir().join("text.toml");
    let written = fs::read_to_string(&config).unwrap().replace("[log]", "[log]\nformat = \"text\"");
    fs::write(&as_text, written).unwrap();
    let (code, printed, log) = finished(&["run", "--once", "--timeout", "2s", "-c", text(&as_text)]);
    assert_eq!(code, 1);
    outputs.check("run --once", printed.as_bytes());
    outputs.check("the log as text", log.as_bytes());
    for word in [r"newline\nFORGED level=ERROR.log", r"\u{202e}gol", r"\u{1b}[31mred"] {
        assert!(log.contains(word), "the log shows {word}: {log}");
    }
    eprintln!("{} names, {} outputs", NAMES.len(), outputs.checked);
}

fn os<'a>(texts: &[&'a str]) -> Vec<&'a OsStr> {
    texts.iter().map(|text| OsStr::new(*text)).collect()
}

/// What every other command says of these files.
fn walk(outputs: &mut Outputs, world: &World, files: &[PathBuf], url: &str, config: &std::path::Path) {
    let state = world.dir().join("state");
    let of_state =
        |args: &[&'static str]| [os(args), vec![OsStr::new("--state-dir"), state.as_os_str()]].concat();
    for args in [
        &["checkpoints", "list"][..],
        &["checkpoints", "list", "--json"],
        &["dead-letters", "list"],
        &["dead-letters", "list", "--json"],
        &["dead-letters", "export"],
    ] {
        let said = outputs.of(&of_state(args));
        assert!(said.contains("log"), "{args:?} says something: {said}");
    }
    outputs.of(&[os(&["dead-letters", "replay", "-c"]), vec![config.as_os_str()]].concat());
    outputs.of(&[os(&["status", "--url"]), vec![OsStr::new(url)]].concat());
    outputs.of(&[os(&["status", "--json", "--url"]), vec![OsStr::new(url)]].concat());
    for file in files {
        outputs.of(&[of_state(&["shipped"]), vec![file.as_os_str()]].concat());
        outputs.of(&[of_state(&["checkpoints", "set"]), vec![file.as_os_str(), OsStr::new("6")]].concat());
        outputs.of(&[of_state(&["checkpoints", "forget"]), vec![file.as_os_str()]].concat());
        outputs.of(&[of_state(&["checkpoints", "forget"]), vec![file.as_os_str()]].concat());
    }
    outputs.of(&of_state(&["shipped", "/no\u{1b}\nFORGED"]));
}

/// A service manager that listens, and where.
fn manager(world: &World) -> (UnixDatagram, PathBuf) {
    let path = world.dir().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_nonblocking(true).unwrap();
    assert!(text(&path).len() < 100);
    (socket, path)
}

/// A message to the service manager that begins with `begins`, once it has come.
fn told_by(socket: &UnixDatagram, begins: &str) -> Option<String> {
    let mut message = [0; 65536];
    while let Ok(count) = socket.recv(&mut message) {
        let told = String::from_utf8(message[..count].to_vec()).unwrap();
        if told.starts_with(begins) {
            return Some(told);
        }
    }
    None
}
