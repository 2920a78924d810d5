from __future__ import annotations

import pytest
import torch

from saescape.contrastive._augment import Views, random_view

NOTHING = Views(turns=False, flips=False, shift=0, intensity=0, noise=0)
SD = torch.ones(2, 1, 1)


@pytest.fixture
def crops():
    return torch.rand(40, 2, 16, 16, generator=torch.Generator().manual_seed(0)) + 0.1


def view(crops, **changed):
    settings = Views(**{**vars(NOTHING), **changed})
    return random_view(crops, settings, SD, torch.Generator().manual_seed(1))


def test_nothing_changes_nothing(crops):
    assert torch.equal(view(crops), crops)


@pytest.mark.parametrize("changed", [{"turns": True}, {"flips": True}, {"turns": True, "flips": True}])
def test_turns_and_flips_move_pixels_only(crops, changed):
    seen = view(crops, **changed)
    assert not torch.equal(seen, crops)
    torch.testing.assert_close(seen.flatten(2).sort().values, crops.flatten(2).sort().values)


def test_each_crop_is_one_of_its_eight_images(crops):
    seen = view(crops, turns=True, flips=True)
    for crop, other in zip(crops, seen, strict=True):
        images = [torch.rot90(c, q, (1, 2)) for c in (crop, crop.flip(2)) for q in range(4)]
        assert any(torch.equal(image, other) for image in images)


def test_oblong_crops_keep_their_shape(crops):
    seen = view(crops[:, :, :, :12], turns=True)
    assert seen.shape == (40, 2, 16, 12)


def test_shift_moves_in_zeros(crops):
    seen = view(crops, shift=0.25)
    moved = [i for i in range(40) if not torch.equal(seen[i], crops[i])]
    assert len(moved) > 30
    # within the reach of 4 pixels, the inner 8 x 8 pixels of the crop are still there
    for i in moved:
        windows = seen[i].unfold(1, 8, 1).unfold(2, 8, 1)
        inner = crops[i, :, 4:12, 4:12][:, None, None]
        assert bool((windows == inner).all((0, 3, 4)).any())


def test_intensity_and_noise_leave_the_outside_zero(crops):
    crops[:, :, :4] = 0
    seen = view(crops, intensity=0.3, noise=0.3)
    assert bool((seen[:, :, :4] == 0).all())
    assert not torch.equal(seen, crops)


def test_intensity_is_one_gain_and_offset_per_channel(crops):
    seen = view(crops, intensity=0.3)
    for i in range(3):
        for c in range(2):
            a, b = crops[i, c].flatten(), seen[i, c].flatten()
            assert float(torch.corrcoef(torch.stack([a, b]))[0, 1]) == pytest.approx(1, abs=1e-5)
