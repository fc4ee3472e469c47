use super::*;

fn args(price_per_gb: f64) -> CostArgs {
    CostArgs { config: None, url: Vec::new(), price_per_gb, compression_ratio: 4.0, json: false }
}

/// A daemon that has delivered records, up for so many seconds.
fn status(uptime_seconds: f64, stream: &serde_json::Value) -> Status {
    let axes = serde_json::json!({"requests": 0.0, "records": 0.0, "bytes": 0.0});
    let mut whole = serde_json::json!({
        "name": "logs", "delivery_stream": "logs-1", "state": "idle", "in_flight_requests": 0, "waiting_records": 0,
        "used": axes, "rate": axes, "quota": axes, "share": 0.9, "adaptive_factor": 1.0, "adaptive": true,
        "requests": 1, "throttled": 0, "retries": {}, "dead_letters": 0,
    });
    for (key, value) in stream.as_object().expect("an object") {
        whole[key] = value.clone();
    }
    serde_json::from_value(serde_json::json!({
        "version": "x", "uptime_seconds": uptime_seconds, "ready": true, "reasons": [], "streams": [whole],
        "sources": [], "files": [], "unread": [], "buffered_bytes": 0, "watching": "full", "watch_overflows": 0,
        "checkpoint": {"age_seconds": 0.0, "commits": 1, "failures": 0},
    }))
    .expect("an answer")
}

fn cost_of(args: &CostArgs, status: &Status) -> Cost {
    Cost::of(args, "127.0.0.1:9909", status, &status.streams[0])
}

#[test]
fn a_day_and_a_month_are_the_average_since_the_start() {
    let args = args(0.5);
    let stream = serde_json::json!({
        "records_delivered": 1 << 20, "bytes_delivered": 1_u64 << 30, "billed_bytes": 5_u64 << 30,
    });
    let status = status(3.0 * 3600.0, &stream);
    let cost = cost_of(&args, &status);
    assert_eq!((cost.dollars, cost.dollars_a_day, cost.dollars_a_month), (2.5, 20.0, 600.0));
    assert_eq!((cost.packing.part, cost.packing.dollars_a_month), (Some(0.8), Some(480.0)));
    assert_eq!((cost.compression.part, cost.compression.ratio), (Some(0.95), Some(4.0)));
    let page = page(&args, &[cost]);
    for said in [
        "since the start 3 h ago: 1048576 records, 1.000 GB delivered, 5.000 GB billed: $2.50",
        "at this rate: $20.00 a day, $600.00 a month",
        "packing would save up to 80 %: $480.00 a month",
        "up to 95 %: $570.00 a month, if records become 4 times smaller (assumed)",
        "costs $0.5 (as --price-per-gb says)",
    ] {
        assert!(page.contains(said), "{said}\n{page}");
    }
}

#[test]
fn what_compression_saves_is_measured_where_it_is_on() {
    let stream = serde_json::json!({
        "records_delivered": 1000, "bytes_delivered": 1_u64 << 30, "billed_bytes": 1_u64 << 30,
        "file_bytes_delivered": 5_u64 << 30, "packing": true, "compression": "gzip",
    });
    let args = args(PRICE_PER_GB);
    let cost = cost_of(&args, &status(DAY, &stream));
    assert_eq!((cost.packing.is_on, cost.packing.part), (true, None));
    assert_eq!((cost.compression.ratio, cost.compression.part), (Some(5.0), Some(0.8)));
    let page = page(&args, &[cost]);
    assert!(
        page.contains("5.0 times smaller than what they hold of files (measured), which saves 80 %"),
        "{page}"
    );
    assert!(page.contains("us-east-1"), "{page}");
}

#[test]
fn nothing_is_said_of_what_was_not_delivered() {
    let stream = serde_json::json!({"records_delivered": 0, "bytes_delivered": 0, "billed_bytes": 0, "name": "a\u{1b}[2J"});
    let args = args(PRICE_PER_GB);
    let cost = cost_of(&args, &status(0.0, &stream));
    assert_eq!((cost.dollars_a_day, cost.packing.part), (0.0, None));
    let page = page(&args, &[cost]);
    assert!(page.contains("nothing was delivered") && !page.contains("at this rate"), "{page}");
    assert!(!page.contains('\u{1b}'), "{page}");
}
