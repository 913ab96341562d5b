"""The catalogue of 125 bad inputs, each with the tests that prove what becomes of it."""
# ruff: noqa: E501  a table reads better whole

from __future__ import annotations

from pathlib import Path

import pytest
from indexed import check_named

TESTS = Path(__file__).parents[1]
SPECS = "hostile/test_hostile_specs.py::"
FILES, BENT, BUILT, MISREAD = (
    f"{SPECS}test_a_file_that_is_no_spec", f"{SPECS}test_a_bent_spec", f"{SPECS}test_parts_that_do_not_fit",
    f"{SPECS}test_what_other_readers_misread",
)  # fmt: skip
PROMPTS = "hostile/test_hostile_prompts.py::"
DATA = "hostile/test_hostile_data.py::"
PICTURE = f"{DATA}test_a_bad_picture_in_a_folder"
TOLD = f"{DATA}test_what_is_changed_or_dropped_is_told"
FOLDER = "plugins/data/test_data_folder.py::"
BUNDLE = "hostile/test_hostile_checkpoints.py::"
DAMAGE = f"{BUNDLE}test_a_bad_checkpoint_is_not_drawn_from"
PLUGINS = "core/registry/test_hostile_plugins.py::"
NAMED = f"{PLUGINS}test_one_named_error_for_one_that_fails_when_it_is_named"
UNBROKEN = f"{PLUGINS}test_other_commands_are_unbroken_with_all_of_them_installed"
PROBE = f"{PLUGINS}test_a_probe_outlives_what_ends_a_process"
KIT = "core/testing/test_kit_catches.py::"
PLACE = "hostile/test_hostile_environment.py::"
ENGINE = "core/engine/"

