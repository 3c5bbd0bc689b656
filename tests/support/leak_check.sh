#!/usr/bin/env bash
# Runs a test and fails it also when it leaves something behind: a living process, a /dev/shm entry
# or a temporary file.
#
# usage: leak_check.sh SECONDS TMP_PARENT PROGRAM [ARGS...]
#
# The test runs in a session of its own with COHORT_TEST_RUN=<unique> in its environment: a process
# that starts with another environment is found by its session, one with its own session by the variable.
set -uo pipefail

readonly limit=$1 tmp_parent=$2
shift 2
readonly grace=10  # seconds for processes that are ending already
mkdir -p "$tmp_parent"
tmp=$(mktemp -d "$tmp_parent/XXXXXX") || exit 1
readonly tmp run="$$-$RANDOM$RANDOM-$(date +%s%N)"

shm_entries() { find /dev/shm -mindepth 1 -maxdepth 1 2>/dev/null | sort; }

# Pids of the run's processes. Zombies do not count: each has a parent that may still be ending.
processes() {
  local marked stat line fields
  marked=" $(grep -lszxF "COHORT_TEST_RUN=$run" /proc/[0-9]*/environ | tr '\n' ' ')"
  for stat in /proc/[0-9]*/stat; do
    { read -r line <"$stat"; } 2>/dev/null || continue
    read -ra fields <<<"${line##*) }"  # state, parent, group, session, ...
    [[ ${fields[0]} != [ZX] ]] || continue
    if [[ ${fields[3]} == "$session" || $marked == *" ${stat%stat}environ "* ]]; then
      echo "${line%% *}"
    fi
  done
}

left_in_shm() { comm -13 <(echo "$shm_before") <(shm_entries); }

shm_before=$(shm_entries)
# A background job of a script starts with SIGINT and SIGQUIT ignored; tests need the defaults.
setsid env --default-signal=INT,QUIT COHORT_TEST_RUN="$run" TMPDIR="$tmp" \
  timeout --signal=ABRT --kill-after=5 "$limit" "$@" &
readonly session=$!
# When ctest gives up on us, take the test along.
trap 'kill -KILL $(processes) 2>/dev/null; rm -rf "$tmp"; exit 1' TERM INT HUP
wait "$session"
status=$?
case $status in
  0) ;;
  124 | 137) echo "leak_check: ended with status $status; the limit is $limit s" >&2 ;;
  *) echo "leak_check: ended with status $status" >&2 ;;
esac

deadline=$((SECONDS + grace))
while [[ -n $(processes) || -n $(left_in_shm) ]] && ((SECONDS < deadline)); do sleep 0.05; done

for pid in $(processes); do
  echo "leak_check: process $pid outlived the test: $(tr '\0' ' ' <"/proc/$pid/cmdline")" >&2
  grep -sE '^(Name|State|PPid|Threads|SigBlk|SigIgn):' "/proc/$pid/status" >&2
  kill -KILL "$pid" 2>/dev/null
  status=1
done
for entry in $(left_in_shm); do
  echo "leak_check: left behind: $entry" >&2
  status=1
done
# ThreadSanitizer's own file of a moment, when the test kills a process that is starting.
for entry in $(find "$tmp" -mindepth 1 ! -name 'tsan.rodata.*' 2>/dev/null); do
  echo "leak_check: left behind: $entry" >&2
  status=1
done
rm -rf "$tmp"
exit "$status"
