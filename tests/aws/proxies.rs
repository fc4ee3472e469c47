//! Proxies: what goes through one, and what never does.

use crate::fakes::{Answer, Fake, metadata};
use crate::stage::Stage;

/// A proxy that lets nothing through, and remembers.
fn proxy() -> Fake {
    Fake::start(|_| Answer::Is(403, "no".to_owned()))
}

#[test]
fn metadata_and_container_agents_are_never_asked_through_a_proxy() {
    for variable in ["AWS_EC2_METADATA_SERVICE_ENDPOINT", "AWS_CONTAINER_CREDENTIALS_FULL_URI"] {
        let (service, proxy) = (Fake::start(|request| metadata(request, "AKID")), proxy());
        let stage = Stage::new();
        let hose = stage.hose.fake.address;
        let shipping = stage
            .env("AWS_EC2_METADATA_DISABLED", "")
            .env(
                variable,
                &format!("{}/credentials", service.url()).replace(
                    "/credentials",
                    match variable {
                        "AWS_CONTAINER_CREDENTIALS_FULL_URI" => "/credentials",
                        _ => "",
                    },
                ),
            )
            .env("AWS_CONTAINER_AUTHORIZATION_TOKEN", "SECRET")
            .env("HTTP_PROXY", &proxy.url())
            .env("NO_PROXY", &format!("localhost,{}", hose.ip()).replace("127.0.0.1", "no.such.host"))
            .aws(&format!("endpoint_url = \"http://localhost:{}\"", hose.port()))
            .run();
        shipping.ship("line");
        assert!(service.count() > 0 && proxy.count() == 0, "{:?}", proxy.asked());
    }
}

#[test]
fn the_service_is_asked_through_the_proxy_unless_no_proxy_names_it() {
    for (no_proxy, host, direct) in [
        ("", "localhost", false),
        ("other.example", "localhost", false),
        ("localhost", "localhost", true),
        (" other.example , localhost ", "localhost", true),
        ("127.0.0.1", "127.0.0.1", true),
        ("127.0.0.0/8", "127.0.0.1", true),
        ("10.0.0.0/8", "127.0.0.1", false),
        ("*", "127.0.0.1", true),
    ] {
        let (stage, proxy) = (Stage::new().with_keys(), proxy());
        let port = stage.hose.fake.address.port();
        stage.write("line");
        let shipping = stage
            .env("HTTP_PROXY", &proxy.url())
            .env("NO_PROXY", no_proxy)
            .aws(&format!("endpoint_url = \"http://{host}:{port}\""))
            .run();
        let arrived = crate::world::eventually("the line at the service or the proxy", || {
            (shipping.stage.hose.has("line") || proxy.count() > 0).then(|| proxy.count() == 0)
        });
        assert_eq!(arrived, direct, "NO_PROXY={no_proxy:?} for {host}");
    }
}

#[test]
fn a_proxy_that_is_not_understood_is_told_without_its_password() {
    let shipping = Stage::new().with_keys().env("HTTPS_PROXY", "http//user:hidden@proxy:3128").run();
    shipping.ship("line");
    let told = shipping.at_level("WARN");
    assert!(told.iter().any(|line| line.contains("HTTPS_PROXY is not a proxy's URL")), "{told:?}");
    assert!(!shipping.running.log().contains("hidden"));
}
