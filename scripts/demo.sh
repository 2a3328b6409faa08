#!/usr/bin/env bash
# The demonstration: what happens to 40 VMs when one of their 8 hosts dies. The experiment launches
# the datacenter, measures it without and with the failure, and shuts it down; look on meanwhile.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH="$PWD/.venv/bin:$PATH"
if [ -t 1 ]; then bold=$(tput bold 2>/dev/null || true) plain=$(tput sgr0 2>/dev/null || true); else bold= plain=; fi

# At twice the speed of the clock on the wall it takes two and a half minutes.
experiment=(chaos run one-host-of-eight-dies --world live --speed 2 --report demo-report)
said=$(mktemp -d)

step() { printf '\n%s# %s%s\n' "$bold" "$1" "$plain"; }
typed() { printf '%s$ fusion %s%s\n' "$bold" "$*" "$plain"; }
show() {
    typed "$@"
    fusion "$@"
}

# Whatever still runs ends, and the datacenter with the experiment: it is its lifeline.
tidy() {
    local pids
    pids=$(jobs -p)
    # shellcheck disable=SC2086 - one word a process
    if [ -n "$pids" ]; then kill $pids 2>/dev/null || true; wait; fi
    rm -rf "$said"
}
trap tidy EXIT

step "One of the questions that are packaged"
show chaos list

step "Launch 8 hosts, each a process of its own with its own gRPC agent, and ask it of them"
typed "${experiment[@]}"
fusion "${experiment[@]}" >"$said/verdict" 2>"$said/progress" &
asked=$!
until fusion vm list -d demo --host cna-01 2>/dev/null | grep -q running; do
    if ! kill -0 "$asked" 2>/dev/null; then cat "$said/progress" >&2; exit 1; fi
    sleep 1
done

step "What there is"
show host list -d demo
show vm list -d demo --host cna-01

step "What goes on: a minute without faults comes first, and then a host loses its power"
typed events -d demo --follow
fusion events -d demo --last 3 --follow 2>/dev/null &
followed=$!

code=0
wait "$asked" || code=$?
kill "$followed" 2>/dev/null || true

step "The verdict"
cat "$said/verdict"
if [ -f demo-report/report.html ]; then
    printf '\nThe report: %s\n' "$PWD/demo-report/report.html"
else
    cat "$said/progress" >&2
fi
exit "$code"
