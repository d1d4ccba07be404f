"""A batch that training cannot use: its loss or its gradient is not finite."""

from __future__ import annotations

from ibnnet_mx.errors import OptionError


class NotFinite(OptionError):
    """The loss or the gradient of a batch is not finite: a run that goes on from there is lost. place: epoch, batch."""

    def __init__(self, epoch: int, batch: int) -> None:
        super().__init__(
            None,
            None,
            f'epoch {epoch}, batch {batch}: the loss or its gradient is not a finite number. Nothing was saved since; '
            'go on with `retrain` and a lower `lr`, with `clip_gradient`, or with `nan` skip or rollback',
        )
        self.place = epoch, batch
