//! Exports for the kill tests: rows of all kinds, several for many customers.
//! `examples/kill_loop.rs` uses this file too, so it uses nothing of the others.

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

/// The header for it.
pub(crate) const HEADER: &str = "id,first,last,email,email2,phone,op\n";

const FIRST_NAMES: [&str; 4] = ["Ann", "Bob", "Cor", "Dik"];

/// Rows next to each other that are of different customers.
const CUSTOMERS_MIXED: usize = 50;

/// An export of about so many rows with operations of their own. Rows of
/// different customers are mixed, those of one keep their order. Every call
/// succeeds in the end, so a second run has nothing to do.
pub(crate) fn mixed_rows(rows: u64, random: &mut fastrand::Rng) -> String {
    let mut queues: Vec<Vec<String>> = Vec::new();
    let mut made = 0;
    while made < rows {
        let queue = rows_of_customer(queues.len(), random);
        made += queue.len() as u64;
        queues.push(queue);
    }
    mix(queues, random)
}

fn rows_of_customer(id: usize, random: &mut fastrand::Rng) -> Vec<String> {
    let first = FIRST_NAMES[random.usize(..4)];
    let mut queue = vec![match random.u8(..7) {
        0..2 => format!("C{id},{first},Smit,c{id}@example.org,,,create"),
        2..4 => format!("C{id},{first},Smit,c{id}@example.org,c{id}@example.net,,sync"),
        4..6 => format!("C{id},{first},Smit,,,06{:08},sync", 10_000_000 + id),
        // Not there yet: it goes on as a create.
        _ => format!("C{id},{first},Smit,c{id}@example.org,,06{:08},update", 10_000_000 + id),
    }];
    for more in 0..random.u8(..4) {
        queue.push(match random.u8(..5) {
            0 => format!("C{id},Eva{},Smit,,,,update", ["", "n", "line", "na"][usize::from(more)]),
            1 => format!("C{id},,,c{id}.{more}@example.com,,,add-channel"),
            2 => format!("C{id},{first},de Wit,c{id}.x@example.com,,,sync"),
            3 => format!("C{id},{first},Bos{more},,,,create"),
            _ => format!("C{id},,,no-address-{more},,,sync"),
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

/// Two nights of one company: about so many `sync` rows, and the same customers
/// the night after, with other names. Who applies only the second has the same
/// customers in the end as who applies some of the first before.
#[cfg_attr(test, expect(dead_code, reason = "of the long form, `examples/kill_loop.rs`"))]
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
    let mut text = HEADER.to_owned();
    while !queues.is_empty() {
        let at = random.usize(..queues.len().min(CUSTOMERS_MIXED));
        match queues[at].pop() {
            Some(row) => text.push_str(&format!("{row}\n")),
            None => drop(queues.remove(at)),
        }
    }
    text
}
