"""Exported checkpoints that transformers loads give the same pixels, logits and texts."""

import numpy as np
import pytest
import torch
import transformers
from PIL import Image

import made_vlms
from vlm.made_llava import CHAT, MEANS, made, vlm_of
from vlmatch.cli import run_task
from vlmatch.configs import composed
from vlmatch.encoders.controls import Pixels
from vlmatch.errors import VlmatchError
from vlmatch.probes.llava_format import Turn
from vlmatch.settings.recipe import LoraSettings
from vlmatch.vlm.conversations import VICUNA_SYSTEM, Conversations
from vlmatch.vlm.export import export_llava
from vlmatch.vlm.lazy_samples import on_square
from vlmatch.vlm.llava_model import grown
from vlmatch.vlm.lora import add_lora
from vlmatch.vlm.model import VLM
from vlmatch.vlm.saved import Description, save_vlm
from vlmatch.vlm.tokens import IMAGE, encode

TEXT = "A picture:<image>\nCaption:"


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    """Two pictures of noise, one wide and one tall, of odd sizes."""
    random = np.random.default_rng(0)
    return [Image.fromarray(random.integers(0, 256, (*size, 3), dtype=np.uint8)) for size in ((61, 93), (127, 45))]


def loaded(folder):
    model = transformers.LlavaForConditionalGeneration.from_pretrained(folder).eval()
    return model, transformers.AutoProcessor.from_pretrained(folder)


def prompt_ids(vlm: VLM, text: str = TEXT) -> list[int]:
    ids = encode(vlm.tokenizer, text, special=True)
    at = ids.index(IMAGE)
    return [*ids[:at], *[IMAGE] * vlm.tokens_per_image, *ids[at + 1 :]]


@torch.inference_mode()
def assert_equal(vlm: VLM, folder, pictures) -> None:
    """Transformers' pixels, ids, logits and greedy texts equal ours; a new token's probability is at most the mean."""
    model, processor = loaded(folder)
    for picture in pictures:
        pixels = vlm.visual.encoder.prepare(picture)[None]
        inputs = processor(images=picture, text=TEXT, return_tensors="pt")
        torch.testing.assert_close(inputs["pixel_values"], pixels, rtol=0, atol=1e-5)
        ids = prompt_ids(vlm)
        assert [IMAGE if i == model.config.image_token_id else i for i in inputs["input_ids"][0].tolist()] == ids
        ours = vlm.causal_lm(inputs_embeds=vlm.embed(torch.tensor([ids]), pixels)).logits
        theirs = model(**inputs).logits
        torch.testing.assert_close(theirs[..., : ours.shape[-1]], ours, rtol=0, atol=1e-5)
        rows, further = ours.shape[-1], theirs.shape[-1] - ours.shape[-1]
        lost = (ours.log_softmax(-1) - theirs.log_softmax(-1)[..., :rows]).abs().max()
        assert lost < np.log1p(further / rows) + 1e-5
        (text,) = vlm.generate(pixels, [ids], max_new_tokens=12)
        found = model.generate(**inputs, max_new_tokens=12)[0, inputs["input_ids"].shape[1] :]
        assert processor.decode(found, skip_special_tokens=True) == text
        assert len(set(text)) > 1


@pytest.mark.parametrize(
    ("vision", "language", "settings"),
    [
        ("clip", "llama", {"bos": True}),
        ("siglip", "qwen2", {"bos": False, "rows": 264}),
        ("dinov2", "qwen2", {"kind": "linear"}),
        ("vit", "llama", {"rows": 260}),
    ],
)
def test_transformers_own_class_computes_the_same(tmp_path, pictures, vision, language, settings):
    vlm = made(tmp_path, vision, language, **settings)
    assert export_llava(vlm, tmp_path / "llava") == []
    assert_equal(vlm, tmp_path / "llava", pictures)
    model, _ = loaded(tmp_path / "llava")
    assert model.config.image_token_id == len(vlm.tokenizer)
    assert model.config.vision_feature_select_strategy == ("full" if vision == "siglip" else "default")
    assert (model.lm_head.weight is model.get_input_embeddings().weight) == (language == "qwen2")
    assert len(model.lm_head.weight) == max(len(vlm.tokenizer) + 1, settings.get("rows", 0))
    assert list((tmp_path / "llava").glob("*.safetensors"))
    assert str(tmp_path) not in (tmp_path / "llava" / "config.json").read_text()


