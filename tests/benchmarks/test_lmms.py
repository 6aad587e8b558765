"""lmms-eval's evaluator on a tiny VLM and a local task of drawn pictures equals plain forwards."""

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch.nn import functional

import made_vlms
from made_lmms_tasks import installed, items, write_tasks
from vlmatch.benchmarks import lmms
from vlmatch.benchmarks.lmms_results import public_tasks
from vlmatch.encoders.controls import Pixels
from vlmatch.errors import NotHereError, VlmatchError
from vlmatch.vlm.building import build_vlm
from vlmatch.vlm.conversations import VICUNA_SYSTEM
from vlmatch.vlm.model import VLM
from vlmatch.vlm.tokens import IMAGE, encode

ABOUT = {"encoder": "pixels2", "llm": "llama", "data": "made", "seed": 0}
NEW_TOKENS = 5
PAD = (120, 110, 100)


@pytest.fixture(scope="module")
def vlm(tmp_path_factory: pytest.TempPathFactory) -> VLM:
    """A VLM with four pixels as features, two visual tokens each, and a random Llama."""
    made = made_vlms.recipe(visual={"what": "patches", "cached": False}, projector={"kind": "mlp2x_gelu", "tokens": 2})
    llm = made_vlms.tiny_llm(tmp_path_factory.mktemp("llm"))
    vlm = build_vlm(made, llm, Pixels("pixels2", 2), (4, 3))
    for parameter in vlm.projector.parameters():
        torch.nn.init.normal_(parameter, std=1.0)
    return vlm.eval()


def padded(picture: Image.Image) -> Image.Image:
    """The picture in the middle of a grey square."""
    side = max(picture.size)
    square = Image.new("RGB", (side, side), PAD)
    square.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
    return square


def plain_logits(vlm: VLM, picture: Image.Image, question: str, answer: list[int]) -> torch.Tensor:
    """The logits that predict each answer token and the end: one item, without padding, its prompt written by hand."""
    assert vlm.visual is not None
    prompt = encode(vlm.tokenizer, f"{VICUNA_SYSTEM} USER: <image>\n{question} ASSISTANT:", special=True)
    visual = vlm.visual_tokens(vlm.visual.encoder.prepare(padded(picture))[None])[0]
    table = vlm.causal_lm.get_input_embeddings()
    rows = [visual if i == IMAGE else table(torch.tensor([i])) for i in [*prompt, *answer]]
    logits: torch.Tensor = vlm.causal_lm(inputs_embeds=torch.cat(rows)[None]).logits[0, -len(answer) - 1 :]
    return logits


def plain_loss(vlm: VLM, item: dict[str, Any], choice: str) -> float:
    answer = encode(vlm.tokenizer, f" {choice}</s>", special=False)
    logits = plain_logits(vlm, item["image"], item["question"], answer)[:-1]
    return float(functional.cross_entropy(logits, torch.tensor(answer), reduction="sum"))


def plain_answer(vlm: VLM, item: dict[str, Any]) -> str:
    answer: list[int] = []
    while len(answer) < NEW_TOKENS and vlm.tokenizer.eos_token_id not in answer:
        answer.append(int(plain_logits(vlm, item["image"], item["question"], answer)[-1].argmax()))
    return str(vlm.tokenizer.decode(answer, skip_special_tokens=True))


