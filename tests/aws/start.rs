//! At the start: the daemon answers at once, whatever it waits for, and says what that is before the first line.

use std::time::Duration;

use crate::fakes::{Answer, Fake, metadata};
use crate::stage::Stage;

#[test]
fn ten_streams_and_silent_metadata_keep_nobody_from_asking() {
    let service = Fake::start(|_| Answer::Silence(Duration::from_secs(20)));
    let stage = Stage::new();
    let sources: String = (0..9)
        .map(|n| {
            format!("[[source]]\npaths = [\"{}/{n}.txt\"]\nstream = \"s{n}\"\n", stage.path("logs").display())
        })
        .collect();
    let shipping = stage
        .env("AWS_EC2_METADATA_DISABLED", "")
        .env("AWS_EC2_METADATA_SERVICE_ENDPOINT", &service.url())
        .env("AWS_REGION", "")
        .aws("imds_timeout = \"300ms\"\nimds_attempts = 2")
        .configured(&sources)
        .run();
    assert_eq!(shipping.get("/livez").code, 200);
    assert!(shipping.began.elapsed() < Duration::from_secs(10), "{:?}", shipping.began.elapsed());
    let first = shipping.get("/readyz");
    assert_eq!(first.code, 503, "from the beginning: {}", first.body);
    let said = shipping.not_ready(&["MissingRegion", "hop limit is probably 1", "300ms (2 attempts)"]);
    assert!(said.contains(&service.address.to_string()), "{said}");
}

#[test]
fn missing_credentials_are_told_before_the_first_line() {
    let shipping = Stage::new().run();
    let said =
        shipping.not_ready(&["stream_setup", "MissingCredentials: no credentials: none in the environment"]);
    assert!(said.contains("AWS_EC2_METADATA_DISABLED"), "{said}");
    shipping.running.says("nothing can be delivered yet", "\n");
    assert_eq!(shipping.get("/livez").code, 200);
}

/// Each answer takes longer than the SDK's second.
#[test]
fn slow_metadata_gives_region_and_credentials() {
    let service = Fake::start(|request| {
        std::thread::sleep(Duration::from_millis(1300));
        metadata(request, "SLOW")
    });
    let shipping = Stage::new()
        .env("AWS_EC2_METADATA_DISABLED", "")
        .env("AWS_EC2_METADATA_SERVICE_ENDPOINT", &service.url())
        .env("AWS_REGION", "")
        .run();
    shipping.ship("line");
    assert!(shipping.stage.hose.keys().contains("SLOW"));
}
