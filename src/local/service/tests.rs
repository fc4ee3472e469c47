use super::*;
use crate::local::request::Operation;

const HOLD: Buffering = Buffering { interval: Duration::from_secs(60), size: 1024 };

fn rules() -> Rules {
    Rules {
        quota: Quota::default(),
        buffering: HOLD,
        streams: None,
        invalid_keys: BTreeSet::new(),
        encrypted: false,
        creating: Duration::ZERO,
        max_buffered_bytes: 1_000_000,
    }
}

fn service(rules: Rules, plan: &str) -> Service {
    let faults = Faults::new(serde_json::from_str(plan).unwrap(), 1);
    Service::new(rules, faults, Run(7), Moment::default()).unwrap()
}

fn at(ms: u64) -> Moment {
    let now = Duration::from_millis(ms);
    Moment { now, unix_time: now }
}

fn one(stream: &str, base64: &str) -> Put {
    Put { stream: stream.to_owned(), operation: Operation::PutRecord, records: Records::one(base64) }
}

fn batch(stream: &str, base64: &[&str]) -> Put {
    Put { stream: stream.to_owned(), operation: Operation::PutRecordBatch, records: Records::batch(base64) }
}

/// Delivers everything: the bytes in the order of delivery.
fn drain(service: &mut Service) -> Vec<u8> {
    service.flush();
    let mut delivered = Vec::new();
    while let Some((stream, chunk)) = service.due(Duration::ZERO).pop() {
        delivered.extend_from_slice(&chunk.data);
        service.delivered(&stream);
    }
    assert!(service.is_empty());
    delivered
}

fn kind(answer: Answer) -> Kind {
    answer.result.expect_err("it is refused").kind
}

#[test]
fn put_record_returns_a_record_id_which_is_unique() {
    let mut service = service(rules(), "{}");
    let mut ids = BTreeSet::new();
    for step in 0..200 {
        for answer in [
            service.put(one("a", "YQ=="), at(step * 1_000)),
            service.put(batch("b", &["YQ=="; 3]), at(step * 1_000)),
        ] {
            for verdict in answer.result.unwrap().verdicts {
                assert!(ids.insert(verdict.unwrap().to_string()));
            }
        }
    }
    assert_eq!(ids.len(), 800);
}

#[test]
fn record_ids_of_two_runs_differ() {
    let id = |run| {
        let faults = Faults::new(FaultPlan::default(), 1);
        let mut service = Service::new(rules(), faults, Run(run), at(0)).unwrap();
        service.put(one("a", "YQ=="), at(0)).result.unwrap().verdicts[0].clone().unwrap().to_string()
    };
    assert_ne!(id(1), id(2));
}

#[test]
fn what_is_accepted_is_delivered_in_order_of_acceptance() {
    let mut service = service(rules(), "{}");
    service.put(one("a", "Zmlyc3Qg"), at(0));
    service.put(batch("a", &["c2Vjb25kIA==", "dGhpcmQg"]), at(1));
    service.put(one("a", "Zm91cnRo"), at(2));
    assert_eq!(drain(&mut service), b"first second third fourth");
}

#[test]
fn put_record_throws_service_unavailable_above_the_quota() {
    let quota = Quota { requests: 2, ..Quota::NONE };
    let mut service = service(Rules { quota, ..rules() }, "{}");
    assert!(service.put(one("a", "YQ=="), at(0)).result.is_ok());
    assert!(service.put(batch("a", &["YQ=="]), at(1)).result.is_ok());
    let answer = service.put(one("a", "YQ=="), at(2));
    assert_eq!(answer.result, Err(Refusal::new(Kind::ServiceUnavailable, "Slow down.")));
    assert_eq!(kind(service.put(batch("a", &["YQ=="]), at(3))), Kind::ServiceUnavailable);
    assert!(service.put(one("b", "YQ=="), at(4)).result.is_ok(), "quotas are for each delivery stream");
    assert!(service.put(one("a", "YQ=="), at(1_000)).result.is_ok(), "a second later");
}

#[test]
fn a_batch_above_the_quota_fails_for_the_records_that_do_not_fit() {
    let quota = Quota { records: 2, ..Quota::NONE };
    let mut service = service(Rules { quota, ..rules() }, "{}");
    let accepted = service.put(batch("a", &["YQ==", "Yg==", "Yw=="]), at(0)).result.unwrap();
    assert!(accepted.verdicts[0].is_ok() && accepted.verdicts[1].is_ok());
    assert_eq!(accepted.verdicts[2], Err(Refusal::slow_down()));
    assert_eq!(drain(&mut service), b"ab");

    let report = serde_json::to_value(service.report()).unwrap();
    let stream = &report["streams"]["a"];
    assert_eq!(stream["requests"]["PutRecordBatch"]["partial"], 1);
    assert_eq!(stream["accepted"]["records"], 2);
    assert_eq!(stream["rejected"]["bytes"], 1);
    assert_eq!(stream["delivered"]["records"], 2);
    assert_eq!(stream["peak_per_second"]["records"], 2);
}

