//! `standpipe check --online`, and switches that are not understood.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use crate::fakes::{Answer, Fake, Request, refusal};
use crate::stage::Stage;

fn described(kind: &str) -> Answer {
    let description = json!({
        "DeliveryStreamName": "logs", "DeliveryStreamARN": "arn:aws:firehose:us-east-1:123456789012:deliverystream/logs",
        "DeliveryStreamStatus": "ACTIVE", "DeliveryStreamType": kind, "VersionId": "1", "Destinations": [],
        "HasMoreDestinations": false,
    });
    Answer::Is(200, json!({"DeliveryStreamDescription": description}).to_string())
}

fn stage(rule: impl FnMut(&Request) -> Answer + Send + 'static) -> (Stage, Fake) {
    let service = Fake::start(rule);
    (Stage::new().with_keys().aws(&format!("endpoint_url = {:?}", service.url())), service)
}

fn accepted() -> Answer {
    Answer::Is(200, json!({"RecordId": "r", "Encrypted": true}).to_string())
}

#[test]
fn a_call_that_is_throttled_is_made_again() {
    let calls = AtomicUsize::new(0);
    let (stage, service) = stage(move |_| match calls.fetch_add(1, Ordering::SeqCst) {
        0 => refusal(400, "ThrottlingException", "Rate exceeded"),
        _ => described("DirectPut"),
    });
    let (code, said) = stage.check(&[]);
    assert_eq!((code, service.count()), (0, 2), "{said}");
    for words in [
        "delivery stream logs is ACTIVE, of type DirectPut, encryption DISABLED, in account 123456789012",
        "signed with access key AKID for region us-east-1",
        &format!("sent to {}", service.url()),
        "PutRecord was not tried",
    ] {
        assert!(said.contains(words), "{words:?} is not in\n{said}");
    }
}

#[test]
fn a_record_is_sent_only_when_it_is_given() {
    let rule = |request: &Request| match request.operation() {
        "PutRecord" => accepted(),
        _ => described("DirectPut"),
    };
    let (stage, service) = stage(rule);
    let (code, said) = stage.check(&["--put", "hello"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("PutRecord was tried, and the record accepted"), "{said}");
    assert!(service.asked().iter().any(|request| request.body.contains("aGVsbG8K")), "hello and a newline");
}

/// Which names the endpoint, the first that is there wins; requests go there, and that is what is told.
#[test]
fn the_endpoint_of_the_environment_and_the_profile_is_the_one_that_is_told() {
    let (service, other) = (Fake::start(|_| described("DirectPut")), Fake::start(|_| described("DirectPut")));
    let (url, otherwise) = (service.url(), other.url());
    let profile = |services: &str, url: &str| {
        format!(
            "[default]\nregion = us-east-1\nservices = s\nendpoint_url = {url}\n[services s]\nfirehose =\n  endpoint_url = {services}\n"
        )
    };
    for (of_service, of_all, file, ignores) in [
        (&*url, &*otherwise, profile(&otherwise, &otherwise), false),
        ("", &*url, profile(&otherwise, &otherwise), false),
        ("", "", profile(&url, &otherwise), false),
        ("", "", "[default]\nregion = us-east-1\nendpoint_url = ".to_owned() + &url, false),
        (&*otherwise, &*otherwise, profile(&otherwise, &otherwise), true),
    ] {
        let stage = Stage::new()
            .with_keys()
            // The key is there, and says nothing.
            .aws("#endpoint_url\n")
            .env("AWS_ENDPOINT_URL_FIREHOSE", of_service)
            .env("AWS_ENDPOINT_URL", of_all)
            .env("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", if ignores { "true" } else { "" });
        stage.put("home/.aws/config", &file);
        let asked = (service.count(), other.count());
        let mut check = stage.command(&["check", "--online"]);
        if ignores {
            // Nobody answers there: what is told is the region's own host.
            check.env("HTTPS_PROXY", "http://127.0.0.1:9");
        }
        let said = String::from_utf8(check.output().unwrap().stdout).unwrap();
        let endpoint = if ignores { "https://firehose.us-east-1.amazonaws.com" } else { &url };
        assert!(said.contains(&format!("sent to {endpoint}\n")), "{said}");
        assert_eq!(other.count(), asked.1, "{said}");
        assert_eq!(service.count() > asked.0, !ignores, "{said}");
    }
}

/// The quotas that `check` shows are those of the region that `run` finds.
#[test]
fn quotas_are_those_of_the_region_that_the_environment_or_the_profile_names() {
    for (variable, of_profile, by) in
        [("ap-south-1", "us-east-1", "AWS_REGION"), ("", "ap-south-1", "the profile's region")]
    {
        let stage = Stage::new().with_keys().env("AWS_REGION", variable);
        stage.put("home/.aws/config", &format!("[default]\nregion = {of_profile}\n"));
        let output = stage.command(&["check"]).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0), "{said}");
        for words in
            [&*format!("region ap-south-1 ({by})"), "quota 1000 requests, 1000 records, 1MiB a second"]
        {
            assert!(said.contains(words), "{words:?} is not in\n{said}");
        }
    }
}

#[test]
fn certificates_that_are_not_there_are_a_fault_of_the_configuration() {
    let stage = Stage::new().with_keys().aws("ca_file = \"/nowhere/ca.pem\"\n");
    let output = stage.command(&["check"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(said.contains("ca_file /nowhere/ca.pem cannot be read"), "{said}");
}

/// Shipping needs no description.
#[test]
fn a_record_that_is_accepted_outweighs_a_description_that_is_denied() {
    let rule = |request: &Request| match request.operation() {
        "PutRecord" => accepted(),
        _ => refusal(400, "AccessDeniedException", "no"),
    };
    let (stage, _service) = stage(rule);
    assert_eq!(stage.check(&[]).0, 1);
    assert_eq!(stage.check(&["--put", "hello"]).0, 0);
}

#[test]
fn a_stream_that_takes_no_direct_puts_is_refused_here_and_held_at_run_time() {
    let rule = |request: &Request| match request.operation() {
        "PutRecord" => refusal(
            400,
            "InvalidArgumentException",
            "This operation is not permitted on KinesisStreamAsSource delivery stream type.",
        ),
        _ => described("KinesisStreamAsSource"),
    };
    let (stage, _service) = stage(rule);
    let (code, said) = stage.check(&[]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("NOT READY: it takes its data from elsewhere"), "{said}");
    stage.write("line");
    let shipping = stage.run();
    shipping.not_ready(&["stream_setup", "takes no direct puts"]);
    assert!(
        shipping.get("/metrics").body.contains("standpipe_dead_letters"),
        "and none of them is this line"
    );
}

#[test]
fn a_switch_that_is_not_understood_is_told() {
    let stage = Stage::new().with_keys().env("AWS_USE_FIPS_ENDPOINT", "1");
    let output = stage.command(&["check"]).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("AWS_USE_FIPS_ENDPOINT is `1`, which has no effect"), "{said}");
    let shipping = stage.run();
    shipping.running.says("AWS_USE_FIPS_ENDPOINT is `1`", "\n");
}

#[test]
fn fips_endpoints_and_an_endpoint_exclude_each_other() {
    let shipping = Stage::new().with_keys().aws("use_fips = true").run();
    shipping.not_ready(&["InvalidConfiguration", "leave one out"]);
}
