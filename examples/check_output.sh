#!/usr/bin/env bash
# Runs a program and compares its exit code and what it prints with what is expected.
#
# usage: check_output.sh EXPECTED STATUS PROGRAM [ARGS...]
#
# EXPECTED holds an extended regular expression for each line, in order. "3x REGEX" stands for three
# such lines, "*x REGEX" for any number of them.
set -uo pipefail
expected=$1 wanted_status=$2
shift 2

output=$("$@" 2>&1)
status=$?
mapfile -t lines <<<"$output"

fail() {
  printf '%s\n-- it printed, and ended with %d:\n%s\n' "$1" "$status" "$output"
  exit 1
}

at=0
[[ -n $output ]] || lines=()
while IFS= read -r regex; do
  count=1
  if [[ $regex =~ ^([0-9]+|\*)x\ (.*)$ ]]; then
    count=${BASH_REMATCH[1]} regex=${BASH_REMATCH[2]}
  fi
  if [[ $count == '*' ]]; then
    while ((at < ${#lines[@]})) && [[ ${lines[at]} =~ ^($regex)$ ]]; do at=$((at + 1)); done
    continue
  fi
  for ((; count > 0; --count, ++at)); do
    ((at < ${#lines[@]})) || fail "Expected after its last line: $regex"
    [[ ${lines[at]} =~ ^($regex)$ ]] || fail "Line $((at + 1)) is not: $regex"
  done
done <"$expected"
((at == ${#lines[@]})) || fail "Not expected: line $((at + 1)), ${lines[at]}"
((status == wanted_status)) || fail "Expected to end with $wanted_status"
