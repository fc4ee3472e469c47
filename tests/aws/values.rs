//! Values with something around them: trimmed and told, whoever gives them, and never a reason to abort.

use crate::fakes::{Answer, Fake, Request, metadata, session};
use crate::stage::{Shipping, Stage, process};
use crate::world::eventually;

/// What editors, templates and other systems leave around a value.
const AROUND: [&str; 5] = ["\n", "\r\n", "\r", " ", "\u{feff}"];

/// Waits until a line is delivered, signed with `AKID` alone, and something is told.
fn is_trimmed(shipping: &Shipping, around: &str) {
    shipping.ship("line");
    let keys: Vec<_> = shipping.stage.hose.keys().into_iter().collect();
    assert_eq!(keys, ["AKID"], "{around:?}");
    let told = shipping.at_level("WARN");
    assert!(told.iter().any(|line| line.contains("are left out")), "{around:?}: {told:?}");
    shipping.told_no_error();
}

#[test]
fn of_the_environment() {
    for around in AROUND {
        let value = |text: &str| format!("{text}{around}");
        let stage = Stage::new()
            .env("AWS_ACCESS_KEY_ID", &value("AKID"))
            .env("AWS_SECRET_ACCESS_KEY", &value("secret"))
            .env("AWS_SESSION_TOKEN", &value("token"))
            .env("AWS_REGION", &value("us-east-1"));
        let shipping = stage.run();
        is_trimmed(&shipping, around);
        let request: Request = shipping.stage.hose.fake.asked().remove(0);
        assert_eq!(request.headers["x-amz-security-token"], "token");
        assert!(request.scope().contains("/us-east-1/firehose/"), "{}", request.scope());
        for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION"] {
            let told = shipping.at_level("WARN");
            assert_eq!(told.iter().filter(|line| line.contains(name)).count(), 1, "{name}: {told:?}");
        }
    }
}

#[test]
fn of_the_shared_files() {
    for text in [
        "\u{feff}[default]\naws_access_key_id = AKID\naws_secret_access_key = s\n",
        "[default]\r\naws_access_key_id = AKID \r\naws_secret_access_key = s\r\n",
        "[default]\raws_access_key_id = AKID\raws_secret_access_key = s\r",
    ] {
        let stage = Stage::new();
        stage.put("home/.aws/credentials", text);
        let shipping = stage.run();
        shipping.ship("line");
        assert!(shipping.stage.hose.keys().contains("AKID"));
        shipping.told_no_error();
    }
}

#[test]
fn of_a_credential_process() {
    for around in ["\\n", "\\r", " ", "\\ufeff"] {
        let stage = Stage::new();
        let printed =
            format!(r#"{{"Version":1,"AccessKeyId":"AKID{around}","SecretAccessKey":"s{around}"}}"#);
        let command = process(&stage, &printed);
        stage.put("home/.aws/config", &format!("[default]\ncredential_process = {command}\n"));
        is_trimmed(&stage.run(), around);
    }
}

#[test]
fn of_the_instance_metadata_service_and_of_a_container_agent() {
    for around in ["\n", "\r", " ", "\u{feff}"] {
        let key = format!("AKID{around}");
        let service = Fake::start(move |request| metadata(request, &key));
        let of_instance = Stage::new()
            .env("AWS_EC2_METADATA_DISABLED", "")
            .env("AWS_EC2_METADATA_SERVICE_ENDPOINT", &(service.url() + "\n"));
        is_trimmed(&of_instance.run(), around);
        let url = format!("{}/credentials", service.url());
        is_trimmed(&Stage::new().env("AWS_CONTAINER_CREDENTIALS_FULL_URI", &url).run(), around);
    }
}

#[test]
fn of_a_role() {
    let sts = Fake::start(|request| session(request, "AKID\n", 3600));
    let stage = Stage::new()
        .env("AWS_ACCESS_KEY_ID", "OTHER")
        .env("AWS_SECRET_ACCESS_KEY", "secret")
        .env("AWS_ENDPOINT_URL_STS", &sts.url())
        .aws("role_arn = \"arn:aws:iam::123456789012:role/r\"");
    is_trimmed(&stage.run(), "\n");
}

/// A line's end inside of a value is no slip around it: nobody can say what was meant.
#[test]
fn what_no_header_can_carry_is_missing_credentials_and_no_abort() {
    let service = Fake::start(|request| match request.line.contains("/credentials") {
        true => metadata(request, "AK\nID"),
        false => Answer::Is(404, String::new()),
    });
    let url = format!("{}/credentials", service.url());
    for stage in [
        Stage::new().env("AWS_ACCESS_KEY_ID", "AK\nID").env("AWS_SECRET_ACCESS_KEY", "secret"),
        Stage::new().env("AWS_ACCESS_KEY_ID", "ÄKID").env("AWS_SECRET_ACCESS_KEY", "secret"),
        Stage::new().env("AWS_CONTAINER_CREDENTIALS_FULL_URI", &url),
    ] {
        let shipping = stage.run();
        shipping.stage.write("line");
        let said = shipping.not_ready(&["MissingCredentials", "access key ID has"]);
        assert!(!said.contains("AK\\nID"), "{said}");
        shipping.running.signal(rustix::process::Signal::TERM);
    }
}

#[test]
fn a_container_token_that_no_header_can_carry_is_told_and_not_shown() {
    let service = Fake::start(|request| metadata(request, "AKID"));
    let url = format!("{}/credentials", service.url());
    let stage = Stage::new().env("AWS_CONTAINER_CREDENTIALS_FULL_URI", &url);
    let token = stage.path("token").display().to_string();
    stage.put("token", "hidden\n");
    let stage = stage.env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", &token);
    let shipping = stage.run();
    let said = shipping.not_ready(&["MissingCredentials", &token, "leave them out"]);
    assert!(!said.contains("hidden"));
    // Mended, it counts.
    shipping.stage.put("token", "hidden");
    shipping.ship("line");

    let shipping = Stage::new()
        .env("AWS_CONTAINER_CREDENTIALS_FULL_URI", &url)
        .env("AWS_CONTAINER_AUTHORIZATION_TOKEN", "hidden\n")
        .run();
    shipping.not_ready(&["AWS_CONTAINER_AUTHORIZATION_TOKEN has ends of lines"]);
    assert!(!shipping.running.log().contains("hidden"));
}

#[test]
fn a_region_that_is_none_is_told_as_it_is_written() {
    let shipping = Stage::new().with_keys().env("AWS_REGION", "us east 1").run();
    shipping.not_ready(&["MissingRegion", "AWS_REGION `us east 1` is not written as a region is"]);
    let shipping = Stage::new().with_keys().env("AWS_REGION", "US-EAST-1").run();
    shipping.ship("line");
    assert!(shipping.stage.hose.fake.asked()[0].scope().contains("/us-east-1/"));
    let shipping = Stage::new().with_keys().env("AWS_REGION", "us-esat-1").run();
    eventually("the region that was meant", || {
        shipping.running.log().contains("did you mean `us-east-1`?").then_some(())
    });
}
