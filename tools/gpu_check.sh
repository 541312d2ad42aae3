#!/usr/bin/env bash
exec python3 "$(dirname "$0")/scripts/gpu_check.py" "$@"
