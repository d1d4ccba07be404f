"""The error for a batch that training cannot use, and the search for weights and states that are not finite."""

from __future__ import annotations

from typing import Any

from ibnnet_mx.errors import OptionError
from ibnnet_mx.training import optimiser


class NotFinite(OptionError):
    """The loss or gradient of a batch is not finite, so its update would ruin the weights. place: (epoch, batch).

    way_out: the end of the sentence, which knows what was saved.
    """

    def __init__(self, epoch: int, batch: int, way_out: str = '') -> None:
        text = f'epoch {epoch}, batch {batch}: the loss or its gradient is not a finite number'
        super().__init__(None, None, f'{text}. {way_out}' if way_out else text)
        self.place = epoch, batch


def names_of_not_finite(run: Any) -> list[str]:
    """Return the names of a trainer's weights, statistics and optimiser states that hold NaN or infinity.

    They are those of this worker, on all of its devices.
    """
    names = []
    for name, arrays in run.arrays():
        if any(not optimiser.all_finite([array]).asscalar() for array in arrays):
            names.append(name)
    return names


def check_first_weights(net: Any) -> None:
    """Raise OptionError if the weights that a run is to start from are not finite: no rate would help them."""
    params = net.collect_params().items()
    bad = [name for name, param in params if not optimiser.all_finite(param.list_data()[:1]).asscalar()]
    if bad:
        more = f' and {len(bad) - 1} more' if len(bad) > 1 else ''
        raise OptionError(
            None, None, f'the first weights hold values that are not finite ({bad[0]}{more}): start from others'
        )


def is_finite(run: Any) -> bool:
    """Return True if names_of_not_finite() would find none; much faster."""
    devices: dict[Any, list[Any]] = {}
    for _, arrays in run.arrays():
        for array in arrays:
            devices.setdefault(array.context, []).append(array)
    flags = [optimiser.all_finite(arrays) for arrays in devices.values()]
    return all(flag.asscalar() for flag in flags)
