//! `report.html`: its numbers, what it must not show, and how a browser shows it.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::net::{Shutdown, TcpListener};
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex};

use omnidesk_sync::sandbox::{Faults, Script, Settings};
use serde_json::Value;

use crate::tools::CHROMIUM;
use crate::world::{HEADER, KEY, RUN, World, rows};

/// A refusal that quotes a customer.
const REFUSAL: &str = r#"
[[answer]]
id = "C7"
status = 400
headers = { Content-Type = "application/json" }
body = '{"status":"error","message":"c7@example.org, +31 6 1234-5678: <img src=http://smuggled.example/a>"}'
"#;

const REJECTED: &str = "X1,Ann,Smit,achternaam.at.example,,,\nX2,Ann,Smit,,,06-1234567,\n";

/// A summary and its page.
struct Report {
    summary: Value,
    page: String,
}

impl Report {
    fn of(world: &World) -> Self {
        let summary = serde_json::from_str(&world.result_text("summary.json")).expect("JSON");
        Self { summary, page: world.result_text("report.html") }
    }
}

/// Of a run with every kind of trouble, and another one before it.
static TROUBLED: LazyLock<Report> = LazyLock::new(|| {
    let faults = Faults::parse("throttle=0.1,error_after=0.1,reset_before=0.1").expect("faults");
    let script = Script::parse(REFUSAL, Path::new("refusal.toml")).expect("a script");
    let settings = Settings { faults, script, ..Settings::default() };
    let notify = "[notify]\nsuccess = \"http://127.0.0.1:9/hush\"\n";
    let world =
        World::new(settings).with_settings(&format!("max_errors = 50\n[guard]\ncanary = 0\n{notify}"));
    world.write_export(&rows(3));
    world.execute(&RUN).expect_code(0);
    world.write_export(&format!("{REJECTED}{}", rows(60)));
    // Long enough for a chart.
    world
        .run_with(&["--rate", "30/s"])
        .expect_code(1)
        .expect_outcomes("56 created, 3 unchanged, 2 rejected, 1 failed");
    Report::of(&world)
});

fn at_path<'a>(summary: &'a Value, path: &str) -> &'a Value {
    let key = |value: &'a Value, key: &str| match key.parse::<usize>() {
        Ok(nth) => &value[nth],
        Err(_) => &value[key],
    };
    path.split('.').fold(summary, key)
}

/// The text between two others, and what comes after it.
fn between<'a>(text: &'a str, from: &str, to: &str) -> Option<(&'a str, &'a str)> {
    text.split_once(from)?.1.split_once(to)
}

/// The numbers of a page by their paths in the summary, as programs and as people read
/// them.
fn numbers(mut page: &str) -> Vec<(String, f64, String)> {
    let mut numbers = Vec::new();
    while let Some((attributes, rest)) = between(page, "<data value=\"", "\">") {
        let (value, key) = attributes.split_once("\" data-key=\"").expect("a key");
        let (text, rest) = rest.split_once("</data>").expect("an end");
        numbers.push((key.to_owned(), value.parse().expect("a number"), text.to_owned()));
        page = rest;
    }
    numbers
}

/// The columns of the tables over time, by their paths in the summary.
fn columns(page: &str) -> Vec<(String, Vec<String>)> {
    let mut columns = Vec::new();
    for table in page.split("<table>").skip(1).filter(|table| table.contains("data-key=\"timeline.")) {
        let (table, _) = table.split_once("</table>").expect("an end");
        let (head, body) = table.split_once("<tbody>").expect("a body");
        let keys = head.split("data-key=\"").skip(1).map(|rest| rest.split('"').next().unwrap_or_default());
        let rows: Vec<Vec<&str>> = body.split("<tr>").skip(1).map(cells).collect();
        // The first column has the times.
        for (nth, key) in keys.enumerate() {
            columns.push((key.to_owned(), rows.iter().map(|row| row[nth + 1].to_owned()).collect()));
        }
    }
    columns
}

fn cells(row: &str) -> Vec<&str> {
    let cells = row.split("<td").skip(1);
    cells.map(|cell| between(cell, ">", "</td>").expect("a cell").0).collect()
}

fn read(text: &str) -> Option<f64> {
    text.replace(',', "").parse().ok()
}

fn assert_numbers(numbers: &[(String, f64, String)], summary: &Value) {
    for (key, value, text) in numbers {
        assert_eq!(at_path(summary, key).as_f64(), Some(*value), "{key}");
        // Times have units.
        assert!(key.contains("seconds") || read(text) == Some(*value), "{key}: {text}");
    }
}

