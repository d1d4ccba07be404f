"""The options of a run that goes on."""

import pytest

from ibnnet_mx import recipe
from ibnnet_mx.checkpoint import Facts
from ibnnet_mx.cli import run_options, train_options


def test_zero_gamma_has_nothing_to_act_on_in_a_retrain():
    args = train_options.make_parser().parse_args(['--retrain', '--zero-gamma'])
    values = recipe.to_dict(recipe.RECIPES['ibn'])
    with pytest.raises(ValueError, match='--zero-gamma sets the first weights'):
        run_options.resolve(args, Facts('resnet50_ibn_a', {}, values, epoch=1))
    run_options.resolve(args, Facts('resnet50_ibn_a', {}, dict(values, zero_gamma=True), epoch=1))
