"""ibnnet launch: start the processes of a distributed run together, end them together, and restart them."""

from __future__ import annotations

import argparse
import signal
import sys
import time

from ibnnet_mx.cli import options, streams

FINAL = 0, 2, 127, 129, 130, 143  # exit codes after which no restart helps: success, a mistake, a signal to end


TRAIN = 'ibnnet train --kv-store dist_sync'
EXAMPLES = (
    f'ibnnet launch -n 2 -- {TRAIN} --data-dir DATA',
    'ibnnet launch -n 4 -s 4 -H hosts --max-restarts 3 -- \\',
    f'    {TRAIN} --data-dir /data --retrain auto',
)


def make_parser(prog='ibnnet launch'):
    made = options.Parser(
        EXAMPLES,
        prog=prog,
        description='Start workers, servers and the scheduler of a distributed run, here or on the machines of a file.',
        usage='%(prog)s -n WORKERS [options] -- COMMAND ...',
    )
    made.add_argument('-n', '--workers', metavar='N', type=int, required=True, help='processes that train')
    made.add_argument('-s', '--servers', metavar='N', type=int, default=1, help='processes that sum gradients')
    made.add_argument(
        '-H',
        '--hostfile',
        metavar='FILE',
        help='names of machines with the same folders, one a line, for ssh; unset: this machine',
    )
    made.add_argument('--port', type=int, help='port of the scheduler; unset: a free one, or 9091 with -H')
    made.add_argument(
        '--max-restarts',
        type=int,
        default=0,
        metavar='K',
        help='restart all up to K times after a failure; COMMAND needs --retrain auto',
    )
    made.add_argument('command', nargs=argparse.REMAINDER, metavar='COMMAND', help='command of a worker, after --')
    return made


def checked(args):
    """Return the command of the workers. Raises ValueError for a wrong option."""
    command = args.command[1:] if args.command[:1] == ['--'] else args.command
    if not command:
        raise ValueError('COMMAND is missing: end with -- ibnnet train --kv-store dist_sync ...')
    for name, value, least in (
        ('-n', args.workers, 1),
        ('-s', args.servers, 1),
        ('--max-restarts', args.max_restarts, 0),
    ):
        if not least <= value <= 4096:
            raise ValueError(f'{name} {value} must be from {least} to 4096')
    if args.port is not None and not 0 < args.port < 65536:
        raise ValueError(f'--port {args.port} must be from 1 to 65535')
    if args.max_restarts and '--retrain' not in command:
        raise ValueError(
            f'--max-restarts {args.max_restarts}: COMMAND would start anew each time; add --retrain auto to it, '
            'which goes on from the last checkpoint if there is one'
        )
    return command


class Asked:
    """A context that notes a signal to end: name is 'INT' or 'TERM', and after a second signal 'KILL'.

    The end of the terminal (SIGHUP) asks as SIGTERM does, unless nohup has it ignored.
    """

    def __enter__(self):
        self.name, self._times = '', 0
        ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        heard = (signal.SIGINT, signal.SIGTERM) if ignored else (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        self._before = {number: signal.signal(number, self._note) for number in heard}
        return self

    def __exit__(self, *_):
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number, _):
        self.name = 'KILL' if self.name else {signal.SIGINT: 'INT'}.get(number, 'TERM')


def tell(text):
    sys.stderr.write(f'ibnnet launch: {text}\n')  # at once, because threads pass on lines of others
    sys.stderr.flush()


def command(args):
    from ibnnet_mx.distributed import launch
    from ibnnet_mx.distributed.launch import hosts

    words, names = checked(args), hosts.read_hosts(args.hostfile)
    processes = hosts.spread_processes(names, args.workers, args.servers)
    with Asked() as asked:
        for again in range(args.max_restarts + 1):
            port = args.port or (hosts.free_port() if names == [hosts.HERE] else 9091)
            began = time.monotonic()
            code = launch.Job(launch.Setup(processes, port, words), tell, lambda: asked.name).wait()
            if code in FINAL or asked.name or again == args.max_restarts:
                break
            tell(
                f'{launch.describe(code)} after {time.monotonic() - began:.0f} s; all start again, '
                f'restart {again + 1} of {args.max_restarts}'
            )
    streams.settle()  # lines that nobody took do not change how the job has ended
    return code


def main(argv=None, prog='ibnnet launch'):
    return options.run(command, make_parser(prog), argv)
