#!/usr/bin/env bash
# The tour: launch 8 hosts and 40 VMs, look at them, use them, move one, kill a host, shut down.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH="$PWD/.venv/bin:$PATH"
if [ -t 1 ]; then bold=$(tput bold 2>/dev/null || true) plain=$(tput sgr0 2>/dev/null || true); else bold= plain=; fi

step() { printf '\n%s# %s%s\n' "$bold" "$1" "$plain"; }
show() {
    printf '%s$ fusion %s%s\n' "$bold" "$*" "$plain"
    fusion "$@"
}

# Wait until every VM that was on host $1 runs elsewhere, and clients have heard of it.
await_failovers() {
    for _ in $(seq 60); do
        if fusion failover list -d demo --json | python -c '
import json, sys
rows = [row for row in json.load(sys.stdin)["failovers"] if row["from_host"] == sys.argv[1]]
seen = [row for row in rows if row["client"] is None or row["first_answer_s"] is not None]
sys.exit(not rows or len(seen) < len(rows) or any(row["outcome"] != "running" for row in rows))
' "$1"; then return; fi
        sleep 1
    done
    echo "the VMs of $1 did not come back within a minute" >&2
    return 1
}

step "Launch: every host is a process of its own with its own gRPC agent"
show up demo --detach
trap 'printf "\n"; show down -d demo' EXIT

step "What there is"
show host list -d demo
show vm list -d demo --host cna-01

step "Use it: a new VM, started where there is room"
show vm create guest-01 -d demo --vcpus 2 --mhz 2000 --memory 4GiB --percent 80 --start
show vm set guest-01 -d demo --cpu-limit 1GHz
show vm show guest-01 -d demo
show vm stop guest-01 -d demo --mode force
show vm delete guest-01 -d demo

step "Clients append to the ledgers of VMs; what they are told is on disk must never be lost"
show client list -d demo

step "Move a VM while its clients write: planned first, then done; forecasts stand in brackets"
show vm migrate web-01 -d demo --dry-run
show vm migrate web-01 -d demo

step "Empty a host by migration, and take it back into use with its VMs"
show host maintenance enter cna-08 -d demo
show host maintenance exit cna-08 -d demo --return
show migration list -d demo

host=cna-03
pid=$(fusion host show "$host" -d demo --json | python -c 'import json, sys; print(json.load(sys.stdin)["pid"])')
step "Kill a host: its VMs come back elsewhere, once its leases have ended"
printf '%s$ kill -9 %s   # the process of %s%s\n' "$bold" "$pid" "$host" "$plain"
kill -9 "$pid"
await_failovers "$host"
show failover list -d demo
show client list -d demo --verify
show events -d demo --last 20

step "Switch it on again: a new incarnation, and empty"
show host on "$host" -d demo
show host list -d demo