def test_adapters_are_merged_and_the_vlm_does_not_change(tmp_path, pictures):
    vlm = made(tmp_path)
    before = vlm.generate(None, [encode(vlm.tokenizer, "x", special=True)], max_new_tokens=8)
    targets = ["q_proj", "v_proj", "down_proj"]
    add_lora(vlm.causal_lm, LoraSettings(r=4, alpha=8, dropout=0.1, targets=targets))
    for name, parameter in vlm.causal_lm.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    vlm.eval()
    adapted = vlm.generate(None, [encode(vlm.tokenizer, "x", special=True)], max_new_tokens=8)
    assert adapted != before
    assert export_llava(vlm, tmp_path / "llava") == []
    assert_equal(vlm, tmp_path / "llava", pictures)
    assert vlm.generate(None, [encode(vlm.tokenizer, "x", special=True)], max_new_tokens=8) == adapted


def test_an_llm_in_16_bits_keeps_its_weights(tmp_path):
    vlm = made(tmp_path)
    vlm.causal_lm.to(torch.bfloat16)
    assert export_llava(vlm, tmp_path / "llava") == []
    model, _ = loaded(tmp_path / "llava")
    weight = vlm.causal_lm.model.layers[0].mlp.up_proj.weight
    assert torch.equal(model.model.language_model.layers[0].mlp.up_proj.weight, weight.float())
    half = transformers.LlavaForConditionalGeneration.from_pretrained(tmp_path / "llava", dtype=torch.bfloat16)
    assert torch.equal(half.model.language_model.layers[0].mlp.up_proj.weight, weight)


@pytest.mark.parametrize(
    ("template", "chat"), [("chat", CHAT), ("chat", CHAT.removeprefix("{{ bos_token }}")), ("vicuna_v1", CHAT)]
)
def test_messages_give_the_tokens_of_the_training(tmp_path, pictures, template, chat):
    dated = chat.replace("{% for", "{{ strftime_now('%d %B, %f') }}{% for", 1)  # the day and the microsecond
    vlm = made(tmp_path, chat=dated)
    vlm.causal_lm.generation_config.eos_token_id = 7  # as where a base LLM was taught the template's own end
    assert export_llava(vlm, tmp_path / "llava", template=template) == []
    model, processor = loaded(tmp_path / "llava")
    assert set(model.generation_config.eos_token_id) == {7, vlm.tokenizer.eos_token_id}
    parts = [{"type": "image", "image": pictures[0]}, {"type": "text", "text": "What is it?"}]
    messages = [
        {"role": "user", "content": parts},
        {"role": "assistant", "content": "Noise."},
        {"role": "user", "content": [{"type": "text", "text": "Why?"}]},
    ]
    turns = [Turn("user", "What is it?<image>"), Turn("assistant", "Noise."), Turn("user", "Why?")]
    for system in ([], ["Hello."]):
        ours = Conversations(template, vlm.tokenizer).prompt([*(Turn("system", s) for s in system), *turns])
        at = ours.index(IMAGE)
        inputs = processor.apply_chat_template(
            [*({"role": "system", "content": s} for s in system), *messages],
            tokenize=True,
            return_dict=True,
            add_generation_prompt=True,
        )
        found = [IMAGE if i == model.config.image_token_id else i for i in inputs["input_ids"][0]]
        assert found == [*ours[:at], *[IMAGE] * 16, *ours[at + 1 :]]


@pytest.mark.parametrize("vision", ["clip", "siglip"])
def test_pictures_are_padded_as_in_the_training(tmp_path, pictures, vision):
    vlm = made(tmp_path, vision)
    mean = tuple(int(255 * part) for part in MEANS["image_mean"])
    assert export_llava(vlm, tmp_path / "llava", pad=mean) == []
    _, processor = loaded(tmp_path / "llava")
    for picture in pictures:
        padded = vlm.visual.encoder.prepare(on_square(picture, mean))[None]
        found = processor(images=picture, text=TEXT, return_tensors="pt")["pixel_values"]
        torch.testing.assert_close(found, padded, rtol=0, atol=1e-5)


def test_differences_between_processor_and_training_are_noted(tmp_path):
    notes = export_llava(made(tmp_path, space=True), tmp_path / "llava", pad=(1, 2, 3))
    assert [note.split()[1] for note in notes] == ["tokenizer", "image"]
    assert "[1, 2, 3]" in notes[1]


