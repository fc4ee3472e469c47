//! What lies between the daemon and the service, failing: N3 to N5, N8 to N16, and N19.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, Certificate, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;

use crate::front::{Act, Front, Proxy, Tunnel};
use crate::world::{Running, World, eventually, standpipe, text};

/// Ten lines, and what they go through.
fn before_the_service() -> (World, Front) {
    let mut world = World::new().configured("request_timeout = \"300ms\"\n");
    let front = Front::before(world.address);
    world.through(format!("http://{}", front.address));
    let file = world.file("a.log");
    world.written.append(&file, "a", 10);
    (world, front)
}

fn json(status: &str, body: &str) -> Act {
    let length = body.len();
    Act::Answer(format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/x-amz-json-1.1\r\nContent-Length: {length}\r\n\r\n{body}"
    ))
}

/// N8 and N9: an answer that begins and does not end is given up, and its record sent again.
#[test]
fn an_answer_that_does_not_end_is_given_up() {
    for act in [Act::HangAfterHead, Act::Dribble] {
        let (world, front) = before_the_service();
        let (mut left, slow) = (3, act.clone());
        front.rule(move |_| {
            left -= i32::from(left > 0);
            if left > 0 { slow.clone() } else { Act::Pass }
        });
        let daemon = world.run();
        let repeated = world.all_arrive();
        daemon.settle();
        assert!(repeated <= 2, "{act:?}: {repeated} repeated by two answers that did not come");
        daemon.running.stop();
    }
}

/// N12: what no answer of the service is, is no acknowledgement and no refusal, whatever its status.
#[test]
fn nonsense_is_neither_an_acknowledgement_nor_a_refusal() {
    let nonsense = [
        json("200 OK", "{}"),
        json("200 OK", ""),
        json("200 OK", "{\"RecordId\":\"\"}"),
        json("200 OK", "[1,2"),
        json("201 Created", "<html>Welcome to the guest network</html>"),
        json("301 Moved Permanently", ""),
        json("404 Not Found", "<html>nginx</html>"),
        json("413 Content Too Large", "<html>nginx</html>"),
        json("418 I'm a teapot", ""),
        Act::Answer("SSH-2.0-OpenSSH_9.2\r\n\r\n".to_owned()),
    ];
    let count = nonsense.len();
    let (world, front) = before_the_service();
    let mut nonsense = nonsense.into_iter();
    front.rule(move |_| nonsense.next().unwrap_or(Act::Pass));
    let daemon = world.run();
    assert_eq!(world.all_arrive(), 0);
    daemon.settle();
    let status = daemon.status();
    assert_eq!(status["streams"][0]["dead_letters"], 0, "{status}");
    assert!(front.requests.load(Ordering::SeqCst) >= 10 + count as u64);
    daemon.running.stop();
}

/// N12: a batch whose answer has other entries than the batch is sent again as a whole.
#[test]
fn a_batch_whose_answer_does_not_fit_is_sent_again() {
    let (mut world, front) = before_the_service();
    world = world.configured("api = \"put_record_batch\"\n");
    let entry = "{\"RecordId\":\"r\"}";
    let failed = "{\"ErrorCode\":\"InternalFailure\",\"ErrorMessage\":\"no\"}";
    let answer = |failed: u32, entries: &[&str]| {
        let entries = entries.join(",");
        json("200 OK", &format!("{{\"FailedPutCount\":{failed},\"RequestResponses\":[{entries}]}}"))
    };
    let ten = [entry; 10];
    let mut nonsense = vec![
        answer(0, &[]),
        answer(0, &ten[..9]),
        answer(0, &[&ten[..], &[entry]].concat()),
        answer(1, &ten),
        answer(0, &[&ten[..9], &[failed]].concat()),
        answer(2, &[&ten[..9], &[failed]].concat()),
        json("200 OK", "{\"FailedPutCount\":0}"),
    ]
    .into_iter();
    front.rule(move |_| nonsense.next().unwrap_or(Act::Pass));
    let daemon = world.run();
    assert_eq!(world.all_arrive(), 0, "nothing of it was accepted");
    daemon.settle();
    daemon.running.stop();
}

