#!/usr/bin/env bash
# Generates cluster/rpc/v1 from protos/ into the folder given (default: this tree).
# Made by the oldest grpcio-tools that the stated ranges allow: newer code refuses older runtimes.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-.}
env=.venv-codegen
if [ ! -x $env/bin/protoc-gen-mypy ]; then
    python3 -m venv $env
    $env/bin/pip install --quiet --disable-pip-version-check grpcio-tools==1.80.0 mypy-protobuf==5.1.0 protobuf==6.33.6
fi
PATH="$PWD/$env/bin:$PATH" $env/bin/python -m grpc_tools.protoc -I protos \
    --python_out="$out" --grpc_python_out="$out" --mypy_out="quiet:$out" --mypy_grpc_out="quiet,only_async:$out" \
    protos/cluster/rpc/v1/*.proto