@pytest.fixture
def trained(tmp_path) -> VLM:
    """A VLM of which all parts were trained, saved in tmp_path / 'run'."""
    vlm = made(tmp_path)
    stage = made_vlms.stage(
        data={"_target_": "x", "template": "vicuna_v1", "pad": [102, 127, 153]},
        trains={"projector": 1e-3, "llm": 1e-5, "encoder": 1e-6},
    )
    about = Description(
        format=1,
        encoder=made_vlms.encoder(
            _target_="vlmatch.encoders.transformers_models.TransformersEncoder",
            name="clip",
            checkpoint=str(tmp_path / "tower"),
        ),
        llm=made_vlms.llm(
            _target_="vlmatch.llms.language_model.LanguageModel", name="llama", repository=str(tmp_path / "llm")
        ),
        recipe=made_vlms.recipe(
            visual={"what": "patches", "cached": False}, projector={"kind": "mlp2x_gelu", "tokens": 1}, stages=[stage]
        ),
        shape=[16, 24],
    )
    for parameter in vlm.parameters():
        parameter.data.mul_(1.1)
    save_vlm(vlm, tmp_path / "run", about)
    return vlm


@torch.inference_mode()
def test_the_task_exports_with_the_template_and_padding_of_the_last_stage(tmp_path, pictures, trained, capsys):
    run_task(composed("task=export", f"task.run={tmp_path}/run", f"task.to={tmp_path}/llava"))
    assert capsys.readouterr().out.count("\n") == 1
    model, processor = loaded(tmp_path / "llava")
    messages = [{"role": "user", "content": [{"type": "image", "image": pictures[0]}]}]
    inputs = processor.apply_chat_template(messages, tokenize=True, return_dict=True, return_tensors="pt")
    ids = prompt_ids(trained, f"{VICUNA_SYSTEM} USER: <image> ASSISTANT:")
    pixels = trained.visual.encoder.prepare(on_square(pictures[0], (102, 127, 153)))[None]
    ours = trained.causal_lm(inputs_embeds=trained.embed(torch.tensor([ids]), pixels)).logits
    torch.testing.assert_close(model(**inputs).logits[..., :259], ours, rtol=0, atol=1e-5)


def test_new_rows_are_the_mean_so_a_new_token_is_never_the_likeliest():
    weight, states = torch.randn(9, 4), torch.randn(50, 4)
    logits = states @ grown(weight, 11).T
    torch.testing.assert_close(logits[:, 9:], logits[:, :9].mean(dim=1, keepdim=True).expand(-1, 2))
    assert (logits.argmax(dim=1) < 9).all()
    assert torch.equal(grown(weight, 9), weight)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"vision": "registers"}, "encoder 'registers' has 5 tokens"),
        ({"vision": "convnext"}, "encoder 'convnext' .convnext. gives a feature map"),
        ({"language": "phi"}, "PhiForCausalLM.*output layer without bias"),
        ({"language": "gemma2"}, "logits differ .*Gemma2ForCausalLM or encoder 'clip'"),
        ({"what": "feature"}, "what='feature'.*what=patches"),
        ({"tokens": 2}, "2 tokens a feature.*tokens=1"),
        ({"standardised": True}, "standardised input.*standardised=false"),
        ({"kind": "mlp2x_gelu_normalised"}, "a normalised output.*kind=mlp2x_gelu"),
    ],
)
def test_a_vlm_that_llava_cannot_equal_is_refused_and_nothing_is_written(tmp_path, settings, message):
    vlm = made(tmp_path, **settings)
    with pytest.raises(VlmatchError, match=message) as caught:
        export_llava(vlm, tmp_path / "llava")
    assert "\n" not in str(caught.value)
    assert {path.name for path in tmp_path.iterdir()} == {"tower", "llm"}


def test_other_towers_cached_features_and_a_folder_in_use_are_refused(tmp_path):
    vlm = made(tmp_path)
    (tmp_path / "llava").mkdir()
    (tmp_path / "llava" / "mine.txt").touch()
    with pytest.raises(VlmatchError, match=r"task\.to='.*llava'"):
        export_llava(vlm, tmp_path / "llava")
    assert [path.name for path in (tmp_path / "llava").iterdir()] == ["mine.txt"]
    pixels = vlm_of(Pixels("pixels16", size=16), vlm.llm)
    with pytest.raises(VlmatchError, match=r"encoder 'pixels16' is a Pixels.*TransformersEncoder"):
        export_llava(pixels, tmp_path / "new")
    with pytest.raises(VlmatchError, match=r"cached features.*recipe\.visual\.cached=false"):
        export_llava(VLM(vlm.llm, vlm.projector), tmp_path / "new")
