//! `verify`: Omnidesk's list of customers against an export and the checkpoint.

use std::sync::{Arc, Mutex};

use omnidesk_sync::sandbox::{KeyPlace, Settings};
use serde_json::{Value, json};

use crate::server::{Ending, Reaction, Server};
use crate::world::{CommandOutput, HEADER, KEY, RUN, World, rows, send_signal};

const BRANDS: &str = "\n[verify]\nbrands = { 2 = \"Brand 2\" }\n";

fn world() -> World {
    World::default().with_settings(BRANDS)
}

fn verify(world: &World, options: &[&str]) -> CommandOutput {
    world.execute(&[&["verify", "--json"], options, &["export.csv"]].concat())
}

/// The ids under a key, and the row of each.
fn ids(value: &Value, key: &str) -> Vec<String> {
    let customers = value[key].as_array().unwrap_or_else(|| panic!("{key} in {value}"));
    customers
        .iter()
        .map(|customer| format!("{} {}", customer["id"], customer["row"]).replace('"', ""))
        .collect()
}

#[test]
fn an_export_that_was_applied_differs_in_nothing() {
    let world = world();
    world.run(&rows(150)).expect_code(0);
    let before = world.requests();
    let counts = verify(&world, &[]).expect_code(0).json();
    assert_eq!((&counts["expected"], &counts["listed"]), (&150.into(), &150.into()));
    assert_eq!((&counts["schema"], world.requests() - before), (&1.into(), 1), "one request");
    let full = verify(&world, &["--full"]).expect_code(0).json();
    assert_eq!(full["brands"], json!([{ "brand_id": 2, "name": "Brand 2", "expected": 150, "listed": 150 }]));
    assert_eq!(world.requests() - before, 3, "99 a request");
    assert!(!world.path("omnidesk-sync.checkpoint.list").exists());
    // Nothing has changed for a run.
    world.execute(&RUN).expect_code(0).expect_calls(0);
}

#[test]
fn it_names_who_is_missing_there_unknown_here_and_not_acknowledged() {
    let world = world();
    world.run("A1,Ann,Smit,a1@example.org,,,\nA2,Bob,Bos,,,,\nA3,Cor,Vos,,,,\n").expect_code(0);
    // By other means: A1 is purged, A4, A5 and one of another brand are created.
    world.write_other_config("other");
    world.file(
        "others.csv",
        format!("{HEADER}A1,,,,,,purge\nA4,Dik,Mol,,,,create\nA5,Eva,Kok,,,,create\n").as_bytes(),
    );
    let options = ["run", "-c", "other.toml", "--allow-purge", "--quiet", "others.csv"];
    world.execute(&options).expect_code(0);
    world.edit_config("brand_id = { value = 2 }", "brand_id = { value = 3 }");
    world.write_other_config("third");
    world.file("third.csv", format!("{HEADER}A1,Fee,Tol,,,,create\n").as_bytes());
    world.execute(&["run", "-c", "third.toml", "--quiet", "third.csv"]).expect_code(0);
    world.edit_config("brand_id = { value = 3 }", "brand_id = { value = 2 }");
    // A3 is no longer in the export, which is no difference.
    world.write_export(
        "\nA1,Ann,Smit,a1@example.org,,,\nA2,Bob,Bos,,,,\nA4,Dik,Mol,,,,\nA6,Gijs,Pen,,,,\nA7,,,,,,skip\n",
    );
    let full = verify(&world, &["--full"]).expect_code(1).json();
    assert_eq!(ids(&full, "missing_there"), ["A1 1", "A6 4"]);
    assert_eq!(full["missing_there"][0]["line"], 3);
    assert_eq!(ids(&full, "unknown_here"), ["A5 null"]);
    assert_eq!(ids(&full, "not_acknowledged"), ["A4 3"]);
    assert_eq!(ids(&full, "listed_after_purge"), Vec::<String>::new());
    assert_eq!(full["others_listed"], 1);
    assert_eq!(full["brands"][0]["listed"], 4);
    let text = world.execute(&["verify", "--full", "export.csv"]).expect_code(1).stdout;
    assert!(text.contains("  A6 of brand 2 (row 4, line 6)\n"), "{text}");
    assert_eq!(world.state().counters.purge, 1, "nothing but the list was asked for");
}