/// N3 and N4: only the entry that failed is sent again, for as long as its code says that this may help.
#[test]
fn an_entry_that_fails_again_and_again_is_sent_again_alone() {
    let (mut world, front) = before_the_service();
    world = world.configured("api = \"put_record_batch\"\n");
    let file = world.file("a.log");
    crate::world::append(&file, "unlucky\n");
    let unlucky = STANDARD.encode("unlucky\n");
    let attempts = Arc::new(Mutex::new(BTreeMap::<String, u32>::new()));
    let seen = Arc::clone(&attempts);
    front.rule(move |request| {
        let mut seen = seen.lock().unwrap();
        let mut failed = 0;
        let mut entries = Vec::new();
        for data in request.split("\"Data\":\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
            let count = seen.entry(data.to_owned()).or_default();
            *count += 1;
            if data == unlucky && *count < 20 {
                failed += 1;
                entries.push("{\"ErrorCode\":\"InternalFailure\",\"ErrorMessage\":\"no\"}");
            } else {
                entries.push("{\"RecordId\":\"r\"}");
            }
        }
        let entries = entries.join(",");
        json("200 OK", &format!("{{\"FailedPutCount\":{failed},\"RequestResponses\":[{entries}]}}"))
    });
    let daemon = world.run();
    let unlucky = STANDARD.encode("unlucky\n");
    eventually("twenty attempts", || (attempts.lock().unwrap().get(&unlucky) == Some(&20)).then_some(()));
    daemon.settle();
    let attempts = attempts.lock().unwrap().clone();
    assert_eq!(attempts.len(), 11);
    assert!(
        attempts.iter().all(|(data, count)| *count == if *data == unlucky { 20 } else { 1 }),
        "{attempts:?}"
    );
    assert_eq!(daemon.status()["streams"][0]["dead_letters"], 0);
    daemon.running.stop();
}

/// N5: one record that the service refuses, somewhere in a batch, is found; its neighbours arrive.
#[test]
fn a_poison_record_is_found_in_its_batch() {
    let mut world = World::new().configured("api = \"put_record_batch\"\n");
    let front = Front::before(world.address);
    world.through(format!("http://{}", front.address));
    let file = world.file("a.log");
    world.written.append(&file, "a", 180);
    crate::world::append(&file, "poison\n");
    world.written.append(&file, "a", 220);
    let poison = STANDARD.encode("poison\n");
    front.rule(move |request| {
        if request.contains(&poison) {
            json(
                "400 Bad Request",
                "{\"__type\":\"InvalidArgumentException\",\"message\":\"A record is not valid.\"}",
            )
        } else {
            Act::Pass
        }
    });
    let daemon = world.run();
    assert_eq!(world.all_arrive(), 0);
    daemon.settle();
    assert_eq!(daemon.status()["streams"][0]["dead_letters"], 1);
    // 401 records at most 500 a batch, halved until the one is left: 9 times, and each half that was well.
    let requests = front.requests.load(Ordering::SeqCst);
    assert!(requests <= 40, "{requests} requests to find one record");
    daemon.running.stop();
}

/// N19: a connection that was closed between two requests costs nothing.
#[test]
fn a_connection_that_is_closed_between_requests_repeats_nothing() {
    let (world, front) = before_the_service();
    front.rule(|_| Act::PassAndClose);
    let daemon = world.run();
    assert_eq!(world.all_arrive(), 0);
    daemon.settle();
    assert_eq!(daemon.status()["streams"][0]["dead_letters"], 0);
    daemon.running.stop();
}

/// An authority, and what it signs.
struct Authority {
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    /// A server's side with a certificate for `name`, which ends in `year`.
    fn server(&self, name: &str, year: i32) -> ServerConfig {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(year, 1, 1);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap()
    }
}

/// A service behind TLS that the daemon will trust once its certificate is right.
fn behind_tls() -> (World, Front, Authority) {
    let mut world = World::new().configured("request_timeout = \"1s\"\n");
    let front = Front::before(world.address);
    world.through(format!("https://localhost:{}", front.address.port()));
    let authority = Authority::new();
    fs::write(world.dir().join("ca.pem"), authority.certificate.pem()).unwrap();
    let file = world.file("a.log");
    world.written.append(&file, "a", 10);
    (world, front, authority)
}

