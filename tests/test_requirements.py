"""What is installed: exact versions, and files known by their hashes wherever they come from."""

import re

from packaging.utils import canonicalize_name

from tests.conftest import PROJECT


def test_the_list_with_hashes_has_the_versions_of_the_list_without_and_no_address() -> None:
    wanted = {
        canonicalize_name(name): version
        for name, version in re.findall(r"^([\w.-]+)==(\S+)$", (PROJECT / "requirements.in").read_text(), re.MULTILINE)
    }
    text = (PROJECT / "requirements.txt").read_text()
    entries = re.findall(r"^([\w.-]+)==(\S+) ((?:\\\n    --hash=sha256:[0-9a-f]{64} ?)+)$", text, re.MULTILINE)
    assert {name: version for name, version, _ in entries} == wanted
    assert len(text.splitlines()) == 2 + sum(1 + hashes.count("--hash") for *_, hashes in entries)
