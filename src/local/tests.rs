use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

/// Sends `said` and then nothing more; what comes until the server closes the connection.
async fn left_waiting(server: &Server, said: &str) -> String {
    let mut client = TcpStream::connect(server.address()).await.unwrap();
    client.write_all(said.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let closed = tokio::time::timeout(Duration::from_secs(60), client.read_to_string(&mut answer)).await;
    assert!(closed.is_ok(), "the connection stays open after {said:?}");
    answer
}

#[tokio::test]
async fn heads_and_bodies_that_do_not_come_are_not_waited_for() {
    let hour = Duration::from_secs(3600);
    let short = Duration::from_millis(50);
    let dir = tempfile::tempdir().unwrap();
    let heads = TimeLimits { head: short, body: hour };
    let server = Server::start_within(heads, Options::new(dir.path())).await.unwrap();
    for said in ["", "POST / HTTP/1.1\r\nHost: local"] {
        assert_eq!(left_waiting(&server, said).await, "");
    }
    let asked = "GET /_standpipe/stats HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let answer = left_waiting(&server, asked).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "the next head does not come: {answer}");
    server.shutdown().await.unwrap();

    let bodies = TimeLimits { head: hour, body: short };
    let server = Server::start_within(bodies, Options::new(dir.path())).await.unwrap();
    let signature = "0".repeat(64);
    let head = format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-amz-json-1.1\r\n\
         X-Amz-Target: Firehose_20150804.PutRecord\r\nX-Amz-Date: 20261105T120000Z\r\n\
         Authorization: AWS4-HMAC-SHA256 Credential=AKID/20261105/us-east-1/firehose/aws4_request, \
         SignedHeaders=host;x-amz-date;x-amz-target, Signature={signature}\r\n"
    );
    let control = "POST /_standpipe/faults HTTP/1.1\r\nHost: localhost\r\n";
    for head in [&head, control] {
        for rest in ["Content-Length: 9\r\n\r\n{", "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"] {
            let answer = left_waiting(&server, &format!("{head}{rest}")).await;
            assert!(answer.starts_with("HTTP/1.1 408"), "{head}{rest}: {answer}");
        }
    }
    server.shutdown().await.unwrap();
    eprintln!("7 ways to let the server wait");
}
