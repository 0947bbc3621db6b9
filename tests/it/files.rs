//! Files as people have them: what is no table is named, and what is one is read.

use crate::world::{CommandOutput, World};

/// The mapping of most files here: Dutch words, as CRMs of small firms write them.
const MAPPING: &str = "[customer]\nprimary_id = \"Klantnummer\"\nbrand_id = { value = 2 }\nfirstname = \"Voornaam\"\nemail = \"E-mail\"\n";

fn world() -> World {
    World::default().with_mapping(MAPPING, "")
}

fn run(world: &World, name: &str, content: &[u8]) -> CommandOutput {
    world.file(name, content);
    world.execute(&["run", "--json", name])
}

/// Local headers of a zip with these entries, which is all that is looked at.
fn zip(names: &[&str]) -> Vec<u8> {
    let entry =
        |name: &&str| [&b"PK\x03\x04"[..], &[0; 22], &[name.len() as u8, 0, 0, 0], name.as_bytes()].concat();
    names.iter().flat_map(entry).collect()
}

#[test]
fn what_is_no_table_is_named_and_none_of_its_bytes_are_shown() {
    let utf32: Vec<u8> =
        "\u{feff}Klantnummer,E-mail\n".chars().flat_map(|letter| u32::from(letter).to_le_bytes()).collect();
    let mut tar = vec![b'a'; 600];
    tar[257..262].copy_from_slice(b"ustar");
    let html = "<html xmlns:o=\"urn:schemas-microsoft-com:office:office\"><table><tr><th>Klantnummer</th></tr></table></html>";
    let login = "\n<!DOCTYPE html><html><form><input name=u><input type=\"password\" name=p></form></html>";
    let utf16: Vec<u8> = format!("\u{feff}{html}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    let cases: &[(&str, &[u8], &str)] = &[
        ("a.xlsx", &zip(&["[Content_Types].xml", "xl/workbook.xml"]), "Excel workbook"),
        ("a.docx", &zip(&["[Content_Types].xml", "word/document.xml"]), "Word document"),
        ("a.ods", &zip(&["mimetypeapplication/vnd.oasis.opendocument.spreadsheet"]), "OpenDocument sheet"),
        ("a.csv", &zip(&["a/b/readme.md"]), "zip archive"),
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
