"""Counters of the datasets room."""

from teiten.foundation.metrics import Counter

IMPORTS = Counter("teiten_datasets_imports_total", "Imports of survey lists, by outcome.", ["outcome"])
ENTRIES = Counter(
    "teiten_datasets_entries_total", "Entries of survey lists, by what became of them.", ["done"]
)
PUBLICATIONS = Counter("teiten_datasets_publications_total", "Survey lists given to the loader.")
NOTES = Counter(
    "teiten_datasets_notes_total",
    "Annotations and names of fingerprints, by what was done.",
    ["kind", "done"],
)
