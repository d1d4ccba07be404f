"""Durations: no file measures one by the time of day, which may be set back."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TIME_OF_DAY = {
    'ibnnet_mx/logs/scalars.py',  # TensorBoard's events have the time of day
    'ibnnet_mx/recordio/opening/head_cache.py',  # compared with the times of files
}


def test_no_duration_is_measured_by_the_time_of_day():
    files = [
        path for folder in ('ibnnet_mx', 'tools', 'benchmarks', 'experiments') for path in (ROOT / folder).rglob('*.py')
    ]
    wrong = {str(path.relative_to(ROOT)) for path in files if 'time.time()' in path.read_text(encoding='utf-8')}
    assert wrong == TIME_OF_DAY
