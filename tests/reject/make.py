#!/usr/bin/env python3
"""Makes the malformed inputs of the reject tests, and the fuzzers' first corpus.

    tests/reject/make.py BUILD

BUILD/tests/make_seeds writes a well-formed input of every kind with the product's own code (PARSER/*.ok); each case
below spoils one of them in one way, and says with which error it must be refused: PARSER/NAME.ERROR. Which part of an
input the test itself adds (a signature, mostly) is told in the test of the parser. Made anew, files with random bytes
in them (anchor, escrow, header, identity, keystate, keytree) differ, and what they are about does not.
"""
import pathlib
import shutil
import struct
import subprocess
import sys

here = pathlib.Path(__file__).resolve().parent
corpus = here.parent / "fuzz" / "corpus"
TEXT = ["note", "card", "identity", "charter", "order", "statement", "journal", "certificate", "announcement", "manifest",
        "checkpoint"]


def seed(parser, name="seed"):
    return (here / parser / f"{name}.ok").read_bytes()


def put(parser, name, err, data):
    path = here / parser / f"{name}.{err}"
    path.parent.mkdir(exist_ok=True)
    assert not path.exists(), path
    for other in path.parent.iterdir():  # two names for the same bytes are one test
        assert other.read_bytes() != data, (path, other)
    path.write_bytes(data)


def at(data, off, new):
    """data with new in the place of as many bytes at off."""
    assert off + len(new) <= len(data)
    return data[:off] + new + data[off + len(new):]


def sub(parser, name, err, old, new, of="seed"):
    """The well-formed input with the first old replaced."""
    data = seed(parser, of)
    old, new = (x.encode() if isinstance(x, str) else x for x in (old, new))
    assert old in data, (parser, name, old)
    put(parser, name, err, data.replace(old, new, 1))


def u16(v): return struct.pack("<H", v)
def u32(v): return struct.pack("<I", v)
def u64(v): return struct.pack("<Q", v)