INDEX: dict[int, tuple[str, tuple[str, ...]]] = {
    # specs
    1: ("empty file", (f"{FILES}[1 empty]", f"{FILES}[1 comments alone]")),
    2: ("a list or a scalar at the top", (f"{FILES}[2 a list]", f"{FILES}[2 a scalar]")),
    3: ("two documents", (f"{FILES}[3 two documents]",)),
    4: ("NUL", (f"{FILES}[4 NUL]",)),
    5: ("invalid UTF-8", (f"{FILES}[5 no UTF-8]",)),
    6: ("byte order mark, UTF-16", (f"{MISREAD}[6 a byte order mark]", f"{FILES}[6 UTF-16]")),
    7: ("tab", (f"{BENT}[7 tab]",)),
    8: ("duplicate key", (f"{BENT}[8 duplicate key]",)),
    9: ("unknown key", (f"{BENT}[9 unknown key]",)),
    10: ("missing key", (f"{BENT}[10 missing key]",)),
    11: ("wrong type", (f"{BENT}[11 wrong type]",)),
    12: ("1e-4 is a number", (f"{MISREAD}[12 a number]",)),
    13: ("no and on are text", (f"{MISREAD}[13 no]", f"{MISREAD}[13 on]")),
    14: ("12:30:45, 010, 1.10", (f"{BENT}[14 sixty-based]", f"{BENT}[14 octal]", f"{BENT}[14 a version]")),
    15: ("dates and typed nothing", (f"{BENT}[15 a date]", f"{FILES}[15 an empty integer]", f"{FILES}[15 a truth value]")),
    16: ("NaN and infinity", (f"{BENT}[16 nan]", f"{BENT}[16 infinity]")),
    17: ("integers without end", (f"{BENT}[17 5,000 digits]", f"{BENT}[17 100 KB of hex]")),
    18: ("out of range", (f"{BENT}[18 negative width]", f"{BENT}[18 no steps]", f"{BENT}[18 no batch]", f"{BENT}[18 p above 1]")),
    19: ("heads that do not divide", (f"{BUILT}[19 heads]", f"{BUILT}[19 heads of the network]")),
    20: ("unknown part", (f"{BENT}[20 unknown part]",)),
    21: ("imports for names", (f"{BENT}[21 dotted path]", f"{BENT}[21 _target_]", f"{FILES}[21 a python object]")),
    22: ("anchors, aliases, merge keys", (f"{FILES}[22 an anchor]", f"{FILES}[22 an alias]", f"{FILES}[22 of itself]", f"{FILES}[22 merge]")),
    23: ("billion laughs", (f"{FILES}[23 billion laughs]", f"{SPECS}test_bombs_are_refused_at_once[23 billion laughs]")),
    24: ("100,000 brackets", (f"{FILES}[24 deep]", f"{SPECS}test_bombs_are_refused_at_once[24 deep]")),
    25: ("too large", (f"{FILES}[25 ten megabytes]", f"{FILES}[25 a million keys]", f"{FILES}[25 many keys]")),
    26: ("a circle of specs", (f"{BENT}[26 of itself]", f"{BENT}[26 in a circle]")),
    27: ("interpolation", (f"{BENT}[27 a variable]", f"{BENT}[27 a command]", f"{MISREAD}[27 kept as text]")),
    28: ("URLs and paths for names", (f"{BENT}[28 a URL]", f"{BENT}[28 absolute]", f"{BENT}[28 climbing]")),
    29: ("a stream that an injector cannot use", (f"{BUILT}[29 a form that it lacks]",)),
    30: ("resolution", (f"{BUILT}[30 resolution]",)),
    31: ("sites and twins", (f"{BUILT}[31 no such site]", f"{SPECS}test_two_injectors_of_one_name")),
    32: ("a later schema", (f"{BENT}[32 a later schema]",)),
    33: ("an older schema", (f"{BENT}[33 an older schema]",)),
    34: ("no file", (f"{SPECS}test_what_is_no_file",)),
    35: ("zero-width letters", (f"{BENT}[35 zero width]", f"{BENT}[35 right to left]")),
    36: ("larger than the machine", (f"{SPECS}test_a_model_larger_than_the_machine", f"{SPECS}test_layers_without_end", f"{BUILT}[36 beyond 64 bits]", f"{BUILT}[36 an encoder]")),
    # prompts
    37: ("empty", (f"{PROMPTS}test_white_space_says_nothing_and_draws_what_silence_draws",)),
    38: ("white space", (f"{PROMPTS}test_white_space_says_nothing_and_draws_what_silence_draws",)),
    39: ("10,000 words", (f"{PROMPTS}test_ten_thousand_words_are_cut_and_it_is_told", "plugins/encoders/test_pretrained.py::test_long_prompts_are_cut")),
    40: ("a megabyte", (f"{PROMPTS}test_a_prompt_that_is_no_text[40 a megabyte]", f"{PROMPTS}test_a_file_that_holds_no_prompts[40 seventeen megabytes]")),
    41: ("NUL", (f"{PROMPTS}test_a_prompt_that_is_no_text[41 NUL]", f"{PROMPTS}test_a_file_that_holds_no_prompts[41 NUL in a file]")),
    42: ("half a surrogate pair", (f"{PROMPTS}test_a_prompt_that_is_no_text[42 half a pair]",)),
    43: ("emoji and normal forms", (f"{PROMPTS}test_emoji_and_both_normal_forms",)),
    44: ("right to left", (f"{PROMPTS}test_what_turns_text_around_stays_inert", f"{PROMPTS}test_a_prompt_that_is_no_text[44 marks without end]")),
    45: ("a language that it does not know", ("plugins/encoders/test_pretrained.py::test_a_language_that_it_cannot_read_is_said_once",)),
    46: ("a tokenizer's marks", (f"{PROMPTS}test_marks_of_tokenizers_and_templates_are_text", "plugins/encoders/test_pretrained.py::test_marks_in_a_prompt_are_text")),
    47: ("file names", (f"{PROMPTS}test_file_names_are_safe_and_nothing_is_overwritten",)),
    48: ("terminal escapes", (f"{PROMPTS}test_what_turns_text_around_stays_inert",)),
    49: ("HTML", ("hostile/test_hostile_report.py::test_a_prompt_cannot_write_the_report",)),
    50: ("templates", (f"{PROMPTS}test_marks_of_tokenizers_and_templates_are_text",)),
    51: ("line ends", (f"{PROMPTS}test_a_file_of_prompts_is_the_same_prompts[51 CRLF]", f"{PROMPTS}test_a_file_of_prompts_is_the_same_prompts[51 blank lines and no end]")),
    52: ("Latin-1", (f"{PROMPTS}test_a_file_that_holds_no_prompts[52 Latin-1]",)),
    # pictures and data
    53: ("truncated", (f"{PICTURE}", f"{DATA}test_a_bad_picture_to_set_out_from", f"{DATA}test_a_bad_picture_as_a_condition")),
    54: ("PNG without its end", (TOLD, f"{FOLDER}test_a_png_without_its_end_is_noted")),
    55: ("no image", (PICTURE,)),
    56: ("CMYK", (TOLD, f"{FOLDER}test_cmyk_is_converted_and_noted")),
    57: ("16-bit grey", (f"{FOLDER}test_sixteen_bit_grey_is_scaled_not_clipped",)),
    58: ("floating point", (PICTURE,)),
    59: ("transparency", (f"{FOLDER}test_transparency_lies_on_the_background",)),
    60: ("EXIF", (f"{FOLDER}test_exif_rotation_is_applied",)),
    61: ("animation", (TOLD, f"{FOLDER}test_an_animation_gives_its_first_frame")),
    62: ("1x1", (PICTURE, f"{FOLDER}test_a_small_picture_is_enlarged_only_if_asked")),
    63: ("30000x1", (PICTURE,)),
    64: ("13000 x 13000", (f"{DATA}test_a_bomb_is_refused_before_it_is_decoded", PICTURE)),
    65: ("20000 x 20000", (PICTURE,)),
    66: ("0x0", (PICTURE,)),
    67: ("a bomb of text", (PICTURE,)),
    68: ("bad checksum", (PICTURE, f"{DATA}test_a_bad_picture_to_set_out_from", f"{DATA}test_a_bad_picture_as_a_condition")),
    69: ("another format", (PICTURE, f"{DATA}test_pictures_that_are_given_are_held_to_the_same")),
    70: ("broken colour profile", (TOLD, f"{FOLDER}test_a_broken_colour_profile_is_dropped")),
    71: ("no caption", (f"{DATA}test_a_bad_line[71 no caption]", f"{DATA}test_a_bad_line[71 null]")),
    72: ("empty caption", (TOLD, f"{FOLDER}test_an_empty_caption_says_nothing_and_is_counted")),
    73: ("twice the same", (TOLD, f"{FOLDER}test_equal_pictures_are_joined_with_a_warning")),
    74: ("captions that are no text", (f"{DATA}test_a_bad_manifest[74 Latin-1]", f"{DATA}test_a_bad_manifest[74 no JSON]", f"{DATA}test_a_bad_manifest[74 half a pair]")),
    75: ("CSV", (f"{DATA}test_a_bad_manifest[75 wrong columns]", f"{DATA}test_a_bad_manifest[75 stray quotes]", f"{DATA}test_a_byte_order_mark_is_no_part_of_a_column")),
    76: ("out of the folder", (f"{DATA}test_a_bad_line[76 climbing]", f"{DATA}test_a_bad_line[76 a link]", f"{FOLDER}test_paths_stay_in_the_folder")),
    77: ("fewer than a batch", (f"{DATA}test_fewer_pictures_than_a_batch_are_counted",)),
    78: ("no picture", (f"{DATA}test_a_bad_manifest[78 empty]", f"{DATA}test_a_training_whose_data_is_bad_leaves_nothing")),
    79: ("gone in mid-epoch", (f"{ENGINE}test_faults.py::test_a_picture_that_cannot_be_read_is_told_with_what_was_saved", f"{DATA}test_a_bad_line[79 gone]")),
    80: ("other pictures", (f"{ENGINE}test_faults.py::test_other_pictures_are_not_gone_on_with_unless_that_is_asked_for",)),
    # checkpoints
    81: ("truncated", (f"{DAMAGE}[81 cut to nothing]", f"{DAMAGE}[81 manifest cut]", f"{ENGINE}test_checkpoint.py::test_every_truncation_is_found")),
    82: ("a bit", (f"{DAMAGE}[82 a bit of the weights]", f"{DAMAGE}[82 a state that is none]", f"{ENGINE}test_checkpoint.py::test_every_flipped_bit_is_found")),
    83: ("missing", (f"{DAMAGE}[83 no file]", f"{DAMAGE}[83 no manifest]")),
    84: ("a file more", (f"{BUNDLE}test_a_file_more_changes_nothing", f"{ENGINE}test_runs.py::test_oddities_are_notes")),
    85: ("another shape", (f"{DAMAGE}[85 another shape]",)),
    86: ("keys", (f"{DAMAGE}[86 a key less]", f"{DAMAGE}[86 a key more]")),
    87: ("another kind of number", (f"{DAMAGE}[87 integers]", f"{DAMAGE}[87 complex]")),
    88: ("NaN", (f"{DAMAGE}[88 NaN]", f"{DAMAGE}[88 infinity]")),
    89: ("a later schema", (f"{DAMAGE}[89 a later schema]",)),
    90: ("parts that are not here", (f"{BUNDLE}test_parts_that_are_not_installed_are_named_with_what_to_install",)),
    91: ("parts of another version", (f"{BUNDLE}test_another_version_of_a_plugin_is_told", f"{BUNDLE}test_another_version_of_a_plugin_is_refused_if_that_is_asked_for")),
    92: ("a pickle", (f"{BUNDLE}test_a_pickle_is_not_run", f"{DAMAGE}[92 a header without end]")),
    93: ("half-written", (f"{ENGINE}test_checkpoint.py::test_what_a_killed_save_left_is_cleared",)),
    94: ("the same step again", (f"{ENGINE}test_checkpoint.py::test_killed_between_the_two_renames_of_a_second_save_nothing_is_lost",)),
    95: ("a run that cannot be written", (f"{BUNDLE}test_a_run_that_is_started_from_stays_as_it_is",)),
    96: ("another spec", (f"{ENGINE}test_train.py::test_another_spec_is_refused_with_the_difference",)),
    # plugins
    97: ("ImportError", (f"{NAMED}[lacking]", UNBROKEN)),
    98: ("SyntaxError", (f"{NAMED}[syntax]", UNBROKEN)),
    99: ("a crash at import", (f"{PROBE}[violently]", UNBROKEN)),
    100: ("sys.exit at import", (f"{NAMED}[exits]", UNBROKEN)),
    101: ("one name twice", ("core/registry/test_registry.py::test_two_distributions_of_one_name_are_both_reached_by_their_full_names", f"{PLUGINS}test_a_name_of_three_is_refused_at_use_alone")),
    102: ("another API", (f"{NAMED}[future]", f"{NAMED}[past]")),
    103: ("a method that is missing or wrong", (f"{NAMED}[halfway]", f"{NAMED}[short]")),
    104: ("wrong numbers", (f"{KIT}test_a_wrong_encoder_is_caught", f"{KIT}test_a_wrong_network_is_caught", f"{KIT}test_a_wrong_sampler_is_caught")),
    105: ("what it changes of others", (f"{PLUGINS}test_side_effects_of_an_import_are_reported_each_and_no_other", f"{KIT}test_a_wrong_sampler_is_caught")),
    106: ("prints", (f"{PLUGINS}test_what_it_prints_stays_out_of_stdout_by_whatever_way",)),
    107: ("slow", (f"{PLUGINS}test_a_slow_import_is_told_of", f"{PROBE}[endless]")),
    108: ("patches others", (f"{PLUGINS}test_side_effects_of_an_import_are_reported_each_and_no_other",)),
    # the machine
    109: ("no GPU", (f"{PLACE}test_a_device_that_is_not_there", f"{PLACE}test_the_cpu_is_named_where_there_is_no_other")),
    110: ("disk full", (f"{ENGINE}test_crash.py::test_failed_at_every_call",)),
    111: ("nowhere to write", (f"{PLACE}test_a_run_that_cannot_be_written", f"{PLACE}test_samples_that_cannot_be_written")),
    112: ("no HOME", (f"{PLACE}test_no_home_and_an_old_locale_write_the_same_bytes",)),
    113: ("offline", ("plugins/data/test_data_fetch.py::test_without_a_network_the_file_and_the_way_by_hand_are_named", "plugins/encoders/test_pretrained.py::test_missing_weights_are_a_fault_when_they_are_needed")),
    114: ("two writers", (f"{ENGINE}test_train.py::test_two_writers_are_one_too_many",)),
    115: ("the clock goes back", (f"{PLACE}test_order_is_by_step_whatever_the_clock_says",)),
    116: ("locales", (f"{PLACE}test_no_home_and_an_old_locale_write_the_same_bytes", f"{PLACE}test_what_a_locale_cannot_print_is_escaped")),
    117: ("odd paths", (f"{PLACE}test_odd_paths_work", f"{PLACE}test_a_path_that_is_too_long_is_told")),
    118: ("stdout closed", (f"{PLACE}test_a_closed_stdout_ends_quietly",)),
    119: ("few open files", (f"{PLACE}test_few_open_files_are_enough",)),
    120: ("a worker dies", (f"{ENGINE}test_faults.py::test_a_worker_that_ends_is_named_and_nothing_is_lost",)),
    121: ("out of memory in a step", (f"{ENGINE}test_faults.py::test_memory_that_is_not_there_is_asked_for_in_words",)),
    122: ("killed for its memory", (f"{ENGINE}test_train.py::test_killed_at_any_moment_the_run_can_be_read", f"{ENGINE}test_resume.py::test_a_hundred_kills_at_random_lose_nothing")),
    123: ("out of memory in a save", (f"{ENGINE}test_crash.py::test_failed_at_every_call",)),
    124: ("a GPU that is lost", (f"{ENGINE}test_faults.py::test_a_device_that_is_lost_saves_nothing_of_what_it_held",)),
    125: ("signals", (f"{ENGINE}test_signals.py::test_one_signal_stops_saved", f"{ENGINE}test_signals.py::test_two_signals_stop_at_once_and_nothing_is_lost", f"{ENGINE}test_crash.py::test_killed_before_and_after_every_call")),
}  # fmt: skip


def test_every_number_has_a_test() -> None:
    assert sorted(INDEX) == list(range(1, 126))
    assert all(tests for _, tests in INDEX.values())


@pytest.mark.parametrize("number", INDEX)
def test_the_tests_that_are_named_exist(number: int) -> None:
    check_named(number, INDEX[number][1], TESTS)


def test_an_index_that_lies_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    for wrong in (f"{SPECS}test_nothing", f"{FILES}[1 full]"):
        monkeypatch.setitem(INDEX, 1, ("", (wrong,)))
        with pytest.raises(AssertionError, match=r"1: .* has no "):
            test_the_tests_that_are_named_exist(1)
