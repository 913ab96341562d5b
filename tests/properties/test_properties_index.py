"""The forty properties that numbers keep, each with the tests that hold it; checks of the kit stand for every part that there is."""
# ruff: noqa: E501  a table reads better whole

from __future__ import annotations

from pathlib import Path

import pytest
from indexed import check_named

ROOT = Path(__file__).parents[2]
DIFFUSION = "tests/core/diffusion/"
ENGINE = "tests/core/engine/"
SAMPLERS = "tests/plugins/samplers/"
CFG = "tests/plugins/guiders/test_cfg.py::"
UNET = "tests/plugins/unet/"
ENCODERS = "tests/plugins/encoders/"
MASKS = "core/cdkit/testing/injector_masks.py::"
CRAFT = "core/cdkit/testing/injector_craft.py::"
LIFE = "core/cdkit/testing/injector_life.py::"

INDEX: dict[int, tuple[str, tuple[str, ...]]] = {
    1: ("order on Gaussian data", (f"{SAMPLERS}test_sampler_order.py::test_order", f"{SAMPLERS}test_sampler_order.py::test_the_corrector_is_worth_an_order")),
    2: ("a mixture, exactly", (f"{SAMPLERS}test_sampler_mixture.py::test_a_conditional_mixture_is_drawn", f"{SAMPLERS}test_sampler_mixture.py::test_the_check_notices_coarse_steps_and_swapped_conditions")),
    3: ("ddpm's posterior", (f"{SAMPLERS}test_sampler_closed_forms.py::test_ddpm_draws_from_the_posterior_at_every_step", f"{SAMPLERS}test_sampler_closed_forms.py::test_the_large_variance_is_that_of_noising")),
    4: ("noising in two goes", (f"{DIFFUSION}test_schedule.py::test_noising_in_two_goes_is_noising_in_one",)),
    5: ("noise grows at every step", (f"{DIFFUSION}test_schedule.py::test_noise_grows_at_every_step",)),
    6: ("zero terminal SNR", (f"{DIFFUSION}test_schedule.py::test_zero_terminal_snr_is_exact", f"{DIFFUSION}test_process.py::test_epsilon_where_nothing_is_left_is_refused_with_the_reason")),
    7: ("predictions go round", (f"{DIFFUSION}test_prediction.py::test_round_trips", f"{DIFFUSION}test_prediction.py::test_an_output_of_one_kind_becomes_that_of_another")),
    8: ("ddim's eta", (f"{SAMPLERS}test_sampler_closed_forms.py::test_ddim_without_eta_repeats_itself_bit_for_bit", f"{SAMPLERS}test_sampler_closed_forms.py::test_fresh_noise_has_eta_squared_of_the_posteriors_variance")),
    9: ("parity with diffusers", (f"{SAMPLERS}test_sampler_parity.py::test_parity", f"{SAMPLERS}test_sampler_parity.py::test_there_are_cells_enough")),
    10: ("a grid of one's own", (f"{SAMPLERS}test_sampler_conformance.py::test_a_grid_written_by_hand_is_as_good_as_cores",)),
    11: ("linearity", (f"{SAMPLERS}test_sampler_conformance.py::test_linear_in_the_noise_where_the_denoiser_is",)),
    12: ("guidance", (f"{CFG}test_one_and_nothing_are_one_branch_bit_for_bit", f"{CFG}test_affine_in_the_scale", f"{CFG}test_guidance_is_one_call_of_twice_the_rows")),
    13: ("a new method is the backbone alone", (f"{LIFE}check_identity", f"{LIFE}check_backbone", "tests/grid/test_grid.py::test_grid")),
    14: ("and it can learn", (f"{LIFE}check_learns", f"{LIFE}check_matters")),
    15: ("padding changes nothing", (f"{MASKS}check_padding", "tests/plugins/injectors/test_injector_meaning.py::test_padding_in_float32")),
    16: ("poisoned padding", (f"{MASKS}check_poison",)),
    17: ("masks that keep all, or cut", (f"{MASKS}check_masking",)),
    18: ("no word that counts", (f"{MASKS}check_silence", "tests/plugins/injectors/test_injector_meaning.py::test_no_word_that_counts_leaves_h_bit_for_bit")),
    19: ("types of masks", (f"{MASKS}check_mask_types", "tests/plugins/injectors/test_injector_meaning.py::test_a_mask_of_another_type_is_refused")),
    20: ("an encoder's batch", ("core/cdkit/testing/encoders.py::check_batch", f"{ENCODERS}test_bytes.py::test_neither_batch_nor_padding_matters", f"{ENCODERS}test_pretrained.py::test_neither_batch_nor_padding_matters")),
    21: ("order of words", (f"{MASKS}check_word_order",)),
    22: ("order of a batch", (f"{MASKS}check_batch_order", "core/cdkit/testing/samplers.py::check_batch")),
    23: ("a generator a picture", (f"{SAMPLERS}test_sampler_conformance.py::test_a_pictures_fresh_noise_is_its_generators_alone", "tests/core/model/test_draw.py::test_the_batch_size_changes_nothing")),
    24: ("moved pictures", (f"{UNET}test_unet_sizes.py::test_a_picture_that_is_moved_is_answered_moved",)),
    25: ("every size", (f"{UNET}test_unet_sizes.py::test_every_size_is_drawn_or_refused_with_the_multiple", f"{UNET}test_unet_sizes.py::test_the_classic_one_takes_every_size")),
    26: ("gradients by differences", (f"{CRAFT}check_gradients", f"{UNET}test_unet_parts.py::test_gradients_of_a_residual_block_and_a_transformer", "tests/plugins/dit/test_dit.py::test_gradients_of_a_block")),
    27: ("gradient checkpointing", (f"{ENGINE}test_equalities.py::test_made_again_or_kept_loss_and_gradients_are_the_same", f"{ENGINE}test_ranks.py::test_what_is_not_kept_is_made_again_to_the_bit")),
    28: ("accumulation", (f"{ENGINE}test_equalities.py::test_a_batch_and_its_parts_accumulated_have_one_gradient",)),
    29: ("averages", (f"{ENGINE}test_train.py::test_the_average_follows_its_closed_form", f"{ENGINE}test_equalities.py::test_the_average_of_half_precision_weights_moves", f"{ENGINE}test_power_ema.py::test_a_tracked_average_is_the_weighed_sum")),
    30: ("gradients that are no numbers", (f"{ENGINE}test_faults.py::test_a_number_that_goes_wrong_spoils_no_checkpoint",)),
    31: ("a loss that is none", (f"{ENGINE}test_train.py::test_numbers_that_go_wrong_are_caught_before_the_update", f"{ENGINE}test_faults.py::test_a_pixel_that_is_no_number_spoils_no_checkpoint")),
    32: ("large activations", (f"{CRAFT}check_large", f"{CRAFT}check_dtypes")),
    33: ("silences", (f"{DIFFUSION}test_counted_randomness.py::test_what_is_below_p_happens_with_probability_p_for_each_condition_by_itself", f"{ENGINE}test_train.py::test_silences_are_counted_and_as_often_as_the_spec_says")),
    34: ("times", (f"{DIFFUSION}test_process.py::test_every_step_of_training_is_drawn_equally_often", f"{DIFFUSION}test_process.py::test_flow_times_are_uniform_or_logit_normal")),
    35: ("noise", (f"{DIFFUSION}test_counted_randomness.py::test_two_hundred_thousand_keys_are_distinct", f"{DIFFUSION}test_counted_randomness.py::test_a_million_keys_are_distinct", f"{DIFFUSION}test_counted_randomness.py::test_no_two_noises_are_alike")),
    36: ("resume at every step", (f"{ENGINE}test_resume.py::test_resumed_after_every_one_of_sixty_steps_it_is_bit_equal",)),
    37: ("workers", (f"{ENGINE}test_resume.py::test_workers_and_a_resume_change_nothing", f"{DIFFUSION}test_counted_randomness.py::test_workers_draw_what_one_process_draws")),
    38: ("saved again", (f"{ENGINE}test_equalities.py::test_what_is_loaded_and_saved_again_has_the_same_bytes", f"{ENGINE}test_compatibility.py::test_an_old_run_is_what_it_was")),
    39: ("eight pictures by heart", (f"{ENGINE}test_equalities.py::test_eight_pictures_are_learned_by_heart_with_their_captions",)),
    40: ("compare A with A", ("tests/core/compare/test_verdict.py::test_an_arm_and_itself_differ_by_nothing", "tests/core/compare/test_verdict.py::test_exchanging_the_arms_mirrors_it", "tests/core/compare/test_comparing.py::test_exchanging_the_reference_mirrors_the_verdict")),
}  # fmt: skip


def test_every_number_has_a_test() -> None:
    assert sorted(INDEX) == list(range(1, 41))
    assert all(tests for _, tests in INDEX.values())


@pytest.mark.parametrize("number", INDEX)
def test_the_tests_that_are_named_exist(number: int) -> None:
    check_named(number, INDEX[number][1], ROOT, ("test_", "check_"))  # the kit's checks too
