"""Cards of the models: what each is, where it comes from, and the numbers that belong to it.

A detector finds faces; an embedder turns an aligned face into a vector. The distances of two
embedders have nothing to do with each other, so everything that is measured in distances stands
on the card of the embedder. ``benchmarks/models.py`` measures these numbers again.

Values only: the service reads cards without loading OpenCV, dlib or a runtime.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from portraitd.faces.models.weights import MMOD, RESNET, ModelFile
from portraitd.model.face_quality import QualityRule
from portraitd.model.grouping_rules import (
    AgglomerationRule,
    AssignmentRule,
    DbscanRule,
    EmbeddingRules,
    GroupingRule,
    NearMissRule,
    OutlierRule,
    RecordingRule,
    SuggestionRule,
    TightnessRule,
    TrackRule,
)

Role = Literal["detector", "embedder"]

Alignment = Literal["dlib", "arcface"]
"""Which chip an embedder wants: dlib's of 150 px, or ArcFace's of 112 px."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """What a model is, and where it comes from.

    Attributes:
        name: On the command line and in the settings.
        role: What it does.
        file: Name and hash of its file.
        size_bytes: Of the file.
        licence: Of the weights, and where it is stated.
        trained_on: What the weights were trained on, in a few words.
        purpose: One line for a list.
        quality: How well it does its work, and on which data; empty if that was not measured.
        speed: What it takes, and on which machine; empty if that was not measured.
        url: Where ``portraitd models add`` downloads it; empty if it is installed with portraitd,
            or only the user has it.
    """

    name: str
    role: Role
    file: ModelFile
    size_bytes: int
    licence: str
    trained_on: str
    purpose: str
    quality: str = ""
    speed: str = ""
    url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedderCard(ModelCard):
    """A model that turns aligned faces into vectors.

    Attributes:
        space: Name of its embedding space in the database. It never changes: stored vectors
            are told apart by it.
        embedding_size: How many numbers a vector has.
        alignment: The chip it wants.
        channels: Order of the colours of its input.
        pixel_mean: Of each channel in the order of ``channels``, 0 to 255; subtracted from the
            pixels.
        pixel_scale: What the pixels are divided by afterwards.
        rules: The numbers of tracking and grouping; None if they were never measured.
    """

    space: str
    embedding_size: int
    alignment: Alignment
    channels: Literal["rgb", "bgr"] = "rgb"
    pixel_mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    pixel_scale: tuple[float, float, float] = (1.0, 1.0, 1.0)
    rules: EmbeddingRules | None


MMOD_CARD = ModelCard(
    name="mmod",
    role="detector",
    file=MMOD,
    size_bytes=729_940,
    licence="CC0 (dlib-models)",
    trained_on="7,220 pictures collected and labelled by dlib's author",
    purpose="finds faces; installed with portraitd",
    quality="finds 106 of 132 faces of 24 to 160 px pasted into photos of 12 megapixels",
    speed="195 ms a frame of 720p video on one core, 40 % of that with int8",
)

YUNET = ModelCard(
    name="yunet",
    role="detector",
    file=ModelFile(
        "face_detection_yunet_2023mar.onnx",
        "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
        "run: portraitd models add yunet",
    ),
    size_bytes=232_589,
    licence="MIT (opencv_zoo, models/face_detection_yunet)",
    trained_on="WIDER FACE",
    url=(
        "https://github.com/opencv/opencv_zoo/raw/main/"
        "models/face_detection_yunet/face_detection_yunet_2023mar.onnx"
    ),
    purpose="finds faces many times faster than mmod, and smaller ones, with landmarks",
    quality="finds 132 of 132 faces of 24 to 160 px pasted into photos of 12 megapixels",
    speed="8 ms a frame of 720p video on one core",
)

DLIB = EmbedderCard(
    name="dlib",
    role="embedder",
    file=RESNET,
    size_bytes=22_466_066,
    licence="CC0 (dlib-models)",
    trained_on="about 3 million faces: FaceScrub, VGG and pictures from the web; few from Asia",
    purpose="recognises faces; installed with portraitd",
    quality=(
        "recognises 73 % of the pairs at one false match in 100,000 "
        "(904 photos of 40 people, Labeled Faces in the Wild)"
    ),
    speed="5.0 ms a face on one core",
    space="dlib-resnet-v1",
    embedding_size=128,
    alignment="dlib",
    rules=EmbeddingRules(
        # The average length of its vectors, so that distances keep their meaning. On labelled
        # photos and clips, at a false match rate of 1e-4, scaling to one length raises the true
        # match rate from 0.85 to 0.88 and from 0.74 to 0.79.
        vector_length=1.4,
        # At the upper ends, on labelled photos and clips, one face in fifty is within 0.46 of a
        # stranger. Half-way down it is one in five, near the lower ends it is most: a face without
        # detail is near to every other face.
        quality=QualityRule(
            sharpness=(2.0, 14.0), size_px=(16.0, 80.0), frontal=(0.0, 0.12), uses_confidence=True
        ),
        # On labelled photos and clips, at one and two samples a second, 95 % of a person's
        # neighbouring faces are within 0.41 of each other; one in ten thousand pairs of strangers
        # is nearer than 0.49, and few of those follow each other at the same place in the picture.
        tracking=TrackRule(max_distance=0.5, min_difference=0.25),
        grouping=GroupingRule(
            dbscan=DbscanRule(eps=0.36, min_samples=3),
            agglomeration=AgglomerationRule(max_distance=0.55, thin_distance=0.46),
            assignment=AssignmentRule(max_distance=0.54, thin_distance=0.48),
            # The flatness of people with at least 12 photos is 0.82 in the median and at most 0.86,
            # that of many people in one ball 0.88. See docs/grouping.md.
            tightness=TightnessRule(
                min_flatness=0.86,
                reach=0.58,
                max_ratio=1.3,
                rival_distance=0.64,
                split_distance=0.3,
                split_share=0.52,
                store_distance=0.6,
                store_tracks=(8, 12, 16),
                store_flatness=(0.855, 0.845, 0.825),
                min_own_flatness=0.8,
            ),
        ),
        plain_dbscan=DbscanRule(eps=0.5, min_samples=5),
        # On the labelled photos and clips, 3 of the 3 tracks listed are another person's. With 40
        # more tracks put into the nearest other person, in three draws, 75 of 86 are.
        outliers=OutlierRule(min_distance=0.45),
        # On groupings of 210 random parts of the labelled photos and clips, in most of them with
        # masks, sunglasses or blur added. Of pairs with p >= 0.6, 0.76 are one person; with
        # p >= 0.75, 0.93 (people whom the fit had not seen).
        suggestions=SuggestionRule(
            margin=0.03,
            intercept=23.81,
            distance=-76.55,
            quality=24.51,
            enough_quality=0.8,
            near_miss=NearMissRule(
                intercept=3.7, distance=-19.4, gap=21.2, max_gap=0.1, quality=8.2
            ),
            # Of 4,624 photos, with half of 61 people known from 1 to 30 photos: said to be 0.82
            # likely on average, 0.85 are right; at 0.94, 0.88; from 0.97 on, 0.998.
            identification=NearMissRule(
                intercept=35.8, distance=-66.2, gap=3.1, max_gap=0.42, log_tracks=-0.52
            ),
        ),
        near_duplicate=0.2,
    ),
)

MOBILEFACENET = EmbedderCard(
    name="mobilefacenet",
    role="embedder",
    file=ModelFile(
        "mobilefacenet_foamliu.onnx",
        "b7120c095d60094f28a4a54ba6a8bf51b297a6273fb40ef6350dfec1f63d9507",
        "run: portraitd models add mobilefacenet",
    ),
    size_bytes=3_998_070,
    licence="Apache-2.0 (foamliu/MobileFaceNet)",
    trained_on="a refined MS-Celeb-1M: faces of celebrities, collected without their consent",
    url=(
        "https://github.com/foamliu/MobileFaceNet/raw/"
        "a6cc9032a659b615f477833e1a70b5e7931bcccc/weights/MobileFaceNet.onnx"
    ),
    purpose="recognises faces better than dlib, East Asian ones above all, at the same cost",
    quality=(
        "recognises 93 % of the pairs at one false match in 100,000 "
        "(904 photos of 40 people, Labeled Faces in the Wild)"
    ),
    speed="4.9 ms a face on one core",
    space="mobilefacenet-foamliu",
    embedding_size=128,
    alignment="arcface",
    # The statistics of ImageNet, which it was trained with.
    pixel_mean=(123.675, 116.28, 103.53),
    pixel_scale=(58.395, 57.12, 57.375),
    rules=EmbeddingRules(
        vector_length=1.0,
        # The median distance to other faces of the person is 1.25 at a norm of 10, 0.94 at 15 and
        # 0.78 above 17, while that to the nearest stranger stays at 1.15. Masks, sunglasses and
        # profiles shorten the vector; blur does so too little, hence the sharpness.
        quality=QualityRule(sharpness=(2.0, 14.0), vector_norm=(10.0, 20.0)),
        # Precision is 1.0 from 0.97 to 1.08; at 1.19 tracks of two people appear.
        tracking=TrackRule(max_distance=1.05, min_difference=0.6),
        grouping=GroupingRule(
            # No effect from 0.70 to 0.95; at 0.99 clips lose precision.
            dbscan=DbscanRule(eps=0.85, min_samples=2),
            # Precision is 1.0 from 1.10 to 1.17, on photos, clips and all of them in one store;
            # 0.998 at 1.18, 0.987 at 1.22.
            agglomeration=AgglomerationRule(max_distance=1.15, thin_distance=1.05),
            # From 1.10 the small distance mixes strangers into small groups. By the distance of
            # centres, 0.97 of labelled tracks find their person where one stranger in a thousand
            # does; by that of faces, 0.91. One stranger in 300 is within 1.08 of the nearest of 60
            # people, one in 100 within 1.10, no matter how many faces the centre is made of.
            assignment=AssignmentRule(
                max_distance=1.15, thin_distance=1.0, centre_distance=1.08, centre_faces=4
            ),
            # Precision on clips is 1.0 up to 1.28 and a gap of 0.05. Of 91 labelled tracks, with
            # all others of their person taken away, one face joins another person from 1.14 to
            # 1.20, and five tracks of 16 faces do at 1.24.
            recording=RecordingRule(max_distance=1.17, min_gap=0.08),
        ),
        plain_dbscan=DbscanRule(eps=1.0, min_samples=5),
        # As for dlib: 3 of 4, and 57 of 60.
        outliers=OutlierRule(min_distance=1.1),
        # As for dlib. Of pairs with p >= 0.6, 0.97 are one person where both are labelled, and at
        # least 0.81 of all.
        suggestions=SuggestionRule(
            margin=0.12,
            intercept=23.36,
            distance=-19.43,
            gap=16.01,
            gap_range=(-0.1, 0.2),
            quality=-6.26,
            log_ratio=1.26,
            near_miss=NearMissRule(
                intercept=13.8, distance=-16.4, gap=6.1, quality=6.1, log_tracks=0.5
            ),
            # As for dlib: said to be 0.81 likely, 0.86 are right; at 0.94, 0.95; from 0.97 on, 1.0.
            identification=NearMissRule(
                intercept=15.1, distance=-16.2, gap=25.4, max_gap=0.3, log_tracks=-0.61
            ),
        ),
        near_duplicate=0.49,
    ),
)

SFACE = EmbedderCard(
    name="sface",
    role="embedder",
    file=ModelFile(
        "face_recognition_sface_2021dec.onnx",
        "0ba9fbfa01b5270c96627c4ef784da859931e02f04419c829e83484087c34e79",
        "run: portraitd models add sface",
    ),
    size_bytes=38_696_353,
    licence="Apache-2.0 (opencv_zoo, models/face_recognition_sface)",
    trained_on="MS-Celeb-1M and others: faces of celebrities, collected without their consent",
    url=(
        "https://github.com/opencv/opencv_zoo/raw/main/"
        "models/face_recognition_sface/face_recognition_sface_2021dec.onnx"
    ),
    purpose="recognises faces; from OpenCV's model zoo",
    space="sface-2021dec",
    embedding_size=128,
    alignment="arcface",
    channels="bgr",
    rules=None,
)

DETECTORS = {card.name: card for card in (MMOD_CARD, YUNET)}
EMBEDDERS = {card.name: card for card in (DLIB, MOBILEFACENET, SFACE)}
CARDS: dict[str, ModelCard] = {**DETECTORS, **EMBEDDERS}

INSTALLED = ("mmod", "dlib")
"""Models that are installed with portraitd."""

RECOMMENDED = (YUNET, MOBILEFACENET)
"""What ``portraitd models add recommended`` adds."""
