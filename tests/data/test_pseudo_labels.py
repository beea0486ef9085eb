"""Segmenters of transformers as a user has them: a folder of config, processor and weights."""

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny_segmenters as tiny
import torch
import torch.nn.functional as F
import transformers

from semdepth.data.label_sets import match_classes
from semdepth.data.pseudo_labels import MASKS_AT_ONCE, _decide, _Masks, load_segmenter
from semdepth.runtime import InputError

IMAGE = np.random.default_rng(0).integers(0, 256, (48, 80, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save(tmp_path_factory.mktemp("segformer"))


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    shutil.copytree(folder, tmp_path / "copy")
    return tmp_path / "copy"


def complaint(source: Path | str, **options: object) -> str:
    with pytest.raises(InputError) as caught:
        load_segmenter(str(source), device="cpu", **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_segmenter_whose_answer_is_known(tmp_path: Path) -> None:
    """Bright is sky, dark is road: the border lies where it is in the image, at the image's own size."""
    segmenter = load_segmenter(str(tiny.save_by_brightness(tmp_path)), device="cpu")
    image = np.full((96, 144, 3), 20, dtype=np.uint8)
    image[:48, 36:] = 230
    upright = np.ascontiguousarray(image.transpose(1, 0, 2))
    for pixels, found in zip((image, upright), segmenter.segment([image, upright]), strict=True):
        bright = pixels[..., 0] > 127
        assert found.labels.shape == found.entropy.shape == bright.shape
        assert (found.labels == np.where(bright, 10, 0)).mean() > 0.98
        inside = np.zeros_like(bright)
        inside[4:40, 4:30] = True
        assert (found.labels[inside] == np.where(bright, 10, 0)[inside]).all()
        # The logit of the class is 8, the 18 others' 0 (layer norm leaves a little less than 1).
        p = np.array([np.exp(8.0)] + [1.0] * 18) / (np.exp(8.0) + 18)
        assert abs(found.entropy[10, 10] / 255 + (p * np.log(p)).sum() / np.log(19)) < 0.01


def test_semantic_kind_agrees_with_transformers_own_pre_and_post_processing(folder: Path) -> None:
    processor = transformers.SegformerImageProcessor.from_pretrained(folder)
    model = transformers.SegformerForSemanticSegmentation.from_pretrained(folder).eval()
    with torch.no_grad():
        output = model(**processor(images=IMAGE, return_tensors="pt"))
    wanted = processor.post_process_semantic_segmentation(output, target_sizes=[IMAGE.shape[:2]])[0]
    found = load_segmenter(str(folder), device="cpu").segment([IMAGE])[0]
    assert len(np.unique(found.labels)) > 1
    assert (found.labels == wanted.numpy()).mean() > 0.999
    p = (
        F.interpolate(output.logits, IMAGE.shape[:2], mode="bilinear", align_corners=False)[0]
        .softmax(0)
        .double()
        .numpy()
    )
    entropy = -(p * np.log(np.maximum(p, 1e-300))).sum(0) / np.log(19)
    assert np.abs(found.entropy / 255 - entropy).max() < 0.005


@pytest.mark.parametrize("kind", ["maskformer", "mask2former", "oneformer"])
def test_mask_kind_agrees_with_the_papers_formula(kind: str, tmp_path: Path) -> None:
    names = [*tiny.CITYSCAPES, "van", "ceiling"]
    segmenter = load_segmenter(str(tiny.save(tmp_path, kind, names)), device="cpu")
    height, width = segmenter.input.input_size(*IMAGE.shape[:2])
    assert (height, width) == (64, 96)
    pixels = segmenter.input.prepare(IMAGE)[None]
    model = segmenter._model
    task = {} if kind != "oneformer" else {"task_inputs": segmenter._task}
    with torch.no_grad():
        output = model(pixel_values=pixels, **task)
    masks = F.interpolate(output.masks_queries_logits, IMAGE.shape[:2], mode="bilinear", align_corners=False)[
        0
    ].sigmoid()
    classes = output.class_queries_logits[0].softmax(-1)
    wanted = torch.zeros(20, *IMAGE.shape[:2])
    for q in range(len(masks)):
        for c, name in enumerate(names):
            wanted[{"van": 13, "ceiling": 19}.get(name, c)] += classes[q, c] * masks[q]
    held = wanted.sum(0) > 0.01
    assert held.float().mean() > 0.3  # random masks leave holes
    found = segmenter.probabilities([IMAGE])[0]
    torch.testing.assert_close(found[:, held], (wanted / wanted.sum(0))[:, held], atol=2e-3, rtol=0)
    labels, given = found.argmax(0).numpy(), segmenter.segment([IMAGE])[0]
    np.testing.assert_array_equal(given.labels, np.where((labels == 19) | (given.entropy == 255), 255, labels))
    assert (labels == wanted.argmax(0).numpy())[held.numpy()].mean() > 0.999
    assert kind != "mask2former" or len(masks) > MASKS_AT_ONCE  # else one piece is all


def test_a_pixel_that_no_mask_holds_has_no_label() -> None:
    weights = torch.zeros(2, 19)
    weights[0, 13], weights[1, 8] = 0.9, 0.9
    masks = torch.full((2, 4, 4), -60.0)
    masks[0, :, :2] = 60.0
    found = _decide(_Masks(weights, masks).at((4, 4)), tuple(range(19)))
    assert (found.labels[:, :2] == 13).all()
    assert (found.labels[:, 2:] == 255).all()
    assert (found.entropy[:, 0] == 0).all()
    assert (found.entropy[:, 3] == 255).all()


def test_oneformer_is_asked_for_semantics_as_its_own_processor_asks(tmp_path: Path) -> None:
    segmenter = load_segmenter(str(tiny.save(tmp_path, "oneformer")), device="cpu")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    image_processor = transformers.AutoImageProcessor.from_pretrained(tmp_path)
    theirs = transformers.OneFormerProcessor(image_processor, tokenizer, task_seq_length=8)
    assert segmenter._task is not None
    assert segmenter._task.tolist() == theirs._preprocess_text(["the task is semantic"], max_length=8).tolist()
    assert segmenter._task.shape == (1, 8)


@pytest.mark.parametrize("kind", ["upernet", "beit", "dpt", "mobilevit"])
def test_other_semantic_kinds_cover_the_image(kind: str, tmp_path: Path) -> None:
    segmenter = load_segmenter(str(tiny.save(tmp_path, kind)), device="cpu")
    p = segmenter.probabilities([IMAGE])[0]
    assert p.shape == (19, 48, 80)
    torch.testing.assert_close(p.sum(0), torch.ones(48, 80))
    assert (p.argmax(0) != p.argmax(0)[0, 0]).any()


def test_classes_of_one_train_id_are_summed_and_foreign_ones_ignored(tmp_path: Path) -> None:
    """Constant logits: road 1, car 0.9, van 0.9 and lots of ceiling-like classes."""
    names = [*tiny.CITYSCAPES, "van", "ceiling", "sofa", "oven"]
    logits = torch.full((23,), -9.0)
    logits[[0, 13, 19]] = torch.tensor([1.0, 0.9, 0.9])

    def answer(foreign: float) -> tuple[int, float]:
        logits[20:] = foreign
        model = tiny.segformer(names)
        with torch.no_grad():
            model.decode_head.classifier.weight.zero_()
            model.decode_head.classifier.bias.copy_(logits)
        model.save_pretrained(tmp_path)
        (tmp_path / "preprocessor_config.json").write_text(
            json.dumps(tiny.PROCESSOR | {"image_processor_type": "SegformerImageProcessor"})
        )
        found = load_segmenter(str(tmp_path), device="cpu").segment([IMAGE])[0]
        assert len(np.unique(found.labels)) == 1
        return int(found.labels[0, 0]), float(found.entropy[0, 0]) / 255

    p = logits[:20].exp() / logits[:20].exp().sum()
    merged = torch.cat([p[:13], p[13:14] + p[19], p[14:19]])
    label, entropy = answer(-50.0)
    assert label == 13
    assert entropy == pytest.approx(float(-(merged * merged.log()).sum() / np.log(20)), abs=0.003)
    assert answer(0.5)[0] == 255  # three of them together are likelier than any other


def test_images_of_different_sizes_go_in_one_batch_and_the_batch_changes_nothing(folder: Path) -> None:
    segmenter = load_segmenter(str(folder), device="cpu")
    images = [IMAGE, IMAGE[:30], IMAGE[:, :33], IMAGE]
    together, alone = segmenter.segment(images), [segmenter.segment([image])[0] for image in images]
    for a, b, image in zip(together, alone, images, strict=True):
        assert a.labels.shape == image.shape[:2]
        assert (a.labels == b.labels).mean() > 0.999
    assert segmenter.segment([]) == []


def test_size(folder: Path) -> None:
    usual, wide = load_segmenter(str(folder), device="cpu"), load_segmenter(str(folder), device="cpu", size=(64, 160))
    assert wide.input.input_size(48, 80) == (64, 160)
    assert wide.identity != usual.identity


def test_precision(tmp_path: Path) -> None:
    """Not of the tiny SegFormer: with AMX, torch 2.13's oneDNN gets its patch convolutions wrong (docs/deployment.md)."""
    path = str(tiny.save(tmp_path, "upernet"))
    usual, half = (load_segmenter(path, device="cpu", precision=p) for p in ("float32", "bfloat16"))
    assert half.identity == usual.identity
    labels = usual.segment([IMAGE])[0].labels
    assert len(np.unique(labels)) > 3
    assert (half.segment([IMAGE])[0].labels == labels).mean() > 0.98


def test_identity_follows_the_weights_not_the_place(folder: Path, copy: Path, tmp_path: Path) -> None:
    first = load_segmenter(str(folder), device="cpu").identity
    assert load_segmenter(str(copy), device="cpu").identity == first
    assert load_segmenter(str(tiny.save(tmp_path / "other", seed=1)), device="cpu").identity != first


def test_unnamed_outputs(tmp_path: Path) -> None:
    tiny.save(tmp_path, names=[f"LABEL_{i}" for i in range(19)])
    assert "--train_ids" in complaint(tmp_path)
    assert load_segmenter(str(tmp_path), device="cpu", train_ids=True).classes.reached == tuple(range(19))


def test_weights_that_are_a_plain_pickle_of_tensors_are_read(folder: Path, copy: Path) -> None:
    weights = transformers.SegformerForSemanticSegmentation.from_pretrained(copy).state_dict()
    (copy / "model.safetensors").unlink()
    torch.save(weights, copy / "pytorch_model.bin")
    assert load_segmenter(str(copy), device="cpu").identity == load_segmenter(str(folder), device="cpu").identity


class _Bomb:
    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self):
        return Path.touch, (self.place,)


def test_nothing_is_executed(copy: Path, tmp_path: Path) -> None:
    (copy / "model.safetensors").unlink()
    for number, write in enumerate((torch.save, lambda o, p: p.write_bytes(pickle.dumps(o)))):
        place = tmp_path / f"ran_{number}"
        write({"a": _Bomb(place)}, copy / "pytorch_model.bin")
        assert "cannot be loaded" in complaint(copy)
        assert not place.exists()
    config = json.loads((copy / "config.json").read_text())
    config["auto_map"] = {"AutoConfig": "code.Config", "AutoModelForSemanticSegmentation": "code.Model"}
    config["model_type"] = "mine"
    (copy / "config.json").write_text(json.dumps(config))
    (copy / "code.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    complaint(copy)
    assert not (tmp_path / "ran").exists()


def test_folders_that_are_no_segmenter(copy: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "folder without config.json" in complaint(tmp_path / "empty")
    assert "unknown; give a folder, or a hub id" in complaint(tmp_path / "nowhere")
    (copy / "preprocessor_config.json").rename(tmp_path / "kept.json")
    assert "preprocessor_config.json cannot be used" in complaint(copy)
    shutil.copy(tmp_path / "kept.json", copy / "preprocessor_config.json")
    weights = (copy / "model.safetensors").read_bytes()
    for broken in (weights[: len(weights) // 2], b""):
        (copy / "model.safetensors").write_bytes(broken)
        assert "cannot be loaded" in complaint(copy)
    (copy / "model.safetensors").unlink()
    assert "cannot be loaded" in complaint(copy)
    (copy / "config.json").write_text('{"model_type": "martian"}')
    assert "martian" in complaint(copy)
    (copy / "config.json").write_text("{")
    assert "cannot be loaded" in complaint(copy)


def test_other_models_and_foreign_checkpoints(copy: Path, tmp_path: Path) -> None:
    transformers.ResNetConfig(**tiny.RESNET).save_pretrained(tmp_path / "resnet")
    assert "'resnet' is no segmenter" in complaint(tmp_path / "resnet")
    transformers.EomtConfig().save_pretrained(tmp_path / "eomt")
    assert "windows" in complaint(tmp_path / "eomt")
    headless = transformers.SegformerModel(transformers.SegformerConfig.from_pretrained(copy))
    headless.save_pretrained(tmp_path / "headless")
    shutil.copy(copy / "config.json", tmp_path / "headless")
    shutil.copy(copy / "preprocessor_config.json", tmp_path / "headless")
    assert "its weights lack decode_head" in complaint(tmp_path / "headless")


def test_a_hub_id_without_a_hub_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("semdepth.hub._hub_in_reach", lambda: False)
    line = complaint("nobody-here/no-such-segmenter")
    assert "segmenter 'nobody-here/no-such-segmenter': not to be had from the hub or its cache" in line
    assert "name a local folder" in line


def test_what_only_shows_when_it_runs(tmp_path: Path) -> None:
    dpt = load_segmenter(str(tiny.save(tmp_path / "dpt", "dpt")), device="cpu", size=(48, 112))
    with pytest.raises(InputError, match=r"does not run on images of 112×48.*--size"):
        dpt.segment([IMAGE])
    broken = load_segmenter(str(tiny.save(tmp_path / "s")), device="cpu")
    broken._model.decode_head.classifier.bias.data[3] = torch.nan
    with pytest.raises(InputError, match="NaN"):
        broken.segment([IMAGE])
    fewer = load_segmenter(str(tmp_path / "s"), device="cpu")
    fewer.classes = match_classes([*tiny.CITYSCAPES, "van"], "it")
    with pytest.raises(InputError, match=r"19 outputs, but its config\.json names 20"):
        fewer.segment([IMAGE])
