//! Services that stand in for AWS on loopback: each is one HTTP server and a rule.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// What somebody asked.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) line: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Request {
    /// The access key that signed, and what it signed for.
    pub(crate) fn scope(&self) -> String {
        let header = self.headers.get("authorization").cloned().unwrap_or_default();
        let rest = header.split("Credential=").nth(1).unwrap_or_default().to_owned();
        rest.split(',').next().unwrap_or_default().to_owned()
    }

    pub(crate) fn key(&self) -> String {
        self.scope().split('/').next().unwrap_or_default().to_owned()
    }

    pub(crate) fn operation(&self) -> &str {
        let target = self.headers.get("x-amz-target").map_or("", String::as_str);
        target.rsplit('.').next().unwrap_or_default()
    }
}

/// What is answered.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Is(u16, String),
    /// Nothing, for so long.
    Silence(Duration),
}

pub(crate) fn refusal(status: u16, code: &str, message: &str) -> Answer {
    Answer::Is(status, json!({"__type": code, "message": message}).to_string())
}

/// One HTTP server, and all that it was asked.
#[derive(Clone)]
pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    scheme: &'static str,
    asked: Arc<Mutex<Vec<Request>>>,
    tls: Option<Arc<Mutex<Arc<rustls::ServerConfig>>>>,
}

impl Fake {
    pub(crate) fn start(rule: impl FnMut(&Request) -> Answer + Send + 'static) -> Self {
        Self::listen(None, rule)
    }

    /// A server that has a certificate of `authority`.
    pub(crate) fn over_tls(
        authority: &Authority,
        rule: impl FnMut(&Request) -> Answer + Send + 'static,
    ) -> Self {
        Self::listen(Some(authority.server()), rule)
    }

