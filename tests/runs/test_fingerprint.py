"""What a result depends on: modules that it imports, data beside them, and not what is written about them."""

from aura_study.runs.fingerprint import PACKAGE, imported_files


def test_data_beside_a_module_count_and_a_readme_does_not() -> None:
    """AURA's log is read by the module that stands beside it; the folder's README decides nothing."""
    names = {path.relative_to(PACKAGE).as_posix() for path in imported_files(["import aura_study.data.sources"])}
    assert {"data/sources.py", "data/v10_2_training_log.csv"} <= names
    assert (PACKAGE / "data" / "README.md").is_file()
    assert not [name for name in names if name.endswith(".md")]
