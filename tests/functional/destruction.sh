# shellcheck shell=bash
# What the tests of destruction share: sourced after volume.sh.

# request_order MEMBER PATH.. [-- OPTION..]: the order's number.
request_order() {
	local who=$1 paths=()
	shift
	while [ $# -gt 0 ] && [ "$1" != -- ]; do paths+=("$1"); shift; done
	[ $# -gt 0 ] && shift
	"$COFFER" destroy request "$mnt" "${paths[@]}" $(as_member "$who") --description "records of a closed case" \
		--reason "retention has ended" "$@" --json | json_get 'j["order"]'
}

say() { # VERB MEMBER ORDER
	"$COFFER" destroy "$1" "$mnt" "$3" $(as_member "$2") >"$work/said.$1"
}

state_of() { # ORDER
	"$COFFER" destroy show "$mnt" "$1" --json | json_get 'j["state"]'
}

# destroy_now PATH..: requested by the operator, approved by owner and security, executed; the number.
destroy_now() {
	local order
	order=$(request_order operator "$@")
	say approve owner "$order"
	say approve security "$order"
	"$COFFER" destroy execute "$mnt" "$order" >"$work/executed"
	echo "$order"
}

# No byte of a marker anywhere below the folders.
expect_no_marker() {
	local marker=$1
	shift
	! grep -rlaF "$marker" "$@" 2>/dev/null || fail "\"$marker\" can still be read"
	! find "$@" -name "*$marker*" | grep -q . || fail "a name with \"$marker\" can still be read"
}
