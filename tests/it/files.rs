//! Files as people have them: what is no table is named, and what is one is read.

use crate::world::{CommandOutput, World};

/// The mapping of most files here: Dutch words, as CRMs of small firms write them.
const MAPPING: &str = "[customer]\nprimary_id = \"Klantnummer\"\nbrand_id = { value = 2 }\nfirstname = \"Voornaam\"\nemail = \"E-mail\"\n";

fn world() -> World {
    World::default().with_mapping(MAPPING, "")
}

fn with_input(input: &str) -> World {
    World::default().with_mapping(MAPPING, &format!("[input]\n{input}\n"))
}

fn run(world: &World, name: &str, content: &[u8]) -> CommandOutput {
    world.file(name, content);
    // A plan against an empty checkpoint shows what was read.
    let config = format!("{}\n[checkpoint]\npath = \"empty\"\n", world.read("omnidesk-sync.toml"));
    world.file("empty.toml", config.as_bytes());
    world.execute(&["run", "--json", name])
}

/// A zip with these files, each of a little text.
fn zip(files: &[(&str, &str)]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, text) in files {
        writer.start_file(*name, options).expect("a file");
        std::io::Write::write_all(&mut writer, text.as_bytes()).expect("memory");
    }
    writer.finish().expect("a zip").into_inner()
}

#[test]
fn what_is_no_table_is_named_and_none_of_its_bytes_are_shown() {
    let utf32: Vec<u8> =
        "\u{feff}Klantnummer,E-mail\n".chars().flat_map(|letter| u32::from(letter).to_le_bytes()).collect();
    let mut tar = vec![0; 600];
    tar[..5].copy_from_slice(b"a.csv");
    tar[257..262].copy_from_slice(b"ustar");
    let html = "<html xmlns:o=\"urn:schemas-microsoft-com:office:office\"><table><tr><th>Klantnummer</th></tr></table></html>";
    let login = "\n<!DOCTYPE html><html><form><input name=u><input type=\"password\" name=p></form></html>";
    let utf16: Vec<u8> = format!("\u{feff}{html}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    let cases: &[(&str, &[u8], &str)] = &[
        ("a.xlsx", &zip(&[("xl/workbook.bin", "")]), "binary Excel workbook"),
        ("a.docx", &zip(&[("[Content_Types].xml", ""), ("word/document.xml", "")]), "Word document"),
        (
            "a.ods",
            &zip(&[("mimetype", "application/vnd.oasis.opendocument.spreadsheet")]),
            "OpenDocument sheet",
        ),
        ("a.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0\0\0", ".xls"),
        ("a.pdf", b"%PDF-1.7\n\xe2\xe3\xcf", "PDF document"),
        ("klanten.xls", html.as_bytes(), "web page"),
        ("wide.xls", &utf16, "web page"),
        ("export.csv", login.as_bytes(), "login page"),
        ("a.xml", b"<?xml version=\"1.0\"?><klanten/>", "XML file"),
        ("b.csv", b"\xef\xbb\xbf<Error><Code>AccessDenied</Code></Error>", "error message in XML"),
        ("a.rtf", b"{\\rtf1\\ansi x}", "RTF document"),
        ("a.bz2", b"BZh91AY&SY", "bzip2"),
        ("a.csv.xz", b"\xfd7zXZ\0\0", "xz"),
        ("a.7z", b"7z\xbc\xaf\x27\x1c\0", "7z archive"),
        ("a.parquet", b"PAR1\x15\x04\x15", "Parquet file"),
        ("a.tar", &tar, "tar archive"),
        ("utf32.csv", &utf32, "UTF-32"),
        ("lfs.csv", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer"),
        ("random.csv", &[0, 1, 2, 0, 0, 200, 7, 0, 0, 0, 27, 0], "binary data"),
    ];
    let world = world();
    for (name, content, kind) in cases {
        world.file(name, content);
        for command in ["init", "plan", "run"] {
            let output = world.execute(&[command, name]).expect_code(2).expect_stderr(kind);
            let shown = format!("{}{}", output.stdout, output.stderr);
            assert_eq!(output.stdout, "", "{name}");
            assert!(output.stderr.contains(&format!("error: {name}: is no table but ")), "{}", output.stderr);
            assert!(!shown.contains("\\u") && !shown.contains('\u{fffd}'), "{name}: {shown}");
        }
    }
    // Compression hides none of it.
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut packed, &tar).expect("memory");
    run(&world, "a.tgz", &packed.finish().expect("memory")).expect_code(2).expect_stderr("tar archive");
}

