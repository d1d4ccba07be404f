"""The options of a run that goes on."""

import pytest

from ibnnet_mx import recipe
from ibnnet_mx.checkpoint import Facts
from ibnnet_mx.cli import run_options, train_options
from ibnnet_mx.recipe import saved


def test_zero_gamma_has_nothing_to_act_on_in_a_retrain():
    args = train_options.make_parser().parse_args(['--retrain', '--zero-gamma'])
    values = saved.to_dict(recipe.RECIPES['ibn'])
    with pytest.raises(ValueError, match='--zero-gamma sets the first weights'):
        run_options.resolve(args, Facts('resnet50_ibn_a', {}, values, epoch=1))
    run_options.resolve(args, Facts('resnet50_ibn_a', {}, dict(values, zero_gamma=True), epoch=1))


@pytest.mark.parametrize(('option', 'pixels'), [([], 'ignore'), (['--exif', 'apply'], 'apply')])
def test_a_run_goes_on_with_the_pixels_it_was_begun_with(option, pixels):
    begun, _ = run_options.resolve(train_options.make_parser().parse_args(['--exif', 'ignore', '--depth', '18']))
    facts = Facts('resnet18_v2', {}, saved.to_dict(begun), epoch=1)
    wanted, _ = run_options.resolve(train_options.make_parser().parse_args(['--retrain', *option]), facts)
    assert (begun.exif, wanted.exif) == ('ignore', pixels)


def test_pictures_are_upright_unless_the_options_say_otherwise():
    wanted, _ = run_options.resolve(train_options.make_parser().parse_args([]))
    assert wanted.exif == 'apply'
