//! `doctor`: what it checks, and that a job works with the settings it prints.

use std::num::NonZeroU32;
use std::path::Path;
use std::time::Duration;

use omnidesk_sync::sandbox::{
    BodyForm, Customer, Duplicates, KeyPlace, RateLimit, Sandbox, Script, Settings, Statuses, Wording,
};
use serde_json::Value;

use crate::server::{CONTROL, Ending, Server, free_port, no_answer, success};
use crate::tls::{Authority, FirstRequest, TlsServer};
use crate::world::{CommandOutput, KEY, World, open_checkpoint};

const WRITE: [&str; 4] = ["doctor", "--write", "--brand", "2"];
const RECORD: &str = "omnidesk-sync.checkpoint.doctor";

/// A server that wants the key.
fn settings() -> Settings {
    Settings { api_key: Some(KEY.into()), ..Settings::default() }
}

fn statuses(list: &str) -> Statuses {
    Statuses::parse(list).expect("statuses")
}

fn with_status(status: u16) -> Settings {
    let statuses = statuses(&format!("all={status},key=401,invalid=400"));
    Settings { wording: Wording::Code, statuses, ..settings() }
}

fn scripted(rules: &str) -> Settings {
    Settings { script: Script::parse(rules, Path::new("rules.toml")).expect("a script"), ..settings() }
}

/// Customers who exist, others who do not, and purges of both, by a checkpoint that
/// knows none of them. Returns the outcomes and what the server holds then.
fn job(world: &World) -> (String, Vec<Customer>) {
    let base: String =
        (0..6).map(|id| format!("C{id},Ann,Smit,c{id}@example.org,c{id}@example.net,,create\n")).collect();
    world.run(&base).expect_code(0).expect_outcomes("6 created");
    for name in ["omnidesk-sync.checkpoint", "omnidesk-sync.checkpoint.lock"] {
        std::fs::remove_file(world.path(name)).expect("removed");
    }
    let changed = base.replace("Ann", "Bob");
    let unknown: String =
        (0..4).map(|id| format!("U{id},Eva,Kok,u{id}@example.org,,0612345{id}78,update\n")).collect();
    let purges = "C5,,,,,,purge\nX1,,,,,,purge\n";
    world.write_export(&format!("{changed}{unknown}{purges}"));
    let output = world.run_with(&["--allow-purge", "--new-checkpoint"]);
    (output.outcomes(), world.state().customers)
}

/// Puts the printed settings in the place of the section's first line.
fn apply(world: &World, printed: &str) {
    assert!(printed.starts_with("[omnidesk]\n"), "{printed}");
    world.edit_config("[omnidesk]\n", printed);
}

/// With the printed settings, the job ends as on a server of the English default.
fn expect_learned(settings: &Settings, printed: &str) {
    let expected = job(&World::new(self::settings()));
    assert!(expected.0.contains("updated"), "{}", expected.0);
    let world = World::new(settings.clone());
    let output = world.execute(&WRITE).expect_code(0);
    assert_eq!(output.stdout, printed, "{}", output.stderr);
    assert_eq!(world.state().customers, [], "a test customer is still there");
    apply(&world, &output.stdout);
    assert_eq!(job(&world), expected);
    world.execute(&["doctor"]).expect_code(0);
}

/// What is learned of a server that refuses with codes.
const CODES: &str =
    "exists_texts = [\"e exists\", \"e channel exists\"]\nnot_found_texts = [\"e not found\"]\n";

const PLAIN: &str = "[omnidesk]\nauth = \"header\"\nbody = \"json\"\n";

#[test]
fn a_job_works_with_what_was_learned_of_a_server_that_answers_404() {
    expect_learned(&with_status(404), &format!("{PLAIN}{CODES}"));
}

#[test]
fn a_job_works_with_what_was_learned_of_a_server_that_answers_409() {
    expect_learned(&with_status(409), &format!("{PLAIN}{CODES}"));
}

