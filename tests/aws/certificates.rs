//! Which certificates are trusted, and that a replaced file needs no restart.

use crate::fakes::{Authority, Hose};
use crate::stage::Stage;
use crate::world::{eventually, text};

#[test]
fn each_place_that_names_certificates_is_honoured() {
    let authority = Authority::new();
    for place in ["ca_file", "AWS_CA_BUNDLE", "ca_bundle", "SSL_CERT_FILE"] {
        let mut stage = Stage::to(Hose::over_tls(&authority)).with_keys();
        let path = stage.path("ca.pem");
        authority.write(&path);
        match place {
            "ca_file" => stage = stage.aws(&format!("ca_file = {path:?}")),
            "ca_bundle" => {
                stage.put("home/.aws/config", &format!("[default]\nca_bundle = {}\n", path.display()));
            }
            variable => stage = stage.env(variable, text(&path)),
        }
        let shipping = stage.run();
        shipping.ship(place);
        shipping.told_no_error();
    }
}

#[test]
fn a_file_without_certificates_is_told_by_its_path_and_counts_once_it_is_mended() {
    let authority = Authority::new();
    let stage = Stage::to(Hose::over_tls(&authority)).with_keys();
    let path = stage.path("ca.pem");
    stage.write("line");
    let stage = stage.aws(&format!("ca_file = {path:?}"));
    let shipping = stage.run();
    shipping.not_ready(&["BadCertificates: ca_file ", "ca.pem cannot be read", "AWS_CA_BUNDLE"]);
    shipping.stage.put("ca.pem", "");
    shipping.not_ready(&["ca.pem is empty"]);
    shipping.stage.put("ca.pem", "hello\n");
    shipping.not_ready(&["ca.pem has no certificate"]);
    authority.write(&path);
    eventually("the line", || shipping.stage.hose.has("line").then_some(()));
}

#[test]
fn an_authority_that_is_replaced_needs_no_restart() {
    let (old, new) = (Authority::new(), Authority::new());
    let stage = Stage::to(Hose::over_tls(&old)).with_keys();
    let path = stage.path("ca.pem");
    old.write(&path);
    let shipping = stage
        .env("SSL_CERT_FILE", text(&path))
        .configured("retry = { initial = \"100ms\", max = \"1s\" }\n")
        .run();
    shipping.ship("before");
    new.write(&path);
    shipping.stage.hose.fake.renew(&new);
    // Connections are made anew, to a server that only the new authority vouches for.
    eventually("the replaced file to be seen", || {
        shipping.ship(&format!("line {}", shipping.began.elapsed().as_millis()));
        shipping.running.log().contains("the file of certificates was replaced").then_some(())
    });
    shipping.ship("after");
}

#[test]
fn an_authority_that_nobody_named_is_not_trusted_and_the_advice_says_how() {
    let (named, other) = (Authority::new(), Authority::new());
    let stage = Stage::to(Hose::over_tls(&other)).with_keys();
    let path = stage.path("ca.pem");
    named.write(&path);
    stage.write("line");
    let shipping = stage
        .aws(&format!("ca_file = {path:?}"))
        .configured("retry = { initial = \"10ms\", max = \"100ms\" }\n")
        .run();
    shipping.not_ready(&[
        "cannot be reached: invalid peer certificate",
        "name the certificates of the authority",
    ]);
}