/// The customers that `export.csv` creates: id, first name, first address.
fn customers(world: &World) -> Vec<String> {
    let plan = world.execute(&["plan", "--json", "--show", "100", "-c", "empty.toml", "export.csv"]).json();
    let requests =
        plan["requests"].as_array().expect("requests").iter().filter(|request| request["call"] == "create");
    let text = |body: &serde_json::Value, key: &str| body[key].as_str().unwrap_or_default().to_owned();
    requests
        .map(|request| {
            ["primary_id", "firstname", "customer_link_channel"]
                .map(|key| text(&request["body"], key))
                .join("|")
        })
        .collect()
}

#[test]
fn any_character_may_separate_cells() {
    let rows = "Klantnummer,Voornaam,E-mail\n1001,Sanne,s@example.com\n1002,Daan,d@example.com\n";
    let expected = {
        let world = world();
        run(&world, "export.csv", rows.as_bytes()).expect_code(0).expect_outcomes("2 created");
        customers(&world)
    };
    for delimiter in ["^", "~", ":", "#", "!", "\x01", "\x1f", ";", "|", "\t"] {
        let world = world();
        let text = rows.replace(',', delimiter);
        run(&world, "export.csv", text.as_bytes()).expect_code(0).expect_outcomes("2 created");
        assert_eq!(customers(&world), expected, "{delimiter:?}");
        world.execute(&["init", "export.csv"]).expect_code(0);
    }
    for first in ["sep=^", "\"sep=^\"", "SEP=^", "sep=^^^", "sep ="] {
        let text = format!("{first}\r\n{}", rows.replace(',', "^"));
        run(&world(), "export.csv", text.as_bytes()).expect_code(0).expect_outcomes("2 created");
    }
    // A delimiter that splits nothing is named, and two characters are.
    let text = rows.replace(',', ";");
    run(&with_input("delimiter = \",\""), "export.csv", text.as_bytes())
        .expect_code(2)
        .expect_stderr("a single one")
        .expect_stderr("set delimiter = \";\"");
    for several in [";;", "~|~", "||"] {
        let output = run(&world(), "export.csv", rows.replace(',', several).as_bytes()).expect_code(2);
        assert!(
            output.stderr.contains(&format!("{several:?} stands between its cells")),
            "{}",
            output.stderr
        );
    }
    run(&with_input("delimiter = \";;\""), "export.csv", b"")
        .expect_code(2)
        .expect_stderr("a delimiter is one character");
}

#[test]
fn quotes_are_read_as_they_were_written() {
    let backslash = r#""Klantnummer","Voornaam","E-mail","notitie"
"1001","Sanne","s@example.com","zei \"bel mij\", dus bellen"
"1002","Daan \\","d@example.com","ok"
"#;
    let world = world();
    let output = run(&world, "export.csv", backslash.as_bytes()).expect_code(0).expect_outcomes("2 created");
    assert!(output.stderr.contains("escape = \"backslash\""), "{}", output.stderr);
    assert_eq!(customers(&world), ["1001|Sanne|s@example.com", "1002|Daan \\|d@example.com"]);
    world.execute(&["init", "export.csv"]).expect_code(0);
    // A rejected row goes through its result file.
    let rejected = backslash.replace("s@example.com", "no-address");
    run(&world, "export.csv", rejected.as_bytes()).expect_code(1);
    let fixed = world.result_text("rejected.csv").replace("no-address", "t@example.com");
    run(&world, "fixed.csv", fixed.as_bytes()).expect_code(0);

    let rows = "\"Klantnummer,Voornaam,E-mail\"\n\"1001,\"\"Sanne, x\"\",s@example.com\"\n\"1002,Daan,no-address\"\n";
    let world = self::world();
    run(&world, "export.csv", rows.as_bytes())
        .expect_code(1)
        .expect_outcomes("1 created, 1 rejected")
        .expect_stderr("rows stand whole in quotes");
    assert_eq!(customers(&world)[0], "1001|Sanne, x|s@example.com");
    let fixed = world.result_text("rejected.csv").replace("no-address", "d@example.com");
    run(&world, "fixed.csv", fixed.as_bytes()).expect_code(0).expect_outcomes("1 created");

    let single = "'Klantnummer';'Voornaam';'E-mail'\n'1001';'Sanne; ''t Hart';'s@example.com'\n";
    let world = self::world();
    run(&world, "export.csv", single.as_bytes()).expect_code(0).expect_outcomes("1 created");
    assert_eq!(customers(&world), ["1001|Sanne; 't Hart|s@example.com"]);
    let world = with_input("quote = \"none\"");
    run(&world, "export.csv", b"Klantnummer,Voornaam,E-mail\n1,\"Sanne,s@example.com\n").expect_code(0);
    assert_eq!(customers(&world), ["1|\"Sanne|s@example.com"]);
}

