import pytest
from task_toys import Listed, make, quiz

from flan_jax.errors import UserError
from flan_jax.tasks.modes import PromptMode
from flan_jax.tasks.spec import Prompted

MODES = {
    # mode: shows options, few-shot, reasons, instructs
    "zs_opt": (True, False, False, True),
    "zs_noopt": (False, False, False, True),
    "fs_opt": (True, True, False, True),
    "fs_noopt": (False, True, False, True),
    "cot_zs_opt": (True, False, True, True),
    "cot_zs_noopt": (False, False, True, True),
    "cot_fs_opt": (True, True, True, True),
    "cot_fs_noopt": (False, True, True, True),
    "no_template": (False, False, False, False),
    "dataset_name": (False, False, False, False),
}


def test_each_mode_is_what_its_name_says():
    found = {str(mode): (mode.shows_options, mode.few_shot, mode.reasons, mode.instructs) for mode in PromptMode}
    assert found == MODES


def test_a_task_has_the_modes_that_its_records_allow():
    assert set(make().modes) == set(PromptMode)
    assert {mode for mode in make(rationale="", cot_templates=()).modes if mode.reasons} == set()
    unseen = make(source=Listed(test=quiz().test))
    assert {str(mode) for mode in unseen.modes} == {name for name, (_, few_shot, *_) in MODES.items() if not few_shot}


def test_what_a_mode_changes_of_a_task():
    spec = make(metric="f1_macro")
    plain, reasoned = Prompted(spec, PromptMode.FS_OPT, variant="v"), Prompted(spec, PromptMode.COT_ZS_OPT)
    assert (plain.name, reasoned.name) == ("quiz_fs_opt_v", "quiz_cot_zs_opt")
    assert (plain.metric, plain.predict, plain.templates) == ("f1_macro", "rank", spec.templates)
    assert (reasoned.metric, reasoned.predict, reasoned.templates) == ("final_answer", "generate", spec.cot_templates)
    assert (plain.scored_templates, reasoned.scored_templates) == ((0, 1, 2), (0, 1))
    # Without words a prompt cannot ask for anything but the answer.
    assert Prompted(spec).drawn_templates == (0, 1, 2, 3)
    assert Prompted(spec, PromptMode.NO_TEMPLATE).drawn_templates == (0, 1, 2)
    assert Prompted(spec, PromptMode.NO_TEMPLATE, (1,)).drawn_templates == (1,)
    assert plain.splits == ("train", "test")


def test_modes_and_templates_that_a_task_does_not_have_are_refused():
    with pytest.raises(UserError, match="has no reasoning to learn from, so it has no mode 'cot_zs_opt'"):
        Prompted(make(rationale="", cot_templates=()), PromptMode.COT_ZS_OPT)
    for ids in ((), (4,), (-1,)):
        with pytest.raises(UserError, match="a non-empty choice from 0 to 3"):
            Prompted(make(), template_ids=ids)
    with pytest.raises(UserError, match="from 0 to 1"):  # of the templates that reason
        Prompted(make(), PromptMode.COT_ZS_OPT, template_ids=(2,))