@pytest.fixture(scope="module")
def local(vlm: VLM, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tasks over the drawn pictures; the answer to every third question is `said`, the VLM's own."""
    with torch.no_grad():
        rows = [
            {**item, "said": plain_answer(vlm, item) if number % 3 == 0 else "nothing of the kind"}
            for number, item in enumerate(items())
        ]
    return write_tasks(tmp_path_factory.mktemp("tasks"), rows)


def asked(vlm: VLM, local: Path, folder: Path, tasks=("drawn_choice", "drawn_answer"), **settings) -> dict[str, Any]:
    settings = {"about": ABOUT, "template": "vicuna_v1", "pad": PAD, "batch_size": 5, **settings}
    return lmms.evaluate_public(vlm, tasks, folder=folder, own_tasks=local, **settings)


@installed
def test_the_evaluators_scores_equal_those_of_plain_forwards(vlm: VLM, local: Path, tmp_path: Path) -> None:
    found = asked(vlm, local, tmp_path)
    with torch.no_grad():
        chosen = [min(item["choices"], key=lambda choice: plain_loss(vlm, item, choice)) for item in items()]
    right = [choice == item["answer"] for choice, item in zip(chosen, items(), strict=True)]
    assert 0 < sum(right) < 12  # a model that is always or never right would prove little
    assert found["results"]["drawn_choice"]["acc,none"] == pytest.approx(sum(right) / 12)
    assert found["results"]["drawn_answer"]["exact_match,none"] == pytest.approx(4 / 12)
    assert found["n-samples"]["drawn_choice"] == {"original": 12, "effective": 12}
    assert found["config"]["model_args"] == ABOUT


@installed
def test_a_limit_asks_the_first_items_and_stands_in_the_file(vlm: VLM, local: Path, tmp_path: Path) -> None:
    found = asked(vlm, local, tmp_path, ["drawn_answer"], limit=4)
    lmms.write_results(found, tmp_path / "4_results.json")
    kept = json.loads((tmp_path / "4_results.json").read_text())
    assert kept["config"]["limit"] == 4
    assert kept["n-samples"]["drawn_answer"] == {"original": 12, "effective": 4}
    assert kept["results"]["drawn_answer"]["exact_match,none"] == pytest.approx(2 / 4)


@installed
def test_likelihoods_are_summed_losses_whatever_the_batch(vlm: VLM) -> None:
    from vlmatch.benchmarks.lmms_model import VlmatchModel

    rows = items()
    with torch.no_grad():
        wanted = [plain_loss(vlm, item, item["answer"]) for item in rows]
    for batch_size in (1, 7):
        model = VlmatchModel(vlm, template="vicuna_v1", pad=PAD, batch_size=batch_size, max_new_tokens=5)
        model.task_dict = {"drawn": {"test": rows}}
        found = model.loglikelihood([request(item["question"], f" {item['answer']}", n) for n, item in enumerate(rows)])
        assert [each.text[0] for each in found] == pytest.approx(wanted, rel=1e-4)
        assert not any(each.text[1] for each in found)


@installed
def test_greedy_tells_whether_greedy_decoding_gives_the_answer(vlm: VLM, monkeypatch: pytest.MonkeyPatch) -> None:
    """The output layer is solved so that the model says ' red' and ends; ' rex' differs in one letter."""
    from vlmatch.benchmarks.lmms_model import VlmatchModel

    item = items()[0]
    answer = encode(vlm.tokenizer, " red</s>", special=False)
    states: list[torch.Tensor] = []
    hook = vlm.causal_lm.lm_head.register_forward_pre_hook(lambda _, inputs: states.append(inputs[0][0]))
    with torch.no_grad():
        plain_logits(vlm, item["image"], item["question"], answer)
    hook.remove()
    wanted = functional.one_hot(torch.tensor(answer), 259).float()
    solved = torch.linalg.pinv(states[0][-len(answer) - 1 : -1]) @ wanted
    monkeypatch.setattr(vlm.causal_lm.lm_head, "weight", torch.nn.Parameter(solved.T, requires_grad=False))
    model = VlmatchModel(vlm, template="vicuna_v1", pad=PAD, batch_size=2, max_new_tokens=9)
    model.task_dict = {"drawn": {"test": [item]}}
    found = model.loglikelihood([request(item["question"], text, 0) for text in ("red", "rex")])
    (loss, greedy), (other_loss, other_greedy) = (each.text for each in found)
    assert greedy
    assert not other_greedy
    assert loss < other_loss
    assert model.generate_until([request(item["question"], {"do_sample": False}, 0)]) == [" red"]


@installed
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tasks": ["drawn_nothing"]}, "task.tasks=drawn_nothing"),
        ({"template": "plain"}, "template='plain' .*vicuna_v1, chat"),
    ],
)
def test_unknown_tasks_and_templates_are_errors(vlm: VLM, local: Path, tmp_path: Path, settings, message: str) -> None:
    with pytest.raises(VlmatchError, match=message):
        asked(vlm, local, tmp_path, **settings)


@installed
def test_a_vlm_without_encoder_is_refused(local: Path, tmp_path: Path) -> None:
    with pytest.raises(VlmatchError, match="cached features and no encoder"):
        asked(made_vlms.tiny_vlm(tmp_path / "llm"), local, tmp_path)