#[test]
fn double_and_blank_names_matter_only_where_they_are_mapped() {
    let text =
        ",Klantnummer,Voornaam,E-mail,E-mail,Reden,Reden,\n0,1001,Sanne,s@example.com,t@example.com,a,b,\n";
    let world = world();
    world.edit_config("email = \"E-mail\"", "email = [\"E-mail\", \"E-mail (2)\"]");
    run(&world, "export.csv", text.as_bytes())
        .expect_code(0)
        .expect_outcomes("1 created")
        .expect_calls(2)
        .expect_stderr("columns 4 and 5 are both called \"E-mail\"; the second is read as \"E-mail (2)\"");
    let output = run(&world, "export.csv", text.replace("s@", "s").as_bytes()).expect_code(1);
    assert!(!output.stderr.contains("Reden"), "{}", output.stderr);
    let fixed = world.result_text("rejected.csv").replace("sexample", "s@example");
    run(&world, "fixed.csv", fixed.as_bytes()).expect_code(0);
    world.execute(&["init", "export.csv"]);
}

const HEADER: &str = "Klantnummer,Voornaam,E-mail\n";

#[test]
fn the_header_is_the_first_line_that_holds_every_mapped_column() {
    let rows = "1001,Zo\u{eb},z@example.com\n1002,Daan,d@example.com\n";
    for above in [
        "UTF-8\n",
        "# made by hand\n\n",
        "My Contacts Report\n\"As of 2026-11-26 09:14:22, by \"\"Iris\"\"\"\n\n\"Filtered \"By\"\n",
        "a,b,c\nKlantnummer,b,c\n",
    ] {
        let world = world();
        let line = above.lines().count() + 1;
        let output = run(&world, "export.csv", format!("{above}{HEADER}{rows}").as_bytes());
        let output = output.expect_code(0).expect_outcomes("2 created");
        assert!(output.stderr.contains(&format!("the header is on line {line}")), "{}", output.stderr);
    }
    let far = format!("{}{HEADER}{rows}", "x\n".repeat(50));
    run(&world(), "export.csv", far.as_bytes()).expect_code(2);
    run(&with_input("skip = 50"), "export.csv", far.as_bytes()).expect_code(0).expect_outcomes("2 created");
    // Its result files have no lines above their header.
    let skipping = with_input("skip = 50");
    run(&skipping, "export.csv", far.replace("z@example.com", "no-address").as_bytes()).expect_code(1);
    let fixed = skipping.result_text("rejected.csv").replace("no-address", "z@example.com");
    run(&skipping, "fixed.csv", fixed.as_bytes()).expect_code(0).expect_outcomes("1 created");
    run(&with_input("skip = 49"), "export.csv", far.as_bytes()).expect_code(2);
    run(&with_input("skip = 0"), "export.csv", format!("UTF-8\n{HEADER}{rows}").as_bytes()).expect_code(2);
    run(&with_input("skip = \"all\""), "export.csv", b"").expect_code(2).expect_stderr("no number of lines");
    // So it is where the last line is no row.
    let broken = format!("{}{rows}1003,\"Eva\" x,e@example.com\n", HEADER.replace("E-mail", "E-mial"));
    let output = run(&world(), "export.csv", broken.as_bytes()).expect_code(2);
    assert!(output.stderr.contains("did you mean \"E-mial\"?"), "{}", output.stderr);
    assert!(!output.stderr.contains("cannot be read"), "{}", output.stderr);
    // A name that is misspelt is named, whatever stands above.
    let misspelt = format!("Report\n{}{rows}", HEADER.replace("E-mail", "E-mial"));
    run(&world(), "export.csv", misspelt.as_bytes()).expect_code(2).expect_stderr("did you mean \"E-mial\"?");
}

