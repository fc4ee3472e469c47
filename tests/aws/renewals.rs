//! Credentials that end, are replaced, or fail to be renewed: no line waits, and nobody is called.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::fakes::{Answer, Fake, keys, no_session, session};
use crate::stage::{MAX_WAIT, MENDED_WITHIN, Stage, process, runs};
use crate::world::{eventually, text};

const ROLE: &str = "role_arn = \"arn:aws:iam::123456789012:role/writer\"";

#[test]
fn streams_of_equal_settings_share_one_role_and_one_process() {
    let sts = Fake::start(|request| session(request, "ASSUMED", 3600));
    let sources = |stage: &Stage| -> String {
        (0..20)
            .map(|n| {
                format!(
                    "[[source]]\npaths = [\"{}/{n}.txt\"]\nstream = \"s{n}\"\n",
                    stage.path("logs").display()
                )
            })
            .collect()
    };
    let stage = Stage::new().env("AWS_ENDPOINT_URL_STS", &sts.url()).aws(ROLE);
    let printed = r#"{"Version":1,"AccessKeyId":"AKID","SecretAccessKey":"s"}"#;
    let command = process(&stage, printed);
    stage.put("home/.aws/config", &format!("[default]\ncredential_process = {command}\n"));
    let more = sources(&stage);
    let shipping = stage.configured(&more).run();
    for n in 0..20 {
        let path = shipping.stage.path("logs").join(format!("{n}.txt"));
        std::fs::write(path, format!("line {n}\n")).unwrap();
    }
    eventually("every stream's line", || {
        (0..20).all(|n| shipping.stage.hose.has(&format!("line {n}"))).then_some(())
    });
    assert_eq!(sts.count(), 1, "requests for the role");
    assert_eq!(runs(&shipping.stage.path("runs")), 1, "runs of the command");
    assert_eq!(shipping.stage.hose.keys().into_iter().collect::<Vec<_>>(), ["ASSUMED"]);
    shipping.told_no_error();
}

/// STS refuses, throttles or falls silent once the old credentials are to be renewed, while they are valid.
#[test]
fn a_renewal_that_fails_while_the_old_credentials_are_valid_holds_nothing() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let sts = Fake::start(move |request| match counted.fetch_add(1, Ordering::SeqCst) {
        0 => session(request, "OLD", 10),
        1 => no_session(403, "AccessDenied", "not now"),
        2 => Answer::Is(503, "<html>busy</html>".to_owned()),
        _ => session(request, "NEW", 3600),
    });
    let shipping = Stage::new().with_keys().env("AWS_ENDPOINT_URL_STS", &sts.url()).aws(ROLE).run();
    shipping.ship("first");
    eventually("the renewal, in the background", || {
        let line = format!("line {}", shipping.began.elapsed().as_millis());
        assert!(shipping.ship(&line) < MAX_WAIT);
        shipping.stage.hose.keys().contains("NEW").then_some(())
    });
    assert!(sts.count() >= 3, "asked again");
    shipping.told_no_error();
    let told = shipping.at_level("WARN");
    assert!(
        told.iter().any(|line| line.contains("those at hand are used") && line.contains("not now")),
        "{told:?}"
    );
}

#[test]
fn keys_that_are_replaced_in_a_file_count_before_a_line_has_to_wait() {
    let stage = Stage::new();
    stage.keys_in_file("OLD");
    let shipping = stage.run();
    shipping.ship("before");
    // The file is replaced first, and the old keys end later.
    shipping.stage.keys_in_file("NEW");
    eventually("the new keys", || {
        shipping.ship(&format!("line {}", shipping.began.elapsed().as_millis()));
        shipping.stage.hose.keys().contains("NEW").then_some(())
    });
    // The old keys end first, and at once.
    shipping.stage.keys_in_file("NEWER");
    shipping.stage.hose.believes(&["NEWER"]);
    assert!(shipping.ship("after") < MAX_WAIT);
    shipping.told_no_error();
}

#[test]
fn mended_keys_count_at_the_next_try() {
    let stage = Stage::new();
    stage.hose.believes(&["GOOD"]);
    stage.keys_in_file("WRONG");
    stage.write("line");
    let shipping = stage.run();
    shipping.not_ready(&["UnrecognizedClientException"]);
    shipping.stage.keys_in_file("GOOD");
    let began = std::time::Instant::now();
    eventually("the line", || shipping.stage.hose.has("line").then_some(()));
    assert!(began.elapsed() < MENDED_WITHIN, "{:?}", began.elapsed());
}

