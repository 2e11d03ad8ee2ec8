"""File handles by name_to_handle_at and open_by_handle_at.

handles.py take PATH FILE            the handle of PATH into FILE
handles.py read|stat|sha|path MOUNT FILE     what the handle in FILE leads to, or the errno's name
handles.py write MOUNT FILE TEXT
handles.py never MOUNT FILE          a handle like that in FILE for a number that no file ever had
"""
import ctypes
import errno
import hashlib
import os
import stat
import sys

libc = ctypes.CDLL(None, use_errno=True)
AT_FDCWD, O_PATH = -100, os.O_PATH


class Handle(ctypes.Structure):
    _fields_ = [('bytes', ctypes.c_uint), ('type', ctypes.c_int), ('data', ctypes.c_ubyte * 128)]


def take(path):
    h, mount_id = Handle(128), ctypes.c_int()
    if libc.name_to_handle_at(AT_FDCWD, path.encode(), ctypes.byref(h), ctypes.byref(mount_id), 0):
        raise OSError(ctypes.get_errno(), path)
    return h


def load(path):
    with open(path, 'rb') as f:
        return Handle.from_buffer_copy(f.read())


def open_it(mount, h, flags):
    at = os.open(mount, os.O_RDONLY | os.O_DIRECTORY)
    fd = libc.open_by_handle_at(at, ctypes.byref(h), flags)
    if fd < 0:
        sys.exit(print(errno.errorcode[ctypes.get_errno()]))
    return fd


def kind(fd):
    mode = os.fstat(fd).st_mode
    return {stat.S_IFREG: 'file', stat.S_IFDIR: 'folder', stat.S_IFLNK: 'symlink', stat.S_IFIFO: 'fifo'}[stat.S_IFMT(mode)]


verb, where, file = sys.argv[1:4]
if verb == 'take':
    with open(file, 'wb') as f:
        f.write(bytes(take(where)))
elif verb == 'read':
    print(os.read(open_it(where, load(file), os.O_RDONLY), 4096).decode().strip())
elif verb == 'sha':
    with open(open_it(where, load(file), os.O_RDONLY), 'rb') as f:
        print(hashlib.sha256(f.read()).hexdigest())
elif verb == 'stat':
    print(kind(open_it(where, load(file), O_PATH)))
elif verb == 'path':
    print(os.readlink(f'/proc/self/fd/{open_it(where, load(file), os.O_RDONLY)}'))
elif verb == 'write':
    os.write(open_it(where, load(file), os.O_WRONLY | os.O_TRUNC), sys.argv[4].encode())
elif verb == 'never':
    h = load(file)
    h.data[5] ^= 0x40  # the number's sixth byte
    open_it(where, h, O_PATH)
    print('opened')