#[test]
fn blank_rows_headers_and_footers_are_counted_and_no_rows() {
    let rows = "1001,Sanne,s@example.com\n1002,Daan,d@example.com\n";
    let cases = [
        (format!("{HEADER}{rows}{}", ",,\n".repeat(300)), "300 blank lines"),
        (
            format!("{HEADER}1001,Sanne,s@example.com\n\"\",\"\",\"\"\n1002,Daan,d@example.com\n"),
            "1 blank line",
        ),
        (
            format!("{HEADER}1001,Sanne,s@example.com\n\u{feff}{HEADER}1002,Daan,d@example.com\n"),
            "1 repeated header",
        ),
        (format!("{HEADER}1001,Sanne,s@example.com{HEADER}1002,Daan,d@example.com\n"), "1 repeated header"),
        (
            format!("{HEADER}1001,Sanne,s@example.com\u{feff}{HEADER}1002,Daan,d@example.com\n"),
            "1 repeated header",
        ),
        (format!("{HEADER}{rows}Totaal: 2,,\n"), "1 footer"),
        (
            format!(
                "{HEADER}{rows}\n\nGrand Totals,,\n2 Records,,\nContacts with Mobile\nCopyright (c) 2026"
            ),
            "4 footers",
        ),
        (format!("{HEADER}{rows},Afgedrukt op 1-2-2026,\n"), "1 footer"),
        (format!("{HEADER}{rows}Gesamt,2 Datens\u{e4}tze,\n"), "1 footer"),
        (format!("{HEADER}{rows}Summe,2,\nGedruckt am 31.12.2026\n"), "2 footers"),
        (format!("{HEADER}{rows}T,2\n"), "1 footer"),
        (format!("{HEADER}{rows}TRL,000002"), "1 footer"),
        (format!("{HEADER}{rows},Totaal,2\n"), "1 footer"),
    ];
    for (text, no_rows) in &cases {
        let world = world();
        let output = run(&world, "export.csv", text.as_bytes()).expect_code(0).expect_outcomes("2 created");
        assert!(
            output.stderr.contains(&format!("no rows: {no_rows}")) || output.stderr.contains(no_rows),
            "{text}: {}",
            output.stderr
        );
        run(&world, "export.csv", text.as_bytes()).expect_code(0).expect_outcomes("2 unchanged");
    }
    let world = world();
    world.file("export.csv", cases[5].0.as_bytes());
    let summary = world.execute(&["run", "--json", "export.csv"]).expect_code(0).json();
    assert_eq!(summary["no_rows"], serde_json::json!({ "blank": 0, "headers": 0, "footers": 1 }));
    let plan = world.execute(&["plan", "export.csv"]).expect_code(0);
    assert!(plan.stdout.contains("no row on line 4: \"Totaal: 2\""), "{}", plan.stdout);
    // In other letters it is the header, too.
    let upper =
        format!("{HEADER}1001,Sanne,s@example.com\n{}1002,Daan,d@example.com\n", HEADER.to_uppercase());
    let world = self::world();
    run(&world, "export.csv", upper.as_bytes()).expect_code(0).expect_outcomes("2 created");
    // Names in another order are another file, also behind the same first one.
    let world = self::world();
    let swapped = format!("{HEADER}{rows}Klantnummer,E-mail,Voornaam\n1003,x@example.com,Eva\n");
    run(&world, "export.csv", swapped.as_bytes()).expect_code(2).expect_stderr("the header comes again");
    run(
        &world,
        "export.csv",
        format!("{HEADER}{rows}Voornaam,Klantnummer,E-mail\nx,1003,x@example.com\n").as_bytes(),
    )
    .expect_code(2)
    .expect_stderr("export.csv:4: the header comes again");
}

#[test]
fn files_put_together_must_agree_in_their_headers() {
    let rows = "1001,Sanne,s@example.com\n1002,Daan,d@example.com\n";
    for (header, row, problem) in [
        (
            "Klantnummer,Roepnaam,E-mail",
            "1003,Eva,e@example.com",
            "it lacks \"Voornaam\", and it alone has \"Roepnaam\"",
        ),
        ("Klantnummer,Voornaam,E-mail,Land", "1003,Eva,e@example.com,NL", "it alone has \"Land\""),
        ("Klantnummer,E-mail", "1003,e@example.com", "it lacks \"Voornaam\""),
        ("KLANTNUMMER,E-MAIL,VOORNAAM", "1003,e@example.com,Eva", "in another order"),
    ] {
        let text = format!("{HEADER}{rows}{header}\n{row}\n");
        run(&world(), "export.csv", text.as_bytes())
            .expect_code(2)
            .expect_stderr("export.csv:4: ")
            .expect_stderr(problem);
    }
    // Customers who are called like a column.
    for row in ["1003,Voornaam,v@example.com", "1003,Klantnummer,e-mail@example.com"] {
        let text = format!("{HEADER}{rows}{row}\n");
        run(&world(), "export.csv", text.as_bytes()).expect_code(0).expect_outcomes("3 created");
    }
}

#[test]
fn a_row_that_describes_the_columns_is_no_customer() {
    let rows = "1001,Sanne,s@example.com\n1002,Daan,d@example.com\n";
    for label in [
        "Customer number,Called,Address of mail\n",
        "varchar(20),varchar(255),text\n",
        "[nr],[text],[text]\n",
        "klantnummer.,Voor naam,Email\nint,text,text\n",
        "Klantnummer,Naam van de klant,E-mail\n",
    ] {
        let world = world();
        let output = run(&world, "export.csv", format!("{HEADER}{label}{rows}").as_bytes());
        let output = output.expect_code(0).expect_outcomes("2 created");
        assert!(output.stderr.contains("the row on line 2 describes the columns"), "{}", output.stderr);
        run(&world, "export.csv", format!("{HEADER}{label}{rows}").as_bytes()).expect_outcomes("2 unchanged");
        // Rows keep their lines and numbers.
        let text = format!("{HEADER}{label}{rows}1003,Eva,no-address\n");
        let lines = text.lines().count();
        run(&world, "export.csv", text.as_bytes()).expect_code(1).expect_stderr(&format!("line {lines}"));
        let proposed = world.execute(&["init", "export.csv"]).expect_code(0).stdout;
        assert!(proposed.contains("describes the columns"), "{proposed}");
    }
    // A first customer with an id of another kind.
    for first in ["BALIE,Balieverkoop,balie@example.com\n", "ADMIN,System,a@example.com\n"] {
        let text = format!("{HEADER}{first}{rows}");
        run(&world(), "export.csv", text.as_bytes()).expect_code(0).expect_outcomes("3 created");
    }
}

