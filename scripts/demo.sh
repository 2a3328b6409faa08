#!/usr/bin/env bash
# The tour: launch 8 hosts and 40 VMs, look at them, use them, shut down.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH="$PWD/.venv/bin:$PATH"
if [ -t 1 ]; then bold=$(tput bold 2>/dev/null || true) plain=$(tput sgr0 2>/dev/null || true); else bold= plain=; fi

step() { printf '\n%s# %s%s\n' "$bold" "$1" "$plain"; }
show() {
    printf '%s$ fusion %s%s\n' "$bold" "$*" "$plain"
    fusion "$@"
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

step "What happened"
show events -d demo --last 12
show task list -d demo
