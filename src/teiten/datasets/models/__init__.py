"""Data that are not packets: survey lists, names of fingerprints, annotations."""

from teiten.datasets.models.annotations import Annotation, AnnotationKind
from teiten.datasets.models.names import FingerprintKind, FingerprintName
from teiten.datasets.models.surveys import (
    EntryKind,
    ListFormat,
    SurveyEntry,
    SurveyImport,
    SurveyList,
)

__all__ = [
    "Annotation",
    "AnnotationKind",
    "EntryKind",
    "FingerprintKind",
    "FingerprintName",
    "ListFormat",
    "SurveyEntry",
    "SurveyImport",
    "SurveyList",
]
