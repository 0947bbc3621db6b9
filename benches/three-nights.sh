#!/bin/sh
# Three nights: a first load, a night with one changed customer in a hundred, and a
# night without changes. Each night is one process under `time`, against a sandbox in
# a process of its own.
#
#   cargo build --release && benches/three-nights.sh [CUSTOMERS]
#
# Needs GNU time.
set -eu
cd "$(dirname "$0")/.."
customers=${1:-1000000}
program=${OMNIDESK_SYNC:-$PWD/target/release/omnidesk-sync}
folder=$(mktemp -d)
trap 'kill "$sandbox" 2>/dev/null; rm -rf "$folder"' EXIT
cd "$folder"

"$program" sandbox --listen 127.0.0.1:0 >sandbox.out 2>sandbox.err &
sandbox=$!
until url=$(grep -o 'http://[0-9.:]*' sandbox.out 2>/dev/null); do
    kill -0 "$sandbox" || { cat sandbox.err >&2; exit 1; }
done

cat >omnidesk-sync.toml <<EOF
[omnidesk]
base_url = "$url"
api_key = { env = "OMNIDESK_API_KEY" }
[limits]
rate = "20000/s"
concurrency = 64
[customer]
primary_id = "id"
brand_id = { value = 2 }
firstname = "first"
lastname = "last"
email = "email"
[customer.custom]
city = "city"
tier = "tier"
EOF
export OMNIDESK_API_KEY=key

# With 1, every hundredth customer has another tier.
write_export() {
    awk -v n="$customers" -v changed="$1" 'BEGIN {
        print "id,first,last,email,city,tier,street,zip,country,since,orders,notes"
        for (i = 1; i <= n; i++)
            printf "C%08d,Anna,Smit,c%d@example.org,Utrecht,%s,Lange Voorhout %d,%04d AB,NL,2019-04-%02d,%d,nothing to say\n",
                i, i, (changed && i % 100 == 0 ? "gold" : "silver"), i % 200, i % 9999, i % 28 + 1, i % 50
    }'
}

night() {
    write_export "$2" >customers.csv
    /usr/bin/time -f 'wall %e s, user %U s, system %S s, memory %M kB' -o time "$program" run --quiet --json customers.csv >summary.json 2>summary ||
        { cat summary >&2; exit 1; }
    printf '%s: %s\n  requests received: %s\n  %s\n' "$1" "$(cat summary)" "$(sed -n 's/.*"requests": *\([0-9]*\).*/\1/p' summary.json)" "$(cat time)"
}

echo "$customers customers"
night "first night" 0
night "second night, 1 % changed" 1
night "third night, nothing changed" 1
ls -l omnidesk-sync.checkpoint | awk -v n="$customers" '{ printf "checkpoint: %d bytes, %.0f a customer\n", $5, $5 / n }'
