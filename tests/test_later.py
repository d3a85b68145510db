"""Modules that come when they are imported: the finder alone, with a wheel on this disk instead of one on a server."""

import io
import sys
import zipfile

import pytest

from grpo_lessons.web import later

WHEEL = "shelved-1-py3-none-any.whl"


@pytest.fixture
def page(tmp_path, monkeypatch):
    """A Python with a finder for the wheel, whose first module travelled ahead; and what it has fetched."""
    packages, fetched, archive = tmp_path / "site-packages", [], io.BytesIO()
    with zipfile.ZipFile(archive, "w") as wheel:
        wheel.writestr("shelved/__init__.py", "name = 'shelved'")
        wheel.writestr("shelved/far.py", "from shelved.farther import distance")
        wheel.writestr("shelved/farther.py", "distance = 2")
        wheel.writestr("tongs/__init__.py", "from tongs.jaws import grip")
        wheel.writestr("tongs/jaws.py", "grip = 'firm'")
    (packages / "shelved").mkdir(parents=True)
    (packages / "shelved" / "__init__.py").write_text("name = 'shelved'")

    def download(name):
        fetched.append(name)
        return archive.getvalue()

    finder = later.Later({WHEEL: ["shelved.far", "shelved.farther", "tongs", "tongs.jaws"]}, lazy=("tongs",))
    monkeypatch.setattr(later, "download", download)
    monkeypatch.setattr(sys, "path", [str(packages), *sys.path])
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, finder])
    yield fetched
    for name in [name for name in sys.modules if name.partition(".")[0] in ("shelved", "tongs")]:
        del sys.modules[name]


def test_a_module_that_is_imported_brings_its_archive_once(page):
    import shelved

    assert (shelved.name, page) == ("shelved", [])
    from shelved.far import distance

    assert (distance, page) == (2, [WHEEL])


def test_what_no_archive_has_is_missing_without_a_request(page):
    with pytest.raises(ModuleNotFoundError):
        import shelved.nowhere  # noqa: F401
    assert page == []


def test_a_lazy_module_comes_when_it_is_used(page):
    import tongs

    assert page == []
    assert (tongs.grip, page) == ("firm", [WHEEL])


def test_steps_of_fetching_are_not_counted_as_the_importers(page):
    before, steps = sys.gettrace(), set()

    def watch(frame, event, arg):
        steps.add(frame.f_code.co_name)
        return watch

    sys.settrace(watch)
    try:
        import shelved.far  # noqa: F401
    finally:
        sys.settrace(before)
    assert "find_spec" in steps and not {"unpack", "extractall"} & steps


def test_without_a_network_the_import_fails_as_any_other(page, monkeypatch):
    def fail(name):
        raise OSError(f"{name}: 404")

    monkeypatch.setattr(later, "download", fail)
    with pytest.raises(ModuleNotFoundError, match=r"shelved\.far"):
        import shelved.far  # noqa: F401
    import tongs

    with pytest.raises(ModuleNotFoundError, match="tongs could not be fetched"):
        tongs.grip  # noqa: B018


def test_the_standard_library_is_made_whole_in_both_its_places(tmp_path, monkeypatch):
    zipped, packages, whole = tmp_path / "python314.zip", tmp_path / "site-packages", io.BytesIO()
    (packages / "email").mkdir(parents=True)
    with zipfile.ZipFile(whole, "w") as archive:
        for name in ("email/header.py", "unittest/mock.py", "token.py"):
            archive.writestr(name, "")
    monkeypatch.setattr(sys, "path", [str(zipped), str(packages)])
    later.unpack(later.STDLIB, whole.getvalue())
    assert zipped.read_bytes() == whole.getvalue()
    assert [file.name for file in packages.rglob("*.py")] == ["header.py"]
