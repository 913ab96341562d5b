"""check_injector: everything that a conditioning method owes to whoever mounts it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from cdkit.parts import Widths
from cdkit.testing import injector_craft as craft
from cdkit.testing import injector_elsewhere as elsewhere
from cdkit.testing import injector_life as life
from cdkit.testing import injector_masks as masks
from cdkit.testing.case import EVERY_FORM, InjectorCase, InjectorFactory
from cdkit.testing.verdict import run

INJECTOR_CHECKS: Mapping[str, Callable[[InjectorCase], None]] = {
    "refusal": craft.check_refusal,
    "place": life.check_place,
    "backbone": life.check_backbone,
    "identity": life.check_identity,
    "learns": life.check_learns,
    "matters": life.check_matters,
    "everywhere": life.check_everywhere,
    "shapes": life.check_shapes,
    "padding": masks.check_padding,
    "poison": masks.check_poison,
    "silence": masks.check_silence,
    "masking": masks.check_masking,
    "mask types": masks.check_mask_types,
    "word order": masks.check_word_order,
    "batch order": masks.check_batch_order,
    "alone": masks.check_alone,
    "prepare": craft.check_prepare,
    "random state": craft.check_random_state,
    "dtypes": craft.check_dtypes,
    "large": craft.check_large,
    "state dict": craft.check_state_dict,
    "gradients": craft.check_gradients,
    "adaptable": craft.check_adaptable,
    "meta": elsewhere.check_meta,
    "copies": elsewhere.check_copies,
    "devices": elsewhere.check_devices,
    "compile": elsewhere.check_compile,
}


def check_injector(
    factory: InjectorFactory, *, widths: tuple[Widths, ...] = (EVERY_FORM,), exceptions: Mapping[str, str] | None = None
) -> None:
    """Run every check on an injector: `factory(streams, widths)`, its options bound with functools.partial.

    widths: of the streams it reads. exceptions: check -> the reason why this method need not pass it; a check that is
    excepted and passes is an error too. Raises AssertionError that names the check, what was measured and what is allowed.
    """
    run(INJECTOR_CHECKS, InjectorCase({"injector": factory}, widths), exceptions or {})
