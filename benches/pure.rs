//! The cost of one row in each room: `cargo bench --bench pure`.

use std::hint::black_box;
use std::io::Write as _;
use std::path::Path;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use omnidesk_sync::checkpoint::Checkpoint;
use omnidesk_sync::config::Config;
use omnidesk_sync::mapping::{Address, Channel, Mapping, OnExists, OnMissing};
use omnidesk_sync::reconcile::{
    CustomerKey, CustomerState, HashKey, HashedIntent, Policy, RowFingerprint, rehearse,
};
use omnidesk_sync::source::{self, Export, Row};

const ROWS: u64 = 4096;
const KEY: HashKey = HashKey::new([7; 32]);
const POLICY: Policy = Policy {
    key: KEY,
    export: 1,
    full: false,
    allow_recreate: false,
    on_exists: OnExists::Update,
    on_missing: OnMissing::Create,
    run: 1,
    minute: 0,
};

const CONFIG: &str = r#"
[omnidesk]
base_url = "http://127.0.0.1:9"
[customer]
primary_id = "id"
brand_id = { value = 2 }
firstname = "first"
lastname = "last"
MAIL
[customer.custom]
tier = "tier"
country = "country"
"#;

/// Rows of twelve columns, of which six or seven are mapped.
fn write_exports(folder: &Path) {
    let names = "id,first,last,email,phone,tier,country,street,zip,city,since,notes";
    let (mut csv, mut json) = (format!("{names}\n"), String::new());
    for row in 0..ROWS {
        let cells = format!(
            "C{row:08},Anna,de Vries,c{row}@example.org,06-1234{row:04},gold,NL,Keizersgracht {row},1015 CJ,Amsterdam,2020-02-02,none"
        );
        csv.push_str(&format!("{cells}\n"));
        let members: Vec<String> = names
            .split(',')
            .zip(cells.split(','))
            .map(|(name, cell)| format!("\"{name}\":\"{cell}\""))
            .collect();
        json.push_str(&format!("{{{}}}\n", members.join(",")));
    }
    std::fs::write(folder.join("export.csv"), csv).expect("an export");
    std::fs::write(folder.join("export.jsonl"), json).expect("an export");
}

fn open(folder: &Path, name: &str, mail: &str) -> (Export, Mapping) {
    let path = folder.join("config.toml");
    let mut file = std::fs::File::create(&path).expect("a file");
    file.write_all(CONFIG.replace("MAIL", mail).as_bytes()).expect("a configuration");
    let config = Config::read(&path).expect("a configuration");
    let mut export = source::open(&folder.join(name), &config.input).expect("an export");
    let prefix = &config.omnidesk.custom_field_prefix;
    let mapping = Mapping::compile(
        &config.customer,
        &config.operation,
        config.omnidesk.names,
        prefix,
        &config.input,
        export.columns_mut(),
    );
    (export, mapping.expect("a mapping"))
}

fn all_rows(export: &Export) -> Vec<Row> {
    let (mut rows, mut row, mut all) = (export.rows(), Row::default(), Vec::new());
    while rows.read(&mut row).expect("readable") {
        all.push(row.clone());
    }
    all
}

fn read_rows(criterion: &mut Criterion) {
    let folder = tempfile::TempDir::new().expect("a folder");
    write_exports(folder.path());
    let mut group = criterion.benchmark_group("rows are read");
    group.throughput(Throughput::Elements(ROWS));
    for name in ["export.csv", "export.jsonl"] {
        let (export, _mapping) = open(folder.path(), name, "");
        group.bench_function(name, |bench| {
            bench.iter(|| {
                let (mut rows, mut row) = (export.rows(), Row::default());
                while rows.read(&mut row).expect("readable") {
                    black_box(&row);
                }
            });
        });
    }
    group.finish();
}

