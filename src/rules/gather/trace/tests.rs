//! Traces as programs print them, with lines of the log around them.

use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::super::{Line, LineAggregator};
use super::*;
use crate::model::message::{ChunkEnd, Continues};
use crate::model::offset::{Offset, Span};
use crate::model::settings::{Grouping, Multiline};

/// The messages of `text`, of which `step` lines are read at once, and more when that was not enough.
fn messages(preset: Preset, text: &str, max_lines: usize, step: usize) -> Vec<String> {
    let multiline =
        Multiline { grouping: Grouping::Traces(preset), max_lines, timeout: Duration::from_secs(2) };
    let mut at = Offset::ZERO;
    let lines: Vec<_> = text
        .split_terminator('\n')
        .map(|line| {
            let span = Span::new(at, at.plus(line.len() as u64 + 1));
            at = span.end();
            let content = Bytes::copy_from_slice(line.as_bytes());
            Line { span, content, metadata: None, is_partial: false }
        })
        .collect();
    let (mut from, mut len, mut found) = (0, step, Vec::new());
    while from < lines.len() {
        let to = (from + len).min(lines.len());
        let start = lines[from].span.start();
        let mut gather = LineAggregator::new(Some(&multiline), 100_000, start, Continues::default());
        lines[from..to].iter().for_each(|line| gather.take(line.clone()));
        gather.end(if to == lines.len() { ChunkEnd::Closed } else { ChunkEnd::Open });
        let texts = std::iter::from_fn(|| gather.pop());
        found.extend(texts.map(|message| String::from_utf8(message.content.to_vec()).expect("text")));
        let out = lines[from..to].iter().take_while(|line| line.span.end() <= gather.covered()).count();
        len = if out == 0 { len + 1 } else { step };
        from += out;
    }
    found
}

/// Whether each of `records` is a message of its own when they stand one behind the other, however they are read.
fn stay_apart(preset: Preset, records: &[&str]) {
    let text: String = records.iter().map(|record| format!("{record}\n")).collect();
    for step in [1, 2, 3, 7, 1_000] {
        assert_eq!(messages(preset, &text, 500, step), records, "{preset:?}, {step} lines at once");
    }
    let text = text.replace('\n', "\r\n");
    let records: Vec<_> =
        records.iter().map(|record| format!("{}\r", record.replace('\n', "\r\n"))).collect();
    assert_eq!(messages(preset, &text, 500, 1_000), records, "{preset:?} with CRLF");
}

#[test]
fn java() {
    stay_apart(
        Preset::Java,
        &[
            "2026-11-24 08:15:42,001 INFO  [main] c.e.Shop - started at noon (UTC)",
            "2026-11-24 08:15:43,102 ERROR [http-1] c.e.Shop - order 17 failed",
            "java.lang.IllegalStateException: no stock\n\
             \tat com.example.Shop.order(Shop.java:42) ~[shop.jar:1.0]\n\
             \tat java.base/jdk.internal.reflect.DirectMethodHandleAccessor.invoke(DirectMethodHandleAccessor.java:103)\n\
             \tat com.example.Shop$$Lambda/0x00007f1.run(Unknown Source)\n\
             \tSuppressed: java.io.IOException: close failed\n\
             \t\tat com.example.Pool.close(Pool.java:9)\n\
             \t\t... 3 more\n\
             \tCaused by: java.net.SocketException: reset\n\
             \t\t... 4 more\n\
             Caused by: com.example.StockException: empty\n\
             \tat com.example.Stock.take(Stock.java:7)\n\
             \t... 12 more\n\
             Caused by: java.sql.SQLException: gone\n\
             \tat org.driver.Connection.read(Native Method)\n\
             \t... 14 common frames omitted",
            "2026-11-24 08:15:43,103 INFO  [http-1] c.e.Shop - next",
            "Exception in thread \"main\" java.lang.NullPointerException\n\
             \tat com.example.Main.main(Main.java:5)",
            "",
            "  an indented line of the log",
            "org.example.Outer$InnerException: first\n    at app//org.example.Outer.run(Outer.kt:3)",
            "org.example.Outer$InnerException: second\n    at app//org.example.Outer.run(Outer.kt:3)",
            "done",
        ],
    );
}

