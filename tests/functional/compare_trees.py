#!/usr/bin/env python3
"""compare_trees.py A B [--no-owner]: compares two trees in every attribute.

Type, mode, owner, size, modification time, extended attributes (ACLs are among them), hard links, device numbers,
link targets, content, and holes: where A has a hole of at least 64 KiB, B may not hold allocated data. Exit code 1
when anything differs, with a line for each difference.
"""
import hashlib
import os
import stat
import sys


def holes(path, size):
    """Ranges without data, at least 64 KiB long."""
    found = []
    with open(path, 'rb') as f:
        at = 0
        while at < size:
            hole = os.lseek(f.fileno(), at, os.SEEK_HOLE)
            if hole >= size:
                break
            try:
                data = os.lseek(f.fileno(), hole, os.SEEK_DATA)
            except OSError:
                data = size
            if data - hole >= 65536:
                found.append((hole, data))
            at = data
    return found


def digest(path):
    h = hashlib.sha256()
    with open(path, 'rb') as f:
        while block := f.read(1 << 20):
            h.update(block)
    return h.hexdigest()


def describe(path, owner):
    st = os.lstat(path)
    e = {
        'type': stat.S_IFMT(st.st_mode),
        'mode': stat.S_IMODE(st.st_mode),
        'mtime': st.st_mtime_ns,
        'xattrs': {x: os.getxattr(path, x, follow_symlinks=False)
                   for x in os.listxattr(path, follow_symlinks=False)},
    }
    if owner:
        e['owner'] = (st.st_uid, st.st_gid)
    if not stat.S_ISDIR(st.st_mode):
        e['size'], e['rdev'], e['links'] = st.st_size, st.st_rdev, st.st_nlink
    if stat.S_ISLNK(st.st_mode):
        e['target'] = os.readlink(path)
    if stat.S_ISREG(st.st_mode):
        e['content'], e['holes'] = digest(path), holes(path, st.st_size)
    return e, (st.st_dev, st.st_ino)


def walk(root, owner):
    entries, same = {}, {}
    for d, folders, files in os.walk(root):
        for name in folders + files + ['.']:
            path = os.path.join(d, name)
            rel = os.path.normpath(os.path.relpath(path, root))
            if rel in entries or rel == 'lost+found':
                continue
            entries[rel], inode = describe(path, owner)
            same.setdefault(inode, []).append(rel)
    for names in same.values():
        for rel in names:
            entries[rel]['names'] = sorted(names)
    return entries


def main():
    owner = '--no-owner' not in sys.argv
    a, b = (walk(p, owner) for p in sys.argv[1:3])
    bad = 0
    for rel in sorted(a.keys() | b.keys()):
        if rel not in a or rel not in b:
            print(f'{rel}: only in {sys.argv[1 if rel in a else 2]}')
            bad += 1
            continue
        for key in sorted(a[rel].keys() | b[rel].keys()):
            if a[rel].get(key) != b[rel].get(key):
                print(f'{rel}: {key} {a[rel].get(key)!r} became {b[rel].get(key)!r}'[:400])
                bad += 1
    print(f'{len(a)} entries, {bad} differences')
    return 1 if bad else 0


sys.exit(main())