def cut_and_grow(parser, err, grown_err=None, of="seed"):
    """What every binary format must notice: nothing, one byte, half, all but one byte, one byte more."""
    data = seed(parser, of)
    put(parser, "empty", err, b"")
    put(parser, "one-byte", err, data[:1])
    put(parser, "half", err, data[:len(data) // 2])
    put(parser, "cut-by-one", err, data[:-1])
    put(parser, "one-byte-more", grown_err or err, data + b"\0")


# --- store ---

def header():
    s = seed("header")
    anchor_at, slots_at = s.index(b"\x0b/srv/anchor"), s.index(b"/srv/anchor") + 11
    slot_at = slots_at + 1
    ops_at = slot_at + 1 + 11 + 16
    put("header", "magic", "EUCLEAN", at(s, 0, b"X"))
    put("header", "version-zero", "EUCLEAN", at(s, 8, u16(0)))
    put("header", "version-newer", "EPROTONOSUPPORT", at(s, 8, u16(2)))
    put("header", "name-empty", "EUCLEAN", s[:131] + b"\0" + s[145:])
    put("header", "name-newline", "EUCLEAN", at(s, 136, b"\n"))
    put("header", "name-nul", "EUCLEAN", at(s, 136, b"\0"))
    put("header", "name-not-utf8", "EUCLEAN", at(s, 136, b"\xff"))
    put("header", "name-bidi", "EUCLEAN", at(s, 134, "\u202e".encode()))
    put("header", "name-longer-than-allowed", "EUCLEAN", s[:131] + b"\x41" + b"n" * 65 + s[145:])
    put("header", "name-length-overlong", "EUCLEAN", s[:131] + b"\x8d\0" + s[132:])
    put("header", "name-length-huge", "EUCLEAN", s[:131] + b"\xff" * 9 + b"\x01" + s[132:])
    put("header", "anchor-relative", "EUCLEAN", at(s, anchor_at + 1, b"s"))
    put("header", "anchor-nul", "EUCLEAN", at(s, anchor_at + 5, b"\0"))
    put("header", "anchor-empty", "EUCLEAN", s[:anchor_at] + b"\0" + s[slots_at:])
    put("header", "anchor-longer-than-allowed", "EUCLEAN", s[:anchor_at] + b"\x81\x08" + b"/" * 1025 + s[slots_at:])
    put("header", "slots-one-more-than-there-are", "EUCLEAN", at(s, slots_at, b"\x04"))
    put("header", "slots-one-less-than-there-are", "EUCLEAN", at(s, slots_at, b"\x02"))
    put("header", "slots-beyond-64", "EUCLEAN", at(s, slots_at, b"\xff"))
    put("header", "slot-kind-zero", "EUCLEAN", at(s, slot_at, b"\0"))
    put("header", "slot-kind-unknown", "EUCLEAN", at(s, slot_at, b"\x04"))
    put("header", "slot-label-control", "EUCLEAN", at(s, slot_at + 3, b"\x1b"))
    put("header", "argon2-passes-below-floor", "EUCLEAN", at(s, ops_at, u64(1)))
    put("header", "argon2-passes-huge", "EUCLEAN", at(s, ops_at, u64(1 << 62)))
    put("header", "argon2-memory-below-floor", "EUCLEAN", at(s, ops_at + 8, u64(8192)))
    put("header", "argon2-memory-huge", "EUCLEAN", at(s, ops_at + 8, u64(1 << 60)))
    put("header", "wrapped-empty", "EUCLEAN", s[:ops_at + 48] + b"\0" + s[ops_at + 49 + s[ops_at + 48]:])
    put("header", "wrapped-beyond-96", "EUCLEAN", at(s, ops_at + 48, b"\x61"))
    cut_and_grow("header", "EUCLEAN")
    # As a file lies there: nothing is signed anew.
    f = seed("header_file")
    put("header_file", "signature-flipped", "EBADMSG", at(f, len(f) - 1, bytes([f[-1] ^ 1])))
    put("header_file", "volume-id-flipped", "EBADMSG", at(f, 10, bytes([f[10] ^ 1])))
    put("header_file", "key-of-another", "EBADMSG", at(f, 67, bytes(32)))
    put("header_file", "argon2-lowered-within-bounds", "EBADMSG", at(f, ops_at, u64(3)))
    put("header_file", "signature-zeros", "EBADMSG", f[:-64] + bytes(64))
    put("header_file", "signature-missing", "EUCLEAN", f[:-64])
    put("header_file", "empty", "EUCLEAN", b"")
    put("header_file", "zeros", "EUCLEAN", bytes(len(f)))
    put("header_file", "version-newer-unsigned", "EPROTONOSUPPORT", at(f, 8, u16(9)))


def anchor():
    s = seed("anchor")

    def both(off, new):
        return at(at(s, off, new), 4096 + off, new)
    put("anchor", "zeros", "EBADMSG", bytes(8192))
    put("anchor", "short", "EUCLEAN", s[:4096])
    put("anchor", "short-by-one", "EUCLEAN", s[:-1])
    put("anchor", "empty", "EUCLEAN", b"")
    put("anchor", "both-magics", "EBADMSG", both(0, b"X"))
    put("anchor", "both-newer", "EPROTONOSUPPORT", both(8, u16(2)))
    put("anchor", "both-version-zero", "EBADMSG", both(8, u16(0)))
    put("anchor", "both-another-volume", "EXDEV", both(16, b"\x01"))
    put("anchor", "both-sequence-changed", "EBADMSG", both(32, u64(99)))
    put("anchor", "both-sequence-zero", "EBADMSG", both(32, u64(0)))
    put("anchor", "both-reserved-used", "EBADMSG", both(10, b"\x01"))
    put("anchor", "both-boxes-flipped", "EBADMSG", both(60, b"\0\0\0\0"))
    put("anchor", "both-tags-flipped", "EBADMSG", both(40 + 24 + 144, b"\0" * 16))
    put("anchor", "head-of-one-box-of-other", "EBADMSG", at(s, 0, s[4096:4136])[:40] + s[40:4096] + s[:40] + s[4136:])


def escrow():
    s = seed("escrow")
    put("escrow", "magic", "EBADMSG", at(s, 0, b"X"))
    put("escrow", "version-newer", "EPROTONOSUPPORT", at(s, 8, u16(2)))
    put("escrow", "version-zero", "EBADMSG", at(s, 8, u16(0)))
    put("escrow", "no-recipients", "EBADMSG", at(s, 10, u16(0)))
    put("escrow", "recipients-beyond-16", "EBADMSG", at(s, 10, u16(17)))
    put("escrow", "recipients-more-than-there-are", "EBADMSG", at(s, 10, u16(16)))
    put("escrow", "another-volume", "EBADMSG", at(s, 16, b"\x01"))
    put("escrow", "sequence-zero", "EBADMSG", at(s, 32, u64(0)))
    put("escrow", "generation-other-than-sealed", "EBADMSG", at(s, 40, u64(4)))
    put("escrow", "box-length-zero", "EUCLEAN", at(s, 56, u64(0))[:288])
    put("escrow", "box-length-huge", "EBADMSG", at(s, 56, u64((1 << 64) - 1)))
    put("escrow", "box-length-wraps", "EBADMSG", at(s, 56, u64((1 << 64) - 288)))
    put("escrow", "box-length-one-less", "EBADMSG", at(s, 56, u64(len(s) - 289)))
    put("escrow", "box-flipped", "EBADMSG", at(s, 400, bytes([s[400] ^ 1])))
    put("escrow", "recipient-name-changed", "EBADMSG", at(s, 112, b"B"))
    put("escrow", "content-key-flipped", "EBADMSG", at(s, 112 + 96 + 40, bytes([s[112 + 96 + 40] ^ 1])))
    put("escrow", "recipient-another", "ENOKEY", at(s, 112 + 64, b"\0" * 4))
    put("escrow", "empty", "EBADMSG", b"")
    put("escrow", "head-only", "EBADMSG", s[:112])
    put("escrow", "cut", "EBADMSG", s[:-1])


def keytree():
    s = seed("keytree")
    node, n = 41, struct.unpack("<I", s[:4])[0]
    first = lambda i: 4 + i * node
    put("keytree", "count-huge", "EUCLEAN", at(s, 0, u32(0xffffffff)))
    put("keytree", "count-beyond-limit", "EUCLEAN", at(s, 0, u32((1 << 22) + 1)))
    put("keytree", "count-one-more", "EUCLEAN", at(s, 0, u32(n + 1)))
    put("keytree", "count-one-less", "EUCLEAN", at(s, 0, u32(n - 1)))
    put("keytree", "depth-beyond-64", "EUCLEAN", at(s, first(0) + 8, b"\x41"))
    put("keytree", "first-not-aligned", "EUCLEAN", at(s, first(1), u64(struct.unpack("<Q", s[first(1):first(1) + 8])[0] + 1)))
    put("keytree", "subtree-twice", "EUCLEAN", s[:first(1)] + s[first(0):first(1)] + s[first(2):])
    put("keytree", "subtrees-swapped", "EUCLEAN", s[:4] + s[first(1):first(2)] + s[first(0):first(1)] + s[first(2):])
    put("keytree", "subtree-inside-another", "EUCLEAN", at(s, first(0) + 8, b"\x30"))
    put("keytree", "root-among-others", "EUCLEAN", at(s, first(0) + 8, b"\0"))
    cut_and_grow("keytree", "EUCLEAN")


def keystate():
    s = seed("keystate")
    pub = s.index(b"\x02\x06/mnt/a")
    gone = s.index(u32(2) + u64(20))
    put("keystate", "version-zero", "EUCLEAN", at(s, 0, u16(0)))
    put("keystate", "version-newer", "EPROTONOSUPPORT", at(s, 0, u16(2)))
    put("keystate", "public-length-huge", "EUCLEAN", at(s, pub - 4, u32(0xffffffff)))
    put("keystate", "public-length-one-less", "EUCLEAN", at(s, pub - 4, u32(struct.unpack("<I", s[pub - 4:pub])[0] - 1)))
    put("keystate", "public-length-one-more", "EUCLEAN", at(s, pub - 4, u32(struct.unpack("<I", s[pub - 4:pub])[0] + 1)))
    put("keystate", "escrow-relative", "EUCLEAN", at(s, pub + 2, b"m"))
    put("keystate", "escrow-nul", "EUCLEAN", at(s, pub + 4, b"\0"))
    put("keystate", "escrow-twice", "EUCLEAN", s.replace(b"/mnt/b", b"/mnt/a"))
    put("keystate", "escrows-255", "EUCLEAN", at(s, pub, b"\xff"))
    put("keystate", "recipients-beyond-16", "EUCLEAN", at(s, pub + 15, b"\x11"))
    put("keystate", "recipient-name-nul", "EUCLEAN", s.replace(b"\x05Ada 1", b"\x05Ada\x001"))
    put("keystate", "gone-count-huge", "EUCLEAN", at(s, gone, u32(0xffffffff)))
    put("keystate", "gone-count-one-more", "EUCLEAN", at(s, gone, u32(3)))
    put("keystate", "gone-backwards", "EUCLEAN", at(s, gone + 4, u64(30)))
    put("keystate", "gone-overlapping", "EUCLEAN", at(s, gone + 4 + 32, u64(29)))
    put("keystate", "gone-order-longer-than-allowed", "EUCLEAN", s[:gone + 20] + b"\x7f" + s[gone + 21:])
    cut_and_grow("keystate", "EUCLEAN")


# --- notes: the test signs the body with the keys it names ---

def note():
    """Whole notes. What is refused here is refused by every type."""
    s = seed("note")
    body, sigs = s.split(b"\n\n")
    body += b"\n"
    lines = sigs.decode().splitlines(keepends=True)
    volume = lines[0]
    b64 = volume.split(" ")[2].strip()

    def put_note(name, err, b, sig="".join(lines)):
        put("note", name, err, b + b"\n" + sig.encode())
    for name, ch in {"nul": "\0", "tab": "\t", "carriage-return": "\r", "escape": "\x1b", "del": "\x7f", "c1-control": "\x85",
                     "line-separator": "\u2028", "paragraph-separator": "\u2029", "right-to-left-override": "\u202e",
                     "right-to-left-mark": "\u200f", "arabic-letter-mark": "\u061c", "isolate": "\u2066"}.items():
        put_note(f"value-{name}", "EUCLEAN", body.replace(b"key: value", b"key: va" + ch.encode() + b"lue"))
    put_note("crlf", "EUCLEAN", body.replace(b"\n", b"\r\n"))
    put_note("not-utf8", "EUCLEAN", body.replace(b"value", b"va\xfflue"))
    put_note("utf8-overlong", "EUCLEAN", body.replace(b"value", b"va\xc0\xaflue"))
    put_note("utf8-surrogate", "EUCLEAN", body.replace(b"value", b"va\xed\xa0\x80lue"))
    put_note("utf8-cut", "EUCLEAN", body.replace(b"value\n", b"value\xe9\x94\n"))
    put_note("value-leading-blank", "EBADMSG", body.replace(b"key: value", b"key:  value"))
    put_note("value-changed", "EBADMSG", body.replace(b"value", b"Value"))
    put_note("line-removed", "EBADMSG", body.replace(b"key: value\n", b""))
    put("note", "last-newline-missing", "EUCLEAN", s[:-1])
    put("note", "no-signature", "EUCLEAN", body)
    put("note", "no-empty-line", "EUCLEAN", body + volume.encode())
    put("note", "empty-line-nothing-behind", "EUCLEAN", body + b"\n")
    put("note", "empty", "EUCLEAN", b"")
    put("note", "only-newline", "EUCLEAN", b"\n")
    put("note", "only-signatures", "EUCLEAN", b"\n" + sigs)
    put_note("signature-hyphen", "EUCLEAN", body, volume.replace("\u2014", "-"))
    put_note("signature-two-blanks", "EUCLEAN", body, volume.replace(b64, " " + b64))
    put_note("signature-no-name", "EUCLEAN", body, "\u2014 " + b64 + "\n")
    put_note("signature-name-plus", "EUCLEAN", body, volume.replace("coffer-volume/", "coffer+volume/"))
    put_note("signature-not-base64", "EUCLEAN", body, volume.replace(b64, "!" + b64[1:]))
    put_note("signature-base64-url", "EUCLEAN", body, volume.replace(b64, "-_" + b64[2:]))
    put_note("signature-base64-unpadded", "EUCLEAN", body, volume.replace(b64, b64.rstrip("=")))
    put_note("signature-longer-by-a-byte", "EBADMSG", body, volume.replace(b64, b64.rstrip("=") + "A"))
    put_note("signature-only-key-hash", "EUCLEAN", body, volume.replace(b64, b64[:4] + "AA=="))
    put_note("signature-short", "EBADMSG", body, volume.replace(b64, b64[:44]))
    put_note("signature-flipped", "EBADMSG", body, volume.replace(b64, b64[:20] + ("A" if b64[20] != "A" else "B") + b64[21:]))
    put_note("signature-key-hash-flipped", "EBADMSG", body, volume.replace(b64, ("A" if b64[0] != "A" else "B") + b64[1:]))
    put_note("signature-under-another-name", "EBADMSG", body, volume.replace("coffer-volume/c0", "coffer-volume/c1"))
    put_note("signature-of-a-member-only", "EBADMSG", body, lines[1])
    put_note("signature-then-text", "EUCLEAN", body, volume + "key: more\n")
    put_note("signatures-beyond-300", "EUCLEAN", body, volume * 301)
    put("note", "signature-again-for-other-body", "EBADMSG", body + b"\n" + body + b"\n" + volume.encode())
    # The same line many times adds nothing and hides nothing.
    put_note("signature-twice", "ok", body, volume * 2)
    put_note("signature-last-of-many", "ok", body, lines[1] * 200 + volume)
    # The signature holds, the body is none that a type may have.
    for name, b in {"first-line-other": b"coffee-thing/1\n", "first-line-no-version": b"coffer-thing\n",
                    "first-line-version-zero": b"coffer-thing/0\n", "first-line-version-leading-zero": b"coffer-thing/01\n",
                    "first-line-version-sign": b"coffer-thing/+1\n", "first-line-version-huge": b"coffer-thing/99999999999999999999\n",
                    "first-line-upper-case": b"coffer-Thing/1\n", "key-upper-case": b"coffer-thing/1\nKey: v\n",
                    "key-empty": b"coffer-thing/1\n: v\n", "key-blank": b"coffer-thing/1\na b: v\n", "no-colon": b"coffer-thing/1\nkey v\n",
                    "no-blank-behind-colon": b"coffer-thing/1\nkey:v\n", "value-leading-blank": b"coffer-thing/1\nkey:  v\n",
                    "value-trailing-blank": b"coffer-thing/1\nkey: v \n", "value-wide-blank": "coffer-thing/1\nkey: v\u3000\n".encode(),
                    "value-longer-than-4096": b"coffer-thing/1\nkey: " + b"v" * 4097 + b"\n",
                    "key-longer-than-63": b"coffer-thing/1\n" + b"k" * 64 + b": v\n",
                    "empty-line-inside": b"coffer-thing/1\n\nkey: v\n"}.items():
        put("note_body", name, "EUCLEAN", b)
    put("note_body", "seed", "ok", body)


def typed(parser, version="EPROTONOSUPPORT", malformed="EUCLEAN"):
    """What every type of note must notice in its body."""
    s = seed(parser)
    first, rest = s.split(b"\n", 1)
    name = first.split(b"/")[0]
    lines = rest.splitlines(keepends=True)
    put(parser, "type-other", malformed, name + b"x/1\n" + rest)
    put(parser, "version-newer", version, name + b"/2\n" + rest)
    put(parser, "line-first-missing", malformed, first + b"\n" + b"".join(lines[1:]))
    put(parser, "line-first-twice", malformed, first + b"\n" + lines[0] + rest)
    put(parser, "lines-swapped", malformed, first + b"\n" + lines[1] + lines[0] + b"".join(lines[2:]))
    put(parser, "line-unknown", malformed, s + b"unknown-key: value\n")
    put(parser, "body-only-first-line", malformed, first + b"\n")
    put(parser, "hex-upper-case", malformed, s.replace(b"c0ffee", b"C0FFEE") if b"c0ffee" in s else s.replace(b"key: ", b"key: A", 1))


def notes():
    note()
    for parser in ["card", "identity", "charter", "order", "statement", "manifest", "certificate", "announcement"]:
        typed(parser)
    typed("journal", malformed="EBADMSG")
    sub("card", "name-with-bar", "EUCLEAN", "name: Ada 1", "name: Ada|1")
    sub("card", "name-other-than-signed", "ok", "name: Ada 1", "name: Eve 1")
    sub("card", "sealing-key-of-another", "EBADMSG", seed("card").split(b"seal-key: ")[1][:8], b"00000000")
    sub("card", "proof-of-another", "EBADMSG", seed("card").split(b"seal-proof: ")[1][:8], b"00000000")
    sub("card", "proof-no-point", "EBADMSG", seed("card").split(b"seal-proof: ")[1][:64], b"f" * 64)
    sub("card", "key-short", "EUCLEAN", seed("card").split(b"sign-key: ")[1][:2], b"")

    sub("identity", "name-changed", "EBADMSG", "name: Ada 1", "name: Eve 1")
    sub("identity", "box-flipped", "EBADMSG", seed("identity").split(b"box: ")[1][:4], b"0000")
    sub("identity", "kdf-unknown", "EUCLEAN", "kdf: none", "kdf: rot13")
    sub("identity", "argon2-without-cost", "EUCLEAN", "kdf: none", "kdf: argon2id")
    sub("identity", "argon2-without-passphrase", "ENOKEY", "kdf: none\n", "kdf: argon2id\nops: 2\nmemory: 67108864\nsalt: " + "0" * 32 + "\n")
    sub("identity", "cost-for-none", "EUCLEAN", "kdf: none\n", "kdf: none\nops: 2\n")
    sub("identity", "last-newline-missing", "EUCLEAN", seed("identity")[-5:], seed("identity")[-5:-1])

    sub("charter", "number-zero", "EINVAL", "number: 1", "number: 0")
    sub("charter", "number-leading-zero", "EUCLEAN", "number: 1\n", "number: 01\n")
    sub("charter", "number-two-without-previous", "EINVAL", "number: 1\n", "number: 2\n")
    sub("charter", "time-no-such-date", "EUCLEAN", "created: 2025-11-28", "created: 2025-02-30")
    sub("charter", "time-local", "EUCLEAN", "T09:00:00Z", "T09:00:00+08:00")
    sub("charter", "member-too-few-parts", "EUCLEAN", "|1000\n", "\n")
    sub("charter", "member-too-many-parts", "EUCLEAN", "|1000\n", "|1000|\n")
    sub("charter", "member-uid-negative", "EUCLEAN", "|1000\n", "|-5\n")
    sub("charter", "member-uid-huge", "EUCLEAN", "|1000\n", "|4294967295\n")
    sub("charter", "member-twice", "EINVAL", "member: Ada 2|102", "member: Ada 1|101")
    sub("charter", "member-twice-in-other-case", "EINVAL", "member: Ada 2|102", "member: ADA 1|101")
    sub("charter", "member-without-role", "EUCLEAN", "|owner|", "||")
    sub("charter", "role-unknown", "EUCLEAN", "|owner|", "|emperor|")
    sub("charter", "role-twice", "EUCLEAN", "|owner|", "|owner+owner|")
    sub("charter", "no-owner", "EBADMSG", "|owner|", "|custodian|")
    sub("charter", "auditor-holds-another", "EINVAL", "|auditor|", "|auditor+custodian|")
    sub("charter", "operator-is-owner", "EINVAL", "|operator|", "|owner+operator|")
    sub("charter", "quorum-one-role", "EINVAL", "quorum: destroy|owner+security", "quorum: destroy|owner")
    sub("charter", "quorum-none-for-destroy", "EINVAL", "quorum: destroy|", "quorum: export|")
    sub("charter", "quorum-role-nobody-has", "EINVAL", "quorum: destroy|owner+security", "quorum: destroy|owner+custodian")
    sub("charter", "quorum-twice", "EINVAL", "quorum: charter|", "quorum: destroy|")
    sub("charter", "volume-key-of-another", "EBADMSG", seed("charter").split(b"volume-key: ")[1][:8], b"00000000")

    sub("order", "number-malformed", "EUCLEAN", "D-20251128-0001", "D-20251128-1")
    sub("order", "number-climbs", "EUCLEAN", "D-20251128-0001", "../../../x-0001")
    sub("order", "expires-before-created", "EUCLEAN", "expires: 2025-11-29", "expires: 2025-11-27")
    sub("order", "backups-other-word", "EUCLEAN", "backups: destroyed", "backups: maybe")
    sub("order", "ids-sign", "EUCLEAN", "ids: 3", "ids: +3")
    sub("order", "ids-too-large", "EUCLEAN", "ids: 3", "ids: 18446744073709551616")
    sub("order", "action-upper-case", "EUCLEAN", "action: destroy", "action: Destroy")
    sub("order", "action-longer-than-31", "EUCLEAN", "action: destroy", "action: " + "d" * 32)
    sub("order", "description-longer-than-1024", "EUCLEAN", "parcels of 1998", "p" * 1025)
    sub("order", "requester-with-bar", "EUCLEAN", "requester: Ada 1", "requester: Ada|1")
    sub("order", "requester-key-of-another", "EBADMSG", seed("order").split(b"requester-key: ")[1][:8], b"00000000")
    sub("order", "inventory-digest-short", "EUCLEAN", "inventory: 0000", "inventory: 00")

    sub("statement", "decision-unknown", "EUCLEAN", "decision: approve", "decision: applaud")
    sub("statement", "rejection-that-expires", "EUCLEAN", "decision: approve", "decision: reject")
    sub("statement", "approval-that-does-not-expire", "EUCLEAN", "expires: 2025-11-29T09:00:00Z\n", "")
    sub("statement", "role-unknown", "EUCLEAN", "role: security", "role: emperor")
    sub("statement", "roles-two", "EUCLEAN", "role: security", "role: owner+security")
    sub("statement", "order-number-malformed", "EUCLEAN", "order: D-20251128-0001", "order: D-20251128-1")
    sub("statement", "signer-key-of-another", "EBADMSG", seed("statement").split(b"signer-key: ")[1][:8], b"00000000")
    sub("statement", "opinion-longer-than-1024", "EUCLEAN", "agreed", "a" * 1025)

    sub("journal", "step-longer-than-63", "EBADMSG", "step: begin", "step: " + "b" * 64)
    sub("journal", "order-another", "EBADMSG", "0001", "0002")
    sub("journal", "order-digest-another", "EBADMSG", "order-digest: 06", "order-digest: 07")
    sub("journal", "charter-another", "EBADMSG", seed("journal").split(b"charter: ")[1][:8], b"00000000")
    put("journal", "steps-too-many", "EBADMSG", seed("journal") + b"step: again\n" * 4097)

    sub("announcement", "range-backwards", "EUCLEAN", "20-29", "29-20")
    sub("announcement", "range-sign", "EUCLEAN", "20-29", "20-+29")
    sub("announcement", "range-one-number", "EUCLEAN", "20-29", "20")
    sub("announcement", "range-leading-zero", "EUCLEAN", "20-29", "020-29")
    sub("announcement", "range-too-large", "EUCLEAN", "20-29", "20-18446744073709551616")
    sub("announcement", "trees-unknown", "EUCLEAN", "trees: live backup", "trees: backup")
    sub("announcement", "order-longer-than-31", "EUCLEAN", "D-20251128-0001", "D" * 32)
    sub("announcement", "volume-another", "EUCLEAN", "c0ffee", "c0ffef")

    sub("certificate", "volume-another", "EBADMSG", "c0ffee", "c0ffef")
    sub("certificate", "volume-short", "EUCLEAN", "c0ffee", "c0ff")
    sub("certificate", "first-charter-short", "EUCLEAN", "charter-first: 00", "charter-first: ")


def manifest():
    sub("manifest", "set-id-malformed", "EUCLEAN", "set: 20251128T", "set: 20251128X")
    sub("manifest", "set-id-climbs", "EUCLEAN", "set: 20251128T090000Z-1a2b3c4d", "set: ../../../../../../../../x")
    sub("manifest", "set-id-upper-case", "EUCLEAN", "1a2b3c4d", "1A2B3C4D")
    sub("manifest", "kind-unknown", "EUCLEAN", "kind: incremental", "kind: differential")
    sub("manifest", "full-with-parent", "EUCLEAN", "kind: incremental", "kind: full")
    sub("manifest", "incremental-without-parent", "EUCLEAN", "parent: 20251127T090000Z-0a0b0c0d", "parent: none")
    sub("manifest", "parent-malformed", "EUCLEAN", "parent: 20251127T", "parent: 20251127X")
    sub("manifest", "merged-malformed", "EUCLEAN", "merged: 20251127T", "merged: 20251127X")
    sub("manifest", "merged-two-blanks", "EUCLEAN", "0a0b0c0e 2025", "0a0b0c0e  2025")
    sub("manifest", "merged-climbs", "EUCLEAN", "merged: 20251127T100000Z-0a0b0c0e", "merged: ../../../../../../../../x")
    sub("manifest", "merged-nothing", "EUCLEAN", seed("manifest").split(b"merged: ")[1].split(b"\n")[0], "")
    sub("manifest", "merged-too-many", "EUCLEAN", "merged: 20251127T100000Z-0a0b0c0e", "merged:" + " 20251127T100000Z-0a0b0c0e" * 129)
    sub("manifest", "merged-without-end", "EUCLEAN", "stands-for: 20251127T110000Z-0a0b0c0f", "stands-for: none")
    sub("manifest", "volume-another", "EUCLEAN", "c0ffee", "c0ffef")
    sub("manifest", "number-leading-zero", "EUCLEAN", "nodes: 3", "nodes: 03")
    sub("manifest", "number-too-large", "EUCLEAN", "bytes: 4096", "bytes: 18446744073709551616")
    sub("manifest", "tiers-longer-than-63", "EUCLEAN", "daily weekly", "d" * 64)
    sub("manifest", "index-length-sign", "EUCLEAN", "index: 100", "index: +100")
    sub("manifest", "index-length-blank", "EUCLEAN", "index: 100 ", "index: 100  ")
    sub("manifest", "index-digest-short", "EUCLEAN", "index: 100 03", "index: 100 ")
    sub("manifest", "index-something-behind", "EUCLEAN", seed("manifest").split(b"index: ")[1].split(b"\n")[0],
        seed("manifest").split(b"index: ")[1].split(b"\n")[0] + b" 0")
    sub("manifest", "time-no-such-date", "EUCLEAN", "time: 2025-11-28", "time: 2025-11-31")


def inventory():
    s = seed("inventory")
    sub("inventory", "version-newer", "EUCLEAN", "coffer-inventory/1", "coffer-inventory/2")
    sub("inventory", "moved-other-word", "EUCLEAN", "moved: keep", "moved: maybe")
    sub("inventory", "sealed-upper-case", "EUCLEAN", "sealed: 03", "sealed: 0A")
    sub("inventory", "sealed-short", "EUCLEAN", "sealed: 03", "sealed: ")
    sub("inventory", "ids-wrong", "EUCLEAN", "ids: 2", "ids: 3")
    sub("inventory", "kept-wrong", "EUCLEAN", "kept: 1", "kept: 0")
    sub("inventory", "bytes-wrong", "EUCLEAN", "bytes: 4096", "bytes: 4097")
    sub("inventory", "head-line-missing", "EUCLEAN", "kept: 1\n", "")
    sub("inventory", "item-twice", "EUCLEAN", "\n21 ", "\n20 ")
    sub("inventory", "items-not-sorted", "EUCLEAN", "\n21 ", "\n23 ")
    sub("inventory", "item-reserved-id", "EUCLEAN", "\n20 ", "\n15 ")
    sub("inventory", "item-id-sign", "EUCLEAN", "\n21 ", "\n+21 ")
    sub("inventory", "item-id-leading-zero", "EUCLEAN", "\n21 ", "\n021 ")
    sub("inventory", "item-id-too-large", "EUCLEAN", "\n22 ", "\n18446744073709551616 ")
    sub("inventory", "flag-unknown", "EUCLEAN", "\n21 p", "\n21 z")
    sub("inventory", "flag-twice", "EUCLEAN", "\n21 p", "\n21 pp")
    sub("inventory", "flags-not-in-order", "EUCLEAN", "\n20 tpd", "\n20 ptd")
    sub("inventory", "item-without-bytes", "EUCLEAN", "\n21 p 4096", "\n21 p")
    sub("inventory", "item-something-behind", "EUCLEAN", "\n21 p 4096", "\n21 p 4096 x")
    sub("inventory", "line-longer-than-127", "EUCLEAN", "\n21 p 4096", "\n21 p 4096" + " " * 200)
    sub("inventory", "nul-inside", "EUCLEAN", "\n21 p", b"\n21 \0")
    sub("inventory", "crlf", "EUCLEAN", "4096\n22", "4096\r\n22")
    put("inventory", "empty", "EUCLEAN", b"")
    put("inventory", "cut", "EUCLEAN", s[:-1])
    put("inventory", "grown", "EUCLEAN", s + b"\n")


# --- records, as they lie in their box ---

def varint(v):
    out = b""
    while v >= 0x80:
        out, v = out + bytes([v & 0x7f | 0x80]), v >> 7
    return out + bytes([v])


def map_record(sessions, runs, version=1):
    """runs: (length,) a hole; (length, slot, birth, session, counter) blocks."""
    out = bytes([version, len(sessions)]) + b"".join(bytes([s]) * 16 for s in sessions)
    for r in runs:
        if len(r) == 1:
            out += bytes([0x80 | r[0] - 1])
        else:
            out += bytes([r[0] - 1]) + varint(r[1]) + varint(r[2]) + bytes([r[3]]) + varint(r[4]) + bytes(16) * r[0]
    return out


def maps():
    put("map", "built", "ok", map_record([1], [(10, 100, 7, 0, 1), (54,)]))
    put("map", "version", "EUCLEAN", map_record([1], [(10, 100, 7, 0, 1), (54,)], version=2))
    put("map", "session-unused", "EUCLEAN", map_record([1, 2], [(10, 100, 7, 0, 1), (54,)]))
    put("map", "session-twice", "EUCLEAN", map_record([1, 1], [(10, 100, 7, 0, 1), (54, 200, 7, 1, 99)]))
    put("map", "sessions-not-in-order-of-use", "EUCLEAN", map_record([1, 2], [(10, 100, 7, 1, 1), (54, 200, 7, 0, 99)]))
    put("map", "sessions-beyond-64", "EUCLEAN", map_record(range(1, 66), [(64,)]))
    put("map", "session-not-in-table", "EUCLEAN", map_record([1], [(10, 100, 7, 1, 1), (54,)]))
    put("map", "runs-too-few", "EUCLEAN", map_record([1], [(10, 100, 7, 0, 1), (53,)]))
    put("map", "runs-too-many", "EUCLEAN", map_record([1], [(10, 100, 7, 0, 1), (55,)]))
    put("map", "holes-not-joined", "EUCLEAN", map_record([], [(32,), (32,)]))
    put("map", "runs-not-joined", "EUCLEAN", map_record([1], [(10, 100, 7, 0, 1), (54, 110, 7, 0, 11)]))
    put("map", "head-reserved-bit", "EUCLEAN", bytes([1, 0, 0xc0 | 63]))
    put("map", "slot-beyond-end", "EUCLEAN", map_record([1], [(10, 1 << 40, 7, 0, 1), (54,)]))
    put("map", "slot-run-beyond-end", "EUCLEAN", map_record([1], [(10, (1 << 40) - 9, 7, 0, 1), (54,)]))
    put("map", "slot-hole-marker", "EUCLEAN", map_record([1], [(10, (1 << 64) - 1, 7, 0, 1), (54,)]))
    put("map", "birth-beyond-end", "EUCLEAN", map_record([1], [(10, 100, 1 << 56, 0, 1), (54,)]))
    put("map", "counter-beyond-end", "EUCLEAN", map_record([1], [(10, 100, 7, 0, 1 << 35), (54,)]))
    put("map", "counter-run-beyond-end", "EUCLEAN", map_record([1], [(10, 100, 7, 0, (1 << 35) - 9), (54,)]))
    good = map_record([1], [(10, 100, 7, 0, 1), (54,)])
    put("map", "varint-overlong", "EUCLEAN", good.replace(bytes([9, 100, 7]), bytes([9, 0xe4, 0, 7])))
    put("map", "varint-beyond-64-bits", "EUCLEAN", good.replace(bytes([9, 100, 7]), bytes([9]) + b"\xff" * 9 + b"\x02\x07"))
    put("map", "varint-endless", "EUCLEAN", good[:18] + b"\xff" * 40)
    cut_and_grow("map", "EUCLEAN")


def log_entry(runs, mode=0o100644, size=100000, cut=(1 << 64) - 1, version=1, flags=0, nsec=5, n_runs=None):
    """runs: (first, number, kind); content of data runs is zeros."""
    out = bytes([version, flags]) + u32(mode) + u32(1000) + u32(1000) + (u64(7) + u32(nsec)) * 3 + u64(size) + u64(cut)
    out += varint(len(runs) if n_runs is None else n_runs)
    out += b"".join(varint(first) + varint(n) + bytes([kind]) for first, n, kind in runs)
    return out + bytes(4096 * sum(n for _, n, kind in runs if kind == 0))


def log_inline(size, content):
    return log_entry([], size=size, flags=1)[:-1] + content


def log_entries():
    put("log_entry", "seed", "ok", log_entry([(3, 1, 0), (9, 5, 1)], cut=50))
    put("log_entry", "attributes", "ok", log_entry([]))
    put("log_entry", "inline", "ok", log_inline(4, b"text"))
    put("log_entry", "inline-empty", "ok", log_inline(0, b""))
    put("log_entry", "holes-to-the-end", "ok", log_entry([(0, 1 << 32, 1)], size=16 << 40))

    def bad(name, **kw):
        put("log_entry", name, "EUCLEAN", log_entry([(3, 1, 0)], **kw))
    bad("version", version=2)
    bad("flags-unknown", flags=2)
    bad("folder", mode=0o040755)
    bad("no-type", mode=0o644)
    bad("mode-beyond", mode=0o100644 | 1 << 20)
    bad("size-beyond-end", size=(16 << 40) + 1)
    bad("nanoseconds", nsec=10 ** 9)
    bad("runs-promised", n_runs=2)
    bad("runs-too-few", n_runs=0)
    put("log_entry", "runs-beyond-64", "EUCLEAN", log_entry([(i, 1, 1) for i in range(65)]))
    put("log_entry", "runs-huge", "EUCLEAN", log_entry([], n_runs=(1 << 64) - 1))
    put("log_entry", "run-empty", "EUCLEAN", log_entry([(3, 0, 1)]))
    put("log_entry", "run-kind", "EUCLEAN", log_entry([(3, 1, 2)]))
    put("log_entry", "run-beyond-end", "EUCLEAN", log_entry([(1 << 32, 1, 1)]))
    put("log_entry", "run-overflow", "EUCLEAN", log_entry([((1 << 64) - 1, 2, 1)]))
    put("log_entry", "run-number-huge", "EUCLEAN", log_entry([(0, (1 << 64) - 1, 1)]))
    put("log_entry", "data-lacking", "EUCLEAN", log_entry([(0, 2, 0)])[:-4096])
    put("log_entry", "inline-short", "EUCLEAN", log_inline(5, b"text"))
    put("log_entry", "inline-long", "EUCLEAN", log_inline(3, b"text"))
    put("log_entry", "inline-beyond-4095", "EUCLEAN", log_inline(4096, bytes(4096)))
    put("log_entry", "varint-overlong", "EUCLEAN", log_entry([])[:-1] + b"\x80\0")
    cut_and_grow("log_entry", "EUCLEAN")


INODE_TIMES, INODE_TAIL = 34, 82  # four times; parent, slots, mapped, inline
INODE_EMPTY = INODE_TAIL + 24 + 1  # without content


def padded(record):
    return record + bytes(-len(record) % (128 if len(record) < 2048 else 512))


def inodes():
    s, link = (seed("inode", name)[:INODE_EMPTY + 5] for name in ["seed", "symlink"])
    blocks = seed("inode", "blocks")[:INODE_EMPTY]

    def spoil(name, record):
        put("inode", name, "EUCLEAN", padded(record))
    spoil("version", at(s, 0, b"\x02"))
    spoil("flags-unknown", at(s, 1, b"\x04"))
    spoil("type-unknown", at(s, 2, u32(0o640)))
    spoil("nanoseconds-a-second", at(s, INODE_TIMES + 8, u32(1000000000)))
    spoil("nanoseconds-huge", at(s, INODE_TIMES + 12 + 8, u32(0xffffffff)))
    spoil("size-other-than-inline", at(s, 26, u64(6)))
    spoil("inline-longer-than-4095", at(s, 26, u64(4096))[:-6] + varint(4096) + b"x" * 4096)
    spoil("inline-and-blocks", at(s, 1, b"\x02"))
    spoil("inline-with-slots", at(s, INODE_TAIL + 8, u64(1)))
    spoil("inline-with-mapped", at(s, INODE_TAIL + 16, u64(1)))
    spoil("inline-length-overlong", s[:-6] + b"\x85\0" + s[-5:])
    spoil("inline-length-huge", s[:-6] + b"\xff" * 9 + b"\x01" + s[-5:])
    spoil("size-beyond-16-tib", at(blocks, 26, u64((16 << 40) + 1)))
    spoil("folder-in-blocks", at(blocks, 2, u32(0o40755)))
    spoil("folder-with-content", at(s, 2, u32(0o40755)))
    spoil("fifo-with-content", at(s, 2, u32(0o10644)))
    spoil("symlink-in-blocks", at(link, 1, b"\x02"))
    spoil("symlink-empty", at(link, 26, u64(0))[:-6] + b"\0")
    spoil("symlink-size-other", at(link, 26, u64(4)))
    spoil("symlink-with-nul", at(link, len(link) - 3, b"\0"))
    put("inode", "not-padded", "EUCLEAN", s)
    put("inode", "padding-not-zero", "EUCLEAN", padded(s)[:-1] + b"\x01")
    put("inode", "padding-not-zero-at-once", "EUCLEAN", at(padded(s), len(s), b"\x01"))
    put("inode", "padded-twice", "EUCLEAN", padded(s) + bytes(128))
    cut_and_grow("inode", "EUCLEAN")


def buckets():
    s = seed("bucket")
    put("bucket", "version", "EUCLEAN", at(s, 0, b"\x02"))
    put("bucket", "no-entries", "EUCLEAN", s[:1])
    put("bucket", "child-zero", "EUCLEAN", at(s, 1, u64(0)))
    put("bucket", "type-unknown", "EUCLEAN", at(s, 17, b"\x07"))
    put("bucket", "type-beyond-four-bits", "EUCLEAN", at(s, 17, b"\x18"))
    box = s[18]
    put("bucket", "box-empty", "EUCLEAN", s[:18] + b"\0" + s[19 + box:])
    put("bucket", "box-overhead-only", "EUCLEAN", s[:18] + bytes([box - 32]) + s[19 + 32:])
    put("bucket", "box-not-padded", "EUCLEAN", s[:18] + bytes([box + 1]) + b"\0" + s[19:])
    put("bucket", "box-beyond-256", "EUCLEAN", s[:18] + varint(box + 256) + bytes(256) + s[19:])
    put("bucket", "box-length-overlong", "EUCLEAN", s[:18] + bytes([box | 0x80, 0]) + s[19:])
    put("bucket", "box-length-beyond-record", "EUCLEAN", s[:18] + bytes([box]) + s[19:19 + box - 1])
    put("bucket", "second-entry-cut", "EUCLEAN", s[:19 + box + 10])
    for name in ["empty", "half", "cut-by-one", "one-byte-more"]:
        put("bucket", name, "EUCLEAN", {"empty": b"", "half": s[:len(s) // 2], "cut-by-one": s[:-1], "one-byte-more": s + b"\0"}[name])


def xattrs():
    s = seed("xattrs")
    put("xattrs", "name-empty", "EUCLEAN", b"\0\0" + u32(1) + b"x")
    put("xattrs", "name-not-ended", "EUCLEAN", s.replace(b"user.note\0", b"user.note!"))
    put("xattrs", "name-nul-inside", "EUCLEAN", s.replace(b"user.note\0", b"user\0note\0"))
    put("xattrs", "name-length-beyond-list", "EUCLEAN", at(s, 0, b"\xff"))
    put("xattrs", "value-length-beyond-list", "EUCLEAN", s.replace(u32(5), u32(6)) if s.endswith(b"hello") else s.replace(u32(5), u32(4096)))
    put("xattrs", "value-length-huge", "EUCLEAN", s.replace(u32(5), u32(0xffffffff)))
    put("xattrs", "value-longer-than-64-kib", "EUCLEAN", b"\x01a\0" + u32(65537) + b"x" * 65537)
    put("xattrs", "half", "EUCLEAN", s[:len(s) // 2 + 1])
    put("xattrs", "cut-by-one", "EUCLEAN", s[:-1])
    put("xattrs", "one-byte-more", "EUCLEAN", s + b"\0")


def xattr_records():
    r, s = seed("xattr_record"), seed("xattrs")
    put("xattr_record", "not-padded", "EUCLEAN", s)
    put("xattr_record", "padding-not-zero", "EUCLEAN", r[:-1] + b"\x01")
    put("xattr_record", "padding-not-zero-at-once", "EUCLEAN", at(r, len(s), b"\x01"))
    put("xattr_record", "padded-twice", "EUCLEAN", r + bytes(128))
    put("xattr_record", "no-list", "EUCLEAN", bytes(128))
    put("xattr_record", "pair-cut", "EUCLEAN", padded(s[:-6]))
    cut_and_grow("xattr_record", "EUCLEAN")


def acls():
    s = seed("acl")
    entries = [s[4 + 8 * i:12 + 8 * i] for i in range(5)]

    def acl(*which):
        return s[:4] + b"".join(which)
    user_obj, user, group_obj, mask, other = entries
    put("acl", "minimal", "ok", acl(user_obj, group_obj, other))
    put("acl", "version", "EOPNOTSUPP", at(s, 0, u32(1)))
    put("acl", "head-cut", "EINVAL", s[:3])
    put("acl", "entry-cut", "EINVAL", s[:-1])
    put("acl", "tag-unknown", "EINVAL", at(s, 4, u16(0x40)))
    put("acl", "permissions-beyond-7", "EINVAL", at(s, 6, u16(8)))
    put("acl", "owner-missing", "EINVAL", acl(user, group_obj, mask, other))
    put("acl", "group-missing", "EINVAL", acl(user_obj, user, mask, other))
    put("acl", "other-missing", "EINVAL", acl(user_obj, user, group_obj, mask))
    put("acl", "mask-missing", "EINVAL", acl(user_obj, user, group_obj, other))
    put("acl", "owner-twice", "EINVAL", acl(user_obj, user_obj, group_obj, other))
    put("acl", "not-sorted", "EINVAL", acl(user_obj, group_obj, user, mask, other))
    put("acl", "user-without-id", "EINVAL", acl(user_obj, user[:4] + u32(0xffffffff), group_obj, mask, other))


# --- deltas and signatures: two blocks of data, then holes ---

RUNS = b"\x02\x02\x01\xfe\x01"


def delta(runs=RUNS, log=12, n=2, ops=None, as_of=7):
    if ops is None:  # all but 5 bytes are copied
        ops = varint(4000 << 1 | 1) + varint(12345) + varint(5 << 1) + b"bytes" + varint(4187 << 1 | 1) + varint(0)
    return runs + bytes([log]) + varint(n) + u64(as_of) + bytes(range(32)) + ops


def sign(version=1, log=12, depth=0, n=40, carried=0, sums=40):
    return bytes([version, log, depth]) + varint(n) + varint(carried) + bytes(36) * sums


def deltas():
    put("delta", "built", "ok", delta())
    put("delta", "nothing-but-bytes", "ok", delta(n=2, ops=varint(8192 << 1) + bytes(8192)))
    put("delta", "runs-same", "EUCLEAN", delta(runs=b"\x02\x02\x00\xfe\x01"))
    put("delta", "runs-too-few", "EUCLEAN", delta(runs=b"\x02\x02\x01\xfd\x01"))
    put("delta", "data-behind-what-is-made", "EUCLEAN", delta(n=1, ops=varint(4096 << 1 | 1) + varint(0)))
    put("delta", "pieces-too-short", "EUCLEAN", delta(log=10))
    put("delta", "pieces-too-long", "EUCLEAN", delta(log=19))
    put("delta", "blocks-none", "EUCLEAN", delta(runs=b"\x01\x80\x02", n=0, ops=b""))
    put("delta", "blocks-beyond-range", "EUCLEAN", delta(n=257))
    put("delta", "commands-too-few", "EUCLEAN", delta(ops=varint(8191 << 1 | 1) + varint(0)))
    put("delta", "commands-too-many", "EUCLEAN", delta(ops=varint(8193 << 1 | 1) + varint(0)))
    put("delta", "command-of-none", "EUCLEAN", delta(ops=varint(0) + varint(8192 << 1 | 1) + varint(0)))
    put("delta", "command-huge", "EUCLEAN", delta(ops=varint((1 << 64) - 1) + varint(0)))
    put("delta", "copy-beyond-16-tib", "EUCLEAN", delta(ops=varint(8192 << 1 | 1) + varint((16 << 40) - 8191)))
    put("delta", "copy-offset-huge", "EUCLEAN", delta(ops=varint(8192 << 1 | 1) + varint((1 << 64) - 1)))
    put("delta", "bytes-cut", "EUCLEAN", delta(ops=varint(8192 << 1) + bytes(8191)))
    put("delta", "varint-overlong", "EUCLEAN", delta(ops=b"\x81\x80\x01\x80\x00"))
    put("delta", "empty", "EUCLEAN", b"")
    put("delta", "cut-by-one", "EUCLEAN", delta()[:-1])
    put("delta", "one-byte-more", "EUCLEAN", delta() + b"\0")

    put("sign", "built", "ok", sign())
    put("sign", "deep", "ok", sign(depth=8, carried=1 << 40))
    put("sign", "version", "EUCLEAN", sign(version=2))
    put("sign", "pieces-too-short", "EUCLEAN", sign(log=10))
    put("sign", "pieces-too-long", "EUCLEAN", sign(log=19))
    put("sign", "too-deep", "EUCLEAN", sign(depth=9))
    put("sign", "blocks-none", "EUCLEAN", sign(n=0, sums=0))
    put("sign", "blocks-huge", "EUCLEAN", sign(n=(1 << 64) - 1))
    put("sign", "pieces-beyond-2-18", "EUCLEAN", sign(n=(1 << 18) + 1))
    put("sign", "sums-too-few", "EUCLEAN", sign(sums=39))
    put("sign", "sums-too-many", "EUCLEAN", sign(sums=41))
    put("sign", "empty", "EUCLEAN", b"")
    put("sign", "cut-by-one", "EUCLEAN", sign()[:-1])


# --- sets ---

NODE_TIMES, NODE_TAIL = 34, 82  # four times; mapped, xattrs, inline


def sets():
    s, blocks = seed("node"), seed("node", "blocks")
    put("node", "version", "EUCLEAN", at(s, 0, b"\x02"))
    put("node", "flags-unknown", "EUCLEAN", at(s, 1, b"\x02"))
    put("node", "type-unknown", "EUCLEAN", at(s, 2, u32(0o644)))
    put("node", "nanoseconds-a-second", "EUCLEAN", at(s, NODE_TIMES + 8, u32(1000000000)))
    put("node", "size-other-than-inline", "EUCLEAN", at(s, 26, u64(6)))
    put("node", "size-beyond-16-tib", "EUCLEAN", at(blocks, 26, u64((16 << 40) + 1)))
    put("node", "inline-and-blocks", "EUCLEAN", at(s, 1, b"\x01"))
    put("node", "inline-with-mapped", "EUCLEAN", at(s, NODE_TAIL, u64(1)))
    put("node", "folder-with-content", "EUCLEAN", at(s, 2, u32(0o40755)))
    put("node", "symlink-nul", "EUCLEAN", at(at(s, 2, u32(0o120777)), len(s) - 2, b"\0"))
    put("node", "symlink-empty", "EUCLEAN", at(s, 2, u32(0o120777))[:-6] + b"\0")
    put("node", "xattrs-malformed", "EUCLEAN", s[:NODE_TAIL + 8] + b"\x03abc" + s[NODE_TAIL + 9:])
    put("node", "xattrs-length-huge", "EUCLEAN", s[:NODE_TAIL + 8] + b"\xff" * 9 + b"\x01" + s[NODE_TAIL + 9:])
    cut_and_grow("node", "EUCLEAN")

    put("name", "empty", "EUCLEAN", b"")
    put("name", "zeros", "EUCLEAN", bytes(32))
    put("name", "slash", "EUCLEAN", b"a/b".ljust(32, b"\0"))
    put("name", "dot", "EUCLEAN", b".".ljust(32, b"\0"))
    put("name", "dot-dot", "EUCLEAN", b"..".ljust(32, b"\0"))
    put("name", "not-ended", "EUCLEAN", b"a" * 32)
    put("name", "something-in-the-padding", "EUCLEAN", b"a\0b".ljust(32, b"\0"))
    put("name", "longer-than-255", "EUCLEAN", b"a" * 256 + bytes(32))
    put("name", "padding-too-short", "EUCLEAN", b"a\0")
    put("name", "padding-too-long", "EUCLEAN", b"a".ljust(64, b"\0"))

    d = seed("data")
    put("data", "built", "ok", b"\x00\x80\x02")
    put("data", "block-kind-unknown", "EUCLEAN", at(d, 0, b"\x03"))
    put("data", "run-of-none", "EUCLEAN", b"\x00\x00" + d)
    put("data", "run-beyond-range", "EUCLEAN", b"\x00\x81\x02")
    put("data", "run-huge", "EUCLEAN", b"\x00" + b"\xff" * 9 + b"\x01")
    put("data", "runs-too-few", "EUCLEAN", b"\x00\x7f")
    put("data", "runs-not-joined", "EUCLEAN", b"\x00\x80\x01\x00\x80\x01")
    put("data", "block-cut", "EUCLEAN", d[:-1])
    put("data", "block-too-many", "EUCLEAN", d + bytes(4096))
    put("data", "blocks-promised", "EUCLEAN", b"\x02\x80\x02")
    put("data", "empty", "EUCLEAN", b"")

    f = seed("frame")
    put("frame", "magic", "EBADMSG", at(f, 0, b"X"))
    put("frame", "kind-other", "EBADMSG", at(f, 4, b"\x01"))
    put("frame", "flags-other", "EBADMSG", at(f, 5, b"\0"))
    put("frame", "reserved-used", "EBADMSG", at(f, 6, b"\x01"))
    put("frame", "box-length-other", "EBADMSG", at(f, 8, u32(1)))
    put("frame", "id-other", "EBADMSG", at(f, 16, u64(21)))
    put("frame", "version-other", "EBADMSG", at(f, 24, u64(7)))
    put("frame", "range-other", "EBADMSG", at(f, 32, u64(4)))
    put("frame", "cut", "EBADMSG", f[:-1])
    put("frame", "grown", "EBADMSG", f + b"\0")
    put("frame", "head-only", "EBADMSG", f[:48])
    put("frame", "empty", "EBADMSG", b"")

    z, stored = seed("packed"), seed("packed", "stored")
    put("packed", "compression-unknown", "EBADMSG", at(z, 0, b"\x02"))
    put("packed", "length-beyond-limit", "EBADMSG", at(z, 1, u32((4 << 20) + 1)))
    put("packed", "length-huge", "EBADMSG", at(z, 1, u32(0xffffffff)))
    put("packed", "length-one-more", "EBADMSG", at(z, 1, u32(1001)))
    put("packed", "length-one-less", "EBADMSG", at(z, 1, u32(999)))
    put("packed", "zstd-magic", "EBADMSG", at(z, 5, b"\0"))
    put("packed", "zstd-cut", "EBADMSG", z[:12])
    put("packed", "stored-longer-than-there-is", "EBADMSG", at(stored, 1, u32(4096)))
    put("packed", "head-only-zstd", "EBADMSG", z[:5])

    i = seed("index")
    put("index", "kind-unknown", "EBADMSG", at(i, 0, b"\x06"))
    put("index", "kind-zero", "EBADMSG", at(i, 0, b"\0"))
    put("index", "cut", "EBADMSG", i[:-1])
    put("index", "grown", "EBADMSG", i + b"\x01")
    put("index", "id-overlong", "EBADMSG", i[:2] + b"\x94\0" + i[3:])
    put("index", "length-beyond-32-bits", "EBADMSG", b"\x01\0\x14\x07\0\0" + varint(1 << 32) + bytes(16))
    put("index", "range-beyond-16-tib", "EBADMSG", b"\x03\0\x14" + varint(16 << 20) + b"\x08\0\0\x78" + bytes(16))
    put("index", "half", "EBADMSG", i[:len(i) // 2])
    delta_of = b"\x14\x03\x09\x05\x08\0\0\x78" + bytes(16)
    put("index", "overlay-and-delta", "EBADMSG", b"\x03\x03" + delta_of)


# --- trail, configuration, control ---

def trail():
    c = seed("checkpoint")
    put("checkpoint", "origin-another", "EUCLEAN", c.replace(b"c0ffee", b"c0ffef"))
    put("checkpoint", "origin-another-program", "EUCLEAN", c.replace(b"coffer/", b"coffin/"))
    put("checkpoint", "size-leading-zero", "EUCLEAN", c.replace(b"\n300\n", b"\n0300\n"))
    put("checkpoint", "size-sign", "EUCLEAN", c.replace(b"\n300\n", b"\n+300\n"))
    put("checkpoint", "size-hexadecimal", "EUCLEAN", c.replace(b"\n300\n", b"\n0x12c\n"))
    put("checkpoint", "size-too-large", "EUCLEAN", c.replace(b"\n300\n", b"\n18446744073709551616\n"))
    put("checkpoint", "size-missing", "EUCLEAN", c.replace(b"\n300\n", b"\n\n"))
    root = c.splitlines()[2]
    put("checkpoint", "root-short", "EUCLEAN", c.replace(root, root[:40]))
    put("checkpoint", "root-base64-url", "EUCLEAN", c.replace(root, b"-_" + root[2:]))
    put("checkpoint", "root-unused-bits", "EUCLEAN", c.replace(root, root[:42] + b"B="))
    put("checkpoint", "line-more", "EUCLEAN", c + b"more\n")
    put("checkpoint", "line-less", "EUCLEAN", b"\n".join(c.splitlines()[:2]) + b"\n")

    t = seed("tail")
    frame = len(t) // 3
    put("tail", "torn-at-the-end", "ok", t[:-1])
    put("tail", "rubbish-at-the-end", "ok", t + b"\xff" * 100)
    put("tail", "empty", "ok", b"")
    put("tail", "first-missing", "EUCLEAN", t[frame:])
    put("tail", "middle-missing", "EUCLEAN", t[:frame] + t[2 * frame:])
    put("tail", "swapped", "EUCLEAN", t[frame:2 * frame] + t[:frame] + t[2 * frame:])
    put("tail", "twice", "EUCLEAN", t[:frame] + t)
    put("tail", "damaged-though-synced", "EUCLEAN", at(t, 40, bytes([t[40] ^ 1])))
    put("tail", "damaged-length-though-synced", "EUCLEAN", at(t, 0, u32(0xffffffff)))
    put("tail", "damaged-index-though-synced", "EUCLEAN", at(t, frame + 4, u64(5)))

    b = seed("bundle")
    put("bundle", "entry-missing", "EUCLEAN", b[:len(b) // 3])
    put("bundle", "length-beyond-bundle", "EUCLEAN", at(b, 0, b"\xff\xff"))
    put("bundle", "cut", "EUCLEAN", b[:-1])
    put("bundle", "grown", "EUCLEAN", b + b"\0")
    put("bundle", "entry-more", "EUCLEAN", b + b[:2 + (b[0] << 8 | b[1])])
    put("bundle", "empty", "EUCLEAN", b"")

    put("tile", "whole", "ok", bytes(3 * 32))
    put("tile", "empty", "EUCLEAN", b"")
    put("tile", "cut", "EUCLEAN", bytes(3 * 32 - 1))
    put("tile", "hash-less", "EUCLEAN", bytes(2 * 32))
    put("tile", "hash-more", "EUCLEAN", bytes(4 * 32))
    put("tile", "beyond-a-tile", "EUCLEAN", bytes(257 * 32))


def conf():
    def bad(name, text):
        put("conf", name, "EINVAL", text if isinstance(text, bytes) else text.encode())
    repo = "[repository main]\nurl = /srv/repo\n"
    bad("section-unknown", "[repositories main]\nurl = /srv\n")
    bad("section-without-name", "[repository]\nurl = /srv\n")
    bad("section-with-a-name-too-many", repo + "[daily x]\nat = 01:00\n")
    bad("section-name-longer-than-63", f"[repository {'n' * 64}]\nurl = /srv\n")
    bad("section-name-slash", "[repository a/b]\nurl = /srv\n")
    bad("section-not-closed", "[repository main\nurl = /srv\n")
    bad("section-something-behind", "[repository main] x\nurl = /srv\n")
    bad("sections-beyond-16", "".join(f"[repository r{i}]\nurl = /srv/{i}\n" for i in range(17)))
    bad("key-unknown", repo + "colour = red\n")
    bad("key-twice", repo + "url = /srv/other\n")
    bad("key-before-any-section", "url = /srv\n")
    bad("key-required-missing", "[repository main]\nkept = department\n")
    bad("line-without-equals", repo + "something\n")
    bad("line-longer-than-197", repo + "# " + "x" * 200 + "\n")
    bad("url-longer-than-allowed", "[repository main]\nurl = /" + "u" * 185 + "\n")
    bad("places-the-same", repo + "[repository other]\nurl = /srv/repo\n")
    bad("tier-without-repository", "[daily]\nkind = full\nat = 01:00\nkeep = 7\n")
    bad("number-negative", repo + "[trail]\ncheckpoint_seconds = -60\n")
    bad("number-below-bound", repo + "[trail]\ncheckpoint_seconds = 9\n")
    bad("number-beyond-bound", repo + "[trail]\ncheckpoint_seconds = 3601\n")
    bad("number-too-large", repo + "[trail]\ncheckpoint_seconds = 18446744073709551676\n")
    bad("number-something-behind", repo + "[trail]\ncheckpoint_seconds = 60s\n")
    bad("time-hour-24", repo + "[daily]\nkind = full\nat = 24:00\nkeep = 7\n")
    bad("time-minute-60", repo + "[daily]\nkind = full\nat = 01:60\nkeep = 7\n")
    bad("weekday-unknown", repo + "[weekly]\nkind = full\nat = 01:00\nweekday = caturday\nkeep = 5\n")
    bad("day-zero", repo + "[monthly]\nkind = full\nat = 01:00\nday = 0\nkeep = 12\n")
    bad("day-32", repo + "[monthly]\nkind = full\nat = 01:00\nday = 32\nkeep = 12\n")
    bad("kind-unknown", repo + "[daily]\nkind = partial\nat = 01:00\nkeep = 7\n")
    bad("kept-unknown", repo + "kept = nowhere\n")
    bad("nul", repo.encode() + b"kept = depart\0ment\n")
    bad("control-character", repo.encode() + b"kept = department\x1b\n")
    put("conf", "empty", "ok", b"")
    put("conf", "byte-order-mark", "ok", b"\xef\xbb\xbf" + repo.encode())


def control():
    put("control", "seed", "ok", b'{"op": "status"}\n')
    put("control", "last-of-a-stream", "ok", b'{"op": "sync"}\n{"op": "status"')
    put("control", "answer", "ok", b'{"error": {"name": "wrong-secret", "errno": 5, "object": "volume"}}\n')
    for name, line in {"empty-line": b"\n", "not-json": b"status\n", "number": b"42\n", "string": b'"status"\n', "null": b"null\n",
                       "key-twice": b'{"op": "status", "op": "unmount"}\n', "key-twice-inside": b'{"op": "x", "a": {"b": 1, "b": 2}}\n',
                       "nul": b'{"op": "sta\0tus"}\n', "nul-escaped": b'{"op": "sta\\u0000tus"}\n', "not-utf8": b'{"op": "\xff"}\n',
                       "something-behind": b'{"op": "status"} x\n', "two-on-a-line": b'{"op": "a"}{"op": "b"}\n',
                       "not-closed": b'{"op": "status"\n', "comma-last": b'{"op": "status",}\n', "comment": b'{"op": "status"} // x\n',
                       "nested-deep": b"[" * 5000 + b"]" * 5000 + b"\n", "surrogate-alone": b'{"op": "\\ud800"}\n',
                       "number-huge": b'{"from": 1e999}\n', "integer-huge": b'{"from": 99999999999999999999}\n'}.items():
        put("control", name, "EUCLEAN", line)
    put("control", "end-at-once", "EPIPE", b"")
    put("control", "end-inside-a-line", "EPIPE", b'{"op": "sta')
    put("control", "end-before-newline", "EPIPE", b'{"op": "status"}')


# --- the fuzzers' corpus: what is well-formed, in the form that each target reads ---

CORPUS = {
    "fuzz_header": [("header_file", b"")],
    "fuzz_keystate": [("keystate", b"")],
    "fuzz_escrow": [("escrow", b"")],
    "fuzz_note": [("note", b"")],
    "fuzz_notes": [(p, b"") for p in ["card", "identity", "charter", "order", "statement", "journal", "certificate",
                                      "announcement", "manifest"]],
    "fuzz_map": [("map", b"")],
    "fuzz_inode": [("inode", b"")],
    "fuzz_log": [("log_entry", b"\0")],
    "fuzz_bucket": [("bucket", b"")],
    "fuzz_xattrs": [("xattrs", b""), ("xattr_record", b""), ("acl", b"")],
    "fuzz_set_body": [("node", b"\x01"), ("name", b"\x02"), ("data", b"\x03"), ("sign", b"\x07"), ("delta", b"\x08")],
    "fuzz_record": [("frame", b""), ("packed", b"")],
    "fuzz_index": [("index", b"")],
    "fuzz_trail": [("tail", b"t"), ("bundle", b"b"), ("checkpoint", b"c")],
    "fuzz_inventory": [("inventory", b"")],
    "fuzz_conf": [("conf", b"")],
    "fuzz_control": [("control", b"")],
}


def make_corpus():
    for target, sources in CORPUS.items():
        folder = corpus / target
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("seed-*"):  # what a fuzzer found has other names, and stays
            old.unlink()
        for parser, prefix in sources:
            for path in sorted((here / parser).glob("*.ok")):
                (folder / f"seed-{parser}-{path.stem}").write_bytes(prefix + path.read_bytes())


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    for folder in here.iterdir():
        if folder.is_dir():
            shutil.rmtree(folder)
    subprocess.run([f"{sys.argv[1]}/tests/make_seeds", here], check=True)
    for make in [header, anchor, escrow, keytree, keystate, notes, manifest, inventory, maps, log_entries, inodes, buckets, xattrs, xattr_records, acls,
                 deltas, sets, trail, conf, control]:
        make()
    make_corpus()


main()