#[test]
fn python() {
    let first = "Traceback (most recent call last):\n  \
                 File \"/app/shop.py\", line 4, in order\n    \
                 stock[key]\n    \
                 ~~~~~^^^^^\n  \
                 [Previous line repeated 996 more times]\n\
                 KeyError: 'apples'";
    let during = format!(
        "{first}\n\nDuring handling of the above exception, another exception occurred:\n\n{}",
        first.replace("KeyError: 'apples'", "shop.errors.Empty: no apples")
    );
    let cause = format!(
        "{first}\n\nThe above exception was the direct cause of the following exception:\n\n{}",
        first.replace("KeyError: 'apples'", "KeyboardInterrupt")
    );
    let group = "  + Exception Group Traceback (most recent call last):\n  \
                 |   File \"a.py\", line 1, in <module>\n  \
                 | ExceptionGroup: two (2 sub-exceptions)\n  \
                 +-+---------------- 1 ----------------\n    \
                 | ValueError: 1\n    \
                 +---------------- 2 ----------------\n    \
                 | TypeError: 2\n    \
                 +------------------------------------";
    stay_apart(
        Preset::Python,
        &[
            "2026-11-24 08:15:42 INFO started",
            "ERROR:root:order failed",
            first,
            "INFO: the line behind it",
            &during,
            "2026-11-24 08:15:43 INFO next",
            &cause,
            "app.worker: and a name that could be an exception's",
            group,
            "KeyError: said by no trace",
            "  an indented line of the log",
            "  File \"/app/bad.py\", line 3\n    foo(\n       ^\nSyntaxError: '(' was never closed",
            "[2026-11-24 08:15:44] [7] [ERROR] Traceback (most recent call last):\n  \
             File \"x.py\", line 1, in <module>\nmodule.Outer.<locals>.Error: x\n",
            "INFO after an empty line",
            "Traceback (most recent call last):\n  File \"x.py\", line 1, in <module>",
            "2026-11-24 08:15:45 INFO in the place of the exception's name",
        ],
    );
}

#[test]
fn go() {
    let frames = "main.(*Shop).order(0xc000012120, {0x4b3f1d, 0x6})\n\
                  \t/src/shop.go:42 +0x1d\n\
                  main.Map[...](...)\n\
                  \t/src/map.go:7\n\
                  panic({0x45c120?, 0xc0000140?})\n\
                  \t/usr/lib/go/src/runtime/panic.go:770 +0x132\n\
                  github.com/example/pkg%2ev2.(*T[...]).Run.func1()\n\
                  \t/src/run.go:3 +0x20";
    let panic = format!(
        "panic: runtime error: invalid memory address or nil pointer dereference [recovered]\n\
         \tpanic: second\n\
         [signal SIGSEGV: segmentation violation code=0x1 addr=0x0 pc=0x45c1d2]\n\n\
         goroutine 1 [running]:\n{frames}\nexit status 2"
    );
    let dump = format!(
        "SIGQUIT: quit\nPC=0x46a1e1 m=0 sigcode=0\n\n\
         goroutine 1 gp=0xc0000061c0 m=0 mp=0x5a [chan receive, 5 minutes]:\n{frames}\n\n\
         goroutine 18 [select]:\n{frames}\n\
         created by net/http.(*Server).Serve in goroutine 1\n\
         \t/usr/lib/go/src/net/http/server.go:3285 +0x4b4\n\
         ...additional frames elided...\n\n\
         rax    0xca\nr10    0x0\nrip    0x46a1e1"
    );
    let served = format!(
        "2026/11/24 08:15:42 http: panic serving 10.0.0.1:4711: boom\ngoroutine 19 [running]:\n{frames}"
    );
    let deadlock = "fatal error: all goroutines are asleep - deadlock!\n\ngoroutine 1 [chan receive]:\nmain.main()\n\t/src/x.go:5 +0x1";
    stay_apart(
        Preset::Go,
        &[
            "2026/11/24 08:15:42 started",
            &panic,
            "2026/11/24 08:15:43 served a call (in 5ms)",
            "\ttabbed line of the log",
            &dump,
            "2026/11/24 08:15:44 next",
            &served,
            "{\"level\":\"info\",\"call\":\"f(x)\"}",
            deadlock,
            "2026/11/24 08:15:45 last",
            "exit status 1",
        ],
    );
}

