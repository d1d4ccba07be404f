"""Recipes and schedules: pure functions, and each refusal by its text."""

import json
from dataclasses import fields, replace

import pytest

from ibnnet_mx.errors import OptionError
from ibnnet_mx.recipe import (
    AUGMENT,
    RECIPES,
    Recipe,
    aug_at,
    lr_at,
    remarks,
    resolve,
    unreached,
)
from ibnnet_mx.recipe.saved import from_dict, to_dict

STEP = Recipe('t', lr=0.2, epochs=10, lr_steps=(3, 6.5))


@pytest.mark.parametrize('recipe', RECIPES.values(), ids=RECIPES)
def test_every_recipe_is_legal_and_every_milestone_is_reached(recipe):
    assert resolve(recipe, {}) == recipe
    assert unreached(recipe) == ()
    assert remarks(recipe) == []
    assert RECIPES[recipe.name] is recipe
    assert recipe.aug_level in AUGMENT


def test_numbers_of_the_originals():
    seed, cifar, ibn = RECIPES['imagenet'], RECIPES['cifar10'], RECIPES['ibn']
    assert (seed.optimizer, seed.lr, seed.mom, seed.wd, seed.batch_size) == ('nag', 0.1, 0.9, 1e-4, 256)
    assert (seed.epochs, seed.lr_steps, cifar.epochs, cifar.lr_steps) == (120, (30, 60, 90), 200, (120, 160))
    assert (ibn.optimizer, ibn.epochs, ibn.lr_steps, ibn.aug_level, ibn.no_decay) == (
        'sgd',
        100,
        (30, 60, 90),
        'rrc',
        (),
    )


def test_tricks_are_off_by_default():
    plain = Recipe('t')
    names = ['no_aug_epochs', 'label_smoothing', 'mixup', 'clip_gradient', 'zero_gamma', 'warmup_epochs', 'lr_from']
    names += ['freeze', 'lr_mult', 'lr_batch']
    assert not any(getattr(plain, name) for name in names)


@pytest.mark.parametrize(('epoch', 'rate'), [(0, 0.2), (2.99, 0.2), (3, 0.02), (6.4, 0.02), (6.5, 0.002), (99, 0.002)])
def test_steps(epoch, rate):
    assert lr_at(STEP, epoch) == pytest.approx(rate)


@pytest.mark.parametrize(
    ('schedule', 'epoch', 'share'),
    [
        ('linear', 2, 1),
        ('linear', 4, 0.75),
        ('linear', 10, 0),
        ('linear', 11, 0),
        ('cosine', 2, 1),
        ('cosine', 4, 0.8535533905932737),
        ('cosine', 6, 0.5),
        ('cosine', 10, 0),
    ],
)
def test_falls_begin_after_the_warm_up_and_end_at_zero(schedule, epoch, share):
    recipe = replace(STEP, schedule=schedule, warmup_epochs=2)
    assert lr_at(recipe, epoch) == pytest.approx(0.2 * share)


@pytest.mark.parametrize('schedule', ['step', 'cosine', 'linear'])
def test_warm_up_is_a_straight_rise_from_zero(schedule):
    recipe = replace(STEP, schedule=schedule, warmup_epochs=2)
    assert [lr_at(recipe, epoch) for epoch in (0, 0.5, 1, 1.5)] == pytest.approx([0, 0.05, 0.1, 0.15])
    assert lr_at(recipe, 2) == pytest.approx(0.2)


@pytest.mark.parametrize('schedule', ['step', 'cosine', 'linear'])
def test_a_rate_for_another_batch_size_is_scaled_in_proportion(schedule):
    plain = replace(STEP, schedule=schedule, warmup_epochs=2, batch_size=1024)
    for recipe in (plain, replace(plain, lr_from=(4, 0.5))):
        scaled = replace(recipe, lr_batch=256)
        for epoch in (0, 1, 2, 4, 6.5, 9.5):
            assert lr_at(scaled, epoch) == pytest.approx(4 * lr_at(recipe, epoch))


