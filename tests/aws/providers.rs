//! Who signs, and what is said when nobody can: one sentence, with the host, path, role or profile that it is about.

use crate::fakes::{Fake, no_session, session};
use crate::stage::{Stage, process};

#[test]
fn a_profile_that_is_configured_is_used_alone() {
    let stage = Stage::new().with_keys().aws("profile = \"logs\"");
    stage.put(
        "home/.aws/config",
        "[profile logs]\naws_access_key_id = OF_PROFILE\naws_secret_access_key = s\n",
    );
    let shipping = stage.run();
    shipping.ship("line");
    assert_eq!(shipping.stage.hose.keys().into_iter().collect::<Vec<_>>(), ["OF_PROFILE"]);
}

#[test]
fn a_profile_that_is_not_there_is_said_in_those_words_each_time() {
    let stage = Stage::new().with_keys().aws("profile = \"logs\"");
    stage.keys_in_file("AKID");
    stage.write("line");
    let shipping = stage.run();
    for _ in 0..2 {
        let said =
            shipping.not_ready(&["MissingCredentials: profile `logs` is not in ", "correct `profile`"]);
        assert!(said.contains("/.aws/credentials") && !said.contains("already taken"), "{said}");
        shipping.running.says("profile `logs` is not in ", "\n");
    }
    assert_eq!(shipping.stage.hose.fake.count(), 0, "nothing takes its place");
    // Mended, it counts.
    shipping
        .stage
        .put("home/.aws/config", "[profile logs]\naws_access_key_id = GOOD\naws_secret_access_key = s\n");
    crate::world::eventually("the line", || shipping.stage.hose.has("line").then_some(()));
}

#[test]
fn a_file_without_a_section_or_that_cannot_be_read_is_named() {
    let stage = Stage::new().aws("profile = \"logs\"");
    stage.put("home/.aws/config", "[profile logs]\nregion = us-east-1\n");
    stage.run().not_ready(&["profile `logs` in ", "has no credentials"]);

    let stage = Stage::new();
    std::fs::create_dir(stage.path("home/.aws/credentials")).unwrap();
    stage.run().not_ready(&["/home/.aws/credentials is not a file"]);
}

#[test]
fn sts_is_named_with_the_role_and_what_it_said() {
    const ROLE: &str = "role_arn = \"arn:aws:iam::123456789012:role/writer\"";
    for (code, words) in [
        ("AccessDenied", ["AccessDenied: no trust", "trust policy"]),
        ("RegionDisabledException", ["RegionDisabledException: no trust", "activate STS"]),
    ] {
        let sts = Fake::start(move |_| no_session(403, code, "no trust"));
        let shipping = Stage::new().with_keys().env("AWS_ENDPOINT_URL_STS", &sts.url()).aws(ROLE).run();
        let said = shipping.not_ready(&words);
        let expected =
            format!("arn:aws:iam::123456789012:role/writer cannot be assumed at STS ({}): ", sts.url());
        assert!(said.contains(&expected), "{said}");
    }
}

#[test]
fn a_session_is_called_and_lasts_as_configured() {
    let sts = Fake::start(|request| session(request, "ASSUMED", 3600));
    let stage = Stage::new()
        .with_keys()
        .env("AWS_ENDPOINT_URL_STS", &sts.url())
        .aws("role_arn = \"arn:aws:iam::123456789012:role/writer\"")
        .aws("external_id = \"tenant-7\"\nsession_name = \"host-1\"\nsession_duration = \"30m\"");
    stage.run().ship("line");
    let asked = &sts.asked()[0].body;
    for part in ["ExternalId=tenant-7", "RoleSessionName=host-1", "DurationSeconds=1800"] {
        assert!(asked.contains(part), "{part} is not in {asked}");
    }
}

#[test]
fn a_command_that_fails_is_named_with_its_complaint() {
    let stage = Stage::new();
    let command = process(&stage, "");
    stage.put(
        "home/.aws/config",
        &format!("[default]\ncredential_process = {command} >/dev/null; echo locked out >&2; exit 4\n"),
    );
    stage.run().not_ready(&["credential_process `/bin/sh` failed", "locked out", "(profile `default`)"]);
}