#[test]
fn the_numbers_of_the_page_are_those_of_the_summary() {
    let Report { summary, page } = &*TROUBLED;
    let numbers = numbers(page);
    assert_numbers(&numbers, summary);
    for key in [
        "rows",
        "requests",
        "seconds",
        "sent_again",
        "outcomes.created",
        "outcomes.unchanged",
        "outcomes.rejected",
        "outcomes.failed",
        "before.outcomes.created",
        "before.requests",
        "calls.create",
        "calls.refused",
        "causes.0.count",
        "causes.2.count",
        "answers.median_ms",
        "answers.p95_ms",
        "answers.p99_ms",
    ] {
        assert!(numbers.iter().any(|(other, ..)| other == key), "{key} is not in the page");
    }
    let columns = columns(page);
    assert_eq!(columns.len(), 10);
    for (key, cells) in &columns {
        let list = at_path(summary, key).as_array().expect("a list");
        let expected: Vec<Option<f64>> = list.iter().map(Value::as_f64).collect();
        assert_eq!(cells.iter().map(|cell| read(cell)).collect::<Vec<_>>(), expected, "{key}");
    }
}

/// What is counted by the bucket adds up to what is counted by the call.
#[test]
fn the_buckets_add_up_to_the_totals() {
    let summary = &TROUBLED.summary;
    let timeline = &summary["timeline"];
    let sum = |name: &str| -> u64 {
        timeline[name].as_array().expect("a list").iter().filter_map(Value::as_u64).sum()
    };
    let (requests, calls) = (sum("requests"), sum("calls"));
    assert_eq!(requests, summary["requests"]);
    assert_eq!(requests - calls, summary["sent_again"]);
    // A control request may be refused too, and counts nowhere else.
    assert!(Some(sum("limited")) <= summary["pace"]["refused"].as_u64(), "{timeline}");
    let answers = summary["answers"]["count"].as_u64().expect("a count");
    assert_eq!(answers + sum("limited") + sum("failed"), requests);
    assert!(sum("limited") > 0 && sum("failed") > 0 && answers >= 57, "{timeline}");
    assert!(summary["waits"].as_array().is_some_and(|waits| !waits.is_empty()), "{}", summary["waits"]);
}

#[test]
fn the_page_shows_no_secret_and_names_nobody() {
    let page = &TROUBLED.page;
    for word in ["c7@example", "1234-5678", "achternaam", "1234567", "hush", KEY] {
        assert!(!page.contains(word), "{word} is in {page}");
    }
    // Only the forms.
    for form in ["a9@aaaaaaa.aaa", "+99 9 9999-9999", "aaaaaaaaaa.aa.aaaaaaa", "99-9999999"] {
        assert!(page.contains(form), "{form} is not in {page}");
    }
    assert!(page.contains("&lt;img") && !page.contains("<img"), "{page}");
}

#[test]
fn the_page_loads_nothing() {
    let page = &TROUBLED.page;
    let policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";
    let (_, before) = page.split_once("<head>").expect("a head");
    assert!(before.trim_start().starts_with("<meta charset=\"utf-8\">"), "{page}");
    assert!(page.contains(&format!("<meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\">")));
    for way in ["src=\"", "href", "url(", "@import", "javascript:"] {
        assert!(!page.to_lowercase().contains(way), "{way} is in {page}");
    }
    let tags = page.split('<').skip(1).map(|tag| tag.split([' ', '>', '\n']).next().unwrap_or_default());
    let tags: BTreeSet<&str> = tags.map(|tag| tag.trim_start_matches('/')).collect();
    let loading = [
        "script", "img", "link", "iframe", "object", "embed", "video", "audio", "image", "use", "base",
        "form",
    ];
    assert!(loading.iter().all(|tag| !tags.contains(tag)) && tags.contains("svg"), "{tags:?}");
}

#[test]
fn the_page_of_a_resumed_run_says_what_its_charts_cover() {
    let world = World::with_latency_ms(5);
    world.write_export(&rows(60));
    world.kill_after(10, &["run", "--concurrency", "2", "export.csv"]);
    world.execute(&RUN).expect_code(0);
    let Report { summary, page } = Report::of(&world);
    assert!(page.contains("cover the time since the run was resumed"), "{page}");
    let requests = summary["timeline"]["requests"].as_array().expect("a list").iter();
    let requests: u64 = requests.filter_map(Value::as_u64).sum();
    assert!(requests < world.requests() && requests == summary["requests"], "{requests}");
}

#[test]
fn a_page_names_the_overridden_guards_and_what_to_do() {
    let world = World::default();
    world.write_export(&rows(40));
    world.execute(&RUN).expect_code(0);
    world.file("export.csv", format!("{HEADER}{}", rows(10)).as_bytes());
    world.run_with(&["--min-rows", "10"]).expect_code(0);
    let Report { summary, page } = Report::of(&world);
    let guards = summary["guards"].as_array().expect("guards");
    let verdict =
        |name: &str| guards.iter().find(|guard| guard["guard"] == name).map(|guard| &guard["verdict"]);
    assert_eq!(verdict("min_rows"), Some(&"overridden".into()));
    assert_eq!(verdict("max_changes"), Some(&"passed".into()));
    assert!(page.contains("Nothing to do: 10 rows") && page.contains("looks truncated"), "{page}");
}

