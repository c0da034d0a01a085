"""The ledger of edits, and what it says about the faces of today."""