#[test]
fn a_customer_of_the_checkpoint_alone_is_missing_by_its_hash() {
    let world = world();
    world.run("A1,Ann,Smit,,,,\nA2,Bob,Bos,,,,\n").expect_code(0);
    world.write_other_config("other");
    world.file("others.csv", format!("{HEADER}A1,,,,,,purge\n").as_bytes());
    world.execute(&["run", "-c", "other.toml", "--allow-purge", "others.csv"]).expect_code(0);
    world.write_export("A2,Bob,Bos,,,,\n");
    let full = verify(&world, &["--full"]).expect_code(1).json();
    let known = world.execute(&["explain", "--json", "A1"]).expect_code(0).json();
    assert_eq!(ids(&full, "missing_there"), ["null null"]);
    assert_eq!(full["missing_there"][0]["customer"], known["customer"]);
}

#[test]
fn a_customer_who_is_listed_after_a_purge_is_named() {
    let world = world();
    world.run("A1,Ann,Smit,,,,\n").expect_code(0);
    world.write_export("A1,,,,,,purge\n");
    world.run_with(&["--allow-purge"]).expect_code(0);
    assert_eq!(verify(&world, &["--full"]).expect_code(0).json()["listed_after_purge"], json!([]));
    world.write_other_config("other");
    world.file("others.csv", format!("{HEADER}A1,Ann,Smit,,,,create\n").as_bytes());
    world.execute(&["run", "-c", "other.toml", "others.csv"]).expect_code(0);
    let full = verify(&world, &["--full"]).expect_code(1).json();
    assert_eq!(ids(&full, "listed_after_purge"), ["A1 1"]);
}

#[test]
fn without_names_of_brands_it_ends_with_exit_code_2() {
    let world = World::default();
    world.run(&rows(1)).expect_code(0);
    let before = world.requests();
    for options in [&[][..], &["--full"]] {
        verify(&world, options).expect_code(2).expect_stderr("[verify] brands is not set");
    }
    let other = world.with_settings("\n[verify]\nbrands = { 3 = \"Tuin\" }\n");
    verify(&other, &["--full"]).expect_code(2).expect_stderr("has no name for brand 2");
    assert_eq!(other.requests(), before);
    let same = other.with_settings("\n[verify]\nbrands = { 2 = \"Tuin\", 3 = \"Tuin\" }\n");
    verify(&same, &[]).expect_code(2).expect_stderr("verify.brands");
}

#[test]
fn without_a_checkpoint_it_ends_with_exit_code_2() {
    let world = world();
    world.write_export(&rows(1));
    verify(&world, &[]).expect_code(2).expect_stderr("there is no checkpoint");
    assert!(!world.path("omnidesk-sync.checkpoint").exists());
}

#[test]
fn a_wrong_key_ends_it_with_the_words_of_the_api() {
    let settings = Settings { api_key: Some("another".to_owned().into()), ..Settings::default() };
    let world = World::new(settings).with_settings(BRANDS);
    world.write_export(&rows(1));
    // An export that was only adopted needs no key.
    world.execute(&["adopt", "export.csv"]).expect_code(0);
    for options in [&[][..], &["--full"]] {
        let output = verify(&world, options).expect_code(3).expect_stderr("CUSTOMER_READ");
        assert_eq!(output.json()["exit_code"], 3);
    }
}

fn answer(status: &str, body: &str) -> Reaction {
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
    Reaction { bytes: (head + body).into_bytes(), ending: Ending::KeepOpen }
}

/// A change of the list behind a request, by its number from 0.
type Change = (usize, fn(&mut Vec<String>));

/// A list with these ids, and changes of it behind some requests.
struct List {
    ids: Vec<String>,
    changes: Vec<Change>,
}