#[test]
fn a_job_works_with_what_was_learned_of_a_server_that_answers_422() {
    expect_learned(&with_status(422), &format!("{PLAIN}{CODES}"));
}

#[test]
fn a_job_works_with_what_was_learned_of_a_server_whose_errors_have_status_200() {
    let settings = Settings { wording: Wording::Code, statuses: statuses("all=200"), ..settings() };
    expect_learned(&settings, &format!("{PLAIN}{CODES}"));
}

#[test]
fn a_job_works_with_what_was_learned_of_a_server_without_words() {
    let settings = Settings { wording: Wording::None, ..settings() };
    expect_learned(&settings, &format!("{PLAIN}exists_status = [409]\nnot_found_status = [404]\n"));
}

#[test]
fn a_job_works_with_what_was_learned_of_a_dutch_server() {
    expect_learned(&Settings { wording: Wording::Dutch, ..settings() }, PLAIN);
}

#[test]
fn a_job_works_with_what_was_learned_of_a_server_that_wants_forms() {
    let printed = PLAIN.replace("json", "form");
    expect_learned(&Settings { body: Some(BodyForm::Form), ..settings() }, &printed);
}

#[test]
fn a_job_works_with_what_was_learned_of_a_server_that_wants_the_key_in_the_query() {
    let settings = Settings { key_place: Some(KeyPlace::Query), ..settings() };
    expect_learned(&settings, &PLAIN.replace("header", "query"));
    // Errors with 200 do not say that it is the key that they refuse.
    let settings = Settings {
        wording: Wording::Code,
        statuses: statuses("all=200"),
        body: Some(BodyForm::Form),
        ..settings
    };
    let printed = PLAIN.replace("header", "query").replace("json", "form");
    expect_learned(&settings, &format!("{printed}{CODES}"));
}

/// Without what was learned, the same job has another result.
#[test]
fn the_job_of_these_tests_needs_the_settings() {
    let expected = job(&World::new(settings()));
    for settings in [with_status(404), Settings { wording: Wording::None, ..settings() }] {
        assert_ne!(job(&World::new(settings)), expected);
    }
}

#[test]
fn answers_that_cannot_be_told_apart_make_no_setting() {
    let same = |list| Settings { wording: Wording::None, statuses: statuses(list), ..settings() };
    for (settings, learned, reason) in [
        // Everything is a bare 400, also what is invalid.
        (same("all=400"), PLAIN.to_owned(), "gets the same answer"),
        // An address of another customer would count as added.
        (
            same("address_elsewhere=409"),
            format!("{PLAIN}not_found_status = [404]\n"),
            "an address of another customer gets the same answer",
        ),
        // An invalid create would count as one of a customer who exists.
        (
            same("exists=422,address_exists=422,address_elsewhere=423,invalid=422"),
            format!("{PLAIN}not_found_status = [404]\n"),
            "an invalid create gets the same answer",
        ),
    ] {
        let world = World::new(settings);
        let output = world.execute(&WRITE).expect_code(1).expect_stderr("not learned").expect_stderr(reason);
        assert_eq!(output.stdout, learned);
        assert_eq!(world.state().customers, []);
    }
}

