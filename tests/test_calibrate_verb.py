"""What `eventdrill calibrate` says of the profile that it wrote."""

from pathlib import Path

import pytest

from eventdrill.verbs.calibrate import UNSURE, _finish
from eventdrill.workflows.calibrate import shipped_base


@pytest.mark.parametrize(("uncertainty", "warned"), [(UNSURE, False), (1.19, True)])
def test_a_profile_too_uncertain_for_verdicts_is_written_with_a_warning(
    uncertainty: float, warned: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = shipped_base()
    profile = base.model_copy(update={"produce": base.produce.model_copy(update={"scale_sd": uncertainty})})

    _finish(profile, tmp_path / "profile.yaml")
    said = capsys.readouterr().err

    assert (tmp_path / "profile.yaml").is_file()
    assert f"may all be {uncertainty:.0%} shorter or longer" in said
    assert ("calibrate again, beside no other work" in said) is warned
