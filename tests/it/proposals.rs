//! What `init` proposes for headers of real programs, and for the files that real
//! people have. Each proposal is planned as it stands.

use crate::world::World;

const HEADERS: &str = include_str!("proposals/headers.txt");

/// The mapping in a proposal, without comments, the brand and custom fields.
fn mapping(proposed: &str) -> Vec<&str> {
    let customer = proposed.split("\n[customer]\n").nth(1).expect("a mapping");
    let lines = customer.lines().take_while(|line| !line.is_empty());
    let lines = lines.filter(|line| !line.starts_with("brand_id "));
    lines.map(|line| line.split("   # ").next().unwrap_or(line)).collect()
}

/// Proposes a configuration for an export and, if that is complete, plans with
/// it. Returns the proposal and the creates of the plan.
fn propose_and_plan(name: &str, content: &[u8], code: i32) -> (String, Option<u64>) {
    let world = World::with_server("http://127.0.0.1:9");
    world.file(name, content);
    let proposed = world.execute(&["init", name]).expect_code(code).stdout;
    proposed.parse::<toml::Table>().expect("TOML");
    if code != 0 {
        return (proposed, None);
    }
    world.file("omnidesk-sync.toml", proposed.as_bytes());
    let plan = world.execute(&["plan", "--json", name]).expect_code(0).json();
    let creates = plan["calls"]["create"].as_u64();
    (proposed, creates)
}

