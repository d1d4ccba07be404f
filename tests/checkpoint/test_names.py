"""The names of the files of a checkpoint."""

from ibnnet_mx.checkpoint import Store


def test_epochs_of_a_prefix_are_its_own(tmp_path):
    for name in [
        'a-0001',
        'a-0012',
        'a-12345',
        'a-b-0003',
        'a-0004-0005',
        'a-00006',
        'a-7',
        'a-000²',
        'ab-0008',
        'a-symbol',
        'a',
    ]:
        (tmp_path / f'{name}.json').write_text('{}')
    assert Store(tmp_path / 'a').epochs() == [1, 12, 12345]
    assert Store(tmp_path / 'a-b').epochs() == [3]
    assert Store(tmp_path / 'a-0004').epochs() == [5]
    assert Store(tmp_path / 'none' / 'a').epochs() == []