#[test]
fn rows_may_end_with_a_delimiter_where_the_header_does_not() {
    let text = format!("{HEADER}1001,Sanne,s@example.com,\n1002,Daan,d@example.com,\n1003,Eva,,\n");
    let world = world();
    run(&world, "export.csv", text.as_bytes())
        .expect_code(0)
        .expect_outcomes("3 created")
        .expect_stderr("rows end with a delimiter and the header does not");
    assert_eq!(customers(&world)[..2], ["1001|Sanne|s@example.com", "1002|Daan|d@example.com"]);
    let proposed = world.execute(&["init", "export.csv"]).expect_code(0).stdout;
    assert!(proposed.contains("rows end with a delimiter"), "{proposed}");
    // A cell too many is refused, and its row goes through the result file.
    let world = self::world();
    let shifted = text.replace("Daan,", "Daan, ir.,").replace("s@example.com", "no-address");
    run(&world, "export.csv", shifted.as_bytes()).expect_code(1).expect_outcomes("1 created, 2 rejected");
    let fixed = world.result_text("rejected.csv").replace("no-address", "s@example.com");
    run(&world, "fixed.csv", fixed.as_bytes()).expect_outcomes("1 created, 1 rejected");
    // In one row it may be a sign of a shifted cell.
    let one = format!("{HEADER}1001,Sanne,s@example.com\n1002,Daan,d@example.com,\n1003,Eva,\n");
    run(&self::world(), "export.csv", one.as_bytes()).expect_code(1).expect_outcomes("2 created, 1 rejected");
    // A row that lacks the delimiter, and one that may lack a cell.
    let some = format!("{text}1004,Kees,k@example.com\n1005,k@example.com,\n");
    run(&self::world(), "export.csv", some.as_bytes())
        .expect_code(1)
        .expect_outcomes("4 created, 1 rejected");
}

#[test]
fn lines_that_are_drawn_between_rows_are_no_rows() {
    let psql = " Klantnummer | Voornaam |      E-mail\n-------------+----------+---------------\n        1001 | Sanne    | s@example.com\n        1002 | Daan     |\n(2 rows)\n";
    let mysql = "+------+-------+------+\n| Klantnummer | Voornaam | E-mail |\n+------+-------+------+\n| 1001 | Sanne | s@example.com |\n| 1002 | Daan | d@example.com |\n+------+-------+------+\n2 rows in set (0.00 sec)\n";
    let markdown = "| Klantnummer | Voornaam | E-mail |\n|---|:---|---:|\n| 1001 | Sanne | s@example.com |\n| 1002 | Daan | d@example.com |\n";
    let sqlcmd = "Klantnummer,Voornaam,E-mail\n-----------,--------,------\n1001,Sanne,s@example.com\n1002,Daan,d@example.com\n\n(2 rows affected)\n";
    for text in [psql, mysql, markdown, sqlcmd] {
        let world = world();
        let output = run(&world, "export.txt", text.as_bytes()).expect_code(0).expect_outcomes("2 created");
        assert!(output.stderr.contains("lines are drawn between its rows"), "{}", output.stderr);
        world.execute(&["init", "export.txt"]).expect_code(0);
    }
    // Dashes in a cell are a value.
    let text = format!("{HEADER}1001,---,s@example.com\n");
    run(&self::world(), "export.csv", text.as_bytes()).expect_code(0).expect_outcomes("1 created");
}

#[test]
fn what_is_no_csv_is_named_and_what_is_nearly_is_read() {
    let fixed = "Klantnummer   Voornaam   E-mail\n1001          Sanne      s@example.com\n1002          Zo\u{eb}        z@example.com\n";
    let typographic = "\u{201c}Klantnummer\u{201d},\u{201c}Voornaam\u{201d},\u{201c}E-mail\u{201d}\n\u{201c}1001\u{201d},\u{201c}Sanne\u{201d},\u{201c}s@example.com\u{201d}\n";
    for (text, problem) in [(fixed, "at fixed positions"), (typographic, "in typographic quotes")] {
        let world = world();
        run(&world, "export.txt", text.as_bytes()).expect_code(2).expect_stderr(problem);
        world.execute(&["init", "export.txt"]).expect_code(2).expect_stderr(problem);
    }
    let spaced = "\"Klantnummer\", \"Voornaam\", \"E-mail\"\n\"1001\", \"Sanne, ir.\", \"s@example.com\"\n\"1002\", \"Daan\", \"no-address\"\n";
    let world = world();
    run(&world, "export.csv", spaced.as_bytes())
        .expect_code(1)
        .expect_outcomes("1 created, 1 rejected")
        .expect_stderr("spaces stand between delimiters and quotes");
    assert_eq!(customers(&world)[0], "1001|Sanne, ir.|s@example.com");
    let fixed = world.result_text("rejected.csv").replace("no-address", "d@example.com");
    run(&world, "fixed.csv", fixed.as_bytes()).expect_code(0).expect_outcomes("1 created");
    // The first line may name another separator than the one between the cells.
    let text = format!("sep=,\n{}1001;Sanne;s@example.com\n", HEADER.replace(',', ";"));
    run(&self::world(), "export.csv", text.as_bytes()).expect_code(0).expect_outcomes("1 created");
}

