"""The error for a batch that training cannot use, because its loss or gradient is not finite."""

from __future__ import annotations

from ibnnet_mx.errors import OptionError


class NotFinite(OptionError):
    """The loss or gradient of a batch is not finite, so its update would ruin the weights. place: (epoch, batch)."""

    def __init__(self, epoch: int, batch: int) -> None:
        super().__init__(
            None,
            None,
            f'epoch {epoch}, batch {batch}: the loss or its gradient is not a finite number. Nothing was saved since; '
            'go on with `retrain` and a lower `lr`, with `clip_gradient`, or with `nan` skip or rollback',
        )
        self.place = epoch, batch