#[test]
fn bytes_are_counted_before_base64() {
    let quota = Quota { bytes: 6, ..Quota::NONE };
    let mut service = service(Rules { quota, ..rules() }, "{}");
    assert!(service.put(one("a", "YWJjZGVm"), at(0)).result.is_ok(), "8 characters are 6 bytes");
    assert_eq!(kind(service.put(one("a", "YQ=="), at(0))), Kind::ServiceUnavailable);
}

#[test]
fn a_stream_that_is_not_named_is_not_found() {
    let streams = Some(vec!["a".to_owned()]);
    let mut service = service(Rules { streams, ..rules() }, "{}");
    assert!(service.put(one("a", "YQ=="), at(0)).result.is_ok());
    assert_eq!(kind(service.put(one("b", "YQ=="), at(0))), Kind::ResourceNotFound);
    assert_eq!(service.describe("b", at(0)).unwrap_err().kind, Kind::ResourceNotFound);
}

#[test]
fn streams_are_created_on_first_use() {
    let mut service = service(rules(), "{}");
    assert_eq!(service.list(None, 10), (vec![], false));
    service.put(one("b", "YQ=="), at(5));
    assert_eq!(service.describe("a", at(6)).unwrap().created_at, at(6).now);
    assert_eq!(service.describe("b", at(6)).unwrap().created_at, at(5).now);
    assert_eq!(service.list(None, 1), (vec!["a".to_owned()], true));
    assert_eq!(service.list(Some("a"), 1), (vec!["b".to_owned()], false));
}

#[test]
fn a_malformed_request_creates_no_stream() {
    let mut service = service(rules(), "{}");
    assert_eq!(kind(service.put(one("a", "?"), at(0))), Kind::Serialization);
    assert_eq!(service.list(None, 10), (vec![], false));
}

#[test]
fn a_name_that_no_stream_can_have_is_an_invalid_argument() {
    let mut service = service(rules(), "{}");
    let longest = "x".repeat(64);
    let too_long = "x".repeat(65);
    for name in ["", ".", "..", "a/b", "../a", "a b", "ä", "a\0", too_long.as_str()] {
        assert_eq!(kind(service.put(one(name, "YQ=="), at(0))), Kind::InvalidArgument, "{name:?}");
    }
    for name in ["a", "A-b_c.9", "...", longest.as_str()] {
        assert!(service.put(one(name, "YQ=="), at(0)).result.is_ok(), "{name:?}");
    }
}

#[test]
fn a_stream_whose_key_is_invalid_accepts_nothing() {
    let invalid_keys = BTreeSet::from(["a".to_owned()]);
    let mut service = service(Rules { invalid_keys, ..rules() }, "{}");
    assert_eq!(kind(service.put(one("a", "YQ=="), at(0))), Kind::InvalidKmsResource);
    assert_eq!(kind(service.put(batch("a", &["YQ=="]), at(0))), Kind::InvalidKmsResource);
    assert_eq!(drain(&mut service), b"");
}

#[test]
fn encrypted_indicates_whether_encryption_was_enabled() {
    for encrypted in [false, true] {
        let mut service = service(Rules { encrypted, ..rules() }, "{}");
        assert_eq!(service.put(one("a", "YQ=="), at(0)).result.unwrap().encrypted, encrypted);
        assert_eq!(service.describe("a", at(0)).unwrap().encrypted, encrypted);
    }
}

#[test]
fn what_is_held_in_memory_is_bounded() {
    let mut service = service(Rules { max_buffered_bytes: 4, ..rules() }, "{}");
    assert!(service.put(one("a", "YWJj"), at(0)).result.is_ok());
    assert_eq!(kind(service.put(one("b", "YWJj"), at(0))), Kind::ServiceUnavailable);
    assert_eq!(service.held_bytes(), 3);
    assert_eq!(drain(&mut service), b"abc");
    assert!(service.put(one("b", "YWJj"), at(0)).result.is_ok());
}

#[test]
fn a_deleted_stream_is_delivered_and_then_gone() {
    let mut service = service(rules(), "{}");
    service.put(one("a", "YQ=="), at(0));
    service.delete("a", at(0)).unwrap();
    assert_eq!(service.describe("a", at(0)).unwrap().phase, Phase::Deleting);
    assert_eq!(kind(service.put(one("a", "Yg=="), at(0))), Kind::ResourceNotFound);
    assert_eq!(service.create("a", at(0)).unwrap_err().kind, Kind::ResourceInUse);

    assert_eq!(drain(&mut service), b"a");
    assert_eq!(service.describe("a", at(0)).unwrap_err().kind, Kind::ResourceNotFound, "use is not enough");
    service.create("a", at(0)).unwrap();
    assert!(service.put(one("a", "Yg=="), at(0)).result.is_ok());
    assert_eq!(service.delete("b", at(0)).unwrap_err().kind, Kind::ResourceNotFound);
}