def test_a_scaled_rate_is_a_remark():
    recipe = replace(STEP, lr=0.1, batch_size=1024, lr_batch=256)
    assert remarks(recipe) == ['`lr` 0.1 is for batches of 256: with 1024 it becomes 0.4']
    assert remarks(replace(recipe, batch_size=256)) == []
    first, second = remarks(resolve(recipe, dict(lr=0.5), resumed_at=4), begin=4)
    assert first.startswith('`lr` 0.5 holds from epoch 4 on, instead of 0.01')
    assert second == '`lr` 0.5 is for batches of 256: with 1024 it becomes 2'


def test_a_new_rate_holds_from_its_epoch_on_and_later_steps_still_apply():
    recipe = replace(STEP, lr_from=(4, 0.5))
    assert [lr_at(recipe, epoch) for epoch in (0, 3, 4, 6, 6.5)] == pytest.approx([0.2, 0.02, 0.5, 0.5, 0.05])


def test_a_new_rate_falls_on_from_where_the_schedule_is():
    recipe = replace(STEP, schedule='linear', lr_from=(5, 0.4))
    assert [lr_at(recipe, epoch) for epoch in (0, 5, 7.5, 10)] == pytest.approx([0.2, 0.4, 0.2, 0])


def test_last_epochs_crop_and_mirror_only():
    recipe = replace(STEP, aug_level=3, no_aug_epochs=2)
    assert [aug_at(recipe, epoch) for epoch in range(10)] == [3] * 8 + [1] * 2
    assert [aug_at(STEP, epoch) for epoch in range(10)] == [2] * 10


def test_given_options_lie_on_top_and_the_rest_is_the_recipe():
    given = dict(lr=0.5, depth=18, mom=0.0, warmup_epochs=None, gpus='0,1', no_decay=())
    assert resolve(STEP, given) == replace(STEP, lr=0.5, depth=18, mom=0.0, no_decay=())


def test_a_rate_given_to_a_retrained_run_leaves_the_past_alone():
    recipe = resolve(STEP, dict(lr=0.5), resumed_at=4)
    assert (recipe.lr, recipe.lr_from) == (0.2, (4, 0.5))
    assert resolve(recipe, {}, resumed_at=5) == recipe


def test_the_same_command_again_changes_no_rate():
    assert resolve(STEP, dict(lr=0.2), resumed_at=7) == STEP
    changed = replace(STEP, lr_from=(4, 0.5))
    assert resolve(changed, dict(lr=0.5), resumed_at=7) == changed
    assert resolve(changed, dict(lr=0.2), resumed_at=7).lr_from == (7, 0.2)


@pytest.mark.parametrize(
    ('given', 'text'),
    [
        (dict(lr=0.0), 'lr=0.0 must be above 0'),
        (dict(lr=float('nan')), 'lr=nan must be above 0'),
        (dict(lr=float('inf')), 'lr=inf must be above 0'),
        (dict(batch_size=0), 'batch_size=0 must be above 0'),
        (dict(epochs=-1), 'epochs=-1 must be above 0'),
        (dict(lr_batch=0), 'lr_batch=0 must be above 0'),
        (dict(accumulate=0), 'accumulate=0 must be at least 1'),
        (dict(mom=1.0), 'mom=1.0 must be at least 0 and below 1'),
        (dict(bn_mom=-0.1), 'bn_mom=-0.1 must be'),
        (dict(label_smoothing=1.5), 'label_smoothing=1.5 must be'),
        (dict(wd=-1.0), 'wd=-1.0 must not be below 0'),
        (dict(mixup=-1.0), 'mixup=-1.0 must not'),
        (dict(clip_gradient=-2.0), 'clip_gradient=-2.0 must not'),
        (dict(warmup_epochs=-1.0), 'warmup_epochs=-1.0 must not'),
        (dict(lr_mult=(('head', -1.0),)), "lr_mult={'head': -1.0} must not be below 0"),
        (dict(seed=-1), 'seed=-1 must not'),
        (dict(seed=2**32), f'seed={2**32} must be below'),
        (dict(no_aug_epochs=-1), 'no_aug_epochs=-1 must not'),
        (dict(no_aug_epochs=11), 'no_aug_epochs=11 is more than `epochs` 10'),
        (dict(no_aug_epochs=1, aug_level='cifar'), 'no_aug_epochs=1: augmentation cifar only crops'),
        (dict(lr_steps=(6.0, 3.0)), 'lr_steps=(6.0, 3.0) must rise'),
        (dict(lr_steps=(3.0, 3.0)), 'lr_steps=(3.0, 3.0) must rise'),
        (dict(lr_steps=(-1.0,)), 'lr_steps=(-1.0,) must'),
        (dict(lr_steps=(float('nan'),)), 'lr_steps=(nan,) must'),
        (dict(schedule='linear', lr_steps=(3.0,)), 'lr_steps=(3.0,): the schedule is linear; add `schedule` step'),
        (dict(no_decay=('gama',)), "no_decay='gama': names of parameters end in"),
    ],
)
def test_what_cannot_be_is_refused_by_name_and_value(given, text):
    with pytest.raises(OptionError, match='^[a-z_]+=') as error:
        resolve(STEP, given)
    assert text in str(error.value)
    assert '\n' not in str(error.value)


