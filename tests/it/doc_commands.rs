//! Each command in the documentation is run: page by page, as a reader would type
//! it, in a folder of its own and against a sandbox.
//!
//! A block of `sh`, `console` or `cron` is run, unless the line above it says why
//! not: `<!-- not run: … -->`. It ends with 0, or as `<!-- exit 7 -->` says. The
//! tool of `<!-- needs: … -->` may be missing here. `aws` and `sftp` are scripts
//! that copy a file.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use crate::tools::{GNUPG, POSTGRESQL, SQLITE};
use crate::world::{CommandOutput, KEY, World};

/// The most blocks that are not run.
const NOT_RUN_MAX: usize = 9;

const CUSTOMERS: usize = 120;
/// Half of them are in the other exports.
const SHOP: usize = 40;

/// A part of a page that is typed into a terminal.
struct Block {
    page: String,
    /// The line above it, if that is a comment.
    mark: String,
    commands: Vec<String>,
}

impl Block {
    /// What the mark says of a subject.
    fn mark(&self, subject: &str) -> Option<&str> {
        Some(self.mark.split(&format!("<!-- {subject}")).nth(1)?.split("-->").next()?.trim())
    }

    fn exit_code(&self) -> i32 {
        self.mark("exit ").map_or(0, |code| code.parse().expect("an exit code"))
    }

    /// Whether its tool is here.
    fn can_run(&self) -> bool {
        match self.mark("needs: ") {
            None => true,
            Some("GnuPG") => GNUPG.is_here(),
            Some("SQLite") => SQLITE.is_here(),
            Some("PostgreSQL") => POSTGRESQL.is_here(),
            Some(tool) => panic!("{}: no test knows {tool}", self.page),
        }
    }
}

fn blocks(page: &str) -> Vec<Block> {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).expect("a page");
    let mut lines = text.lines();
    let (mut blocks, mut before) = (Vec::new(), "");
    while let Some(line) = lines.next() {
        let Some(language) = line.strip_prefix("```") else {
            before = line;
            continue;
        };
        let content: Vec<&str> = lines.by_ref().take_while(|line| !line.starts_with("```")).collect();
        let commands = match language {
            "sh" => vec![content.join("\n")],
            "console" => {
                content.iter().filter_map(|line| line.strip_prefix("$ ")).map(str::to_owned).collect()
            }
            // Behind minute, hour, day, month and weekday.
            "cron" => {
                content.iter().map(|line| line.splitn(6, ' ').last().unwrap_or(line).to_owned()).collect()
            }
            // Nothing to type.
            "toml" | "text" => continue,
            other => panic!("{page}: a block of {other:?} is neither run nor known"),
        };
        let mark = if before.starts_with("<!--") { before.to_owned() } else { String::new() };
        blocks.push(Block { page: page.to_owned(), mark, commands });
    }
    blocks
}

/// The files that the pages speak of.
fn reader(page: &str) -> World {
    let world = World::default().with_mapping(
        "[customer]\nprimary_id = \"customer_number\"\nbrand_id = { value = 2 }\nfirstname = \"first_name\"\nlastname = \"last_name\"\nemail = \"email\"\n",
        "[verify]\nbrands = { 2 = \"Brand 2\" }\n",
    );
    let header = "customer_number,first_name,last_name,email\n";
    let rows = |ids: std::ops::Range<usize>, letter: &str| -> String {
        ids.map(|id| format!("{letter}{id},Ann,Smit,{}{id}@example.org\n", letter.to_lowercase())).collect()
    };
    let base = rows(1..CUSTOMERS, "K-");
    for (name, rows) in [
        ("customers.csv", base.clone()),
        ("part-1.csv", rows(1..50, "K-")),
        ("part-2.csv", rows(50..CUSTOMERS, "K-")),
        ("new-customers.csv", rows(CUSTOMERS..CUSTOMERS + 3, "K-")),
        ("crm.csv", base),
    ] {
        world.file(name, format!("{header}{rows}").as_bytes());
    }
    std::fs::create_dir(world.path("exports")).expect("a folder");
    world.file(
        "exports/customers.csv",
        format!("{header}{}{}", rows(1..CUSTOMERS, "K-"), rows(1040..1050, "C")).as_bytes(),
    );
    let shop: String =
        (CUSTOMERS - SHOP / 2..CUSTOMERS + SHOP / 2).map(|id| format!("K-{id},+31201234{id}\n")).collect();
    world.file("shop.csv", format!("customer_number,phone\n{shop}").as_bytes());
    let config = world.read("omnidesk-sync.toml");
    let end = "[report]\ndir = \"shop-runs\"\n[checkpoint]\npath = ";
    let fields = config.split("firstname").next().expect("a head").to_owned() + "telephone = \"phone\"\n";
    // No shared customers.
    let shop = fields.replace("value = 2", "value = 3");
    world.file("crm.toml", config.as_bytes());
    world.file("shop.toml", format!("{shop}{end}\"shop.checkpoint\"\n").as_bytes());
    world.file("shop-fields.toml", format!("{fields}{end}\"omnidesk-sync.checkpoint\"\n").as_bytes());

    std::fs::create_dir(world.path("bin")).expect("a folder");
    symlink(env!("CARGO_BIN_EXE_omnidesk-sync"), world.path("bin/omnidesk-sync")).expect("a link");
    for (name, script) in [("aws", AWS), ("sftp", SFTP)] {
        let path = world.file(&format!("bin/{name}"), script.as_bytes());
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o700)).expect("a mode");
    }
    prepare(&world, page);
    world
}

