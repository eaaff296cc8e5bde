#!/bin/bash
# The manual pages: mandoc has nothing to say, what they refer to is there, and so is every flag that a tool has.
set -uo pipefail
cd "$(dirname "$0")/../.."
. tests/support/checks.sh
build=${BUILD:-build}

# Whether a page exists is asked here: mandoc looks among those that are installed.
lint() { mandoc -Tlint "$1" | grep -v 'referenced manual not found'; }
missing() { sed -n 's/^\.Xr \([^ ]*\) \([0-9]\).*/\1.\2/p' "$1" | sort -u | while read -r page; do [ -e "man/$page" ] || echo "$page"; done; }
# What several tools of a kind are told apart by is on the pages of those.
flags_missing() { # tool
	"$build/bin/$1" --help | grep -oE '^  --[a-z0-9-]+' | grep -vE -- '--(instance|number)$' | while read -r flag; do
		grep -qE -- "Fl -${flag#--}( |$)" "man/$1.8" || echo "$flag"
	done
}
variables_missing() {
	"$build/bin/$1" --help | grep -oE '\[[A-Z][A-Z_0-9]+\]' | tr -d '[]' | while read -r name; do grep -q "$name" "man/$1.8" || echo "$name"; done
}

for page in man/*; do
	check "$page: mandoc finds nothing" same '' lint "$page"
	check "$page: what it refers to is there" same '' missing "$page"
done
for program in "$build"/bin/*; do
	tool=${program##*/}
	check "$tool: every flag is on its page" same '' flags_missing "$tool"
	check "$tool: every variable is on its page" same '' variables_missing "$tool"
done
counted
