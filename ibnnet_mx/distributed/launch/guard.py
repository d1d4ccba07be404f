"""Run a command, on any machine, for as long as somebody at the other end of standard input wants it:

    python guard.py NAME=VALUE ... -- COMMAND ...

A NAME alone has its value in a line of standard input, because everybody on a machine sees command lines. A later line
'INT', 'TERM' or 'KILL' there is a signal for the command and all that it has started. If the input ends, because the
launcher or a connection died, they are asked to end and, GRACE seconds later, killed. This file imports nothing of the
package, so that it starts at once.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading

GRACE = 20.0  # seconds to save in


def send(group: int, number: int) -> None:
    """Send a signal to a group of processes. If it has ended, nothing happens."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)


def listen(process: subprocess.Popen[bytes]) -> None:
    """Send the signals that standard input names, and end the command when the input ends."""
    for line in sys.stdin:
        number = {'INT': signal.SIGINT, 'TERM': signal.SIGTERM, 'KILL': signal.SIGKILL}.get(line.strip())
        if number is not None:
            send(process.pid, number)
    send(process.pid, signal.SIGTERM)
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        send(process.pid, signal.SIGKILL)


def main(words: list[str]) -> int:
    """Return the command's exit code; 128 and the signal's number if a signal ended it, 127 if there is no such
    command.
    """
    cut = words.index('--')
    settings = dict(word.split('=', 1) for word in words[:cut] if '=' in word)
    settings.update({word: sys.stdin.readline().rstrip('\n') for word in words[:cut] if '=' not in word})
    beside = os.path.dirname(sys.executable)  # the folder of ibnnet, if the environment is not activated
    settings['PATH'] = f'{beside}{os.pathsep}{os.environ.get("PATH", os.defpath)}'
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # they are the launcher's to hand on
    try:
        process = subprocess.Popen(
            words[cut + 1 :],
            env={**os.environ, **settings},
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=restore,
        )
    except OSError as error:
        print(f'ibnnet launch: {words[cut + 1]}: {error.strerror}', file=sys.stderr)
        return 127
    threading.Thread(target=listen, args=(process,), daemon=True).start()
    code = process.wait()
    send(process.pid, signal.SIGKILL)  # processes that the command has left behind
    return 128 - code if code < 0 else code


def restore() -> None:
    """Let the command end by signals. Otherwise it would ignore those that this process ignores."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


if __name__ == '__main__':
    code = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(code)  # the listening thread may wait for its next line for ever