#[test]
fn the_headers_of_real_programs_are_mapped_as_a_person_would() {
    let mut wrong = Vec::new();
    let cases: Vec<&str> = HEADERS.split("\n== ").skip(1).collect();
    assert!(cases.len() >= 40);
    for case in cases {
        let (title, rest) = case.split_once('\n').expect("a title");
        let (export, answer) = rest.split_once("\n>").expect("an answer");
        let (code, answer) = answer.split_once('\n').expect("a mapping");
        let code = code.trim().parse().unwrap_or(0);
        let lines = answer.lines().filter(|line| !line.is_empty());
        let (planned, expected): (Vec<&str>, Vec<&str>) = lines.partition(|line| line.starts_with("> plan "));
        let world = World::with_server("http://127.0.0.1:9");
        world.file("export.csv", format!("{export}\n").as_bytes());
        let output = world.execute(&["init", "export.csv"]);
        let found = mapping(&output.stdout);
        if found != expected || output.code != Some(code) {
            wrong.push(format!("== {title}: exit {:?}\n{}", output.code, output.stdout));
            continue;
        }
        if code != 0 {
            continue;
        }
        world.file("omnidesk-sync.toml", output.stdout.as_bytes());
        let plan = world.execute(&["plan", "--json", "export.csv"]).expect_code(0).json();
        let customers = planned.first().map(|line| line.trim_start_matches("> plan ").to_owned());
        let customers = customers.unwrap_or_else(|| (export.lines().count() - 1).to_string());
        assert_eq!(plan["calls"]["create"].to_string(), customers, "{title}: {plan}");
        assert_eq!(plan["rejected"].as_array().map(Vec::len), Some(0), "{title}: {plan}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn fixtures_are_mapped_as_their_own_configurations_map_them() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures");
    for (path, creates, expected) in [
        (
            "customers.csv",
            40,
            &[
                "primary_id = \"customer_number\"",
                "firstname = \"first_name\"",
                "lastname = \"last_name\"",
                "email = [\"email\", \"email_2\"]",
                "telephone = { column = \"mobile\", region_column = \"country\" }",
                "twitter = \"twitter\"",
                "facebook = \"facebook\"",
            ][..],
        ),
        (
            "dutch-excel/klanten.csv",
            9,
            &[
                "primary_id = \"Klantnummer\"",
                "firstname = \"Voornaam\"",
                "lastname = { template = \"{{ (Tussenvoegsel ~ ' ' ~ Achternaam) | trim }}\" }",
                "email = [\"E-mail\", \"E-mail 2\"]",
                "telephone = { column = [\"Telefoon\", \"Mobiel\"], region = \"NL\" }",
                "facebook = \"Facebook\"",
            ],
        ),
        (
            "hubspot/export.csv",
            7,
            &[
                "primary_id = \"Record ID\"",
                "firstname = \"First Name\"",
                "lastname = \"Last Name\"",
                "email = [\"Email\", \"Work email\"]",
                "telephone = { column = [\"Phone Number\", \"Mobile Phone Number\"], region_column = \"Country/Region\" }",
                "twitter = \"Twitter Username\"",
            ],
        ),
        (
            "salesforce/export.csv",
            6,
            &[
                "primary_id = \"Contact ID\"",
                "firstname = \"First Name\"",
                "lastname = \"Last Name\"",
                "email = \"Email\"",
                "telephone = { column = [\"Phone\", \"Mobile\"], region_column = \"Mailing Country\" }",
            ],
        ),
        (
            "events/events.jsonl",
            0,
            &[
                "primary_id = \"customer\"",
                "firstname = \"contact.first\"",
                "lastname = \"contact.last\"",
                "email = \"contact.email\"",
                "telephone = { column = \"contact.phone\", region = \"NL\" }",
                "twitter = \"contact.twitter\"",
                "facebook = \"contact.facebook\"",
            ],
        ),
    ] {
        let content = std::fs::read(format!("{root}/{path}")).expect("a fixture");
        let name = path.rsplit('/').next().expect("a name");
        let (proposed, planned) = propose_and_plan(name, &content, 0);
        assert_eq!(mapping(&proposed), expected, "{proposed}");
        assert!(creates == 0 || planned == Some(creates), "{path}: {planned:?}");
    }
}

#[test]
fn all_members_of_json_lines_are_seen() {
    let lines = b"{\"id\":\"C-1\",\"first_name\":\"Sanne\",\"contact\":null}\n\
        {\"id\":\"C-2\",\"last_name\":\"Smit\",\"contact\":{\"email\":\"b@example.com\"},\"tags\":[\"a\"]}\n\
        {\"id\":\"C-3\",\"contact\":{\"email\":\"c@example.com\",\"phone\":\"+31612345678\"}}\n";
    let (proposed, creates) = propose_and_plan("export.jsonl", lines, 0);
    let expected = [
        "primary_id = \"id\"",
        "firstname = \"first_name\"",
        "lastname = \"last_name\"",
        "email = \"contact.email\"",
        "telephone = \"contact.phone\"",
    ];
    assert_eq!((mapping(&proposed).as_slice(), creates), (expected.as_slice(), Some(3)), "{proposed}");
    assert!(proposed.contains("# \"tags\" holds lists"), "{proposed}");
}

#[test]
fn the_object_around_each_row_says_nothing_and_one_inside_does() {
    let tap = b"{\"type\":\"RECORD\",\"record\":{\"id\":1,\"properties\":{\"firstname\":\"Ann\",\"lastname\":\"Smit\",\"email\":\"a@example.com\",\"hubspot_owner_id\":5}}}\n\
        {\"type\":\"RECORD\",\"record\":{\"id\":2,\"properties\":{\"firstname\":\"Bob\",\"lastname\":\"Bos\",\"email\":\"b@example.com\",\"hubspot_owner_id\":5}}}\n";
    let (proposed, creates) = propose_and_plan("tap.jsonl", tap, 0);
    assert!(proposed.contains("primary_id = \"record.id\"") && creates == Some(2), "{proposed}");
    let order = |id: u32, customer: u32, name: &str| {
        format!(
            "{{\"id\":{id},\"customer\":{{\"id\":{customer},\"first_name\":\"{name}\",\"last_name\":\"Smit\",\"email\":\"{name}@example.com\"}}}}\n"
        )
    };
    let orders = [order(5001, 77, "Ann"), order(5002, 78, "Bob"), order(5003, 77, "Ann")].concat();
    let (proposed, creates) = propose_and_plan("orders.jsonl", orders.as_bytes(), 0);
    assert!(proposed.contains("primary_id = \"customer.id\"") && creates == Some(2), "{proposed}");
}

#[test]
fn lines_above_the_header_are_skipped_by_their_number() {
    let header = "Klantnummer;Voornaam;Achternaam;E-mail\n";
    let rows: String = (10..30).map(|id| format!("K-{id};Sanne;Bakker;p{id}@example.com\n")).collect();
    for (above, below, skip) in [
        ("", "", None),
        ("sep=;\n", "", None),
        ("UTF-8\n", "", Some(1)),
        ("# exported 2026-11-27\n# all customers; by crm 3.1\n", "", Some(2)),
        ("Relatieoverzicht;;;\nAdministratie: Bakkerij Smit;;;\n;;;\n", "Totaal: 20;;;\n", Some(3)),
        ("Klantnummer overzicht\n", "", Some(1)),
        ("Klanten met e-mail\n\n", "Afgedrukt op 27-11-2026\n", Some(2)),
        ("Van;01-01-2026;Tot;27-11-2026\n", "", Some(1)),
        ("sep=;\nRapport klanten;;;\n", "", Some(1)),
        ("\"Rapport\nover twee regels\"\n", "", Some(2)),
    ] {
        let export = [above, header, &rows, below].concat();
        let (proposed, creates) = propose_and_plan("export.csv", export.as_bytes(), 0);
        assert_eq!(creates, Some(20), "{above}");
        let toml: toml::Table = proposed.parse().expect("TOML");
        let found = toml["input"].get("skip").and_then(toml::Value::as_integer);
        assert_eq!(found, skip, "{above}");
        assert_eq!(toml["customer"]["primary_id"].as_str(), Some("Klantnummer"), "{above}");
    }
}

#[test]
fn lists_of_addresses_are_proposed_and_others_are_not() {
    let line = |id: u32| {
        format!(
            "{{\"id\":\"C-{id}\",\"name\":\"Ann Smit\",\"emails\":[\"a{id}@example.com\",\"b{id}@example.com\"],\"phones\":[{{\"number\":\"+316123456{id}\",\"type\":\"home\"}}],\"aliases\":[\"X{id}\"]}}\n"
        )
    };
    let lines: String = (10..14).map(line).collect();
    let (proposed, creates) = propose_and_plan("export.jsonl", lines.as_bytes(), 0);
    let expected =
        ["primary_id = \"id\"", "name = \"name\"", "email = \"emails\"", "telephone = \"phones[].number\""];
    assert_eq!((mapping(&proposed).as_slice(), creates), (expected.as_slice(), Some(4)), "{proposed}");
    for list in ["phones[].type", "aliases"] {
        assert!(proposed.contains(&format!("# \"{list}\" holds lists")), "{proposed}");
    }
}

#[test]
fn a_proposal_is_toml_whatever_the_header_holds() {
    let header = "\"Klant\nnummer\",\"Voor\r\nnaam\",\"E-mail\n(priv\u{e9})\",\"# = \"\" ' \\\",\"\u{85}\u{202e}x\",\"a\tb\"\n";
    let rows = "1001,Sanne,s@example.com,1,2,3\n1002,Daan,d@example.com,1,2,3\n";
    let (proposed, creates) = propose_and_plan("export.csv", format!("{header}{rows}").as_bytes(), 0);
    assert!(proposed.contains("primary_id = \"Klant\\nnummer\""), "{proposed}");
    assert_eq!(creates, Some(2));
}

#[test]
fn a_sample_comes_from_all_over_the_export() {
    // The telephones begin behind the first rows.
    let mut export = String::from("customer_id,first_name,last_name,phone\n");
    for row in 0..60_000 {
        let phone = if row > 20_000 { format!("06-{:08}", 12_000_000 + 37 * row) } else { String::new() };
        export += &format!("C{row},Ann,Smit{row},{phone}\n");
    }
    let (proposed, _) = propose_and_plan("export.csv", export.as_bytes(), 0);
    assert!(proposed.contains("telephone = { column = \"phone\", region = \"NL\" }"), "{proposed}");
    assert!(proposed.contains("lastname = \"last_name\""), "{proposed}");
    assert!(proposed.contains("rows from all over the export") && !proposed.contains("repeat"), "{proposed}");
}

#[test]
fn damaged_and_placeholder_ids_are_told() {
    let floats = b"customer_id,first_name,email\n1000.0,Ann,a@example.com\n1001.0,Bob,b@example.com\n";
    let (proposed, creates) = propose_and_plan("export.csv", floats, 0);
    assert!(proposed.contains("split('.')") && creates == Some(2), "{proposed}");
    let guests = b"customer_id,first_name,last_name,email\n0,Ann,Smit,a@example.com\n1,Bob,Bos,b@example.com\n0,Eva,Ek,e@example.com\n";
    let (proposed, _) = propose_and_plan("export.csv", guests, 0);
    assert!(proposed.contains("# Note: 2 rows have \"0\" in \"customer_id\""), "{proposed}");
}

/// An export with these cells under `telefoon`, for each a row.
fn with_telephones(cells: &[&str]) -> String {
    let rows = cells.iter().enumerate();
    let rows = rows.map(|(at, cell)| format!("K-10{at};Sanne;Smit;s{at}@example.com;\"{cell}\"\n"));
    format!("klantnr;voornaam;achternaam;email;telefoon\n{}", rows.collect::<String>())
}

#[test]
fn cells_with_several_addresses_are_split_where_they_are() {
    let numbers =
        [("0612345678", "020-7654300"), ("06 23456789", "010 4144288"), ("+31 6 34567890", "0201234567")];
    for (between, split) in [
        (" / ", "/"),
        ("/", "/"),
        (" of ", " of "),
        (" or ", " or "),
        (" oder ", " oder "),
        (", ", ","),
        ("|", "|"),
        ("; ", ";"),
        (" & ", "&"),
        (" - ", " - "),
        ("\n", "\\n"),
    ] {
        let cells = numbers.map(|(first, second)| format!("{first}{between}{second}"));
        let export = with_telephones(&cells.each_ref().map(String::as_str));
        let (proposed, creates) = propose_and_plan("export.csv", export.as_bytes(), 0);
        let line = format!("telephone = {{ column = \"telefoon\", region = \"NL\", split = \"{split}\" }}");
        assert!(proposed.contains(&line), "{between}: {proposed}");
        assert_eq!(creates, Some(3), "{between}");
    }
    for (between, split) in [(" / ", "/"), (" of ", " of "), (", ", ","), (" ", " ")] {
        let rows = (1..4).map(|id| format!("K-{id};Sanne;geoff{id}@example.com{between}b{id}@example.com\n"));
        let export = format!("klantnr;voornaam;email\n{}", rows.collect::<String>());
        let (proposed, creates) = propose_and_plan("export.csv", export.as_bytes(), 0);
        let line = format!("email = {{ column = \"email\", split = \"{split}\" }}");
        assert!(proposed.contains(&line) && creates == Some(3), "{between}: {proposed}");
    }
}

#[test]
fn a_sign_inside_of_single_addresses_does_not_split_them() {
    for cells in [
        &["030/1234567", "030/7654321", "0171/1234567"][..],
        &["06 12345678", "06 23456789", "+31 20 1234567"],
        &["020 - 1234567", "020 - 7654321", "010-4144288"],
        // One row in three is no reason to damage the others.
        &["0201234567 0612345678", "020 1234567", "06 23456789"],
    ] {
        let world = World::with_server("http://127.0.0.1:9");
        world.file("export.csv", with_telephones(cells).as_bytes());
        let proposed = world.execute(&["init", "export.csv"]).stdout;
        assert!(!proposed.contains("split ="), "{cells:?}: {proposed}");
    }
}

#[test]
fn lines_around_the_customers_are_no_rows_of_a_proposal() {
    let header = "klantnr;voornaam;achternaam;email\n";
    let rows: String = (10..16).map(|id| format!("K-{id};Sanne;Smit;s{id}@example.com\n")).collect();
    let (proposed, creates) = propose_and_plan(
        "export.csv",
        format!("{header}{rows}Summe;6;;\nGedruckt am 31.12.2026\n").as_bytes(),
        0,
    );
    assert!(proposed.contains("all 6 rows") && !proposed.contains("cannot be split"), "{proposed}");
    assert_eq!(creates, Some(6));
    // Nothing is proposed for rows that cannot be read.
    let wide = rows.replace(";Smit", ";Smit;x;y");
    let (proposed, _) = propose_and_plan("export.csv", format!("{header}{wide}").as_bytes(), 1);
    assert!(
        proposed.contains("no row can be split into cells; on line 2: the row has 6 cells"),
        "{proposed}"
    );
    let (proposed, _) = propose_and_plan("export.csv", rows.as_bytes(), 1);
    assert!(proposed.contains("the first row holds values"), "{proposed}");
    let rounded: String =
        (1..4).map(|id| format!("1.00E+05;Sanne{id};Smit{id};s{id}@example.com\n")).collect();
    let (proposed, _) = propose_and_plan("export.csv", format!("{header}{rounded}").as_bytes(), 1);
    assert!(proposed.contains("holds numbers that a program has rounded"), "{proposed}");
}

#[test]
fn words_for_no_value_are_proposed_as_blank() {
    let rows =
        b"klantnummer\tvoornaam\tachternaam\temail\n1001\tSanne\t\\N\ts@example.com\n1002\tDaan\tNULL\td@example.com\n";
    let (proposed, _) = propose_and_plan("export.tsv", rows, 0);
    assert!(proposed.contains("blank = [\"\", \"NULL\", \"\\\\N\"]"), "{proposed}");
}

#[test]
fn what_is_no_table_is_refused() {
    for (content, reason) in [
        (&b"PK\x03\x04\x14\0\0\0\x08\0abc"[..], "cannot be unpacked"),
        (b"id\x02\x05\x06,name\x11\x12\n\x01\x02\x03,\x07\n", "control characters"),
        (b"<!DOCTYPE html><html><body><table></table>\n", "a web page"),
    ] {
        let world = World::with_server("http://127.0.0.1:9");
        world.file("export.csv", content);
        let output = world.execute(&["init", "export.csv"]).expect_code(2).expect_stderr(reason);
        assert_eq!(output.stdout, "");
    }
}