/// The projected token of IRSA is late: the node's own role is not taken in its place.
#[test]
fn a_token_that_comes_late_counts_and_nothing_is_taken_in_its_place() {
    let sts = Fake::start(|request| session(request, "POD", 3600));
    let node = Fake::start(|request| crate::fakes::metadata(request, "NODE"));
    let stage = Stage::new();
    let token = stage.path("token").display().to_string();
    let shipping = stage
        .env("AWS_EC2_METADATA_DISABLED", "")
        .env("AWS_EC2_METADATA_SERVICE_ENDPOINT", &node.url())
        .env("AWS_ENDPOINT_URL_STS", &sts.url())
        .env("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/pod\n")
        .env("AWS_WEB_IDENTITY_TOKEN_FILE", &token)
        .run();
    shipping.stage.write("line");
    shipping.not_ready(&["the web identity token file", &token, "role/pod", "see that the token is mounted"]);
    shipping.stage.put("token", "\u{feff}jwt\n");
    let began = std::time::Instant::now();
    eventually("the line", || shipping.stage.hose.has("line").then_some(()));
    assert!(began.elapsed() < MENDED_WITHIN, "{:?}", began.elapsed());
    assert_eq!((node.count(), shipping.stage.hose.keys().contains("POD")), (0, true));
    assert!(
        sts.asked()[0].body.contains("WebIdentityToken=jwt&")
            || sts.asked()[0].body.ends_with("WebIdentityToken=jwt")
    );
}

/// The token of EKS Pod Identity is replaced in its file, and the agent takes only the one that is there.
#[test]
fn a_pods_token_that_is_replaced_counts_at_the_next_renewal() {
    let stage = Stage::new();
    stage.put("token", "first");
    let token = stage.path("token");
    let (shown, times) = (token.clone(), Arc::new(AtomicUsize::new(0)));
    let agent = Fake::start(move |request| {
        let right = std::fs::read_to_string(&shown).unwrap();
        if request.headers.get("authorization").map(String::as_str) != Some(right.as_str()) {
            return Answer::Is(403, "{\"message\":\"the token is not known\"}".to_owned());
        }
        let (key, seconds) = match times.fetch_add(1, Ordering::SeqCst) {
            0 => ("FIRST", 10),
            _ => ("SECOND", 3600),
        };
        Answer::Is(200, keys(key, seconds))
    });
    let shipping = stage
        .env("AWS_CONTAINER_CREDENTIALS_FULL_URI", &format!("{}/v1/credentials", agent.url()))
        .env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", text(&token))
        .run();
    shipping.ship("first");
    shipping.stage.put("token", "second");
    eventually("the renewal, in the background", || {
        let line = format!("line {}", shipping.began.elapsed().as_millis());
        assert!(shipping.ship(&line) < MAX_WAIT);
        shipping.stage.hose.keys().contains("SECOND").then_some(())
    });
    let tokens: Vec<_> =
        agent.asked().iter().map(|request| request.headers["authorization"].clone()).collect();
    assert_eq!(tokens, ["first", "second"]);
    shipping.told_no_error();
}

#[test]
fn credentials_that_are_over_on_arrival_are_not_asked_for_per_request() {
    let sts = Fake::start(|request| session(request, "OVER", -60));
    let shipping = Stage::new().with_keys().env("AWS_ENDPOINT_URL_STS", &sts.url()).aws(ROLE).run();
    for n in 0..20 {
        shipping.ship(&format!("line {n}"));
    }
    assert!(sts.count() <= 2, "{} requests to STS", sts.count());
    assert!(shipping.at_level("WARN").iter().any(|line| line.contains("set the clock")));
}

#[test]
fn a_process_that_hangs_does_not_outlive_the_daemon() {
    let stage = Stage::new();
    let id = stage.path("id");
    let command = format!("sh -c 'echo $$ > {}; sleep 1000'", id.display());
    stage.put("home/.aws/config", &format!("[default]\ncredential_process = {command}\n"));
    let shipping = stage.run();
    let child = eventually("the command to run", || {
        std::fs::read_to_string(&id).ok().filter(|id| id.ends_with('\n')).map(|id| id.trim().to_owned())
    });
    shipping.not_ready(&["MissingCredentials"]);
    let place = std::path::Path::new("/proc").join(child);
    assert!(place.exists());
    let crate::stage::Shipping { running, stage: _stage, .. } = shipping;
    running.stop();
    eventually("the command to be gone", || (!place.exists()).then_some(()));
}

/// What a provider's service does once is no reason to wait for the next round: its own retries are on.
#[test]
fn a_provider_that_fails_once_is_asked_again_at_once() {
    let calls = Arc::new(AtomicUsize::new(0));
    let sts = Fake::start(move |request| match calls.fetch_add(1, Ordering::SeqCst) {
        0 => Answer::Is(503, "<html>busy</html>".to_owned()),
        _ => session(request, "ASSUMED", 3600),
    });
    let shipping = Stage::new().with_keys().env("AWS_ENDPOINT_URL_STS", &sts.url()).aws(ROLE).run();
    shipping.ship("line");
    assert!(shipping.began.elapsed() < Duration::from_secs(30));
    shipping.told_no_error();
}