fn list_server(list: List) -> Server {
    let list = Arc::new(Mutex::new(list));
    Server::new(move |nth, request| {
        let mut list = list.lock().expect("a list");
        let number = |name: &str| -> usize {
            let (_, rest) = request.head.split_once(name).expect("a parameter");
            let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
            digits.parse().expect("a number")
        };
        let (start, limit) = (number("itemStart="), number("itemLimit="));
        let entry = |id: &String| json!({ "id": id, "external_primary_id": id, "brand_name": "Brand 2" });
        let part: Vec<Value> = list.ids.iter().skip(start).take(limit).map(entry).collect();
        let body = json!({ "itemTotal": list.ids.len(), "list": part }).to_string();
        let changes: Vec<_> = list.changes.iter().filter(|change| change.0 == nth).map(|one| one.1).collect();
        changes.into_iter().for_each(|change| change(&mut list.ids));
        answer("200 OK", &body)
    })
}

/// Adopts the rows of 300 customers, and verifies them against a list of theirs that changes.
fn verify_moving(changes: Vec<Change>) -> (Value, Vec<String>) {
    let ids = (0..300).map(|id| format!("C{id}")).collect();
    let server = list_server(List { ids, changes });
    let world = World::with_server(&server.url()).with_settings(BRANDS);
    world.write_export(&rows(300));
    world.execute(&["adopt", "export.csv"]).expect_code(0);
    let output = verify(&world, &["--full"]);
    let starts = server.requests().into_iter().map(|request| {
        let (_, rest) = request.head.split_once("itemStart=").expect("a start");
        rest.split('&').next().expect("a number").to_owned()
    });
    (output.json(), starts.collect())
}

#[test]
fn a_list_that_moves_is_read_again_where_it_moved() {
    let (still, starts) = verify_moving(vec![]);
    assert_eq!((&still["moves"], starts.join(" ")), (&0.into(), "0 98 196 294".to_owned()));

    // Customers of the first page go: those of the next one move forward, unseen.
    let (shorter, starts) = verify_moving(vec![(1, |ids| drop(ids.drain(..5)))]);
    assert_eq!(shorter["missing_there"], json!([]), "all were listed when they were asked for");
    assert_eq!(
        (&shorter["moves"], &starts[..4]),
        (&1.into(), &["0", "98", "196", "98"].map(str::to_owned)[..])
    );

    // More of them than a page.
    let (shorter, _) = verify_moving(vec![(1, |ids| drop(ids.drain(..150)))]);
    assert_eq!((&shorter["missing_there"], &shorter["moves"]), (&json!([]), &2.into()));

    // The newest come first: the beginning is read again.
    let (longer, starts) = verify_moving(vec![(2, |ids| ids.insert(0, "N1".to_owned()))]);
    assert_eq!(ids(&longer, "unknown_here"), ["N1 null"]);
    assert_eq!(longer["missing_there"], json!([]));
    assert_eq!(starts.last().map(String::as_str), Some("98"), "{starts:?}");

    // All at once.
    let (both, _) = verify_moving(vec![
        (0, |ids| ids.push("N1".to_owned())),
        (1, |ids| drop(ids.drain(10..30))),
        (2, |ids| ids.insert(0, "N2".to_owned())),
        (3, |ids| drop(ids.remove(200))),
    ]);
    assert_eq!(both["missing_there"], json!([]));
    assert_eq!(ids(&both, "unknown_here"), ["N1 null", "N2 null"]);
}

#[test]
fn a_list_that_ends_early_is_no_whole_list() {
    let server = Server::new(|_, _| {
        let body = r#"{"itemTotal":5,"list":[{"id":1,"external_primary_id":"C0","brand_name":"Brand 2"}]}"#;
        answer("200 OK", body)
    });
    let world = World::with_server(&server.url()).with_settings(BRANDS);
    world.write_export(&rows(1));
    world.execute(&["adopt", "export.csv"]).expect_code(0);
    verify(&world, &["--full"]).expect_code(3).expect_stderr("announces 5");
}