/// `aws s3 cp --only-show-errors s3://crm-exports/NAME PATH`
const AWS: &str = "#!/bin/sh
set -e
[ \"$1 $2 $3\" = 's3 cp --only-show-errors' ]
from=remote/${4#s3://crm-exports/}
case $5 in
    -) head -c \"${CUT:-1000000}\" \"$from\" ;;
    *) cp \"$from\" \"$5\" ;;
esac
[ -z \"$CUT\" ]
";

/// `sftp -q -o BatchMode=yes HOST:out/NAME PATH`
const SFTP: &str = "#!/bin/sh
set -e
[ \"$1 $2 $3\" = '-q -o BatchMode=yes' ]
cp \"remote/${4#crm@files.example.org:out/}\" \"$5\"
";

/// What a reader of a page has done before.
fn prepare(world: &World, page: &str) {
    let commands = match page {
        "docs/one-customer.md" | "docs/verify.md" => "omnidesk-sync run -q customers.csv".to_owned(),
        // The row is fixed in the file of results.
        "docs/troubleshooting.md" => "echo K-999,Ann,Smit,nobody >> customers.csv
            omnidesk-sync run -q customers.csv
            [ $? = 1 ] && sed -i s/,nobody,/,nobody@example.org,/ runs/*/rejected.csv"
            .to_owned(),
        "docs/monitoring.md" => {
            "printf '[notify]\\nwebhook = { file = \"webhook-url\" }\\n' >> omnidesk-sync.toml".to_owned()
        }
        "docs/recipes.md" => RECIPES.to_owned(),
        _ => return,
    };
    shell(world, &commands).expect_code(0);
}

const RECIPES: &str = "set -e
    mkdir remote
    cp customers.csv remote/
    gzip -k remote/customers.csv
    if command -v sqlite3; then
        sqlite3 -batch -bail crm.db '.mode csv' '.import customers.csv customers'
    fi
    if command -v gpg; then
        mkdir -m 700 \"$GNUPGHOME\"
        gpg --batch --quiet --passphrase '' --quick-generate-key crm@example.org
        for file in customers.csv customers.csv.gz; do
            gpg --batch --quiet --recipient crm@example.org --output $file.gpg --encrypt remote/$file
        done
    fi
    if command -v initdb; then
        # The server refuses to run as root.
        if [ \"$(id -u)\" = 0 ]; then nobody='setpriv --reuid=65534 --regid=65534 --clear-groups'; fi
        database=$(mktemp -d)
        echo \"$database\" > database
        chmod 755 \"$database\"
        if [ -n \"$nobody\" ]; then chown 65534:65534 \"$database\"; fi
        $nobody initdb -D \"$database/db\" -U crm -A trust
        $nobody pg_ctl -D \"$database/db\" -o \"-k $database -h ''\" -l \"$database/log\" -w start > pg_ctl.log
        export PGHOST=$database
        psql -q -d postgres -c 'create database crm'
        psql -q -d crm -c 'create table customers (customer_number text, first_name text, last_name text, email text)' \\
            -c \"\\copy customers from 'customers.csv' with (format csv, header)\"
    fi";

/// Whatever was started for the recipes.
const END: &str = "
    if command -v gpgconf; then gpgconf --kill all; fi
    if [ -f database ]; then
        if [ \"$(id -u)\" = 0 ]; then nobody='setpriv --reuid=65534 --regid=65534 --clear-groups'; fi
        $nobody pg_ctl -D \"$(cat database)/db\" -m immediate stop
        rm -rf \"$(cat database)\"
    fi";

fn shell(world: &World, commands: &str) -> CommandOutput {
    let folder = world.path("");
    let bin = world.path("bin");
    let path = std::env::var("PATH").unwrap_or_default();
    // The proposed configuration, as a reader would complete it.
    let config = world.read("omnidesk-sync.toml");
    let config =
        config.replace("https://account.omnidesk.com", &world.base_url()).replace("\"5/s\"", "\"500/s\"");
    assert!(config.contains(&world.base_url()), "{config}");
    world.file("omnidesk-sync.toml", config.as_bytes());
    // Noon, far from every --stop-at.
    let seconds = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a time").as_secs();
    let hours_east = 12 - i64::try_from(seconds / 3600 % 24).expect("an hour");
    let database = std::fs::read_to_string(world.path("database")).unwrap_or_default();
    let mut command = Command::new("sh");
    command.args(["-c", commands]).current_dir(&folder).env("PATH", format!("{}:{path}", bin.display()));
    command.env("TZ", format!("<noon>{}", -hours_east)).env("OMNIDESK_API_KEY", KEY);
    command.env("GNUPGHOME", world.path("gnupg"));
    command.envs([("PGHOST", database.trim()), ("PGUSER", "crm"), ("PGDATABASE", "crm")]);
    CommandOutput::read(&mut command)
}

/// The command with the paths of this world.
fn adapted(world: &World, command: &str) -> String {
    let command = command.replace("/srv/omnidesk", ".").replace("/exports/", "exports/");
    let Some(at) = command.find("Z-customers") else { return command };
    let example = &command[at - "20261127T023000".len()..at + "Z-customers".len()];
    let runs =
        std::fs::read_dir(world.path("runs")).expect("runs").map(|run| run.expect("a run").file_name());
    let newest = runs.max().expect("a run").into_string().expect("UTF-8");
    command.replace(example, &newest)
}

fn run(world: &World, block: &Block) {
    for (nth, command) in block.commands.iter().enumerate() {
        let output = shell(world, &adapted(world, command));
        let expected = if nth + 1 == block.commands.len() { block.exit_code() } else { 0 };
        let CommandOutput { code, stdout, stderr } = output;
        assert_eq!(code, Some(expected), "{}: {command}\nstdout: {stdout}\nstderr: {stderr}", block.page);
    }
}

fn pages() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let names = std::fs::read_dir(folder).expect("docs").map(|page| page.expect("a page").file_name());
    let pages = names.map(|name| format!("docs/{}", name.into_string().expect("UTF-8")));
    // The reference has the help of each command, which another test compares.
    let mut pages: Vec<String> = pages.filter(|page| page != "docs/configuration.md").collect();
    pages.push("README.md".to_owned());
    pages
}

#[test]
fn every_command_in_the_documentation_works() {
    let mut commands = 0;
    for page in pages().iter().filter(|page| *page != "docs/recipes.md") {
        let blocks = blocks(page);
        let blocks = blocks.iter().filter(|block| block.mark("not run: ").is_none());
        let blocks: Vec<&Block> = blocks.collect();
        if blocks.is_empty() {
            continue;
        }
        let world = reader(page);
        for block in blocks {
            run(&world, block);
            commands += block.commands.len();
        }
    }
    assert!(commands > 25, "{commands} commands");
}

#[test]
fn few_commands_are_not_run_and_each_says_why() {
    let blocks: Vec<Block> = pages().iter().flat_map(|page| blocks(page)).collect();
    let reasons: Vec<&str> = blocks.iter().filter_map(|block| block.mark("not run: ")).collect();
    assert!(reasons.iter().all(|reason| reason.contains(' ')), "{reasons:?}");
    assert!(reasons.len() <= NOT_RUN_MAX, "{reasons:?}");
}

#[test]
fn the_recipes_work() {
    let world = reader("docs/recipes.md");
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        for block in blocks("docs/recipes.md") {
            if block.mark("not run: ").is_some() || !block.can_run() {
                continue;
            }
            run(&world, &block);
            if !block.commands[0].contains("--part") {
                continue;
            }
            // Two exports that share customers: the second night is quiet.
            let requests = world.requests();
            run(&world, &block);
            assert_eq!(world.requests(), requests);
        }
    }));
    shell(&world, END);
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    // The CRM's, the shop's own, and those of the shop whom the CRM does not know.
    assert_eq!(world.state().counters.create as usize, CUSTOMERS - 1 + SHOP + SHOP / 2);
    world.assert_no_violations();
}

/// What the recipes say of a packed export in a pipe.
#[test]
fn a_pipe_that_breaks_sends_nothing_of_a_packed_export() {
    let world = reader("docs/recipes.md");
    let pipe = blocks("docs/recipes.md")
        .into_iter()
        .find(|block| block.commands[0].ends_with("| omnidesk-sync run -"));
    let pipe = pipe.expect("a pipe").commands.remove(0);
    let output = shell(&world, &format!("CUT=300; export CUT\n{pipe}"));
    shell(&world, END);
    output.expect_code(2).expect_stderr("cannot be unpacked");
    assert_eq!(world.requests(), 0);
}
