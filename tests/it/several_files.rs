//! Several files in one run, read as one export in the order given.

use std::io::Write as _;
use std::process::Stdio;

use crate::world::{CommandOutput, HEADER, World, kill};

fn csv(rows: &str) -> Vec<u8> {
    format!("{HEADER}{rows}").into_bytes()
}

/// Rows of new customers, from a number on.
fn rows(from: usize, count: usize) -> String {
    (from..from + count).map(|id| format!("C{id},Ann,Smit,c{id}@example.org,,,\n")).collect()
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(content).expect("memory");
    packed.finish().expect("memory")
}

fn utf16(text: &str) -> Vec<u8> {
    format!("\u{feff}{text}").encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// The same columns in another order, with semicolons.
fn semicolons(rows: &[&str]) -> String {
    let rows = rows.iter().map(|row| {
        let cells: Vec<&str> = row.split(',').collect();
        format!("{}\n", [2, 0, 3, 1, 4, 5, 6].map(|at| *cells.get(at).unwrap_or(&"")).join(";"))
    });
    rows.collect()
}

fn run(world: &World, exports: &[&str]) -> CommandOutput {
    world.execute(&[&["run", "--json"], exports].concat())
}

/// Id, last name and first address of the customers that Omnidesk holds.
fn customers(world: &World) -> Vec<String> {
    let customers = world.state().customers;
    let line = |customer: &omnidesk_sync::sandbox::Customer| {
        let address = customer.channels.first().map(|channel| channel.address.clone());
        let last = customer.lastname.clone().unwrap_or_default();
        format!("{} {last} {}", customer.id.primary_id, address.unwrap_or_default())
    };
    customers.iter().map(line).collect()
}

#[test]
fn files_are_read_in_the_order_given() {
    for (order, last) in [(["part-10.csv", "part-2.csv"], "Two"), (["part-2.csv", "part-10.csv"], "Ten")] {
        let world = World::default();
        world.file("part-2.csv", &csv("1,Ann,Two,a@example.org,,,\n2,Bob,Bos,b@example.org,,,\n"));
        // Its last line has no end.
        world.file("part-10.csv", &csv("1,Ann,Ten,a@example.org,,,\n3,Cor,Bos,c@example.org,,,"));
        let output = run(&world, &order).expect_code(0).expect_outcomes("3 created, 1 updated");
        let name = format!("{} and 1 more", order[0]);
        assert_eq!(output.json()["export"], name.as_str());
        assert_eq!(
            customers(&world),
            [format!("1 {last} a@example.org"), "2 Bos b@example.org".into(), "3 Bos c@example.org".into()]
        );
        world.assert_no_violations();
        let folder = output.json()["folder"].as_str().expect("a folder").to_owned();
        assert!(folder.ends_with(&format!("-{}-and-1-more", order[0].trim_end_matches(".csv"))), "{folder}");
        // Rows are numbered through, and lines are those of the file.
        let outcomes = world.result_text("outcomes.csv");
        let places: Vec<String> = outcomes
            .lines()
            .map(|line| {
                let cells: Vec<&str> = line.split(',').collect();
                [cells[1], cells[2], cells[10]].join(" ")
            })
            .collect();
        let mut places: Vec<&str> = places.iter().map(String::as_str).collect();
        places[1..].sort_unstable();
        let [first, second] = order;
        assert_eq!(
            places,
            [
                "row line file".to_owned(),
                format!("1 2 {first}"),
                format!("2 3 {first}"),
                format!("3 2 {second}"),
                format!("4 3 {second}"),
            ]
        );
        run(&world, &order).expect_code(0).expect_calls(0);
    }
}

#[test]
fn columns_are_matched_by_name_whatever_the_syntax_and_the_encoding() {
    let world = World::default();
    world.file("a.csv", &csv("1,Ann,Smit,a@example.org,,,\n2,Bob,Bos,bob@example,,,\n"));
    let second = [HEADER.trim(), "3,Zoë,Müller,zoe@example.org,,,", "4,René,\"B;s\",rene@example,,,"];
    world.file("b.txt", &utf16(&semicolons(&second)));
    let third = semicolons(&[HEADER.trim(), "5,Eva,Smit,eva@example.org,,,", "6,Fin,Bos,fin@example,,,"]);
    // A row with a cell too few and one with an open quote cannot be put in order.
    world.file("c.csv.gz", &gzip(format!("{third}Bos;7;x\n\"Vos;8;\n").as_bytes()));
    let exports = ["a.csv", "b.txt", "c.csv.gz"];
    let output = run(&world, &exports).expect_code(1).expect_outcomes("3 created, 5 rejected");
    let held = ["1 Smit a@example.org", "3 Müller zoe@example.org", "5 Smit eva@example.org"];
    assert_eq!(customers(&world), held);
    output
        .expect_stderr("first row 2 on line 3 of a.csv, column \"email\"")
        .expect_stderr("first row 7 on line 4 of c.csv.gz");
    let plan = world.execute(&[&["plan"], &exports[..]].concat()).expect_code(0);
    assert!(plan.stdout.contains("first row 2 on line 3 of a.csv"), "{}", plan.stdout);

    let rejected = world.result_text("rejected.csv");
    let lines: Vec<&str> = rejected.lines().collect();
    // One header, and the encoding that holds them all.
    assert!(lines[0].starts_with(&format!("\u{feff}{},_sync_file,_sync_line,", HEADER.trim())), "{rejected}");
    assert!(lines[1].starts_with("2,Bob,Bos,bob@example,,,,a.csv,3,"), "{rejected}");
    assert!(lines[2].starts_with("4,René,B;s,rene@example,,,,b.txt,3,"), "{rejected}");
    assert!(lines[3].starts_with("6,Fin,Bos,fin@example,,,,c.csv.gz,3,"), "{rejected}");
    assert!(lines[4].starts_with("Bos;7;x,c.csv.gz,4,"), "{rejected}");
    assert!(lines[5].starts_with("\"\"\"Vos;8;\",c.csv.gz,5,"), "{rejected}");

    // As it is, it is read under the same configuration, and rejected again.
    world.file("again.csv", rejected.as_bytes());
    run(&world, &["again.csv"]).expect_code(1).expect_outcomes("5 rejected");
    assert!(!world.result_text("rejected.csv").contains("_sync_file"));
    let fixed = rejected
        .replace("@example,", "@example.org,")
        .replace("Bos;7;x", "7,Guy,Bos,g@example.org,,,")
        .replace("\"\"\"Vos;8;\"", "8,Hil,Vos,h@example.org,,,");
    world.file("again.csv", fixed.as_bytes());
    run(&world, &["again.csv"]).expect_code(0).expect_outcomes("5 created");
    assert_eq!(customers(&world)[3], "4 B;s rene@example.org");
    assert_eq!(customers(&world).len(), 8);
}

#[test]
fn a_byte_order_mark_counts_for_its_own_file_alone() {
    let world = World::default().with_settings("[input]\nencoding = \"windows-1252\"");
    let (latin, _, _) =
        encoding_rs::WINDOWS_1252.encode("1,Zoë,Müller,zoe@example.org,,,\n2,Zoë,Bos,zoe,,,\n");
    world.file("a.csv", &[HEADER.as_bytes(), &latin].concat());
    world.file(
        "b.csv",
        format!("\u{feff}{HEADER}3,Žofie,Nový,nov@example.org,,,\n4,Žofie,Bos,z,,,\n").as_bytes(),
    );
    run(&world, &["a.csv", "b.csv"]).expect_code(1).expect_outcomes("2 created, 2 rejected");
    assert_eq!(customers(&world), ["1 Müller zoe@example.org", "3 Nový nov@example.org"]);
    let fixed = world
        .result_text("rejected.csv")
        .replace(",zoe,", ",x@example.org,")
        .replace(",z,", ",z@example.org,");
    assert!(
        fixed.starts_with('\u{feff}') && fixed.contains("2,Zoë,") && fixed.contains("4,Žofie,"),
        "{fixed}"
    );
    world.file("again.csv", fixed.as_bytes());
    run(&world, &["again.csv"]).expect_code(0).expect_outcomes("2 created");
    // In one encoding, result files keep it.
    for name in ["x.csv", "y.csv"] {
        world.file(name, &[HEADER.as_bytes(), &latin].concat());
    }
    run(&world, &["x.csv", "y.csv"]).expect_code(1);
    let rejected = world.result("rejected.csv").expect("a result file");
    assert!(rejected.windows(5).any(|bytes| bytes == b"Zo\xeb,B"), "{}", String::from_utf8_lossy(&rejected));
}

#[test]
fn a_run_that_was_killed_in_the_second_file_is_resumed_there() {
    let world = World::default();
    world.file("a.csv", &csv(&rows(0, 700)));
    let second = format!("{HEADER}{}", rows(700, 900));
    world.file("b.csv", semicolons(&second.lines().collect::<Vec<_>>()).as_bytes());
    world.file("c.csv", &csv(&rows(1600, 100)));
    let exports = ["a.csv", "b.csv", "c.csv"];
    for requests in [300, 900, 200] {
        world.kill_after(requests, &[&["run"], &exports[..]].concat());
    }
    let output = run(&world, &exports).expect_code(0).expect_stderr("resuming the run of");
    assert_eq!(output.json()["outcomes"]["created"], 1700);
    assert_eq!(customers(&world).len(), 1700);
    world.assert_no_violations();
    run(&world, &exports).expect_code(0).expect_calls(0);
}

#[test]
fn an_open_run_is_another_one_for_other_files() {
    let world = World::with_latency_ms(5);
    world.file("a.csv", &csv(&rows(0, 200)));
    world.file("b.csv", &csv(&rows(200, 10)));
    let mut child = world.spawn(&["run", "a.csv"]);
    world.wait_for_requests(5, &mut child);
    kill(&mut child);
    world.edit_config("[operation]\ncolumn = \"op\"", "");
    run(&world, &["a.csv", "b.csv"]).expect_code(0);
    assert_eq!(customers(&world).len(), 210);
}

#[test]
fn the_hash_of_one_file_is_that_of_its_content() {
    let world = World::default();
    let hash = |exports: &[&str]| {
        let plan = world.execute(&[&["plan", "--json"], exports].concat()).expect_code(0).json();
        plan["export_hash"].as_str().expect("a hash").to_owned()
    };
    let content = csv(&rows(0, 3));
    world.file("a.csv", &content);
    world.file("b.csv", &csv(&rows(3, 3)));
    assert!(blake3::hash(&content).to_hex().starts_with(&hash(&["a.csv"])));
    let both = hash(&["a.csv", "b.csv"]);
    assert_ne!(both, hash(&["b.csv", "a.csv"]));
    // The name and the packing are no content.
    world.file("c", &gzip(&csv(&rows(3, 3))));
    assert_eq!(both, hash(&["a.csv", "c"]));
    // The same bytes with another border between the files are other rows.
    world.file("a.csv", &content[..content.len() - 1]);
    world.file("c", &[b"\n", &*csv(&rows(3, 3))].concat());
    assert_ne!(both, hash(&["a.csv", "c"]));
}

#[test]
fn files_that_do_not_belong_together_are_named() {
    let world = World::default();
    world.file("a.csv", &csv(&rows(0, 2)));
    world.file("b.csv", format!("{},extra\n", HEADER.trim().replace("email2", "mail 2")).as_bytes());
    world.file("c.jsonl", b"{\"id\": \"1\"}\n");
    world.file("d.csv", format!("{},_sync_line,_sync_code\n", HEADER.trim()).as_bytes());
    world.file("broken.csv", &csv("1,Ann,Smit,a@example.org,,,\n2,Bo"));
    world.file("turned.csv", &csv(&format!("{}email,first,last,id,email2,phone,op\n", rows(2, 2))));
    std::os::unix::fs::symlink(world.path("a.csv"), world.path("link.csv")).expect("a link");
    let cases: &[(&[&str], &str)] = &[
        (
            &["a.csv", "b.csv"],
            "error: b.csv: has other columns than a.csv: it lacks \"email2\", and it alone has \"mail 2\", \"extra\"; ",
        ),
        (&["b.csv", "a.csv"], "b.csv"),
        (&["a.csv", "c.jsonl"], "error: c.jsonl: is read as jsonl, and a.csv as csv; "),
        (&["c.jsonl", "a.csv"], "error: a.csv: is read as csv, and c.jsonl as jsonl; "),
        (&["a.csv", "a.csv"], "error: a.csv: is given twice"),
        (&["a.csv", "b.csv", "link.csv"], "error: link.csv: is given twice"),
        (&["-", "-"], "error: stdin: is given twice"),
        (&["a.csv", "d.csv"], "error: d.csv: is a result file of an earlier run, and a.csv is not"),
        (&["d.csv", "a.csv"], "error: a.csv: is no result file of an earlier run, and d.csv is one"),
        (&["a.csv", "none.csv"], "error: none.csv: "),
        (
            &["a.csv", "turned.csv"],
            "error: turned.csv:4: the header comes again with its columns in another order",
        ),
        // Each file has to be whole.
        (&["broken.csv", "a.csv"], "error: broken.csv:3: the export breaks off in its last row"),
        (&["a.csv", "broken.csv"], "error: broken.csv:3: the export breaks off in its last row"),
    ];
    for (exports, message) in cases {
        for command in ["plan", "run", "adopt"] {
            world.execute(&[&[command], *exports].concat()).expect_code(2).expect_stderr(message);
        }
    }
    assert_eq!(world.requests(), 0);
    world.execute(&["plan"]).expect_code(2).expect_stderr("<EXPORT>...");
}

#[test]
fn standard_input_is_one_of_the_files() {
    let world = World::default();
    world.file("a.csv", &csv(&rows(0, 2)));
    let mut child = world
        .command(&["run", "--json", "-", "a.csv"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program");
    child.stdin.take().expect("a pipe").write_all(&csv(&rows(2, 2))).expect("written");
    let output = CommandOutput::wait(child).expect_code(0).expect_outcomes("4 created");
    assert_eq!(output.json()["export"], "stdin and 1 more");
}

#[test]
fn each_file_has_its_own_lines_above_and_below_the_table() {
    let world = World::default();
    world.file("a.csv", &csv(&format!("{}{HEADER}{}Totaal: 4,,,,,,\n", rows(0, 2), rows(2, 2))));
    let title = format!("Klanten\n\n{HEADER}{}\n,,,,,,\nAfgedrukt op 3 mei,,,,,,\n", rows(4, 3));
    world.file("b.csv", title.as_bytes());
    // A file without a row.
    world.file("c.csv", HEADER.trim().as_bytes());
    world.file("d.csv", &csv(&rows(7, 1)));
    let plan = world.execute(&["plan", "a.csv", "b.csv", "c.csv", "d.csv"]).expect_code(0).stdout;
    for text in [
        "8 rows of a.csv and 3 more become 8 calls",
        "b.csv: the header is on line 3",
        "no rows: 2 blank lines, 1 repeated header, 2 footers",
        "no row on line 7 of a.csv: \"Totaal: 4\"",
        "no row on line 9 of b.csv: \"Afgedrukt op 3 mei\"",
    ] {
        assert!(plan.contains(text), "{text:?} is not in {plan}");
    }
    let limited = world.execute(&["plan", "--json", "--limit", "5", "--show", "9", "a.csv", "b.csv"]).json();
    assert_eq!(limited["rows"], 5);
    let place = |at: usize| {
        let request = &limited["requests"][at];
        (request["row"].clone(), request["line"].clone(), request["file"].clone())
    };
    assert_eq!(place(3), (4.into(), 6.into(), "a.csv".into()));
    assert_eq!(place(4), (5.into(), 4.into(), "b.csv".into()));
}

#[test]
fn a_customer_stays_unchanged_however_the_rows_are_divided() {
    let world = World::default();
    world.file("all.csv", &csv(&rows(0, 5)));
    world.file("a.csv", &csv(&rows(3, 2)));
    let other = format!("{HEADER}{}", rows(0, 3));
    world.file("b.csv", &utf16(&semicolons(&other.lines().collect::<Vec<_>>())));
    world.execute(&["adopt", "a.csv", "b.csv"]).expect_code(0).expect_stderr("5 of 5 rows adopted");
    run(&world, &["all.csv"]).expect_code(0).expect_outcomes("5 unchanged");
    run(&world, &["b.csv", "a.csv"]).expect_code(0).expect_outcomes("5 unchanged");
    assert_eq!(world.requests(), 0);
}

#[test]
fn json_lines_of_several_files_keep_their_members() {
    let world = World::default();
    let row = |id: u32, mail: &str| {
        format!(
            "{{\"id\": \"{id}\", \"first\": \"Ann\", \"last\": \"Smit\", \"email\": \"{mail}\", \"email2\": null, \"phone\": null, \"op\": null}}"
        )
    };
    world.file("a.jsonl", format!("{}\n{}", row(1, "a@example.org"), row(2, "b@example")).as_bytes());
    let list = format!("[{},\n{}]", row(3, "c@example.org"), row(4, "d@example")).replace("Ann", "Zoë");
    world.file("b.json", &gzip(&utf16(&list)));
    run(&world, &["a.jsonl", "b.json"])
        .expect_code(1)
        .expect_outcomes("2 created, 2 rejected")
        .expect_stderr("on line 2 of a.jsonl");
    let rejected = world.result_text("rejected.jsonl");
    assert!(rejected.contains("\"_sync_file\":\"b.json\"") && rejected.contains("Zoë"), "{rejected}");
    world.file("again.jsonl", rejected.replace("@example\"", "@example.org\"").as_bytes());
    run(&world, &["again.jsonl"]).expect_code(0).expect_outcomes("2 created");
}

#[test]
fn result_files_of_one_run_are_run_together() {
    let world = World::default();
    world.run("1,Ann,Smit,a@example,,,\n").expect_code(1);
    world.file(
        "first.csv",
        world.result_text("rejected.csv").replace("@example,", "@example.org,").as_bytes(),
    );
    world.run("2,Bob,Bos,b@example,,,\n3,Cor,Bos,c@example.org,,,\n").expect_code(1);
    let second = world.result_text("rejected.csv").replace("@example,", "@example.org,");
    world.file("second.csv", second.replace("\n2,", "\n02,").as_bytes());
    let output =
        run(&world, &["first.csv", "second.csv"]).expect_code(1).expect_outcomes("1 created, 1 rejected");
    output.expect_stderr("(changed_id), first row 2 on line 2 of second.csv");
    world.file("second.csv", second.as_bytes());
    run(&world, &["first.csv", "second.csv"]).expect_code(0).expect_outcomes("1 created, 1 unchanged");
}

#[test]
fn a_configuration_is_proposed_for_all_files() {
    let world = World::with_server("http://127.0.0.1:9");
    let content = |delimiter: &str, numbers: [&str; 3]| {
        let rows = numbers
            .iter()
            .enumerate()
            .map(|(id, number)| format!("K{id},Ann Smit,a{id}@example.org,{number}\n"));
        let header = "Klantnummer,Naam,E-mail,Telefoon\n".to_owned();
        rows.fold(header, |text, row| text + &row).replace(',', delimiter)
    };
    world.file("a.csv", content(",", [""; 3]).as_bytes());
    let packed = content(";", ["06-12345678", "020-6261111", "+31612345679"])
        .replace('K', "L")
        .replace("Llant", "Klant");
    world.file("b.csv", &gzip(packed.as_bytes()));
    world.file("c.csv", content(",", ["0", "1", "2"]).replace("Naam", "Name").as_bytes());
    let proposed = world.execute(&["init", "a.csv", "b.csv"]).expect_code(0).stdout;
    assert!(proposed.contains("all 6 rows") && !proposed.contains("delimiter"), "{proposed}");
    // Only the second file has numbers.
    assert!(proposed.contains("telephone = ") && proposed.contains("NL"), "{proposed}");
    world.file("omnidesk-sync.toml", proposed.as_bytes());
    let plan = world.execute(&["plan", "--json", "a.csv", "b.csv"]).expect_code(0).json();
    assert_eq!(plan["calls"]["create"], 6);
    world
        .execute(&["init", "a.csv", "c.csv"])
        .expect_code(2)
        .expect_stderr("c.csv: has other columns than a.csv");
}