#[test]
fn a_stray_quote_is_named_with_the_setting_that_reads_it() {
    let setting = "set quote = \"none\" in [input]";
    for row in ["1001,\"Bar\" De Kroon,s@example.com\n", "1001,\"Sanne,s@example.com 15\"\n"] {
        let text = format!("{HEADER}{row}1002,Daan,d@example.com\n");
        run(&world(), "export.csv", text.as_bytes())
            .expect_code(1)
            .expect_stderr("cell 2 begins with a quote that is text")
            .expect_stderr(setting);
        let output = run(&with_input("quote = \"none\""), "export.csv", text.as_bytes());
        assert!(!output.stderr.contains("malformed_row"), "{}", output.stderr);
    }
    // With that setting this row would not have its cells either.
    let text = format!("{HEADER}1001,\"Sanne, \"ir\".\",s@example.com\n");
    let output = run(&world(), "export.csv", text.as_bytes()).expect_code(1);
    assert!(!output.stderr.contains(setting), "{}", output.stderr);
    // One cell is one.
    let text = format!("{HEADER}1001,Sanne,s@example.com\nx\n1002,Daan,d@example.com\n");
    run(&world(), "export.csv", text.as_bytes())
        .expect_code(1)
        .expect_stderr("the row has 1 cell and the header 3");
    // A header alone has no blank line behind it.
    let output = run(&world(), "export.csv", HEADER.as_bytes());
    assert!(!output.stderr.contains("blank line"), "{}", output.stderr);
}

#[test]
fn the_encoding_of_a_packed_table_is_guessed_too() {
    let text = b"Klantnummer;Voornaam;E-mail\n1001;Ren\xe9;r@example.com\n1002;Zo\xeb;z@example.com\n";
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gz, text).expect("memory");
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in
        [("readme.txt", &b"All customers"[..]), ("klanten.csv", text), ("__MACOSX/._klanten.csv", b"x")]
    {
        archive.start_file(name, zip::write::SimpleFileOptions::default()).expect("a file");
        std::io::Write::write_all(&mut archive, content).expect("memory");
    }
    for (name, content) in [
        ("a.csv.gz", gz.finish().expect("memory")),
        ("b.csv.zst", zstd::encode_all(&text[..], 1).expect("memory")),
        ("c.zip", archive.finish().expect("a zip").into_inner()),
    ] {
        let world = with_input("encoding = \"windows-1252\"");
        run(&world, name, &content).expect_code(0).expect_outcomes("2 created");
        let proposed = world.execute(&["init", name]).expect_code(0).stdout;
        assert!(proposed.contains("encoding = \"windows-1252\""), "{name}: {proposed}");
    }
    // Two tables are still two.
    let two = zip(&[("a.csv", HEADER), ("b.csv", HEADER), ("readme.txt", "x")]);
    run(&world(), "two.zip", &two).expect_code(2).expect_stderr("3 files");
}

#[test]
fn a_sparse_row_is_an_ordinary_row() {
    let rows = "1001,Sanne,s@example.com\n1002,Daan,d@example.com\n";
    for (text, outcomes) in [
        // At the end, behind blank rows, with an id like the others.
        (format!("{HEADER}{rows}1003,,\n"), "3 created"),
        (format!("{HEADER}{rows},,\n\n,,\n1003,,\n"), "3 created"),
        (format!("{HEADER}{rows}1003,,"), "3 created"),
        (format!("{HEADER}{rows}10003,,\n999999,,\n"), "4 created"),
        // Above a full row even the words of footers.
        (format!("{HEADER}Totaal,,\n{rows}"), "3 created"),
        (format!("{HEADER}{rows}1003,Total,t@example.com\n"), "3 created"),
        (format!("{HEADER}{rows}1003,Total Energies,\n"), "3 created"),
        (format!("{HEADER}{rows}TOTAL,,t@example.com\n"), "3 created"),
        (format!("{HEADER}{rows}17,Total,\n"), "3 created"),
        // The last line of a longer cell is no footer.
        (
            format!("{HEADER}{rows}1003,\"Eva\nvan\",e@example.com\n1004,Bo,\"b@example.com\n\"\n"),
            "4 created",
        ),
    ] {
        let output = run(&world(), "export.csv", text.as_bytes());
        assert_eq!(
            output.json()["outcomes"]["created"].as_u64(),
            outcomes.split(' ').next().and_then(|count| count.parse().ok()),
            "{text}: {}",
            output.stderr
        );
    }
}