/// N14: no certificate but the right one will do, and nothing is ever sent in plain text.
#[test]
fn only_the_right_certificate_will_do() {
    let (world, front, authority) = behind_tls();
    let wrong = [
        ("expired", authority.server("localhost", 2021)),
        ("of another name", authority.server("example.com", 2100)),
        ("of an unknown authority", Authority::new().server("localhost", 2100)),
    ];
    front.tls(wrong[0].1.clone());
    let authorities = world.dir().join("ca.pem");
    let daemon = world.run_in(|command| {
        command.env("SSL_CERT_FILE", &authorities);
    });
    for (what, server) in wrong {
        front.tls(server);
        let retries = || -> u64 {
            let retries = daemon.status()["streams"][0]["retries"].clone();
            retries.as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum()
        };
        let before = retries();
        eventually("more tries", || (retries() > before + 2).then_some(()));
        let said = daemon.not_ready("Connection");
        assert!(said.contains("certificate"), "{what}: {said}");
    }
    assert_eq!(front.requests.load(Ordering::SeqCst), 0, "no request came through");
    front.tls(authority.server("localhost", 2100));
    assert_eq!(world.all_arrive(), 0);
    assert_eq!(front.plain.load(Ordering::SeqCst), 0, "nothing came in plain text");
    daemon.running.stop();
}

/// N14: a handshake that nobody answers is given up.
#[test]
fn a_handshake_that_stalls_is_given_up() {
    let (mut world, front, authority) = behind_tls();
    world = world.configured("[shutdown]\ntimeout = \"300ms\"\n");
    front.tls(authority.server("localhost", 2100));
    // Connections are made, by the kernel, and nobody looks at them.
    let stalled = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = Proxy::to(stalled.local_addr().unwrap(), Tunnel::Open);
    world.through(format!("https://localhost:{}", front.address.port()));
    let authorities = world.dir().join("ca.pem");
    let daemon = world.run_in(|command| {
        command.env("SSL_CERT_FILE", &authorities).env("HTTPS_PROXY", format!("http://{}", proxy.address));
    });
    let said = daemon.not_ready("Timeout");
    assert!(
        said.contains(&format!("https://localhost:{} gave no answer in time", front.address.port())),
        "{said}"
    );
    assert_eq!(daemon.get("/livez").code, 200);
    daemon.running.stop();
}

/// N15: a proxy that refuses or hangs up is waited for.
#[test]
fn a_proxy_that_refuses_or_dies_is_waited_for() {
    let (world, front, authority) = behind_tls();
    front.tls(authority.server("localhost", 2100));
    let proxy = Proxy::to(front.address, Tunnel::Unauthorized);
    let authorities = world.dir().join("ca.pem");
    let daemon = world.run_in(|command| {
        command.env("SSL_CERT_FILE", &authorities).env("HTTPS_PROXY", format!("http://{}", proxy.address));
    });
    for tunnel in [Tunnel::Unauthorized, Tunnel::Dead] {
        proxy.is_now(tunnel);
        let before = proxy.asked.load(Ordering::SeqCst);
        eventually("more tries", || (proxy.asked.load(Ordering::SeqCst) > before + 2).then_some(()));
        daemon.not_ready("Connection");
    }
    assert_eq!(front.requests.load(Ordering::SeqCst), 0, "nothing goes around the proxy");
    proxy.is_now(Tunnel::Open);
    assert_eq!(world.all_arrive(), 0);
    daemon.running.stop();
}

