# shellcheck shell=bash
# Shared setup of the functional tests; sourced, never run. It makes a working folder, members, volumes and mounts,
# and takes all of it away again however the test ends. $COFFER names the binary.
#
# A test fails by `fail TEXT`, by a command that fails (set -e), or by an expectation; the last line says which.
set -euEo pipefail
: "${COFFER:?names the coffer binary}"
tests=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

skip() {
	echo "$*"
	exit 77
}

fail() {
	trap - ERR
	echo "failed at line ${BASH_LINENO[-2]}: $*"
	exit 1
}

[ "$(id -u)" = 0 ] || skip "mounting for other users needs root"
[ -e /dev/fuse ] || skip "no /dev/fuse here"

work=$(mktemp -d "${TMPDIR:-/tmp}/coffer-test.XXXXXX")
chmod 711 "$work"
export COFFER_RUN_DIR=$work/run LC_ALL=C.UTF-8
unset CREDENTIALS_DIRECTORY
umask 022
jobs_to_end=() # processes to end that are not the shell's own jobs, which end in any case

# What is mounted below the working folder, innermost first.
mounts_here() {
	awk -v w="$work/" 'index($2, w) == 1 { print $2 }' /proc/self/mounts | tac
}

cleanup() {
	local rc=$? pid m
	trap - EXIT ERR
	set +e
	exec 2>/dev/null
	for pid in $(jobs -p) "${jobs_to_end[@]}"; do kill -KILL "$pid"; done
	cd /
	for m in $(mounts_here); do
		"$COFFER" umount "$m" && continue
		pid=$(server_of "$m") && kill -KILL "$pid"
		umount "$m" || umount -l "$m"
	done
	rm -rf --one-file-system "$work"
	exit $rc
}
trap cleanup EXIT
trap 'exit 1' INT TERM
trap 'echo "failed at line $LINENO of $(basename "${BASH_SOURCE[0]}"): $BASH_COMMAND"' ERR

# --- expectations ---

# expect_code N COMMAND..: its exit code is N; what it printed is in $out.
expect_code() {
	local want=$1 got=0
	shift
	out=$("$@" 2>&1 | tr -d '\0') || got=$?
	[ $got = "$want" ] || fail "exit code $got instead of $want: $* | $out"
}

# expect_error ERRNAME COMMAND..: fails with that errno's text, as in "No space left".
expect_error() {
	local text=$1 got=0
	shift
	out=$(LC_ALL=C "$@" 2>&1 | tr -d '\0') || got=$?
	[ $got != 0 ] || fail "succeeded, but \"$text\" was expected: $*"
	[[ $out == *"$text"* ]] || fail "no \"$text\" from: $* | $out"
}

# The output of the last expect_code contains the text.
expect_text() {
	[[ $out == *"$1"* ]] || fail "no \"$1\" in: $out"
}

expect_equal() {
	[ "$1" = "$2" ] || fail "\"$1\" instead of \"$2\"${3:+ ($3)}"
}

# eventually COMMAND..: within about ten seconds it succeeds.
eventually() {
	local i
	for ((i = 0; i < 200; i++)); do
		"$@" && return 0
		sleep 0.05
	done
	fail "never came true: $*"
}

# calls < SCRIPT: system calls by the line (posix_calls.c), made in a new folder on the mount that anyone may write to.
calls() {
	local at
	at=$(mktemp -d "$mnt/calls.XXXXXX")
	chmod 777 "$at"
	(cd "$at" && "$(dirname "$COFFER")/../tests/posix_calls") >"$work/calls.log" || fail "$(cat "$work/calls.log")"
	tail -1 "$work/calls.log"
}

# json_get EXPRESSION < JSON: j is the document.
json_get() {
	python3 -c 'import json,sys; j = json.load(sys.stdin); v = eval(sys.argv[1]); print(v if not isinstance(v, bool) else str(v).lower())' "$1"
}

same_tree() {
	python3 "$tests/compare_trees.py" "$@" >"$work/compare.log" || fail "$(head -12 "$work/compare.log")"
}

# --- members and volumes ---

# member NAME..: identities $work/ids/NAME with NAME.pw and NAME.card.
member() {
	local m
	mkdir -p "$work/ids"
	for m; do
		(umask 077 && echo "passphrase of $m 123" >"$work/ids/$m.pw")
		"$COFFER" id new --name "$m" --number "N-$m" --out "$work/ids/$m" \
			--passphrase-file "$work/ids/$m.pw" >/dev/null
	done
}

as_member() {
	echo "--identity $work/ids/$1 --identity-passphrase-file $work/ids/$1.pw"
}

# volume_new [OPTION..]: $store with its $anchor, $escrow, $repo and secret $pw; members owner, security, operator.
volume_new() {
	store=$work/store anchor=$work/anchor escrow=$work/escrow repo=$work/repo mnt=$work/mnt pw=$work/pw
	mkdir -p "$mnt" "$escrow"
	(umask 077 && echo "correct horse battery staple" >"$pw")
	[ -e "$work/ids/owner" ] || member owner security operator
	"$COFFER" init "$store" --name dept --owner "$work/ids/owner.card" --security "$work/ids/security.card" \
		--operator "$work/ids/operator.card,uid=4001" $(as_member owner) --passphrase-file "$pw" \
		--anchor "$anchor" --escrow "$escrow" --repo "$repo" --kdf-floor "$@" >"$work/init.log"
}

volume_mount() {
	"$COFFER" mount "$store" "$mnt" --passphrase-file "$pw" "$@"
}

volume_umount() {
	"$COFFER" umount "$mnt"
}

remount() {
	volume_umount
	volume_mount "$@"
}

# The process that serves a mount point.
server_of() {
	local w
	for w in "$COFFER_RUN_DIR"/*/where; do
		python3 -c 'import json,sys; j = json.load(open(sys.argv[1])); sys.exit(j["mountpoint"] != sys.argv[2] or print(j["pid"]) or 0)' \
			"$w" "$1" && return 0
	done
	return 1
}

# Ends the serving process as a crash would, and clears what the kernel leaves of the mount.
volume_kill() {
	local pid
	pid=$(server_of "$mnt")
	kill -KILL "$pid"
	eventually gone "$pid"
	umount -l "$mnt"
}

# Of a killed process the first thread may have ended while another still waits for the disk, and holds the store's lock.
gone() {
	local threads
	! kill -0 "$1" 2>/dev/null && return 0
	[ "$(awk '{ print $3 }' "/proc/$1/stat" 2>/dev/null || echo Z)" = Z ] || return 1
	threads=("/proc/$1/task"/*)
	[ ${#threads[@]} -le 1 ]
}

backup() {
	"$COFFER" backup run "$mnt" --tier daily --json "$@" | json_get 'j["set"]'
}

check_whole() {
	expect_code 0 "$COFFER" check "$mnt" --data
	expect_text ": whole"
}

# flip FILE [OFFSET]: changes one bit of the byte there; in the middle when not told.
flip() {
	python3 - "$1" "${2:-}" <<-'PY'
	import os, sys
	path = sys.argv[1]
	at = int(sys.argv[2]) if sys.argv[2] else os.path.getsize(path) // 2
	with open(path, 'r+b') as f:
	    f.seek(at)
	    byte = f.read(1)[0]
	    f.seek(at)
	    f.write(bytes([byte ^ 1]))
	    os.fsync(f.fileno())
	PY
}
