//! Exports with rows of all kinds, and several rows for many customers.
//! `examples/kill_loop.rs` includes this file, so it uses no other test code.

/// The mapping of most tests.
pub(crate) const MAPPING: &str = r#"
[customer]
primary_id = "id"
brand_id = { value = 2 }
firstname = "first"
lastname = "last"
email = ["email", "email2"]
telephone = { column = "phone", region = "NL" }
[operation]
column = "op"
"#;

/// Its header.
pub(crate) const HEADER: &str = "id,first,last,email,email2,phone,op\n";

const FIRST_NAMES: [&str; 4] = ["Ann", "Bob", "Cor", "Dik"];

/// How many customers have rows next to each other.
const CUSTOMERS_MIXED: usize = 50;

/// About this many rows, with operations of their own. The rows of different
/// customers are mixed; the rows of one keep their order. Every call succeeds in the
/// end, so a second run makes no calls.
pub(crate) fn mixed_rows(rows: u64, random: &mut fastrand::Rng) -> String {
    let mut queues: Vec<Vec<String>> = Vec::new();
    let mut count = 0;
    while count < rows {
        let queue = customer_rows(queues.len(), random);
        count += queue.len() as u64;
        queues.push(queue);
    }
    mix(queues, random)
}

fn customer_rows(id: usize, random: &mut fastrand::Rng) -> Vec<String> {
    let first = FIRST_NAMES[random.usize(..4)];
    let mut queue = vec![match random.u8(..7) {
        0..2 => format!("C{id},{first},Smit,c{id}@example.org,,,create"),
        2..4 => format!("C{id},{first},Smit,c{id}@example.org,c{id}@example.net,,sync"),
        4..6 => format!("C{id},{first},Smit,,,06{:08},sync", 10_000_000 + id),
        // The customer does not exist yet, so it turns into a create.
        _ => format!("C{id},{first},Smit,c{id}@example.org,,06{:08},update", 10_000_000 + id),
    }];
    for nth in 0..random.u8(..4) {
        queue.push(match random.u8(..5) {
            0 => format!("C{id},Eva{},Smit,,,,update", ["", "n", "line", "na"][usize::from(nth)]),
            1 => format!("C{id},,,c{id}.{nth}@example.com,,,add-channel"),
            2 => format!("C{id},{first},de Wit,c{id}.x@example.com,,,sync"),
            3 => format!("C{id},{first},Bos{nth},,,,create"),
            _ => format!("C{id},,,no-address-{nth},,,sync"),
        });
    }
    if random.u8(..8) == 0 {
        queue.push(format!("C{id},,,,,,purge"));
        if random.u8(..3) == 0 {
            queue.push(format!("C{id},{first},Terug,c{id}.new@example.org,,,sync"));
        }
    }
    queue
}

/// The exports of two nights: about this many `sync` rows, and then the same
/// customers with other names. Whatever was applied of the first, the second leads
/// to the same customers.
#[cfg_attr(test, expect(dead_code, reason = "used by `examples/kill_loop.rs`"))]
pub(crate) fn two_nights(rows: u64, random: &mut fastrand::Rng) -> [String; 2] {
    let mut nights = [Vec::new(), Vec::new()];
    for id in 0..rows {
        let email = format!("c{id}@example.org");
        let second = if random.bool() { format!("c{id}@example.net") } else { String::new() };
        for (night, queues) in nights.iter_mut().enumerate() {
            let first = FIRST_NAMES[random.usize(..4)];
            let mut queue = vec![format!("C{id},{first},Smit{night},{email},{second},,sync")];
            if random.u8(..3) == 0 {
                queue.push(format!("C{id},{first},Bos{night},{email},,,sync"));
            }
            queues.push(queue);
        }
    }
    nights.map(|queues| mix(queues, random))
}

fn mix(mut queues: Vec<Vec<String>>, random: &mut fastrand::Rng) -> String {
    queues.iter_mut().for_each(|queue| queue.reverse());
    let mut text = String::new();
    while !queues.is_empty() {
        let at = random.usize(..queues.len().min(CUSTOMERS_MIXED));
        match queues[at].pop() {
            Some(row) => text.push_str(&format!("{row}\n")),
            None => drop(queues.remove(at)),
        }
    }
    text
}