#[test]
fn an_interrupted_list_is_resumed() {
    let world = world();
    world.run(&rows(400)).expect_code(0);
    world.write_export(&rows(399));
    let world = world.with_settings(&format!("patience = \"1h\"\n{BRANDS}"));
    world.edit_config("rate = \"20000/s\"", "rate = \"1/s\"");
    let before = world.requests();
    let mut child = world.spawn_piped(&["verify", "--full", "export.csv"]);
    world.wait_for_requests(before + 2, &mut child);
    verify(&world, &[]).expect_code(6);
    while !world.status()["running"]["line"].to_string().contains(" of 400 customers, ") {
        assert!(child.try_wait().expect("a child").is_none(), "it has ended");
    }
    // It shows its progress, and goes on.
    send_signal(child.id(), "USR1");
    send_signal(child.id(), "INT");
    CommandOutput::wait(child).expect_code(4).expect_stderr("run the same command again");
    let saved = std::fs::read(world.path("omnidesk-sync.checkpoint.list")).expect("a file");
    assert!(!saved.windows(3).any(|part| part == b"C10"), "no id in clear");
    let read = world.requests();
    world.edit_config("rate = \"1/s\"", "rate = \"20000/s\"");
    let full = verify(&world, &["--full"]).expect_code(0).expect_stderr("resuming the list").json();
    assert_eq!(full["brands"][0]["listed"], 400);
    assert!(read - before + (world.requests() - read) <= 6, "no page but the one cut off is read twice");
}

#[test]
fn a_killed_list_is_resumed_and_names_the_unknown_of_its_first_part() {
    let world = world();
    world.run(&rows(400)).expect_code(0);
    world.write_other_config("other");
    world.file("others.csv", format!("{HEADER}A0,Ann,Smit,,,,\n").as_bytes());
    world.execute(&["run", "-c", "other.toml", "others.csv"]).expect_code(0);
    world.edit_config("rate = \"20000/s\"", "rate = \"1/s\"");
    world.write_export(&rows(400));
    world.kill_after(2, &["verify", "--full", "export.csv"]);
    world.edit_config("rate = \"1/s\"", "rate = \"20000/s\"");
    let full = verify(&world, &["--full"]).expect_code(1).expect_stderr("resuming the list").json();
    assert_eq!(ids(&full, "unknown_here"), ["A0 null"]);
}

#[test]
fn customers_of_the_list_are_adopted_as_existing_and_on_exists_decides() {
    for (on_exists, code, outcomes, city) in [
        ("skip", 0, "1 created, 2 skipped", "Smit"),
        ("update", 0, "1 created, 2 updated", "Bos"),
        ("fail", 1, "1 created, 2 failed", "Smit"),
    ] {
        let world = world();
        world.write_other_config("other");
        world.file(
            "others.csv",
            format!("{HEADER}A1,Ann,Smit,,,,\nA2,Bob,Smit,,,,\nA3,Cor,Smit,,,,\n").as_bytes(),
        );
        world.execute(&["run", "-c", "other.toml", "others.csv"]).expect_code(0);
        world.edit_config("[operation]\n", &format!("[operation]\non_exists = \"{on_exists}\"\n"));
        let before = world.state().counters;
        let adopted = world.execute(&["adopt", "--json", "--from-omnidesk"]).expect_code(0).json();
        assert_eq!(
            (&adopted["adopted"], &adopted["known"], &adopted["schema"]),
            (&3.into(), &0.into(), &1.into())
        );
        assert!(!world.path("omnidesk-sync.checkpoint.list").exists());
        assert_eq!(world.state().counters.requests, before.requests + 1);
        let known = world.execute(&["explain", "--json", "A1"]).expect_code(0).json();
        assert_eq!(known["state"], "existing");
        // A3 is missing from the export, and not this program's to purge.
        let purge = "\n[missing]\naction = \"purge\"\n[guard]\nallow_purge = true\nmax_purge = 9\n";
        let config = world.read("omnidesk-sync.toml") + purge;
        world.file("omnidesk-sync.toml", config.as_bytes());
        let rows = "A1,Ann,Bos,,,,\nA2,Bob,Bos,,,,\nA4,Dik,Bos,,,,\n";
        world.run(rows).expect_code(code).expect_outcomes(outcomes);
        let state = world.state();
        let lastname = |id: &str| {
            state.customers.iter().find(|one| one.id.primary_id == id).and_then(|one| one.lastname.clone())
        };
        assert_eq!((lastname("A1").as_deref(), lastname("A3").as_deref()), (Some(city), Some("Smit")));
        assert_eq!((state.counters.create, state.counters.refused, state.counters.purge), (4, 0, 0));
        world.run(rows).expect_code(code).expect_calls(0);
        // Who is known stays as known, and nobody is unknown to the list.
        let again = world.execute(&["adopt", "--json", "--from-omnidesk"]).expect_code(0).json();
        assert_eq!((&again["adopted"], &again["known"]), (&0.into(), &4.into()));
        verify(&world, &["--full"]).expect_code(0);
        world.run(rows).expect_code(code).expect_calls(0);
        // A1 is missing, too: only an update has made the customer this program's.
        let purged = u64::from(on_exists == "update");
        world.run("A2,Bob,Bos,,,,\nA4,Dik,Bos,,,,\n").expect_code(code);
        assert_eq!(world.state().counters.purge, purged, "{on_exists}");
    }
}

