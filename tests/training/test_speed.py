"""The measured time of a step."""

from ibnnet_mx import get_model
from ibnnet_mx.training import speed


def test_larger_pictures_take_longer():
    small, large = (speed.seconds_of_picture(get_model('cifar_resnet8'), size, 8) for size in (32, 128))
    assert 0 < small < large < 1
