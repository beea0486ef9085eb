import numpy as np
import pytest

from semdepth.data.catalog import DataConfig, open_dataset
from semdepth.data.video import FrameDataset
from semdepth.evaluation.protocols import synthetic
from semdepth.synthetic import writer
from semdepth.training.validation import judge_map


def test_a_map_is_judged_without_decoding_an_image(tmp_path, monkeypatch):
    writer.synthesise(tmp_path, "val", 2, 2, height=32, width=96)
    config = DataConfig(root=tmp_path, height=32, width=96, offsets=(), labels="exact", require_depth=True)
    frames = open_dataset(config)
    names = [frames[i].names[0] for i in range(len(frames))]
    monkeypatch.setattr(FrameDataset, "__getitem__", lambda *_: pytest.fail("an image was decoded"))
    result = judge_map(None, frames, synthetic)
    assert [row.name for row in result.rows] == names
    assert len({row.group for row in result.rows}) == 2
    assert np.isfinite(result.mean.abs_rel)