#[test]
fn the_list_is_adopted_only_with_names_of_brands_and_beside_no_open_run() {
    let world = World::default();
    world.execute(&["adopt", "--from-omnidesk"]).expect_code(2).expect_stderr("[verify] brands is not set");
    assert!(!world.path("omnidesk-sync.checkpoint").exists());
    world.execute(&["adopt", "--from-omnidesk", "export.csv"]).expect_code(2);
    let world = World::with_latency_ms(50).with_settings(BRANDS);
    world.write_export(&rows(200));
    world.kill_after(20, &RUN);
    world.execute(&["adopt", "--from-omnidesk"]).expect_code(2).expect_stderr("a run is open");
    // `verify` leaves the run open.
    verify(&world, &["--full"]).expect_code(1);
    world.execute(&RUN).expect_code(0).expect_outcomes("200 created");
    verify(&world, &["--full"]).expect_code(0);
}

#[test]
fn a_server_that_fails_in_the_middle_of_the_list_is_waited_for() {
    let page = |start: usize| {
        let entry =
            |id| json!({ "id": id, "external_primary_id": format!("C{id}"), "brand_name": "Brand 2" });
        let part: Vec<Value> = (start..150.min(start + 99)).map(entry).collect();
        answer("200 OK", &json!({ "itemTotal": 150, "list": part }).to_string())
    };
    let server = Server::new(move |nth, _| match nth {
        0 => page(0),
        1 => answer("500 Internal Server Error", ""),
        2 => Reaction { bytes: Vec::new(), ending: Ending::Reset },
        3 => answer("429 Too Many Requests", ""),
        _ => page(98),
    });
    let world = World::with_server(&server.url()).with_settings(&format!("attempts = 1\n{BRANDS}"));
    world.write_export(&rows(150));
    world.execute(&["adopt", "export.csv"]).expect_code(0);
    verify(&world, &["--full"]).expect_code(0);
    assert_eq!(server.lines().len(), 5);
}

#[test]
fn the_key_goes_into_the_query_where_the_settings_say_so() {
    let key_place = Some(KeyPlace::Query);
    let settings = Settings { api_key: Some(KEY.to_owned().into()), key_place, ..Settings::default() };
    let world = World::new(settings).with_settings(BRANDS);
    world.edit_config("[omnidesk]\n", "[omnidesk]\nauth = \"query\"\n");
    world.run(&rows(3)).expect_code(0);
    verify(&world, &["--full"]).expect_code(0);
}