fn map_rows(criterion: &mut Criterion) {
    let folder = tempfile::TempDir::new().expect("a folder");
    write_exports(folder.path());
    let mut group = criterion.benchmark_group("rows are mapped");
    group.throughput(Throughput::Elements(ROWS));
    let telephone = "email = \"email\"\ntelephone = { column = \"phone\", region = \"NL\" }";
    for (name, mail) in [
        ("plain columns", ""),
        ("with e-mail", "email = \"email\""),
        ("with e-mail and telephone", telephone),
    ] {
        let (export, mapping) = open(folder.path(), "export.csv", mail);
        let rows = all_rows(&export);
        group.bench_with_input(BenchmarkId::new("checked", name), &rows, |bench, rows| {
            bench.iter(|| rows.iter().filter(|row| matches!(mapping.draft(row), Ok(Some(_)))).count());
        });
        group.bench_with_input(BenchmarkId::new("copied", name), &rows, |bench, rows| {
            bench.iter(|| rows.iter().filter(|row| matches!(mapping.map(row), Ok(Some(_)))).count());
        });
    }
    let (export, mapping) = open(folder.path(), "export.csv", "email = \"email\"");
    let rows = all_rows(&export);
    group.bench_function("recognised by fingerprint", |bench| {
        let mut fingerprinter = KEY.fingerprinter(&[1; 8]);
        bench.iter(|| {
            let fingerprints = rows.iter().map(|row| {
                let (brand, id) = mapping.customer_of(row).expect("a customer");
                (KEY.customer_id(brand, &id), fingerprinter.fingerprint(mapping.deciding_cells(row)))
            });
            fingerprints.filter(|(_, fingerprint)| *fingerprint != RowFingerprint::NONE).count()
        });
    });
    group.finish();
}

fn check_addresses(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("addresses are checked");
    for (name, channel, text) in [
        ("e-mail, the common shape", Channel::Email, "anna.de-vries@mail.example.org"),
        ("e-mail, by the library", Channel::Email, "anna!de'vries@example.org"),
        ("telephone, E.164", Channel::Telephone, "+31612345678"),
        ("telephone, by the library", Channel::Telephone, "+31 6 1234 5678"),
    ] {
        group.bench_function(name, |bench| {
            bench.iter(|| Address::parse(channel, black_box(text), None).expect("an address"));
        });
    }
    group.finish();
}

fn decide_rows(criterion: &mut Criterion) {
    let folder = tempfile::TempDir::new().expect("a folder");
    write_exports(folder.path());
    let (export, mapping) = open(folder.path(), "export.csv", "email = \"email\"");
    let intents = all_rows(&export).into_iter().filter_map(|row| mapping.map(&row).ok()?);
    let intents: Vec<_> = intents.map(|intent| HashedIntent::new(intent, &KEY)).collect();
    let states: Vec<CustomerState> = intents
        .iter()
        .map(|intent| {
            let mut state = CustomerState::Unknown;
            rehearse(intent, &mut state, &POLICY).expect("calls");
            state
        })
        .collect();
    let mut group = criterion.benchmark_group("rows are decided");
    group.throughput(Throughput::Elements(ROWS));
    group.bench_function("new", |bench| {
        bench.iter(|| {
            for intent in &intents {
                black_box(rehearse(intent, &mut CustomerState::Unknown, &POLICY).expect("calls"));
            }
        });
    });
    group.bench_function("unchanged, value by value", |bench| {
        bench.iter(|| {
            intents
                .iter()
                .zip(&states)
                .filter(|(row, state)| {
                    matches!(state, CustomerState::Acknowledged(acked) if acked.is_all_of(row))
                })
                .count()
        });
    });
    group.finish();
}

fn look_up_states(criterion: &mut Criterion) {
    const CUSTOMERS: u32 = 100_000;
    let folder = tempfile::TempDir::new().expect("a folder");
    let mut checkpoint = Checkpoint::open(&folder.path().join("checkpoint"), "tenant").expect("new");
    let key = |number: u32| CustomerKey(KEY.customer_id(2, &number.to_string()).0);
    let mut batch = checkpoint.batch().expect("a batch");
    for number in 0..CUSTOMERS {
        batch.set_state(key(number), &CustomerState::Existing).expect("a state");
    }
    batch.commit_states().expect("durable");
    let mut group = criterion.benchmark_group("customers are looked up");
    let keys: Vec<Option<CustomerKey>> = (0..1024).map(|nth| Some(key(nth * 97))).collect();
    group.throughput(Throughput::Elements(keys.len() as u64));
    group.bench_function("states in the file", |bench| {
        bench.iter(|| checkpoint.lookups().states(&keys).expect("states"));
    });
    group.finish();
}

criterion_group!(benches, read_rows, map_rows, check_addresses, decide_rows, look_up_states);
criterion_main!(benches);