def test_a_retrained_run_is_held_to_the_same_rules():
    with pytest.raises(ValueError, match='lr=-1 must be above 0'):
        resolve(STEP, dict(lr=-1), resumed_at=4)
    with pytest.raises(ValueError, match='epochs=3: the checkpoint has finished 4 epochs already'):
        resolve(STEP, dict(epochs=3), resumed_at=4)
    assert resolve(STEP, dict(epochs=4), resumed_at=4).epochs == 4


def test_milestones_after_the_end_are_one_remark():
    recipe = replace(STEP, epochs=3)
    assert unreached(recipe) == (3, 6.5)
    assert remarks(recipe) == ['`lr_steps` 3,6.5 come after the last epoch (3) and change nothing']
    assert unreached(replace(recipe, schedule='cosine')) == ()


def test_a_new_rate_and_an_end_that_was_reached_are_remarks():
    (line,) = remarks(replace(STEP, lr_from=(4, 0.5)), begin=4)
    assert line.startswith('`lr` 0.5 holds from epoch 4 on, instead of 0.02')
    assert remarks(STEP, begin=9) == []
    assert remarks(STEP, begin=10) == ['`epochs` 10 are finished already: there is nothing to train']


@pytest.mark.parametrize('recipe', [*RECIPES.values(), replace(STEP, lr_from=(4, 0.5), no_decay=('gamma',))])
def test_a_recipe_survives_the_json_of_a_checkpoint(recipe):
    values = json.loads(json.dumps(to_dict(recipe)))
    assert from_dict(values) == recipe
    assert set(values) == {field.name for field in fields(Recipe)}


def test_pairs_within_lists_come_back_from_json_as_they_were():
    recipe = Recipe('t', freeze=('stem', 'stage1'), lr_mult=(('body', 0.1), ('head', 2.0)))
    assert from_dict(json.loads(json.dumps(to_dict(recipe)))) == recipe


def test_a_recipe_of_another_version_is_read():
    assert from_dict({'name': 'old', 'lr': 0.3, 'from_the_future': 1}) == Recipe('old', lr=0.3)


@pytest.mark.parametrize(
    'values',
    [
        {'lr': 0.1},
        *(
            {'name': 'a', **wrong}
            for wrong in (
                {'lr': 'x'},
                {'lr_steps': 3},
                {'lr_mult': ['body']},
                {'model': 3},
                {'depth': 8.5},
                {'schedule': 'x'},
                {'optimizer': 'adam'},
                {'data_type': None},
                {'aug_level': 9},
                {'aug_level': []},
                {'zero_gamma': 1},
                {'lr_from': [1]},
                {'no_decay': [[['beta']]]},
            )
        ),
    ],
)
def test_a_damaged_recipe_is_said_to_be_one(values):
    with pytest.raises(ValueError, match='the recipe of the checkpoint is damaged'):
        from_dict(values)


def test_levels_of_the_seed_at_32_pixels():
    for level in (1, 2):
        assert resolve(RECIPES['cifar10'], {'aug_level': level}).aug_level == 'cifar'
    with pytest.raises(ValueError, match='aug_level=3: rotation and shear are for ImageNet pictures'):
        resolve(RECIPES['cifar10'], {'aug_level': 3})