#[test]
fn a_row_that_is_cut_in_its_id_is_no_footer() {
    let rows = "C-1001,Sanne,s@example.com\nC-1002,Daan,d@example.com\n";
    for cut in ["C", "C-", "C-10", "C-1003", "C-1003,E"] {
        run(&world(), "export.csv", format!("{HEADER}{rows}{cut}").as_bytes())
            .expect_code(2)
            .expect_stderr("breaks off");
    }
}

#[test]
fn names_keep_their_accents_whatever_the_encoding() {
    let text = "Klantnummer,Voornaam,E-mail\n1001,Zo\u{eb},z@example.com\n1002,Andr\u{e9},a@example.com\n1003,M\u{fc}ller,no-address\n";
    // Zo\u{eb}, Andr\u{e9} and M\u{fc}ller in each encoding.
    let encodings: [(&str, [u8; 3]); 5] = [
        ("cp850", [0x89, 0x82, 0x81]),
        ("cp437", [0x89, 0x82, 0x81]),
        ("mac-roman", [0x91, 0x8e, 0x9f]),
        ("latin-1", [0xeb, 0xe9, 0xfc]),
        ("ANSI", [0xeb, 0xe9, 0xfc]),
    ];
    for (name, bytes) in encodings {
        let world = with_input(&format!("encoding = \"{name}\""));
        let byte = |letter: char| match letter {
            '\u{eb}' => bytes[0],
            '\u{e9}' => bytes[1],
            '\u{fc}' => bytes[2],
            other => other as u8,
        };
        let encoded: Vec<u8> = text.chars().map(byte).collect();
        run(&world, "export.csv", &encoded).expect_code(1).expect_outcomes("2 created, 1 rejected");
        assert_eq!(
            customers(&world),
            ["1001|Zo\u{eb}|z@example.com", "1002|Andr\u{e9}|a@example.com"],
            "{name}"
        );
        // The result file is in the same encoding.
        let mut fixed = world.result("rejected.csv").expect("a result file");
        assert!(fixed.windows(4).any(|window| window == [b'M', bytes[2], b'l', b'l']), "{name}");
        let at = fixed.windows(10).position(|window| window == b"no-address").expect("the address");
        fixed.splice(at..at + 10, *b"m@example.com");
        run(&world, "fixed.csv", &fixed).expect_code(0).expect_outcomes("1 created");
        // And `init` sees what it is.
        let proposed = world.execute(&["init", "export.csv"]).stdout;
        let guess = match name {
            "cp850" | "cp437" => "cp850",
            "mac-roman" => "macintosh",
            _ => "windows-1252",
        };
        assert!(proposed.contains(&format!("encoding = \"{guess}\"")), "{name}: {proposed}");
    }
}

#[test]
fn stray_rows_of_another_encoding_are_rejected_and_no_other() {
    let rows: String = (0..20).map(|id| format!("1{id:03},Zo\u{eb},z{id}@example.com\n")).collect();
    let stray = b"2001,Ren\xe9,r@example.com\n2002,B\xf6hm,b@example.com\n";
    let text = [HEADER.as_bytes(), rows.as_bytes(), stray].concat();
    let world = world();
    run(&world, "export.csv", &text).expect_code(1).expect_outcomes("20 created, 2 rejected");
    let proposed = world.execute(&["init", "export.csv"]);
    assert!(!proposed.stdout.contains("encoding ="), "{}", proposed.stdout);
    // A setting that would garble the others is refused.
    run(&with_input("encoding = \"windows-1252\""), "export.csv", &text)
        .expect_code(2)
        .expect_stderr("is UTF-8");
    // Text that another program garbled is reported on the night on which it changes
    // something, also to cron.
    let world = self::world();
    let row = |name: &str| format!("{HEADER}1001,{name},z@example.com\n");
    run(&world, "export.csv", row("Zo\u{eb}").as_bytes()).expect_code(0);
    world.file("export.csv", row("Zo\u{c3}\u{ab}").as_bytes());
    world.execute(&["run", "-q", "export.csv"]).expect_code(0).expect_stderr("text looks garbled");
    let again = world.execute(&["run", "-q", "export.csv"]).expect_code(0);
    assert!(!again.stderr.contains("garbled"), "{}", again.stderr);
}

const JSON_MAPPING: &str = "[customer]\nprimary_id = \"id\"\nbrand_id = { value = 2 }\nfirstname = \"first_name\"\nemail = [\"emails\", \"contact.mail\"]\ntelephone = \"phones[].number\"\n";

