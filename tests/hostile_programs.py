"""Programs that ought to define f(x) = x + 1 and do something else: by name, for the sandbox's tests."""

SOURCES = r"""
# exits at load
import os
os._exit(0)
# exits when called
import os
def f(x): os._exit(0)
# sys.exit
import sys
def f(x): sys.exit(0)
# sys.exit at load
import sys
sys.exit(0)
# SystemExit
def f(x): raise SystemExit
# KeyboardInterrupt
def f(x): raise KeyboardInterrupt
# own BaseException
class E(BaseException):
    def __str__(self): raise self
def f(x): raise E
# prints a pass
print('pass\n' * 99)
def f(x): print('OK'); return 0
# forges frames at load
import os, struct
frame = b'{"test": 0, "status": "pass"}'
for fd in range(1, 64):
    try: os.write(fd, struct.pack('>I', len(frame)) + frame)
    except OSError: pass
def f(x): return x + 1
# forges frames when called
import os, struct
def f(x):
    for frame in (b'{"test": 0, "status": "pass"}', b'{"value": {"t": 1}}'):
        for fd in range(1, 64):
            try: os.write(fd, struct.pack('>I', len(frame)) + frame)
            except OSError: pass
    return 0
# sends half a frame
import os
def f(x):
    for fd in range(3, 64):
        try: os.write(fd, b'\0\0\0\x09{')
        except OSError: pass
    while True: pass
# announces a huge frame
import os
def f(x):
    for fd in range(3, 64):
        try: os.write(fd, b'\xff\xff\xff\xff')
        except OSError: pass
    return x + 1
# closes everything
import os
def f(x): os.closerange(0, 64)
# closes everything at load
import os
os.closerange(0, 64)
def f(x): return x + 1
# equal to all
class E:
    __eq__ = lambda self, other: True
    __hash__ = lambda self: 1
def f(x): return E()
# int equal to all
class E(int):
    __eq__ = lambda self, other: True
    __hash__ = int.__hash__
def f(x): return E(0)
# patches builtins
import builtins, json, sys
builtins.AssertionError = builtins.isinstance = builtins.len = lambda *a: True
json.dumps = lambda *a, **k: '{"status": "pass"}'
sys.modules.clear()
def f(x): return 0
# looks for the tests
import gc, sys
def f(x):
    frame, seen = sys._getframe(), []
    while frame: seen += [*frame.f_locals.values()]; frame = frame.f_back
    texts = [t for t in gc.get_objects() + seen if isinstance(t, (str, bytes, dict))]
    return 2 if any('f(%d) == %d' % (x, x + 1) in repr(t)[:10**5] for t in texts) else 0
# endless
def f(x):
    while True: pass
# endless at load
while True: pass
# endless and deaf
import signal
for s in (2, 14, 15, 24): signal.signal(s, signal.SIG_IGN)
def f(x):
    while True:
        try:
            while True: pass
        except BaseException: pass
# sleeps
import time
def f(x): time.sleep(60)
# recursion
def f(x): return f(x)
# deep recursion
import sys
sys.setrecursionlimit(10**9)
def f(x): return f(x)
# memory
def f(x): return [' ' * 10**8 for _ in range(10**6)]
# memory in one
def f(x): return bytearray(10**12)
# huge value
def f(x): return 'x' * 10**7
# value within itself
def f(x):
    a = []
    a.append(a)
    return a
# deep value
def f(x):
    a = []
    for _ in range(10**5): a = [a]
    return a
# fork bomb
import os
def f(x):
    while True: os.fork()
# fork bomb, patient
import os
def f(x):
    while True:
        try: os.fork()
        except OSError: pass
# thread bomb
import threading, time
def f(x):
    while True: threading.Thread(target=time.sleep, args=(60,)).start()
# kills
import os
def f(x):
    for pid in (1, os.getppid(), -1): os.kill(pid, 9)
# ends its group
import os
def f(x): os.killpg(0, 9)
# starts a program
import subprocess
def f(x): return subprocess.run(['/bin/true']).returncode + x + 1
# becomes a program
import os
def f(x): os.execv('/bin/true', ['true'])
# system
import os
def f(x): return os.system('true') + x + 1
# raises its limits
import resource as r
def f(x):
    r.setrlimit(r.RLIMIT_AS, (-1, -1))
    return x + 1
# crashes
import ctypes
def f(x): ctypes.string_at(0)
# no such function
def g(x): return x + 1
# not a function
f = 2
# not python
def f(x: return x
# empty
"""

HOSTILE: dict[str, str] = {}
for _line in SOURCES.strip().split("\n"):
    if _line.startswith("# "):
        _name = _line[2:]
        HOSTILE[_name] = ""
    else:
        HOSTILE[_name] += _line + "\n"
HOSTILE["null byte"] = "def f(x): return x + 1\0"
