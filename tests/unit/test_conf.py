"""The options that the sample file is generated from are those that are read."""

import pytest

from gpupool import conf as gpupool_conf


@pytest.mark.parametrize(("group", "opts"), gpupool_conf.list_opts())
def test_a_listed_default_is_what_is_read(group, opts):
    conf = gpupool_conf.new(files=[])
    assert {opt.dest: conf[group][opt.dest] for opt in opts} == {opt.dest: opt.default for opt in opts}
