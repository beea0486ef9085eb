"""The names of the data sets themselves, as their segmenters carry them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semdepth.data.label_sets import FILLERS, SYNONYMS, ClassMap, match_classes, train_id_of
from semdepth.labels import CLASSES, TRAIN_ID
from semdepth.runtime import InputError


def listed(text: str, separator: str | None = None) -> list[str]:
    return text.split(separator)


CITYSCAPES = [c.name for c in CLASSES]
ADE20K = listed("""wall building sky floor tree ceiling road bed windowpane grass cabinet sidewalk person earth door table
mountain plant
curtain chair car water painting sofa shelf house sea mirror rug field armchair seat fence desk rock wardrobe lamp bathtub
railing cushion base box column signboard chest_of_drawers counter sand sink skyscraper fireplace refrigerator grandstand
path stairs runway case pool_table pillow screen_door stairway river bridge bookcase blind coffee_table toilet flower book
hill bench countertop stove palm kitchen_island computer swivel_chair boat bar arcade_machine hovel bus towel light truck
tower chandelier awning streetlight booth television_receiver airplane dirt_track apparel pole land bannister escalator
ottoman bottle buffet poster stage van ship fountain conveyer_belt canopy washer plaything swimming_pool stool barrel basket
waterfall tent bag minibike cradle oven ball food step tank trade_name microwave pot animal bicycle lake dishwasher screen
blanket sculpture hood sconce vase traffic_light tray ashcan fan pier crt_screen plate monitor bulletin_board shower radiator
glass clock flag""")
MAPILLARY_12 = listed(
    "Bird|Ground Animal|Curb|Fence|Guard Rail|Barrier|Wall|Bike Lane|Crosswalk - Plain|Curb Cut|Parking|Pedestrian Area|"
    "Rail Track|Road|Service Lane|Sidewalk|Bridge|Building|Tunnel|Person|Bicyclist|Motorcyclist|Other Rider|"
    "Lane Marking - Crosswalk|Lane Marking - General|Mountain|Sand|Sky|Snow|Terrain|Vegetation|Water|Banner|Bench|Bike Rack|"
    "Billboard|Catch Basin|CCTV Camera|Fire Hydrant|Junction Box|Mailbox|Manhole|Phone Booth|Pothole|Street Light|Pole|"
    "Traffic Sign Frame|Utility Pole|Traffic Light|Traffic Sign (Back)|Traffic Sign (Front)|Trash Can|Bicycle|Boat|Bus|Car|"
    "Caravan|Motorcycle|On Rails|Other Vehicle|Trailer|Truck|Wheeled Slow|Car Mount|Ego Vehicle",
    "|",
)
MAPILLARY_20_ADDED = listed(
    "Road Shoulder|Traffic Island|Garage|Person Group|Lane Marking - Stop Line|Lane Marking (only) - Dashed Line|Pole Group|"
    "Traffic Light - Pedestrians|Traffic Sign - Direction (Front)|Vehicle Group|Signage - Store|Driveway|Ground|Traffic Cone",
    "|",
)
COCO_THINGS = listed(
    "person bicycle car motorcycle airplane bus train truck boat traffic_light fire_hydrant stop_sign parking_meter bench bird "
    "cat dog horse sheep cow elephant bear zebra giraffe backpack umbrella handbag tie suitcase frisbee skis snowboard "
    "sports_ball kite baseball_bat baseball_glove skateboard surfboard tennis_racket bottle wine_glass cup fork knife spoon "
    "bowl banana apple sandwich orange broccoli carrot hot_dog pizza donut cake chair couch potted_plant bed dining_table "
    "toilet tv laptop mouse remote keyboard cell_phone microwave oven toaster sink refrigerator book clock vase scissors "
    "teddy_bear hair_drier toothbrush"
)
COCO_PANOPTIC_STUFF = listed(
    "banner blanket bridge cardboard counter curtain door-stuff floor-wood flower fruit gravel house light mirror-stuff net "
    "pillow platform playingfield railroad river road roof sand sea shelf snow stairs tent towel wall-brick wall-stone wall-tile "
    "wall-wood water-other window-blind window-other tree-merged fence-merged ceiling-merged sky-other-merged cabinet-merged "
    "table-merged floor-other-merged pavement-merged mountain-merged grass-merged dirt-merged paper-merged food-other-merged "
    "building-other-merged rock-merged wall-other-merged rug-merged"
)
COCO_PANOPTIC = COCO_THINGS + COCO_PANOPTIC_STUFF
VOC = listed(
    "background aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person train"
)


def name_of(source: str) -> str | None:
    return {c.train_id: c.name for c in CLASSES}.get(train_id_of(source))


def missed(names: list[str]) -> set[str]:
    return {name for name, found in match_classes(names, "it").by_class().items() if not found}


def test_cityscapes_maps_to_itself() -> None:
    matched = match_classes(CITYSCAPES, "it")
    assert matched.train_ids == tuple(range(19))
    assert matched.groups == tuple(range(19))
    np.testing.assert_array_equal(matched.matrix(), np.eye(19))


def test_every_class_of_the_four_data_sets_is_reached_but_for_what_they_do_not_have() -> None:
    assert len(ADE20K) == 150
    assert len(MAPILLARY_12) == 65
    assert len(COCO_PANOPTIC) == 133
    assert missed(ADE20K) == {"traffic sign", "rider", "train"}
    assert missed(MAPILLARY_12) == missed(MAPILLARY_12 + MAPILLARY_20_ADDED) == set()
    assert missed(COCO_PANOPTIC) == {"pole", "rider"}


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("van", "car"), ("minibike", "motorcycle"), ("streetlight", "pole"), ("earth", "terrain"), ("path", "sidewalk"),
        ("road, route", "road"), ("car, auto, automobile, machine, motorcar", "car"), ("windowpane ", "building"),
        ("Lane Marking - Stop Line", "road"), ("Lane Marking (only) - Dashed Line", "road"), ("Manhole", "road"),
        ("Traffic Sign (Back)", "traffic sign"), ("Traffic Sign Frame", "pole"), ("Other Rider", "rider"),
        ("Traffic Light - Pedestrians", "traffic light"), ("On Rails", "train"), ("Curb", "sidewalk"),
        ("object--vehicle--on-rails", "train"), ("human--rider--other-rider", "rider"), ("construction--flat--road", "road"),
        ("marking--general", "road"), ("object--traffic-sign--front", "traffic sign"),
        ("tree-merged", "vegetation"), ("wall-other-merged", "wall"), ("pavement-merged", "sidewalk"),
        ("stop sign", "traffic sign"),
        ("Guard Rail", None), ("Parking", None), ("parking meter", None), ("Bridge", None), ("Caravan", None), ("Trailer", None),
        ("Other Vehicle", None), ("Vehicle Group", None), ("Ground", None), ("ceiling-merged", None), ("floor-wood", None),
        ("signboard", None), ("Signage - Store", None), ("Billboard", None), ("mountain-merged", None), ("water-other", None),
        ("potted plant", None), ("screen door", None), ("train station", None), ("", None), ("LABEL_3", None),
    ],
)  # fmt: skip
def test_single_names(source: str, target: str | None) -> None:
    assert name_of(source) == target


@given(
    st.sampled_from([*TRAIN_ID, *(s for others in SYNONYMS.values() for s in others)]),
    st.booleans(),
    st.sampled_from("-_ /"),
)
def test_case_and_punctuation_are_of_no_account(name: str, upper: bool, joint: str) -> None:
    assert train_id_of((name.upper() if upper else name.title()).replace(" ", joint)) == train_id_of(name) != 255


def test_no_synonym_means_two_classes_or_repeats_a_class() -> None:
    others_all = [s for others in SYNONYMS.values() for s in others]
    assert len(set(others_all)) == len(others_all)
    assert not set(others_all) & set(TRAIN_ID)
    assert set(SYNONYMS) == set(TRAIN_ID)
    assert all(s.lower() == s and not set(s.split()) <= FILLERS for s in others_all)


def test_what_goes_nowhere_is_a_group_of_its_own() -> None:
    matched = match_classes([*CITYSCAPES, "van", "ceiling", "sofa"], "it")
    assert matched.groups == (*range(19), 255)
    assert matched.unmatched() == ["ceiling", "sofa"]
    assert matched.by_class()["car"] == ["car", "van"]
    table = matched.matrix()
    assert table.shape == (22, 20)
    assert (table.sum(axis=1) == 1).all()
    assert table[:, 13].nonzero()[0].tolist() == [13, 19]
    assert table[:, 19].nonzero()[0].tolist() == [20, 21]


@pytest.mark.parametrize(
    ("names", "are_train_ids", "says"),
    [
        (VOC, False, "reach 6 of Cityscapes' 19, 10 are needed; name one trained on Cityscapes"),
        ([f"LABEL_{i}" for i in range(19)], False, "say --train_ids=true"),
        ([f"LABEL_{i}" for i in range(21)], False, "name one trained on"),
        ([f"LABEL_{i}" for i in range(21)], True, "has 21 outputs"),
        (CITYSCAPES, True, "names its classes (road, …)"),
        ({0: "road", 2: "sky"}, False, "does not number its classes"),
    ],
)
def test_a_segmenter_that_is_not_a_streets(names, are_train_ids: bool, says: str) -> None:
    with pytest.raises(InputError) as caught:
        match_classes(names, "some/model", are_train_ids)
    assert says in str(caught.value)
    assert str(caught.value).startswith("some/model: ")
    assert "\n" not in str(caught.value)


def test_unnamed_outputs_are_train_ids_if_one_says_so() -> None:
    assert match_classes([f"LABEL_{i}" for i in range(19)], "it", True) == ClassMap(
        tuple(f"LABEL_{i}" for i in range(19)), tuple(range(19))
    )