/// Each stream by itself: region, role, endpoint, quota, operation.
#[test]
fn each_stream_has_its_own_region_role_and_endpoint() {
    let mut world = World::with_service(&["--access-key", "ASSUMED", "--secret-key", "of the role"]);
    let other = World::new();
    // What the role's session is given by its service.
    let sts = Front::before(world.address);
    let (scopes, asked) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(String::new())));
    let (front, seen) = (Front::before(other.address), Arc::clone(&scopes));
    front.rule(move |request| {
        let (_, rest) = request.split_once("Credential=").unwrap();
        seen.lock().unwrap().push(rest.split('/').nth(2).unwrap().to_owned());
        Act::Pass
    });
    let said = Arc::clone(&asked);
    sts.rule(move |request| {
        said.lock().unwrap().push_str(request);
        let body = "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult><Credentials>\
            <AccessKeyId>ASSUMED</AccessKeyId><SecretAccessKey>of the role</SecretAccessKey><SessionToken>t</SessionToken>\
            <Expiration>2099-01-01T00:00:00Z</Expiration></Credentials><AssumedRoleUser><AssumedRoleId>A:standpipe\
            </AssumedRoleId><Arn>arn:aws:sts::123456789012:assumed-role/firehose-writer/standpipe</Arn></AssumedRoleUser>\
            </AssumeRoleResult></AssumeRoleResponse>";
        let length = body.len();
        Act::Answer(format!("HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: {length}\r\n\r\n{body}"))
    });
    let (plain, elsewhere) = (world.dir().join("plain.txt"), world.dir().join("elsewhere.txt"));
    fs::write(&plain, "plain\n").unwrap();
    fs::write(&elsewhere, "elsewhere\n").unwrap();
    world = world.configured(&format!(
        "role_arn = \"arn:aws:iam::123456789012:role/firehose-writer\"\n\
         [[source]]\npaths = [{plain:?}]\nstream = \"plain\"\n[stream.plain]\nendpoint_url = \"http://{}\"\n\
         [[source]]\npaths = [{elsewhere:?}]\nstream = \"elsewhere\"\n[stream.elsewhere]\napi = \"put_record_batch\"\n\
         endpoint_url = \"http://{}\"\nregion = \"eu-central-1\"\ndelivery_stream = \"there\"\n",
        front.address, front.address
    ));
    let a = world.file("a.log");
    world.written.append(&a, "a", 10);
    let daemon = world.run_in(|command| {
        command.env("AWS_ENDPOINT_URL_STS", format!("http://{}", sts.address));
    });
    assert_eq!(world.all_arrive(), 0, "signed with the role's credentials");
    eventually("the other streams", || {
        (other.arrived("plain") == b"plain\n" && other.arrived("there") == b"elsewhere\n").then_some(())
    });
    daemon.settle();
    daemon.running.stop();
    let asked = asked.lock().unwrap().clone();
    assert!(asked.contains("Action=AssumeRole") && asked.contains("firehose-writer"), "{asked}");
    let mut scopes = scopes.lock().unwrap().clone();
    scopes.sort();
    assert_eq!(scopes, ["eu-central-1", "us-east-1"]);
}

/// The daemon of `world` in namespaces of its own, after `setup`; `None` when there are none on this machine.
fn apart(world: &World, flags: &[&str], setup: &str) -> Option<Running> {
    let unshare = |setup: &str| {
        let mut command = Command::new("unshare");
        command.args(["-U", "-r"]).args(flags).args(["sh", "-ec", &format!("{setup}; exec \"$0\" \"$@\"")]);
        command
    };
    if !unshare(setup).arg("true").output().is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: namespaces with {flags:?} cannot be had on this machine");
        return None;
    }
    let plain = standpipe(&["run", "-c", text(&world.config())]);
    let mut command = unshare(setup);
    command.arg(plain.get_program()).args(plain.get_args()).env_clear();
    command.envs(plain.get_envs().filter_map(|(key, value)| Some((key, value?))));
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    Some(Running::of(command))
}

fn entries(path: &Path) -> usize {
    fs::read_dir(path).unwrap().count()
}

/// N10: where packets vanish, connections are given up, and do not pile up.
#[test]
fn a_black_hole_takes_neither_descriptors_nor_threads() {
    let mut world = World::new().configured("max_in_flight = 8\n[shutdown]\ntimeout = \"300ms\"\n");
    world.through("http://192.0.2.1:4573".to_owned());
    let file = world.file("a.log");
    world.written.append(&file, "a", 1_000);
    let hole = "ip link set lo up; ip link add hole type dummy; ip addr add 192.0.2.2/24 dev hole; \
                ip link set hole up";
    let Some(daemon) = apart(&world, &["-n"], hole) else { return };
    // Eight requests wait for three seconds; then one at a time asks.
    daemon.says("not delivering; trying again", "\n");
    let process = Path::new("/proc").join(daemon.id().to_string());
    let (descriptors, threads) = (entries(&process.join("fd")), entries(&process.join("task")));
    assert!(descriptors < 40, "{descriptors} descriptors");
    assert!(threads < 40, "{threads} threads");
    daemon.stop();
    world.through(format!("http://{}", world.address));
    assert_eq!(world.once().0, 0, "nothing is lost meanwhile");
    assert_eq!(world.compare().missing, 0);
}