#[test]
fn ruby() {
    stay_apart(
        Preset::Ruby,
        &[
            "I, [2026-11-24T08:15:42 #7]  INFO -- : started",
            "shop.rb:4:in `order': no stock (RuntimeError)\n\
             \tfrom shop.rb:9:in `block (2 levels) in run'\n\
             \tfrom /usr/lib/ruby/3.0.0/thread.rb:1:in `each'\n\
             \tfrom shop.rb:12:in `<main>'\n\
             shop.rb:2:in `take': empty (KeyError)\n\
             \tfrom shop.rb:3:in `order'",
            "I, [2026-11-24T08:15:43 #7]  INFO -- : next",
            "shop.rb:4:in 'Shop#order': undefined method 'take' for nil (NoMethodError)\n\n    \
             stock.take\n         ^^^^^\nDid you mean?  tape\n               tale\n\
             \tfrom shop.rb:12:in '<main>'",
            "E, [2026-11-24T08:15:44 #7] ERROR -- : no stock (RuntimeError)\n\
             /app/shop.rb:4:in 'Shop#order'\n\
             /app/shop.rb:12:in '<main>'",
            "I, [2026-11-24T08:15:44 #7]  INFO -- : and 'quoted'",
            "Traceback (most recent call last):\n\
             \t1: from shop.rb:12:in `<main>'\n\
             shop.rb:4:in `order': no stock (RuntimeError)",
            "plain",
            "#<Thread:0x00007f shop.rb:1 run> terminated with exception (report_on_exception is true):\n\
             shop.rb:4:in 'order': boom (RuntimeError)\n\tfrom shop.rb:1:in 'block in <main>'",
            "last",
        ],
    );
}

#[test]
fn node() {
    stay_apart(
        Preset::Node,
        &[
            "GET / 200 at 5 ms {",
            "/app/shop.js:10\n    throw new Error('no stock');\n    ^\n\n\
             Error: no stock\n    at order (/app/shop.js:10:9)\n    \
             at Promise.all (index 0)\n    at node:internal/main/run_main_module:28:49 {\n  \
             code: 'E_STOCK',\n  [cause]: TypeError: empty\n      at take (/app/stock.js:3:1) {\n    \
             status: 5\n  }\n}\n\nNode.js v22.1.0",
            "GET /a 200",
            "TypeError: x is not a function\n    at Object.<anonymous> (/app/x.js:1:2)\n    \
             ... 3 lines matching cause stack trace ...\n\
             Caused by: Error: inner\n    at f (/app/y.js:1:2)",
            "GET /b 200",
            "[AggregateError: two] {\n  [errors]: [\n    Error: 1\n        at a (/app/a.js:1:1)\n  ]\n}",
            "{",
            "  indented",
            "}",
            "file:///app/top.mjs:1\nthrow new Error('x')\n      ^\n\nError: x\n    at file:///app/top.mjs:1:7\n",
            "last",
        ],
    );
}

#[test]
fn rust() {
    let frames = "   0: rust_begin_unwind\n             \
                  at /rustc/9fc6b4/library/std/src/panicking.rs:645:5\n   \
                  1: shop::order\n             at ./src/main.rs:2:5\n      \
                  [... omitted 3 frames ...]";
    let panic = format!(
        "thread 'main' (4711) panicked at src/main.rs:2:5:\nassertion `left == right` failed: stock\n  left: 1\n right: 2\n\
         stack backtrace:\n{frames}\nnote: Some details are omitted, run with `RUST_BACKTRACE=full` for a verbose backtrace."
    );
    let error = format!(
        "Error: no order\n\nCaused by:\n    0: no stock\n    1: empty\n\nLocation:\n    src/main.rs:7:1\n\nStack backtrace:\n{frames}"
    );
    stay_apart(
        Preset::Rust,
        &[
            "2026-11-24T08:15:42Z  INFO shop: started",
            "thread 'main' panicked at src/main.rs:2:5:\nno stock\n\
             note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace",
            "2026-11-24T08:15:43Z  INFO shop: next",
            &panic,
            "2026-11-24T08:15:44Z  INFO shop: next",
            "thread 'worker-1' panicked at 'no stock', src/main.rs:2:5\n\
             note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace",
            "  an indented line of the log",
            &error,
            "2026-11-24T08:15:45Z ERROR shop: failed",
            "thread 'main' has overflowed its stack\nfatal runtime error: stack overflow",
            "Error: alone",
            "last",
        ],
    );
}

