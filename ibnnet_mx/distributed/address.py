"""The scheduler's address: mxnet's parameter server takes no names, and others must be able to reach it."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import time
from typing import MutableMapping

from ibnnet_mx.distributed.job import Job

ANYWHERE = '192.0.2.1'  # an address for examples (RFC 5737): the way to it begins at this machine's own address
GET_ADDRESS = 0x8915  # SIOCGIFADDR


def resolve(job: Job, seconds: float, environ: MutableMapping[str, str] = os.environ) -> Job:
    """Return the job with the IPv4 address of its scheduler, and write that into DMLC_PS_ROOT_URI.

    A name server that does not answer yet is asked for so many seconds. A name that means the loopback interface, as
    many systems have it for their own name, stands for this machine's address in its network.
    Raises ValueError if the name is unknown.
    """
    try:
        addresses = _look_up(job.host, seconds)
    except (OSError, UnicodeError) as error:
        if job.role == 'scheduler' and environ.get('DMLC_USE_KUBERNETES', '0') != '0':
            return job  # it listens on every address, and its name may be known only when it does
        why = getattr(error, 'strerror', None) or 'it is no name of a machine'
        raise ValueError(f"DMLC_PS_ROOT_URI={job.host}: {why}; it is the scheduler's address") from None
    reachable = [address for address in addresses if not address.startswith('127.')]
    local = job.host.partition('.')[0] in ('localhost', '127')
    address = reachable[0] if reachable else addresses[0] if local else own_address(environ) or addresses[0]
    environ['DMLC_PS_ROOT_URI'] = address
    return job._replace(host=address)


def _look_up(name: str, seconds: float) -> list[str]:
    until = time.monotonic() + seconds
    while True:
        try:
            rows = socket.getaddrinfo(name, None, socket.AF_INET, socket.SOCK_STREAM)
            return [str(row[4][0]) for row in rows]
        except socket.gaierror as error:
            if error.errno != socket.EAI_AGAIN or time.monotonic() > until:
                raise
        time.sleep(0.2)


def own_address(environ: MutableMapping[str, str] = os.environ) -> str:
    """Return this machine's IPv4 address on DMLC_INTERFACE, or on the way to other machines; '' if it has none."""
    interface = environ.get('DMLC_INTERFACE', '')
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        if interface:
            import fcntl  # here: the rest of this file is of use on systems without it

            request = struct.pack('256s', interface.encode()[:15])
            return socket.inet_ntoa(fcntl.ioctl(probe.fileno(), GET_ADDRESS, request)[20:24])
        probe.connect((ANYWHERE, 9))  # sends nothing
        address = str(probe.getsockname()[0])
        return '' if address.startswith('127.') else address
    return ''
