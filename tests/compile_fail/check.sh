#!/usr/bin/env bash
# A source that must not compile: the compiler has to refuse it with every text of its lines
# "// expect: TEXT", and has to accept it with -DFIXED, so that nothing else is what it refuses.
#
# usage: check.sh SOURCE COMPILER [FLAGS...]
set -uo pipefail
source=$1
shift

if ! fixed=$("$@" -fsyntax-only -DFIXED "$source" 2>&1); then
  printf 'With -DFIXED it must compile:\n%s\n' "$fixed"
  exit 1
fi
if output=$("$@" -fsyntax-only "$source" 2>&1); then
  echo "It compiles, and must not."
  exit 1
fi
mapfile -t expected < <(sed -n 's|^ *// expect: *||p' "$source")
if ((${#expected[@]} == 0)); then
  echo "The source says no '// expect: TEXT'."
  exit 1
fi
for text in "${expected[@]}"; do
  if ! grep -qF -- "$text" <<<"$output"; then
    printf 'The compiler does not say "%s" but:\n%s\n' "$text" "$output"
    exit 1
  fi
done