@installed
def test_videos_and_extra_image_places_are_errors(vlm: VLM) -> None:
    from vlmatch.benchmarks.lmms_model import VlmatchModel

    model = VlmatchModel(vlm, template="vicuna_v1", pad=PAD, batch_size=1, max_new_tokens=5)
    model.task_dict = {"drawn": {"test": [{"image": "a.mp4"}, items()[0]]}}
    with pytest.raises(VlmatchError, match=r"task\.tasks=drawn, item 0: .*str"):
        model.generate_until([request("What?", {}, 0)])
    with pytest.raises(VlmatchError, match=r"item 1: .*2 times '<image>', but the item has 1 pictures"):
        model.generate_until([request("<image><image>What?", {}, 1)])
    with pytest.raises(VlmatchError, match="several rounds"):
        model.generate_until_multi_round([request("What?", {}, 0)])


@installed
@pytest.mark.parametrize(
    ("raised", "seen", "message"),
    [
        (
            ConnectionError("no hub"),
            NotHereError,
            r"task.tasks=gqa: .*\(no hub\).*HF_TOKEN",
        ),
        (KeyError("a bug"), KeyError, "a bug"),
    ],
)
def test_only_errors_of_data_are_reported_as_missing_data(
    vlm: VLM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raised: Exception, seen: type, message: str
) -> None:
    import lmms_eval.evaluator
    import lmms_eval.tasks
    from tenacity import retry, stop_after_attempt

    @retry(stop=stop_after_attempt(2))
    def failing(*arguments: Any, **settings: Any) -> None:
        raise raised

    monkeypatch.setattr(lmms_eval.evaluator, "simple_evaluate", failing)
    monkeypatch.setattr(lmms_eval.tasks.TaskManager, "all_tasks", ["gqa"])
    with pytest.raises(seen, match=message):
        asked(vlm, tmp_path, tmp_path, ["gqa"])


@installed
def test_offline_public_tasks_are_refused_at_once(vlm: VLM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLMATCH_OFFLINE", "1")
    with pytest.raises(NotHereError, match="the data of public benchmarks are not here, and offline=true forbids"):
        lmms.evaluate_public(vlm, ["gqa"], about=ABOUT, template="vicuna_v1", folder=tmp_path)


@installed
def test_options_and_stops() -> None:
    from vlmatch.benchmarks.lmms_model import sampling, until

    assert sampling({"temperature": 0, "top_p": None, "num_beams": 3, "until": ["x"]}) == {"num_beams": 3}
    assert sampling({"temperature": 0.2, "do_sample": False}) == {}
    assert sampling({"temperature": 0.2, "top_p": 0.9}) == {"temperature": 0.2, "top_p": 0.9, "do_sample": True}
    assert until("yes\nASSISTANT: no", ["ASSISTANT:", "\n"]) == "yes"
    assert until("yes", None) == "yes"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"limit": 0.1}, "task.limit=0.1; wanted a whole number"),
        ({"limit": 0}, "task.limit=0; wanted a whole number"),
        ({"batch_size": 0}, "task.batch_size=0; wanted 1 or more"),
    ],
)
def test_wrong_numbers_are_errors(vlm: VLM, tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(VlmatchError, match=message):
        asked(vlm, tmp_path, tmp_path, **settings)


@pytest.mark.skipif(importlib.util.find_spec("lmms_eval") is not None, reason="lmms-eval is installed")
def test_without_lmms_eval_the_error_says_how_to_get_it(vlm: VLM, tmp_path: Path) -> None:
    with pytest.raises(NotHereError, match="lmms-eval is not installed; `make test-lmms`"):
        asked(vlm, tmp_path, tmp_path)


def request(question: str, behind: Any, document: int) -> Any:
    """A request as lmms-eval makes it."""
    from lmms_eval.api.instance import Instance

    arguments = (question, behind, lambda doc: [doc["image"]], document, "drawn", "test")
    kind = "generate_until" if isinstance(behind, dict) else "loglikelihood"
    metadata = {"task": "drawn", "doc_id": document, "repeats": 1}
    return Instance(request_type=kind, arguments=arguments, idx=0, metadata=metadata)


@installed
def test_lmms_eval_has_every_task_and_metric_of_the_table() -> None:
    import lmms_eval

    folder = Path(lmms_eval.__file__).parent / "tasks"
    for task in public_tasks().values():
        (path,) = folder.rglob(f"{task.task}.yaml")
        assert re.search(rf"^task: *\"?{task.task}\"?\s*$", path.read_text(), re.MULTILINE)
        assert f"metric: {task.metric.partition(',')[0]}" in path.read_text()