#[test]
fn there_is_a_limit_of_streams() {
    let mut service = service(rules(), "{}");
    for number in 0..5_000 {
        service.create(&format!("s{number}"), at(0)).unwrap();
    }
    assert_eq!(kind(service.put(one("one-more", "YQ=="), at(0))), Kind::LimitExceeded);
}

#[test]
fn a_closed_service_takes_nothing_more_and_delivers_what_it_took() {
    let mut service = service(rules(), "{}");
    service.put(one("a", "YQ=="), at(0));
    service.close();
    assert_eq!(kind(service.put(one("a", "Yg=="), at(0))), Kind::ServiceUnavailable);
    assert_eq!(service.due(Duration::ZERO).len(), 1, "due at once");
}

#[test]
fn a_flush_reaches_what_was_accepted_before_it() {
    let mut service = service(rules(), "{}");
    service.put(one("a", "YQ=="), at(0));
    let chunks = service.flush();
    service.put(one("a", "Yg=="), at(0));
    assert!(!chunks.iter().all(|chunk| service.reached(chunk)));
    assert_eq!(&service.due(Duration::ZERO)[0].1.data[..], b"a");
    service.delivered("a");
    assert!(chunks.iter().all(|chunk| service.reached(chunk)));
    assert_eq!(service.held_bytes(), 1);
}

#[test]
fn a_fault_before_acceptance_accepts_nothing() {
    for (fault, mode) in [
        ("unavailable", ResponseMode::Proper),
        ("internal", ResponseMode::Proper),
        ("not_found", ResponseMode::Proper),
        ("invalid_key", ResponseMode::Proper),
        ("invalid_argument", ResponseMode::Proper),
        ("access_denied", ResponseMode::Proper),
        ("expired_token", ResponseMode::Proper),
        ("reset_before", ResponseMode::Reset),
        ("hang", ResponseMode::Hang),
        ("html", ResponseMode::Html),
        ("redirect", ResponseMode::Redirect),
    ] {
        let plan = format!(r#"{{"next":[{{"fault":"{fault}","requests":1}}]}}"#);
        let mut service = service(rules(), &plan);
        let answer = service.put(batch("a", &["YQ==", "Yg=="]), at(0));
        assert_eq!(answer.mode, mode, "{fault}");
        assert!(answer.result.is_err(), "{fault}");
        assert_eq!(drain(&mut service), b"", "{fault}");
    }
}

#[test]
fn a_fault_after_acceptance_accepts_everything() {
    for (fault, mode) in [
        ("reset_after", ResponseMode::Reset),
        ("hang_after", ResponseMode::Hang),
        ("truncated", ResponseMode::Truncated),
        ("short", ResponseMode::Short),
    ] {
        let plan = format!(r#"{{"next":[{{"fault":"{fault}","requests":1}}]}}"#);
        let mut service = service(rules(), &plan);
        let answer = service.put(batch("a", &["YQ==", "Yg=="]), at(0));
        assert_eq!(answer.mode, mode, "{fault}");
        assert_eq!(drain(&mut service), b"ab", "{fault}");

        let report = serde_json::to_value(service.report()).unwrap();
        assert_eq!(report["streams"]["a"]["requests"]["PutRecordBatch"][fault], 1, "{report}");
        assert_eq!(report["streams"]["a"]["accepted"]["records"], 2);
        assert_eq!(report["faults"][fault], 1);
    }
}

#[test]
fn a_partly_failed_batch_delivers_exactly_the_records_with_an_id() {
    let mut service = service(rules(), r#"{"rates":{"partial":1}}"#);
    let mut expected = Vec::new();
    for step in 0..50 {
        let texts = ["MA==", "MQ==", "Mg==", "Mw=="];
        let accepted = service.put(batch("a", &texts), at(step)).result.unwrap();
        assert!(accepted.verdicts.iter().any(Result::is_err));
        expected.extend(
            (b'0'..).zip(&accepted.verdicts).filter(|(_, verdict)| verdict.is_ok()).map(|(digit, _)| digit),
        );
    }
    assert_eq!(drain(&mut service), expected);
}

#[test]
fn a_stream_that_is_being_created_takes_nothing_yet() {
    let mut service = service(Rules { creating: Duration::from_millis(500), ..rules() }, "{}");
    service.create("a", at(100)).unwrap();
    assert_eq!(
        service.describe("a", at(599)).unwrap().phase,
        Phase::CreatingUntil(Duration::from_millis(600))
    );
    assert_eq!(kind(service.put(one("a", "YQ=="), at(599))), Kind::ResourceNotFound);
    assert_eq!(service.delete("a", at(599)).unwrap_err().kind, Kind::ResourceInUse);
    assert_eq!(service.describe("a", at(600)).unwrap().phase, Phase::Active);
    assert!(service.put(one("a", "YQ=="), at(600)).result.is_ok());
    assert!(service.put(one("b", "YQ=="), at(600)).result.is_ok(), "what mere use creates is active at once");
}