    fn listen(
        tls: Option<Arc<rustls::ServerConfig>>,
        rule: impl FnMut(&Request) -> Answer + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let fake = Self {
            address: listener.local_addr().unwrap(),
            scheme: if tls.is_some() { "https" } else { "http" },
            asked: Arc::default(),
            tls: tls.map(|tls| Arc::new(Mutex::new(tls))),
        };
        let (rule, served) = (Arc::new(Mutex::new(rule)), fake.clone());
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let (rule, served) = (Arc::clone(&rule), served.clone());
                std::thread::spawn(move || served.converse(socket, &rule));
            }
        });
        fake
    }

    /// Shows another certificate from now on.
    pub(crate) fn renew(&self, authority: &Authority) {
        *self.tls.as_ref().unwrap().lock().unwrap() = authority.server();
    }

    fn converse(&self, socket: TcpStream, rule: &Mutex<impl FnMut(&Request) -> Answer>) {
        let tls = self.tls.as_ref().map(|tls| Arc::clone(&tls.lock().unwrap()));
        match tls {
            None => self.answer(BufReader::new(socket), rule, BufReader::get_mut),
            Some(tls) => {
                let connection = rustls::ServerConnection::new(tls).unwrap();
                let stream = rustls::StreamOwned::new(connection, socket);
                self.answer(BufReader::new(stream), rule, BufReader::get_mut);
            }
        }
    }

    fn answer<S: Read, W: Write>(
        &self,
        mut socket: BufReader<S>,
        rule: &Mutex<impl FnMut(&Request) -> Answer>,
        writer: impl for<'a> Fn(&'a mut BufReader<S>) -> &'a mut W,
    ) {
        while let Some(request) = read(&mut socket) {
            self.asked.lock().unwrap().push(request.clone());
            let answer = rule.lock().unwrap()(&request);
            let (status, body) = match answer {
                Answer::Is(status, body) => (status, body),
                Answer::Silence(time) => {
                    std::thread::sleep(time);
                    return;
                }
            };
            let kind = if body.starts_with('<') { "text/xml" } else { "application/json" };
            let head = format!(
                "HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nX-Aws-Ec2-Metadata-Token-Ttl-Seconds: 21600\r\n\
                 Content-Length: {}\r\n\r\n",
                body.len()
            );
            let out = writer(&mut socket);
            if out.write_all(head.as_bytes()).and_then(|()| out.write_all(body.as_bytes())).is_err()
                || out.flush().is_err()
            {
                return;
            }
        }
    }

    pub(crate) fn url(&self) -> String {
        let host = if self.tls.is_some() { "localhost" } else { "127.0.0.1" };
        format!("{}://{host}:{}", self.scheme, self.address.port())
    }

    pub(crate) fn asked(&self) -> Vec<Request> {
        self.asked.lock().unwrap().clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

fn read(socket: &mut impl BufRead) -> Option<Request> {
    let mut line = String::new();
    (socket.read_line(&mut line).ok()? > 0).then_some(())?;
    let mut headers = BTreeMap::new();
    loop {
        let mut header = String::new();
        (socket.read_line(&mut header).ok()? > 0).then_some(())?;
        let Some((name, value)) = header.trim_end().split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    socket.read_exact(&mut body).ok()?;
    Some(Request {
        line: line.trim_end().to_owned(),
        headers,
        body: String::from_utf8_lossy(&body).into_owned(),
    })
}

/// A delivery stream that believes some keys, or all.
#[derive(Clone)]
pub(crate) struct Hose {
    pub(crate) fake: Fake,
    believed: Arc<Mutex<Option<BTreeSet<String>>>>,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Hose {
    pub(crate) fn start() -> Self {
        Self::with(Fake::start)
    }

    pub(crate) fn over_tls(authority: &Authority) -> Self {
        Self::with(|rule| Fake::over_tls(authority, rule))
    }

    fn with(start: impl FnOnce(Box<dyn FnMut(&Request) -> Answer + Send>) -> Fake) -> Self {
        let believed: Arc<Mutex<Option<BTreeSet<String>>>> = Arc::default();
        let lines: Arc<Mutex<Vec<String>>> = Arc::default();
        let (of_rule, taken) = (Arc::clone(&believed), Arc::clone(&lines));
        let rule = move |request: &Request| {
            if of_rule.lock().unwrap().as_ref().is_some_and(|keys| !keys.contains(&request.key())) {
                return refusal(400, "UnrecognizedClientException", "The security token is invalid.");
            }
            let body: Value = serde_json::from_str(&request.body).unwrap();
            let data = STANDARD.decode(body["Record"]["Data"].as_str().unwrap()).unwrap();
            let mut taken = taken.lock().unwrap();
            taken.push(String::from_utf8(data).unwrap().trim_end().to_owned());
            Answer::Is(200, json!({"RecordId": format!("r{}", taken.len()), "Encrypted": true}).to_string())
        };
        Self { fake: start(Box::new(rule)), believed, lines }
    }

    /// Refuses every other key from now on.
    pub(crate) fn believes(&self, keys: &[&str]) {
        *self.believed.lock().unwrap() = Some(keys.iter().map(|&key| key.to_owned()).collect());
    }

    pub(crate) fn has(&self, line: &str) -> bool {
        self.lines.lock().unwrap().iter().any(|taken| taken == line)
    }

    pub(crate) fn keys(&self) -> BTreeSet<String> {
        self.fake.asked().iter().map(Request::key).collect()
    }
}

/// A time so many seconds from now, as AWS writes times.
pub(crate) fn in_seconds(seconds: i64) -> String {
    let now = SystemTime::now();
    let span = Duration::from_secs(seconds.unsigned_abs());
    let at = if seconds < 0 { now - span } else { now + span };
    humantime::format_rfc3339_seconds(at).to_string()
}

/// What STS answers to a request for a role.
pub(crate) fn session(request: &Request, key: &str, seconds: i64) -> Answer {
    let action =
        request.body.split("Action=").nth(1).unwrap_or_default().split('&').next().unwrap_or_default();
    let ends = in_seconds(seconds);
    Answer::Is(
        200,
        format!(
            "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result><Credentials>\
             <AccessKeyId>{key}</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>\
             <Expiration>{ends}</Expiration></Credentials><AssumedRoleUser><AssumedRoleId>A:s</AssumedRoleId>\
             <Arn>arn:aws:sts::123456789012:assumed-role/r/s</Arn></AssumedRoleUser></{action}Result></{action}Response>"
        ),
    )
}

/// How STS refuses.
pub(crate) fn no_session(status: u16, code: &str, message: &str) -> Answer {
    Answer::Is(
        status,
        format!(
            "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type>\
             <Code>{code}</Code><Message>{message}</Message></Error><RequestId>x</RequestId></ErrorResponse>"
        ),
    )
}

/// What the instance metadata service answers, and a container agent.
pub(crate) fn metadata(request: &Request, key: &str) -> Answer {
    let body = if request.line.contains("/api/token") {
        "token".to_owned()
    } else if request.line.contains("/placement/region") {
        "us-east-1".to_owned()
    } else if request.line.contains("/security-credentials/ ") {
        "role".to_owned()
    } else {
        keys(key, 3600)
    };
    Answer::Is(200, body)
}

/// Credentials that end in so many seconds, as metadata and agents write them.
pub(crate) fn keys(key: &str, seconds: i64) -> String {
    json!({
        "Code": "Success", "LastUpdated": in_seconds(0), "Type": "AWS-HMAC", "AccessKeyId": key,
        "SecretAccessKey": "s", "Token": "t", "Expiration": in_seconds(seconds),
    })
    .to_string()
}

/// An authority of the project's own, with one server's certificate.
pub(crate) struct Authority {
    own: String,
    certificate: String,
    key: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let own_key = rcgen::KeyPair::generate().unwrap();
        let mut own = rcgen::CertificateParams::new(Vec::new()).unwrap();
        own.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        own.distinguished_name.push(rcgen::DnType::CommonName, "standpipe's tests");
        let certificate = own.self_signed(&own_key).unwrap();
        let issuer = rcgen::Issuer::new(own, own_key);
        let key = rcgen::KeyPair::generate().unwrap();
        let leaf = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
        let leaf = leaf.signed_by(&key, &issuer).unwrap();
        Self { own: certificate.pem(), certificate: leaf.pem(), key: key.serialize_pem() }
    }

    /// The certificate to trust.
    pub(crate) fn write(&self, path: &Path) {
        let new = path.with_extension("new");
        std::fs::write(&new, &self.own).unwrap();
        std::fs::rename(new, path).unwrap();
    }

    fn server(&self) -> Arc<rustls::ServerConfig> {
        use rustls::pki_types::pem::PemObject;
        let chain =
            vec![rustls::pki_types::CertificateDer::from_pem_slice(self.certificate.as_bytes()).unwrap()];
        let key = rustls::pki_types::PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap();
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(
            rustls::crypto::aws_lc_rs::default_provider(),
        ))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
        Arc::new(config)
    }
}
