"""Settings that cannot be used are named where they stand, with what was probably meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.errors import UsageError
from gateway.settings import load_settings

SOUND = "policy: policies/observe\nupstreams: [{url: 'https://api.example.com'}]\n"
MISTAKES = {
    "at the top": ("polcy: x\n" + SOUND, "polcy: no such setting; did you mean policy?"),
    "in a group": (
        SOUND + "linker: {tiks: 3}",
        "linker.tiks: no such setting; did you mean tick_s?",
    ),
    "in a list": (
        SOUND.replace("'}]", "', header_timeout: 3}]"),
        "upstreams.0.header_timeout: no such setting; did you mean header_timeout_s?",
    ),
    "far from everything": (SOUND + "zzzzzz: 1", "zzzzzz: no such setting"),
}


@pytest.mark.parametrize(("text", "said"), MISTAKES.values(), ids=MISTAKES)
def test_a_misspelt_setting_is_told_with_its_place(text: str, said: str, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(text)
    with pytest.raises(UsageError) as raised:
        load_settings(config, {})
    assert f"{config}: {said}" in str(raised.value).splitlines()