/// A page of files, in a browser that sends all that it would load to a proxy here.
struct Browser {
    proxy: TcpListener,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Browser {
    fn new() -> Self {
        let proxy = TcpListener::bind("127.0.0.1:0").expect("a port");
        let requests: Arc<Mutex<Vec<String>>> = Arc::default();
        let (listener, log) = (proxy.try_clone().expect("a listener"), Arc::clone(&requests));
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let mut line = String::new();
                let _ = BufReader::new(&connection).read_line(&mut line);
                log.lock().expect("a log").push(line);
                let _ = connection.shutdown(Shutdown::Both);
            }
        });
        Self { proxy, requests }
    }

    /// The document after its scripts have run.
    fn document(&self, page: &Path) -> String {
        let profile = tempfile::TempDir::new().expect("a folder");
        let mut browser = CHROMIUM.command();
        browser.args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--proxy-bypass-list=<-loopback>",
            "--allow-file-access-from-files",
            "--virtual-time-budget=3000",
            "--dump-dom",
        ]);
        let port = self.proxy.local_addr().expect("a port").port();
        browser.arg(format!("--proxy-server=http://127.0.0.1:{port}"));
        browser.arg(format!("--user-data-dir={}", profile.path().display()));
        let output = browser.arg(format!("file://{}", page.display())).output().expect("a browser");
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// What a page asked for, and not the browser for itself.
    fn requests_to(&self, host: &str) -> usize {
        let requests = self.requests.lock().expect("a log");
        requests.iter().filter(|line| line.contains(host)).count()
    }
}

/// Shows a page 360 pixels wide, and writes what is measured there.
const FRAME: &str = r#"<!doctype html><meta charset="utf-8"><body>
<iframe id="page" style="width:360px;height:800px;border:0" src="PAGE"></iframe><pre id="measured"></pre>
<script>
onload = () => {
  const page = document.getElementById("page").contentDocument;
  const shown = [...page.querySelectorAll("data[data-key]")];
  measured.textContent = JSON.stringify({
    title: page.title,
    scripts: page.scripts.length,
    width: page.documentElement.scrollWidth,
    window: page.documentElement.clientWidth,
    charts: [...page.querySelectorAll("svg[role=img]")].map(svg => svg.getBoundingClientRect().width),
    numbers: shown.map(data => [data.dataset.key, Number(data.value), data.innerText, data.getClientRects().length]),
  });
};
</script>"#;

#[test]
fn a_browser_shows_the_numbers_on_a_phone_and_loads_nothing() {
    if !CHROMIUM.is_here() {
        return;
    }
    let (world, browser) = (World::default(), Browser::new());
    let Report { summary, page } = &*TROUBLED;
    // The proxy would see it.
    let leak = "<img src=\"http://leaked.example/a.png\">";
    browser.document(&world.file("leak.html", format!("<!doctype html>{leak}").as_bytes()));
    assert!(browser.requests_to("leaked.example") > 0, "{:?}", browser.requests);
    // Whatever a text might smuggle into the page, its policy stops it.
    let smuggled = "<img src=\"http://smuggled.example/a.png\"><style>@import \"http://smuggled.example/b\";</style><script>document.title = \"obeyed\"</script>";
    for (name, page) in [("page.html", page.clone()), ("smuggled.html", page.replace("<main>", smuggled))] {
        let path = world.file(name, page.as_bytes());
        let frame = FRAME.replace("PAGE", &format!("file://{}", path.display()));
        let document = browser.document(&world.file("frame.html", frame.as_bytes()));
        let (measured, _) = between(&document, "<pre id=\"measured\">", "</pre>").expect(&document);
        let measured: Value =
            serde_json::from_str(&measured.replace("&lt;", "<").replace("&amp;", "&")).expect("JSON");
        assert_eq!(measured["width"], measured["window"], "it scrolls sideways");
        let charts = measured["charts"].as_array().expect("charts");
        assert!(charts.len() >= 2 && charts.iter().all(|width| width.as_f64() > Some(200.0)), "{charts:?}");
        assert!(
            measured["title"].as_str().is_some_and(|title| title.starts_with("export.csv: ")),
            "{measured}"
        );
        let shown = measured["numbers"].as_array().expect("numbers").iter();
        let shown: Vec<(String, f64, String)> = shown
            .map(|number| {
                assert!(number[3].as_u64() > Some(0), "{number} is not shown");
                let text = |nth: usize| number[nth].as_str().unwrap_or_default().to_owned();
                (text(0), number[1].as_f64().unwrap_or_default(), text(2))
            })
            .collect();
        assert_eq!(shown.len(), numbers(&page).len());
        assert_numbers(&shown, summary);
    }
    assert_eq!(browser.requests_to("smuggled.example"), 0, "{:?}", browser.requests);
}
