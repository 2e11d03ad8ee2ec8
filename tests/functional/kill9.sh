# Rounds of kill -9 of the serving process under load, judged by what was acknowledged outside. For
# tests/functional/crash_kill9.test (a few) and tests/long/kill9.test (100). Sourced after volume.sh, with the volume mounted.
#
# Four workers each keep a journal outside the volume and write a line to it only after the kernel said yes:
#   synced    overwrites its file and fsyncs: the last acknowledged version or a later one, whole
#   renamed   new file, fsync, rename over, fsync of the folder: likewise
#   folders   mkdir, a file in it, fsync of both: there, usable, removable; never half-made
#   appended  O_APPEND and fdatasync: every acknowledged record, in order

kill9_worker() {
	cat >"$work/kill9_worker.py" <<'PY'
import os, sys
kind, top, journal, start = sys.argv[1], sys.argv[2], open(sys.argv[3], 'a'), int(sys.argv[4])

def content(n):
    return b'%010d' % n * (1 + n * 7919 % 3000)

def sync_folder(path):
    d = os.open(path, os.O_RDONLY)
    os.fsync(d)
    os.close(d)

def synced(n):
    fd = os.open(f'{top}/synced', os.O_RDWR | os.O_CREAT)
    os.pwrite(fd, b'%010d' % n * 400, 0)  # less than a block: never torn
    os.fsync(fd)
    os.close(fd)

def renamed(n):
    fd = os.open(f'{top}/renamed.new', os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.write(fd, content(n))
    os.fsync(fd)
    os.close(fd)
    os.rename(f'{top}/renamed.new', f'{top}/renamed')
    sync_folder(top)

def folders(n):
    p = f'{top}/folder{n % 40}-{"n" * (n % 240)}'
    if os.path.isdir(p):
        for e in os.listdir(p):
            os.unlink(f'{p}/{e}')
        os.rmdir(p)
    os.mkdir(p)
    with open(f'{p}/{n}', 'wb') as f:
        f.write(content(n))
        f.flush()
        os.fsync(f.fileno())
    sync_folder(p)

def appended(n):
    fd = os.open(f'{top}/appended', os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(fd, b'%010d\n' % n)
    os.fdatasync(fd)
    os.close(fd)

n = start
while True:
    globals()[kind](n)
    journal.write(f'{n}\n')
    journal.flush()
    n += 1
PY
	cat >"$work/kill9_judge.py" <<'PY'
import os, sys
kind, top, journal = sys.argv[1:]
lines = [l for l in open(journal) if l.endswith('\n')]
acknowledged = [int(l) for l in lines]
last = acknowledged[-1] if lines else -1

def content(n):
    return b'%010d' % n * (1 + n * 7919 % 3000)

if kind == 'synced':
    got = open(f'{top}/synced', 'rb').read()
    n = int(got[:10])
    assert got == b'%010d' % n * 400, 'torn'
elif kind == 'renamed':
    got = open(f'{top}/renamed', 'rb').read()
    n = int(got[:10])
    assert got == content(n), f'version {n} has {len(got)} bytes'
elif kind == 'appended':
    got = open(f'{top}/appended', 'rb').read()
    records = [int(got[i:i + 10]) for i in range(0, len(got) - len(got) % 11, 11)]
    # One that was cut off before its acknowledgement may be there or not, once a round.
    it = iter(records)
    assert all(a in it for a in acknowledged), 'an acknowledged record is missing'
    n = records[-1] if records else -1
else:
    n = -1
    for name in os.listdir(top):
        if not name.startswith('folder'):
            continue
        for e in os.listdir(f'{top}/{name}'):
            got = open(f'{top}/{name}/{e}', 'rb').read()
            assert got in (b'', content(int(e))) and (int(e) not in acknowledged or got), f'{name}/{e}: {len(got)} bytes'
            n = max(n, int(e))
assert n >= last, f'{kind}: {n} although {last} was acknowledged'
print(max(n, last) + 1)
PY
}

# kill9_rounds N: each kills once every worker has had some acknowledged, remounts, judges, checks.
kill9_rounds() {
	local round kind next=0 n goal
	kill9_worker
	mkdir "$mnt/load"
	for kind in synced renamed folders appended; do : >"$work/journal.$kind"; echo 0 >"$work/next.$kind"; done
	for ((round = 1; round <= $1; round++)); do
		declare -A goals=()
		for kind in synced renamed folders appended; do
			goals[$kind]=$(($(wc -l <"$work/journal.$kind") + 3 + round * 7 % 11))
			python3 "$work/kill9_worker.py" $kind "$mnt/load" "$work/journal.$kind" "$(cat "$work/next.$kind")" 2>/dev/null &
		done
		busy() {
			local k
			for k in synced renamed folders appended; do
				[ "$(wc -l <"$work/journal.$k")" -ge "${goals[$k]}" ] || return 1
			done
		}
		eventually busy
		volume_kill
		wait
		volume_mount
		for kind in synced renamed folders appended; do
			python3 "$work/kill9_judge.py" $kind "$mnt/load" "$work/journal.$kind" >"$work/next.$kind" ||
				fail "round $round: $kind"
		done
		if ((round % ${2:-1} == 0)); then check_whole; fi
	done
	# Nothing is half-made: all of it can be deleted.
	rm -r "$mnt/load"
	check_whole
	for kind in synced renamed folders appended; do n=$(wc -l <"$work/journal.$kind"); next=$((next + n)); done
	echo "$1 rounds, $next acknowledgements"
}