#[test]
fn a_trace_that_is_cut_by_its_length_goes_on_in_the_next_message_from_any_start() {
    let text = "java.lang.Error: x\n\tat a.A.a(A.java:1)\n\tat a.A.b(A.java:2)\n\tat a.A.c(A.java:3)\nend\n";
    for step in [1, 2, 1_000] {
        let expected =
            ["java.lang.Error: x\n\tat a.A.a(A.java:1)", "\tat a.A.b(A.java:2)\n\tat a.A.c(A.java:3)", "end"];
        assert_eq!(messages(Preset::Java, text, 2, step), expected);
    }
}

/// Lines of every language, in any order: what is a message depends on no read's end, and no line is lost.
const POOL: [&str; 30] = [
    "",
    "log",
    "  indented",
    "}",
    "{",
    "\tat a.A.a(A.java:1)",
    "Caused by: x",
    "java.lang.Error: x",
    "Traceback (most recent call last):",
    "  File \"x.py\", line 1",
    "ValueError: x",
    "During handling of the above exception, another exception occurred:",
    "panic: x",
    "goroutine 1 [running]:",
    "main.main()",
    "\t/x.go:1 +0x1",
    "exit status 2",
    "x.rb:1:in 'y': z (Error)",
    "\tfrom x.rb:1:in 'y'",
    "   ^^^",
    "/app/x.js:1",
    "Error: x",
    "    at f (x.js:1:2)",
    "    at f (x.js:1:2) {",
    "Node.js v22.1.0",
    "thread 'main' panicked at x.rs:1:2:",
    "note: run with `RUST_BACKTRACE=1`",
    "stack backtrace:",
    "   0: main",
    "Caused by:",
];

proptest! {
    #[test]
    fn l2_where_a_trace_ends_depends_on_no_read_and_no_line_is_lost(
        lines in prop::collection::vec(0..POOL.len(), 1..60),
        preset in prop::sample::select(&Preset::ALL[..]),
        max_lines in 1..8_usize,
        step in 1..20_usize,
    ) {
        let text: String = lines.iter().map(|line| format!("{}\n", POOL[*line])).collect();
        let at_once = messages(preset.1, &text, max_lines, 1_000);
        prop_assert_eq!(&messages(preset.1, &text, max_lines, step), &at_once);
        prop_assert_eq!(at_once.iter().map(|message| format!("{message}\n")).collect::<String>(), text);
        prop_assert!(at_once.iter().all(|message| message.matches('\n').count() < max_lines));
    }
}

/// Where no line can follow, none is waited for.
#[test]
fn a_line_that_begins_no_trace_is_complete_at_once_where_its_language_says_how_traces_begin() {
    for (_, preset) in Preset::ALL {
        let machine = Machine::of(preset);
        let waits = matches!(preset, Preset::Java | Preset::Ruby | Preset::Node);
        let state = machine.begin(b"2026-11-24 INFO started");
        assert_eq!((state, machine.goes_on(state)), (PLAIN, waits), "{preset:?}");
    }
    let go = Machine::of(Preset::Go);
    let end = go.step(go.begin(b"panic: x"), b"exit status 2").expect("the end");
    assert!(!go.goes_on(end));
}

#[test]
fn every_state_of_a_table_is_one_that_a_row_leads_to() {
    for table in [JAVA, PYTHON, GO, RUBY, NODE, RUST] {
        let to: Vec<_> = table.iter().map(|(_, _, to)| *to).chain([ANY, BEGIN]).collect();
        for state in table.iter().flat_map(|(from, ..)| *from) {
            assert!(to.contains(state), "{state}");
        }
        assert!(to.len() < 60, "states are bits");
    }
}