fn json_world() -> World {
    World::default().with_mapping(JSON_MAPPING, "")
}

const SANNE: &str = r#"{"id": "C-1", "first_name": "Sanne, \"{}]", "emails": ["a@example.com", "b@example.com"], "phones": [{"number": "+31612345678"}, {"number": "+31612345679", "type": "work"}]}"#;
const DAAN: &str = r#"{"id": "C-2", "first_name": "Daan", "emails": [], "phones": [], "contact": {"mail": "d@example.com"}}"#;

#[test]
fn json_is_read_in_every_layout_and_lists_are_several_addresses() {
    let pretty = |row: &str| {
        let value: serde_json::Value = serde_json::from_str(row).expect("JSON");
        format!("{value:#}")
    };
    let layouts = [
        format!("{SANNE}\n{DAAN}\n"),
        format!("[{SANNE}, {DAAN}]"),
        format!("[\n  {SANNE},\n  {DAAN}\n]\n"),
        format!("{}\n{}\n", pretty(SANNE), pretty(DAAN)),
        format!("[{},\n{}]", pretty(SANNE), pretty(DAAN)),
        format!("{{\"total\": 2, \"records\": [{SANNE},{DAAN}], \"done\": true}}"),
        format!("{{\n\"data\": {{\"items\": [\n{},{}]}}}}", pretty(SANNE), pretty(DAAN)),
    ];
    for text in &layouts {
        for name in ["export.json", "export.jsonl", "export.csv"] {
            let world = json_world();
            let output = run(&world, name, text.as_bytes()).expect_code(0).expect_outcomes("2 created");
            // One create each, and three more addresses.
            let output = output.expect_calls(5);
            let names_list = text.contains("total") || text.contains("items");
            assert_eq!(output.stderr.contains("the rows are the objects in the list"), names_list, "{text}");
            world.execute(&["run", "--json", name]).expect_code(0).expect_outcomes("2 unchanged");
        }
    }
    // A rejected row goes through its result file.
    for text in &layouts[1..] {
        let world = json_world();
        let text = text.replace("d@example.com", "no-address");
        run(&world, "export.json", text.as_bytes()).expect_code(1).expect_outcomes("1 created, 1 rejected");
        let fixed = world.result_text("rejected.jsonl").replace("no-address", "d@example.com");
        run(&world, "fixed.jsonl", fixed.as_bytes()).expect_code(0).expect_outcomes("1 created");
    }
    // A list is no text, where one is needed beside the addresses.
    let world = World::default().with_mapping(
        &format!("{JSON_MAPPING}[customer.custom]\nmails = {{ template = \"{{{{ emails }}}}\" }}\n"),
        "",
    );
    run(&world, "export.json", layouts[1].as_bytes()).expect_code(1).expect_outcomes("1 created, 1 rejected");
    // A list that has no end is not read.
    run(&json_world(), "export.json", format!("[{SANNE}, {DAAN}").as_bytes())
        .expect_code(2)
        .expect_stderr("breaks off");
    run(&json_world(), "export.json", format!("[{SANNE}, {{\"id\":").as_bytes())
        .expect_code(2)
        .expect_stderr("breaks off");
}

#[test]
fn streams_of_taps_are_mapped_by_dotted_names_and_errors_are_in_words() {
    let world = World::default().with_mapping(
        "[customer]\nprimary_id = \"record.id\"\nbrand_id = { value = 2 }\nemail = \"record.mail\"\n[[operation.rule]]\nwhen = \"type != 'RECORD'\"\nthen = \"skip\"\n",
        "",
    );
    let lines = "{\"type\":\"SCHEMA\",\"schema\":{\"a\":[1]}}\n{\"type\":\"RECORD\",\"record\":{\"id\":7,\"mail\":\"a@example.com\"}}\n";
    run(&world, "export.jsonl", lines.as_bytes()).expect_code(0).expect_outcomes("1 created, 1 skipped");
    for (line, words) in [
        ("{\"id\":1", "ends before its closing brace"),
        ("{id:1}", "a key has no double quotes"),
        ("{\"id\":1,}", "a comma stands before the closing brace"),
        ("{\"id\":1} x", "text follows the closing brace"),
        ("id=1", "does not begin with"),
    ] {
        let world = json_world();
        run(&world, "export.jsonl", format!("{DAAN}\n{line}\n").as_bytes())
            .expect_code(1)
            .expect_stderr(words);
    }
    // `init` sees the members of all rows, inside of others and of lists.
    let world = json_world();
    world.file("export.jsonl", format!("{{\"id\":\"C-0\"}}\n{SANNE}\n{DAAN}\n").as_bytes());
    let proposed = world.execute(&["init", "export.jsonl"]).stdout;
    for name in ["emails", "phones[].number", "contact.mail"] {
        assert!(proposed.contains(name), "{name}: {proposed}");
    }
}