#[test]
fn words_that_could_be_any_refusals_are_not_learned() {
    let rule = |call, message| {
        let body = format!(r#"{{"status":"error","message":"{message}"}}"#);
        format!("[[answer]]\ncall = \"{call}\"\nid = \"*-5\"\nstatus = 400\nbody = '{body}'\n")
    };
    let rules: String =
        ["update", "add-channel", "purge"].map(|call| rule(call, "Invalid request!")).concat();
    let world = World::new(scripted(&rules));
    let output = world.execute(&WRITE).expect_code(1).expect_stderr("these words could be any refusal's");
    assert_eq!(output.stdout, PLAIN);
}

#[test]
fn words_that_differ_from_call_to_call_become_a_star() {
    let rule = |id, call, number| {
        let body = format!(r#"{{"status":"error","message":"Record is missing (request {number})"}}"#);
        format!("[[answer]]\ncall = \"{call}\"\nid = \"{id}\"\nstatus = 400\nbody = '{body}'\n")
    };
    let rules: String =
        [rule("*-5", "update", "7f3"), rule("*-5", "add-channel", "81c"), rule("*-5", "purge", "a00")]
            .concat();
    let output = World::new(scripted(&rules)).execute(&WRITE).expect_code(0);
    assert_eq!(output.stdout, format!("{PLAIN}not_found_texts = [\"record missing request *\"]\n"));
}

#[test]
fn a_server_that_makes_doubles_is_something_to_look_at() {
    let world = World::new(Settings { duplicates: Duplicates::Allow, ..settings() });
    let output = world.execute(&WRITE).expect_code(1);
    output.expect_stderr("a create of a customer who exists is accepted").expect_stderr("adopt");
    assert_eq!(world.state().customers, []);
}

#[test]
fn an_interrupted_trial_is_cleaned_up_by_the_next() {
    for requests in [3, 7, 12, 20] {
        let world = World::new(Settings { latency: Duration::from_millis(2), ..settings() });
        world.kill_after(requests, &WRITE);
        assert!(world.path(RECORD).exists(), "after {requests} requests");
        let record = world.read(RECORD);
        assert!(!record.contains(KEY) && record.contains("omnidesk-sync-test-"), "{record}");
        let output = world.execute(&["doctor"]).expect_code(1);
        assert!(output.stdout.contains("an interrupted trial may not have purged omnidesk-sync-test-"));
        world.execute(&WRITE).expect_code(0);
        assert_eq!(world.state().customers, [], "after {requests} requests");
        assert!(!world.path(RECORD).exists());
    }
}

#[test]
fn a_customer_whom_the_api_does_not_purge_is_named() {
    let world = World::new(scripted(
        "[[answer]]\ncall = \"purge\"\nid = \"*-1\"\nstatus = 403\nbody = '{\"status\":\"error\",\"message\":\"No permission.\"}'\n",
    ));
    let output = world.execute(&WRITE).expect_code(1).expect_stderr("purge is refused, status 403");
    let customers = world.state().customers;
    assert_eq!(customers.len(), 1);
    let id = &customers[0].id.primary_id;
    output.expect_stderr(&format!("perhaps still in Omnidesk (status 403: No permission.): {id} of brand 2"));
    assert!(world.read(RECORD).contains(id));
}

#[test]
fn no_call_is_made_in_another_brand() {
    let world = World::new(settings());
    world.execute(&["doctor", "--write"]).expect_code(2).expect_stderr("--brand");
    assert_eq!(world.requests(), 0);
    world.execute(&["doctor", "--write", "--brand", "7"]).expect_code(0);
    let log = world.log();
    assert!(log.len() > 20);
    // Invalid calls are logged without their customer.
    let brands = log.iter().filter_map(|entry| entry["brand_id"].as_u64());
    assert_eq!(brands.collect::<std::collections::BTreeSet<_>>(), [7].into());
    assert_eq!(world.state().customers, []);
}

#[test]
fn a_trial_keeps_to_the_limit_that_the_server_asks_for() {
    let limit = RateLimit {
        calls: NonZeroU32::new(15).expect("a number"),
        per: Duration::from_secs(1),
        retry_after: true,
    };
    let world = World::new(Settings { rate_limit: Some(limit), ..settings() });
    world.execute(&WRITE).expect_code(0);
    assert!(world.state().counters.throttled > 0);
    assert_eq!(world.state().customers, []);
}

/// One control request, and nothing that it makes.
#[test]
fn doctor_sends_one_request() {
    let world = World::new(settings());
    let output = world.execute(&["doctor"]).expect_code(0);
    assert!(output.stdout.contains("status 400: Customer not found."), "{}", output.stdout);
    assert_eq!((world.requests(), world.state().customers), (1, vec![]));
    world.execute(&["doctor", "--offline"]).expect_code(0);
    assert_eq!(world.requests(), 1);
    assert!(!world.path("omnidesk-sync.checkpoint").exists() && !world.path("runs").exists());
}

#[test]
fn the_brand_of_the_control_request_can_be_given() {
    let world = World::new(settings());
    world.edit_config("{ value = 2 }", "\"brand\"");
    let output = world.execute(&["doctor"]).expect_code(1);
    assert!(output.stdout.contains("--brand N"), "{}", output.stdout);
    assert_eq!(world.requests(), 0);
    world.execute(&["doctor", "--brand", "2"]).expect_code(0);
}

#[test]
fn words_that_are_not_understood_are_something_to_look_at() {
    let world = World::new(Settings { wording: Wording::Code, ..settings() });
    let output = world.execute(&["doctor", "--json"]).expect_code(1).json();
    assert_eq!((&output["exit_code"], &output["schema"]), (&1.into(), &1.into()));
    let checks = output["checks"].as_array().expect("checks");
    let control = checks.iter().find(|check| check["check"] == "control").expect("a control request");
    assert_eq!(control["verdict"], "look");
    assert!(control["hint"].as_str().expect("a hint").contains("not_found_texts"), "{control}");
    let learned = world.execute(&[&WRITE[..], &["--json"]].concat()).expect_code(0).json();
    assert_eq!(learned["settings"]["omnidesk"]["not_found_texts"][0], "e not found");
}

#[test]
fn a_customer_whom_the_control_request_made_is_named() {
    // Every server of these tests knows no control customer; the sandbox's script does.
    let rules = "[[answer]]\ncall = \"update\"\nstatus = 200\nbody = '{\"type\":\"result\",\"message\":\"Customer updated.\"}'\n";
    let output = World::new(scripted(rules)).execute(&["doctor"]).expect_code(1);
    assert!(output.stdout.contains(&format!("omnidesk-sync purge --brand 2 {CONTROL}")), "{}", output.stdout);
    assert!(output.stdout.contains("in_doubt = \"hold\""), "{}", output.stdout);
}

fn expect_verdict(world: &World, code: i32, check: &str, text: &str) {
    let output = world.execute(&["doctor", "--json"]).expect_code(code).json();
    let is_meant = |found: &&Value| found["check"] == check;
    let found = output["checks"].as_array().expect("checks").iter().rfind(is_meant);
    let found = found.unwrap_or_else(|| panic!("{check} is not in {output}"));
    assert!(found["message"].as_str().expect("a message").contains(text), "{found}");
}

#[test]
fn what_is_not_reachable_or_refuses_the_key_has_exit_code_3() {
    let world = World::with_server(&format!("http://127.0.0.1:{}", free_port()));
    expect_verdict(&world, 3, "TCP", "refused");
    world.execute(&WRITE).expect_code(3);
    let world = World::new(Settings { api_key: Some("another".into()), ..Settings::default() });
    expect_verdict(&world, 3, "key", "status 401: The API key is missing or wrong.");
    let output = world.execute(&WRITE).expect_code(3);
    assert_eq!((output.stdout.as_str(), world.state().customers), ("", vec![]));
    let page = Sandbox::start(scripted(
        "[[answer]]\nstatus = 200\nbody = \"<html><title>Sign in</title></html>\"\n",
    ))
    .expect("a sandbox");
    let world = World::with_server(&page.base_url());
    expect_verdict(&world, 3, "API", "Sign in");
    let output = world.execute(&WRITE).expect_code(3);
    assert!(output.stdout.is_empty() && !world.path(RECORD).exists());
}

#[test]
fn the_record_of_a_trial_outlasts_a_server_that_falls_silent() {
    let server = Server::new(|number, _| if number < 3 { success() } else { no_answer(Ending::Close) });
    let world = World::with_server(&server.url()).with_settings("attempts = 1");
    let output = world.execute(&WRITE).expect_code(3).expect_stderr("perhaps still in Omnidesk");
    assert_eq!(output.stdout, "");
    assert!(world.path(RECORD).exists());
}

#[test]
fn a_wrong_set_up_has_exit_code_2_before_anything_is_sent() {
    let world = World::new(settings());
    let mut keyless = world.command(&["doctor"]);
    let output = CommandOutput::read(keyless.env_remove("OMNIDESK_API_KEY")).expect_code(2);
    assert!(output.stdout.contains("OMNIDESK_API_KEY is not set"), "{}", output.stdout);
    world.edit_config("firstname = \"first\"", "firstname = { template = \"{{ first \" }");
    expect_verdict(&world, 2, "mapping", "customer.firstname");
    world.edit_config("[customer]", "[custommer]");
    world.execute(&["doctor", "--json"]).expect_code(2).expect_stderr("did you mean `customer`?");
    assert_eq!(world.requests(), 0);
}

#[test]
fn folders_that_cannot_be_written_are_something_to_look_at() {
    let world = World::new(settings()).with_settings("[report]\ndir = \"a-file/runs\"\n");
    world.file("a-file", b"");
    expect_verdict(&world, 1, "report folder", "nothing can be written in a-file");
    let world = World::new(settings()).with_settings("[checkpoint]\npath = \"a-file/x\"\n");
    world.file("a-file", b"");
    expect_verdict(&world, 1, "checkpoint", "a-file");
    let world = World::new(settings());
    world.run("C1,Ann,Smit,c1@example.org,,,\n").expect_code(0);
    expect_verdict(&world, 0, "checkpoint", "1 customer");
    world.edit_config(&world.base_url(), "https://account.omnidesk.test");
    let output = world.execute(&["doctor", "--offline"]).expect_code(2);
    assert!(output.stdout.contains("belongs to loopback"), "{}", output.stdout);
}

#[test]
fn a_clock_that_differs_is_something_to_look_at() {
    let headers = "headers = { Date = \"Mon, 23 Nov 2020 10:00:00 GMT\" }";
    let body = r#"{"status":"error","message":"Customer not found."}"#;
    let world = World::new(scripted(&format!("[[answer]]\nstatus = 404\n{headers}\nbody = '{body}'\n")));
    expect_verdict(&world, 1, "clock", "differs by");
}

#[test]
fn a_certificate_that_expires_soon_is_something_to_look_at() {
    let authority = Authority::new("the authority of the tests");
    for (days, code) in [(5, 1), (60, 0)] {
        let until = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24 * days);
        let until = until.to_zoned_datetime(jiff::tz::TimeZone::UTC).date();
        let day = |part: i8| u8::try_from(part).expect("a part of a date");
        let until = (until.year().into(), day(until.month()), day(until.day()));
        let identity = authority.certify_until("127.0.0.1", until);
        let server = TlsServer::new(identity, "http/1.1", FirstRequest::Succeeds);
        let world = World::with_server(&server.url());
        let file = world.file("authority.pem", authority.pem().as_bytes());
        let mut command = world.command(&["doctor"]);
        let output = CommandOutput::read(command.env("SSL_CERT_FILE", &file).env("SSL_CERT_DIR", ""));
        let output = output.expect_code(code);
        assert!(output.stdout.contains("the certificate expires in"), "{}", output.stdout);
    }
}

#[test]
fn a_trial_waits_for_no_run() {
    let world = World::new(settings());
    let _held = open_checkpoint(&world.path("omnidesk-sync.checkpoint"), "loopback").expect("a checkpoint");
    world.execute(&WRITE).expect_code(6);
    world.execute(&["doctor"]).expect_code(0);
    assert_eq!(world.requests(), 1);
}