/// N13: a name that does not exist is asked for again, and where it leads then is followed.
#[test]
fn a_name_is_looked_up_again() {
    let named = ["--hosts", "firehose.test"];
    let mut world = World::with_service(&named);
    let port = world.address.port();
    world.through(format!("http://firehose.test:{port}"));
    let file = world.file("a.log");
    world.written.append(&file, "a", 10);
    let (hosts, resolver) = (world.dir().join("hosts"), world.dir().join("resolv.conf"));
    fs::write(&hosts, "127.0.0.1 localhost\n").unwrap();
    // Nobody answers there.
    fs::write(&resolver, "nameserver 127.0.0.1\noptions attempts:1 timeout:1\n").unwrap();
    let own = format!(
        "mount --bind {} /etc/hosts; mount --bind {} /etc/resolv.conf",
        text(&hosts),
        text(&resolver)
    );
    let Some(daemon) = apart(&world, &["-m"], &own) else { return };
    daemon.says("not delivering; trying again", "\n");
    fs::write(&hosts, "127.0.0.1 localhost firehose.test\n").unwrap();
    assert_eq!(world.all_arrive(), 0);
    // The service moves.
    world.move_service(&format!("127.0.0.2:{port}"), &named);
    world.written.append(&file, "a", 10);
    fs::write(&hosts, "127.0.0.1 localhost\n127.0.0.2 firehose.test\n").unwrap();
    world.all_arrive();
    daemon.stop();
}

/// A library that gives its process another wall clock, so many seconds ahead as a file says.
const CLOCK: &str = r#"
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = syscall(SYS_clock_gettime, clock, now);
    if (result == 0 && clock == CLOCK_REALTIME) {
        FILE *file = fopen(getenv("AHEAD"), "r");
        long ahead = 0;
        if (file) {
            if (fscanf(file, "%ld", &ahead) != 1) ahead = 0;
            fclose(file);
        }
        now->tv_sec += ahead;
    }
    return result;
}
"#;

/// N16: with a clock that is wrong, requests are refused for their signatures: they wait, and none is a dead letter. The SDK
/// takes the service's time from an answer: a request that the same client signs after that is accepted, so that the stream may
/// be held for an instant only.
#[test]
fn a_wrong_clock_holds_everything_and_loses_nothing() {
    let mut world = World::with_service(&["--access-key", "AKID", "--secret-key", "secret"]);
    let (source, library) = (world.dir().join("clock.c"), world.dir().join("clock.so"));
    fs::write(&source, CLOCK).unwrap();
    let compiled = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).status();
    assert!(compiled.unwrap().success(), "a C compiler is there: SQLite needs it, too");
    let ahead = world.dir().join("ahead");
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    fs::write(&ahead, "0").unwrap();
    let daemon = world.run_in(|command| {
        command.env("LD_PRELOAD", &library).env("AHEAD", &ahead);
    });
    let file = world.file("a.log");
    let wrong = [
        ("3600".to_owned(), "not yet"),
        ("-3600".to_owned(), "expired: 20"),
        (format!("-{now}"), "expired: 1970"),
    ];
    for (wrong, why) in wrong {
        fs::write(&ahead, wrong).unwrap();
        world.written.append(&file, "a", 10);
        let told = eventually("a refusal for the signature", || {
            let error = daemon.status()["streams"][0]["last_error"].clone();
            error["message"].as_str().is_some_and(|message| message.contains(why)).then_some(error)
        });
        assert_eq!(told["code"], "InvalidSignatureException");
        assert!(told["advice"].as_str().unwrap().contains("clock"), "it says what to do: {told}");
        fs::write(&ahead, "0").unwrap();
        assert_eq!(world.all_arrive(), 0);
        daemon.settle();
    }
    assert_eq!(daemon.status()["streams"][0]["dead_letters"], 0);
    daemon.running.stop();
}
