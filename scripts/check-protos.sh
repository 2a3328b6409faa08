#!/usr/bin/env bash
# Fails where the generated code in the tree is not what protos/ generates.
set -euo pipefail
cd "$(dirname "$0")/.."
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
./scripts/generate-protos.sh "$fresh"
if ! diff -r --exclude=__init__.py --exclude=__pycache__ "$fresh/cluster/rpc/v1" cluster/rpc/v1; then
    echo "cluster/rpc/v1 is stale: run 'make protos' and commit" >&2
    exit 1
fi
