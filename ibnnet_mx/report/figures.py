"""Check and write the files of figures."""

from __future__ import annotations

import io
import os
import warnings

from ibnnet_mx.errors import OptionError
from ibnnet_mx.files import outputs
from ibnnet_mx.recordio.inspection import letters

SUFFIXES = ('.png', '.svg', '.pdf')


def check_figure(option, path):
    """Raise OptionError if the file cannot be written or has an unknown suffix, or if matplotlib is missing."""
    if os.path.splitext(path)[1].lower() not in SUFFIXES:
        raise OptionError(option, path, f': the name must end in {", ".join(SUFFIXES)}')
    outputs.check_writable(option, path)
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise OptionError(option, None, 'needs matplotlib: pip install matplotlib') from None


def fonts(texts):
    """Return a context in which matplotlib has fonts with the letters of some texts, as far as there are any here."""
    import matplotlib

    return matplotlib.rc_context({'font.family': letters.families(texts)})


def save_figure(option, path, figure, dpi=110):
    """Write a figure, and make its folder. Raises OptionError if it cannot be written."""
    drawn = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', 'Glyph')  # the font may lack letters of class names
        figure.savefig(drawn, dpi=dpi, format=os.path.splitext(path)[1][1:].lower())
    outputs.write_output(option, path, drawn.getvalue())
